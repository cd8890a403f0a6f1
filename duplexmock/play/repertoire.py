"""The repertoire of a play: the sessions of its fixtures as Parts, read as they are needed.

A fixture may hold a hundred thousand sessions, and a call needs one. So parts come from a pass over the file, in the
order in which the calls were opened, and what was not asked for yet is kept. What a session's pushes waited for on
other calls (across.py), and which others its connection had when it was lost, is known once all sessions that overlap
it were read.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

from duplexmock.core.events import ClientHeader, Event, Side
from duplexmock.core.lanes import Lanes
from duplexmock.core.matching import Matcher
from duplexmock.core.session import Ended, Session
from duplexmock.core.terms import Across, Ordered, Terms
from duplexmock.core.value import value
from duplexmock.play.across import Heard, edges


class CallReading(NamedTuple):
    """How the messages of one call are compared and bound.

    `match` sees the peer's events in their order. `bind` puts values that arrived into an event of ours; None where
    nothing is bound. `sees_all` tells whether `match` has to see messages that are equal byte for byte as well. `taken`
    is to be called when a call is taken for that session, and `let_go` when it is another one after all: other calls
    learn what came on this one only in between.
    """

    match: Matcher
    bind: Callable[[Event], Event] | None = None
    sees_all: bool = False
    taken: Callable[[], None] = lambda: None
    let_go: Callable[[], None] = lambda: None


class Reading(Protocol):
    """Compares and binds what is heard and said on calls of one source."""

    def of_call(self, lanes: Lanes, side: Side) -> CallReading:
        """Return what one call that plays `side` is read by."""

    def offered(self, lanes: Lanes, header: ClientHeader) -> Lanes:
        """Return the lanes as a server may play them to this client: in no encoding that it does not accept."""


@value
class Source:
    """Where sessions come from: what to call it, a pass over them in opening order, and how they are played.

    `lanes` turns a session into what is played (with values filled in), and `terms` says on which terms.
    `ordered` tells whether these demand more of the peer than its lane. `methods` are those of the sessions, by
    number and in opening order, where that is known without reading them.
    """

    name: str
    sessions: Callable[[], Iterator[Session]]
    lanes: Callable[[Session], Lanes]
    terms: Callable[[Lanes], Terms]
    reading: Reading
    ordered: Ordered = Ordered.NOT_ASKED
    methods: Mapping[int, str] | None = None


class Part:
    """One session to be played, once. `turn` counts the passes; `prepared` is its own lane, ready to be sent.

    `key` tells it from all others: source, turn, number. `fellows` are when the sessions of its connection were opened,
    and their numbers, in opening order: at least all that were before the connection was lost.
    """

    __slots__ = ("connection", "edges", "fellows", "is_held", "key", "lanes", "prepared", "source", "terms", "turn")

    def __init__(
        self,
        source: Source,
        turn: int,
        lanes: Lanes,
        terms: Terms,
        edges: tuple[Across, ...],
        connection: int,
        fellows: Sequence[tuple[int, int]] = (),
        prepared: Sequence[Any] | None = None,
    ) -> None:
        self.source = source
        self.turn = turn
        self.lanes = lanes
        self.terms = terms
        self.edges = edges
        self.connection = connection
        self.fellows = fellows
        self.prepared = prepared
        self.is_held = False
        self.key = source.name, turn, lanes.number

    def again(self, turn: int) -> Part:
        """Return the part of another pass."""
        return Part(self.source, turn, self.lanes, self.terms, self.edges, self.connection, self.fellows, self.prepared)


class Unplayed(NamedTuple):
    """A session that no call took: the name of its source, its number and its method."""

    source: str
    number: int
    method: str


class Repertoire:
    """Parts of all sources, in their order, `repeat` times over."""

    def __init__(self, sources: Sequence[Source], side: Side, repeat: int = 1) -> None:
        self._parts = _all_parts(sources, side, repeat)
        self._waiting: dict[tuple[str, int, int], Part] = {}
        self._following: Part | None = None
        self._sources = sources
        self._repeat = repeat
        self._taken_in = 0
        self._is_listed = all(source.methods is not None for source in sources)
        self._left = Counter(method for source in sources for method in (source.methods or {}).values())
        self._methods = frozenset(self._left)
        for method in self._methods:
            self._left[method] *= repeat

    def may_have(self, method: str) -> bool:
        """Tell, without reading on, whether there may be sessions of this method, played or not."""
        return not self._is_listed or method in self._methods

    def __iter__(self) -> Iterator[Part]:
        """Yield the parts that are not played yet; more are read as the iteration goes on."""
        yield from list(self._waiting.values())
        while (part := self._take_in()) is not None:
            yield part

    def of(self, method: str) -> Iterator[Part]:
        """Yield the parts of a method that are not played yet; more are read as long as there may be one."""
        yield from [part for part in self._waiting.values() if part.lanes.method == method]
        while not self._is_listed or self._left[method]:
            part = self._take_in()
            if part is None:
                return
            if part.lanes.method == method:
                yield part

    def unplayed(self) -> Iterator[Unplayed]:
        """Yield what no call holds or has played, reading no more of the sources whose methods are known."""
        for part in self._waiting.values() if self._is_listed else self:
            if not part.is_held:
                yield Unplayed(part.source.name, part.lanes.number, part.lanes.method)
        if self._is_listed:
            yield from islice(self._listed(), self._taken_in, None)

    def _listed(self) -> Iterator[Unplayed]:
        """Yield what there is in all, as `_all_parts` reads it."""
        for _ in range(self._repeat):
            for source in self._sources:
                yield from (Unplayed(source.name, *line) for line in (source.methods or {}).items())

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

    def _take_in(self) -> Part | None:
        part = self._next()
        if part is not None:
            self._waiting[part.key] = part
            self._taken_in += 1
            self._left[part.lanes.method] -= 1
        return part

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
    heard = Heard(side.other)
    fellows: dict[int, list[tuple[int, int]]] = {}
    for session in source.sessions():
        begin_ns = session.entries[0].at_ns
        while waiting and _end_ns(waiting[0]) < begin_ns:
            yield _part(source, waiting.popleft(), heard, fellows)
        heard.forget_before(waiting[0].entries[0].at_ns if waiting else begin_ns)
        waiting.append(session)
        heard.add(session)
        fellows.setdefault(session.connection.number, []).append((begin_ns, session.number))
    while waiting:
        yield _part(source, waiting.popleft(), heard, fellows)


def _part(source: Source, session: Session, heard: Heard, fellows: Mapping[int, list[tuple[int, int]]]) -> Part:
    lanes, connection = source.lanes(session), session.connection.number
    return Part(source, 0, lanes, source.terms(lanes), edges(session, heard), connection, fellows[connection])


def _end_ns(session: Session) -> int:
    """Return when the session ended; one that was lost with its connection, when that was lost."""
    closed = session.connection.closed
    last_ns = session.entries[-1].at_ns
    return max(last_ns, closed.at_ns) if closed and session.ended is Ended.CONNECTION_LOST else last_ns
