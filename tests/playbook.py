"""Playbooks: a script of arrows against a Player, in virtual time.

    outcome = (
        Playbook(lanes, Side.SERVER)
        >> HEADER
        << ANSWER
        >> (ask("a"), ask("b"))
        << reply("a")
        >> After(5)
        << (reply("b"), OK)
    ).done()

`>>` is what the client says and `<<` what the server says: what the player's peer says is given to it, what its own
side says is awaited of it, the moment the clock shows. A tuple from the peer is one read. Beside events there are a
`Loss` or a `Parting`, `Lost`, `Broken`, `After` and `Reached`, behind either arrow. Nothing happens before `done`,
`waits` or `failed`; a failure is a diff of arrows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import ndiff
from typing import Any

from duplexmock.core.connection import Closed, Closing, Connection, GoAway
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Event,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
    side_of,
)
from duplexmock.core.lanes import Lanes, Loss, Parting
from duplexmock.core.matching import Difference, match_events
from duplexmock.core.metadata import Metadata
from duplexmock.core.moves import Do, Done, Send, Wait
from duplexmock.core.order import Order
from duplexmock.core.outcome import Outcome
from duplexmock.core.player import Player
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.core.terms import Across, Terms

# What is said

METHOD = "/chat.ChatService/Chat"
HEADER = ClientHeader(METHOD)
ANSWER = ServerHeader()
HALF_CLOSE = ClientHalfClose()
CANCEL = Cancel(ErrorCode.CANCEL)
OK = ServerTrailer(Status(Code.OK))
CONNECTION = Connection(1, "127.0.0.1:1", "127.0.0.1:2", 0)
MS = 1_000_000


def header(*pairs: tuple[str, str | bytes], method: str = METHOD) -> ClientHeader:
    return ClientHeader(method, Metadata(pairs))


def ask(text: str, flags: int = 0) -> ClientMessage:
    return ClientMessage(text.encode(), flags)


def reply(text: str, flags: int = 0) -> ServerMessage:
    return ServerMessage(text.encode(), flags)


def fails(code: Code, message: str = "") -> ServerTrailer:
    return ServerTrailer(Status(code, message))


# What was recorded


def recorded(
    *timed: tuple[float, Event],
    number: int = 1,
    goaways: Sequence[GoAway] = (),
    closed: Closed | None = None,
    ended: Ended | None = None,
    reason: str = "",
    connection: int = 1,
) -> Session:
    """Return the session of these events at these times in ms; `ended` says how where none of them is an ending."""
    entries = tuple(Entry(round(ms * MS), event) for ms, event in timed)
    if ended is None:
        endings = [_ENDINGS[type(entry.event)] for entry in entries if type(entry.event) in _ENDINGS]
        ended = endings[0] if endings else Ended.CONNECTION_LOST if closed is not None else Ended.INCOMPLETE
    on = replace(CONNECTION, number=connection, goaways=tuple(goaways), closed=closed)
    return Session(number, on, 1, entries, ended, reason)


def lanes(*events: Event, **more: Any) -> Lanes:
    """Return the lanes of these events, seen in this order, a ms each."""
    return Lanes.of(recorded(*enumerate(events), **more))


def lost_by(side: Side, ms: float, how: Closing = Closing.CLOSED) -> Closed:
    return Closed(round(ms * MS), how, side)


def goaway(ms: float, code: int = 0, debug: bytes = b"") -> GoAway:
    return GoAway(round(ms * MS), Side.SERVER, 1, code, debug)


def terms(
    lanes: Lanes,
    side: Side,
    expect: str = "lanes",
    speed: float = math.inf,
    timeout_s: float = 10,
    word: str = "",
    is_timeout_strict: bool = False,
) -> Terms:
    own = Order.word(word) if word else lanes.seen
    free = Order((0,) * len(lanes.client), (1,) * len(lanes.server))
    demanded = lanes.seen if expect == "strict" else free
    return Terms(
        own.client if side is Side.CLIENT else own.server,
        demanded.server if side is Side.CLIENT else demanded.client,
        speed,
        round(timeout_s * 1e9),
        is_timeout_strict,
    )


def row_of(event: Event) -> Row:
    match event:
        case ClientMessage(payload, flags) | ServerMessage(payload, flags):
            return _KINDS[type(event)], 1, flags, payload
        case ClientHeader():
            return _KINDS[type(event)], 1, event, 1, 1
        case _:
            return _KINDS[type(event)], 1, event


def by_bytes(expected: Event, actual: Event) -> Iterator[Difference]:
    """Match events, messages by their bytes."""
    yield from match_events(expected, actual, match_messages=_payloads)


def _payloads(expected: Event, actual: Event) -> Iterator[Difference]:
    if expected != actual:
        yield Difference("message", expected.payload, actual.payload)  # type: ignore[union-attr]


# What else happens


@dataclass(frozen=True, slots=True)
class After:
    """So many ms pass; what the player does earlier is as wrong as what it does later."""

    ms: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The peer's connection is gone."""

    reason: str = "closed"


@dataclass(frozen=True, slots=True)
class Broken:
    """The peer says what is not gRPC's."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reached:
    """What this edge waits for has happened on its call."""

    edge: Across


class Playbook:
    """Arrows for a Player of `side`."""

    def __init__(
        self, lanes: Lanes, side: Side, *, edges: Sequence[Across] = (), match: Any = by_bytes, **more: Any
    ) -> None:
        given = {name: more.pop(name) for name in ("sees_all", "bind", "joined", "start_ns") if name in more}
        self._side = side
        self._steps: list[tuple[Side, Any]] = []
        self._now_ns = 0
        self._happened: list[str] = []
        self._reached: dict[Across, int] = {}
        self.player = Player(
            lanes, side, terms(lanes, side, **more), match, edges=edges, reached=self._reached.get, **given
        )

    @classmethod
    def of(cls, player: Any) -> Playbook:
        """Return arrows for what plays one side in a Player's way."""
        book = cls.__new__(cls)
        book.player, book._side = player, player.side
        book._steps, book._now_ns, book._happened, book._reached = [], 0, [], {}
        return book

    def __rshift__(self, what: Any) -> Playbook:
        self._steps.append((Side.CLIENT, what))
        return self

    def __lshift__(self, what: Any) -> Playbook:
        self._steps.append((Side.SERVER, what))
        return self

    def done(self) -> Outcome:
        """Play; nothing is left to do then. Return the outcome, which agrees."""
        outcome = self._outcome()
        assert outcome.mismatch is None, outcome.mismatch.sentence
        return outcome

    def failed(self) -> Outcome:
        """Play; nothing is left to do then. Return the outcome, which is a mismatch."""
        outcome = self._outcome()
        assert outcome.mismatch is not None
        return outcome

    def mismatch(self) -> Outcome:
        """As `failed`, without the arrow that ends the call."""
        outcome = self._outcome(without_ending=True)
        assert outcome.mismatch is not None
        return outcome

    def waits(self) -> Player:
        """Play; the player waits then. Return it."""
        ends = self._play()
        assert isinstance(ends, Wait), f"{ends}, not a Wait"
        return self.player

    def _outcome(self, without_ending: bool = False) -> Outcome:
        ends = self._play(without_ending)
        assert ends == Done(), f"{ends}, not Done"
        return self.player.outcome(CONNECTION, 1)

    def _play(self, without_ending: bool = False) -> Wait | Done:
        awaited: list[str] = []
        ends = self._drain()
        for side, what in self._steps:
            match what:
                case After(ms):
                    ends = self._pass(round(ms * MS))
                case Reached(edge):
                    self._reached[edge] = self._now_ns
                    ends = self._drain()
                case Lost(reason):
                    self.player.lost(reason, self._now_ns)
                    ends = self._drain()
                case Broken(reason):
                    self.player.received([(RowKind.DAMAGED, 1, reason)], self._now_ns)
                    ends = self._drain()
                case _ if side is self._side:
                    for each in what if isinstance(what, tuple) else (what,):
                        awaited.append(self._arrow(each))
                    place = len(awaited) - 1
                    if self._happened[place : place + 1] != awaited[-1:]:
                        break
                case _:
                    events = what if isinstance(what, tuple) else (what,)
                    for event in events:
                        assert side_of(event) is side, f"{event} behind the arrow {side.value}"
                        awaited.append(self._arrow(event))
                        self._happened.append(self._arrow(event))
                    self.player.received([row_of(event) for event in events], self._now_ns)
                    ends = self._drain()
        happened = self._happened[: len(awaited)] if without_ending and self.player.mismatch else self._happened
        assert happened == awaited, "\n".join(("the arrows differ", *ndiff(awaited, self._happened)))
        return ends

    def _pass(self, ns: int) -> Wait | Done:
        until_ns = self._now_ns + ns
        while isinstance(ends := self._drain(), Wait) and ends.until_ns < until_ns:
            self._now_ns = ends.until_ns
            self.player.received((), self._now_ns)
        self._now_ns = until_ns
        return self._drain()

    def _drain(self) -> Wait | Done:
        while True:
            match self.player.next(self._now_ns):
                case Send(steps):
                    self._happened += [self._arrow(step.event) for step in steps]
                case Do(what):
                    self._happened.append(self._arrow(what))
                case (Wait() | Done()) as ends:
                    if isinstance(ends, Wait):
                        assert ends.until_ns > self._now_ns, "a Wait for what is past"
                    return ends

    def _arrow(self, what: Any) -> str:
        side = self._side if isinstance(what, Loss | Parting) else side_of(what)
        return f"{self._now_ns / MS:10.3f} ms  {side.value}  {what}"


_KINDS = {
    ClientHeader: RowKind.CLIENT_HEADER,
    ClientMessage: RowKind.CLIENT_MESSAGE,
    ClientHalfClose: RowKind.CLIENT_HALF_CLOSE,
    Cancel: RowKind.CANCEL,
    ServerHeader: RowKind.SERVER_HEADER,
    ServerMessage: RowKind.SERVER_MESSAGE,
    ServerTrailer: RowKind.SERVER_TRAILER,
    Reset: RowKind.RESET,
}
_ENDINGS = {ServerTrailer: Ended.TRAILER, Reset: Ended.RESET, Cancel: Ended.CANCELLED}
