"""Programs in synchronous form: on real grpc over loopback, and in sim by every choice there is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import sleep
from typing import Any

import grpc

from duplexmock.sim.bounds import Bounds
from duplexmock.sim.simulation import Leaks, simulate
from tests.sim.acting import Noted
from tests.sim.acting_sync import ActingSync
from tests.sim.programs import Program


@dataclass(frozen=True, slots=True)
class SyncObservation:
    """What the client's lane and its feed saw, how the call ended for it, and what the handler saw."""

    lane: tuple[Noted, ...]
    feed: tuple[Noted, ...]
    call: Noted
    handler: tuple[Noted, ...]


class RealSync(grpc.GenericRpcHandler):  # type: ignore[misc]
    """One real server and one channel; use it as a context manager."""

    def __init__(self) -> None:
        self._actings: dict[str, ActingSync] = {}
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=(self,))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def __enter__(self) -> RealSync:
        self._server.start()
        grpc.channel_ready_future(self._channel).result()
        return self

    def __exit__(self, *exc: object) -> None:
        self._channel.close()
        self._server.stop(None).wait()

    def service(self, details: Any) -> grpc.RpcMethodHandler | None:
        return self._actings[details.method].method_handler()

    def run(self, program: Program, backstop_s: float) -> SyncObservation:
        """Run a program once."""
        acting = ActingSync(program, backstop_s, f"/sim.Programs/{len(self._actings) + 1}")
        self._actings[acting.method] = acting
        lane, feed, call = acting.client(self._channel)
        if not acting.handler_started:
            sleep(LATE_S)
        if acting.handler_started:
            acting.handler_ended.wait(5)
            sleep(SETTLES_S)  # a handler goes on behind a cancel
        return SyncObservation(lane, feed, call, tuple(acting.handler))


@dataclass(frozen=True, slots=True)
class OnceSync:
    """One run in sim: what was observed, how many options each choice had, and the virtual time at the call's end."""

    observation: SyncObservation
    options: tuple[int, ...]
    ended_s: float
    schedule: str


def once_sync(program: Program, backstop_s: float, bounds: Bounds, choices: Sequence[int] = ()) -> OnceSync:
    """Run a program in sim by these choices, and by the first option behind them."""
    options: list[int] = []

    def choose(steps: Sequence[Any]) -> int:
        options.append(len(steps))
        return choices[len(options) - 1] if len(options) <= len(choices) else 0

    acting = ActingSync(program, backstop_s)
    with simulate(bounds=bounds, choose=choose, leaks=Leaks.ALLOW) as sim:
        server = sim.server()
        server.add_generic_rpc_handlers((_One(acting),))
        lane, feed, call = acting.client(sim.channel())
        ended_s = sim.now_s
    return OnceSync(
        SyncObservation(lane, feed, call, tuple(acting.handler)), tuple(options), ended_s, str(sim.schedule)
    )


def every_sync(program: Program, backstop_s: float, bounds: Bounds) -> Iterator[OnceSync]:
    """Yield a run for each sequence of choices, those with the fewest deviations from the first options first."""
    waiting: deque[tuple[int, ...]] = deque([()])
    while waiting:
        choices = waiting.popleft()
        run = once_sync(program, backstop_s, bounds, choices)
        yield run
        for position in range(len(choices), len(run.options)):
            zeros = (0,) * (position - len(choices))
            for option in range(1, run.options[position]):
                waiting.append((*choices, *zeros, option))


class _One(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, acting: ActingSync) -> None:
        self._acting = acting

    def service(self, details: Any) -> grpc.RpcMethodHandler | None:
        return self._acting.method_handler()


LATE_S = 0.02
SETTLES_S = 0.001
