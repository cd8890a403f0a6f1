"""Run a program of `programs.py` in synchronous form, on anything that looks like grpc, and note what both ends saw.

Requests come from an iterator, responses are iterated over, a handler is a generator or returns an iterator. A program
loses its pauses, its stops and its second lane's concurrency: what the lanes do is done one after another, but for the
writes, which are the iterator's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc

from tests.sim.acting import Noted, pairs, worded
from tests.sim.programs import Act, Program

METHOD = "/sim.Programs/Run"


def in_sync_form(program: Program) -> Program:
    """Return the program with its writes as a feed, its other acts in one lane, and without what only asyncio has."""
    acts = [act for lane in program.client.lanes for act in lane]
    if program.client.feed is not None:
        said = program.client.feed
    else:
        said = tuple(act for act in acts if act.verb == "write")
    feed = tuple(act for act in said if act.verb == "write") if program.kind.startswith("stream") else None
    lane = tuple(act for act in acts if act.verb not in ("write", "done_writing", "sleep", "stop"))
    handler = tuple(act for act in program.handler.acts if act.verb != "sleep")
    client = replace(program.client, lanes=(lane,), feed=feed, deadline_s=None, intercepted=False)
    return replace(program, client=client, handler=replace(program.handler, acts=handler, intercepted=False))


class ActingSync:
    """One run of a program in synchronous form."""

    def __init__(self, program: Program, backstop_s: float, method: str = METHOD) -> None:
        self._program = program
        self._backstop_s = backstop_s
        self.method = method
        self.handler: list[Noted] = []
        self.handler_started = False
        self.handler_ended = threading.Event()

    def method_handler(self) -> grpc.RpcMethodHandler:
        """Return the handler, to be registered under `method`."""
        kind = self._program.kind
        if kind.endswith("unary"):
            function: Any = self._responds
        else:
            function = self._yields if self._program.handler.writes == "yield" else self._returns
        return getattr(grpc, f"{kind}_rpc_method_handler")(function)

    def client(self, channel: grpc.Channel) -> tuple[tuple[Noted, ...], tuple[Noted, ...], Noted]:
        """Make the call, and return what its lane and its feed saw, and how it ended."""
        client, kind = self._program.client, self._program.kind
        stub: Any = getattr(channel, kind)(self.method)
        feed: list[Noted] = []
        request = client.request if client.feed is None else self._fed(feed)
        begin = stub.future if kind.endswith("unary") else stub
        call = begin(request, timeout=self._backstop_s, metadata=client.metadata or None)
        noted: list[Noted] = []
        for act in client.lanes[0]:
            try:
                noted.append((act.verb, self._ask(call, act, noted)))
            except Exception as exc:
                noted.append((act.verb, *raised(exc)))
        ended = call.code(), worded(call.details()), pairs(call.initial_metadata()), pairs(call.trailing_metadata())
        return tuple(noted), tuple(feed), (*ended, call.cancelled(), call.done(), call.is_active())

    def _fed(self, noted: list[Noted]) -> Iterator[bytes]:
        assert self._program.client.feed is not None
        for act in self._program.client.feed:
            assert isinstance(act.value, bytes)
            yield act.value

    def _ask(self, call: Any, act: Act, noted: list[Noted]) -> object:
        match act.verb:
            case "read":
                return next(call, "EOF")
            case "read_all":
                every: list[bytes] = []
                try:
                    for one in call:
                        every.append(one)
                finally:
                    noted.append(("read", tuple(every)))
                return "EOF"
            case "response":
                return call.result()
            case "cancel":
                return call.cancel()
            case "code":
                return call.code()
            case "initial_metadata":
                return pairs(call.initial_metadata())
            case "trailing_metadata":
                return pairs(call.trailing_metadata())
        raise AssertionError(act)

    def _responds(self, request: Any, context: grpc.ServicerContext) -> bytes | None:
        self._begin(request, context)
        result = None
        for act in self._program.handler.acts:
            if act.verb == "returns":
                assert isinstance(act.value, bytes)
                result = act.value
            else:
                self._do(act, request, context)
        self._end(context)
        return result

    def _yields(self, request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        self._begin(request, context)
        for act in self._program.handler.acts:
            if act.verb == "write":
                assert isinstance(act.value, bytes)
                yield act.value
            else:
                self._do(act, request, context)
        self._end(context)

    def _returns(self, request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        self._begin(request, context)
        written: list[Any] = []
        for act in self._program.handler.acts:
            if act.verb == "write":
                written.append(act.value)
            else:
                self._do(act, request, context)
        self._end(context)
        return iter(written)

    def _begin(self, request: Any, context: grpc.ServicerContext) -> None:
        self.handler_started = True
        if isinstance(request, bytes):
            self.handler.append(("request", request))
        public = [pair for pair in context.invocation_metadata() if pair[0] != "user-agent"]
        self.handler.append(("metadata", pairs(public)))
        if not context.add_callback(self.handler_ended.set):
            self.handler_ended.set()

    def _do(self, act: Act, requests: Any, context: grpc.ServicerContext) -> None:
        try:
            self.handler.append((act.verb, self._done(act, requests, context)))
        except Exception as exc:
            self.handler.append((act.verb, "raised", type(exc).__name__, str(exc)))
            raise

    def _done(self, act: Act, requests: Any, context: grpc.ServicerContext) -> object:
        value: Any = act.value
        match act.verb:
            case "read":
                return next(requests, "EOF")
            case "read_all":
                return tuple(requests)
            case "initial_metadata":
                return context.send_initial_metadata(value)
            case "trailing_metadata":
                return context.set_trailing_metadata(value)
            case "set_code":
                return context.set_code(value)
            case "set_details":
                return context.set_details(value)
            case "abort":
                context.set_trailing_metadata(value[2])
                return context.abort(*value[:2])
            case "raise":
                raise ValueError(value)
        raise AssertionError(act)

    def _end(self, context: grpc.ServicerContext) -> None:
        self.handler.append(("ended", context.code(), context.details()))


def raised(exc: Exception) -> Noted:
    """Return an exception as a value; of a call's error its status, and not which class of grpcio's it is."""
    if isinstance(exc, grpc.RpcError):
        call: Any = exc
        metadata = pairs(call.initial_metadata()), pairs(call.trailing_metadata())
        return ("raised", "RpcError", call.code(), worded(call.details()), *metadata)
    return "raised", type(exc).__name__, str(exc)
