"""What a mock costs that is written, by a Script and by a handler: echoes and pushes beside the same for grpc.aio.

The client is the one of bench/replay.py, which takes so little itself that what is measured is the server. Memory is
that of the process that answers one call of a million messages, each by one.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.jobs import Answered, Load, loaded
from bench.middlemen import listening_on
from bench.processes import Process, started
from bench.rows import Row, Target, median_row, paired

ROUNDS = 5

LONG = 1_000_000
"""Messages of the long call."""

MODULES = {
    "grpc.aio": "bench.answer_aio",
    "a Script": "bench.answer_script",
    "a handler": "bench.answer_handler",
}
"""The program that each of them is."""


@dataclass(frozen=True, slots=True)
class Job:
    """So many messages, by what is written; grpc.aio gets `slower` times fewer, to be at work for about as long."""

    title: str
    by: str
    do: Answered
    streams: int
    messages: int
    slower: int
    target: Target | None = None


JOBS = (
    Job("60 B echo on 1 stream", "a Script", "echo", 1, 64_000, 16, Target(">=", 10)),
    Job("60 B echo on 64 streams", "a Script", "echo", 64, 64_000, 16, Target(">=", 10)),
    Job("60 B echo on 1 stream", "a handler", "echo", 1, 24_000, 6, Target(">=", 3)),
    Job("60 B echo on 64 streams", "a handler", "echo", 64, 23_040, 6, Target(">=", 3)),
    Job("60 B push", "a handler", "push", 1, 24_000, 6),
)


def rows(folder: Path) -> Iterator[Row]:
    """Measure all of it. Skipped where the load program cannot be had."""
    with loaded() as load:
        for by in ("a Script", "a handler"):
            for job in JOBS:
                if job.by == by:
                    yield from _job_rows(load, job)
            yield _memory(load, by)


def _job_rows(load: Load, job: Job) -> Iterator[Row]:
    rates: dict[str, list[float]] = {job.by: [], "grpc.aio": []}
    shuffled = random.Random(0)
    for _ in range(ROUNDS):
        for name in shuffled.sample(sorted(rates), 2):
            messages = job.messages if name == job.by else _whole(job.messages // job.slower, job.streams)
            with _answering(name) as (target, _):
                load.answered(job.do, target, streams=job.streams, messages=_whole(messages // 10, job.streams))
                seconds = load.answered(job.do, target, streams=job.streams, messages=messages)
            rates[name].append(messages / seconds)
    title = f"{job.title}: by {job.by}"
    yield median_row(title, rates[job.by], "messages/s")
    yield median_row(f"{title}, of grpc.aio", paired(rates[job.by], rates["grpc.aio"]), "times", job.target)


def _whole(messages: int, streams: int) -> int:
    """Return about so many messages, as many on each stream, and one on each at the least."""
    return max(messages // streams, 1) * streams


def _memory(load: Load, by: str) -> Row:
    """Return the most memory that a long call took, its process's own included."""
    with _answering(by) as (target, process):
        load.answered("echo", target, streams=1, messages=LONG)
        peak_mib = process.peak_bytes() / 2**20
    return median_row(f"a call of {LONG:,} messages, by {by}: memory", [peak_mib], "MiB", Target("<=", 128))


@contextmanager
def _answering(name: str) -> Iterator[tuple[str, Process]]:
    with started(name, [sys.executable, "-m", MODULES[name]]) as process:
        yield listening_on(process), process
