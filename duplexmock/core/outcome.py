"""The Outcome of a play: the session that took place, how far it got, and the first thing that was not as expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from duplexmock.core.events import Event, Side
from duplexmock.core.matching import Difference
from duplexmock.core.session import Session
from duplexmock.core.value import value


@value
class Mismatch:
    """The first thing that was not as expected; what came afterwards is a consequence.

    `sentence` says it. `side` is the peer that did it or failed to, `position` where in its lane, from 0, `messages`
    how many it had sent before. `expected` is None where no more events were, `actual` is None where nothing came.
    `at_ns` is when, `entries` how many entries of the session come before, and `header` the expected one of its side.
    """

    sentence: str
    side: Side
    position: int
    messages: int
    at_ns: int
    expected: Event | None = None
    actual: Event | None = None
    differences: tuple[Difference, ...] = ()
    entries: int = 0
    header: Event | None = None


@value
class Unreached:
    """An event of our own lane that was not sent, by its name (`ServerMessage #2`).

    `waited_for` is what it waited for, empty where its turn had come when the call was ended.
    """

    side: Side
    name: str
    waited_for: str


class _Session:
    """The attribute that holds a session, or what makes it when it is first asked for.

    Most outcomes agree and nobody looks at their sessions, which would take longer to make than all the rest of a play
    (bench: `60 B echo on 1 stream: replayed`).
    """

    def __get__(self, outcome: Outcome | None, kind: type[Outcome] | None = None) -> Session | None:
        if outcome is None:
            raise AttributeError("session")  # so that the field has no default
        session: Session | Callable[[], Session | None] | None = vars(outcome)["session"]
        if callable(session):
            session = vars(outcome)["session"] = session()
        return session

    def __set__(self, outcome: Outcome, session: Session | Callable[[], Session | None] | None) -> None:
        vars(outcome)["session"] = session


@dataclass(frozen=True)
class Outcome:
    """What a play of one session led to.

    `number` is that of the session played, 0 where none fitted; `side` is the one that was played. `session` is what
    took place, None where not even a header came. `unreached` are our own events that were not sent, the first few.
    `notes` are sentences on what was left out or cannot be told.
    """

    number: int
    method: str
    side: Side
    session: _Session = _Session()
    mismatch: Mismatch | None = None
    unreached: tuple[Unreached, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def agreed(self) -> bool:
        """Tell whether all was as expected."""
        return self.mismatch is None
