"""What may come next, in words: the sentences of who plays a script, or watches one being played.

Entry 7, ClientMessage #3 b'c', is not allowed here: after the client's half-close only b'bye' or status OK may come
from the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from duplexmock.core.events import (
    ClientMessage,
    Event,
    ServerMessage,
    Side,
    side_of,
)
from duplexmock.core.given import literal
from duplexmock.core.matching import Difference, named, shown
from duplexmock.core.node import Mark, Move
from duplexmock.core.rows import RowKind
from duplexmock.core.session import Ended, Session
from duplexmock.core.steps import EVENTS, Codec, event_text
from duplexmock.core.walk import Walk


def event_told(codec: Codec, event: Event, messages_before: int) -> str:
    """Name an event that came: `ClientMessage #2 b'hi'`, `the server's status OK`."""
    if isinstance(event, ClientMessage | ServerMessage):
        return f"{type(event).__name__} #{messages_before + 1} {codec.text(side_of(event), event.payload)}"
    return f"the {side_of(event).name.lower()}'s {event_text(event)}"


def behind(last: Event) -> str:
    """Say behind what it is: `after the client's half-close`."""
    return f"after the {side_of(last).name.lower()}'s {event_text(last)}"


def behind_message(kind: int, messages: int) -> str:
    """Say behind which message it is: `after ClientMessage #2`."""
    return f"after {'ClientMessage' if kind == RowKind.CLIENT_MESSAGE else 'ServerMessage'} #{messages}"


def may_come(walk: Walk, sides: Sequence[Side]) -> str:
    """Say what of these sides may come next: `only b'bye' or the half-close may come from the client`."""
    named = [(awaited(walk, side), side.name.lower()) for side in sides if awaited(walk, side)]
    if not named:
        return f"nothing may come from the {sides[0].name.lower()}" if len(sides) == 1 else "nothing may come"
    (names, who), *others = named
    return ", or ".join(
        (f"only {names} may come from the {who}", *(f"{more} from the {other}" for more, other in others))
    )


def awaited(walk: Walk, side: Side) -> str:
    """Name what a side may say next: `b'bye' or the half-close`; empty where it may say nothing."""
    return _or(_names(walk, side))


def waiting(walk: Walk, side: Side) -> str:
    """Name what a side would say next, now or behind what the other one says first; empty where it is through."""
    nodes = [node for node, _ in walk.places]
    for node in nodes:  # it grows by what the other side may say
        names = [move_told(walk, move) for move in node.moves if move.step.side is side and move.mark in _OWN]
        if names:
            return names[0]
        for move in node.moves[: _LOOKED_AT - len(nodes)]:
            nodes += [left for left in (move.rest, move.last) if left not in nodes]
    return ""


def not_allowed(what: str, after: str, allowed: str, differences: Sequence[Difference] = ()) -> str:
    """Say that something came which may not; `what` names it, and `differences` are those to the one thing awaited."""
    told = f" ({'; '.join(map(str, differences[:_TOLD]))})" if differences else ""
    return f"{what[:1].upper()}{what[1:]} is not allowed here: {after} {allowed}{told}."


def differences(walk: Walk, codec: Codec, event: Event) -> tuple[Difference, ...]:
    """Return how a message is not the one that may come, where that is one."""
    if not isinstance(event, ClientMessage | ServerMessage):
        return ()
    side = side_of(event)
    kind = RowKind.CLIENT_MESSAGE if side is Side.CLIENT else RowKind.SERVER_MESSAGE
    may_come = list(dict.fromkeys(move.step for move in walk.moves() if move.step.kind == kind))
    if len(may_come) != 1:
        return ()
    said = walk.answer_to(may_come[0]) if may_come[0].owes is not None else may_come[0].said
    return () if said is None or isinstance(said, EVENTS) else codec.differences(side, said, event.payload)


def unfinished(entries: int, session: Session, after: str, may_come: str) -> str:
    """Say that a session ends before the script does."""
    how = f" ({session.ended.value})" if session.ended in _NO_END_OF_ITS_OWN else ""
    return f"The session ends with entry {entries}{how}: {after} {may_come}."


def wrong_header(differences: Sequence[Difference]) -> str:
    """Say that the client's header is not as the script has it."""
    return f"The call's metadata is not as the script has it: {'; '.join(map(str, differences[:_TOLD]))}."


def stalled(side: Side, within: str, walk: Walk) -> str:
    """Say that nothing came from a side, and what the other one would say then."""
    names, then = awaited(walk, side), waiting(walk, side.other)
    also = f"; the {side.other.name.lower()} waits for that, to say {then}" if then else ""
    if not names:
        return f"Nothing happened for {within}, and the script says nothing that could{also}."
    return f"Nothing came from the {side.name.lower()} within {within}: {names} was to come{also}."


def lost(side: Side, reason: str, walk: Walk) -> str:
    """Say that the peer's connection went away."""
    why = f" ({named(reason)})" if reason else ""
    names = awaited(walk, side)
    left = f"{names} was to come" if names else "the script was not at its end"
    return f"The {side.name.lower()}'s connection was lost{why}: {left}."


def move_told(walk: Walk, move: Move) -> str:
    """Name what a move says."""
    if move.step.owes is not None:
        answer = walk.answer_to(move.step)
        return "its answer" if answer is None else _cut(literal(answer))
    name = move.step.name
    if move.step.kind in _MESSAGES:
        return _cut(name)
    return name if name.startswith("status") else f"the {name}"


def _names(walk: Walk, side: Side) -> list[str]:
    moves = [move for move in walk.moves() if move.step.side is side and move.mark is not Mark.HEADER]
    return list(dict.fromkeys(move_told(walk, move) for move in moves))


def _or(names: Iterable[str]) -> str:
    every = list(names)
    if len(every) > _NAMED:
        every = [*every[:_NAMED], f"{len(every) - _NAMED} others"]
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} or {every[-1]}" if every else ""


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else shown(text)


_TOLD = 3
_OWN = (Mark.WRITTEN, Mark.STATUS, Mark.EVERY)
_LOOKED_AT = 100
_NAMED = 5
"""Alternatives that are named: more of them hide the sentence around them."""
_SHOWN = 80
_MESSAGES = (RowKind.CLIENT_MESSAGE, RowKind.SERVER_MESSAGE)
_NO_END_OF_ITS_OWN = (Ended.CONNECTION_LOST, Ended.INCOMPLETE, Ended.DAMAGED)
