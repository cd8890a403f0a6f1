"""What a Script costs: an echo that is declared, beside the same written for grpc.aio, and one of a million messages.

The client is the one of bench/replay.py, which takes so little itself that what is measured is the server.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.jobs import Load, loaded
from bench.middlemen import listening_on
from bench.processes import Process, started
from bench.rows import Row, Target, median_row, paired

ROUNDS = 5

SLOWER = 16
"""grpc.aio gets so many times fewer messages, to be at work for about as long."""

LONG = 1_000_000
"""Messages of the long call."""


@dataclass(frozen=True, slots=True)
class Job:
    """So many messages on so many streams."""

    title: str
    streams: int
    messages: int


JOBS = (Job("60 B echo on 1 stream", 1, 64_000), Job("60 B echo on 64 streams", 64, 64_000))


def rows() -> Iterator[Row]:
    """Measure all of it. Skipped where the load program cannot be had."""
    with loaded() as load:
        for job in JOBS:
            yield from _job_rows(load, job)
        yield _memory(load)


def _job_rows(load: Load, job: Job) -> Iterator[Row]:
    rates: dict[str, list[float]] = {"grpc.aio": [], "script": []}
    shuffled = random.Random(0)
    for _ in range(ROUNDS):
        for name in shuffled.sample(sorted(rates), 2):
            messages = job.messages if name == "script" else job.messages // SLOWER // job.streams * job.streams
            with _answering(name) as (target, _):
                load.answered("echo", target, streams=job.streams, messages=messages // 10 // job.streams * job.streams)
                seconds = load.answered("echo", target, streams=job.streams, messages=messages)
            rates[name].append(messages / seconds)
    title = f"{job.title}: by a Script"
    yield median_row(title, rates["script"], "messages/s")
    yield median_row(f"{title}, of grpc.aio", paired(rates["script"], rates["grpc.aio"]), "times", Target(">=", 10))


def _memory(load: Load) -> Row:
    """Return the most memory that a long call took, its process's own included."""
    with _answering("script") as (target, process):
        load.answered("echo", target, streams=1, messages=LONG)
        peak_mib = process.peak_bytes() / 2**20
    return median_row(f"a call of {LONG:,} messages, by a Script: memory", [peak_mib], "MiB", Target("<=", 128))


@contextmanager
def _answering(name: str) -> Iterator[tuple[str, Process]]:
    module = "bench.answer_aio" if name == "grpc.aio" else "bench.answer_script"
    with started(name, [sys.executable, "-m", module]) as process:
        yield listening_on(process), process
