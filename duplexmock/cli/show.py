"""`duplexmock show`: what a fixture holds, as timelines or JSON lines. Also git's textconv for fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePath

import click

from duplexmock.cli.descriptors import descriptors_option
from duplexmock.cli.output import echo
from duplexmock.core.events import Side
from duplexmock.core.method import is_chosen
from duplexmock.core.session import Session
from duplexmock.errors import FixtureError, ScriptError
from duplexmock.report import jsonlines, timeline
from duplexmock.report.escaping import escaped
from duplexmock.report.needs import marks, needs_line
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.reader import Reader
from duplexmock.store.fixture import Fixture


@click.command
@click.argument("file")
@click.option("--session", "numbers", type=click.IntRange(min=1), multiple=True, metavar="N", help="Show session N.")
@click.option("--method", "methods", multiple=True, metavar="GLOB", help="Show the sessions of these methods.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, payloads whole.")
@descriptors_option
def show(
    file: str, numbers: tuple[int, ...], methods: tuple[str, ...], as_json: bool, descriptors: Descriptors | None
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
        say = _json if as_json else _text
        lines = say(name, fixture, fixture.chosen(numbers, methods), _reader(file, fixture, descriptors))
        for line in lines:
            echo(line, end="")


def _reader(file: str, fixture: Fixture, descriptors: Descriptors | None) -> Reader:
    """Return what reads payloads: by these descriptors, then by those of the fixture."""
    known = [descriptors] if descriptors else []
    if fixture.descriptors:
        try:
            known.append(Descriptors(fixture.descriptors))
        except ScriptError as exc:
            place = "the header" if fixture.header.descriptors else "the upstream's descriptors"
            raise FixtureError(f"{file}: {place}: {exc}; the file is damaged or was edited by hand") from exc
    return Reader(*known)


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


_COLOURS = {Side.CLIENT: "cyan", Side.SERVER: "green", None: "yellow"}
