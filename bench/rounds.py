"""Paired rounds: in each, every middleman carries the same conversation once, in an order that changes.

Machines are noisy, and noise comes in stretches: the two values of a ratio have to be of the same stretch. So a ratio
is taken in each round, and the median is that of the ratios.

A middleman is started anew for each measurement and warmed by a twentieth of it: no file grows from round to round, and
nobody idles beside the one that is measured. How many messages it gets is found once, so that each works for about
ROUND_S; it is the rates that are compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from bench.jobs import Load
from bench.middlemen import Middleman, Name, between

ROUNDS = 9
ROUND_S = 0.3


@dataclass(frozen=True, slots=True)
class Flood:
    """Messages of `size` bytes on `streams` calls, as fast as they are taken; `ends` is what sends and takes them."""

    ends: Literal["grpc-go", "wire"]
    streams: int
    size: int

    def upstream(self, load: Load) -> str:
        """Return the address at which the flood is taken."""
        return load.grpc if self.ends == "grpc-go" else load.sink

    def seconds(self, load: Load, target: str, turns: int) -> float:
        """Send `turns` messages on each call."""
        send = load.grpc_flood if self.ends == "grpc-go" else load.flood
        return send(target, streams=self.streams, size=self.size, messages=turns * self.streams)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one message cost in one round: time on the clock, and the middleman's CPU time, 0 where there is none."""

    us: float
    cpu_us: float


Samples = dict[Name, list[Sample]]
Measured = TypeVar("Measured")


def floods(load: Load, flood: Flood, names: Sequence[Name], fixture: Path) -> Samples:
    """Measure a flood through each middleman in ROUNDS rounds."""
    turns: dict[Name, int] = {}

    def measure(name: Name, middleman: Middleman) -> Sample:
        if name not in turns:
            turns[name] = _enough(load, flood, middleman.target)
        flood.seconds(load, middleman.target, max(1, turns[name] // 20))
        before = _idle_cpu_ns(middleman)
        seconds = flood.seconds(load, middleman.target, turns[name])
        cpu_ns = _idle_cpu_ns(middleman) - before
        messages = turns[name] * flood.streams
        return Sample(seconds * 1e6 / messages, cpu_ns / 1e3 / messages)

    return _rounds(measure, names, flood.upstream(load), fixture)


def ping_pongs(load: Load, names: Sequence[Name], fixture: Path) -> Samples:
    """Measure a ping-pong through each middleman in ROUNDS rounds; the time is the median round trip."""

    def measure(_: Name, middleman: Middleman) -> Sample:
        before = _idle_cpu_ns(middleman)
        p50_us = load.ping_pong(middleman.target, size=60, messages=TRIPS)
        cpu_ns = _idle_cpu_ns(middleman) - before
        return Sample(p50_us, cpu_ns / 1e3 / (2 * (TRIPS + TRIPS // 10)))

    return _rounds(measure, names, load.grpc, fixture)


def stalls(
    swallowed: Callable[[str], int], names: Sequence[Name], upstream: str, fixture: Path
) -> dict[Name, list[int]]:
    """Measure how many bytes a stalled peer swallows through each middleman, in ROUNDS rounds."""

    def measure(_: Name, middleman: Middleman) -> int:
        return swallowed(middleman.target)

    return _rounds(measure, names, upstream, fixture)


def _rounds(
    measure: Callable[[Name, Middleman], Measured], names: Sequence[Name], upstream: str, fixture: Path
) -> dict[Name, list[Measured]]:
    measured: dict[Name, list[Measured]] = {name: [] for name in names}
    shuffled = random.Random(0)
    for _ in range(ROUNDS):
        for name in shuffled.sample(names, len(names)):
            with between(name, upstream, fixture) as middleman:
                measured[name].append(measure(name, middleman))
            fixture.unlink(missing_ok=True)
    return measured


def _enough(load: Load, flood: Flood, target: str) -> int:
    """Return how many messages a call takes to keep the target at work for ROUND_S."""
    turns = 1
    while (seconds := flood.seconds(load, target, turns)) < ROUND_S / 4:
        turns *= 4
    return max(1, round(turns * ROUND_S / seconds))


def _idle_cpu_ns(middleman: Middleman) -> int:
    return 0 if middleman.process is None else middleman.process.idle_cpu_ns()


TRIPS = 2000
