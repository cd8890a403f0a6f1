"""What `duplexmock record` says while it runs: plain lines, JSON lines, a live table, or next to nothing.

Whatever happens is a value; `text` and `fields` say it to people and to machines. What peers chose is escaped.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any

from duplexmock.cli.output import echo
from duplexmock.net.recording import Counts, Finished
from duplexmock.report.escaping import escaped


@dataclass(frozen=True, slots=True)
class Listening:
    """Clients can come; `counts` changes as they do."""

    target: str
    upstream: str
    out: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Warned:
    """Something is not as it should be."""

    text: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """Nobody new is accepted, and open calls have so many seconds to end."""

    open_calls: int
    grace_s: float


@dataclass(frozen=True, slots=True)
class Done:
    """The fixture is closed; `failure` says why it is not complete, and is empty where it is."""

    out: str
    counts: Counts
    failure: str


Happening = Listening | Finished | Warned | Stopping | Done
Say = Callable[[Happening], None]


class Watching:
    """Tells a display what the recording tells."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def ended(self, session: Finished) -> None:
        """Say that a session has ended."""
        self._say(session)

    def warn(self, warning: str) -> None:
        """Say that something is not as it should be."""
        self._say(Warned(warning))


def text(happening: Happening) -> str:
    """Say it to people, in one line; an address stands in a line of its own, for scripts that look for it."""
    match happening:
        case Listening(target, upstream, out, _):
            return f"listening on {target}\nrecording {upstream} into {out}"
        case Finished(number, method, client, server, outcome, lasted_ns):
            return "   ".join(
                (f"session {number}", escaped(method), f"{client} > {server} <", outcome, f"{lasted_ns / 1e9:.3f} s")
            )
        case Warned(warning):
            return f"warning: {warning}"
        case Stopping(open_calls, grace_s):
            calls = "1 open call has" if open_calls == 1 else f"{open_calls} open calls have"
            return f"stopping: {calls} {grace_s:g} s to end; a second signal ends at once"
        case Done(out, counts, _):
            return f"{out}: {counted(counts)}"


def fields(happening: Happening) -> dict[str, Any]:
    """Say it to machines: an object whose first name tells what happened."""
    match happening:
        case Listening(target, upstream, out, _):
            return {"listening": target, "upstream": upstream, "out": out}
        case Finished():
            return {"session": happening.number} | {k: v for k, v in asdict(happening).items() if k != "number"}
        case Warned(warning):
            return {"warning": warning}
        case Stopping(open_calls, grace_s):
            return {"stopping": open_calls, "grace_s": grace_s}
        case Done(out, counts, failure):
            return {"done": out, "complete": not failure, "failure": failure or None} | asdict(counts)


def counted(counts: Counts) -> str:
    """Say how much there is."""
    parts = [
        _plural(counts.sessions, "session"),
        f"{_plural(counts.client_messages, 'message')} >",
        f"{_plural(counts.server_messages, 'message')} <",
        f"{_size(counts.client_bytes)} >",
        f"{_size(counts.server_bytes)} <",
        _plural(counts.connections, "connection"),
    ]
    if counts.passed_calls:
        parts.append(f"{_plural(counts.passed_calls, 'other call')} passed")
    if counts.foreign:
        parts.append(f"{_plural(counts.foreign, 'connection')} not gRPC")
    if counts.unreadable:
        parts.append(f"{_plural(counts.unreadable, 'connection')} not readable to the end")
    if counts.foreign_streams:
        parts.append(f"{_plural(counts.foreign_streams, 'request')} not gRPC")
    return ", ".join(parts)


def plain(stream: IO[str]) -> Say:
    """Say each thing in a line."""
    return lambda happening: echo(text(happening), stream)


def as_json(stream: IO[str]) -> Say:
    """Say each thing in a line of JSON."""
    return lambda happening: echo(json.dumps(fields(happening)), stream)


def quiet(stream: IO[str] | None, errors: IO[str]) -> Say:
    """Say nothing but warnings, to `errors`, and to `stream`, if any, the address, without which nobody could come."""

    def say(happening: Happening) -> None:
        match happening:
            case Listening(target) if stream is not None:
                echo(f"listening on {target}", stream)
            case Warned():
                echo(text(happening), errors)

    return say


@contextmanager
def live() -> Iterator[Say]:
    """Show a table on the terminal that is drawn anew four times a second, the latest sessions below it."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    console = Console()
    counts = Counts()
    heading: list[str] = []
    latest: deque[str] = deque(maxlen=_LATEST)

    def draw() -> Group:
        table = Table(box=None, pad_edge=False)
        for name in ("", "messages", "bytes"):
            table.add_column(name, justify="left" if not name else "right")
        table.add_row("client >", f"{counts.client_messages:,}", _size(counts.client_bytes))
        table.add_row("server <", f"{counts.server_messages:,}", _size(counts.server_bytes))
        open_sessions = counts.sessions - counts.ended_sessions
        calls = f"{_plural(open_sessions, 'call')} open, {counts.ended_sessions:,} ended; Ctrl-C ends the recording"
        return Group(*(Text(line) for line in heading), table, Text(calls), *(Text(line) for line in latest))

    def say(happening: Happening) -> None:
        nonlocal counts
        match happening:
            case Listening():
                counts = happening.counts
                heading.extend(text(happening).splitlines())
            case Finished():
                latest.append(text(happening))
            case Warned() | Stopping():
                shown.console.print(Text(text(happening), style="yellow"))
            case Done():
                shown.stop()
                console.print(Text(text(happening)))

    with Live(get_renderable=draw, console=console, refresh_per_second=4, transient=True) as shown:
        yield say


def _plural(count: int, name: str) -> str:
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"


def _size(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


_LATEST = 8
"""Sessions below the table: with it they fit a terminal of 24 lines."""
