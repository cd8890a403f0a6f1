"""Field paths: which fields of which messages are meant, as people write them.

    chat.ChatMessage.timestamp       this field in every message of that type, wherever it is nested, also in an Any
    /chat.ChatService/Chat>3.1       this field of the client's (>) or the server's (<) messages of that method
    metadata:x-request-id            what stands under this key, in headers and trailers

A step is a field's name or its number. Names need descriptors, and so does the first form. A path concerns every
element of a repeated field. Behind a map, a name is one of the fields of its values; numbers are the wire's own, where
a map's entry has its key under 1 and its value under 2 (protobuf.dev, "Encoding").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from duplexmock.core.events import Side
from duplexmock.errors import ScriptError
from duplexmock.schema.descriptors import Descriptors

Step = str | int


@dataclass(frozen=True, slots=True)
class TypePath:
    """A field in every message of a type: the steps begin with the message's full name."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return _dotted(self.steps)


@dataclass(frozen=True, slots=True)
class MethodPath:
    """A field of the messages that one side sends on one method."""

    method: str
    side: Side
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return f"{self.method}{self.side.value}{_dotted(self.steps)}"


@dataclass(frozen=True, slots=True)
class MetadataPath:
    """The values under one metadata key; `grpc-message` and `grpc-status-details-bin` are parts of the Status."""

    key: str

    def __str__(self) -> str:
        return f"metadata:{self.key}"


InMessages = TypePath | MethodPath
FieldPath = InMessages | MetadataPath


@dataclass(frozen=True, slots=True)
class Route:
    """A path, as numbers: `kind` is the message it begins in, None where no descriptor knows it.

    `is_map` says that it ends at a map.
    """

    path: InMessages
    kind: Descriptor | None
    numbers: tuple[int, ...]
    is_map: bool = False

    def to_values(self) -> Route:
        """Return the route to the values of the map where it ends at one."""
        return replace(self, numbers=(*self.numbers, MAP_VALUE), is_map=False) if self.is_map else self


MAP_KEY, MAP_VALUE = 1, 2
"""The fields of a map's entry."""


def parse(text: str, what: str = "path") -> FieldPath:
    """Read a path; ScriptError, which begins with `what`, where it is none."""
    if text.startswith("metadata:"):
        return MetadataPath(_key(text, what))
    if not text.startswith("/"):
        steps = _steps(text, text, what)
        if len(steps) == 1 or not isinstance(steps[0], str):
            raise ScriptError(f"{what} {text!r}: {_FORMS}")
        return TypePath(steps)
    found = _OF_METHOD.fullmatch(text)
    if found is None:
        raise ScriptError(
            f"{what} {text!r}: behind the method stands '>' for the client's messages or '<' for the server's, and then"
            f" the field: /package.Service/Method>3.1"
        )
    method, arrow, fields = found.groups()
    return MethodPath(method, Side(arrow), _steps(fields, text, what))


def check(path: FieldPath, descriptors: Descriptors | None, what: str = "path") -> None:
    """Raise ScriptError where the path cannot lead anywhere: no such message or field, or names without descriptors.

    A number that the descriptors do not have is allowed: the wire may carry it all the same.
    """
    if not isinstance(path, MetadataPath):
        resolve(path, descriptors, what)


def resolve(path: InMessages, descriptors: Descriptors | None, what: str = "path") -> Route:
    """Return the path as numbers; ScriptError as in `check`."""
    kind: Descriptor | None
    match path:
        case TypePath(steps):
            if descriptors is None:
                raise ScriptError(f"{what} '{path}': {_NEEDS_DESCRIPTORS}")
            kind, steps = _message_and_fields(path, descriptors, what)
        case MethodPath(method, side, steps):
            kind = descriptors.type_sent(method, side) if descriptors is not None else None
            if kind is None and not all(isinstance(step, int) for step in steps):
                if descriptors is None:
                    raise ScriptError(f"{what} '{path}': {_NEEDS_DESCRIPTORS}")
                raise ScriptError(f"{what} '{path}': {descriptors.name!r} has no method {method!r}")
    return _follow(path, kind, steps, what)


def routes(paths: Iterable[FieldPath], descriptors: Descriptors | None) -> tuple[Route, ...]:
    """Return those of the paths that lead somewhere by these descriptors; others may be meant for another fixture's."""
    found = []
    for path in paths:
        if isinstance(path, MetadataPath):
            continue
        try:
            found.append(resolve(path, descriptors))
        except ScriptError:  # `check` is who says so
            continue
    return tuple(found)


def metadata_keys(paths: Iterable[FieldPath]) -> frozenset[str]:
    """Return the metadata keys among the paths."""
    return frozenset(path.key for path in paths if isinstance(path, MetadataPath))


def is_map(field: FieldDescriptor) -> bool:
    """Tell whether the field is a map."""
    kind = field.message_type
    return kind is not None and _is_entry(kind)


def _steps(fields: str, text: str, what: str) -> tuple[Step, ...]:
    return tuple(_step(field, text, what) for field in fields.split("."))


def _step(field: str, text: str, what: str) -> Step:
    if _NAME.fullmatch(field):
        return field
    if _NUMBER.fullmatch(field) and int(field) <= _MAX_NUMBER:
        return int(field)
    if not text.strip("./<>"):
        raise ScriptError(f"{what} {text!r}: {_FORMS}")
    raise ScriptError(f"{what} {text!r}: {field!r} is neither a field's name nor its number")


def _key(text: str, what: str) -> str:
    key = text.removeprefix("metadata:").lower()
    if not _METADATA_KEY.fullmatch(key):
        raise ScriptError(f"{what} {text!r}: not a metadata key; they have letters, digits, '-', '_' and '.'")
    if key == "grpc-status":
        raise ScriptError(f"{what} {text!r}: how a call ends is no metadata")
    return key


def _message_and_fields(
    path: TypePath, descriptors: Descriptors, what: str
) -> tuple[Descriptor | None, tuple[Step, ...]]:
    """Part the steps at the longest message name; a message and a field of one name cannot stand in one scope."""
    for count in range(len(path.steps), 0, -1):
        kind = descriptors.message_type(_dotted(path.steps[:count]))
        if kind is None:
            continue
        if count == len(path.steps):
            raise ScriptError(f"{what} '{path}': that is a message; the field stands behind it{_has(kind)}")
        return kind, path.steps[count:]
    raise ScriptError(f"{what} '{path}': {descriptors.name!r} has no message that this begins with")


def _follow(path: InMessages, kind: Descriptor | None, steps: tuple[Step, ...], what: str) -> Route:
    start, numbers = kind, []
    field: FieldDescriptor | None = None
    for step in steps:
        if field is not None and kind is None and (isinstance(step, str) or field.type != FieldDescriptor.TYPE_BYTES):
            raise ScriptError(f"{what} '{path}': {field.full_name} holds no message that has {step!r}")
        if isinstance(step, int):
            numbers.append(step)
            field = kind.fields_by_number.get(step) if kind is not None else None
        else:
            if field is not None and kind is not None and _is_entry(kind):
                numbers.append(MAP_VALUE)
                kind = kind.fields_by_number[MAP_VALUE].message_type
            if kind is None:
                raise ScriptError(f"{what} '{path}': no message is known there that has {step!r}")
            field = kind.fields_by_name.get(step)
            if field is None:
                raise ScriptError(f"{what} '{path}': {kind.full_name} has no field {step!r}{_has(kind)}")
            numbers.append(field.number)
        kind = field.message_type if field is not None else None
    return Route(path, start, tuple(numbers), field is not None and is_map(field))


def _is_entry(kind: Descriptor) -> bool:
    return bool(kind.GetOptions().map_entry)


def _has(kind: Descriptor) -> str:
    names = [field.name for field in kind.fields]
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return f"; it has {', '.join(names[:_TOLD])}{more}" if names else "; it has none"


def _dotted(steps: Iterable[Step]) -> str:
    return ".".join(map(str, steps))


_FORMS = "a path is package.Message.field, /package.Service/Method>3.1 or metadata:KEY"
_NEEDS_DESCRIPTORS = "names need descriptors; without them, fields are numbers: /package.Service/Method>3.1"
_OF_METHOD = re.compile(r"(/[^<>]*[^<>/])([<>])(.+)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_MAX_NUMBER = (1 << 29) - 1
_METADATA_KEY = re.compile(r"[a-z0-9_.\-]+")
_TOLD = 10
"""Field names that an error text lists: enough to see a slip of the pen."""
