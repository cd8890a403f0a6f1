"""The messages of a script: bytes, dicts and protobuf messages; matched on the fields that are named, and made of them.

It is the Codec (core/language.py) of one method. Functions of the script get a message of the method's type where
descriptors know it, of the class that was written where a protobuf message was, and bytes elsewhere; what they return
is a message, a list of some, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage

from duplexmock.core.events import Side
from duplexmock.core.given import (
    Anything,
    Fields,
    Function,
    Like,
    Message,
    Pattern,
    Protobuf,
    function_name,
    pattern_of,
)
from duplexmock.core.matching import WHOLE, Difference, shown
from duplexmock.errors import ProtocolError, ScriptError
from duplexmock.schema import payload as compression
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.payloads import Payloads
from duplexmock.schema.reader import Reader
from duplexmock.schema.text import line
from duplexmock.schema.typed import Typed


class Messages:
    """Reads and writes the messages of one method, by `descriptors` where these know it."""

    def __init__(self, method: str, descriptors: Descriptors | None) -> None:
        self._method = method
        self._typed = Typed(method, descriptors)
        kinds = {side: descriptors.type_sent(method, side) if descriptors is not None else None for side in Side}
        self._names = {side: kind.full_name if kind is not None else "" for side, kind in kinds.items()}
        self._is_known = {side: kind is not None for side, kind in kinds.items()}
        self._payloads = Payloads(descriptors)
        self._reader = Reader(*([descriptors] if descriptors is not None else []))

    def fits(self, side: Side, pattern: Pattern) -> Callable[[bytes], bool] | None:
        """Return what tells whether a payload is as the pattern says; None where any is."""
        match pattern:
            case Anything():
                return None
            case Like(match):
                return self.fits(side, match)
            case bytes():
                if not self._is_known[side]:
                    return pattern.__eq__
                return lambda payload: payload == pattern or not self.differences(side, pattern, payload)
            case Fields() | Protobuf():
                written = self.write(side, pattern)
                return lambda payload: payload == written or not self.differences(side, pattern, payload)
            case _:
                return self._says_yes(side, pattern)

    def write(self, side: Side, message: Message) -> bytes:
        """Return the payload of a message that `side` says; ScriptError where it cannot be one of this method."""
        match message:
            case bytes():
                return message
            case Fields():
                return self._typed.write(side, message.plain())
            case Protobuf(type_name=name, payload=payload):
                known = self._names[side]
                if known and name != known:
                    raise ScriptError(f"the {side.name.lower()}'s messages are {known}, and this is a {name}")
                return payload
            case _:
                raise TypeError(f"{message!r} is no message")

    def answers(self, match: Pattern, function: Function) -> Callable[[bytes], Sequence[Message]]:
        """Return what makes the server's answers of a payload of the client's."""
        read = self._read(Side.CLIENT, match)
        name = function_name(function)

        def answers(payload: bytes) -> Sequence[Message]:
            reply = function(payload if read is None else read(payload))
            if type(reply) is bytes:
                return (reply,)
            if reply is None:
                return ()
            return tuple([_message(each, name) for each in (reply if isinstance(reply, list | tuple) else (reply,))])

        return answers

    def differences(self, side: Side, pattern: Pattern, payload: bytes) -> tuple[Difference, ...]:
        """Say how a payload is not as the pattern says; nothing of what functions say."""
        match pattern:
            case Like(match):
                return self.differences(side, match, payload)
            case bytes():
                if pattern == payload:
                    return ()
                if not self._is_known[side]:
                    return (Difference(WHOLE, pattern, payload),)
                return tuple(self._payloads.differences(self._method, side, pattern, payload))
            case Fields() | Protobuf():
                return tuple(self._named_differences(side, pattern, payload))
            case _:
                return ()

    def plain(self, payload: bytes, flags: int, encoding: str) -> bytes:
        """Return a message without its compression; ProtocolError where that cannot be done."""
        return compression.plain(payload, flags, encoding)

    def text(self, side: Side, payload: bytes) -> str:
        """Write a payload for people: read by descriptors, else as bytes."""
        if not self._is_known[side]:
            return shown(payload)
        return line(self._reader.read(self._method, side, payload))

    def _says_yes(self, side: Side, function: Function) -> Callable[[bytes], bool]:
        read = self._read(side, function)
        if read is None:
            return lambda payload: bool(function(payload))

        def says_yes(payload: bytes) -> bool:
            try:
                message = read(payload)
            except ProtocolError:
                return False
            return bool(function(message))

        return says_yes

    def _read(self, side: Side, pattern: Pattern) -> Callable[[bytes], Any] | None:
        """Return what makes a payload what functions get; None where that is the payload."""
        match pattern:
            case Like(Protobuf() as known) | (Protobuf() as known) | Like(_, Protobuf() as known):
                kind = known.kind
                return lambda payload: self._typed.read(side, payload, kind)
            case _ if self._is_known[side]:
                return lambda payload: self._typed.read(side, payload)
            case _:
                return None

    def _named_differences(self, side: Side, pattern: Fields | Protobuf, payload: bytes) -> Iterator[Difference]:
        if isinstance(pattern, Protobuf):
            wanted, kind, fields = pattern.message(), pattern.kind, None
        else:
            wanted, kind, fields = self._typed.read(side, self.write(side, pattern)), None, pattern
        try:
            came = self._typed.read(side, payload, kind)
        except (ProtocolError, DecodeError):
            yield Difference(WHOLE, pattern, payload)
            return
        yield from _of_messages("", wanted, came, fields)


def _of_messages(path: str, wanted: ProtobufMessage, came: Any, fields: Fields | None) -> Iterator[Difference]:
    """Compare the fields that were named, or, of a protobuf message, that are set."""
    if fields is None:
        named: dict[str, Any] = {field.name: None for field, _ in wanted.ListFields()}
    else:
        named = dict(fields.items())
    for name, written in named.items():
        field = wanted.DESCRIPTOR.fields_by_name[name]
        at = f"{path}.{name}" if path else name
        expected, actual = getattr(wanted, name), getattr(came, name)
        is_repeated = hasattr(expected, "__len__") and not isinstance(expected, str | bytes)
        if is_repeated:
            if isinstance(written, Fields):
                yield from _of_maps(at, expected, actual, written)
            elif not _same(expected, actual, written):
                yield Difference(at, _listed(expected), _listed(actual))
        elif field.message_type is not None:
            if wanted.HasField(name) != came.HasField(name):
                yield Difference(at, _or_none(wanted, name), _or_none(came, name))
            elif wanted.HasField(name):
                yield from _of_messages(at, expected, actual, written if isinstance(written, Fields) else None)
        elif expected != actual:
            yield Difference(at, expected, actual)


def _of_maps(path: str, expected: Any, actual: Any, written: Fields) -> Iterator[Difference]:
    for key in expected:
        at = f"{path}.{key}"
        if key not in actual:
            yield Difference(at, expected[key], None)
        elif isinstance(expected[key], ProtobufMessage):
            fields = next((value for name, value in written.items() if name == key), None)
            yield from _of_messages(at, expected[key], actual[key], fields if isinstance(fields, Fields) else None)
        elif expected[key] != actual[key]:
            yield Difference(at, expected[key], actual[key])


def _same(expected: Any, actual: Any, written: Any) -> bool:
    if len(expected) != len(actual):
        return False
    if not isinstance(written, tuple):
        return bool(expected == actual)
    return all(
        not any(_of_messages("", one, other, named if isinstance(named, Fields) else None))
        if isinstance(one, ProtobufMessage)
        else one == other
        for one, other, named in zip(expected, actual, written, strict=True)
    )


def _listed(values: Any) -> Any:
    return dict(values) if hasattr(values, "items") else list(values)


def _or_none(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _message(given: object, function: str) -> Message:
    try:
        pattern = pattern_of(given)
    except ScriptError as exc:
        raise ScriptError(f"{function} replied {exc}") from None
    if not isinstance(pattern, bytes | Fields | Protobuf):
        raise ScriptError(
            f"{function} replied {shown(given)}: a reply is bytes, a dict of fields or a protobuf message"
        )
    return pattern
