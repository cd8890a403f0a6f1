"""What may stand between the two ends: nothing, or one of the processes of MIDDLEMEN."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.processes import Process, started

Name = Literal["direct", "pump", "aio relay", "recorder"]


@dataclass(frozen=True, slots=True)
class Middleman:
    """A middleman that runs: what to dial, and its process, which `direct` has none of."""

    target: str
    process: Process | None


@contextmanager
def between(name: Name, upstream: str, fixture: Path) -> Iterator[Middleman]:
    """Run a middleman before `upstream` while the context lasts. A recorder writes to `fixture`."""
    if name == "direct":
        yield Middleman(upstream, None)
        return
    with started(f"the {name}", [sys.executable, "-m", *MIDDLEMEN[name](upstream, fixture)]) as process:
        yield Middleman(listening_on(process), process)


@contextmanager
def recorder(upstream: str, fixture: Path) -> Iterator[tuple[str, Process]]:
    """Run a recorder while the context lasts: what to dial, and its process."""
    with between("recorder", upstream, fixture) as middleman:
        assert middleman.process is not None
        yield middleman.target, middleman.process


def listening_on(process: Process) -> str:
    """Read on until the process says where it listens."""
    while True:
        line = process.read_line()
        if line.startswith(LISTENING):
            return line.removeprefix(LISTENING).strip()


LISTENING = "listening on "

MIDDLEMEN: dict[Name, Callable[[str, Path], list[str]]] = {
    "pump": lambda upstream, _: ["bench.pump", upstream],
    "aio relay": lambda upstream, _: ["bench.relay", upstream],
    "recorder": lambda upstream, fixture: [
        *("duplexmock", "record", upstream),
        *("--listen", "127.0.0.1:0", "--out", str(fixture), "--overwrite", "--quiet"),
    ],
}
"""Modules to run with their arguments. Each prints `listening on ADDRESS`."""
