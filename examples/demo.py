"""The main job in a minute: `make demo`, or `python examples/demo.py`.

Starts the chat server of examples/chat_app, lets its client talk to it through the recorder, shows what was said,
learns which of its order was needed, and plays the server's part of it to the same client, and to one that leaves
early. Each step prints the command that it runs, so that it can be repeated by hand.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

CHAT_APP = Path(__file__).resolve().parent / "chat_app"
SERVER = ["chat_app.server", "--kind", "push", "--pushes", "3", "--interval", "0.1"]
CLIENT = ["chat_app.client", "--count", "3", "--interval", "0.05", "--deadline", "5"]
HASTY_CLIENT = ["chat_app.client", "--count", "2", "--interval", "0.05", "--deadline", "5"]


def record(target: str, fixture: Path) -> None:
    """Record one live chat: both sides talk when they like, and the recorder only listens."""
    say("1. A live chat is recorded: three messages, three pushes, a half-close, one order.")
    run("duplexmock", "record", target, "--out", str(fixture), "--", "python", "-m", *CLIENT)


def show(target: str, fixture: Path) -> None:
    """Show who said what when."""
    say("2. Its timeline: who said what, when, and what crossed what. Payloads are read without any .proto.")
    run("duplexmock", "show", str(fixture))


def learn(target: str, fixture: Path) -> None:
    """Tell cause from coincidence, by holding each side back in its turn."""
    say("3. Learn: which of that order was needed? Each side is held back, and what comes anyway did not wait.")
    run("duplexmock", "learn", str(fixture), "--target", target, "--write", "--", "python", "-m", *CLIENT)


def replay(target: str, fixture: Path) -> None:
    """Let the recording stand in for the server: the live one is not needed any more."""
    say("4. Replay: the recording plays the server, and waits for nothing but the half-close before it ends the call.")
    run("duplexmock", "replay", str(fixture), "--", "python", "-m", *CLIENT)


def mismatch(target: str, fixture: Path) -> None:
    """Show what a client is told that does not do what was recorded."""
    say("5. The same with a client that leaves after two messages of three: the verdict.")
    run("duplexmock", "replay", str(fixture), "--", "python", "-m", *HASTY_CLIENT, code=1)


STEPS: tuple[Callable[[str, Path], None], ...] = (record, show, learn, replay, mismatch)


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


def run(*command: str, code: int = 0) -> None:
    """Print a command and run it with this interpreter's environment; another exit code than `code` ends the demo."""
    print(f"$ {shlex.join(command)}", flush=True)
    by_module = {"duplexmock": [sys.executable, "-m", "duplexmock"], "python": [sys.executable]}
    words = [part for word in command for part in by_module.get(word, [word])]
    got = subprocess.run(words, env=environment()).returncode
    if got != code:
        raise SystemExit(got or 1)


def environment() -> dict[str, str]:
    """Return the environment in which `python -m chat_app.server` is found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHAT_APP), os.environ.get("PYTHONPATH", "")])}


if __name__ == "__main__":
    main()
