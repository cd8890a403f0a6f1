"""A Call: what a handler answers a client by. It needs a Stream, a Clock and the running loop's own time.

    @duplexmock.handler("/chat.ChatService/Chat")
    async def moody(call):
        first = await call.receive(ChatMessage, within=5)
        async with call.pushing(1.0, ChatMessage(message="still here")):
            async for message in call:
                await call.send(ChatMessage(message=message.message.upper()))
        await call.finish("RESOURCE_EXHAUSTED", "enough for today")

**The end of a call.** A handler that returns without `finish` ends the call with OK, as grpc.aio's do. What it returns,
if anything, is said before that. Whoever cancels (the client, its deadline, a lost connection) cancels the handler, at
what it awaits, as grpc.aio does; what is still said after that goes nowhere.

**The client's half-close** is None from `receive`, and the end of the iteration. The server may go on after it.

**Back-pressure.** What has come and is not received waits here, and no more than MAX_UNREAD of it: then the client gets
no more window. `send` waits while too much of what was said waits for the client.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from duplexmock.core.events import ClientHeader, Event, ServerHeader, ServerMessage, ServerTrailer, Side
from duplexmock.core.lanes import Loss, Parting
from duplexmock.core.metadata import GRPC_ANSWER, Metadata
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.span import span_ns
from duplexmock.core.status import Code, Status, code_name
from duplexmock.errors import MismatchError, ProtocolError, ScriptError
from duplexmock.play.ending import Pairs, ending
from duplexmock.play.ending import metadata as pairs
from duplexmock.play.stream import LONG_NS

if TYPE_CHECKING:
    from duplexmock.play.handler import Handler
    from duplexmock.play.held import Held
    from duplexmock.play.stream import Clock
    from duplexmock.schema.typed import Typed

MAX_UNREAD = 256
"""Messages that may wait to be received; a window of the client's is worth some more."""

MAX_UNREAD_BYTES = 1024 * 1024

BURST = 64
"""Messages said in a row before other calls have their turn, and the client's windows are looked at."""

BURST_BYTES = 64 * 1024

LAST_S = 5.0
"""How long a handler may take to end when its call is over: then it is given up, and that is told."""


class SilenceError(MismatchError, TimeoutError):
    """Nothing came of the client within the time that a handler gave it; a TimeoutError to whoever expects that."""


class Call:
    """One call of a client, as its handler sees it.

    `metadata` is what the client's header said, all but the pseudo-headers.
    """

    def __init__(self, stream: Held, clock: Clock, header: ClientHeader, messages: Callable[[], Typed]) -> None:
        self.method = header.method
        self.metadata = header.metadata
        self._stream = stream
        self._clock = clock
        self._messages = messages
        self._typed: Typed | None = None
        self._encoding = ""
        self._unread: deque[tuple[int, bytes]] = deque()
        self._unread_bytes = 0
        self._is_holding = False
        self._news: asyncio.Future[None] | None = None
        self._half_closed = False
        self._header_said = False
        self._finished = ""
        self._cancelled = ""
        self._broke: BaseException | None = None
        self._burst = self._burst_bytes = 0
        self._task: asyncio.Task[Any] | None = None
        self._received = 0
        timeout_ns = header.timeout_ns
        self._deadline_s = None if timeout_ns is None else timeout_ns / 1e9
        self._deadline_ns = None if timeout_ns is None else clock.now_ns() + timeout_ns

    # What is known of the client

    @property
    def peer(self) -> str:
        """Return the client's address: HOST:PORT, or `unix:`."""
        return self._stream.connection.client

    @property
    def deadline(self) -> float | None:
        """Return how many seconds the client gave the call, counted from its beginning; None where it gave none."""
        return self._deadline_s

    def time_remaining(self) -> float | None:
        """Return the seconds until the client's deadline, 0 where it is over; None where there is none."""
        if self._deadline_ns is None:
            return None
        return max(self._deadline_ns - self._clock.now_ns(), 0) / 1e9

    @property
    def half_closed(self) -> bool:
        """Tell whether the client has half-closed; what it said before may still wait to be received."""
        return self._half_closed

    @property
    def cancelled(self) -> bool:
        """Tell whether the call is over without `finish`: cancelled, past its deadline, or with its connection."""
        return bool(self._cancelled)

    # Hearing

    async def receive(self, type: Any = None, *, within: float | str | None = None) -> Any:
        """Return the client's next message; None where it has half-closed and there are no more.

        The message is of `type`, a generated class or `bytes`; without one of the type that the descriptors say, or
        bytes where there are none. With `within`, seconds or a text such as "500ms", a client that says nothing for so
        long is a SilenceError, which is a MismatchError and a TimeoutError. Raises ScriptError where the method has no
        messages of this type, MismatchError where the message cannot be read.
        """
        if not self._unread:
            if self._half_closed or self._cancelled:
                return None
            await self._wait(within)
            if not self._unread:
                return None
        flags, payload = self._unread.popleft()
        self._unread_bytes -= len(payload)
        if self._is_holding and len(self._unread) <= MAX_UNREAD // 2 and self._unread_bytes <= MAX_UNREAD_BYTES // 2:
            self._is_holding = False
            self._stream.release()
        self._received += 1
        if not flags and (type is bytes or (type is None and not self._has_types())):
            return payload
        return self._read(flags, payload, type)

    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over the client's messages, by `receive`, until it half-closes."""
        return self.messages()

    async def messages(self, type: Any = None, *, within: float | str | None = None) -> AsyncIterator[Any]:
        """Iterate over the client's messages until it half-closes; arguments are those of `receive`."""
        while (message := await self.receive(type, within=within)) is not None:
            yield message

    # Saying

    async def send_header(self, metadata: Pairs = ()) -> None:
        """Say the server's initial metadata; the first message does so by itself. ScriptError where it was said."""
        self._check_open("send_header")
        if self._header_said:
            raise ScriptError(f"{self.method}: send_header when the header has been said, by it or the first message")
        self._header_said = True
        await self._say([ServerHeader(Metadata((*GRPC_ANSWER, *pairs(metadata))))])

    async def send(self, message: Any) -> None:
        """Say a message: a protobuf message, a dict of its fields where descriptors are known, or bytes.

        Waits while the client leaves too much of what was said unread. Raises ScriptError where the call was finished,
        or the method's messages are of another type; what is said to a call that was cancelled goes nowhere.
        """
        self._check_open("send")
        payload = message if type(message) is bytes else self._types().write(Side.SERVER, message)
        if self._header_said:
            await self._say([ServerMessage(payload)])
        else:
            self._header_said = True
            await self._say([ServerHeader(GRPC_ANSWER), ServerMessage(payload)])
        self._burst += 1
        self._burst_bytes += len(payload)
        if self._burst >= BURST or self._burst_bytes >= BURST_BYTES:
            self._burst = self._burst_bytes = 0
            await asyncio.sleep(0)
            await self._stream.drained()

    async def finish(self, code: Any = Code.OK, details: str = "", trailing: Pairs = ()) -> None:
        """End the call with a status: a code by number, by name, or as grpc.StatusCode has it.

        `trailing` is metadata for the trailers. The handler may go on, for what has to be done behind the call.
        ScriptError where the call was finished before.
        """
        self._check_open("finish")
        await self._end(*ending(code, details, trailing))

    def fail(self, why: str) -> NoReturn:
        """Say that the client did not do what it should have done.

        Raises MismatchError with this sentence: the client is told it, with FAILED_PRECONDITION, and the test that
        serves this handler fails with it, under the timeline of the call.
        """
        raise MismatchError(why)

    def pushing(self, every: float | str, message: Any) -> contextlib.AbstractAsyncContextManager[None]:
        """Say a message again and again while the block lasts, the first at once: `async with call.pushing("5s", m):`.

        `every` is in seconds, or a text such as "500ms". Where `message` is a function, what it returns is said, each
        time anew.
        """
        every_s = _seconds(every, "pushing every")
        return _Pushing(self, every_s, message)

    # The connection

    async def goaway(self, code: int = 0, debug: bytes = b"") -> None:
        """Say GOAWAY on the call's connection: it takes no new calls, and those that are open go on."""
        await self._stream.do(Parting(0, 0, code, debug))

    async def lose_connection(self) -> None:
        """Close the call's connection, behind all that was said, and with it all calls on it."""
        await self._stream.do(Loss(Side.SERVER))

    # For who runs it, below

    def _took(self, rows: Sequence[Row]) -> None:
        """Take what has come."""
        for row in rows:
            kind = row[0]
            if kind == _CLIENT_MESSAGE:
                self._unread.append((row[2], row[3]))
                self._unread_bytes += len(row[3])
            elif kind == _HALF_CLOSE:
                self._half_closed = True
            elif kind == _CANCEL:
                self._cancel("cancelled by the client")
            elif kind == _DAMAGED:
                self._cancel(f"the client broke the protocol: {row[2]}")
        if (len(self._unread) > MAX_UNREAD or self._unread_bytes > MAX_UNREAD_BYTES) and not self._is_holding:
            self._is_holding = True
            self._stream.hold()
        self._tell()

    def _cancel(self, why: str) -> None:
        """Take the end of the call, by somebody else than the handler."""
        if self._cancelled:
            return
        self._cancelled = why
        self._tell()
        if self._task is not None and not self._finished:
            self._task.cancel()

    def _break(self, exc: BaseException) -> None:
        """Take what has gone wrong beside the handler: it ends with that."""
        if self._broke is None and self._task is not None:
            self._broke = exc
            self._task.cancel()

    async def _end(self, status: Status, trailing: Metadata = Metadata()) -> None:
        if self._finished or self._cancelled:
            return
        self._finished = code_name(status.code)
        first = () if self._header_said else GRPC_ANSWER
        await self._say([ServerTrailer(status, Metadata((*first, *trailing)))])

    # Inside

    async def _wait(self, within: float | str | None) -> None:
        """Wait until there is something to be received, or never will be."""
        within_s = None if within is None else _seconds(within, "receive within")
        try:
            async with asyncio.timeout(within_s):
                while not (self._unread or self._half_closed or self._cancelled):
                    if self._news is None or self._news.done():
                        self._news = asyncio.get_running_loop().create_future()
                    await self._news
        except TimeoutError:
            raise SilenceError(
                f"The client sent no message within {within_s:g} s; it had sent {self._received} before."
            ) from None

    def _tell(self) -> None:
        news = self._news
        if news is not None and not news.done():
            news.set_result(None)

    async def _say(self, events: Sequence[Event]) -> None:
        if not self._cancelled:
            await self._stream.send(events)

    def _check_open(self, what: str) -> None:
        if self._finished:
            raise ScriptError(f"{self.method}: {what} after finish: the call has ended with {self._finished}")

    def _types(self) -> Typed:
        if self._typed is None:
            self._typed = self._messages()
        return self._typed

    def _has_types(self) -> bool:
        return self._types().knows(Side.CLIENT)

    def _read(self, flags: int, payload: bytes, kind: Any) -> Any:
        from duplexmock.schema.payload import encoding, plain

        try:
            if flags:
                payload = plain(payload, flags, encoding(self.metadata))
            return self._types().read(Side.CLIENT, payload, kind)
        except ProtocolError as exc:
            raise MismatchError(f"ClientMessage #{self._received} {exc}.") from exc


async def answered(handler: Handler, call: Call) -> BaseException | None:
    """Run a handler beside the hearing of its call, to the end of the call; return what it has raised, if anything.

    MismatchError is told to the client as FAILED_PRECONDITION, other exceptions as INTERNAL. Where somebody else ends
    the call, the handler is cancelled and has LAST_S to end.
    """
    raised = await _run(handler, call)
    match raised:
        case None:
            await call._end(Status(Code.OK))
        case MismatchError():
            await call._end(Status(Code.FAILED_PRECONDITION, str(raised)))
        case _:
            await call._end(Status(Code.INTERNAL, f"the handler raised {type(raised).__name__}: {raised}"))
    return raised


async def _run(handler: Handler, call: Call) -> BaseException | None:
    stream, clock = call._stream, call._clock
    task: asyncio.Task[BaseException | None] = asyncio.get_running_loop().create_task(_result(handler, call))
    call._task = task
    task.add_done_callback(lambda _: stream.wake())
    try:
        while not (task.done() or call.cancelled):
            now_ns, deadline_ns = clock.now_ns(), call._deadline_ns
            rows = await stream.receive(now_ns + LONG_NS if deadline_ns is None else deadline_ns)
            if rows:
                call._took(rows)
            elif stream.was_ended:
                call._cancel("ended by the test")
            elif stream.lost is not None:
                call._cancel(f"lost with its connection, {stream.lost}")
            elif deadline_ns is not None and clock.now_ns() >= deadline_ns:
                call._deadline_ns = None
                if not call._finished:
                    await stream.end(Status(Code.DEADLINE_EXCEEDED, f"the deadline of {call.deadline:g} s is up"))
                    call._cancel("past its deadline")
        if not task.done():
            await asyncio.wait({task}, timeout=LAST_S)
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        return ScriptError(f"{handler.name}: the handler goes on, {LAST_S:g} s after its call was {call._cancelled}")
    if not task.cancelled():
        return task.result()
    if call._broke is not None or call.cancelled:
        return call._broke
    return ScriptError(f"{handler.name}: the handler was cancelled by its own code")


async def _result(handler: Handler, call: Call) -> BaseException | None:
    """Return what the handler has raised: a task would let some of that end the loop."""
    try:
        returned = await handler.function(call)
        if returned is not None and not call._finished:
            await call.send(returned)
    except asyncio.CancelledError:
        raise
    except BaseException as exc:
        return exc
    return None


class _Pushing:
    """Says a message at an interval while its block lasts."""

    def __init__(self, call: Call, every_s: float, message: Any) -> None:
        self._call = call
        self._every_s = every_s
        self._message = message
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        at_s = loop.time()
        await self._push()
        self._task = loop.create_task(self._go_on(at_s))

    async def __aexit__(self, *raised: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _push(self) -> None:
        message = self._message() if _is_function(self._message) else self._message
        await self._call.send(await message if isinstance(message, Awaitable) else message)

    async def _go_on(self, at_s: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                at_s += self._every_s
                await asyncio.sleep(at_s - loop.time())
                if self._call._finished:
                    return
                await self._push()
        except Exception as exc:
            self._call._break(exc)


def _seconds(given: float | str, what: str) -> float:
    if isinstance(given, int | float) and given > 0:
        return float(given)
    return span_ns(given, what) / 1e9


def _is_function(message: Any) -> bool:
    return callable(message) and not hasattr(message, "SerializeToString")


_CLIENT_MESSAGE, _HALF_CLOSE = int(RowKind.CLIENT_MESSAGE), int(RowKind.CLIENT_HALF_CLOSE)
_CANCEL, _DAMAGED = int(RowKind.CANCEL), int(RowKind.DAMAGED)
