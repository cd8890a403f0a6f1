"""A call of a mock, for people: its timeline, and why it failed.

moody   call 2   /chat.ChatService/Chat   127.0.0.1:41234 > 127.0.0.1:50051
        0.000 ms  >  ClientHeader
        0.412 ms  <  ServerTrailer FAILED_PRECONDITION  'The client sent no message within 5 s.'
The client sent no message within 5 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from duplexmock.core.outcome import Outcome
from duplexmock.core.session import Session
from duplexmock.core.status import code_name
from duplexmock.report.escaping import escaped
from duplexmock.report.outcomes import mismatch_lines, shortened
from duplexmock.report.timeline import timeline
from duplexmock.schema.reader import Reader


def heading(name: str, session: Session) -> str:
    """Return the line above a call's timeline; `name` is what its script is called: its method, or a handler's name."""
    peers = f"{session.connection.client} > {session.connection.server}"
    words = ("" if name == session.method else name or "no script", f"call {session.number}", session.method, peers)
    return "   ".join(map(escaped, filter(None, words)))


def failed_lines(name: str, outcome: Outcome, reader: Reader) -> Iterator[str]:
    """Yield the lines of a call that did not agree with its script: heading, timeline, verdict and notes."""
    mismatch, session = outcome.mismatch, outcome.session
    assert mismatch is not None
    assert session is not None
    yield heading(name, session)
    if mismatch.expected is not None or mismatch.actual is not None:
        # What else could have come is in the sentence: a script has no one event that was expected.
        yield from list(mismatch_lines(name, replace(outcome, number=0), reader))[1:]
        return
    # A handler's own verdict is on no event: it stands below all that took place.
    yield from shortened([str(line) for line in timeline(session, reader)])
    yield mismatch.sentence
    yield from map(escaped, outcome.notes)


def ending(session: Session) -> str:
    """Say in a word or two how a call ended: its status, or else what ended it."""
    for entry in session.entries:
        status = getattr(entry.event, "status", None)
        if status is not None:
            return code_name(status.code)
    return session.ended.value
