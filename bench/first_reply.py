"""How long it takes until a client has its first reply, in a process that has done it before.

`python -m bench.first_reply FIXTURE` prints a line a round: ms of the mock, ms of a grpc.aio server. The client is the
same: a blocking socket and bytes made beforehand. The mock makes its thread and its loop in that time; the grpc.aio
server finds a loop that runs already. With `once` behind it, in a process that has done nothing before: ms from
`duplexmock.replay(...)` to listening, and from there to the first reply; then it waits for its standard input to end.
"""

from __future__ import annotations

import os
import socket
import sys
import time

import duplexmock
from bench.messages import CHAT, chat_message
from duplexmock.core.events import ClientHeader
from duplexmock.wire import framing
from duplexmock.wire.fields import GRPC_REQUEST, HeaderWriter, request_fields
from duplexmock.wire.frames import PREFACE

ROUNDS = 20
REPLY = chat_message(0)
REQUEST = b"".join(
    (
        PREFACE,
        framing.settings([]),
        framing.headers(
            1, HeaderWriter().write(ClientHeader(CHAT, GRPC_REQUEST, "localhost"), request_fields), 0, 16384
        ),
        framing.data(1, framing.message(REPLY)),
    )
)


def reply(target: str) -> None:
    """Return when the first reply has come."""
    host, _, port = target.rpartition(":")
    came = b""
    with socket.create_connection((host, int(port))) as client:
        client.sendall(REQUEST)
        while REPLY not in came:
            some = client.recv(65536)
            assert some, "the server has hung up"
            came += some


def of_mock(fixture: str) -> tuple[float, float]:
    """Return the seconds to listening, and from there to the first reply."""
    begin = time.perf_counter()
    try:
        with duplexmock.replay(fixture, grace_s=0) as mock:
            listening = time.perf_counter()
            reply(mock.target)
            replied = time.perf_counter()
    except duplexmock.MismatchError:
        pass  # the client hangs up behind the first reply
    return listening - begin, replied - listening


def compare(fixture: str) -> None:
    """Measure both in turn."""
    from bench.answer_aio import started
    from duplexmock.net.background import Background

    background = Background("grpc.aio")

    def of_aio() -> float:
        begin = time.perf_counter()
        server, target = background.run(started())
        reply(target)
        seconds = time.perf_counter() - begin
        background.run(server.stop(None))
        return seconds

    of_mock(fixture)
    of_aio()
    for number in range(ROUNDS):
        if number % 2:
            ours, theirs = sum(of_mock(fixture)), of_aio()
        else:
            theirs, ours = of_aio(), sum(of_mock(fixture))
        print(ours * 1000, theirs * 1000, flush=True)
    background.close()


def once(fixture: str) -> None:
    """Measure the mock where everything is new, but the imports."""
    make = duplexmock.replay
    begin = time.perf_counter()
    with make(fixture, grace_s=0) as mock:
        listening = time.perf_counter()
        reply(mock.target)
        replied = time.perf_counter()
        print((listening - begin) * 1000, (replied - listening) * 1000, flush=True)
        sys.stdin.read()
        os._exit(0)  # nobody wants to hear which of many sessions were not played


if __name__ == "__main__":
    if sys.argv[2:] == ["once"]:
        once(sys.argv[1])
    else:
        compare(sys.argv[1])
