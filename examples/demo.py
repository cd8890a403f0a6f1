"""The main job in a minute: `make demo`, or `python examples/demo.py`.

Starts the chat server of examples/chat_app, lets its client talk to it through the recorder, and shows what was said.
Each step prints the command that it runs, so that it can be repeated by hand.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
SERVER = ["chat_app.server", "--kind", "push", "--pushes", "3", "--interval", "0.1"]
CLIENT = ["chat_app.client", "--count", "3", "--interval", "0.05", "--deadline", "5"]


def record(target: str, fixture: Path) -> None:
    """Record one live chat: both sides talk when they like, and the recorder only listens."""
    say("1. A live chat is recorded: three messages, three pushes, a half-close, one order.")
    run("duplexmock", "record", target, "--out", str(fixture), "--", "python", "-m", *CLIENT)


def show(target: str, fixture: Path) -> None:
    """Show who said what when."""
    say("2. Its timeline: who said what, when, and what crossed what. Payloads are read without any .proto.")
    run("duplexmock", "show", str(fixture))


STEPS: tuple[Callable[[str, Path], None], ...] = (record, show)


def main() -> None:
    """Run all steps against one chat server; a step that fails ends the demo with its exit code."""
    with tempfile.TemporaryDirectory(prefix="duplexmock-demo-") as folder:
        server = subprocess.Popen([sys.executable, "-m", *SERVER], env=environment(), stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            target = server.stdout.readline().removeprefix("listening on ").strip()
            for step in STEPS:
                step(target, Path(folder) / "chat.duplex")
        finally:
            server.terminate()
            server.communicate()


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def run(*command: str) -> None:
    """Print a command and run it with this interpreter's environment."""
    print(f"$ {shlex.join(command)}", flush=True)
    by_module = {"duplexmock": [sys.executable, "-m", "duplexmock"], "python": [sys.executable]}
    words = [part for word in command for part in by_module.get(word, [word])]
    code = subprocess.run(words, env=environment()).returncode
    if code:
        raise SystemExit(code)


def environment() -> dict[str, str]:
    """Return the environment in which `python -m chat_app.server` is found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")])}


if __name__ == "__main__":
    main()
