"""A Walk through a script: what has happened on one call, as the places where the script may be then.

There is mostly one place: a node of the Language, and the answers that are owed there. There are more where what came
fits several steps; what comes next tells which of them it was. Where it was we who said it, we know which one we meant:
we go on there alone, and hear what fits any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from duplexmock.core.call import LaneState
from duplexmock.core.events import ClientMessage, Event, ServerMessage, ServerTrailer, Side
from duplexmock.core.given import Message
from duplexmock.core.language import Language
from duplexmock.core.metadata import GRPC_ANSWER, Metadata
from duplexmock.core.node import Move, Node
from duplexmock.core.steps import Step

Owed = tuple[tuple[Step, Sequence[Message], int], ...]
"""The answers that a client's message asked for, by its step, and how many of them have been said."""

Place = tuple[Node, Owed]


class Walk:
    """Goes through a script, from behind the client's header."""

    __slots__ = ("_language", "_meant", "places")

    def __init__(self, language: Language) -> None:
        self._language = language
        self.places: tuple[Place, ...] = ((language.start, ()),)
        self._meant = 1  # so many of the places, from the first on, are those where we may be, as far as we know

    def says(self, side: Side) -> tuple[Place, Sequence[Move]]:
        """Return the first place where a side has something to say, and what; the first place where it has nothing."""
        places = self.places
        moves = places[0][0].says(side)
        if not moves and self._meant > 1:
            for place in places[: self._meant]:
                if moves := place[0].says(side):
                    return place, moves
        return places[0], moves

    @property
    def node(self) -> Node:
        """Return where it is, by the first of the ways in which that can be told."""
        return self.places[0][0]

    @property
    def is_answered(self) -> bool:
        """Tell whether the server has said its header."""
        return self.places[0][0].server is not _IDLE

    @property
    def is_over(self) -> bool:
        """Tell whether the call has ended."""
        return self.places[0][0].is_over

    def take(self, kind: int, what: Any) -> Sequence[Move]:
        """Take an event: a message's payload, or another event; return the moves that it was, none if it may not come.

        Raises what a function of the script raises.
        """
        places = self.places
        if len(places) == 1:
            (node, owed) = places[0]
            moves = node.hears.get(kind, ())
            if len(moves) == 1:
                left = self._left(moves[0], owed, what)
                if left is None:
                    return ()
                self.places = (left,)
                return moves
        meant = 0
        taken: list[Move] = []
        found: dict[Place, None] = {}
        for position, (node, owed) in enumerate(places):
            for move in node.hears.get(kind, ()):
                left = self._left(move, owed, what)
                if left is not None:
                    found[left] = None
                    taken.append(move)
            if position < self._meant:
                meant = len(found)
        if found:
            self.places = tuple(found)[:_KEPT]
            self._meant = min(meant, _KEPT) or len(self.places)
        return taken

    def event(self, place: Place, move: Move) -> Event:
        """Return what is said for a move of a place."""
        node, owed = place
        step = move.step
        if step.owes is not None:
            _, answers, said = _of(step.owes, owed)
            return ServerMessage(self._language.codec.write(Side.SERVER, answers[said]))
        event = step.event
        assert event is not None, f"{step} has no example"
        if isinstance(event, ServerTrailer) and node.server is _IDLE:
            return ServerTrailer(event.status, Metadata((*GRPC_ANSWER.pairs, *event.metadata.pairs)))
        return event

    def say(self, place: Place, move: Move, event: Event) -> None:
        """Take what we have said for a move of a place, and all else that it may have been."""
        what = event.payload if isinstance(event, ClientMessage | ServerMessage) else event
        node, owed = place
        left = self._left(move, owed, what)
        assert left is not None, f"{move.step} does not fit its own example"
        if len(self.places) == 1 and len(node.hears[move.step.kind]) == 1:
            self.places = (left,)
            return
        meant: dict[Place, None] = {left: None}
        others: dict[Place, None] = {}
        for position, each in enumerate(self.places):
            fitting = (self._left(other, each[1], what) for other in each[0].hears.get(move.step.kind, ()))
            for number, may_be in enumerate(filter(None, fitting)):
                is_meant = position < self._meant and each is not place and not number
                (meant if is_meant else others)[may_be] = None
        self.places = (*meant, *(each for each in others if each not in meant))[:_KEPT]
        self._meant = min(len(meant), _KEPT)

    def moves(self) -> Iterator[Move]:
        """Yield all that may come next, each once."""
        yield from dict.fromkeys(move for node, _ in self.places for move in node.moves)

    def answer_to(self, step: Step) -> Message | None:
        """Return the message that a step owes, at the first place that owes it; None for a step that owes none."""
        for _, owed in self.places:
            for asked, answers, said in owed:
                if asked is step.owes:
                    return answers[said]
        return None

    def _left(self, move: Move, owed: Owed, what: Any) -> Place | None:
        """Return where a move leads to with this event, None where it does not fit."""
        step = move.step
        if step.owes is not None:
            entry = _of(step.owes, owed)
            asked, answers, said = entry
            message = answers[said]
            if message is not what:
                fits = self._language.codec.fits(Side.SERVER, message)
                if fits is not None and not fits(what):
                    return None
            if said + 1 == len(answers):
                return move.last, owed[1:] if owed[0] is entry else tuple(each for each in owed if each is not entry)
            return move.rest, tuple((asked, answers, said + 1) if each is entry else each for each in owed)
        if step.fits is not None and not step.fits(what):
            return None
        if step.answers is None:
            return move.rest, owed
        answers = step.answers(what)
        return (move.rest, (*owed, (step, answers, 0))) if answers else (move.last, owed)


def _of(step: Step, owed: Owed) -> tuple[Step, Sequence[Message], int]:
    return next(entry for entry in owed if entry[0] is step)


_IDLE = LaneState.IDLE

_KEPT = 64
"""Places that are kept: more of them are a script that fits everything, and each costs its look at what comes."""
