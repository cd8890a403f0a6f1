"""The repertoire of a play: the sessions of its fixtures as Parts, read as they are needed.

A fixture may hold a hundred thousand sessions, and a call needs one. So parts come from a pass over the file, in the
order in which the calls were opened, and what was not asked for yet is kept. What a session's pushes waited for on
other calls (across.py) is known once all sessions that overlap it were read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from duplexmock.core.events import ClientHeader, Event, Side
from duplexmock.core.matching import Matcher
from duplexmock.core.player import Across, Terms
from duplexmock.core.script import Script
from duplexmock.core.session import Session
from duplexmock.play.across import Heard, edges


@dataclass(frozen=True, slots=True)
class CallReading:
    """How the messages of one call are compared and bound.

    `match` sees the peer's events in their order. `bind` puts values that arrived into an event of ours; None where
    nothing is bound. `sees_all` tells whether `match` has to see messages that are equal byte for byte as well.
    """

    match: Matcher
    bind: Callable[[Event], Event] | None = None
    sees_all: bool = False


class Reading(Protocol):
    """Compares and binds what is heard and said on calls of one source."""

    def of_call(self, script: Script, side: Side) -> CallReading:
        """Return what one call that plays `side` is read by."""

    def offered(self, script: Script, header: ClientHeader) -> Script:
        """Return the script as a server may play it to this client: in no encoding that it does not accept."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where sessions come from: what to call it, a pass over them in opening order, and how they are played.

    `script` turns a session into what is played (with values filled in), and `terms` says on which terms.
    `asserts_order` tells whether these demand more of the peer than its lane. `methods` are those of the sessions,
    where that is known without reading them.
    """

    name: str
    sessions: Callable[[], Iterator[Session]]
    script: Callable[[Session], Script]
    terms: Callable[[Script], Terms]
    reading: Reading
    asserts_order: bool = False
    methods: frozenset[str] | None = None


@dataclass(slots=True, eq=False)
class Part:
    """One session to be played, once. `turn` counts the passes; `prepared` is its own lane, ready to be sent.

    `key` tells it from all others: source, turn, number.
    """

    source: Source
    turn: int
    script: Script
    terms: Terms
    edges: tuple[Across, ...]
    connection: int
    prepared: Sequence[Any] | None = field(default=None, repr=False)
    is_held: bool = False
    key: tuple[str, int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.key = self.source.name, self.turn, self.script.number

    def again(self, turn: int) -> Part:
        """Return the part of another pass."""
        return Part(self.source, turn, self.script, self.terms, self.edges, self.connection, self.prepared)


class Repertoire:
    """Parts of all sources, in their order, `repeat` times over."""

    def __init__(self, sources: Sequence[Source], side: Side, repeat: int = 1) -> None:
        self._parts = _all_parts(sources, side, repeat)
        self._waiting: dict[tuple[str, int, int], Part] = {}
        self._following: Part | None = None
        self._methods = [source.methods for source in sources]

    def may_have(self, method: str) -> bool:
        """Tell, without reading on, whether there may be sessions of this method, played or not."""
        return any(methods is None or method in methods for methods in self._methods)

    def __iter__(self) -> Iterator[Part]:
        """Yield the parts that are not played yet; more are read as the iteration goes on."""
        yield from list(self._waiting.values())
        while (part := self._next()) is not None:
            self._waiting[part.key] = part
            yield part

    def played(self, part: Part) -> None:
        """Take a part out."""
        del self._waiting[part.key]

    def is_next(self, key: tuple[str, int, int]) -> bool:
        """Tell whether this is the first part that no call holds; none behind that one is read."""
        for part in self._waiting.values():
            if not part.is_held:
                return part.key == key
        self._following = self._next()
        return self._following is not None and self._following.key == key

    def _next(self) -> Part | None:
        following, self._following = self._following, None
        return following or next(self._parts, None)


def _all_parts(sources: Sequence[Source], side: Side, repeat: int) -> Iterator[Part]:
    kept: list[Part] = []
    for source in sources:
        for part in _parts(source, side):
            if repeat > 1:
                kept.append(part)
            yield part
    for turn in range(1, repeat):
        yield from (part.again(turn) for part in kept)


def _parts(source: Source, side: Side) -> Iterator[Part]:
    """Yield the parts of one source; a session waits until all that overlap it are known."""
    waiting: deque[Session] = deque()
    heard: list[Heard] = []
    for session in source.sessions():
        while waiting and waiting[0].entries[-1].at_ns < session.entries[0].at_ns:
            yield _part(source, side, waiting.popleft(), heard)
        heard = _still_needed(heard, waiting[0] if waiting else session)
        waiting.append(session)
        heard.append(Heard(session, side.other))
    while waiting:
        yield _part(source, side, waiting.popleft(), heard)


def _part(source: Source, side: Side, session: Session, heard: Sequence[Heard]) -> Part:
    script = source.script(session)
    return Part(source, 0, script, source.terms(script), edges(session, side, heard), session.connection.number)


def _still_needed(heard: Sequence[Heard], oldest: Session) -> list[Heard]:
    """Keep the sessions that may overlap what is to come, and of those that ended before the latest one."""
    begin_ns = oldest.entries[0].at_ns
    ended = [other for other in heard if other.last_ns < begin_ns]
    latest = max(ended, key=lambda other: other.last_ns, default=None)
    return [other for other in heard if other.last_ns >= begin_ns or other is latest]
