"""Nodes: where a call stands in a script, what may come next there, and what each side would say.

A Node is a term of the Language (what is left of the script) and where the two lanes stand. It adds what is always so
and need not be written: the server's header, a half-close once no more client messages are needed, and status OK when
all has happened.

**Whose turn is it?** Where both sides could go on, and one would take from the other what it may say, who is written
first goes first, and the other waits: until it is done, or cannot come any more because of a half-close. A wait that is
written (`after`), and longer than the other's, is not added to. A round of `every`, and a further one of a `repeat`
without a most whose end is not its own side's to say, hold nothing up.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from duplexmock.core.call import LaneState
from duplexmock.core.events import Event, Side
from duplexmock.core.rows import RowKind
from duplexmock.core.steps import Step

if TYPE_CHECKING:
    from duplexmock.core.language import Language, Term


class Mark(IntEnum):
    """What kind of move it is, in the order in which we prefer them."""

    WRITTEN = 0
    STATUS = 1
    """the OK that is not written"""
    EVERY = 2
    HALF_CLOSE = 3
    """the one that is not written"""
    AGAIN = 4
    """a further round of a repeat without a most"""
    HEADER = 5
    """the server's, not written; it goes out with what follows it"""


class Move(NamedTuple):
    """A step that may come next at a node, and the nodes it leads to, as `rest` and `last` of an Option.

    `opens` tells whether the server's header, which is not written, goes before it.
    """

    step: Step
    rest: Node
    last: Node
    delay_ns: int
    mark: Mark
    branch: tuple[int, ...] = ()
    opens: bool = False


class Circle(NamedTuple):
    """A round: the client says what `step` does, the server its answers, and what else it has `said` then."""

    step: Step
    said: tuple[Event, ...]


class Node:
    """A term, and where both lanes stand."""

    def __init__(self, language: Language, term: Term, client: LaneState, server: LaneState) -> None:
        self._language = language
        self.term = term
        self.client = client
        self.server = server

    @property
    def is_over(self) -> bool:
        """Tell whether the call has ended here."""
        return self.client is LaneState.ENDED or self.server is LaneState.ENDED

    @cached_property
    def moves(self) -> tuple[Move, ...]:
        """Return all that may come next, in the order of the script; what is not written comes last."""
        return () if self.is_over else (*self._written(), *self._implied())

    @cached_property
    def hears(self) -> dict[int, tuple[Move, ...]]:
        """Return what may come next, by the kind of its row."""
        kinds: dict[int, tuple[Move, ...]] = {}
        for move in self.moves:
            kinds[move.step.kind] = (*kinds.get(move.step.kind, ()), move)
        return kinds

    @cached_property
    def client_says(self) -> tuple[Move, ...]:
        """Return what the client would say here, the first by preference."""
        return self._says(Side.CLIENT)

    @cached_property
    def server_says(self) -> tuple[Move, ...]:
        """Return what the server would say here, the first by preference."""
        return self._says(Side.SERVER)

    @cached_property
    def circle(self) -> Circle | None:
        """Return the round that leads from here to here again, where that is all that a client's message can do."""
        moves = self.hears.get(_CLIENT_MESSAGE, ())
        if len(moves) != 1 or self.server_says:
            return None
        step, at, is_owing = moves[0].step, moves[0].rest, moves[0].step.answers is not None
        if is_owing and moves[0].last is not self:
            return None
        said: list[Event] = []
        while at is not self or is_owing:
            moves = at.server_says
            if len(moves) != 1 or len(said) == _CIRCLE or moves[0].delay_ns or moves[0].opens or moves[0].rest.is_over:
                return None
            if len(at.hears[moves[0].step.kind]) != 1 or (moves[0].step.owes is step) is not is_owing:
                return None
            if is_owing:
                is_owing, at = False, moves[0].last
            else:
                event = moves[0].step.event
                if event is None:
                    return None
                said.append(event)
                at = moves[0].rest
        return Circle(step, tuple(said))

    def waits(self, side: Side) -> bool:
        """Tell whether something that a side would say here has to wait for its time."""
        return self._client_waits if side is Side.CLIENT else self._server_waits

    @cached_property
    def _client_waits(self) -> bool:
        return any(move.delay_ns for move in self.client_says)

    @cached_property
    def _server_waits(self) -> bool:
        return any(move.delay_ns for move in self.server_says)

    def says(self, side: Side) -> tuple[Move, ...]:
        """Return what a side would say here, the first by preference."""
        return self.client_says if side is Side.CLIENT else self.server_says

    def _says(self, side: Side) -> tuple[Move, ...]:
        own = [
            move
            for place, move in enumerate(self.moves)
            if move.step.side is side
            and move.mark is not Mark.HEADER
            and not (move.mark is Mark.HALF_CLOSE and self._may_say_more)
            and not any(self._holds(other) and self._is_held(move, other) for other in self.moves[:place])
        ]
        if all(move.mark is Mark.AGAIN for move in own):
            return ()
        return tuple(sorted(own, key=lambda move: move.mark))

    @cached_property
    def _may_say_more(self) -> bool:
        """Tell whether the client waits with a half-close that is not written: it cancels, or may say more later."""
        if _CANCEL in self.term.kinds:
            return True
        return _CLIENT_MESSAGE in self.term.kinds and any(
            move.step.side is Side.SERVER
            and move.mark is Mark.WRITTEN
            and not any(self._is_held(move, other) for other in self.moves[:place])
            for place, move in enumerate(self.moves)
        )

    def _is_held(self, move: Move, other: Move) -> bool:
        """Tell whether a move and an earlier one of the other side exclude each other, and it does not wait longer."""
        return (
            other.step.side is not move.step.side
            and move.delay_ns <= other.delay_ns
            and other.mark is not Mark.HEADER
            and not (leads_to(move, other.step) and leads_to(other, move.step))
        )

    def _holds(self, move: Move) -> bool:
        """Tell whether this side's move holds up what the other side could say instead."""
        if move.mark is not Mark.AGAIN:
            return move.mark is Mark.WRITTEN
        first = next(other for other in self.moves if other.mark is Mark.AGAIN)
        return first.step.side is move.step.side and any(
            other.step.side is move.step.side
            and other.mark not in (Mark.AGAIN, Mark.EVERY, Mark.HEADER)
            and not (other.mark is Mark.HALF_CLOSE and self._may_say_more)
            and not any(each.mark is Mark.WRITTEN and self._is_held(other, each) for each in self.moves[:place])
            for place, other in enumerate(self.moves)
        )

    def _written(self) -> Iterator[Move]:
        node = self._language.node
        for option in self._language.options(self.term):
            kind, client, server = option.step.kind, self.client, self.server
            if (kind in (_CLIENT_MESSAGE, _HALF_CLOSE) and client is not LaneState.OPEN) or (
                kind == _SERVER_HEADER and server is not LaneState.IDLE
            ):
                continue
            if kind in _ENDS:
                client, server = (LaneState.ENDED, server) if kind == _CANCEL else (client, LaneState.ENDED)
            elif kind == _HALF_CLOSE:
                client = LaneState.HALF_CLOSED
            elif option.step.side is Side.SERVER:
                server = LaneState.OPEN
            rest = node(option.rest, client, server)
            last = rest if option.last is option.rest else node(option.last, client, server)
            opens = kind == _SERVER_MESSAGE and self.server is LaneState.IDLE
            yield Move(option.step, rest, last, option.delay_ns, option.mark, option.branch, opens)

    def _implied(self) -> Iterator[Move]:
        language, term, client, server = self._language, self.term, self.client, self.server
        if server is LaneState.IDLE and _SERVER_HEADER not in term.kinds:
            node = language.node(term, client, LaneState.OPEN)
            yield Move(language.header_step, node, node, 0, Mark.HEADER)
        if client is LaneState.OPEN and _HALF_CLOSE not in term.kinds:
            closed = language.closed(term)
            if closed is not language.never:
                node = language.node(closed, LaneState.HALF_CLOSED, server)
                yield Move(language.half_close_step, node, node, 0, Mark.HALF_CLOSE)
        if client is LaneState.HALF_CLOSED and term.is_done:
            node = language.node(language.nothing, client, LaneState.ENDED)
            yield Move(language.status_step, node, node, term.pause_ns, Mark.STATUS, term.pause_branch)


def leads_to(move: Move, step: Step) -> bool:
    """Tell whether a step may come next after a move."""
    return any(each.step is step for node in {move.rest, move.last} for each in node.moves)


_CLIENT_MESSAGE, _SERVER_MESSAGE = int(RowKind.CLIENT_MESSAGE), int(RowKind.SERVER_MESSAGE)
_HALF_CLOSE, _CANCEL = int(RowKind.CLIENT_HALF_CLOSE), int(RowKind.CANCEL)
_SERVER_HEADER = int(RowKind.SERVER_HEADER)
_CIRCLE = 100
"""What a server says in a round that is looked up; longer ones are walked."""

_ENDS = (_CANCEL, int(RowKind.SERVER_TRAILER), int(RowKind.RESET))
