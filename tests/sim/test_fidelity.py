"""Programs on real grpc.aio and in sim: what grpcio did is among what sim can do, and equal where there is one outcome.

Messages, statuses, details, metadata and exceptions of both sides are compared (acting.py). Sim is asked for the
program's outcomes by its choices, those with the fewest deviations first, until what grpcio did is among them. A
program on which they differ is run again on grpcio: on a machine that is busy a pause of 30 ms may be outrun by a
delivery, and then once in a while something happens that has to be a bug of sim to happen three times.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import HealthCheck, given, settings

from duplexmock.sim.bounds import Bounds
from tests.sim.acting import Observation
from tests.sim.programs import Act, Client, Handler, Program, made, programs
from tests.sim.real import Real
from tests.sim.simulated import at_random, every, once

SOAK = bool(os.environ.get("DUPLEXMOCK_SOAK"))
PROGRAMS = 10_000 if SOAK else 250
BATCH = 50
BOUNDS = Bounds(bursts=1, refusals=1)
WIDER = Bounds(bursts=2, refusals=1)
MOST_RUNS = 3_000
TRIES = 3

FOREVER_S = 20.0  # the deadline of programs that have none
SHORTER_S = 0.3  # instead, where two ends wait for each other until it comes


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    logging.disable(logging.CRITICAL)  # handlers raise on purpose, and grpcio logs it
    try:
        with Real() as running:
            yield running
    finally:
        logging.disable(logging.NOTSET)


def backstop_of(program: Program) -> float:
    """The deadline of a program that has none: a short one where it waits for it."""
    return SHORTER_S if once(program, FOREVER_S).ended_s >= FOREVER_S else FOREVER_S


def is_reached(program: Program, backstop_s: float, observed: Observation) -> bool:
    """Tell whether sim can do what was observed: by few deviations, or by many that are found at random."""
    for number, run in enumerate(every(program, backstop_s, BOUNDS)):
        if run.observation == observed:
            return True
        if number == MOST_RUNS:
            break
    chosen = random.Random(0)
    return any(at_random(program, backstop_s, WIDER, chosen).observation == observed for _ in range(MOST_RUNS))


def has_one_outcome(program: Program) -> bool:
    """Tell whether all choices lead to the same, for programs with few of them and without a deadline that comes."""
    if backstop_of(program) == SHORTER_S or program.client.deadline_s is not None:
        return False
    outcomes: set[Observation] = set()
    for number, run in enumerate(every(program, FOREVER_S, BOUNDS)):
        outcomes.add(run.observation)
        if len(outcomes) > 1 or number == 200:
            return False
    return True


def what_differs(program: Program, real: Real) -> str:
    """What grpcio did and sim cannot do, each of TRIES times; empty where sim can."""
    backstop_s = backstop_of(program)
    for _ in range(TRIES):
        observed = real.run(program, backstop_s)
        if is_reached(program, backstop_s, observed):
            return ""
    simulated = once(program, backstop_s)
    return f"{program}\ngrpcio  {observed}\nsim     {simulated.observation}\nby      {simulated.schedule}"


@pytest.mark.parametrize("first", range(0, PROGRAMS, BATCH))
def test_what_grpcio_does_is_among_what_sim_can_do(real: Real, first: int) -> None:
    differences = [what_differs(made(seed), real) for seed in range(first, first + BATCH)]

    assert [each for each in differences if each] == []


@settings(
    max_examples=1000 if SOAK else 30,
    deadline=None,
    database=None,
    derandomize=not SOAK,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(program=programs())
def test_programs_that_shrink_agree_too(real: Real, program: Program) -> None:
    assert what_differs(program, real) == ""


def test_a_simulation_that_were_wrong_would_be_noticed(real: Real) -> None:
    """What another program does is not among what sim can do of this one."""
    one, other = made(0), made(1)

    assert is_reached(one, FOREVER_S, real.run(one, FOREVER_S))
    assert not is_reached(one, FOREVER_S, real.run(other, FOREVER_S))


@pytest.mark.parametrize("intercepted", [False, True])
def test_a_write_in_flight_can_lose_the_status_in_sim_too(intercepted: bool) -> None:
    """As on grpcio, where a client is busy writing when the handler ends the call without having read."""
    feed = tuple(Act("write", b"c%d" % number) for number in range(3))
    client = Client(((Act("read_all"),),), feed, intercepted=intercepted)
    program = Program("stream_stream", client, Handler((Act("abort", (grpc.StatusCode.ABORTED, "enough", ())),)))

    codes = {run.observation.call[:2] for run in every(program, FOREVER_S, BOUNDS)}

    assert codes == {(grpc.StatusCode.ABORTED, "enough"), (grpc.StatusCode.INTERNAL, "Internal error from Core")}


def test_an_outcome_that_is_the_only_one_is_grpcios(real: Real) -> None:
    """Some programs have one outcome, however sim chooses; grpcio has it each time."""
    alone = [made(seed) for seed in range(200 if SOAK else 60) if has_one_outcome(made(seed))]

    assert len(alone) >= 5
    for program in alone:
        assert {real.run(program, FOREVER_S) for _ in range(10)} == {once(program, FOREVER_S).observation}, program
