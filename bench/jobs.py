"""Both ends of every measured conversation: the Go program in bench/load, which takes jobs line by line."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from bench.messages import STAMP
from bench.processes import ROOT, BenchError, Process, started

PROGRAM = ROOT / "build" / "bench-load"

Answered = Literal["echo", "push", "sessions", "grpc_sessions"]


class Skipped(Exception):
    """A part cannot run on this machine; the text is the sentence that says why."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load program: `sink` takes floods, `grpc` is a grpc-go server. A `target` is either, or stands before it.

    Every job raises BenchError where the conversation did not go as it should have.
    """

    sink: str
    grpc: str
    process: Process

    def flood(self, target: str, *, streams: int, size: int, messages: int) -> float:
        """Send frames made beforehand as fast as the sink takes them; return the seconds until all calls have ended."""
        return float(self._do("flood", target, streams=streams, size=size, messages=messages)["seconds"])

    def grpc_flood(self, target: str, *, streams: int, size: int, messages: int) -> float:
        """Send messages by a grpc-go client to a grpc-go server; return the seconds until all calls have ended."""
        return float(self._do("grpc_flood", target, streams=streams, size=size, messages=messages)["seconds"])

    def ping_pong(self, target: str, *, size: int, messages: int) -> float:
        """Send each message after the echo of the last; return the median round trip in µs. A tenth is sent before."""
        return float(self._do("ping_pong", target, size=size, messages=messages)["p50_us"])

    def server_stalled(self, target: str) -> int:
        """Send to a server that never reads, and return the bytes that were swallowed."""
        return int(self._do("server_stalled", target, quiet_ms=QUIET_MS)["bytes"])

    def client_stalled(self, target: str) -> int:
        """Let the server send to a client that never reads, and return the bytes that were swallowed."""
        return int(self._do("client_stalled", target, quiet_ms=QUIET_MS)["bytes"])

    def answered(self, job: Answered, target: str, *, streams: int, messages: int, stamp: int = STAMP) -> float:
        """Have messages, or calls of three messages, answered and the answers compared; return the seconds it took."""
        return float(self._do(job, target, streams=streams, messages=messages, stamp=stamp)["seconds"])

    def arrivals_us(self, target: str, *, messages: int) -> list[float]:
        """Return when each message of a push came, in µs since the call was opened."""
        return [float(us) for us in self._do("arrivals", target, messages=messages)["times_us"]]

    def idle(self, target: str, *, calls: int) -> None:
        """Open calls, and leave them open until `hang_up`."""
        self._do("idle", target, streams=calls)

    def hang_up(self) -> None:
        """Close the connection of the calls that are idle."""
        self._do("hang_up", "")

    def _do(self, job: str, target: str, **numbers: int) -> dict[str, Any]:
        self.process.write_line(json.dumps({"do": job, "target": target, **numbers}))
        result: dict[str, Any] = json.loads(self.process.read_line())
        if "error" in result:
            raise BenchError(f"{job} {numbers} at {target}: {result['error']}")
        return result


@contextmanager
def loaded() -> Iterator[Load]:
    """Build the load program where it is not up to date, and run it while the context lasts."""
    _build()
    with started("the load program", [str(PROGRAM)]) as process:
        addresses = json.loads(process.read_line())
        yield Load(addresses["sink"], addresses["grpc"], process)


def _build() -> None:
    go = shutil.which("go")
    if go is None:
        raise Skipped("Go is not installed, and the load program is written in it: https://go.dev/dl")
    building = subprocess.run(
        [go, "build", "-o", str(PROGRAM), "."], cwd=ROOT / "bench" / "load", capture_output=True, text=True
    )
    if building.returncode:
        raise Skipped(f"the load program cannot be built: {' '.join(building.stderr.split())}")


QUIET_MS = 200  # a stalled connection is full within a few milliseconds
