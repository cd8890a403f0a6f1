"""Programs in synchronous form on real grpc and in sim: what grpcio did is among what sim can do."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from duplexmock.sim.bounds import Bounds
from tests.sim.acting_sync import in_sync_form
from tests.sim.both_sync import RealSync, SyncObservation, every_sync, once_sync
from tests.sim.programs import Program, made

PROGRAMS = 10_000 if os.environ.get("DUPLEXMOCK_SOAK") else 150
BATCH = 50
BOUNDS = Bounds(bursts=1, refusals=1)
MOST_RUNS = 1_500
TRIES = 3

FOREVER_S = 20.0  # the deadline of all programs
SHORTER_S = 0.3  # instead, where two ends wait for each other until it comes


@pytest.fixture(scope="module")
def real() -> Iterator[RealSync]:
    logging.disable(logging.CRITICAL)  # handlers raise on purpose, and grpcio logs it
    try:
        with RealSync() as running:
            yield running
    finally:
        logging.disable(logging.NOTSET)


def is_reached(program: Program, backstop_s: float, observed: SyncObservation) -> bool:
    """Tell whether sim can do what was observed."""
    for number, run in enumerate(every_sync(program, backstop_s, BOUNDS)):
        if run.observation == observed:
            return True
        if number == MOST_RUNS:
            break
    return False


def what_differs(program: Program, real: RealSync) -> str:
    """What grpcio did and sim cannot do, each of TRIES times; empty where sim can."""
    simulated = once_sync(program, FOREVER_S, BOUNDS)
    backstop_s = SHORTER_S if simulated.ended_s >= FOREVER_S else FOREVER_S
    for _ in range(TRIES):
        observed = real.run(program, backstop_s)
        if is_reached(program, backstop_s, observed):
            return ""
    return f"{program}\ngrpcio  {observed}\nsim     {simulated.observation}\nby      {simulated.schedule}"


@pytest.mark.parametrize("first", range(0, PROGRAMS, BATCH))
def test_what_synchronous_grpcio_does_is_among_what_sim_can_do(real: RealSync, first: int) -> None:
    differences = [what_differs(in_sync_form(made(seed)), real) for seed in range(first, first + BATCH)]

    assert [each for each in differences if each] == []


def test_a_simulation_that_were_wrong_would_be_noticed(real: RealSync) -> None:
    one, other = in_sync_form(made(0)), in_sync_form(made(1))

    assert is_reached(one, FOREVER_S, real.run(one, FOREVER_S))
    assert not is_reached(one, FOREVER_S, real.run(other, FOREVER_S))


def test_the_same_choices_lead_to_the_same_run() -> None:
    for seed in range(20):
        program = in_sync_form(made(seed))
        assert once_sync(program, FOREVER_S, BOUNDS) == once_sync(program, FOREVER_S, BOUNDS)
