"""Reading payloads: as messages by descriptors where these know the method, else by field number, else as they are.

A payload that its descriptors cannot parse is read as if there were none: better what is there than an error.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from duplexmock.core.events import Side
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.wireformat import Field, decode, guess

Reading = Message | tuple[Field, ...] | str | bytes
"""A message; its fields by number; text or bytes that are no message."""


class Reader:
    """Reads payloads by the first of several Descriptors that knows the method, or by none."""

    def __init__(self, *descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self._classes: dict[tuple[str, Side], type[Message] | None] = {}

    def read(self, method: str, side: Side, plain: bytes, codec: str = "proto") -> Reading:
        """Read the payload of a message that `side` sent, decompressed; never raises.

        `codec` is what stands behind the plus in `content-type` (PROTOCOL-HTTP2): a payload that is not `proto` is text
        or bytes.
        """
        if codec != "proto":
            return _text_or_bytes(plain)
        cls = self._class(method, side)
        if cls is not None:
            try:
                return cls.FromString(plain)
            except DecodeError:
                pass
        fields = decode(plain)
        return guess(plain) if fields is None else fields

    def _class(self, method: str, side: Side) -> type[Message] | None:
        key = method, side
        if key not in self._classes:
            found = (descriptors.type_sent(method, side) for descriptors in self._descriptors)
            first = next((kind for kind in found if kind is not None), None)
            self._classes[key] = None if first is None else GetMessageClass(first)
        return self._classes[key]


def _text_or_bytes(plain: bytes) -> str | bytes:
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return plain
