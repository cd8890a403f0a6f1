"""Records: the frame that every entry of a fixture has, written and found again.

The layout is that of the specification in fixture.py: an array that begins with the record's kind, its number and the
length of its body; the body, a bin; a nil. A reader hops from head to head. It believes a length only where the body
says the same one and the nil is where it should be, so that a flipped bit sends it nowhere and costs no memory.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO, NamedTuple

import msgpack

from duplexmock.errors import FixtureError


class RecordKind(IntEnum):
    """The first element of a record's head. The numbers are those of the file format: never change one."""

    BLOCK = 1
    INDEX = 2
    END = 3


BIN = Struct(">BI")
"""The head of a msgpack bin 32."""

BIN_32 = 0xC6
NIL = b"\xc0"
END = Struct(">BBBQB")
"""The END record, always of the same length so that it is found from the file's end: an array of two, and a nil."""

END_HEAD = (0x92, RecordKind.END, 0xCF)
END_NIL = NIL[0]


class Record(NamedTuple):
    """A record where it was found. `head` is what follows the three numbers that all kinds have.

    `whole` is False where the file ends before the record does; `body_bytes` are then those that are there.
    """

    kind: int
    number: int
    head: list[Any]
    offset: int
    body_offset: int
    body_bytes: int
    whole: bool

    @property
    def end(self) -> int:
        """Return the offset behind the record."""
        return self.body_offset + self.body_bytes + len(NIL)


class Source:
    """The bytes of a fixture file; `end` is where they end, without the zeros that a power loss leaves behind them.

    Every method raises FixtureError where the file cannot be read or is damaged.
    """

    def __init__(self, path: Path | str) -> None:
        self.name = str(path)
        try:
            # A FIFO would block at open, a directory cannot be read: look first.
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise FixtureError(f"{self.name}: not a file that a fixture could be read from")
            self._file: BinaryIO = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as exc:
            raise FixtureError(f"{self.name}: {exc.strerror or exc}") from exc
        try:
            self.end = self._end_of_content()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`, fewer only at the end."""
        if offset < 0:
            raise self.damaged(f"byte {offset}", "there is no such place")
        size = min(size, self.end - offset)
        if size <= 0:
            return b""
        try:
            self._file.seek(offset)
            pieces = []
            while size and (piece := self._file.read(size)):
                pieces.append(piece)
                size -= len(piece)
        except (OSError, ValueError) as exc:
            raise FixtureError(f"{self.name}: {exc}") from exc
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def object_at(self, offset: int) -> tuple[Any, int] | None:
        """Read the msgpack object at `offset`; return it and the offset behind it, or None where the file cuts it.

        Raises ValueError where there is no object of msgpack, or a longer one than any head is.
        """
        size = _FIRST_READ_BYTES
        while True:
            piece = self.read(offset, size)
            unpacker = unpacker_of(piece)
            try:
                return unpack(unpacker), offset + unpacker.tell()
            except msgpack.OutOfData:
                if len(piece) < size:
                    return None
                if size >= _LONGEST_HEAD_BYTES:
                    raise ValueError(_NOT_OURS) from None
                size *= 8

    def record_at(self, offset: int, place: str = "") -> Record | None:
        """Read the head at `offset`; return None where the file ends inside of it.

        `place` says what is there ("entry 17"), for the text of the error.
        """
        place = place or f"byte {offset}"
        try:
            found = self.object_at(offset)
        except ValueError as exc:
            raise self.damaged(place, str(exc)) from exc
        match found:
            case None:
                return None
            case ([RecordKind.END as kind, int()] as head, body_offset):
                # No body: what stands behind the head is the nil.
                record = Record(kind, 0, head[1:], offset, body_offset, 0, body_offset < self.end)
            case ([int(kind), int(number), int(stated_bytes), *head], bin_offset) if stated_bytes >= 0:
                body_offset = bin_offset + BIN.size
                there = self.end - body_offset
                record = Record(
                    kind, number, head, offset, body_offset, max(min(stated_bytes, there), 0), there > stated_bytes
                )
                frame = self.read(bin_offset, BIN.size)
                if frame != BIN.pack(BIN_32, stated_bytes & 0xFFFFFFFF)[: len(frame)]:
                    raise self.damaged(place, "a head that is not followed by its body")
            case _:
                raise self.damaged(place, "no head of a record")
        if record.whole and self.read(record.end - len(NIL), len(NIL)) != NIL:
            raise self.damaged(place, "a body that does not end where its head says")
        return record

    def records(self, offset: int) -> Iterator[Record]:
        """Hop from record to record; the last one may be cut. Nothing comes behind an END."""
        number = 1
        while offset < self.end:
            record = self.record_at(offset, f"entry {number}")
            if record is None:
                return
            if record.kind != RecordKind.END and record.number != number:
                raise self.damaged(f"entry {number}", f"it says that it is entry {record.number}")
            yield record
            if not record.whole:
                return
            if record.kind == RecordKind.END and record.end < self.end:
                raise self.damaged(f"entry {number}", "the file goes on behind its end")
            offset = record.end
            number += 1

    def damaged(self, place: str, reason: str) -> FixtureError:
        """Return the error that says where the file is damaged, and how."""
        return FixtureError(f"{self.name}: {place}: {reason}; the file is damaged or was edited by hand")

    def _end_of_content(self) -> int:
        """Find the end, from behind: no record ends in a zero."""
        self.end = os.fstat(self._file.fileno()).st_size
        while self.end:
            piece = self.read(max(self.end - _TAIL_BYTES, 0), _TAIL_BYTES)
            content = piece.rstrip(b"\0")
            if content or not piece:
                return self.end - len(piece) + len(content)
            self.end -= len(piece)
        return 0


def unpacker_of(buffer: bytes) -> msgpack.Unpacker:
    """Return an Unpacker of what is in the buffer that allocates in proportion to it, whatever lengths it states."""
    unpacker = msgpack.Unpacker(
        max_buffer_size=max(len(buffer), 1),
        read_size=1,
        max_ext_len=0,
        unicode_errors="surrogateescape",
    )
    unpacker.feed(buffer)
    return unpacker


def unpack(unpacker: msgpack.Unpacker) -> Any:
    """Return the next object of an Unpacker that `unpacker_of` made.

    Raises msgpack.OutOfData where the buffer ends before the object does, ValueError where there is none.
    """
    try:
        return unpacker.unpack()
    except msgpack.OutOfData:
        raise
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as exc:
        # An object that states more than the buffer could hold is cut by the buffer's end.
        if _STATES_TOO_MUCH.search(str(exc)):
            raise msgpack.OutOfData from exc
        raise ValueError(_NOT_OURS) from exc


_NOT_OURS = "not msgpack, or not this format's"
_STATES_TOO_MUCH = re.compile("exceeds max_(array|map|str|bin)_len")

_FIRST_READ_BYTES = 256  # most heads, so that hopping over a large file reads little
_LONGEST_HEAD_BYTES = _FIRST_READ_BYTES * 8**6  # 64 MiB: what a head may cost that a flipped bit made longer
_TAIL_BYTES = 64 * 1024
