"""The Writer: rows in, a fixture out, in the layout that fixture.py specifies.

Rows are packed as they come, a read's rows at once, and kept until there is a block of them or until `flush`. What has
been flushed is in the operating system's hands and survives the death of this process. The memory is that of one block
and of the index since the last INDEX record, however long the recording goes on.

A large payload is neither joined nor packed: the slice that the tap cut from its chunk goes to the system as it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgpack

from duplexmock.core.rows import Row, RowKind
from duplexmock.errors import FixtureError
from duplexmock.store.flat import flatten
from duplexmock.store.header import Header, header_fields
from duplexmock.store.index import LAST_OF_MESSAGES, Index, SessionLine, Tally, flat_lines
from duplexmock.store.records import BIN, BIN_32, END, END_HEAD, END_NIL, NIL, RecordKind

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BLOCK_BYTES = 256 * 1024
"""A block ends when its body has this size: what a reader decodes to see one row of it."""

PART_BYTES = 256 * 1024
"""A payload that is larger is written in parts of this size."""

LARGE_BYTES = 4096
"""From this size on a payload is written where it lies; below it, copying it costs less than one more buffer."""


class Behind(NamedTuple):
    """Where a file goes on: its size, the number of its last record, and the offset of its last INDEX record or 0."""

    offset: int
    number: int
    indexed_at: int


class Writer:
    """Writes one fixture, from its header on or behind what a file already has.

    The file is made, or emptied, at once; FixtureError where that cannot be done, where a file is there and `if_exists`
    is "refuse", or where another Writer has not closed it (which is known where the platform has flock). Devices and
    pipes are written to in any case: they hold nothing that could be lost. The file is readable by its owner only.

    `failure` is a sentence when the file could not be written, and empty while all is well. From then on rows are
    dropped, and what was written stays readable. `wrote` is told a line for each session of a block that has gone out.
    """

    def __init__(
        self,
        path: Path | str,
        opening: Header | Behind,
        *,
        if_exists: Literal["refuse", "overwrite"] = "refuse",
        wrote: Callable[[Mapping[int, SessionLine]], None] = lambda lines: None,
    ) -> None:
        self.failure = ""
        self._wrote = wrote
        self._path = str(path)
        self._fd = _create(path, if_exists) if isinstance(opening, Header) else _reopen(path)
        self._open = True
        self._pack = msgpack.Packer(default=flatten, unicode_errors="surrogateescape").pack
        self._first_at_ns = self._last_at_ns = 0
        self._body: list[bytes | memoryview] = []
        self._body_bytes = 0
        self._heads: dict[Row, bytes] = {}  # of this block's rows with large payloads
        self._tally = Tally()
        self._index = Index()
        if isinstance(opening, Header):
            self._offset = self._number = self._indexed_at = 0
            self._put([self._pack(header_fields(opening))])
        else:
            self._offset, self._number, self._indexed_at = opening

    def write(self, at_ns: int, rows: Sequence[Row]) -> None:
        """Take the rows of one read, seen at `at_ns`. Never raises for what happens to the file."""
        if self.failure or not self._open or not rows:
            return
        batches: Iterable[Sequence[Row]] = (rows,)
        sizes = () if len(rows) > _FEW_ROWS else tuple(map(_payload_bytes, rows))
        if max(sizes, default=0) < LARGE_BYTES:
            packed = self._pack((self._since_ns(at_ns), rows))
            if len(packed) < PART_BYTES:
                self._append(at_ns, rows, packed)
                return
            batches = _batches(rows)
        elif sum(sizes) > PART_BYTES:
            batches = _batches(rows)
        for some in batches:
            self._append(at_ns, some, *self._runs(self._since_ns(at_ns), some))

    def flush(self) -> None:
        """Hand what is pending to the operating system; cheap where nothing is."""
        if self._body:
            self._end_block()

    def sync(self) -> None:
        """Ask the system to put what was flushed on the disk; files that cannot be synced are left as they are.

        May be called on another thread than `write`, but not at the same time as `close`.
        """
        if self.failure or not self._open:
            return
        try:
            _sync(self._fd)
        except OSError as exc:
            if exc.errno not in _CANNOT_SYNC:
                self._say_why(exc)

    def close(self) -> None:
        """Write what is pending, the index and the end, sync, and close the file. A second call does nothing."""
        if not self._open:
            return
        self.flush()
        self._write_index()
        self._put([END.pack(*END_HEAD, self._indexed_at, END_NIL)])
        self.sync()
        self._open = False
        _unlock(self._fd)
        try:
            os.close(self._fd)
        except OSError as exc:
            self._fail(exc)

    def _since_ns(self, at_ns: int) -> int:
        """Return the time of a batch as its block will have it."""
        return at_ns - self._first_at_ns if self._body else 0

    def _append(self, at_ns: int, rows: Sequence[Row], *chunks: bytes | memoryview) -> None:
        """Take the packed batch of these rows."""
        if not self._body:
            self._first_at_ns = at_ns
        self._last_at_ns = at_ns
        self._body += chunks
        self._body_bytes += sum(map(len, chunks))
        self._tally.add(rows)
        if self._body_bytes >= BLOCK_BYTES:
            self._end_block()

    def _runs(self, since_ns: int, rows: Sequence[Row]) -> list[bytes | memoryview]:
        """Pack a batch around its large payloads."""
        runs: list[bytes | memoryview] = [b"\x92" + self._pack(since_ns) + _array_head(len(rows))]
        for row in rows:
            size = _payload_bytes(row)
            if size >= LARGE_BYTES:
                runs += (self._head(row[:-1]) + BIN.pack(BIN_32, size), row[-1])
            else:
                runs.append(self._pack(row))
        return runs

    def _head(self, row: Row) -> bytes:
        """Pack a row but for its payload, which it is given without."""
        head = self._heads.get(row)
        if head is None:
            # An empty payload takes two bytes, and is taken off again.
            head = self._heads[row] = self._pack((*row, b""))[:-2]
        return head

    def _end_block(self) -> None:
        lines, connections = self._tally.lines(), self._tally.connections()
        offset = self._offset
        methods, flat = flat_lines(lines)
        sessions = [line[:-2] for line in flat]  # both offsets are this block's
        self._record(
            RecordKind.BLOCK,
            [self._first_at_ns, self._last_at_ns, methods, sessions, connections],
            self._body,
            self._body_bytes,
        )
        self._body, self._body_bytes, self._tally = [], 0, Tally()
        self._heads.clear()
        if self.failure:
            return
        self._wrote(lines)
        self._index.add_block(offset, lines, connections)
        if len(self._index) >= _INDEX_LINES:
            self._write_index()

    def _write_index(self) -> None:
        """Write and forget what is known of the sessions and connections of the latest blocks."""
        if len(self._index):
            methods, sessions = flat_lines(self._index.sessions)
            connections = [[number, *offsets] for number, offsets in self._index.connections.items()]
            body = self._pack([methods, sessions, connections])
            offset = self._offset
            self._record(RecordKind.INDEX, [self._indexed_at], [body], len(body))
            self._indexed_at = offset
        self._index = Index()

    def _record(self, kind: RecordKind, head: list[object], body: list[bytes | memoryview], body_bytes: int) -> None:
        self._number += 1
        frame = self._pack([kind, self._number, body_bytes, *head]) + BIN.pack(BIN_32, body_bytes)
        self._put([frame, *body, NIL])

    def _put(self, buffers: list[bytes | memoryview]) -> None:
        """Write all of this, or fail."""
        if self.failure:
            return
        try:
            self._offset += _write_all(self._fd, buffers)
        except OSError as exc:
            self._fail(exc)

    def _fail(self, exc: OSError) -> None:
        self._say_why(exc)
        self._body, self._body_bytes, self._tally, self._index = [], 0, Tally(), Index()

    def _say_why(self, exc: OSError) -> None:
        if not self.failure:
            self.failure = (
                f"{self._path}: {exc.strerror or exc}; recording stopped after {self._offset} bytes, "
                "and the fixture is readable up to there"
            )


def _payload_bytes(row: Row) -> int:
    """Return the size of a row's payload, 0 where it has none."""
    return len(row[-1]) if row[0] <= LAST_OF_MESSAGES else 0


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Cut rows into batches of about PART_BYTES, and payloads that are larger into parts."""
    batch: list[Row] = []
    batch_bytes = 0
    for row in rows:
        for piece in _pieces(row):
            piece_bytes = _payload_bytes(piece)
            if batch and batch_bytes + piece_bytes > PART_BYTES:
                yield batch
                batch, batch_bytes = [], 0
            batch.append(piece)
            batch_bytes += piece_bytes + _SMALL_ROW_BYTES
    yield batch


def _pieces(row: Row) -> Iterator[Row]:
    """Cut a row whose payload is too large: all but the last piece are parts."""
    if _payload_bytes(row) > PART_BYTES:
        payload = memoryview(row[-1])
        part = _PART_OF[row[0]]
        last = (len(payload) - 1) // PART_BYTES * PART_BYTES
        for start in range(0, last, PART_BYTES):
            yield (part, row[1], payload[start : start + PART_BYTES])
        row = (*row[:-1], payload[last:])
    yield row


def _array_head(length: int) -> bytes:
    return b"\xdd" + length.to_bytes(4, "big")


def _create(path: Path | str, if_exists: Literal["refuse", "overwrite"]) -> int:
    """Open the file for writing, empty and locked, and return its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
    try:
        try:
            fd = os.open(path, flags | os.O_EXCL, _MODE)
        except FileExistsError:
            if stat.S_ISREG(os.stat(path).st_mode):
                if if_exists == "refuse":
                    raise FixtureError(f"{path}: the file exists; overwrite it, or record to another one") from None
                os.chmod(path, _MODE)
            fd = os.open(path, flags, _MODE)
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                _lock(fd, path)
                os.ftruncate(fd, 0)  # not by opening it: what another recording has written must stay
        except BaseException:
            os.close(fd)
            raise
        return fd
    except OSError as exc:
        raise FixtureError(f"{path}: cannot be written: {exc.strerror or exc}") from exc


@contextlib.contextmanager
def kept_from_writers(path: Path | str) -> Iterator[None]:
    """Keep Writers, of any process, off a file during the block; FixtureError where one is writing it."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError as exc:
        raise FixtureError(f"{path}: {exc.strerror or exc}") from exc
    try:
        _lock(fd, path)
        yield
    finally:
        _unlock(fd)
        os.close(fd)


def _reopen(path: Path | str) -> int:
    """Open a file to write on behind its end, locked, and return its descriptor."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
    except OSError as exc:
        raise FixtureError(f"{path}: cannot be written: {exc.strerror or exc}") from exc
    _lock(fd, path)
    return fd


def _lock(fd: int, path: Path | str) -> None:
    """Keep other Writers, of any process, off the file until `_unlock`; FixtureError where one is there, or was.

    Who adds to a file puts another one in its place: one that was opened before that is the file no more.
    """
    if fcntl is not None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise FixtureError(f"{path}: another recording is writing it") from exc
        except OSError:
            pass  # a file system that has no locks
    if not os.path.samestat(os.fstat(fd), os.stat(path)):
        raise FixtureError(f"{path}: another process has just written it; try again")


def _unlock(fd: int) -> None:
    """Let others write the file, also where a child that was forked meanwhile still has it open."""
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)


def _write_all(fd: int, buffers: list[bytes | memoryview]) -> int:
    """Write all buffers and return how many bytes that were; OSError where the system takes no more."""
    total = 0
    for start in range(0, len(buffers), _BUFFERS_A_WRITE):
        some = buffers[start : start + _BUFFERS_A_WRITE]
        missing = sum(map(len, some))
        total += missing
        missing -= os.writev(fd, some) if hasattr(os, "writev") else 0
        while missing:
            # The system took a part: less than a block is left, so that joining it costs nothing that matters.
            missing -= os.write(fd, b"".join(some)[-missing:])
    return total


def _sync(fd: int) -> None:
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)


_MODE = 0o600  # a recording holds what people said
_FEW_ROWS = 64  # a read has at most 256 KiB, so that large payloads are among few rows; if not, nothing breaks
_SMALL_ROW_BYTES = 32
_INDEX_LINES = 4096
_BUFFERS_A_WRITE = 1024  # IOV_MAX of Linux and macOS
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EROFS}
_PART_OF = {
    RowKind.CLIENT_MESSAGE: RowKind.CLIENT_PART,
    RowKind.CLIENT_PART: RowKind.CLIENT_PART,
    RowKind.SERVER_MESSAGE: RowKind.SERVER_PART,
    RowKind.SERVER_PART: RowKind.SERVER_PART,
}
