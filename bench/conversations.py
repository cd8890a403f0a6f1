"""The conversations that are replayed, and the fixtures of them: what bench/load's jobs say, byte for byte.

In an echo each reply waits for its request, as a recording of an echo server has it; the requests of a client that
floods wait for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.messages import CHAT, PUSH, STAMP, chat_message
from duplexmock.core.connection import Connection
from duplexmock.core.events import ClientHalfClose, ClientHeader, ServerHeader, ServerTrailer
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.status import Code, Status
from duplexmock.store.header import Header
from duplexmock.store.writer import Writer
from duplexmock.wire.fields import GRPC_ANSWER, GRPC_REQUEST

Batch = tuple[int, Sequence[Row]]
Said = Callable[[int], Iterator[Batch]]
"""One call of this number: its reads, with their times from its beginning."""


def echo(messages: int) -> Said:
    """Each message comes back; the client says the next one without waiting for that."""

    def said(call: int) -> Iterator[Batch]:
        yield 0, _opening(call, CHAT)
        for number in range(messages):
            payload = chat_message(number)
            yield (
                number + 1,
                [(RowKind.CLIENT_MESSAGE, call, 0, payload), (RowKind.SERVER_MESSAGE, call, 0, payload)],
            )
        yield messages + 1, _ending(call)

    return said


def push(messages: int, gap_ns: int = 0) -> Said:
    """The server sends so many messages when it has been asked to, with these gaps between them."""

    def said(call: int) -> Iterator[Batch]:
        asking = (RowKind.CLIENT_MESSAGE, call, 0, messages.to_bytes(8, "big"))
        yield 0, [*_opening(call, PUSH), asking, (RowKind.CLIENT_HALF_CLOSE, call, ClientHalfClose())]
        for number in range(messages):
            yield (number + 1) * gap_ns, [(RowKind.SERVER_MESSAGE, call, 0, chat_message(0))]
        yield (messages + 1) * gap_ns, [_trailer(call)]

    return said


def write(path: Path, said: Said, calls: int, descriptors: bytes | None = None) -> None:
    """Write a fixture of so many calls, one after the other, on one connection."""
    writer = Writer(path, Header(STAMP * 1_000_000_000, "127.0.0.1:50051", descriptors), if_exists="overwrite")
    writer.write(0, [(RowKind.OPENED, 1, Connection(1, "127.0.0.1:41234", "127.0.0.1:50051", 0))])
    now_ns = 0
    for call in range(1, calls + 1):
        began_ns = now_ns + 1
        for since_ns, rows in said(call):
            now_ns = began_ns + since_ns
            writer.write(now_ns, rows)
    writer.close()
    assert not writer.failure, writer.failure


def _opening(call: int, method: str) -> list[Row]:
    header = ClientHeader(method, GRPC_REQUEST, "localhost:50051")
    return [
        (RowKind.CLIENT_HEADER, call, header, 1, 2 * call - 1),
        (RowKind.SERVER_HEADER, call, ServerHeader(GRPC_ANSWER)),
    ]


def _ending(call: int) -> list[Row]:
    return [(RowKind.CLIENT_HALF_CLOSE, call, ClientHalfClose()), _trailer(call)]


def _trailer(call: int) -> Row:
    return RowKind.SERVER_TRAILER, call, ServerTrailer(Status(Code.OK))
