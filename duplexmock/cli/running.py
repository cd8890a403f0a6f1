"""Running until it is over: a signal, or a command's exit. For the commands that stand between other programs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
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

    @property
    def have_come(self) -> bool:
        """Tell whether `next` would not wait."""
        return not self._numbers.empty()

    async def or_done(self, *tasks: asyncio.Future[Any], within_s: float | None = None) -> int | None:
        """Wait for one of the tasks, a signal, or so many seconds; return the signal's number, or None."""
        signalled = asyncio.ensure_future(self._numbers.get())
        await asyncio.wait({*tasks, signalled}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if signalled.done():
            return signalled.result()
        signalled.cancel()
        return None

    async def end(self, task: asyncio.Future[Any]) -> bool:
        """Wait for the task, or for a signal, which cancels it; tell whether one has come."""
        if await self.or_done(task) is None:
            return False
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return True


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


class Program:
    """A command that runs beside one of ours; made by `started`.

    `name` is its first word, and `exited` its exit code as shells count it, once it has exited. It has a process group
    of its own, so that what it starts ends with it (`go run`, npm and shells pass no signals on), unless it
    `shares_terminal` with us: there it could not read, and Ctrl-C would not reach it.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, shares_terminal: bool) -> None:
        self.name = name
        self.exited: asyncio.Future[int] = asyncio.ensure_future(_exit_code(process))
        self._process = process
        self._shares_terminal = shares_terminal

    def pass_on(self, number: int) -> None:
        """Signal it, as we were; a terminal's Ctrl-C has reached who shares it already."""
        if number == signal.SIGTERM or not self._shares_terminal:
            self._signal(number)

    def kill(self) -> None:
        """End it at once, and with it what it has started."""
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    async def end(self, grace_s: float) -> int:
        """End it by SIGTERM, and kill what is left of it after so many seconds; return its exit code.

        Ending by that signal is ending well: the code is 0 then.
        """
        was_running = not self.exited.done()
        self._signal(signal.SIGTERM)
        await asyncio.wait({self.exited}, timeout=grace_s)
        self.kill()
        code = await self.exited
        return 0 if was_running and code == 128 + signal.SIGTERM else code

    def _signal(self, number: int) -> None:
        """Nothing happens where it has gone."""
        with suppress(ProcessLookupError, PermissionError):
            if self._shares_terminal or not hasattr(os, "killpg"):
                self._process.send_signal(number)
            else:
                os.killpg(self._process.pid, number)


async def started(command: Sequence[str], target: str, *, shares_terminal: bool = False) -> Program:
    """Start a command with DUPLEXMOCK_TARGET set; ScriptError where it cannot be run."""
    own_group: dict[str, Any] = {} if shares_terminal or not hasattr(os, "killpg") else {"process_group": 0}
    environment = {**os.environ, "DUPLEXMOCK_TARGET": target}
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment, **own_group)
    except OSError as exc:
        raise ScriptError(f"{command[0]}: {exc.strerror or exc}") from exc
    return Program(command[0], process, shares_terminal)


async def run_command(
    command: Sequence[str],
    target: str,
    signals: Signals,
    grace_s: float,
    overdue: Coroutine[Any, Any, None] | None = None,
) -> int:
    """Run a command with DUPLEXMOCK_TARGET set until it exits; return its exit code as shells count it.

    A signal is passed on to it; then it has `grace_s` seconds, or until a second one, and is killed. When `overdue`
    returns it is ended. Where a signal has come before it is not started: nobody else would tell it.
    """
    late = asyncio.ensure_future(overdue or asyncio.Event().wait())
    program: Program | None = None
    try:
        if signals.have_come:
            return 128 + await signals.next()
        program = await started(command, target, shares_terminal=sys.stdin is not None and sys.stdin.isatty())
        number = await signals.or_done(program.exited, late)
        if number is not None:
            program.pass_on(number)
            await signals.or_done(program.exited, within_s=grace_s)
            if not program.exited.done():
                program.kill()
        elif not program.exited.done():
            await late
            return await program.end(_ENDING_S)
        return await program.exited
    finally:
        late.cancel()
        if program is not None and not program.exited.done():
            program.kill()
            await asyncio.wait({program.exited})


async def _exit_code(process: asyncio.subprocess.Process) -> int:
    code = await process.wait()
    return 128 - code if code < 0 else code


def raise_file_limit() -> None:
    """Take as many open files as the system lets this process have: each connection that is recorded needs two."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


EXIT_MISMATCH = 1

INTERRUPTED = 130
"""The exit code of what a signal has ended."""

_COMMAND = "duplexmock.command"

_ENDING_S = 1.0
"""How long a command that is overdue may take to end: it has had its time."""
