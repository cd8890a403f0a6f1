"""What a handler costs: an echo and a push written for duplexmock, beside the same written for grpc.aio.

The client is the one of bench/replay.py, which takes so little itself that what is measured is the server. Memory is
that of the process that serves one call of a million messages, by a handler that answers each.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.jobs import Answered, Load, loaded
from bench.middlemen import listening_on
from bench.processes import Process, started
from bench.rows import Row, Target, median_row, paired

ROUNDS = 5

LONG = 1_000_000
"""Messages of the long call."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is answered: so many messages by the mock, and a sixth of them by grpc.aio, which is at work as long."""

    title: str
    do: Answered
    streams: int
    messages: int


JOBS = (
    Job("60 B echo on 1 stream", "echo", 1, 24_000),
    Job("60 B echo on 64 streams", "echo", 64, 23_040),
    Job("60 B push", "push", 1, 24_000),
)


def rows() -> Iterator[Row]:
    """Measure all of it. Skipped where the load program cannot be had."""
    with loaded() as load:
        for job in JOBS:
            yield from _job_rows(load, job)
        yield _memory(load)


def _job_rows(load: Load, job: Job) -> Iterator[Row]:
    rates: dict[str, list[float]] = {"handler": [], "grpc.aio": []}
    shuffled = random.Random(0)
    for _ in range(ROUNDS):
        for name in shuffled.sample(sorted(rates), 2):
            messages = job.messages if name == "handler" else job.messages // 6 // job.streams * job.streams
            with _answering(name) as (target, _):
                load.answered(job.do, target, streams=job.streams, messages=max(messages // 10, job.streams))
                seconds = load.answered(job.do, target, streams=job.streams, messages=messages)
            rates[name].append(messages / seconds)
    target = Target(">=", 3) if job.do == "echo" else None
    yield median_row(f"{job.title}: by a handler", rates["handler"], "messages/s")
    yield median_row(
        f"{job.title}: by a handler, of grpc.aio", paired(rates["handler"], rates["grpc.aio"]), "times", target
    )


def _memory(load: Load) -> Row:
    """Return the most memory that a long call took, its process's own included."""
    with _answering("handler") as (target, process):
        load.answered("echo", target, streams=1, messages=LONG)
        peak_mib = process.peak_bytes() / 2**20
    return median_row(f"a call of {LONG:,} messages, by a handler: memory", [peak_mib], "MiB", Target("<=", 128))


@contextmanager
def _answering(name: str) -> Iterator[tuple[str, Process]]:
    module = "bench.answer_aio" if name == "grpc.aio" else "bench.answer_handler"
    with started(name, [sys.executable, "-m", module]) as process:
        yield listening_on(process), process
