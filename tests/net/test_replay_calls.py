"""Calls that belong together: a chat room, in which what one member says appears at the other, and calls made again."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

import duplexmock
from duplexmock.core.events import Side
from duplexmock.core.status import Code
from duplexmock.play import repertoire
from tests.net.chats import CHAT, channel
from tests.net.ends import ANSWER, REQUEST, sentences, written
from tests.net.test_replay import echo, heard, raw_server, says
from tests.net.wires import LIMIT_S
from tests.playbook import HALF_CLOSE, OK, ask, fails, recorded, reply


class Room:
    """Passes what a member says on to all others; a member's first word is its name, which is answered with it."""

    def __init__(self) -> None:
        self._members: dict[bytes, asyncio.Queue[bytes]] = {}

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> None:
        name = await anext(requests)
        said = self._members[name] = asyncio.Queue()
        await context.write(b"welcome " + name)
        telling = asyncio.create_task(self._tell(said, context))
        async for message in requests:
            for other, queue in self._members.items():
                if other != name:
                    queue.put_nowait(message)
        telling.cancel()
        del self._members[name]

    async def _tell(self, said: "asyncio.Queue[bytes]", context: Any) -> None:
        while True:
            await context.write(await said.get())


class Member:
    """A member of the room."""

    def __init__(self, dialled: grpc.aio.Channel, name: bytes) -> None:
        self._call = dialled.stream_stream(CHAT)(timeout=LIMIT_S)
        self._name = name

    async def joins(self) -> None:
        await self.says(self._name)
        assert await self.hears() == b"welcome " + self._name

    async def says(self, message: bytes) -> None:
        await self._call.write(message)

    async def hears(self) -> bytes:
        message: bytes = await self._call.read()
        return message

    async def leaves(self) -> str:
        await self._call.done_writing()
        assert await self._call.read() is grpc.aio.EOF
        code: grpc.StatusCode = await self._call.code()
        return code.name


async def talk(target: str, first: bytes = b"ann", second: bytes = b"bob") -> list[str]:
    """Two members, who join in this order: Ann says hi, Bob hears it and says ho, which Ann hears; both leave."""
    async with grpc.aio.insecure_channel(target) as dialled:
        members = {name: Member(dialled, name) for name in (first, second)}
        for member in members.values():
            await member.joins()
        ann, bob = members[b"ann"], members[b"bob"]
        await ann.says(b"hi")
        assert await bob.hears() == b"hi"
        await bob.says(b"ho")
        assert await ann.hears() == b"ho"
        return [await ann.leaves(), await bob.leaves()]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("room") / "room.duplex"
    with raw_server(Room().chat) as server, duplexmock.record(server, out=out) as proxy:
        assert asyncio.run(talk(proxy.target)) == ["OK", "OK"]
    return out


def test_a_room_replays_right_a_hundred_times(room: Path) -> None:
    for _ in range(100):
        with duplexmock.replay(room) as mock:
            assert asyncio.run(talk(mock.target)) == ["OK", "OK"]
        assert [each.notes for each in mock.outcomes] == [(), ()]


async def hears_before_it_is_said(target: str) -> None:
    """Ann says hi when Bob has heard it."""
    async with grpc.aio.insecure_channel(target) as dialled:
        ann, bob = Member(dialled, b"ann"), Member(dialled, b"bob")
        await ann.joins()
        await bob.joins()
        assert await bob.hears() == b"hi"
        await ann.says(b"hi")
        await bob.says(b"ho")
        assert await ann.hears() == b"ho"
        assert [await ann.leaves(), await bob.leaves()] == ["OK", "OK"]


def test_without_edges_between_calls_a_message_is_heard_before_it_is_said(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repertoire, "edges", lambda *of: ())
    with duplexmock.replay(room) as mock:
        asyncio.run(hears_before_it_is_said(mock.target))


def test_with_them_it_is_not_heard(room: Path) -> None:
    with pytest.raises(duplexmock.MismatchError), duplexmock.replay(room, timeout_s=0.5) as mock:
        with pytest.raises((AssertionError, asyncio.InvalidStateError, grpc.aio.AioRpcError)):
            asyncio.run(hears_before_it_is_said(mock.target))
    assert len(mock.outcomes) == 2


def test_calls_that_are_opened_in_another_order(room: Path) -> None:
    with duplexmock.replay(room) as mock:
        assert asyncio.run(talk(mock.target, b"bob", b"ann")) == ["OK", "OK"]
    assert sorted(sentences(mock.outcomes)) == [(1, ""), (2, "")]


@pytest.mark.parametrize("name", [b"ann", b"bob"])
def test_a_call_whose_other_is_missing_does_not_hang(room: Path, name: bytes) -> None:
    async def main(target: str) -> str:
        async with grpc.aio.insecure_channel(target) as dialled:
            member = Member(dialled, name)
            await member.joins()
            if name == b"ann":
                await member.says(b"hi")
                assert await member.hears() == b"ho"
            else:
                assert await member.hears() == b"hi"
                await member.says(b"ho")
            return await member.leaves()

    with duplexmock.Fixture.open(room) as fixture:
        names = {session.number: session.lane(Side.CLIENT)[1].payload for session in fixture.sessions()}
    (number,) = (number for number, of in names.items() if of == name)
    other = 3 - number
    with pytest.raises(duplexmock.MismatchError) as caught, duplexmock.replay(room, timeout_s=1) as mock:
        assert asyncio.run(main(mock.target)) == "OK"
    assert sentences(mock.outcomes) == [(number, "")]
    # Ann's only waits for what she says herself.
    alone = (f"ServerMessage #2 did not wait for ClientMessage #2 of session {other}: there was no such call",)
    assert mock.outcomes[0].notes == (() if name == b"ann" else alone)
    assert str(caught.value).splitlines()[0] == f"not played: {room}   session {other}   {CHAT}"


# Calls that are made again


RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.01s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


def unary(target: str, message: bytes) -> tuple[bytes | None, grpc.StatusCode]:
    """Call with a message, by a client that calls again when it is told UNAVAILABLE."""
    options = [("grpc.service_config", json.dumps(RETRIES)), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(target, options=options) as dialled:
        try:
            answer, call = dialled.unary_unary(CHAT).with_call(message, timeout=LIMIT_S)
        except grpc.RpcError as error:
            return None, error.code()
        return answer, call.code()


def failing_then_answering(path: Path) -> Path:
    down = recorded(*enumerate((REQUEST, ask("a"), HALF_CLOSE, fails(Code.UNAVAILABLE, "down"))), number=1)
    up = recorded(*enumerate((REQUEST, ask("a"), HALF_CLOSE, ANSWER, reply("A"), OK), start=10), number=2)
    return written(path, down, up)


def test_a_client_that_calls_again_plays_the_failure_and_the_success(tmp_path: Path) -> None:
    with duplexmock.replay(failing_then_answering(tmp_path / "x.duplex")) as mock:
        assert unary(mock.target, b"a") == (b"A", grpc.StatusCode.OK)
    assert sentences(mock.outcomes) == [(1, ""), (2, "")]


def test_a_mismatch_is_not_tried_again_by_a_client_that_calls_again(tmp_path: Path) -> None:
    with pytest.raises(duplexmock.MismatchError):
        with duplexmock.replay(failing_then_answering(tmp_path / "x.duplex")) as mock:
            assert unary(mock.target, b"b") == (None, grpc.StatusCode.FAILED_PRECONDITION)
    assert sentences(mock.outcomes) == [
        (1, "ClientMessage #1 differs from the recorded one: message: expected 'a', got 'b'.")
    ]


def test_no_later_call_turns_a_mismatch_green(tmp_path: Path) -> None:
    path = written(tmp_path / "x.duplex", echo(1), echo(2))
    with pytest.raises(duplexmock.MismatchError) as caught, duplexmock.replay(path) as mock:
        told = [says(mock.target, text)[1].name for text in (b"b", b"a", b"a")]
    assert told == ["FAILED_PRECONDITION", "OK", "FAILED_PRECONDITION"]
    assert [not sentence for _, sentence in sentences(mock.outcomes)] == [False, True, False]
    assert str(caught.value).splitlines()[-1].startswith("3 sessions: 1 agreed, 2 did not")


def test_keepalive_pings_while_a_message_is_held(tmp_path: Path) -> None:
    path = written(
        tmp_path / "x.duplex",
        recorded((0, REQUEST), (1, ask("a")), (400, ANSWER), (401, reply("A")), (402, HALF_CLOSE), (403, OK)),
    )
    options = [("grpc.keepalive_time_ms", 20), ("grpc.http2.max_pings_without_data", 0)]
    with duplexmock.replay(path, speed=1) as mock, grpc.insecure_channel(mock.target, options=options) as dialled:
        assert heard(dialled.stream_stream(CHAT)(iter([b"a"]), timeout=LIMIT_S)) == ([b"A"], grpc.StatusCode.OK, "")


def test_one_call_is_not_read_and_others_of_its_connection_go_on(tmp_path: Path) -> None:
    large = "x" * 4_000_000
    stalled = recorded(*enumerate((REQUEST, ask("s"), HALF_CLOSE, ANSWER, reply(large), reply(large), OK)), number=1)
    path = written(tmp_path / "x.duplex", stalled, *(echo(number) for number in range(2, 22)))
    with duplexmock.replay(path) as mock, channel(mock.target) as dialled, ThreadPoolExecutor(1) as pool:
        method = dialled.stream_stream(CHAT)
        unread = method(iter([b"s"]), timeout=LIMIT_S)
        for _ in range(20):
            assert pool.submit(heard, method(iter([b"a"]), timeout=LIMIT_S)).result()[0] == [b"A"]
        assert [len(message) for message in unread] == [len(large)] * 2
