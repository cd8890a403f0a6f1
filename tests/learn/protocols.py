"""Programs whose needed order is known: what the learning of an order is measured against.

A Protocol is a grpc.aio server, a grpc.aio client, and what each of their events needs: `server_needs(session)[k]` is
how many events of the client have to come before the server can say its event k, and `client_needs(session)[k]` the
same from the other side. They are numbers as in `Order`, computed from the rules that the programs keep and the lanes
of a session, never from its order: the third message of a ping-pong needs three of the server's events, whenever it
was seen.

"Needs" is what an experiment finds that gives a side the first so many events of the other, all the time in the world,
and nothing more. So the numbers hold what grpcio does by itself:

- a grpc.aio server sends its initial metadata with its first message, unless it is told to before;
- only a handler that reads to the half-close waits for it: a unary handler starts at its message, and its status goes
  out without the half-close;
- a grpc.aio client sends its header at once, whatever it reads first.

Both sides pause for up to `jitter_ms` before each thing they say, by a seeded Random, so that coincidences differ from
one recording to the next. What is said is the same each time, but for how often the server of "ticks" has ticked.
"""

from __future__ import annotations

import asyncio
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import grpc
import grpc.aio
from chat_app.chat_pb2 import ChatMessage
from chat_app.client import Talk, chat
from chat_app.server import ChatServicer

import duplexmock
from duplexmock.core.events import (
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.session import Session
from tests.net.chats import clock
from tests.net.wires import LIMIT_S

JITTER_MS = 3.0
"""The longest pause: enough to reorder what is free, too short to be felt in a test."""

Handler = Any
"""A grpc.GenericRpcHandler."""

Needs = Callable[[Session], tuple[int, ...]]
Pause = Callable[[], Awaitable[None]]


class Serve(typing.Protocol):
    """Makes the handler of a server, which holds the state that its calls share."""

    def __call__(self, random: Random, jitter_ms: float = JITTER_MS) -> Handler: ...


class RunClient(typing.Protocol):
    """Makes the client's calls at an address; returns when they are over, however they ended."""

    def __call__(self, target: str, random: Random, jitter_ms: float = JITTER_MS) -> Coroutine[Any, Any, None]: ...


@dataclass(frozen=True, slots=True)
class Protocol:
    """Two programs and the truth about them.

    With `has_timers` a side speaks because time has passed. `server_needs` has a number for each event of a session's
    server lane, `client_needs` for each of its client lane; both count events of the same call only.
    """

    name: str
    serve: Serve
    run_client: RunClient
    server_needs: Needs
    client_needs: Needs
    has_timers: bool = False

    def __str__(self) -> str:
        return self.name


@asynccontextmanager
async def serving(protocol: Protocol, seed: int, jitter_ms: float = JITTER_MS) -> AsyncIterator[str]:
    """Serve on this loop; yields the address.

    Calls that are open when the block is left are cancelled, and the server's part in them is over behind it.
    """
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handler = _Watched(protocol.serve(Random(f"server {seed}"), jitter_ms))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)  # comes back before what it has cancelled has ended
        if handler.tasks:
            await asyncio.wait(handler.tasks)


async def recorded(protocol: Protocol, path: Path, seed: int, jitter_ms: float = JITTER_MS) -> None:
    """Record one run of the client against the server into `path`."""
    async with serving(protocol, seed, jitter_ms) as server, duplexmock.record(server, out=path) as proxy:
        await protocol.run_client(proxy.target, Random(f"client {seed}"), jitter_ms)


class _Watched:
    """A handler that knows the tasks of its calls: grpc.aio looks a call's method up in the task that will serve it."""

    def __init__(self, handler: Handler) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self._handler = handler

    def service(self, details: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return self._handler.service(details)


# A call as a program has it


@dataclass(frozen=True, slots=True)
class _Seat:
    """One side of a call, for programs that hear and say; `call` is grpc.aio's own.

    `hear` returns None when the other side says no more. A client's call that is over hears nothing and says nothing;
    a server's is cancelled.
    """

    call: Any
    pause: Pause

    async def say(self, *messages: str) -> None:
        for message in messages:
            await self.pause()
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the call is over
                await self.call.write(message.encode())

    async def half_close(self) -> None:
        await self.pause()
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self.call.done_writing()

    async def hear(self) -> str | None:
        try:
            message = await self.call.read()
        except grpc.aio.AioRpcError:
            return None
        return None if message is grpc.aio.EOF else message.decode()

    async def heard(self) -> AsyncIterator[str]:
        while (message := await self.hear()) is not None:
            yield message

    async def hear_out(self) -> None:
        async for _ in self.heard():
            pass


Program = Callable[[_Seat], Awaitable[None]]


def _serve(program: Program) -> Serve:
    """Make a server of duplex calls."""
    return _serve_by(lambda pause: _duplex(program, pause))


def _serve_by(behaviour: Callable[[Pause], Any]) -> Serve:
    def serve(random: Random, jitter_ms: float = JITTER_MS) -> Handler:
        return grpc.method_handlers_generic_handler(_SERVICE, {"Call": behaviour(_pauses(random, jitter_ms))})

    return serve


def _duplex(program: Program, pause: Pause) -> Any:
    async def handle(_: object, context: Any) -> None:
        await program(_Seat(context, pause))

    return grpc.stream_stream_rpc_method_handler(handle)


def _client(program: Program) -> RunClient:
    """Make a client of one duplex call."""

    async def run_client(target: str, random: Random, jitter_ms: float = JITTER_MS) -> None:
        async with _dialled(target) as channel:
            seat = _Seat(channel.stream_stream(_METHOD)(), _pauses(random, jitter_ms))
            await program(seat)
            await seat.hear_out()

    return run_client


def _client_of(kind: str, program: Callable[[Any, Pause], Awaitable[None]]) -> RunClient:
    """Make a client of another kind of call: `program` is given the method."""

    async def run_client(target: str, random: Random, jitter_ms: float = JITTER_MS) -> None:
        async with _dialled(target) as channel:
            with suppress(grpc.aio.AioRpcError):
                await program(getattr(channel, kind)(_METHOD), _pauses(random, jitter_ms))

    return run_client


def _dialled(target: str) -> Any:
    return grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])


def _pauses(random: Random, jitter_ms: float) -> Pause:
    return lambda: asyncio.sleep(random.uniform(0, jitter_ms) / 1000)


_SERVICE = "learn.Protocol"
_METHOD = f"/{_SERVICE}/Call"


# The truth, written out


def _messages(session: Session, side: Side) -> int:
    return sum(isinstance(event, ClientMessage | ServerMessage) for event in session.lane(side))


def _all(session: Session) -> int:
    """Count what a server needs that reads to the half-close."""
    return _HEADER + _messages(session, Side.CLIENT) + 1


def _server_lane(header: int, message: Callable[[int], int], trailer: Callable[[Session], int] = _all) -> Needs:
    """Write the server's lane: what its header needs, its message n from 1, and its trailer.

    No message needs more than there is: what is left at the half-close is answered then.
    """

    def needs(session: Session) -> Iterator[int]:
        said = 0
        for event in session.lane(Side.SERVER):
            match event:
                case ServerHeader():
                    yield header
                case ServerMessage():
                    said += 1
                    yield min(message(said), _all(session))
                case ServerTrailer():
                    yield trailer(session)
                case _:
                    raise AssertionError(f"none of the servers says {event}")

    return lambda session: tuple(needs(session))


def _at_the_half_close(session: Session) -> tuple[int, ...]:
    """The server says all it says when it has read to the half-close, its header included."""
    return (_all(session),) * len(session.lane(Side.SERVER))


def _client_lane(message: Callable[[int], int], half_close: Callable[[Session], int]) -> Needs:
    """Write the client's lane: what its message n needs, from 1, and its half-close."""

    def needs(session: Session) -> Iterator[int]:
        said = 0
        for event in session.lane(Side.CLIENT):
            match event:
                case ClientHeader():
                    yield 0
                case ClientMessage():
                    said += 1
                    yield message(said)
                case ClientHalfClose():
                    yield half_close(session)
                case _:
                    raise AssertionError(f"none of the clients says {event}")

    return lambda session: tuple(needs(session))


def _with_the_last(message: Callable[[int], int]) -> Needs:
    """The client half-closes as soon as it has said its last message."""
    return _client_lane(message, lambda session: message(_messages(session, Side.CLIENT)))


def _when_answered(message: Callable[[int], int]) -> Needs:
    """The client half-closes when it has heard the server's last message."""
    return _client_lane(message, lambda session: _HEADER + _messages(session, Side.SERVER))


_HEADER = 1
"""Either side's header is the first event of its lane."""


def _nothing(_: int) -> int:
    return 0


def _the_header(_: int) -> int:
    return _HEADER


_UNASKED = _with_the_last(_nothing)
"""A client that waits for nothing."""


# Each message is answered


async def _echoes(server: _Seat) -> None:
    async for message in server.heard():
        await server.say(f"echo {message}")


_ECHOED = _server_lane(2, lambda n: _HEADER + n)


async def _says_all(client: _Seat, messages: int = 4) -> None:
    async with asyncio.TaskGroup() as both:
        both.create_task(client.hear_out())
        await client.say(*(f"message {n}" for n in range(1, messages + 1)))
        await client.half_close()


async def _says_seven(client: _Seat) -> None:
    await _says_all(client, 7)


async def _pings(client: _Seat) -> None:
    await client.say("ping 1")
    for n in range(2, 5):
        if await client.hear() is None:
            return
        await client.say(f"ping {n}")
    await client.half_close()


async def _half_closes_when_answered(client: _Seat) -> None:
    async def hear() -> None:
        for _ in range(4):
            await client.hear()

    async with asyncio.TaskGroup() as both:
        answered = both.create_task(hear())
        await client.say(*(f"message {n}" for n in range(1, 5)))
        await answered
        await client.half_close()


async def _keeps_three_outstanding(client: _Seat) -> None:
    window = asyncio.Semaphore(_WINDOW)
    async with asyncio.TaskGroup() as both:
        both.create_task(_release(window, client))
        for n in range(1, 8):
            await window.acquire()
            await client.say(f"request {n}")
        await client.half_close()


async def _release(window: asyncio.Semaphore, seat: _Seat) -> None:
    """Make place for one more with each message heard, and for all that is left when no more will come."""
    async for _ in seat.heard():
        window.release()
    for _ in range(_PLENTY):
        window.release()


_WINDOW = 3
_PLENTY = 100


async def _sends_its_header_first(server: _Seat) -> None:
    await server.pause()
    await server.call.send_initial_metadata(())
    await _echoes(server)


async def _waits_for_headers(client: _Seat) -> None:
    with suppress(grpc.aio.AioRpcError):
        await client.call.initial_metadata()
    await _says_all(client)


# Some messages are answered together, late, or in another order


_BATCH = 3


async def _answers_batches(server: _Seat) -> None:
    batch: list[str] = []
    async for message in server.heard():
        batch.append(message)
        if len(batch) == _BATCH:
            await server.say(f"got {len(batch)}")
            batch.clear()
    if batch:
        await server.say(f"got {len(batch)}")


async def _answers_pairs_in_reverse(server: _Seat) -> None:
    while (first := await server.hear()) is not None and (second := await server.hear()) is not None:
        await server.say(f"reply to {second}", f"reply to {first}")


async def _calls(client: _Seat) -> None:
    """Six requests at once, and the half-close when each of them has its reply."""
    pending = {f"{n}": asyncio.get_running_loop().create_future() for n in range(1, 7)}

    async def hear() -> None:
        async for message in client.heard():
            pending[message.removeprefix("reply to ")].set_result(None)
        for reply in pending.values():
            if not reply.done():
                reply.set_result(None)

    async with asyncio.TaskGroup() as both:
        both.create_task(hear())
        await client.say(*pending)
        await asyncio.gather(*pending.values())
        await client.half_close()


async def _sums(server: _Seat) -> None:
    await server.say(f"sum {sum([int(message) async for message in server.heard()])}")


async def _counts_down(client: _Seat) -> None:
    await client.say("3", "2", "1")
    await client.half_close()


async def _refuses_the_third(server: _Seat) -> None:
    for _ in range(2):
        if (message := await server.hear()) is None:
            return
        await server.say(f"echo {message}")
    if await server.hear() is not None:
        await server.pause()
        await server.call.abort(grpc.StatusCode.FAILED_PRECONDITION, "two are enough")


async def _says_three(client: _Seat) -> None:
    """Three messages, and no half-close."""
    async with asyncio.TaskGroup() as both:
        both.create_task(client.hear_out())
        await client.say("message 1", "message 2", "message 3")


# The server pushes


_TICK_S = 0.02


async def _pushes(server: _Seat) -> None:
    await server.say(*(f"push {n}" for n in range(1, 6)))


async def _listens(client: _Seat) -> None:
    await client.half_close()


async def _ticks(server: _Seat) -> None:
    """Push every 20 ms, the first at once, for as long as the client has not half-closed."""
    async with asyncio.TaskGroup() as both:
        hearing = both.create_task(server.hear_out())
        while not hearing.done():
            await server.call.write(b"tick")
            await asyncio.wait((hearing,), timeout=_TICK_S)


async def _reports(client: _Seat) -> None:
    async with asyncio.TaskGroup() as both:
        both.create_task(client.hear_out())
        for n in range(1, 4):
            await asyncio.sleep(_TICK_S * 0.8)
            await client.say(f"report {n}")
        await client.half_close()


async def _greets(server: _Seat) -> None:
    await server.say("hello from the server")
    if await server.hear() is None:
        return
    async with asyncio.TaskGroup() as both:
        both.create_task(server.hear_out())
        await server.say(*(f"push {n}" for n in range(1, 5)))


async def _greets_back(client: _Seat) -> None:
    if await client.hear() is None:
        return
    await client.say("hello from the client")
    await _says_all(client)


_CREDIT = 3


async def _spends_credit(server: _Seat) -> None:
    credit = asyncio.Semaphore(_CREDIT)
    async with asyncio.TaskGroup() as both:
        both.create_task(_release(credit, server))
        for n in range(1, 9):
            await credit.acquire()
            await server.say(f"item {n} of 8")


async def _acknowledges(client: _Seat) -> None:
    async for item in client.heard():
        await client.say(f"ack {item.split()[1]}")
        if item == "item 8 of 8":
            await client.half_close()


def _serve_chat(random: Random, jitter_ms: float = JITTER_MS) -> Handler:
    servicer = ChatServicer(0.03 + random.uniform(0, jitter_ms) / 1000, 5, clock=clock)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.Chat, ChatMessage.FromString, ChatMessage.SerializeToString
    )
    return grpc.method_handlers_generic_handler("chat.ChatService", {"Chat": handler})


async def _run_chat(target: str, random: Random, jitter_ms: float = JITTER_MS) -> None:
    async with _dialled(target) as channel:
        await chat(channel, Talk(3, 0.025 + random.uniform(0, jitter_ms) / 1000, LIMIT_S, clock))


# Calls of another kind


def _adds(pause: Pause) -> Any:
    async def handle(requests: AsyncIterator[bytes], _: object) -> bytes:
        total = sum([int(request) async for request in requests])
        await pause()
        return b"sum %d" % total

    return grpc.stream_unary_rpc_method_handler(handle)


async def _says_terms(method: Any, pause: Pause) -> None:
    call = method()
    await _counts_down(_Seat(call, pause))
    await call


def _lists(pause: Pause) -> Any:
    async def handle(_: bytes, context: Any) -> None:
        await _Seat(context, pause).say(*(f"item {n}" for n in range(1, 5)))

    return grpc.unary_stream_rpc_method_handler(handle)


async def _asks_for_a_list(method: Any, pause: Pause) -> None:
    await pause()
    await _Seat(method(b"list"), pause).hear_out()


def _answers(pause: Pause) -> Any:
    async def handle(request: bytes, _: object) -> bytes:
        await pause()
        return b"reply to " + request

    return grpc.unary_unary_rpc_method_handler(handle)


async def _asks_once(method: Any, pause: Pause) -> None:
    await pause()
    await method(b"request")


# Two calls that cause each other's messages


@dataclass(slots=True)
class _Room:
    """What its two members have said, in the order in which it was said."""

    said: list[str] = field(default_factory=list)
    half_closes: int = 0
    members: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def hear(self, member: _Seat) -> None:
        async for message in member.heard():
            async with self.changed:
                self.said.append(message)
                self.changed.notify_all()
        async with self.changed:
            self.half_closes += 1
            self.changed.notify_all()

    async def message(self, number: int) -> str | None:
        """Wait for the message with this number, from 0; None when there will be no more."""
        async with self.changed:
            await self.changed.wait_for(lambda: number < len(self.said) or self.half_closes == 2)
        return self.said[number] if number < len(self.said) else None


def _serve_room(random: Random, jitter_ms: float = JITTER_MS) -> Handler:
    """Serve a room a connection: both members hear all that is said in it, from the beginning.

    A room is over when both members have half-closed, and forgotten when both have gone.
    """
    pause = _pauses(random, jitter_ms)
    rooms: dict[str, _Room] = {}

    @contextmanager
    def joined(connection: str) -> Iterator[_Room]:
        room = rooms.setdefault(connection, _Room())
        room.members += 1
        try:
            yield room
        finally:
            room.members -= 1
            if not room.members:
                rooms.pop(connection, None)

    async def pass_on(member: _Seat) -> None:
        with joined(member.call.peer()) as room:
            await member.pause()
            await member.call.send_initial_metadata(())
            async with asyncio.TaskGroup() as both:
                both.create_task(room.hear(member))
                passed = 0
                while (message := await room.message(passed)) is not None:
                    await member.say(message)
                    passed += 1

    return grpc.method_handlers_generic_handler(_SERVICE, {"Call": _duplex(pass_on, pause)})


async def _run_room(target: str, random: Random, jitter_ms: float = JITTER_MS) -> None:
    """Anna says anna 1; who has heard the other's message says the next one. Each half-closes with its third."""
    pause = _pauses(random, jitter_ms)

    async def member(channel: Any, name: str, heard_before: Callable[[int], str]) -> None:
        seat = _Seat(channel.stream_stream(_METHOD)(metadata=(("member", name),)), pause)
        for n in range(1, 4):
            if awaited := heard_before(n):
                async for message in seat.heard():
                    if message == awaited:
                        break
                else:
                    return
            await seat.say(f"{name} {n}")
        await seat.half_close()
        await seat.hear_out()

    async with _dialled(target) as channel, asyncio.TaskGroup() as both:
        both.create_task(member(channel, "anna", lambda n: f"ben {n - 1}" if n > 1 else ""))
        both.create_task(member(channel, "ben", lambda n: f"anna {n}"))


def _member(session: Session) -> str:
    name = session.header.metadata.first("member")
    assert isinstance(name, str)
    return name


def _room_server_needs(session: Session) -> tuple[int, ...]:
    """A member's own messages need to have been said; the other member's have only their place in the lane."""
    own = [
        event.payload.startswith(_member(session).encode())
        for event in session.lane(Side.SERVER)
        if isinstance(event, ServerMessage)
    ]
    return _server_lane(_HEADER, lambda n: _HEADER + sum(own[:n]))(session)


def _room_client_needs(session: Session) -> tuple[int, ...]:
    """The room's lane is: header, anna 1, ben 1, anna 2, ben 2, anna 3, ben 3."""
    if _member(session) == "anna":
        return _with_the_last(lambda n: 0 if n == 1 else _HEADER + 2 * (n - 1))(session)
    return _with_the_last(lambda n: _HEADER + 2 * n - 1)(session)


# All of them

PROTOCOLS = (
    Protocol("echo", _serve(_echoes), _client(_says_all), _ECHOED, _UNASKED),
    Protocol("ping-pong", _serve(_echoes), _client(_pings), _ECHOED, _with_the_last(lambda n: 0 if n == 1 else n)),
    Protocol(
        "batches",
        _serve(_answers_batches),
        _client(_says_seven),
        _server_lane(_HEADER + _BATCH, lambda n: _HEADER + _BATCH * n),
        _UNASKED,
    ),
    Protocol(
        "request window",
        _serve(_echoes),
        _client(_keeps_three_outstanding),
        _ECHOED,
        _with_the_last(lambda n: 0 if n <= _WINDOW else _HEADER + n - _WINDOW),
    ),
    Protocol("push", _serve(_pushes), _client(_listens), _server_lane(1, _the_header, lambda _: _HEADER), _UNASKED),
    Protocol("ticks", _serve(_ticks), _client(_reports), _server_lane(1, _the_header), _UNASKED, has_timers=True),
    Protocol(
        "pairs in reverse",
        _serve(_answers_pairs_in_reverse),
        _client(_calls),
        _server_lane(_HEADER + 2, lambda n: _HEADER + n + n % 2),
        _when_answered(_nothing),
    ),
    Protocol(
        "handshake",
        _serve(_greets),
        _client(_greets_back),
        _server_lane(1, lambda n: _HEADER if n == 1 else _HEADER + 1),
        _with_the_last(lambda _: _HEADER + 1),
    ),
    Protocol("sum", _serve(_sums), _client(_counts_down), _at_the_half_close, _UNASKED),
    Protocol("chat", _serve_chat, _run_chat, _server_lane(1, _the_header), _UNASKED, has_timers=True),
    Protocol("room", _serve_room, _run_room, _room_server_needs, _room_client_needs),
    Protocol(
        "client-streaming",
        _serve_by(_adds),
        _client_of("stream_unary", _says_terms),
        _at_the_half_close,
        _UNASKED,
    ),
    Protocol(
        "server-streaming",
        _serve_by(_lists),
        _client_of("unary_stream", _asks_for_a_list),
        _server_lane(2, lambda _: 2, lambda _: 2),
        _UNASKED,
    ),
    Protocol(
        "unary",
        _serve_by(_answers),
        _client_of("unary_unary", _asks_once),
        _server_lane(2, lambda _: 2, lambda _: 2),
        _UNASKED,
    ),
    Protocol(
        "early end",
        _serve(_refuses_the_third),
        _client(_says_three),
        _server_lane(2, lambda n: _HEADER + n, lambda _: _HEADER + 3),
        _UNASKED,
    ),
    Protocol(
        "headers first",
        _serve(_sends_its_header_first),
        _client(_waits_for_headers),
        _server_lane(1, lambda n: _HEADER + n),
        _with_the_last(_the_header),
    ),
    Protocol(
        "half-close when answered",
        _serve(_echoes),
        _client(_half_closes_when_answered),
        _ECHOED,
        _when_answered(_nothing),
    ),
    Protocol(
        "credit",
        _serve(_spends_credit),
        _client(_acknowledges),
        _server_lane(1, lambda n: _HEADER + max(0, n - _CREDIT)),
        _when_answered(lambda n: _HEADER + n),
    ),
)
