"""`duplexmock replay`: play the server of fixtures to clients, or their client against a live server."""

from __future__ import annotations

import asyncio
import json
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

import click
from click.core import ParameterSource

from duplexmock.cli.descriptors import descriptors_option, sources_given
from duplexmock.cli.output import echo
from duplexmock.cli.pairs import FROM_TO, KEY_VALUE, pair
from duplexmock.cli.running import (
    Signals,
    WithCommand,
    check_command,
    command_given,
    raise_file_limit,
    run_command,
    serving,
)
from duplexmock.core.events import Side
from duplexmock.core.outcome import Outcome
from duplexmock.errors import FixtureError
from duplexmock.net import address
from duplexmock.net.address import Address
from duplexmock.net.replay import perform
from duplexmock.net.server import Server
from duplexmock.net.stage import Stage
from duplexmock.play.plan import DEFAULT_TIMEOUT_S, Options
from duplexmock.report.outcomelines import outcome_line
from duplexmock.report.outcomes import agreed_line, mismatch_lines
from duplexmock.schema.descriptors import Descriptors
from duplexmock.store.header import Expect

EXIT_MISMATCH = 1


@click.command(cls=WithCommand)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--listen", metavar="ADDRESS", help="Play the server here.  [default: 127.0.0.1:0]")
@click.option("--target", metavar="ADDRESS", help="Play the client against the live server there.")
@click.option(
    "--speed", type=float, default=math.inf, metavar="X", help="1 as recorded, 2 twice as fast.  [default: inf]"
)
@click.option("--expect", type=click.Choice(get_args(Expect)), help="What is demanded of the peer.")
@click.option("--order", metavar="WORD", help="What our own lane waits by, spelled with > and <.")
@click.option("--ignore", multiple=True, metavar="PATH", help="A field, or metadata:KEY, that is not compared.")
@click.option("--bind", multiple=True, metavar="FROM=TO", help="A received field that is reused in what is sent later.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="A value that was redacted, or to be added.")
@click.option("--session", "sessions", multiple=True, type=click.IntRange(min=1), metavar="N", help="Play session N.")
@click.option("--method", "methods", multiple=True, metavar="GLOB", help="Play the sessions of these methods.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, metavar="K", help="Play all of it K times.")
@click.option(
    "--timeout",
    "timeout_s",
    type=float,
    metavar="SECONDS",
    help="For each event of the peer.  [default: 10, and what it took in the recording]",
)
@click.option("--json", "as_json", is_flag=True, help="Say everything as JSON lines.")
@click.option("--junit", "junit_file", type=click.Path(dir_okay=False), metavar="FILE", help="Write JUnit XML.")
@descriptors_option
def replay(
    files: tuple[str, ...],
    listen: str | None,
    target: str | None,
    speed: float,
    expect: Expect | None,
    order: str | None,
    ignore: tuple[str, ...],
    bind: tuple[str, ...],
    metadata: tuple[str, ...],
    sessions: tuple[int, ...],
    methods: tuple[str, ...],
    repeat: int,
    timeout_s: float | None,
    as_json: bool,
    junit_file: str | None,
    descriptors: Descriptors | None,
) -> None:
    """Play recorded calls from FILEs, fixtures or folders of them, and check what the other side says.

    \b
        duplexmock replay chat.duplex -- ./client          the server, to a command that finds it in DUPLEXMOCK_TARGET
        duplexmock replay chat.duplex --listen [::]:50051  the server, until SIGINT or SIGTERM
        duplexmock replay chat.duplex --target host:50051  the client, against a live server

    The exit code is 0 if all agreed, 1 if not or if a session was not played, 2 if a file or an option cannot be used.
    With a COMMAND behind --, its exit code counts as well: with --target, it is the server, and is ended afterwards.
    """
    command = command_given()
    if listen is not None and target is not None:
        raise click.UsageError("--listen plays the server and --target the client: one of them.")
    check_command(command)
    side = Side.SERVER if target is None else Side.CLIENT
    there = (
        address.parse(listen or "127.0.0.1:0", "--listen")
        if target is None
        else address.parse_target(target, "--target")
    )
    options = Options(
        expect,
        order,
        speed,
        dict(pair(text, "--metadata", KEY_VALUE) for text in metadata),
        sessions,
        methods,
        repeat,
        timeout_s,
    )
    raise_file_limit()
    say: Say = _say_json if as_json else _say_text
    with Stage(
        files,
        side,
        options,
        descriptors=descriptors,
        ignore=ignore,
        bind=[pair(text, "--bind", FROM_TO) for text in bind],
        ended=lambda name, outcome: say(stage, name, outcome),
    ) as stage:
        run = _Run(stage, there, command, timeout_s or DEFAULT_TIMEOUT_S, as_json)
        command_code = asyncio.run(run.server() if side is Side.SERVER else run.client())
        counted = stage.tally()
        unplayed = stage.unplayed()
        if as_json:
            echo(json.dumps({"agreed": counted.agreed, "mismatched": counted.mismatched, "unplayed": unplayed}))
        else:
            for line in counted.unplayed:
                echo(f"not played: {line}")
            echo(str(counted))
        if junit_file is not None:
            from duplexmock.report.junit import junit  # here: its XML is a tenth of what it takes to listen

            shown = [(name, stage.shown(name, outcome)) for name, outcome in stage.play.outcomes]
            _write(junit_file, junit(shown, unplayed, stage.reader))
    sys.exit(command_code or (0 if counted.is_green else EXIT_MISMATCH))


Say = Callable[[Stage, str, Outcome], None]


class _Run:
    """One run of the command."""

    def __init__(self, stage: Stage, there: Address, command: Sequence[str], timeout_s: float, as_json: bool) -> None:
        self._stage = stage
        self._there = there
        self._command = command
        self._timeout_s = timeout_s
        self._as_json = as_json
        self._signals = Signals()

    async def server(self) -> int:
        """Play the server until a signal, or until the command has exited; return the command's exit code."""
        server = Server(self._stage.play, self._stage.clock)
        with self._signals.caught():
            target = str(await server.start(self._there))
            if self._as_json:
                echo(json.dumps({"listening": target}))
            elif not self._command:
                echo(f"listening on {target}")
            code = 0
            try:
                if self._command:
                    code = await run_command(self._command, target, self._signals, self._timeout_s)
                else:
                    await self._signals.next()
            finally:
                await server.stop(_GRACE_S)
                for text in server.unreadable:
                    echo(f"warning: {text}", sys.stderr)
        return code

    async def client(self) -> int:
        """Play the client against the server, which may be the command; return the command's exit code."""
        target = str(self._there)
        if self._as_json:
            echo(json.dumps({"target": target, "repeats": "recorded requests on a live server"}))
        else:
            echo(f"the recorded requests are repeated on the live server at {target}")
        with self._signals.caught():
            if self._command:
                async with serving(self._command, target, self._timeout_s) as server:
                    code = await self._play(self._timeout_s)
                return code or server.code
            return await self._play(0)

    async def _play(self, patience_s: float) -> int:
        playing = asyncio.ensure_future(perform(self._stage, self._there, patience_s))
        if await self._signals.or_done(playing) is None:
            await playing
            return 0
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing
        return _INTERRUPTED


def _say_text(stage: Stage, name: str, outcome: Outcome) -> None:
    if outcome.agreed:
        echo(agreed_line(name, outcome))
        return
    advice = [_again(name, outcome.number)] if outcome.number else []
    for line in mismatch_lines(name, stage.shown(name, outcome), stage.reader(name), advice):
        echo(line)


def _say_json(stage: Stage, name: str, outcome: Outcome) -> None:
    echo(outcome_line(name, stage.shown(name, outcome), stage.reader(name)), end="")


def _again(name: str, number: int) -> str:
    """Return the command that plays this session again, as it was played here."""
    context = click.get_current_context()
    words = ["duplexmock", "replay", name, "--session", str(number)]
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if not given or option.name not in _REPEATED:
            continue
        value = sources_given() if option.name == "descriptors" else context.params[option.name]
        for each in value if isinstance(value, tuple) else (value,):
            shown = f"{each:g}" if isinstance(each, float) else str(each)
            # What was given in the place of a secret is none to be printed.
            words += [option.opts[0], f"{shown.partition('=')[0]}=…" if option.name == "metadata" else shown]
    command = command_given()
    return f"Again: {shlex.join([*words, '--', *command] if command else words)}"


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as exc:
        raise FixtureError(f"{path}: cannot be written: {exc.strerror or exc}") from exc


_REPEATED = frozenset(
    ("listen", "target", "speed", "expect", "order", "ignore", "bind", "metadata", "timeout_s", "descriptors")
)
"""Options that decide how a session is played."""

_GRACE_S = 1.0
"""How long calls that are open when it is over may take to end: what they still say is on its way."""

_INTERRUPTED = 130
