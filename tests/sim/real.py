"""Programs on real grpc.aio over loopback: many on one server, each by a method of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio

from tests.sim.acting import Acting, Observation
from tests.sim.engines import Loopback
from tests.sim.interceptors import client_interceptors, server_interceptors
from tests.sim.programs import Program


class Real:
    """Runs programs until it is closed; use it as a context manager."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stages: dict[tuple[bool, bool], _Serving] = {}
        self._count = 0

    def __enter__(self) -> Real:
        return self

    def __exit__(self, *exc: object) -> None:
        for serving in self._stages.values():
            self._runner.run(serving.stage.close())
        self._runner.close()

    def run(self, program: Program, backstop_s: float) -> Observation:
        """Run a program once; a program without a deadline gets this one, so that what waits for ever ends."""
        return self._runner.run(self._run(program, backstop_s))

    async def _run(self, program: Program, backstop_s: float) -> Observation:
        key = (program.client.intercepted, program.handler.intercepted)
        serving = None if program.stops else self._stages.get(key)
        if serving is None:
            serving = _Serving(*key)
            await serving.server.start()
            await serving.channel.channel_ready()  # else stop() may come before the connection
            if not program.stops:
                self._stages[key] = serving
        self._count += 1
        acting = Acting(program, backstop_s, f"/sim.Programs/{self._count}")
        serving.handlers[acting.method] = acting
        try:
            return await acting.client(serving.channel, serving.server.stop)
        finally:
            if program.stops:
                await serving.stage.close()


class _Serving(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, client_intercepted: bool, handler_intercepted: bool) -> None:
        self.handlers: dict[str, Acting] = {}
        self.stage = Loopback()
        self.server = self.stage.server(server_interceptors() if handler_intercepted else ())
        self.server.add_generic_rpc_handlers((self,))
        self.channel = self.stage.channel(client_interceptors() if client_intercepted else ())

    def service(self, details: Any) -> grpc.RpcMethodHandler | None:
        return self.handlers[details.method].method_handler()
