"""A driver behind a fake transport, and behind real sockets where both ends are ours."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import duplexmock
from duplexmock.core.connection import GoAway
from duplexmock.core.events import Cancel, ClientMessage, Reset, ServerMessage, Side
from duplexmock.core.lanes import Loss, Parting
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.status import ErrorCode
from duplexmock.net.clock import MonotonicClock
from duplexmock.net.driver import MAX_UNREAD_RUNS, Driver, LiveStream
from duplexmock.wire.endpoint import Endpoint
from tests.net.ends import ANSWER, REQUEST, client, written
from tests.playbook import HALF_CLOSE, OK, ask, recorded, reply

FOREVER_NS = 10**18


class Transport(asyncio.Transport):
    """Takes what is written, and goes when it is told to."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("::1", 2, 0, 0), "socket": socket.socket()})
        self.wrote: list[bytes] = []
        self.ended = ""
        self._protocol = protocol

    def write(self, data: Any) -> None:
        self.wrote.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def _end(self, how: str) -> None:
        if not self.ended:
            self.ended = how
            self.get_extra_info("socket").close()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


class Joined:
    """A driver that plays the server, and the endpoint of its client."""

    def __init__(self) -> None:
        self.accepted: list[LiveStream] = []
        self.over: list[Driver] = []
        self.driver = Driver(Side.SERVER, MonotonicClock(), 7, accept=self.accepted.append, over=self.over.append)
        self.transport = Transport(self.driver)
        self.driver.connection_made(self.transport)
        self.peer = Endpoint(Side.CLIENT)
        self.flow()

    def flow(self) -> list[Any]:
        """Carry bytes until both are silent; return what the client was told."""
        told: list[Any] = []
        while self.peer.wants_write or self.transport.wrote:
            if self.peer.wants_write:
                self.driver.data_received(self.peer.take())
            wrote, self.transport.wrote = self.transport.wrote, []
            for chunk in wrote:
                told += self.peer.receive(chunk)
        return told

    def opened(self) -> tuple[int, LiveStream]:
        stream_id = self.peer.open(REQUEST)
        self.flow()
        return stream_id, self.accepted[-1]


def rows_of(groups: Sequence[Any], stream_id: int) -> list[Row]:
    return [row for number, rows in groups if number == stream_id for row in rows]


def running(test: Any) -> Any:
    """Run a test on a loop."""

    def run() -> None:
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


@running
async def test_names_of_both_ends() -> None:
    joined = Joined()
    connection = joined.driver.connection
    assert (connection.number, connection.client, connection.server) == (7, "[::1]:2", "127.0.0.1:1")


@running
async def test_what_has_come_is_received_in_runs() -> None:
    joined = Joined()
    stream_id, stream = joined.opened()
    joined.peer.send(stream_id, [ask("a"), ask("b")])
    joined.flow()
    joined.peer.send(stream_id, [HALF_CLOSE])
    joined.flow()
    rows = await stream.receive(FOREVER_NS)
    assert [row[0] for row in rows] == [
        RowKind.CLIENT_HEADER,
        RowKind.CLIENT_MESSAGE,
        RowKind.CLIENT_MESSAGE,
        RowKind.CLIENT_HALF_CLOSE,
    ]


@running
async def test_receive_returns_at_its_time_and_at_a_wake() -> None:
    joined = Joined()
    _, stream = joined.opened()
    assert len(await stream.receive(0)) == 1
    assert await stream.receive(0) == ()
    assert await stream.receive(joined.driver.clock.now_ns() + 1_000_000) == ()
    later = asyncio.ensure_future(stream.receive(FOREVER_NS))
    await asyncio.sleep(0)
    stream.wake()
    assert await later == ()
    stream.wake()
    assert await stream.receive(FOREVER_NS) == ()


@running
async def test_a_shorter_wait_behind_a_longer_one_ends_in_its_time() -> None:
    joined = Joined()
    stream_id, stream = joined.opened()
    await stream.receive(0)
    long = asyncio.ensure_future(stream.receive(FOREVER_NS))
    await asyncio.sleep(0)
    joined.peer.send(stream_id, [ask("a")])
    joined.flow()
    assert len(await long) == 1
    assert await stream.receive(joined.driver.clock.now_ns() + 1_000_000) == ()
    stream.close()


@running
async def test_a_peer_whose_words_are_not_taken_gets_no_more_window() -> None:
    joined = Joined()
    stream_id, stream = joined.opened()
    payload = b"x" * 60_000
    for _ in range(MAX_UNREAD_RUNS):
        joined.peer.send(stream_id, [ClientMessage(payload)])
        joined.flow()
    held = joined.peer
    for _ in range(60):
        held.send(stream_id, [ClientMessage(payload)])
    joined.flow()
    waits = held.unsent_bytes(stream_id)
    assert waits > 0
    taken = len(await stream.receive(0))
    await asyncio.sleep(0)
    joined.flow()
    while held.unsent_bytes(stream_id) or stream._rows:
        taken += len(await stream.receive(0))
        await asyncio.sleep(0)
        joined.flow()
    assert taken == 1 + MAX_UNREAD_RUNS + 60


@running
async def test_what_is_said_in_one_turn_goes_out_in_one_write() -> None:
    joined = Joined()
    streams = [joined.opened() for _ in range(3)]
    for _, stream in streams:
        await stream.send([ANSWER, reply("A"), OK])
    assert joined.transport.wrote == []
    await asyncio.sleep(0)
    assert len(joined.transport.wrote) == 1
    told = joined.flow()
    assert [len(rows_of(told, stream_id)) for stream_id, _ in streams] == [3, 3, 3]


@running
async def test_a_full_socket_is_written_when_it_takes_more_and_is_read_all_the_same() -> None:
    joined = Joined()
    stream_id, stream = joined.opened()
    await stream.receive(0)
    joined.driver.pause_writing()
    await stream.send([ANSWER, reply("A")])
    await asyncio.sleep(0)
    assert joined.transport.wrote == []
    joined.peer.send(stream_id, [ask("a")])
    joined.driver.data_received(joined.peer.take())
    assert [row[0] for row in await stream.receive(0)] == [RowKind.CLIENT_MESSAGE]
    joined.driver.resume_writing()
    assert len(rows_of(joined.flow(), stream_id)) == 2


@running
async def test_a_played_call_is_reset_where_the_client_has_not_half_closed() -> None:
    joined = Joined()
    stream_id, stream = joined.opened()
    await stream.send([ANSWER, OK])
    stream.close()
    await asyncio.sleep(0)
    assert [row[0] for row in rows_of(joined.flow(), stream_id)][:2] == [RowKind.SERVER_HEADER, RowKind.SERVER_TRAILER]
    assert not joined.driver.endpoint.is_open(stream_id)
    stream.close()
    assert joined.driver.is_idle


@running
async def test_a_played_call_is_reset_behind_all_that_waits_for_the_window() -> None:
    joined = Joined()
    stream_id, stream = joined.opened()
    joined.peer.hold(stream_id)
    large = b"x" * 3_000_000
    await stream.send([ANSWER, ServerMessage(large), OK])
    stream.close()
    await asyncio.sleep(0)
    told = rows_of(joined.flow(), stream_id)
    finished = asyncio.ensure_future(joined.driver.finished())
    await asyncio.sleep(0)
    assert not finished.done()
    joined.peer.release(stream_id)
    told += rows_of(joined.flow(), stream_id)
    assert [row[0] for row in told if row[0] != RowKind.SERVER_PART] == [
        RowKind.SERVER_HEADER,
        RowKind.SERVER_MESSAGE,
        RowKind.SERVER_TRAILER,
        RowKind.RESET_AFTER,
    ]
    await finished


@running
async def test_losing_the_connection_by_closing_it() -> None:
    joined = Joined()
    _, stream = joined.opened()
    await stream.receive(0)
    _, other = joined.opened()
    await other.receive(0)
    waiting = asyncio.ensure_future(other.receive(FOREVER_NS))
    await stream.do(Loss(Side.SERVER))
    assert joined.transport.ended == "closed"
    assert await waiting == ()
    assert (stream.lost, other.lost) == ("as recorded", "as recorded")
    assert joined.over == [joined.driver]
    await joined.driver.gone()


@running
async def test_losing_the_connection_by_a_reset() -> None:
    joined = Joined()
    _, stream = joined.opened()
    await stream.do(Loss(Side.SERVER, by_reset=True))
    assert joined.transport.ended == "aborted"
    assert await stream.receive(FOREVER_NS) != ()
    assert await stream.receive(FOREVER_NS) == ()


@running
async def test_goaway_is_said_and_noted() -> None:
    joined = Joined()
    stream_id, stream = joined.opened()
    await stream.do(Parting(1, 0, 11, b"too_many_pings"))
    await asyncio.sleep(0)
    ((number, happened),) = [group for group in joined.flow() if group[0] == 0]
    assert number == 0
    assert (happened[-1].code, happened[-1].debug, happened[-1].last_stream_id) == (11, b"too_many_pings", stream_id)
    (noted,) = stream.connection.goaways
    assert noted == GoAway(noted.at_ns, Side.SERVER, stream_id, 11, b"too_many_pings")


@running
async def test_a_peer_that_breaks_the_protocol_is_told_and_left() -> None:
    joined = Joined()
    _, stream = joined.opened()
    await stream.receive(0)
    joined.driver.data_received(b"\xff\xff\xff\0\0\0\0\0\x01")
    assert joined.transport.ended == "closed"
    reason = "a frame of 16777215 bytes, more than 16384"
    assert await stream.receive(FOREVER_NS) == [(RowKind.DAMAGED, stream.stream_id, reason)]
    assert await stream.receive(FOREVER_NS) == ()
    assert stream.lost == reason


@running
async def test_a_call_that_has_ended_is_not_concerned_by_what_breaks_the_connection_afterwards() -> None:
    joined = Joined()
    stream_id, stream = joined.opened()
    joined.peer.send(stream_id, [Cancel(ErrorCode.CANCEL)])
    joined.flow()
    joined.driver.data_received(b"\xff\xff\xff\0\0\0\0\0\x01")
    rows = [*await stream.receive(0), *await stream.receive(0)]
    assert [row[0] for row in rows] == [RowKind.CLIENT_HEADER, RowKind.CANCEL]


@running
async def test_what_is_said_to_a_call_that_is_over_is_dropped() -> None:
    joined = Joined()
    stream_id, stream = joined.opened()
    joined.peer.send(stream_id, [Cancel(ErrorCode.CANCEL)])
    joined.flow()
    for _ in range(1_100):  # more than an endpoint remembers
        other, following = joined.opened()
        await following.send([ANSWER])  # or it would be a flood of resets
        joined.driver.flush()
        joined.peer.send(other, [Cancel(ErrorCode.CANCEL)])
        joined.flow()
    await stream.send([ANSWER, OK])
    stream.close()
    assert joined.driver.lost is None


@running
async def test_a_failed_play_resets_its_call() -> None:
    joined = Joined()
    stream_id, stream = joined.opened()
    stream.fail()
    stream.fail()
    await asyncio.sleep(0)
    (row,) = rows_of(joined.flow(), stream_id)
    assert row[2] == Reset(ErrorCode.INTERNAL_ERROR)


@running
async def test_a_stream_that_was_never_opened_needs_no_cancel() -> None:
    driver = Driver(Side.CLIENT, MonotonicClock(), 1)
    transport = Transport(driver)
    driver.connection_made(transport)
    stream = LiveStream(driver)
    wrote = list(transport.wrote)
    await stream.send([Cancel(ErrorCode.CANCEL)])
    stream.close()
    await asyncio.sleep(0)
    assert transport.wrote == wrote
    transport.close()


def test_two_ends_of_ours_that_both_say_much_do_not_wait_for_each_other(tmp_path: Path) -> None:
    payload, count = b"x" * 1_000_000, 48
    sessions = [
        recorded(
            (number, REQUEST),
            (100, ANSWER),
            (101, ClientMessage(payload)),
            (101, ServerMessage(payload)),
            (102, HALF_CLOSE),
            (103, OK),
            number=number,
        )
        for number in range(1, count + 1)
    ]
    path = written(tmp_path / "x.duplex", *sessions)
    with duplexmock.replay(path) as mock:
        duplexmock.replay_client(path, mock.target).check()
    assert len(mock.outcomes) == count


@pytest.mark.parametrize(("by_reset", "heard"), [(False, "the end"), (True, "a reset")])
def test_a_recorded_loss_reaches_the_client(tmp_path: Path, by_reset: bool, heard: str) -> None:
    from duplexmock.core.connection import Closing
    from tests.playbook import lost_by

    closed = lost_by(Side.SERVER, 5, Closing.RESET if by_reset else Closing.CLOSED)
    path = written(tmp_path / "x.duplex", recorded(*enumerate((REQUEST, ask("a"), ANSWER)), closed=closed))
    with duplexmock.replay(path) as mock, client(mock.target) as end:
        end.open(REQUEST, ask("a"))
        try:
            while end.sock.recv(65_536):
                pass
            said = "the end"
        except ConnectionResetError:
            said = "a reset"
    assert said == heard
