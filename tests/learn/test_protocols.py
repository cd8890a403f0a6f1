"""The truth about the protocols is true: of what is recorded, and of what the programs do when they are held back."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

import duplexmock
from duplexmock.core.events import ClientHeader, ClientMessage, Event, ServerMessage, Side
from duplexmock.core.order import Order
from duplexmock.core.rows import event_of
from duplexmock.core.session import Ended, Session
from duplexmock.store.fixture import Fixture
from duplexmock.wire.endpoint import Endpoint
from duplexmock.wire.happenings import SettingsAcknowledged
from tests.learn.protocols import PROTOCOLS, Protocol, recorded, serving
from tests.net.wires import LIMIT_S

SEEDS = (1, 2, 3)

Recording = Callable[[Protocol, int], Path]

QUIET_S = 0.05
"""What did not come within this time behind all that was expected was not going to: many times a program's pause."""


@pytest.fixture(params=PROTOCOLS, ids=str)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    each: Protocol = request.param
    return each


def run(awaitable: Awaitable[Any]) -> Any:
    """Run to its end, and see that nothing is left."""

    async def alone() -> Any:
        result = await asyncio.wait_for(awaitable, LIMIT_S)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:  # grpc.aio's own, of calls that have been cancelled: they are ending
            _, left = await asyncio.wait(left, timeout=LIMIT_S)
        assert left == set()
        return result

    return asyncio.run(alone())


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """`recording(protocol, seed)` is the fixture of one run."""
    folder = tmp_path_factory.mktemp("protocols")

    @cache
    def record(protocol: Protocol, seed: int) -> Path:
        path = folder / f"{protocol} {seed}.duplex"
        run(recorded(protocol, path, seed))
        return path

    return record


def sessions_of(path: Path) -> tuple[Session, ...]:
    with Fixture.open(path) as fixture:
        assert fixture.complete
        return tuple(fixture.sessions())


def needs(protocol: Protocol, session: Session) -> Order:
    """The truth; making an Order of it checks that it grows, and that it can be walked."""
    return Order(protocol.client_needs(session), protocol.server_needs(session))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_recording_has_less_than_is_needed(protocol: Protocol, seed: int, recording: Recording) -> None:
    for session in sessions_of(recording(protocol, seed)):
        assert session.ended is Ended.TRAILER
        truth, seen = needs(protocol, session), Order.recorded(session)
        assert (len(truth.client), len(truth.server)) == tuple(len(session.lane(side)) for side in Side)
        assert Order.common([truth, seen]) == truth, (session.word, truth)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_recording_is_replayed_in_both_seats(protocol: Protocol, seed: int, recording: Recording) -> None:
    path = recording(protocol, seed)

    async def server_seat() -> int:
        async with duplexmock.replay(path, expect="lanes") as mock:
            await protocol.run_client(mock.target, Random(seed + 1))
        return len(mock.outcomes)

    async def client_seat() -> str:
        async with serving(protocol, seed + 1) as target:
            return str(await asyncio.to_thread(duplexmock.replay_client, path, target, expect="lanes"))

    assert run(server_seat()) == len(sessions_of(path))
    if not protocol.has_timers:
        assert run(client_seat()) == ""


def test_a_server_that_is_held_back_does_what_needs_no_more(protocol: Protocol, recording: Recording) -> None:
    sessions = sessions_of(recording(protocol, 1))

    async def probe(held: Session, count: int) -> list[Event]:
        async with serving(protocol, 2) as target:
            host, _, port = target.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            due = sum(need <= count for need in protocol.server_needs(held))
            return await Probe(reader, writer, Side.CLIENT, sessions, held.number, count).until(due)

    run(check_all(protocol, Side.CLIENT, sessions, probe))


def test_a_client_that_is_held_back_does_what_needs_no_more(protocol: Protocol, recording: Recording) -> None:
    sessions = sessions_of(recording(protocol, 1))

    async def probe(held: Session, count: int) -> list[Event]:
        heard = asyncio.get_running_loop().create_future()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            due = sum(need <= count for need in protocol.client_needs(held))
            try:
                heard.set_result(await Probe(reader, writer, Side.SERVER, sessions, held.number, count).until(due))
            except Exception as failure:
                heard.set_exception(failure)

        async with await asyncio.start_server(accepted, "127.0.0.1", 0) as listener:
            host, port = listener.sockets[0].getsockname()
            calling = asyncio.create_task(protocol.run_client(f"{host}:{port}", Random(2)))
            events: list[Event] = await heard
            listener.close()  # or the client would try again
        await calling  # however the call ended, the client does
        return events

    run(check_all(protocol, Side.SERVER, sessions, probe))


def test_the_programs_leave_no_thread(protocol: Protocol, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    run(recorded(protocol, tmp_path / "x.duplex", 1))
    gc.collect()  # grpc.aio's own thread ends with its last channel and server
    assert set(threading.enumerate()) <= before


def test_the_names_tell_them_apart() -> None:
    assert len({protocol.name for protocol in PROTOCOLS}) == len(PROTOCOLS)


# Holding back


async def check_all(protocol: Protocol, ours: Side, sessions: Sequence[Session], probe: Any) -> None:
    """Give the other side each number of our events, on each of the calls; it says what needs no more, and no more.

    Of a server that ticks until the half-close nobody can tell how often it has when it ends, so there the last event
    is not given.
    """
    truth = protocol.server_needs if ours is Side.CLIENT else protocol.client_needs
    cases = [
        (session, count)
        for session in sessions
        for count in range(1 if ours is Side.CLIENT else 0, len(session.lane(ours)) + (not protocol.has_timers))
    ]
    every = await asyncio.gather(*(probe(session, count) for session, count in cases))
    for (session, count), heard in zip(cases, every, strict=True):
        lane = session.lane(ours.other)
        due = sum(need <= count for need in truth(session))
        assert [said(event) for event in heard[:due]] == [said(event) for event in lane[:due]], (session.number, count)
        if heard[due:]:  # a clock says as much as it likes, but never what comes next
            assert due < len(lane), (session.number, count, heard[due:])
            assert said(heard[due]) != said(lane[due]), (session.number, count)


class Probe:
    """One end of a connection that plays `ours` of the sessions as they were recorded, but one call no further.

    Of the session `held` only the first `count` events of ours are said.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ours: Side,
        sessions: Sequence[Session],
        held: int,
        count: int,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ours = ours
        self._sessions = {session.number: session for session in sessions}
        self._held = held
        self._endpoint = Endpoint(ours)
        self._acknowledged = 0
        self._streams: dict[int, int] = {}
        self._heard: dict[int, list[Event]] = {number: [] for number in self._sessions}
        self._sent = dict.fromkeys(self._sessions, 0)
        self._stops = {session.number: len(session.lane(ours)) for session in sessions} | {held: count}

    async def until(self, due: int) -> list[Event]:
        """Play until so many events have come on the held call, and then some time; return what came on it."""
        self._say()
        async with asyncio.timeout(LIMIT_S):
            while len(self._heard[self._held]) < due or not self._has_said_all():
                await self._hear()
        with suppress(TimeoutError, EOFError, ConnectionError):
            await self._be_read()
            async with asyncio.timeout(QUIET_S):
                while True:
                    await self._hear()
        self._writer.close()
        return self._heard[self._held]

    async def _be_read(self) -> None:
        """Wait until the other side's transport has read all that was said."""
        barrier = self._endpoint.barrier()
        self._say()
        async with asyncio.timeout(LIMIT_S):
            while self._acknowledged < barrier:
                await self._hear()

    def _has_said_all(self) -> bool:
        """Tell whether the held call is where it is held."""
        return self._sent[self._held] == self._stops[self._held]

    async def _hear(self) -> None:
        chunk = await self._reader.read(65_536)
        if not chunk:
            raise EOFError("the other side has gone")
        for stream_id, rows in self._endpoint.receive(chunk):
            if not stream_id:
                self._acknowledged += sum(isinstance(happened, SettingsAcknowledged) for happened in rows)
                continue
            for row in rows:
                event = event_of(row)
                if isinstance(event, ClientHeader):
                    self._streams[self._session(event)] = stream_id
                if event is not None:
                    number = next(n for n, stream in self._streams.items() if stream == stream_id)
                    self._heard[number].append(event)
        self._say()

    def _session(self, header: ClientHeader) -> int:
        """Return the session that a call is: those of a room are told apart by their members."""
        member = header.metadata.first("member")
        return next(n for n, each in self._sessions.items() if each.header.metadata.first("member") == member)

    def _say(self) -> None:
        for number, session in self._sessions.items():
            lane = session.lane(self._ours)
            gate = getattr(Order.recorded(session), self._ours.name.lower())
            while self._sent[number] < self._stops[number] and gate[self._sent[number]] <= len(self._heard[number]):
                event = lane[self._sent[number]]
                if isinstance(event, ClientHeader):
                    self._streams[number] = self._endpoint.open(event)
                elif self._endpoint.is_open(self._streams[number]):
                    self._endpoint.send(self._streams[number], [event])
                self._sent[number] += 1
        self._writer.write(self._endpoint.take())


def said(event: Event) -> tuple[str, bytes]:
    """What is compared of an event: its kind, and a message's payload."""
    return type(event).__name__, event.payload if isinstance(event, ClientMessage | ServerMessage) else b""
