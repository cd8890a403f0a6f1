"""`duplexmock show`: what a fixture holds, as timelines or JSON lines. Also git's textconv for fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import reduce
from pathlib import PurePath

import click

from duplexmock.cli.descriptors import descriptors_option
from duplexmock.cli.output import echo
from duplexmock.core.events import Side
from duplexmock.core.method import is_chosen
from duplexmock.core.session import Ended, Session
from duplexmock.core.source import imports
from duplexmock.errors import FixtureError, ScriptError
from duplexmock.report import jsonlines, timeline
from duplexmock.report.escaping import escaped
from duplexmock.report.needs import marks, needs_line
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.reader import Reader
from duplexmock.schema.script import Script
from duplexmock.store.fixture import Fixture


@click.command
@click.argument("file")
@click.option("--session", "numbers", type=click.IntRange(min=1), multiple=True, metavar="N", help="Show session N.")
@click.option("--method", "methods", multiple=True, metavar="GLOB", help="Show the sessions of these methods.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, payloads whole.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["timeline", "script"]),
    default="timeline",
    show_default=True,
    help="A timeline, or the source of a script that says the same, to be generalised.",
)
@descriptors_option
def show(
    file: str,
    numbers: tuple[int, ...],
    methods: tuple[str, ...],
    as_json: bool,
    form: str,
    descriptors: Descriptors | None,
) -> None:
    """Show who said what when in FILE, a fixture.

    Payloads are read by --descriptors, by the descriptors in FILE, or without any by field number. To see fixtures as
    text in git's diffs:

    \b
        echo '*.duplex diff=duplexmock' >> .gitattributes
        git config diff.duplexmock.textconv 'duplexmock show'
    """
    name = PurePath(file).name
    with Fixture.open(file) as fixture:
        _check(fixture, numbers, methods)
        chosen = fixture.chosen(numbers, methods)
        known = _known(file, fixture, descriptors)
        if form == "script":
            if as_json:
                raise click.UsageError("--json and --as script exclude each other.")
            lines = _scripts(name, chosen, known)
        else:
            lines = (_json if as_json else _text)(name, fixture, chosen, Reader(*known))
        for line in lines:
            echo(line, end="")


def _known(file: str, fixture: Fixture, descriptors: Descriptors | None) -> list[Descriptors]:
    """Return what is known of payloads: these descriptors, then those of the fixture."""
    known = [descriptors] if descriptors else []
    if fixture.descriptors:
        try:
            known.append(Descriptors(fixture.descriptors))
        except ScriptError as exc:
            place = "the header" if fixture.header.descriptors else "the upstream's descriptors"
            raise FixtureError(f"{file}: {place}: {exc}; the file is damaged or was edited by hand") from exc
    return known


def _text(name: str, fixture: Fixture, chosen: Iterator[Session], reader: Reader) -> Iterator[str]:
    header = fixture.header
    recorded = datetime.fromtimestamp(header.started_at_ns // 1_000_000_000, UTC)
    sessions = "1 session" if len(fixture) == 1 else f"{len(fixture):,} sessions"
    yield f"{name}   {recorded:%Y-%m-%d %H:%M:%S} UTC   of {escaped(header.upstream)}   {sessions}\n"
    for said in _expectations(fixture):
        yield f"    {escaped(said)}\n"
    for session in chosen:
        yield f"\n{click.style(timeline.title(name, session), bold=True)}\n"
        for line in timeline.timeline(session, reader, marks=marks(session, fixture.learned(session))):
            yield click.style(str(line), fg=_COLOURS[line.side]) + "\n"
    if fixture.why_incomplete:
        yield f"\n{name}: incomplete: {fixture.why_incomplete}\n"


def _json(name: str, fixture: Fixture, chosen: Iterator[Session], reader: Reader) -> Iterator[str]:
    yield jsonlines.fixture_line(name, fixture.header, len(fixture), fixture.why_incomplete)
    for session in chosen:
        yield from jsonlines.session_line(session, reader)
        for needs in fixture.learned(session).values():
            yield needs_line(session, needs)


def _scripts(name: str, chosen: Iterator[Session], known: list[Descriptors]) -> Iterator[str]:
    """Yield the source of a module with a script for each session."""
    descriptors = reduce(Descriptors.merge, known) if known else None
    scripts = [(session, Script.of(session, descriptors)) for session in chosen]
    yield f"# {escaped(name)}, as scripts: each allows what was recorded, and nothing else.\n"
    if known:
        yield "# Dicts need descriptors: Script(..., descriptors=...), or --descriptors where it is served.\n"
    yield "\n" + imports([part for _, script in scripts for part in script.parts])
    for session, script in scripts:
        how = "" if session.ended in _ENDED else f"  # the recording stops here: {escaped(session.ended.value)}"
        yield f"\nsession_{session.number} = {script.source()}{how}\n"


def _check(fixture: Fixture, numbers: tuple[int, ...], methods: tuple[str, ...]) -> None:
    """Raise ScriptError, before anything is shown, where a session is not there or a glob chooses nothing."""
    for number in numbers:
        fixture.check(number)
    known = fixture.methods
    there = {known[number] for number in numbers or known}
    for glob in methods:
        if not any(is_chosen(method, (glob,)) for method in there):
            none = "none of the sessions chosen" if numbers else "no session"
            raise ScriptError(f"method {glob!r}: {none} is of such a method")


def _expectations(fixture: Fixture) -> Iterator[str]:
    expectations = fixture.expectations
    yield from (f"ignore {path}" for path in expectations.ignore)
    yield from (f"bind {source}={path}" for source, path in expectations.bind)
    if expectations.expect:
        yield f"expect {expectations.expect}"


_ENDED = (Ended.TRAILER, Ended.RESET, Ended.CANCELLED)
_COLOURS = {Side.CLIENT: "cyan", Side.SERVER: "green", None: "yellow"}
