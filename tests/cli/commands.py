"""The real command in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DUPLEXMOCK = [sys.executable, "-m", "duplexmock"]

LIMIT_S = 60.0
"""For a command to end or to say something: a test that comes to it fails."""


def environment(**more: str) -> dict[str, str]:
    """The tests' environment, in which examples are found and no colour is forced."""
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "DUPLEXMOCK_TARGET")}
    return {**plain, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "examples" / "chat_app"))), **more}


def run(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None, **options: Any):
    """Run `duplexmock` with these arguments to its end; return its exit code, stdout and stderr."""
    done = subprocess.run(
        [*DUPLEXMOCK, *map(str, arguments)],
        cwd=cwd,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
        **options,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def started(*arguments: object, program: Sequence[str] = DUPLEXMOCK, **options: Any) -> subprocess.Popen[str]:
    """Start `duplexmock` with these arguments, without stdin and with pipes for what it says."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [*program, *map(str, arguments)]
    return subprocess.Popen(command, **{"env": environment(), "text": True, **streams, **options})


class Running:
    """A `duplexmock` that listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.target = ""

    def line(self) -> str:
        """Return the next line that it says on stdout."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.said.append(line)
        return line

    def until_listening(self) -> None:
        line = self.line()
        self.target = (
            json.loads(line)["listening"] if line.startswith("{") else line.removeprefix("listening on ").strip()
        )

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return its exit code, all its stdout and stderr."""
        stdout, stderr = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, "".join(self.said) + stdout, stderr


@contextmanager
def running(*arguments: object, **options: Any) -> Iterator[Running]:
    """Run `duplexmock` from when it listens until the block is left, killing it there if it still runs."""
    with started(*arguments, **options) as process:
        listens = Running(process)
        try:
            listens.until_listening()
            yield listens
        finally:
            if process.poll() is None:
                process.kill()


def recording(*arguments: object, **options: Any) -> AbstractContextManager[Running]:
    """Run `duplexmock record` with these arguments during the block."""
    return running("record", *arguments, **options)


def replaying(*arguments: object, **options: Any) -> AbstractContextManager[Running]:
    """Run `duplexmock replay` with these arguments, as a server, during the block."""
    return running("replay", *arguments, **options)
