"""The mock's seat against clients spoken at by hand: limits, refusals, hostile connections, and how it stops."""

import asyncio
import struct
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from duplexmock.core.events import Reset, ServerMessage, Side
from duplexmock.core.outcome import Outcome
from duplexmock.core.session import Session
from duplexmock.core.status import ErrorCode
from duplexmock.net.address import Address
from duplexmock.net.background import Background
from duplexmock.net.clock import MonotonicClock
from duplexmock.net.server import Server
from duplexmock.net.stage import Stage
from duplexmock.play.plan import Options
from duplexmock.wire.frames import PREFACE
from duplexmock.wire.happenings import GoAwayReceived, PingAcknowledged
from duplexmock.wire.limits import Config, Limits
from tests.net.ends import ANSWER, REQUEST, client, sentences, written
from tests.net.wires import LIMIT_S, dialled, to_the_end
from tests.playbook import HALF_CLOSE, OK, ask, recorded, reply
from tests.wire import talk

HOST = Address("127.0.0.1", 0)
TALK = (REQUEST, ask("a"), HALF_CLOSE, ANSWER, reply("A"), OK)


def hello(number: int = 1) -> Session:
    return recorded(*enumerate(TALK, start=number * 10), number=number)


class Mock:
    """A server that plays a fixture, on a loop of its own."""

    def __init__(self, play: Any, background: Background, config: Config | None) -> None:
        self.play = play
        self._background = background
        self._server = Server(play, MonotonicClock(), config)
        self.target = str(background.run(self._start()))

    async def _start(self) -> Address:
        return await self._server.start(HOST)

    def stop(self, grace_s: float = LIMIT_S) -> None:
        self._background.run(self._server.stop(grace_s))

    def idle(self, for_s: float) -> Future[None]:
        """Begin to wait until it is idle, and let it look."""
        waiting = self._background.start(self._server.idle(for_s))
        self._background.run(asyncio.sleep(0))
        return waiting

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for _, outcome in self.play.outcomes]


@contextmanager
def mock(path: Path, config: Config | None = None, **options: Any) -> Iterator[Mock]:
    background = Background("mock")
    try:
        with Stage([path], Side.SERVER, Options(**options)) as stage:
            yield Mock(stage.play, background, config)
    finally:
        background.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.duplex"


# Limits


def test_calls_above_the_limit_are_refused_and_played_when_they_are_opened_again(path: Path) -> None:
    written(path, *map(hello, range(1, 4)))
    with mock(path, Config(limits=Limits(max_streams=2))) as served, client(served.target) as end:
        streams = [end.endpoint.open(REQUEST) for _ in range(3)]  # before its SETTINGS were read
        end.flush()
        assert end.hear(streams[2], 1) == [Reset(ErrorCode.REFUSED_STREAM)]
        for stream_id in streams[:2]:
            end.say(stream_id, ask("a"), HALF_CLOSE)
            assert end.hear(stream_id, 3) == [ANSWER, reply("A"), OK]
        again = end.open(REQUEST, ask("a"), HALF_CLOSE)
        assert end.hear(again, 3) == [ANSWER, reply("A"), OK]
        served.stop()

    assert sorted(sentences(served.outcomes)) == [(1, ""), (2, ""), (3, "")]


def test_many_calls_of_one_read_are_answered_in_one_write(path: Path) -> None:
    written(path, *map(hello, range(1, 65)))
    with mock(path) as served, client(served.target) as end:
        streams = [end.endpoint.open(REQUEST) for _ in range(64)]
        for stream_id in streams:
            end.endpoint.send(stream_id, (ask("a"), HALF_CLOSE))
        end.flush()
        assert [end.hear(stream_id, 3) for stream_id in streams] == [[ANSWER, reply("A"), OK]] * 64
        served.stop()

    assert [each.agreed for each in served.outcomes] == [True] * 64


# Holding


def test_pings_are_answered_while_a_message_is_held(path: Path) -> None:
    written(path, recorded(*enumerate((REQUEST, ask("a"), ask("b"), ANSWER, reply("A"), HALF_CLOSE, OK))))
    with mock(path) as served, client(served.target) as end:
        stream_id = end.open(REQUEST, ask("a"))
        for number in range(50):
            opaque = number.to_bytes(8, "big")
            end.endpoint.ping(opaque)
            end.flush()
            end.until(lambda: PingAcknowledged(opaque) in end.happened)  # noqa: B023
        end.say(stream_id, ask("b"))
        assert end.hear(stream_id, 2) == [ANSWER, reply("A")]
        end.say(stream_id, HALF_CLOSE)
        assert end.hear(stream_id, 1) == [OK]
        served.stop()

    assert sentences(served.outcomes) == [(1, "")]
    assert not any(isinstance(each, GoAwayReceived) for each in end.happened[:-1])


def test_a_call_that_is_not_read_stops_no_other_on_its_connection(path: Path) -> None:
    large = b"x" * 1_000_000
    stalled = recorded(*enumerate((REQUEST, ask("s"), HALF_CLOSE, ANSWER, ServerMessage(large), OK)), number=1)
    written(path, stalled, hello(2))
    with mock(path) as served, client(served.target) as end:
        held = end.open(REQUEST)
        end.endpoint.hold(held)
        end.say(held, ask("s"), HALF_CLOSE)
        assert end.hear(held, 1) == [ANSWER]
        other = end.open(REQUEST, ask("a"), HALF_CLOSE)
        assert end.hear(other, 3) == [ANSWER, reply("A"), OK]
        end.endpoint.release(held)
        end.flush()
        assert end.hear(held, 2) == [ServerMessage(large), OK]
        served.stop()

    assert sorted(sentences(served.outcomes)) == [(1, ""), (2, "")]


# Stopping


def test_what_was_said_is_written_before_the_connection_is_closed(path: Path) -> None:
    large = b"x" * 30_000_000
    written(path, recorded(*enumerate((REQUEST, HALF_CLOSE, ANSWER, ServerMessage(large), OK))))
    with mock(path) as served, client(served.target) as end:
        stream_id = end.open(REQUEST, HALF_CLOSE)
        assert end.hear(stream_id, 1) == [ANSWER]  # the rest is in buffers, or waits for the window
        stopping = served._background.start(served._server.stop(LIMIT_S))
        assert end.hear(stream_id, 2) == [ServerMessage(large), OK]
        end.to_the_end()
        stopping.result(LIMIT_S)

    assert sentences(served.outcomes) == [(1, "")]


def test_a_client_that_does_not_read_is_left_when_the_grace_is_over(path: Path) -> None:
    large = b"x" * 20_000_000
    written(path, recorded(*enumerate((REQUEST, ask("a"), ANSWER, ServerMessage(large), HALF_CLOSE, OK))))
    wide = Config(stream_window_bytes=2**30, connection_window_bytes=2**30)
    with mock(path, timeout_s=LIMIT_S * 10) as served, client(served.target, wide) as end:
        stream_id = end.open(REQUEST, ask("a"))
        assert end.hear(stream_id, 1) == [ANSWER]
        served.stop(0.05)

    assert sentences(served.outcomes) == [
        (1, "The client's connection was lost (the replay was ended) before its half-close.")
    ]


def test_an_open_call_has_the_grace_to_end(path: Path) -> None:
    written(path, hello())
    with mock(path) as served, client(served.target) as end:
        stream_id = end.open(REQUEST, ask("a"))
        end.endpoint.ping(b"12345678")
        end.flush()
        end.until(lambda: PingAcknowledged(b"12345678") in end.happened)
        stopping = served._background.start(served._server.stop(LIMIT_S))
        end.say(stream_id, HALF_CLOSE)
        assert end.hear(stream_id, 3) == [ANSWER, reply("A"), OK]
        stopping.result(LIMIT_S)
        end.to_the_end()

    assert sentences(served.outcomes) == [(1, "")]
    assert isinstance(end.happened[-1], GoAwayReceived)


def test_a_play_that_fails_resets_the_call_and_is_raised_at_the_stop() -> None:
    class Broken:
        async def answer(self, stream: Any) -> None:
            await stream.receive(10**18)
            raise KeyError("mine")

    background = Background("mock")
    try:
        served = Mock(Broken(), background, None)
        with client(served.target) as end:
            stream_id = end.open(REQUEST)
            assert end.hear(stream_id, 1) == [Reset(ErrorCode.INTERNAL_ERROR)]
            with pytest.raises(KeyError, match="mine"):
                served.stop()
    finally:
        background.close()


# Idle


def test_it_is_idle_when_no_call_has_been_open_for_so_long(path: Path) -> None:
    written(path, recorded(*enumerate((REQUEST, ANSWER, ask("a"), HALF_CLOSE, OK))))
    with mock(path) as served, client(served.target) as end:
        served.idle(0).result(LIMIT_S)
        long = served.idle(3600)
        stream_id = end.open(REQUEST)
        assert end.hear(stream_id, 1) == [ANSWER]
        soon = served.idle(0)
        assert not soon.done()
        end.say(stream_id, ask("a"), HALF_CLOSE)
        assert end.hear(stream_id, 1) == [OK]
        soon.result(LIMIT_S)
        assert not long.done()
        long.cancel()
        served.stop()


# Hostile connections


OPENING = PREFACE + talk.settings()


def endless_continuation() -> Iterator[bytes]:
    yield OPENING + talk.frame(1, 0, 1, b"\x82")
    while True:
        yield talk.frame(9, 0, 1, b"")


def rapid_resets() -> Iterator[bytes]:
    yield OPENING
    for stream_id in range(1, 2**31, 2):
        yield talk.headers(stream_id, talk.REQUEST) + talk.reset(stream_id, 8)


def settings_flood() -> Iterator[bytes]:
    yield OPENING
    while True:
        yield talk.settings() * 1_000


HOSTILE = {
    "no preface": iter([b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"]),
    "a header block that is too long": iter(
        [OPENING + talk.frame(1, 0, 1, b"\0" * 16_000) + talk.frame(9, 0, 1, b"\0" * 16_000) * 17]
    ),
    "continuation without end": endless_continuation(),
    "rapid resets": rapid_resets(),
    "a length of 4 GB": iter(
        [OPENING + talk.headers(1, talk.REQUEST) + talk.data(1, b"\0" + struct.pack(">I", 2**32 - 1) + b"x" * 1_000)]
    ),
    "a window that is passed": iter([OPENING, *[talk.frame(8, 0, 0, struct.pack(">I", 2**31 - 1))] * 2]),
    "a frame that is too long": iter([OPENING + b"\xff\xff\xff\0\0\0\0\0\x01"]),
    "settings that are never acknowledged": settings_flood(),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_connection_is_ended_and_the_one_beside_it_is_served(path: Path, kind: str) -> None:
    written(path, hello(1), hello(2))
    with mock(path, timeout_s=LIMIT_S) as served, ExitStack() as stack:
        end = stack.enter_context(client(served.target))
        before = end.open(REQUEST, ask("a"))
        hostile = stack.enter_context(dialled(served.target))
        try:
            for octets in HOSTILE[kind]:
                hostile.sendall(octets)
            assert to_the_end(hostile)
        except (BrokenPipeError, ConnectionResetError):
            pass
        end.say(before, HALF_CLOSE)
        assert end.hear(before, 3) == [ANSWER, reply("A"), OK]
        after = end.open(REQUEST, ask("a"), HALF_CLOSE)
        assert [type(each) for each in end.hear(after, 1)] != []
        served.stop()

    assert (1, "") in sentences(served.outcomes) or (2, "") in sentences(served.outcomes)
