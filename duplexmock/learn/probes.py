"""Probes: a fixture's sessions played again with our side held back, once more for each probe.

core/probe.py is the experiment on one call, core/learned.py what it shows; here it is decided how long and in which
turn events are held. Holds differ from probe to probe, so that what comes by a clock does not look like a reaction.
Where calls overlap, one of them may be what another's event waited for: in one probe the calls go on in the order of
the recording, in one those that were opened first go first, and in one those that were opened last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from duplexmock.core.events import Side, side_of
from duplexmock.core.probe import Probe, Turns
from duplexmock.core.session import Session
from duplexmock.net.stage import Stage
from duplexmock.play.seat import MakeSeat

MIN_HOLD_S = 0.1
"""A busy machine takes a process away for tens of milliseconds: what reacts at once may come that late."""

MAX_HOLD_S = 2.0
"""The longest hold that is chosen unasked: a call of twenty events takes a minute of it."""

Run = Callable[[Stage], Awaitable[Exception | None]]
"""Lets the peer and a stage play together, to the end; returns what the peer's own code has raised."""


class MakeStage(Protocol):
    """Opens a fixture for one probe."""

    def __call__(self, *, seat: MakeSeat) -> Stage:
        """Return the stage; its calls are played by what `seat` makes."""


class Held(NamedTuple):
    """What one probe led to: how long it held, and what took place, by the number of the recorded session.

    `said_ns` is when anything was said to the peer, on any call. `strangers` are the methods of calls for which the
    fixture has no session. `raised` is what the peer's own code has raised.
    """

    hold_ns: int
    sessions: dict[int, Session]
    said_ns: list[int]
    strangers: tuple[str, ...]
    raised: Exception | None


def hold_ns_for(recorded: Sequence[Session], side: Side) -> int:
    """Choose how long to hold: twice the slowest event of `side` behind whatever came before it."""
    slowest_ns = max((gap_ns for session in recorded for gap_ns in _gaps_ns(session, side)), default=0)
    hold_ns = -(-2 * slowest_ns // _ROUND_NS) * _ROUND_NS
    return min(max(hold_ns, round(MIN_HOLD_S * 1e9)), round(MAX_HOLD_S * 1e9))


def probes_for(recorded: Sequence[Session]) -> int:
    """Choose how many probes to make: one for each turn that calls can take, and one that confirms it."""
    return 3 if len(set(_groups(recorded).values())) < len(recorded) else 2


def stretch(turn: int) -> float:
    """Return by how much a probe holds longer than the first."""
    return _STRETCH[turn % len(_STRETCH)]


async def probe(
    make_stage: MakeStage,
    recorded: Sequence[Session],
    side: Side,
    hold_ns: int,
    turn: int,
    takes_turns: bool,
    run: Run,
) -> Held:
    """Make one probe, number `turn` from 0, of what `side` needs, on a stage of the other side.

    Where calls overlap they go on as recorded, or, if it `takes_turns`, one before the other.
    """
    hold_ns = round(hold_ns * stretch(turn))
    events = sum(len(session.lane(side.other)) for session in recorded)
    turns = Turns(hold_ns, _rank(recorded, turn if takes_turns else 0), events)
    sessions: dict[int, Session] = {}
    strangers: list[str] = []
    with make_stage(seat=partial(Probe, turns)) as stage:
        raised = await run(stage)
        for _, outcome in stage.play.outcomes:
            if outcome.session is not None and outcome.number:
                sessions[outcome.number] = outcome.session
            elif not outcome.number:
                strangers.append(outcome.method)
    entries = (entry for session in sessions.values() for entry in session.entries)
    said_ns = sorted(entry.at_ns for entry in entries if side_of(entry.event) is not side)
    return Held(hold_ns, sessions, said_ns, tuple(strangers), raised)


def _gaps_ns(session: Session, side: Side) -> Iterator[int]:
    before_ns = session.entries[0].at_ns
    for entry in session.entries:
        if side_of(entry.event) is side:
            yield entry.at_ns - before_ns
        before_ns = entry.at_ns


def _rank(recorded: Sequence[Session], turn: int) -> Callable[[int, int, int], tuple[int, ...]]:
    """Return what puts the next events of open calls in their turn; calls that did not overlap never mix."""
    groups = _groups(recorded)
    sign = (0, 1, -1)[turn % 3]

    def rank(number: int, position: int, at_ns: int) -> tuple[int, ...]:
        # All are opened first: who is not there cannot be what another's event waits for.
        return groups[number], position > 0, sign * number, at_ns

    return rank


def _groups(recorded: Sequence[Session]) -> dict[int, int]:
    """Give calls that overlapped, directly or by way of others, the same number."""
    groups: dict[int, int] = {}
    group, until_ns = 0, -1
    for session in sorted(recorded, key=lambda session: session.entries[0].at_ns):
        if session.entries[0].at_ns > until_ns:
            group += 1
        until_ns = max(until_ns, session.entries[-1].at_ns)
        groups[session.number] = group
    return groups


_ROUND_NS = 10_000_000  # people read it

_STRETCH = (1.0, 2.2, 4.8)
"""Each more than twice the one before, by which core/learned.py tells a reaction from a clock.

More than twice, because what the peer takes to react makes the turns of a short probe longer.
"""
