"""`duplexmock replay`: play the server of fixtures to clients, or their client against a live server."""

from __future__ import annotations

import asyncio
import json
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
from click.core import ParameterSource

from duplexmock.cli.descriptors import descriptors_option, sources_given
from duplexmock.cli.numbers import SPEED, TIMEOUT
from duplexmock.cli.output import echo
from duplexmock.cli.pairs import FROM_TO, KEY_VALUE, pair
from duplexmock.cli.running import (
    EXIT_MISMATCH,
    INTERRUPTED,
    Program,
    Signals,
    WithCommand,
    check_command,
    command_given,
    raise_file_limit,
    run_command,
    started,
)
from duplexmock.cli.silence import too_long
from duplexmock.core import verdict
from duplexmock.core.events import Side
from duplexmock.core.outcome import Outcome
from duplexmock.errors import FixtureError
from duplexmock.net import address
from duplexmock.net.address import Address
from duplexmock.net.server import Server
from duplexmock.net.stage import Stage
from duplexmock.play.plan import DEFAULT_TIMEOUT_S, Options
from duplexmock.report.summary import agreed_line
from duplexmock.store.header import Expect

if TYPE_CHECKING:
    from duplexmock.schema.descriptors import Descriptors


@click.command(cls=WithCommand)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--listen", metavar="ADDRESS", help="Play the server here.  [default: 127.0.0.1:0]")
@click.option("--target", metavar="ADDRESS", help="Play the client against the live server there.")
@click.option(
    "--speed", type=SPEED, default=math.inf, metavar="X", help="1 as recorded, 2 twice as fast.  [default: inf]"
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
    type=TIMEOUT,
    metavar="SECONDS",
    help="For each event of the peer, a call among them.  [default: 10, and what it took in the recording]",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="What is done instead of an event, such as reset(CANCEL)@server:2; README has a table.",
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
    faults: tuple[str, ...],
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
    With a COMMAND behind --, its exit code counts as well; it is ended where there is more to play, but no call comes
    for --timeout. With --target, it is the server, and is ended afterwards.
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
        faults=faults,
    ) as stage:
        run = _Run(stage, there, command, files, options, as_json)
        command_code = asyncio.run(run.server() if side is Side.SERVER else run.client())
        counted = stage.tally()
        unplayed = stage.unplayed()
        if as_json:
            counts = {"agreed": counted.agreed, "mismatched": counted.mismatched, "unplayed": unplayed}
            if faults:
                counts["unfired"] = counted.unfired
            echo(json.dumps({**counts, "command": run.command_failure or None}))
        else:
            if run.command_failure:
                echo(run.command_failure)
            for line in counted.unplayed:
                echo(f"not played: {line}")
            for line in counted.unfired:
                echo(line)
            echo(str(counted))
        if junit_file is not None:
            from duplexmock.report.junit import junit  # here: its XML is a tenth of what it takes to listen

            shown = [(name, stage.shown(name, outcome)) for name, outcome in stage.play.outcomes]
            _write(junit_file, junit(shown, unplayed, stage.reader, counted.unfired))
    sys.exit(command_code or (0 if counted.is_green else EXIT_MISMATCH))


Say = Callable[[Stage, str, Outcome], None]


class _Run:
    """One run of the command; `command_failure` says why the COMMAND behind -- let it end early, empty if not."""

    def __init__(
        self,
        stage: Stage,
        there: Address,
        command: Sequence[str],
        files: Sequence[str],
        options: Options,
        as_json: bool,
    ) -> None:
        self.command_failure = ""
        self._stage = stage
        self._there = there
        self._command = command
        self._files = files
        self._options = options
        self._timeout_s = options.timeout_s or DEFAULT_TIMEOUT_S
        self._as_json = as_json
        self._signals = Signals()

    async def server(self) -> int:
        """Play the server until a signal, or until the command has exited; return the command's exit code."""
        server = Server(self._stage.play, self._stage.clock, self._stage.config)
        with self._signals.caught():
            target = str(await server.start(self._there))
            if self._as_json:
                echo(json.dumps({"listening": target}))
            elif not self._command:
                echo(f"listening on {target}")
            code = 0
            try:
                if self._command:
                    overdue = self._overdue(server)
                    code = await run_command(self._command, target, self._signals, self._timeout_s, overdue)
                else:
                    await self._signals.next()
            finally:
                await server.stop(_GRACE_S)
                for text in server.unreadable:
                    echo(f"warning: {text}", sys.stderr)
        return 0 if self.command_failure else code

    async def client(self) -> int:
        """Play the client against the server, which may be the command; return the command's exit code."""
        target = str(self._there)
        if self._as_json:
            echo(json.dumps({"target": target, "repeats": "recorded requests on a live server"}))
        else:
            echo(f"the recorded requests are repeated on the live server at {target}")
        with self._signals.caught():
            if not self._command:
                return await self._play()
            server = await started(self._command, target)
            try:
                code = await self._play(server)
            finally:
                server_code = await server.end(self._timeout_s)
            return code or server_code

    async def _play(self, server: Program | None = None) -> int:
        """Play the client; a server that was started for it may take its time, but not exit, before it is reached."""
        from duplexmock.net.replay import perform

        reached = asyncio.Event()
        patience_s = 0 if server is None else self._timeout_s
        playing = asyncio.ensure_future(perform(self._stage, self._there, patience_s, reached.set))
        if server is not None:
            server.exited.add_done_callback(lambda _: reached.is_set() or playing.cancel())
        if await self._signals.end(playing):
            return INTERRUPTED
        if server is not None and playing.cancelled():
            code = server.exited.result()
            self.command_failure = f"{server.name} exited with {code} before {self._there} could be reached."
            return code
        await playing
        return 0

    async def _overdue(self, server: Server) -> None:
        """Wait until the command has kept silent too long, and say so in `command_failure`."""
        within_s = await too_long(server.idle, self._stage, self._files, self._options)
        within = verdict.duration(round(within_s * 1e9))
        self.command_failure = f"{self._command[0]} was ended: no call came within {within}, and there is more to play."


def _say_text(stage: Stage, name: str, outcome: Outcome) -> None:
    if outcome.agreed:
        echo(agreed_line(name, outcome))
        return
    from duplexmock.report.outcomes import mismatch_lines  # here and below: what reads messages takes long to load

    advice = [_again(name, outcome.number)] if outcome.number else []
    for line in mismatch_lines(name, stage.shown(name, outcome), stage.reader(name), advice):
        echo(line)


def _say_json(stage: Stage, name: str, outcome: Outcome) -> None:
    from duplexmock.report.outcomelines import outcome_line

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
    ("listen", "target", "speed", "expect", "order", "ignore", "bind", "metadata", "timeout_s", "faults", "descriptors")
)
"""Options that decide how a session is played."""

_GRACE_S = 1.0
"""How long calls that are open when it is over may take to end: what they still say is on its way."""
