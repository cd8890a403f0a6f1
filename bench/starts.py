"""How soon a replay is there, what it costs while nothing happens, and how punctual it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duplexmock
from bench.answerers import Name, Part, answering
from bench.conversations import echo, push, write
from bench.jobs import Load
from bench.middlemen import listening_on
from bench.processes import ROOT, BenchError, started
from bench.rows import Row, Target, median_row, paired
from duplexmock.core.events import ServerMessage

ROUNDS = 9
IDLE_CALLS = 1_000
MANY_SESSIONS = 100_000
PACED = 1_000
PACED_GAP_NS = 2_000_000


def rows(load: Load, folder: Path) -> Iterator[Row]:
    """Measure all of it; files go to `folder`."""
    fixture = folder / "starts.duplex"
    yield from _first_reply_rows(fixture)
    yield from _cold_start_rows(fixture)
    yield from _idle_rows(load, fixture)
    yield from _many_sessions_rows(fixture)
    yield from _lateness_rows(load, fixture)


def _first_reply_rows(fixture: Path) -> Iterator[Row]:
    """In one warm process; who starts first changes with each round."""
    write(fixture, echo(3), 1)
    ours, theirs = [], []
    for line in _output("bench.first_reply", str(fixture)).splitlines():
        mock_ms, aio_ms = map(float, line.split())
        ours.append(mock_ms)
        theirs.append(aio_ms)
    yield median_row("from duplexmock.replay(...) to the first reply, warm", ours, "ms")
    yield median_row("from starting a grpc.aio server to the first reply", theirs, "ms")
    yield median_row("first reply: time, of grpc.aio", paired(ours, theirs), "times", Target("<=", 0.5))


def _cold_start_rows(fixture: Path) -> Iterator[Row]:
    """Both have their bytecode, as what is installed has: a round before the first one writes it."""
    write(fixture, echo(3), 1)
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(fixture.with_name("bytecode"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    ours, theirs = [], []
    for number in range(-1, ROUNDS):
        both = [
            (ours, ["duplexmock", "replay", str(fixture), "--listen", "127.0.0.1:0"]),
            (theirs, ["bench.answer_aio"]),
        ]
        for times, module in both if number % 2 else reversed(both):
            begin = time.perf_counter()
            with started(module[0], [sys.executable, "-m", *module], environment) as process:
                listening_on(process)
                if number >= 0:
                    times.append((time.perf_counter() - begin) * 1000)
    yield median_row("`duplexmock replay` from a cold start to listening", ours, "ms")
    yield median_row("a grpc.aio server script from a cold start to listening", theirs, "ms")
    yield median_row("cold start: time, of grpc.aio", paired(ours, theirs), "times", Target("<=", 1))


def _idle_rows(load: Load, fixture: Path) -> Iterator[Row]:
    """Idle calls: the process's memory with them, less its memory with one."""
    ours = [_idle_kib(load, "replay", fixture) for _ in range(3)]
    theirs = [_idle_kib(load, "grpc.aio", fixture) for _ in range(3)]
    yield median_row("an idle call of 1,000: memory", ours, "KiB", Target("<=", 4))
    yield median_row("an idle call of 1,000: memory, grpc.aio", theirs, "KiB")
    yield median_row("an idle call of 1,000: memory, of grpc.aio", paired(ours, theirs), "times", Target("<=", 0.2))


def _idle_kib(load: Load, name: Name, fixture: Path) -> float:
    with answering(name, Part(echo(3), 1 + IDLE_CALLS, 3), fixture) as (target, process):
        load.idle(target, calls=1)
        process.idle_cpu_ns()
        before = process.resident_bytes()
        load.hang_up()
        load.idle(target, calls=IDLE_CALLS)
        process.idle_cpu_ns()
        after = process.resident_bytes()
        load.hang_up()
    return (after - before) / IDLE_CALLS / 1024


def _many_sessions_rows(fixture: Path) -> Iterator[Row]:
    write(fixture, echo(3), MANY_SESSIONS)
    opened, replied, peaks = [], [], []
    for _ in range(3):
        with started("a replay", [sys.executable, "-m", "bench.first_reply", str(fixture), "once"]) as process:
            opened_ms, replied_ms = map(float, process.read_line().split())
            opened.append(opened_ms)
            replied.append(replied_ms)
            peaks.append(process.peak_bytes() / 2**20)
    title = f"a fixture of {MANY_SESSIONS:,} sessions"
    yield median_row(f"{title}: from duplexmock.replay(...) to listening", opened, "ms")
    yield median_row(f"{title}: from there to the first reply", replied, "ms")
    yield median_row(f"{title}: peak memory until then", peaks, "MiB")


def _lateness_rows(load: Load, fixture: Path) -> Iterator[Row]:
    """By the mock's clock, from when it saw the client's header; by the client's, the way there and back counts too."""
    write(fixture, push(PACED, PACED_GAP_NS), 1)
    with duplexmock.replay(fixture, speed=1, repeat=2) as mock:
        load.arrivals_us(mock.target, messages=PACED)
        came_us = load.arrivals_us(mock.target, messages=PACED)
    session = mock.outcomes[-1].session
    assert session is not None
    began_ns = session.entries[0].at_ns
    said_us = [(entry.at_ns - began_ns) / 1e3 for entry in session.entries if isinstance(entry.event, ServerMessage)]
    title = f"speed 1, a message every {PACED_GAP_NS // 1_000_000} ms: lateness"
    yield from _percentiles(title, _late_ms(said_us), Target("<=", 2))
    yield from _percentiles(f"{title} at the client", _late_ms(came_us), None)


def _late_ms(times_us: list[float]) -> list[float]:
    return sorted(us / 1e3 - number * PACED_GAP_NS / 1e6 for number, us in enumerate(times_us, start=1))


def _percentiles(title: str, late_ms: list[float], of_p99: Target | None) -> Iterator[Row]:
    yield Row(f"{title}, p50", late_ms[len(late_ms) // 2], "ms")
    yield Row(f"{title}, p90", late_ms[len(late_ms) * 9 // 10], "ms")
    yield Row(f"{title}, p99", late_ms[len(late_ms) * 99 // 100], "ms", of_p99)
    yield Row(f"{title}, most", late_ms[-1], "ms")


def _output(*arguments: str) -> str:
    ran = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if ran.returncode:
        raise BenchError(f"{arguments} ended with {ran.returncode}")
    return ran.stdout
