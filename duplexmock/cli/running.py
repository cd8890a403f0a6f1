"""Running until it is over: a signal, or a command's exit. For the commands that stand between other programs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from types import FrameType
from typing import Any

import click

from duplexmock.errors import ScriptError


class Signals:
    """SIGINT and SIGTERM while they are `caught`, also where a shell that started us had SIGINT ignored."""

    def __init__(self) -> None:
        self._numbers: asyncio.Queue[int] = asyncio.Queue()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take signals until the end of the block; on the main thread, with a running loop."""
        loop = asyncio.get_running_loop()

        def take(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._numbers.put_nowait, number)

        before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def next(self) -> int:
        """Wait for a signal and return its number."""
        return await self._numbers.get()

    async def or_done(self, task: asyncio.Future[Any], within_s: float | None = None) -> int | None:
        """Wait for the task, a signal, or so many seconds; return the signal's number, or None."""
        signalled = asyncio.ensure_future(self._numbers.get())
        await asyncio.wait({task, signalled}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if signalled.done():
            return signalled.result()
        signalled.cancel()
        return None


class WithCommand(click.Command):
    """A command of ours that takes another one behind `--`; `command_given` returns it."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Take the other command off before click drops the `--`."""
        if "--" in args:
            position = args.index("--")
            context.meta[_COMMAND] = tuple(args[position + 1 :])
            args = args[:position]
        return super().parse_args(context, args)

    def collect_usage_pieces(self, context: click.Context) -> list[str]:
        """Show it in the usage line."""
        return [*super().collect_usage_pieces(context), "[-- COMMAND...]"]


def command_given() -> tuple[str, ...]:
    """Return the words behind `--`; empty where there are none."""
    command: tuple[str, ...] = click.get_current_context().meta.get(_COMMAND, ())
    return command


def check_command(command: Sequence[str]) -> None:
    """Raise ScriptError where there is a command that cannot be found: before anything is begun."""
    if command and shutil.which(command[0]) is None:
        why = "is not executable" if os.path.exists(command[0]) else "no such command"
        raise ScriptError(f"{command[0]}: {why}")


async def run_command(command: Sequence[str], target: str, signals: Signals, grace_s: float) -> int:
    """Run a command with DUPLEXMOCK_TARGET set until it exits; return its exit code as shells count it.

    A signal is passed on to it; then it has `grace_s` seconds, or until a second one, and is killed.
    """
    try:
        process = await asyncio.create_subprocess_exec(*command, env={**os.environ, "DUPLEXMOCK_TARGET": target})
    except OSError as exc:
        raise ScriptError(f"{command[0]}: {exc.strerror or exc}") from exc
    exited = asyncio.ensure_future(process.wait())
    number = await signals.or_done(exited)
    if number is not None:
        # A terminal's Ctrl-C has reached it already.
        if number == signal.SIGTERM or sys.stdin is None or not sys.stdin.isatty():
            with suppress(ProcessLookupError):  # it has just exited, perhaps by the same signal
                process.send_signal(number)
        await signals.or_done(exited, grace_s)
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
    code = await exited
    return 128 - code if code < 0 else code


class Serving:
    """A command that serves; `code` is its exit code as shells count it, once it has been ended."""

    code = 0


@asynccontextmanager
async def serving(command: Sequence[str], target: str, grace_s: float) -> AsyncIterator[Serving]:
    """Run a command with DUPLEXMOCK_TARGET set during the block, and end it by SIGTERM behind it.

    Ending by that signal is ending well.
    """
    # In a process group of its own, so that what it starts ends with it: `go run`, npm and shells pass no signals on.
    own_group: dict[str, Any] = {"process_group": 0} if hasattr(os, "killpg") else {}
    environment = {**os.environ, "DUPLEXMOCK_TARGET": target}
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment, **own_group)
    except OSError as exc:
        raise ScriptError(f"{command[0]}: {exc.strerror or exc}") from exc
    server = Serving()
    try:
        yield server
    finally:
        was_running = process.returncode is None
        _signal_group(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                code = await process.wait()
        except TimeoutError:
            pass
        _signal_group(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        code = await process.wait()
        code = 128 - code if code < 0 else code
        server.code = 0 if was_running and code == 128 + signal.SIGTERM else code


def _signal_group(pid: int, number: int) -> None:
    """Signal a process and all that it has started; nothing happens where they are gone."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def raise_file_limit() -> None:
    """Take as many open files as the system lets this process have: each connection that is recorded needs two."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


_COMMAND = "duplexmock.command"
