"""The peer programs: which there are, how they are built, started and ended.

Each language has some of four programs, with the same flags and the same lines on stdout:

    chat-server, chat-client      examples/chat_app, and the same in Go and Node
    cases-server, cases-client    play a table of cases (cases.json) and print what they saw; `--option NAME=VALUE`
                                  gives them gRPC's channel arguments, as far as their library has the like

Go's are built once into build/peers, and again when their sources change; Node's packages are installed once beside
them. MissingTool says what a machine lacks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CASES = HERE / "cases.json"

LIMIT_S = 30.0
"""For a program to start, to say something, to end: far more than any needs."""


class MissingTool(Exception):
    """This machine cannot build or run the peers of a language; the text says why."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program printed, line by line, and its exit code."""

    lines: tuple[str, ...]
    exit_code: int


def command(language: str, program: str) -> list[str]:
    """Return the command of a program; MissingTool where this machine cannot have it."""
    return [*_LANGUAGES[language](program)]


def run(command: Sequence[str], target: str | None = None) -> Ran:
    """Run a program to its end; TimeoutExpired, and the program killed, if that takes longer than LIMIT_S.

    `target` becomes DUPLEXMOCK_TARGET, the address that a client dials.
    """
    return run_led(command, target, lambda tell: None)


def run_led(command: Sequence[str], target: str | None, lead: Callable[[Callable[[], None]], None]) -> Ran:
    """Do the same with a program that waits for lines on stdin; `lead(tell)` writes one by each `tell()`."""
    with subprocess.Popen(
        command, env=_environment(target), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def tell() -> None:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

        try:
            lead(tell)
            stdout, _ = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    return Ran(tuple(stdout.splitlines()), process.returncode)


class Server:
    """A server that listens on `address`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._printed: list[str] = []
        self._over = False
        self._changed = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        self.address = self._wait(1)[0].removeprefix("listening on ")

    def lines(self, count: int) -> tuple[str, ...]:
        """Wait until it has printed so many lines since it listens, and return them; AssertionError if it does not."""
        return self._wait(1 + count)[1:]

    def end(self) -> Ran:
        """Ask it to end, by SIGTERM, and return all that it printed since it listened, also when called again."""
        self._process.terminate()
        try:
            exit_code = self._process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            exit_code = self._process.wait()
        self._reading.join()
        return Ran(tuple(self._printed[1:]), exit_code)

    def _wait(self, count: int) -> tuple[str, ...]:
        with self._changed:
            self._changed.wait_for(lambda: self._over or len(self._printed) >= count, LIMIT_S)
            assert len(self._printed) >= count, f"{count} lines expected, the server printed {self._printed}"
            return tuple(self._printed[:count])

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                with self._changed:
                    self._printed.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()


@contextmanager
def serving(command: Sequence[str]) -> Iterator[Server]:
    """Start a server, wait until it listens, and end it behind the block."""
    with subprocess.Popen(
        command, env=_environment(None), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            server = Server(process)
            yield server
            server.end()
        finally:
            process.kill()


def _environment(target: str | None) -> dict[str, str]:
    """Return ours, without the proxies that gRPC would use even for loopback."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return kept if target is None else {**kept, "DUPLEXMOCK_TARGET": target}


def _python(program: str) -> list[str]:
    return [sys.executable, str(_PYTHON_FILES[program])]


def _python_sync(program: str) -> list[str]:
    return [*_python(program), "--sync"] if program == "chat-client" else _python(program)


def _grpclib(program: str) -> list[str]:
    return [sys.executable, str(HERE / "python" / f"grpclib_{program.replace('-', '_')}.py")]


def _go(program: str) -> list[str]:
    return [_had(_go_binary()), program]


def _node(program: str) -> list[str]:
    return [_had(_node_ready()), str(HERE / "node" / f"{program.replace('-', '_')}.js")]


def _had(found: str | MissingTool) -> str:
    if isinstance(found, MissingTool):
        raise found
    return found


@cache
def _go_binary() -> str | MissingTool:
    """Return the path of the Go peers, which are built if these sources have not been."""
    folder = HERE / "go"
    sources = sorted(path for path in folder.rglob("*") if path.suffix in (".go", ".mod", ".sum"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    binary = ROOT / "build" / "peers" / f"peer-{digest}"
    if not binary.exists():
        go = shutil.which("go")
        if go is None:
            return MissingTool("Go is not installed")
        if problem := _problem([go, "mod", "download"], folder):
            return MissingTool(f"Go's modules cannot be had: {problem}")
        binary.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=binary.parent) as place:
            made = Path(place) / "peer"
            subprocess.run([go, "build", "-o", str(made), "."], cwd=folder, check=True)
            made.rename(binary)  # whole, or not at all
    return str(binary)


@cache
def _node_ready() -> str | MissingTool:
    """Return the path of node; the peers' packages are installed if these versions have not been."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return MissingTool("Node and npm are not installed")
    folder = HERE / "node"
    wanted = (folder / "package-lock.json").read_text()
    installed = folder / "node_modules" / "installed-lock.json"
    if not installed.exists() or installed.read_text() != wanted:
        if problem := _problem([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder):
            return MissingTool(f"Node's packages cannot be had: {problem}")
        installed.write_text(wanted)
    return node


def _problem(command: Sequence[str], folder: Path) -> str:
    """Run a tool; return what it complains of, empty if it succeeds."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""


_PYTHON_FILES = {
    "chat-server": ROOT / "examples" / "chat_app" / "chat_app" / "server.py",
    "chat-client": ROOT / "examples" / "chat_app" / "chat_app" / "client.py",
    "cases-server": HERE / "python" / "cases_server.py",
    "cases-client": HERE / "python" / "cases_client.py",
}

_LANGUAGES: dict[str, Callable[[str], list[str]]] = {
    "python": _python,
    "python-sync": _python_sync,
    "grpclib": _grpclib,
    "go": _go,
    "node": _node,
}
