"""Run a program of `programs.py` on anything that looks like grpc.aio, and note what both ends saw.

An Observation has no times, no peer addresses and no debug strings, so that those of two engines can be compared. What
an act led to is noted as text and values; an exception is its type and its text, that of an AioRpcError the status with
its metadata. An act that raised at the client does not end its lane, so one program shows several errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from tests.sim.programs import Act, Acts, Program

Noted = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """What both ends of a call saw.

    `lanes` has what each act of each client lane led to, `feed` what the request iterator saw; `call` is how the call
    ended for the client; `handler` what each act of the handler led to, and last how it ended.
    """

    lanes: tuple[tuple[Noted, ...], ...]
    feed: tuple[Noted, ...]
    call: Noted
    handler: tuple[Noted, ...]


class Acting:
    """One run of a program."""

    def __init__(self, program: Program, backstop_s: float, method: str = "/sim.Programs/Run") -> None:
        self._program = program
        self._backstop_s = backstop_s
        self.method = method
        self._handler: list[Noted] = []
        self.handler_started = False
        self.handler_ended = asyncio.Event()

    def method_handler(self) -> grpc.RpcMethodHandler:
        """Return the handler, to be registered under `method`."""
        kind = self._program.kind
        if kind.endswith("unary"):
            function: Any = self._responds if kind.startswith("stream") else self._answers
        elif self._program.handler.writes == "yield":
            function = self._yields
        else:
            function = self._writes
        return _METHOD_HANDLERS[kind](function)

    async def client(self, channel: grpc.aio.Channel, stop: Callable[[float | None], Awaitable[None]]) -> Observation:
        """Make the call, and wait until it has ended at both sides."""
        client = self._program.client
        stub: Any = getattr(channel, self._program.kind)(self.method)
        feed: list[Noted] = []
        terms: dict[str, Any] = {"timeout": client.deadline_s or self._backstop_s, "metadata": client.metadata or None}
        if self._program.kind.startswith("unary"):
            call = stub(client.request, **terms)
        elif client.feed is None:
            call = stub(**terms)
        else:
            call = stub(_fed(client.feed, feed), **terms)
        lanes = [_Lane(call, lane, stop, client.reads) for lane in client.lanes]
        await self._finished(lanes)
        ended = await _ended(call)
        if not self.handler_started:
            await asyncio.sleep(LATE_S)
        if self.handler_started:
            await self.handler_ended.wait()
        return Observation(tuple(tuple(lane.noted) for lane in lanes), tuple(feed), ended, tuple(self._handler))

    async def _finished(self, lanes: list[_Lane]) -> None:
        """Wait for the lanes; what waits for longer than the deadline waits for ever, which grpc.aio can do."""
        tasks = [asyncio.create_task(lane.run()) for lane in lanes]
        if not tasks:
            return
        _, left = await asyncio.wait(tasks, timeout=2 * self._backstop_s)
        for task, lane in zip(tasks, lanes, strict=True):
            if task in left:
                lane.hangs = True
                task.cancel()
        await asyncio.wait(tasks)

    @property
    def handler(self) -> tuple[Noted, ...]:
        """What the handler has noted so far."""
        return tuple(self._handler)

    async def _answers(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes | None:
        self._note(("request", request))
        return await self._responds(None, context)

    async def _responds(self, requests: AsyncIterator[bytes] | None, context: grpc.aio.ServicerContext) -> bytes | None:
        result: bytes | None = None
        async for act in self._handling(requests, context):
            if act.verb == "returns":
                assert isinstance(act.value, bytes)
                result = act.value
        return result

    async def _writes(self, requests: Any, context: grpc.aio.ServicerContext) -> None:
        async for act in self._handling(requests, context):
            assert act.verb == "write"
            try:
                await context.write(act.value)
            except BaseException as exc:
                self._note(("write", *raised(exc)))
                raise
            self._note(("write", None))

    async def _yields(self, requests: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        async for act in self._handling(requests, context):
            assert isinstance(act.value, bytes)
            yield act.value
            self._note(("write", None))

    async def _handling(self, requests: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Act]:
        """Do all acts but those that write and return, which are yielded to whoever can."""
        self.handler_started = True
        if isinstance(requests, bytes):
            self._note(("request", requests))
        self._note(("metadata", _public(context.invocation_metadata())))
        context.add_done_callback(lambda _: self.handler_ended.set())
        act = Act("returns")
        try:
            for act in self._program.handler.acts:
                if act.verb in ("write", "returns"):
                    yield act
                else:
                    self._note((act.verb, await self._act(act, requests, context)))
        except GeneratorExit:  # nobody asks for another act: a write has failed
            raise
        except BaseException as exc:
            self._note((act.verb, *raised(exc)))
            raise
        self._note(("ended", context.code(), context.details()))

    async def _act(self, act: Act, requests: Any, context: grpc.aio.ServicerContext) -> object:
        value: Any = act.value
        match act.verb:
            case "read":
                return message(await context.read())
            case "read_all" if self._program.handler.reads == "iterator":
                return tuple([one async for one in requests])
            case "read_all":
                every = []
                while (one := await context.read()) is not grpc.aio.EOF:
                    every.append(one)
                return tuple(every)
            case "sleep":
                return await asyncio.sleep(value)
            case "initial_metadata":
                return await context.send_initial_metadata(value)
            case "trailing_metadata":
                return context.set_trailing_metadata(value)
            case "set_code":
                return context.set_code(value)
            case "set_details":
                return context.set_details(value)
            case "abort":
                return await context.abort(*value)
            case "raise":
                raise ValueError(value)
        raise AssertionError(act)

    def _note(self, noted: Noted) -> None:
        self._handler.append(noted)


class _Lane:
    """One task of the client."""

    def __init__(self, call: Any, acts: Acts, stop: Callable[[float | None], Awaitable[None]], reads: str) -> None:
        self._call, self._acts, self._stop, self._reads = call, acts, stop, reads
        self.noted: list[Noted] = []
        self.hangs = False

    async def run(self) -> None:
        for act in self._acts:
            try:
                self.noted.append((act.verb, await self._act(act)))
            except (Exception, asyncio.CancelledError) as exc:
                if self.hangs:
                    self.noted.append((act.verb, "hangs"))
                    return
                self.noted.append((act.verb, *raised(exc)))

    async def _act(self, act: Act) -> object:
        call, value = self._call, act.value
        match act.verb:
            case "write":
                return await call.write(value)
            case "done_writing":
                return await call.done_writing()
            case "read":
                return message(await call.read())
            case "read_all":
                return await self._read_all()
            case "response":
                return await call
            case "cancel":
                return call.cancel()
            case "sleep":
                return await asyncio.sleep(value)
            case "code":
                return await call.code()
            case "initial_metadata":
                return pairs(await call.initial_metadata())
            case "trailing_metadata":
                return pairs(await call.trailing_metadata())
            case "stop":
                return await self._stop(value)
        raise AssertionError(act)

    async def _read_all(self) -> object:
        """Read to the end; what was read before an error is noted too."""
        every: list[bytes] = []
        try:
            if self._reads == "iterator":
                async for one in self._call:
                    every.append(one)
            else:
                while (one := await self._call.read()) is not grpc.aio.EOF:
                    every.append(one)
        except BaseException:
            self.noted.append(("read", tuple(every)))
            raise
        return tuple(every)


async def _fed(feed: Acts, noted: list[Noted]) -> AsyncIterator[bytes]:
    for act in feed:
        if act.verb == "sleep":
            await asyncio.sleep(act.value)  # type: ignore[arg-type]
        else:
            yield act.value  # type: ignore[misc]
        noted.append((act.verb,))
    noted.append(("done_writing",))


async def _ended(call: Any) -> Noted:
    code, details = await call.code(), await call.details()
    return (
        code,
        worded(details),
        pairs(await call.initial_metadata()),
        pairs(await call.trailing_metadata()),
        call.cancelled(),
    )


def pairs(metadata: Any) -> object:
    """Return metadata as a tuple of pairs, and what is no metadata as it is."""
    return metadata if metadata is None else tuple((key, value) for key, value in metadata)


def raised(exc: BaseException) -> Noted:
    """Return an exception as a value: type and text, and of an AioRpcError its status."""
    if isinstance(exc, grpc.aio.AioRpcError):
        metadata = pairs(exc.initial_metadata()), pairs(exc.trailing_metadata())
        return ("raised", "AioRpcError", exc.code(), worded(exc.details()), *metadata)
    text = str(exc)
    if text.startswith('Failed "execute_batch"'):  # what follows is the address of an operation
        text = 'Failed "execute_batch"'
    return "raised", type(exc).__name__, text


def worded(details: str) -> str:
    """Return the details without what says which part of grpcio's core was first to know; two of them race."""
    return details.removeprefix("Stream removed (").removesuffix(")") if "Stream removed (" in details else details


def message(read: object) -> object:
    """Return what was read; the end as a word."""
    return "EOF" if read is grpc.aio.EOF else read


def _public(metadata: Any) -> object:
    return tuple((key, value) for key, value in metadata if key != "user-agent")


LATE_S = 0.02  # a call that is cancelled at once may yet reach the server

_METHOD_HANDLERS: dict[str, Callable[[Any], grpc.RpcMethodHandler]] = {
    "unary_unary": grpc.unary_unary_rpc_method_handler,
    "unary_stream": grpc.unary_stream_rpc_method_handler,
    "stream_unary": grpc.stream_unary_rpc_method_handler,
    "stream_stream": grpc.stream_stream_rpc_method_handler,
}
