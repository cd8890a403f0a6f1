"""`duplexmock record`: run the proxy until a signal, or as long as a command runs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import FrameType
from typing import Any, get_args

import click

from duplexmock.cli import display
from duplexmock.cli.descriptors import descriptors_option
from duplexmock.errors import ScriptError
from duplexmock.net import address
from duplexmock.net.address import Address
from duplexmock.net.proxy import Proxy
from duplexmock.net.recording import Recording
from duplexmock.schema.descriptors import Descriptors
from duplexmock.store.header import Expect, Expectations


@click.command
@click.argument("upstream")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--out", required=True, metavar="FILE", help="The fixture to write.")
@click.option("--overwrite", is_flag=True, help="Replace FILE where it exists.")
@click.option("--listen", default="127.0.0.1:0", show_default=True, metavar="ADDRESS", help="Where clients dial.")
@click.option("--method", "methods", multiple=True, metavar="GLOB", help="Record these calls, and pass the others.")
@click.option("--redact", multiple=True, metavar="KEY", help="Metadata whose value is not written, besides the usual.")
@click.option("--ignore", multiple=True, metavar="PATH", help="A field that is not compared when this is replayed.")
@click.option("--bind", multiple=True, metavar="FROM=TO", help="A received field that is reused in what is sent later.")
@click.option("--expect", type=click.Choice(get_args(Expect)), help="What a replay demands of the peer.")
@click.option("--grace", "grace_s", type=click.FloatRange(min=0), default=5, show_default=True, metavar="SECONDS")
@click.option("--quiet", is_flag=True, help="Say only where it listens, and warnings.")
@click.option("--json", "as_json", is_flag=True, help="Say everything as JSON lines.")
@descriptors_option
def record(
    upstream: str,
    command: tuple[str, ...],
    out: str,
    overwrite: bool,
    listen: str,
    methods: tuple[str, ...],
    redact: tuple[str, ...],
    ignore: tuple[str, ...],
    bind: tuple[str, ...],
    expect: Expect | None,
    grace_s: float,
    quiet: bool,
    as_json: bool,
    descriptors: Descriptors | None,
) -> None:
    """Record the calls between clients and the server at UPSTREAM into a fixture.

    UPSTREAM and ADDRESS are HOST:PORT or unix:/path; port 0 takes a free one. Clients dial ADDRESS instead of UPSTREAM.

    \b
        duplexmock record localhost:50051 --out chat.duplex --listen localhost:50052
        duplexmock record localhost:50051 --out chat.duplex -- ./client --some-flag

    With a COMMAND behind --, it finds the address in the environment variable DUPLEXMOCK_TARGET; the recording ends
    when it exits, and its exit code is this command's (2 where that was 0 and the fixture is incomplete). What the
    recorder says goes to stderr then. Without one, SIGINT (Ctrl-C) or SIGTERM ends the recording: open calls have
    --grace seconds to end, and a second signal ends at once.
    """
    if quiet and as_json:
        raise click.UsageError("--quiet and --json exclude each other.")
    if command and shutil.which(command[0]) is None:
        raise ScriptError(f"{command[0]}: no such command")
    to = address.parse_target(upstream, "UPSTREAM")
    recording = partial(
        Recording,
        out,
        str(to),
        if_exists="overwrite" if overwrite else "refuse",
        methods=methods,
        redact=redact,
        descriptors=descriptors.serialized if descriptors else None,
        expectations=Expectations(ignore, tuple(map(_binding, bind)), expect),
    )
    listening = address.parse(listen, "--listen")
    with _display(quiet, as_json, bool(command)) as say:
        run = _Run(Proxy(to), out, grace_s, say)
        code = asyncio.run(run.until_over(listening, partial(recording, display.Watching(say)), command))
    sys.exit(code)


class _Run:
    """One run of the command."""

    def __init__(self, proxy: Proxy, out: str, grace_s: float, say: display.Say) -> None:
        self._proxy = proxy
        self._out = out
        self._grace_s = grace_s
        self._say = say
        self._signals: asyncio.Queue[int] = asyncio.Queue()

    async def until_over(self, listen: Address, record: Callable[[], Recording], command: Sequence[str]) -> int:
        """Record until it is over; return the exit code."""
        with _caught_signals(self._signals):
            target = str(await self._proxy.start(listen, record))
            recording = self._proxy.recording
            self._say(display.Listening(target, recording.upstream, self._out, recording.counts))
            try:
                code = await (self._command(command, target) if command else self._signal())
            finally:
                await self._proxy.stop()
            self._say(display.Done(self._out, recording.counts, recording.failure))
        return code or (2 if recording.failure else 0)

    async def _signal(self) -> int:
        await self._signals.get()
        await self._drain()
        return 0

    async def _command(self, command: Sequence[str], target: str) -> int:
        environment = {**os.environ, "DUPLEXMOCK_TARGET": target}
        try:
            process = await asyncio.create_subprocess_exec(*command, env=environment)
        except OSError as exc:
            raise ScriptError(f"{command[0]}: {exc.strerror or exc}") from exc
        exited = asyncio.ensure_future(process.wait())
        number = await self._first(exited)
        if number is not None:
            if number == signal.SIGTERM or not sys.stdin.isatty():  # a terminal's Ctrl-C has reached it already
                process.send_signal(number)
            await self._first(exited, self._grace_s)
            if process.returncode is None:
                process.kill()
        code = await exited
        await self._proxy.closed(_CLOSING_S)
        await self._drain()
        return 128 - code if code < 0 else code

    async def _drain(self) -> None:
        """Let open calls end; a signal ends the waiting."""
        if self._proxy.open_calls:
            self._say(display.Stopping(self._proxy.open_calls, self._grace_s))
        draining = asyncio.ensure_future(self._proxy.drain(self._grace_s))
        await self._first(draining)
        draining.cancel()

    async def _first(self, task: asyncio.Future[Any], within_s: float | None = None) -> int | None:
        """Wait for the task, a signal, or so many seconds; return the signal's number, or None."""
        signalled = asyncio.ensure_future(self._signals.get())
        await asyncio.wait({task, signalled}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if signalled.done():
            return signalled.result()
        signalled.cancel()
        return None


@contextmanager
def _caught_signals(signals: asyncio.Queue[int]) -> Iterator[None]:
    """Take SIGINT and SIGTERM, also where a shell that started us in the background had SIGINT ignored."""
    loop = asyncio.get_running_loop()

    def caught(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(signals.put_nowait, number)

    before = {number: signal.signal(number, caught) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _display(quiet: bool, as_json: bool, has_command: bool) -> AbstractContextManager[display.Say]:
    # A command's own output is on stdout, and would garble a live table.
    stream = sys.stderr if has_command else sys.stdout
    if as_json:
        return nullcontext(display.as_json(stream))
    if quiet:
        return nullcontext(display.quiet(None if has_command else stream, sys.stderr))
    if not has_command and stream.isatty():
        return display.live()
    return nullcontext(display.plain(stream))


def _binding(text: str) -> tuple[str, str]:
    source, separator, path = text.partition("=")
    if not separator or not source or not path:
        raise click.UsageError(f"--bind {text!r}: not FROM=TO, two field paths.")
    return source, path


_CLOSING_S = 1.0
"""How long a command's connections may take to close when it has exited: longer ones are not its own."""
