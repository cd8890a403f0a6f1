"""Messages as scripts hold them: frozen, comparable, and printable as the source they were written in.

    b"\\x0a\\x02hi"                    these bytes
    {"message": "hi"}                 Fields: these fields have these values, others any
    ChatMessage(message="hi")         Protobuf: a protobuf message; as Fields, of the fields that are set
    anything                          any message
    is_greeting                       a function: those it says yes to
    like(is_greeting, example)        a match, and what a seat says that has to say one

What has `SerializeToString` and a DESCRIPTOR is taken for protobuf's, which is not known here. Reading and writing
payloads is schema/messages.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from duplexmock.core.matching import shown
from duplexmock.core.value import value
from duplexmock.errors import ScriptError

Function = Callable[[Any], Any]


class Fields:
    """Named fields and their values, nested ones as Fields, repeated ones as tuples. Made of a dict by `frozen`."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[Any, Any]) -> None:
        self._fields = dict(fields)

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Return names and values, in the order they were written."""
        return self._fields.items()

    def plain(self) -> dict[Any, Any]:
        """Return them as a dict again, with lists and messages in it."""
        return {name: _plain(value) for name, value in self._fields.items()}

    def __eq__(self, other: object) -> bool:
        return self._fields == other._fields if isinstance(other, Fields) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._fields.items()))

    def __repr__(self) -> str:
        return repr(self.plain())


class Protobuf:
    """A protobuf message: its type and bytes. `kind` is the class it was made with."""

    __slots__ = ("kind", "payload", "type_name")

    def __init__(self, message: Any) -> None:
        self.kind = type(message)
        self.type_name: str = message.DESCRIPTOR.full_name
        self.payload: bytes = message.SerializeToString(deterministic=True)

    def message(self) -> Any:
        """Return it as the message it was."""
        return self.kind.FromString(self.payload)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Protobuf):
            return NotImplemented
        return (self.type_name, self.payload) == (other.type_name, other.payload)

    def __hash__(self) -> int:
        return hash((self.type_name, self.payload))

    def __repr__(self) -> str:
        name = f"{self.kind.__module__}.{self.kind.__qualname__}"
        fields = self.message().ListFields()
        if all(isinstance(value, str | bytes | int | float) for _, value in fields):
            return f"{name}({', '.join(f'{field.name}={literal(value)}' for field, value in fields)})"
        return f"{name}.FromString({literal(self.payload)})"


@value
class Anything:
    """Any message; `anything` is the one there is."""


anything = Anything()
"""Matches any message: `turn(anything, reply=...)`."""


@value
class Like:
    """Matches as `match` does; who has to say such a message says `example`. Made by `like`."""

    match: Match
    example: Message


Message = bytes | Fields | Protobuf
Match = Message | Anything | Function
Pattern = Match | Like
"""What stands for a message in a script."""


def like(match: object, example: object) -> Like:
    """Match as `match`, a function or named fields; `example` is what is said where such a message has to be said."""
    pattern, said = pattern_of(match), pattern_of(example)
    if isinstance(pattern, Like):
        raise ScriptError(f"like({told(pattern)}, …): the match is a like already")
    if not isinstance(said, bytes | Fields | Protobuf):
        raise ScriptError(
            f"like({told(pattern)}, {told(said)}): an example is bytes, a dict of fields or a protobuf message"
        )
    return Like(pattern, said)


def pattern_of(given: object) -> Pattern:
    """Return what a person gave for a message; ScriptError, with a sentence, where it is none."""
    if isinstance(given, bytes | Fields | Protobuf | Anything | Like):
        return given
    if isinstance(given, bytearray | memoryview):
        return bytes(given)
    if isinstance(given, type):
        name = given.__qualname__
        raise ScriptError(f"{name} is a type: write {name}(...) for a message, or anything for any")
    if is_protobuf(given):  # before mappings: a Struct is one
        return Protobuf(given)
    if isinstance(given, Mapping):
        return frozen(given)
    if isinstance(given, str):
        raise ScriptError(f"{shown(given)} is text: a message is bytes, a dict of fields or a protobuf message")
    if callable(given):
        return given
    raise ScriptError(f"{shown(given)} is no message: bytes, a dict of fields, a protobuf message, or a function")


def is_protobuf(given: object) -> bool:
    """Tell whether it is a protobuf message."""
    return hasattr(given, "SerializeToString") and hasattr(given, "DESCRIPTOR") and not isinstance(given, type)


def frozen(fields: Mapping[Any, Any]) -> Fields:
    """Return a dict of fields as a value; ScriptError for what is no field's value."""
    for name in fields:
        if not isinstance(name, str):
            raise ScriptError(f"field {shown(name)}: fields are given by their names")
    return Fields({name: _frozen(value, name) for name, value in fields.items()})


def told(pattern: object) -> str:
    """Write a pattern as the source it was written in; functions by module and name."""
    match pattern:
        case Anything():
            return "anything"
        case Like(match, example):
            return f"like({told(match)}, {literal(example)})"
        case bytes() | Fields() | Protobuf():
            return literal(pattern)
        case _:
            return function_name(pattern) if callable(pattern) else repr(pattern)


def function_name(function: Any) -> str:
    """Return a function's module and qualified name."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type):
        return f"{owner.__module__}.{owner.__qualname__}.{function.__name__}"
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if module and name:
        return f"{module}.{name}" if module != "builtins" else str(name)
    return f"<{type(function).__qualname__} object>"


def literal(value: Any) -> str:
    """Write a value as source: as `repr` does, text and bytes in double quotes where that is simple."""
    match value:
        case str() | bytes():
            text = repr(value)
            start = text.index("'") if "'" in text[:2] else -1
            if start < 0 or '"' in text:
                return text
            return f'{text[:start]}"{text[start + 1 : -1]}"'
        case Fields():
            return f"{{{', '.join(f'{literal(name)}: {literal(each)}' for name, each in value.items())}}}"
        case tuple():
            return f"[{', '.join(map(literal, value))}]"
        case _:
            return repr(value)


def _frozen(value: object, name: str) -> Any:
    if is_protobuf(value):
        return Protobuf(value)
    if isinstance(value, Mapping):
        # The keys of a map need not be text.
        return Fields({key: _frozen(each, f"{name}.{key}") for key, each in value.items()})
    if isinstance(value, list | tuple):
        return tuple([_frozen(each, name) for each in value])
    if value is None or isinstance(value, str | bytes | int | float | Fields | Protobuf):
        return value
    raise ScriptError(f"field {name!r}: {shown(value)} is no field's value")


def _plain(value: Any) -> Any:
    match value:
        case Fields():
            return value.plain()
        case Protobuf():
            return value.message()
        case tuple():
            return [_plain(each) for each in value]
        case _:
            return value
