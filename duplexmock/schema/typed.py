"""Messages as people give them and want them: protobuf messages, dicts of their fields, or bytes; and payloads.

A dict becomes a message of the type that the method's descriptors say, by protobuf's own rules for constructors. What
is given as bytes is said as it is. Any class that has `FromString`, and any object that has `SerializeToString`, is
taken for protobuf's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError, EncodeError
from google.protobuf.message_factory import GetMessageClass

from duplexmock.core.events import Side
from duplexmock.core.matching import shown
from duplexmock.errors import ProtocolError, ScriptError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

    from duplexmock.schema.descriptors import Descriptors


class Typed:
    """The messages of one method, by `descriptors` where these know it."""

    def __init__(self, method: str, descriptors: Descriptors | None) -> None:
        self._method = method
        self._types: dict[Side, Descriptor | None] = {
            side: descriptors.type_sent(method, side) if descriptors is not None else None for side in Side
        }

    def knows(self, side: Side) -> bool:
        """Tell whether the type of this side's messages is known."""
        return self._types[side] is not None

    def write(self, side: Side, message: object) -> bytes:
        """Return the payload of a message that `side` says; ScriptError where it cannot be one of this method."""
        known = self._types[side]
        if isinstance(message, bytes | bytearray | memoryview):
            return bytes(message)
        if isinstance(message, Mapping):
            if known is None:
                raise ScriptError(
                    f"{self._method}: a dict needs descriptors to become a message, and none know this method; "
                    "give descriptors=, or a protobuf message, or bytes"
                )
            return self._serialized(self._made(known, message))
        if not hasattr(message, "SerializeToString") or isinstance(message, type):
            raise ScriptError(
                f"{self._method}: {shown(message)} is no message; a protobuf message, a dict of its fields, or bytes"
            )
        name = _full_name(message)
        if known is not None and name is not None and name != known.full_name:
            raise ScriptError(
                f"{self._method}: the {side.name.lower()}'s messages are {known.full_name}, and this is a {name}"
            )
        return self._serialized(message)

    def read(self, side: Side, payload: bytes, kind: Any = None) -> Any:
        """Return the message that `side` said, as `kind`; without one by the descriptors, or else the bytes.

        ScriptError where the method has no messages of that kind, ProtocolError where the payload cannot be read.
        """
        known = self._types[side]
        if kind is None:
            if known is None:
                return payload
            kind = GetMessageClass(known)
        elif kind is bytes:
            return payload
        else:
            if not hasattr(kind, "FromString"):
                raise ScriptError(f"{self._method}: {shown(kind)} is no type of messages; a protobuf class, or bytes")
            name = _full_name(kind)
            if known is not None and name is not None and name != known.full_name:
                raise ScriptError(
                    f"{self._method}: the {side.name.lower()}'s messages are {known.full_name}, "
                    f"and {name} was asked for"
                )
        try:
            return kind.FromString(payload)
        except DecodeError as exc:
            raise ProtocolError(f"is no {_full_name(kind) or kind.__name__}: {shown(payload)}") from exc

    def _made(self, known: Descriptor, fields: Mapping[Any, Any]) -> Any:
        try:
            return GetMessageClass(known)(**fields)
        except (TypeError, ValueError) as exc:
            reason = _misfit(known, fields) or " ".join(str(exc).split())
            raise ScriptError(f"{self._method}: {shown(dict(fields))} is no {known.full_name}: {reason}") from exc

    def _serialized(self, message: Any) -> bytes:
        try:
            serialized: bytes = message.SerializeToString()
        except EncodeError as exc:
            raise ScriptError(f"{self._method}: the message cannot be written: {' '.join(str(exc).split())}") from exc
        return serialized


def _misfit(known: Descriptor, fields: Mapping[Any, Any]) -> str:
    """Name the field that does not take what it is given, where protobuf names none; empty where that is not it."""
    for name, given in fields.items():
        if name in known.fields_by_name:
            try:
                GetMessageClass(known)(**{name: given})
            except (TypeError, ValueError) as exc:
                return f"its field {name} cannot be {shown(given)}: {' '.join(str(exc).split())}"
    return ""


def _full_name(message: Any) -> str | None:
    name: str | None = getattr(getattr(message, "DESCRIPTOR", None), "full_name", None)
    return name
