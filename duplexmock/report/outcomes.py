"""What a play led to, for people: the timeline of what took place, with the first thing that was not as expected.

    echo_three.duplex   session 1   /chat.ChatService/Chat   the mock played the server
            0.000 ms  >  ClientHeader
            0.412 ms  <  ServerHeader
           13.020 ms  >  ClientMessage #1  {sender: 'Client', message: 'Hi there! Message 0', timestamp: 1795348800}
         ! 14.377 ms  >  ClientHalfClose  expected ClientMessage #2  {sender: 'Client', message: 'Hi there!…}
                 –    <  ServerMessage #2  not reached: waited for ClientMessage #2 (seen, not learned)
    The client half-closed before its second message.

What came behind it is left out: it is a consequence. Nothing here is longer than a screen, however long the call was:
of its entries the first ones and the last ones before the mismatch are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.core.session import Ended
from duplexmock.report.escaping import escaped
from duplexmock.report.summary import heading
from duplexmock.report.timeline import Line, event_line, timeline
from duplexmock.schema.reader import Reader
from duplexmock.schema.text import DEFAULT_LIMIT

SHOWN_FIRST, SHOWN_LAST = 8, 24
"""Entries of a long call that are shown: how it began, and what led to the mismatch."""


def mismatch_lines(name: str, outcome: Outcome, reader: Reader, advice: Iterable[str] = ()) -> Iterator[str]:
    """Yield the lines of a mismatch: heading, timeline, verdict, notes and `advice`."""
    mismatch = outcome.mismatch
    assert mismatch is not None
    yield heading(name, outcome)
    yield from shortened([_as_text(line) for line in _played(outcome, mismatch, reader)])
    yield mismatch.sentence
    yield from map(escaped, outcome.notes)
    yield from advice


def _played(outcome: Outcome, mismatch: Mismatch, reader: Reader) -> Iterator[tuple[bool, Line]]:
    """Yield the lines of what took place, up to the mismatch, which is marked, and of what was not reached."""
    expected = _expected(outcome, mismatch, reader)
    is_last = mismatch.actual is not None
    left = mismatch.entries + is_last
    if outcome.session is not None and left:
        shown = replace(outcome.session, entries=outcome.session.entries[:left])
        for line in timeline(shown, reader, DEFAULT_LIMIT):
            if line.side is None:
                continue  # that it has no end of its own, which the sentence below says
            is_entry = not line.what.startswith("GOAWAY ")
            left -= is_entry
            if is_entry and is_last and not left:
                is_same = expected == (f"expected {line.what}", *line.details)
                yield True, replace(line, details=(*line.details, *(("too early",) if is_same else expected)))
            else:
                yield False, line
    if not is_last:
        ended = outcome.session.ended if outcome.session is not None else None
        yield True, Line("–  ", mismatch.side, _NOTHING.get(ended, "nothing came"), expected)
    for unreached in outcome.unreached:
        why = f": waited for {unreached.waited_for}" if unreached.waited_for else ""
        yield False, Line("–  ", unreached.side, unreached.name, (f"not reached{why}",))


def _expected(outcome: Outcome, mismatch: Mismatch, reader: Reader) -> tuple[str, ...]:
    if mismatch.expected is None:
        return ("expected nothing more",) if mismatch.actual is not None and outcome.number else ()
    what, details = event_line(outcome.method, mismatch.expected, mismatch.messages, reader, header=mismatch.header)
    return (f"expected {what}", *details)


def _as_text(marked: tuple[bool, Line]) -> str:
    is_mismatch, line = marked
    text = str(line)
    stamp = line.stamp.lstrip()
    return f"{'! ' + stamp:>16}{text[16:]}" if is_mismatch else text


def shortened(lines: list[str]) -> Iterator[str]:
    """Yield the first and the last lines of a timeline that would be longer than a screen."""
    left_out = len(lines) - SHOWN_FIRST - SHOWN_LAST
    if left_out <= 1:
        yield from lines
        return
    yield from lines[:SHOWN_FIRST]
    yield f"{'…':>13}    {left_out} entries more"
    yield from lines[-SHOWN_LAST:]


_NOTHING: dict[Ended | None, str] = {Ended.CONNECTION_LOST: "connection lost", Ended.DAMAGED: "protocol broken"}
