"""`duplexmock record`: run the proxy until a signal, or as long as a command runs."""

from __future__ import annotations

import asyncio
import gc
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import IO, get_args

import click

from duplexmock.cli import display
from duplexmock.cli.descriptors import descriptors_option
from duplexmock.cli.numbers import GRACE
from duplexmock.cli.output import echo
from duplexmock.cli.pairs import FROM_TO, pair
from duplexmock.cli.running import Signals, WithCommand, check_command, command_given, raise_file_limit, run_command
from duplexmock.core.events import Side
from duplexmock.errors import ScriptError
from duplexmock.net import address
from duplexmock.net.address import Address
from duplexmock.net.proxy import Proxy, ask_upstream
from duplexmock.net.recording import Recording, Watcher
from duplexmock.schema.binding import check_expectations
from duplexmock.schema.descriptors import Descriptors
from duplexmock.store.header import Expect, Expectations


@click.command(cls=WithCommand)
@click.argument("upstream")
@click.option("--out", required=True, metavar="FILE", help="The fixture to write.")
@click.option("--overwrite", is_flag=True, help="Replace FILE where it exists.")
@click.option("--listen", default="127.0.0.1:0", show_default=True, metavar="ADDRESS", help="Where clients dial.")
@click.option("--method", "methods", multiple=True, metavar="GLOB", help="Record these calls, and pass the others.")
@click.option("--redact", multiple=True, metavar="KEY", help="Metadata whose value is not written, besides the usual.")
@click.option("--ignore", multiple=True, metavar="PATH", help="A field that is not compared when this is replayed.")
@click.option("--bind", multiple=True, metavar="FROM=TO", help="A received field that is reused in what is sent later.")
@click.option("--expect", type=click.Choice(get_args(Expect)), help="What a replay demands of the peer.")
@click.option("--grace", "grace_s", type=GRACE, default=5, show_default=True, metavar="SECONDS")
@click.option("--quiet", is_flag=True, help="Say only where it listens, and warnings.")
@click.option("--json", "as_json", is_flag=True, help="Say everything as JSON lines.")
@click.option("--learn", is_flag=True, help="Then learn what UPSTREAM needs, by repeating the requests on it.")
@click.option("--reflection", is_flag=True, help="Ask UPSTREAM's server reflection for descriptors, once.")
@descriptors_option
def record(
    upstream: str,
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
    learn: bool,
    reflection: bool,
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
    command = command_given()
    check_command(command)
    to = address.parse_target(upstream, "UPSTREAM")
    bindings = tuple(pair(text, "--bind", FROM_TO) for text in bind)
    check_expectations(ignore, bindings)
    recording = partial(
        Recording,
        out,
        str(to),
        if_exists="overwrite" if overwrite else "refuse",
        methods=methods,
        redact=redact,
        descriptors=descriptors.serialized if descriptors else None,
        expectations=Expectations(ignore, bindings, expect),
    )
    listening = address.parse(listen, "--listen")
    raise_file_limit()
    gc.set_threshold(20_000)  # more than a read gives rows: they are gone before the collector walks through them
    run = _Run(Proxy(to, partial(ask_upstream, to) if reflection else None), out, grace_s)
    code = asyncio.run(run.until_over(listening, recording, command, _display(quiet, as_json, bool(command))))
    if learn and not code:
        code = _learn(out, to, quiet, as_json, sys.stderr if command else sys.stdout)
    sys.exit(code)


def _learn(out: str, upstream: Address, quiet: bool, as_json: bool, stream: IO[str]) -> int:
    """Learn what the upstream needs; a warning where it is not there, or has to be told a secret."""
    # Here, because few recordings do, and it takes a third of what it takes to listen.
    from duplexmock.cli.learn import as_json_to, as_text_to, made, repeated_on, silent
    from duplexmock.learn.learning import Experiment, against

    say = silent() if quiet else as_json_to(stream) if as_json else as_text_to(stream)
    try:
        experiment = Experiment(out, Side.SERVER)
        return made([(experiment, repeated_on(upstream), against(upstream))], say)
    except ScriptError as exc:
        again = shlex.join(["duplexmock", "learn", out, "--target", str(upstream)])
        echo(f"warning: nothing was learned: {exc}; later: {again}", sys.stderr)
        return 0


class _Run:
    """One run of the command."""

    def __init__(self, proxy: Proxy, out: str, grace_s: float) -> None:
        self._proxy = proxy
        self._out = out
        self._grace_s = grace_s
        self._signals = Signals()

    async def until_over(
        self,
        listen: Address,
        record: Callable[[Watcher], Recording],
        command: Sequence[str],
        shown: AbstractContextManager[display.Say],
    ) -> int:
        """Record until it is over; return the exit code."""
        with self._signals.caught(), shown as say:  # a signal must not leave a live display on the terminal
            target = str(await self._proxy.start(listen, partial(record, display.Watching(say))))
            recording = self._proxy.recording
            say(display.Listening(target, recording.upstream, self._out, recording.counts))
            try:
                code = await (self._command(command, target) if command else self._signal())
                await self._drain(say)
            finally:
                await self._proxy.stop()
            say(display.Done(self._out, recording.counts, recording.failure))
        return code or (2 if recording.failure or recording.counts.unreadable else 0)

    async def _signal(self) -> int:
        await self._signals.next()
        return 0

    async def _command(self, command: Sequence[str], target: str) -> int:
        code = await run_command(command, target, self._signals, self._grace_s)
        await self._proxy.closed(_CLOSING_S)
        return code

    async def _drain(self, say: display.Say) -> None:
        """Let open calls end; a signal ends the waiting."""
        if self._proxy.open_calls:
            say(display.Stopping(self._proxy.open_calls, self._grace_s))
        draining = asyncio.ensure_future(self._proxy.drain(self._grace_s))
        await self._signals.or_done(draining)
        draining.cancel()


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


_CLOSING_S = 1.0
"""How long a command's connections may take to close when it has exited: longer ones are not its own."""
