"""The endpoint alone, with canned bytes: what it costs to receive, send, open and close. CPU time, without sockets.

python bench/endpoint.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

from duplexmock.core.events import ClientHalfClose, ClientHeader, ServerHeader, ServerMessage, ServerTrailer, Side
from duplexmock.core.rows import Row, RowKind, event_of
from duplexmock.core.status import Code, Status
from duplexmock.wire import framing
from duplexmock.wire.endpoint import Endpoint
from duplexmock.wire.fields import GRPC_ANSWER, GRPC_REQUEST, HeaderWriter, request_fields
from duplexmock.wire.framed import Framed
from duplexmock.wire.frames import PREFACE
from duplexmock.wire.limits import Config, Packing
from duplexmock.wire.settings import Setting

PAYLOAD = b"x" * 60
READ_BYTES = 64 * 1024
REQUEST = ClientHeader("/chat.ChatService/Chat", GRPC_REQUEST, "localhost:50051")
HEADER = ServerHeader(GRPC_ANSWER)
TRAILER = ServerTrailer(Status(Code.OK))
WIDE = framing.settings([(Setting.INITIAL_WINDOW_SIZE, 2**31 - 1)]) + framing.window_update(0, 2**31 - 1 - 65_535)


def server(config: Config | None = None, calls: int = 1) -> Endpoint:
    """Return a server whose peer has opened so many calls and takes whatever comes."""
    endpoint = Endpoint(Side.SERVER, config)
    writer = HeaderWriter()
    opening = b"".join(
        framing.headers(2 * call + 1, writer.write(REQUEST, request_fields), 0, 16384) for call in range(calls)
    )
    endpoint.receive(PREFACE + WIDE + opening)
    for call in range(calls):
        endpoint.send(2 * call + 1, [HEADER])
    endpoint.take()
    return endpoint


def flood(calls: int, messages: int) -> list[bytes]:
    """Return reads full of messages, one a frame, call by call in turn."""
    octets = b"".join(framing.data(2 * (n % calls) + 1, framing.message(PAYLOAD)) for n in range(messages))
    return [octets[start : start + READ_BYTES] for start in range(0, len(octets), READ_BYTES)]


def run_of(rows: list[Row]) -> Framed:
    """Frame the messages among rows."""
    return Framed([(row[2], row[3]) for row in rows if row[0] == RowKind.CLIENT_MESSAGE])


def receive(messages: int, calls: int) -> float:
    """Receive only."""
    endpoint, reads = server(calls=calls), flood(calls, messages)
    began = time.process_time()
    for chunk in reads:
        endpoint.receive(chunk)
        endpoint.take()
    return time.process_time() - began


def receive_values(messages: int, calls: int) -> float:
    """Receive and make a value of each message."""
    endpoint, reads = server(calls=calls), flood(calls, messages)
    began = time.process_time()
    for chunk in reads:
        for _, rows in endpoint.receive(chunk):
            [event_of(row) for row in rows]  # type: ignore[arg-type]
        endpoint.take()
    return time.process_time() - began


def echo(messages: int, calls: int, config: Config | None = None) -> float:
    """Receive, and send back."""
    endpoint, reads = server(config, calls), flood(calls, messages)
    began = time.process_time()
    for chunk in reads:
        for stream_id, rows in endpoint.receive(chunk):
            endpoint.send(stream_id, [run_of(rows)])  # type: ignore[arg-type]
        endpoint.take()
    return time.process_time() - began


def push(messages: int, config: Config | None = None) -> float:
    """Send a run that is framed ahead, a hundred messages at a time."""
    endpoint, run = server(config), Framed.alike([PAYLOAD] * messages)
    began = time.process_time()
    for start in range(0, messages, 100):
        endpoint.send(1, [run[start : start + 100]])
        endpoint.take()
    return time.process_time() - began


def push_values(messages: int) -> float:
    """Send values, a hundred at a time."""
    endpoint, values = server(), [ServerMessage(PAYLOAD)] * 100
    began = time.process_time()
    for _ in range(0, messages, 100):
        endpoint.send(1, values)
        endpoint.take()
    return time.process_time() - began


def push_singly(messages: int) -> float:
    """Send a run that is framed ahead, one message at a time."""
    endpoint, run = server(), Framed.alike([PAYLOAD] * messages)
    began = time.process_time()
    for start in range(messages):
        endpoint.send(1, [run[start : start + 1]])
        if not start % 100:
            endpoint.take()
    return time.process_time() - began


def sessions(count: int) -> float:
    """Open, three messages each way, close: the server's part, 16 calls a read."""
    endpoint, writer = server(), HeaderWriter()
    three = Framed.alike([PAYLOAD] * 3)
    body = b"".join(framing.message(PAYLOAD) for _ in range(3))
    reads = []
    for first in range(1, count + 1, 16):
        said = []
        for call in range(first, min(first + 16, count + 1)):
            stream_id = 2 * call + 1
            said.append(framing.headers(stream_id, writer.write(REQUEST, request_fields), 0, 16384))
            said.append(framing.data(stream_id, body) + framing.data(stream_id, b"", 1))
        reads.append(b"".join(said))
    answer = [HEADER, three, TRAILER]
    began = time.process_time()
    for chunk in reads:
        for stream_id, _ in endpoint.receive(chunk):
            if stream_id:
                endpoint.send(stream_id, answer)
        endpoint.take()
    return time.process_time() - began


def both(count: int) -> float:
    """Open, three messages each way, close: a client and a server joined."""
    client, serving = Endpoint(Side.CLIENT), Endpoint(Side.SERVER)
    three = Framed.alike([PAYLOAD] * 3)
    answer, ask = [HEADER, three, TRAILER], [three, ClientHalfClose()]
    began = time.process_time()
    for _ in range(0, count, 16):
        for _ in range(16):
            client.send(client.open(REQUEST), ask)
        for stream_id, _ in serving.receive(client.take()):
            if stream_id:
                serving.send(stream_id, answer)
        client.receive(serving.take())
    return time.process_time() - began


def idle_bytes(count: int) -> float:
    """Return the bytes that an open call costs."""
    import tracemalloc

    tracemalloc.start()
    endpoint = server(calls=1)
    writer = HeaderWriter()
    before = tracemalloc.get_traced_memory()[0]
    for call in range(1, count + 1):
        block = framing.headers(2 * call + 1, writer.write(REQUEST, request_fields), 0, 16384)
        endpoint.receive(block)
        endpoint.send(2 * call + 1, [HEADER])
        endpoint.take()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / count


def best(measure: Callable[[], float], rounds: int = 5) -> float:
    """Return the quickest of some rounds."""
    return min(measure() for _ in range(rounds))


def main() -> None:
    """Print a line a measurement."""
    count = 100_000
    each = Config(packing=Packing.MESSAGE)
    lines = [
        ("receive, 1 call", count, best(lambda: receive(count, 1))),
        ("receive, 64 calls in turn", count, best(lambda: receive(count, 64))),
        ("receive, 1 call, values", count, best(lambda: receive_values(count, 1))),
        ("echo, 1 call", count, best(lambda: echo(count, 1))),
        ("echo, 1 call, a frame a message", count, best(lambda: echo(count, 1, each))),
        ("echo, 64 calls in turn", count, best(lambda: echo(count, 64))),
        ("push, framed ahead", count, best(lambda: push(count))),
        ("push, framed ahead, a frame a message", count, best(lambda: push(count, each))),
        ("push, framed ahead, one by one", count, best(lambda: push_singly(count))),
        ("push, values", count, best(lambda: push_values(count))),
        ("sessions, server", 16_000, best(lambda: sessions(16_000))),
        ("sessions, client and server", 16_000, best(lambda: both(16_000))),
    ]
    for name, number, seconds in lines:
        print(f"{name:40} {number / seconds / 1000:9.1f} k/s   {seconds / number * 1e6:7.3f} us")
    print(f"{'open call':40} {idle_bytes(2000):9.0f} bytes")


if __name__ == "__main__":
    main()
