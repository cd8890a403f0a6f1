"""Programs in sim: once, or by every choice there is."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from duplexmock.sim.bounds import Bounds
from duplexmock.sim.simulation import Leaks, simulate
from tests.sim.acting import Acting, Observation
from tests.sim.interceptors import client_interceptors, server_interceptors
from tests.sim.programs import Program

PLAIN = Bounds()


@dataclass(frozen=True, slots=True)
class Once:
    """One run: what was observed, how many options each choice had, and the virtual time at its end."""

    observation: Observation
    options: tuple[int, ...]
    ended_s: float
    schedule: str


def once(program: Program, backstop_s: float, bounds: Bounds = PLAIN, choices: Sequence[int] = ()) -> Once:
    """Run a program by these choices, and by the first option behind them."""
    return _run(program, backstop_s, bounds, lambda number, _: choices[number] if number < len(choices) else 0)


def at_random(program: Program, backstop_s: float, bounds: Bounds, chosen: random.Random) -> Once:
    """Run a program by choices that are mostly the first option."""

    def pick(_: int, options: int) -> int:
        return 0 if chosen.random() < FIRST else chosen.randrange(options)

    return _run(program, backstop_s, bounds, pick)


FIRST = 0.6  # of a dozen choices a handful are others


def _run(program: Program, backstop_s: float, bounds: Bounds, pick: Callable[[int, int], int]) -> Once:
    options: list[int] = []

    def choose(steps: Sequence[Any]) -> int:
        options.append(len(steps))
        return pick(len(options) - 1, len(steps))

    with simulate(bounds=bounds, choose=choose, leaks=Leaks.ALLOW) as sim:
        acting = Acting(program, backstop_s)
        server = sim.aio_server(interceptors=server_interceptors() if program.handler.intercepted else ())
        server.add_generic_rpc_handlers((_Generic(acting),))
        channel = sim.aio_channel(interceptors=client_interceptors() if program.client.intercepted else ())
        observation = sim.run(acting.client(channel, server.stop))
        return Once(observation, tuple(options), sim.now_s, str(sim.schedule))


def every(program: Program, backstop_s: float, bounds: Bounds) -> Iterator[Once]:
    """Yield a run for each sequence of choices, those with the fewest deviations from the first options first."""
    waiting: deque[tuple[int, ...]] = deque([()])
    while waiting:
        choices = waiting.popleft()
        run = once(program, backstop_s, bounds, choices)
        yield run
        for position in range(len(choices), len(run.options)):
            zeros = (0,) * (position - len(choices))
            for option in range(1, run.options[position]):
                waiting.append((*choices, *zeros, option))


class _Generic(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, acting: Acting) -> None:
        self._acting = acting

    def service(self, details: Any) -> grpc.RpcMethodHandler | None:
        return self._acting.method_handler()
