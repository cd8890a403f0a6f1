"""What was learned of a call, for people and as JSON:

chat.duplex   session 1   /chat.ChatService/Chat   what the server needs
    ServerHeader       ClientMessage #1   held in 2 of 2 probes
    ServerMessage #1   ClientMessage #1   structural
    ServerMessage #2   ClientMessage #1   refuted by probe
    ServerTrailer      ClientHalfClose    unknown: it came later than the probes held, by a clock or slowly
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from duplexmock.core.events import Side, side_of
from duplexmock.core.learned import Ground, Need, Needs
from duplexmock.core.session import Session
from duplexmock.core.verdict import labels
from duplexmock.report.escaping import escaped

NOTHING = "nothing"
"""What an event needs that nothing of the other lane has to come before."""


def needs_lines(name: str, session: Session, needs: Needs) -> Iterator[str]:
    """Yield the lines; `name` is what the fixture is called."""
    side = needs.side.name.lower()
    yield "   ".join((escaped(name), f"session {session.number}", escaped(session.method), f"what the {side} needs"))
    own, others = labels(session.lane(needs.side)), labels(session.lane(needs.side.other))
    left = max(map(len, own), default=0)
    right = max((len(_needed(need, others)) for need in needs.lane), default=0)
    for event, need in zip(own, needs.lane, strict=True):
        yield f"    {event:<{left}}   {_needed(need, others):<{right}}   {escaped(str(need))}"


def marks(session: Session, learned: Mapping[Side, Needs]) -> dict[int, str]:
    """Return what a timeline says of the entries whose edges are known, or are known to be unknown."""
    found: dict[int, str] = {}
    count = {Side.CLIENT: 0, Side.SERVER: 0}
    others_of = {side: labels(session.lane(side.other)) for side in learned}
    for position, entry in enumerate(session.entries):
        side = side_of(entry.event)
        place, needs = count[side], learned.get(side)
        count[side] += 1
        if needs is None:
            continue
        need, others = needs.lane[place], others_of[side]
        if need.ground is Ground.HELD:
            found[position] = f"needs {others[need.count - 1]} ({need})"
        elif need.ground is Ground.UNKNOWN:
            found[position] = f"what it needs is {escaped(str(need))}"
    return found


def needs_line(session: Session, needs: Needs) -> str:
    """Return the JSON line of one lane; `count` counts events of the other lane."""
    own, others = labels(session.lane(needs.side)), labels(session.lane(needs.side.other))
    events = [
        {
            "event": event,
            "needs": others[need.count - 1] if need.count else None,
            "count": need.count,
            "ground": need.ground.value,
            "probes": need.probes,
            "reason": need.reason,
        }
        for event, need in zip(own, needs.lane, strict=True)
    ]
    told = {"learned": session.number, "method": session.method, "side": needs.side.name.lower(), "needs": events}
    return json.dumps(told) + "\n"


def _needed(need: Need, others: list[str]) -> str:
    return others[need.count - 1] if need.count else NOTHING
