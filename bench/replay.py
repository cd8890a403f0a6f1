"""What a replay costs: the mock beside grpc-go's server, beside grpc.aio's and grpclib's, and beside its own endpoint.

The mock is used as people use it: `duplexmock.replay`, with a Player for each call, messages compared byte for byte,
and the Session of each call kept. It has to say that every call agreed, or there is no figure.

The client writes frames made beforehand and compares the answers as bytes (bench/load/answered.go): it takes about
0.05 µs a message, so that what is measured is the server. A grpc-go client takes 1 µs, more than some of these servers.
Left alone with such a client, grpc-go answers calls on all cores, and a mock in Python on one: the short sessions are
measured with a grpc-go client as well, which is whom a mock meets, and which takes its share of the machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import starts
from bench.answerers import Name, Part, answering, check
from bench.conversations import echo, push
from bench.jobs import Answered, Load, loaded
from bench.messages import OTHER_STAMP, STAMP
from bench.rows import Row, Target, median_row, paired

ROUNDS = 9
ROUND_S = 0.3


@dataclass(frozen=True, slots=True)
class Job:
    """What is answered: of the replay `messages` on `streams` calls, or so many calls of three; of others, as many as
    take about ROUND_S. The first of the targets is beside grpc-go, the second beside grpc.aio.
    """

    title: str
    unit: str
    do: Answered
    streams: int
    messages: int
    of_go: Target | None
    of_aio: Target | None
    names: tuple[Name, ...]

    def part(self, number: int) -> Part:
        """Return the fixture that answers this number, after a twentieth of it as warming up."""
        match self.do:
            case "sessions" | "grpc_sessions":
                return Part(echo(3), number + self.warming(number), 3)
            case "push":
                return Part(push(number), 2, number)
            case "echo":
                return Part(echo(number // self.streams), 2 * self.streams, number // self.streams)

    def warming(self, number: int) -> int:
        """Return how many are answered before. A call of a fixture is played whole, others are warmed by less."""
        return number if self.do in ("echo", "push") else max(number // 20, self.streams)


@dataclass(frozen=True, slots=True)
class Sample:
    """What a server did in one round: messages or calls a second, and the CPU time that each took it."""

    rate: float
    cpu_us: float


EVERYBODY: tuple[Name, ...] = ("grpc-go", "grpc.aio", "grpclib", "canned", "replay")
WITH_PROTOBUF: tuple[Name, ...] = (*EVERYBODY, "protobuf")

JOBS = (
    Job("60 B echo on 1 stream", "messages/s", "echo", 1, 64_000, Target(">=", 0.25), Target(">=", 15), WITH_PROTOBUF),
    Job("60 B echo on 64 streams", "messages/s", "echo", 64, 64_000, Target(">=", 0.25), Target(">=", 15), EVERYBODY),
    Job("60 B push", "messages/s", "push", 1, 100_000, Target(">=", 0.5), Target(">=", 30), EVERYBODY),
    Job("short sessions, 16 at once", "calls/s", "sessions", 16, 3_000, Target(">=", 0.6), Target(">=", 4), EVERYBODY),
    Job("short sessions, 16 at once, grpc-go client", "calls/s", "grpc_sessions", 16, 3_000, None, None, EVERYBODY),
)

SLOWER: dict[Name, int] = {"grpc.aio": 16, "grpclib": 8, "protobuf": 8}
"""These get so many times fewer, to be at work for about as long as the others."""


def rows(folder: Path) -> Iterator[Row]:
    """Measure all of it; files go to `folder`. Skipped where the load program cannot be had."""
    with loaded() as load:
        for job in JOBS:
            yield from _job_rows(job, _samples(load, job, folder / "bench.duplex"))
        yield from starts.rows(load, folder)


def _samples(load: Load, job: Job, fixture: Path) -> dict[Name, list[Sample]]:
    """Return what each server did, round by round; each is started anew every time."""
    samples: dict[Name, list[Sample]] = {name: [] for name in job.names}
    shuffled = random.Random(0)
    for _ in range(ROUNDS):
        for name in shuffled.sample(job.names, len(job.names)):
            number = job.messages // SLOWER.get(name, 1) // job.streams * job.streams
            stamp = OTHER_STAMP if name == "protobuf" else STAMP
            part = job.part(number)
            with answering(name, part, fixture) as (target, process):
                load.answered(job.do, target, streams=job.streams, messages=job.warming(number), stamp=stamp)
                before = process.idle_cpu_ns()
                seconds = load.answered(job.do, target, streams=job.streams, messages=number, stamp=stamp)
                cpu_us = (process.idle_cpu_ns() - before) / 1e3 / number
                check(name, process, part.calls)
                samples[name].append(Sample(number / seconds, cpu_us))
    return samples


def _job_rows(job: Job, samples: dict[Name, list[Sample]]) -> Iterator[Row]:
    rates = {name: [sample.rate for sample in samples[name]] for name in samples}
    cpu = {name: [sample.cpu_us for sample in samples[name]] for name in samples}
    replayed = rates["replay"]
    yield median_row(f"{job.title}: replayed", replayed, job.unit)
    for name, target in (("grpc-go", job.of_go), ("grpc.aio", job.of_aio), ("grpclib", None)):
        yield median_row(f"{job.title}: rate, of {name}", paired(replayed, rates[name]), "times", target)
    each = job.unit.partition("s/")[0]
    yield median_row(f"{job.title}: CPU a {each}", cpu["replay"], "µs")
    yield median_row(f"{job.title}: CPU a {each}, of grpc-go's", paired(cpu["replay"], cpu["grpc-go"]), "times")
    yield median_row(f"{job.title}: canned bytes, the endpoint alone", rates["canned"], job.unit)
    if "protobuf" in rates:
        yield median_row(f"{job.title}: matching by protobuf adds", _more_us(rates["protobuf"], replayed), "µs/message")


def _more_us(slower: Sequence[float], faster: Sequence[float]) -> list[float]:
    return [1e6 / slow - 1e6 / fast for slow, fast in zip(slower, faster, strict=True)]
