"""The processes of the bench: started by a command line, measured from outside, ended by their own process id.

Each has a session of its own, so that Ctrl-C reaches the bench alone, which then ends them one by one.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class BenchError(Exception):
    """What was to be measured did not run; the text says what, and how it ended."""


class Process:
    """A process that runs; `started` makes one and ends it."""

    def __init__(self, popen: subprocess.Popen[str], name: str) -> None:
        self._popen = popen
        self._name = name

    def read_line(self) -> str:
        """Return the next line of its standard output; BenchError where none comes within ANSWER_S."""
        assert self._popen.stdout is not None
        too_late = threading.Timer(ANSWER_S, self._popen.kill)
        too_late.start()
        try:
            line = self._popen.stdout.readline()
        finally:
            too_late.cancel()
        if not line:
            raise BenchError(
                f"{self._name} said nothing for {ANSWER_S} s, or ended; its exit code: {self._popen.wait()}"
            )
        return line

    def write_line(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and `read_line` says so
            self._popen.stdin.write(line + "\n")
            self._popen.stdin.flush()

    def cpu_ns(self) -> int:
        """Return the CPU time that all its threads have used, of user and system."""
        # clock_getcpuclockid(3), which Python does not have: it counts nanoseconds where /proc/PID/stat counts 10 ms.
        return time.clock_gettime_ns((~self._popen.pid << 3) | 2)

    def idle_cpu_ns(self) -> int:
        """Return `cpu_ns` once the process has come to rest: what it does behind a conversation counts too."""
        before = self.cpu_ns()
        while True:
            time.sleep(REST_S)
            now = self.cpu_ns()
            if now - before < REST_S * 1e9 / 20:
                return now
            before = now

    def peak_bytes(self) -> int:
        """Return the most memory that it ever had in use."""
        return self._status_bytes("VmHWM:")

    def resident_bytes(self) -> int:
        """Return the memory that it has in use."""
        return self._status_bytes("VmRSS:")

    def _status_bytes(self, name: str) -> int:
        for line in Path(f"/proc/{self._popen.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise BenchError(f"{self._name} has ended, and its memory cannot be measured any more")


@contextmanager
def started(name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Run a command while the context lasts; then it is asked to end, and killed if it does not.

    `environment` is all of its environment, by default ours.
    """
    popen = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )
    try:
        yield Process(popen, name)
    finally:
        popen.terminate()
        try:
            popen.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.communicate()


ANSWER_S = 120  # several times the longest job
END_S = 20  # a recorder syncs its file before it ends
REST_S = 0.06  # longer than the 50 ms after which a recorder flushes
