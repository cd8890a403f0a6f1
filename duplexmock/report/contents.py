"""What the messages of one call say: numbered a side, decompressed and read as its headers and descriptors allow."""

from __future__ import annotations

from dataclasses import dataclass

from duplexmock.core.events import ClientHeader, ClientMessage, Event, ServerHeader, ServerMessage, Side
from duplexmock.core.metadata import Metadata
from duplexmock.errors import ProtocolError
from duplexmock.schema.payload import COMPRESSED, codec, encoding, plain
from duplexmock.schema.reader import Reader, Reading


@dataclass(frozen=True, slots=True)
class Content:
    """One message: its number, from 1 on its side, and what it says.

    `encoding` is the side's `grpc-encoding` where the message is compressed, else empty. `problem` says why it could
    not be decompressed; `reading` is then the payload as it came.
    """

    number: int
    reading: Reading
    compressed: bool = False
    encoding: str = ""
    problem: str = ""


class Contents:
    """Reads one call; give it every event in its order."""

    def __init__(self, method: str, reader: Reader) -> None:
        self._method = method
        self._reader = reader
        self._numbers = {Side.CLIENT: 0, Side.SERVER: 0}
        self._encodings = {Side.CLIENT: "", Side.SERVER: ""}
        self._codecs = {Side.CLIENT: "proto", Side.SERVER: "proto"}

    def see(self, event: Event) -> Content | None:
        """Return what a message says; None for any other event."""
        match event:
            case ClientHeader(_, metadata):
                self._announced(Side.CLIENT, metadata)
            case ServerHeader(metadata):
                self._announced(Side.SERVER, metadata)
            case ClientMessage(payload, flags):
                return self._message(Side.CLIENT, payload, flags)
            case ServerMessage(payload, flags):
                return self._message(Side.SERVER, payload, flags)
        return None

    def _announced(self, side: Side, metadata: Metadata) -> None:
        self._encodings[side] = encoding(metadata)
        self._codecs[side] = codec(metadata)

    def _message(self, side: Side, payload: bytes, flags: int) -> Content:
        self._numbers[side] += 1
        compressed = bool(flags & COMPRESSED)
        encoding = self._encodings[side] if compressed else ""
        try:
            uncompressed = plain(payload, flags, encoding)
        except ProtocolError as exc:
            return Content(self._numbers[side], payload, compressed, encoding, str(exc))
        reading = self._reader.read(self._method, side, uncompressed, self._codecs[side])
        return Content(self._numbers[side], reading, compressed, encoding)
