"""`duplexmock learn`: find out what a live server or a client needs, and which fields change from play to play."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click

from duplexmock.cli.descriptors import descriptors_option
from duplexmock.cli.numbers import HOLD, TIMEOUT
from duplexmock.cli.output import echo
from duplexmock.cli.pairs import FROM_TO, KEY_VALUE, pair
from duplexmock.cli.running import (
    EXIT_MISMATCH,
    INTERRUPTED,
    Signals,
    WithCommand,
    check_command,
    command_given,
    started,
)
from duplexmock.core.events import Side
from duplexmock.core.verdict import duration
from duplexmock.errors import MismatchError
from duplexmock.learn.learning import Client, Experiment, Lesson, against, serving
from duplexmock.learn.probes import Run
from duplexmock.net import address
from duplexmock.net.address import Address
from duplexmock.net.server import Server
from duplexmock.report.needs import needs_line, needs_lines

if TYPE_CHECKING:
    from duplexmock.schema.descriptors import Descriptors


@click.command(cls=WithCommand)
@click.argument("file")
@click.option("--target", metavar="ADDRESS", help="Learn what the live server there needs.")
@click.option("--listen", metavar="ADDRESS", help="Where COMMAND dials.  [default: 127.0.0.1:0]")
@click.option(
    "--hold",
    "hold_s",
    type=HOLD,
    metavar="SECONDS",
    help="How long nothing may come before the next event.  [default: twice the slowest reaction recorded]",
)
@click.option(
    "--runs",
    type=click.IntRange(min=2),
    metavar="N",
    help="How many probes to make.  [default: 2, or 3 where calls overlapped or something came late]",
)
@click.option(
    "--ignore", multiple=True, metavar="PATH", help="A field, or metadata:KEY, that does not tell calls apart."
)
@click.option("--bind", multiple=True, metavar="FROM=TO", help="A received field that is reused in what is sent later.")
@click.option("--write", is_flag=True, help="Write --ignore and --bind that were found into FILE's expectations.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="A value that was redacted, or to be added.")
@click.option("--session", "sessions", multiple=True, type=click.IntRange(min=1), metavar="N", help="Learn session N.")
@click.option("--method", "methods", multiple=True, metavar="GLOB", help="Learn the sessions of these methods.")
@click.option(
    "--timeout", "timeout_s", type=TIMEOUT, default=10, show_default=True, metavar="SECONDS", help="For the rest."
)
@click.option("--json", "as_json", is_flag=True, help="Say everything as JSON lines.")
@descriptors_option
def learn(
    file: str,
    target: str | None,
    listen: str | None,
    hold_s: float | None,
    runs: int | None,
    ignore: tuple[str, ...],
    bind: tuple[str, ...],
    write: bool,
    metadata: tuple[str, ...],
    sessions: tuple[int, ...],
    methods: tuple[str, ...],
    timeout_s: float,
    as_json: bool,
    descriptors: Descriptors | None,
) -> None:
    """Learn which order across the lanes of recorded calls is needed, and write it into FILE, a fixture.

    \b
        duplexmock learn chat.duplex --target localhost:50051   what the server needs
        duplexmock learn chat.duplex -- ./client                what the client needs

    With both, both are learned, and kept when both are done.

    The recorded calls are played again, a few times, with our side held back one event at a time: what comes anyway
    did not need the next one. Fields that change from play to play are printed as the options --ignore and --bind.
    The exit code is 1, and FILE as it was, where the peer is lost or does not do the same in every probe.
    """
    command = command_given()
    if target is None and not command:
        raise click.UsageError("--target or -- COMMAND: whose needs are to be learned?")
    if listen is not None and not command:
        raise click.UsageError("--listen is where COMMAND dials, and there is none.")
    check_command(command)
    seats: list[tuple[Side, str, Run]] = []
    if target is not None:
        to = address.parse_target(target, "--target")
        seats.append((Side.SERVER, repeated_on(to), against(to)))
    if command:
        told = f"{shlex.join(command)} is run and kept waiting: its deadlines may be up, and its keepalive"
        run = serving(address.parse(listen or "127.0.0.1:0", "--listen"), _client(command, timeout_s))
        seats.append((Side.CLIENT, told, run))
    given = dict(pair(text, "--metadata", KEY_VALUE) for text in metadata)
    say = as_json_to(sys.stdout) if as_json else as_text_to(sys.stdout)
    experiments = [
        Experiment(
            file,
            side,
            hold_s=hold_s,
            runs=runs,
            ignore=ignore,
            bind=[pair(text, "--bind", FROM_TO) for text in bind],
            metadata=given,
            sessions=sessions,
            methods=methods,
            timeout_s=timeout_s,
            descriptors=descriptors,
        )
        for side, _, _ in seats
    ]
    parts = [(experiment, told, run) for experiment, (_, told, run) in zip(experiments, seats, strict=True)]
    sys.exit(made(parts, say, write))


def repeated_on(target: Address) -> str:
    """Say what learning from a live server does to it."""
    return f"the recorded requests are repeated on the live server at {target}, with longer deadlines"


def made(parts: Sequence[Part], say: Say, write: bool = False) -> int:
    """Make experiments on one fixture, say first what each changes, and keep what they show; return the exit code."""
    try:
        return asyncio.run(_until_learned(parts, say, write))
    except MismatchError as exc:
        echo(f"Error: {exc}", sys.stderr)
        return EXIT_MISMATCH


async def _until_learned(parts: Sequence[Part], say: Say, write: bool) -> int:
    signals = Signals()
    lessons: list[Lesson] = []
    with signals.caught():
        for experiment, told, run in parts:
            say.begins(experiment, told)
            learning = asyncio.ensure_future(experiment.learn(run, partial(say.probed, experiment)))
            if await signals.end(learning):
                return INTERRUPTED
            lessons.append(await learning)
        experiment.keep(*lessons, write_proposals=write)
    for lesson in lessons:
        say.learned(str(experiment.path), lesson, write)
    return 0


def _client(command: Sequence[str], timeout_s: float) -> Client:
    """Return what runs the command until it exits, or has made no call for so long."""

    async def run(target: str, server: Server) -> None:
        program = await started(command, target, shares_terminal=sys.stdin is not None and sys.stdin.isatty())
        idle = asyncio.ensure_future(server.idle(timeout_s))
        either: tuple[asyncio.Future[Any], ...] = program.exited, idle
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()
            code = await program.end(_ENDING_S)
        if code:
            echo(f"warning: {command[0]} exited with {code}", sys.stderr)

    return run


Part = tuple[Experiment, str, Run]
"""An experiment, what it changes, in a sentence, and how it is run."""


class Say(NamedTuple):
    """How progress and results are told."""

    begins: Callable[[Experiment, str], None]
    probed: Callable[[Experiment, int], None]
    learned: Callable[[str, Lesson, bool], None]


def as_text_to(stream: IO[str]) -> Say:
    """Tell people."""

    def begins(experiment: Experiment, told: str) -> None:
        held, lasts_s = duration(experiment.hold_ns), -(-experiment.lasts_ns // 1_000_000_000)
        often = f"in {experiment.probes} probes, up to {lasts_s:,} s"
        echo(f"{told}; each event is held until nothing has come for {held}, and longer: {often}", stream)

    def probed(experiment: Experiment, number: int) -> None:
        echo(f"probe {number} of {experiment.probes}", stream)

    def learned(file: str, lesson: Lesson, written: bool) -> None:
        for session, needs in zip(lesson.recorded, lesson.needs, strict=True):
            for line in needs_lines(file, session, needs):
                echo(line, stream)
        found = [f"--ignore {shlex.quote(path)}" for path in lesson.proposals.ignore]
        found += [f"--bind {shlex.quote(f'{source}={path}')}" for source, path in lesson.proposals.bind]
        if found:
            done = "written into the fixture" if written else "to be given to replay, or kept by --write"
            echo(f"changes from play to play ({done}): {' '.join(found)}", stream)

    return Say(begins, probed, learned)


def silent() -> Say:
    """Tell nobody."""
    return Say(lambda experiment, told: None, lambda experiment, number: None, lambda file, lesson, written: None)


def as_json_to(stream: IO[str]) -> Say:
    """Tell machines, in JSON lines."""

    def begins(experiment: Experiment, told: str) -> None:
        echo(json.dumps({"probes": experiment.probes, "hold_ms": experiment.hold_ns / 1e6, "changes": told}), stream)

    def probed(experiment: Experiment, number: int) -> None:
        echo(json.dumps({"probe": number}), stream)

    def learned(file: str, lesson: Lesson, written: bool) -> None:
        for session, needs in zip(lesson.recorded, lesson.needs, strict=True):
            echo(needs_line(session, needs), stream, end="")
        proposals = lesson.proposals
        echo(json.dumps({"ignore": proposals.ignore, "bind": proposals.bind, "written": written}), stream)

    return Say(begins, probed, learned)


_ENDING_S = 1.0
"""How long a command that is overdue may take to end."""
