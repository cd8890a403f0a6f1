"""How long it takes to come back to a recording: no targets, only the order of magnitude."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.jobs import Load
from bench.middlemen import recorder
from bench.processes import ROOT, BenchError
from bench.rows import Row, median_row

TIMES = 5


def read_back(load: Load, fixture: Path) -> Row:
    """Record a million messages, and read them into Sessions in a process that has done nothing else."""
    with recorder(load.sink, fixture) as (target, _):
        load.flood(target, streams=64, size=60, messages=1_000_000)
    seconds = float(_output("-c", _READ_BACK, str(fixture)))
    return Row("1,000,000 messages of 60 B read back into Sessions", seconds, "s")


def show_one(fixture: Path, session: int) -> Row:
    """Show one session of a large file, as a command line."""
    times = []
    for _ in range(TIMES):
        start = time.perf_counter()
        _output("-m", "duplexmock", "show", str(fixture), "--session", str(session))
        times.append(time.perf_counter() - start)
    return median_row("`duplexmock show` of one session of a file of 1 GB", times, "s")


def import_time(statement: str) -> Row:
    """Import in a process that has imported nothing else."""
    times = [float(_output("-c", _IMPORT.format(statement))) * 1000 for _ in range(TIMES)]
    return median_row(f"`{statement}`", times, "ms")


def _output(*arguments: str) -> str:
    """Run this Python, and return what it prints; BenchError where it fails."""
    ran = subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if ran.returncode:
        raise BenchError(f"python {arguments} ended with {ran.returncode}")
    return ran.stdout


_IMPORT = """
import time
start = time.perf_counter()
{}
print(time.perf_counter() - start)
"""

_READ_BACK = """
import sys, time
from duplexmock.store.fixture import Fixture
start = time.perf_counter()
sessions = tuple(Fixture.open(sys.argv[1]).sessions())
seconds = time.perf_counter() - start
assert sum(len(session.entries) for session in sessions) > 1_000_000
print(seconds)
"""
