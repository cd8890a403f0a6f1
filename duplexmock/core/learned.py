"""What one side of a call needs of the other, as far as experiments have shown.

A recording says what came before what. Whether it had to, an experiment tells: a *probe* plays the call once more,
holds the other side's events back one by one, and waits each time until nothing comes any more. An event that came
without another did not need it, and one probe is enough to know that, if the peer began it as it began the recorded
call. An event that never came without it was held by it, as far as all probes say. So a need only ever falls, from what
was seen. What is the same is told by what is said: two equal messages are one and the same to whoever hears them.

Because lanes are FIFO, what an event needs is one number, as in order.py: how many events of the other lane. It is at
least what the event before it needs, and gRPC alone has a server need the ClientHeader. Where neither explains the
number, there is an edge, and its Ground says how it is known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientMessage,
    Event,
    Reset,
    ServerMessage,
    ServerTrailer,
    Side,
    event_name,
    side_of,
)
from duplexmock.core.order import Order
from duplexmock.core.session import Session
from duplexmock.core.status import Code, code_name, error_name


class Ground(Enum):
    """How it is known what an event needs; the value is the word that a fixture has for it."""

    STRUCTURAL = "structural"
    """gRPC and the lane's own order say it, and nothing more came before it in the recording."""

    REFUTED = "refuted"
    """In a probe it came without anything more than gRPC and the lane's own order say."""

    HELD = "held"
    """In no probe did it come without the last event that it needs."""

    UNKNOWN = "unknown"
    """It cannot be told: `reason` says why."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one event needs: `count` events of the other lane.

    `probes` is how many probes the ground rests on. Where it is UNKNOWN, `count` is what was seen, and `reason` says
    why no more is known.
    """

    count: int
    ground: Ground
    probes: int = 0
    reason: str = ""

    @property
    def is_late(self) -> bool:
        """Tell whether it is unknown because the event came later than the probes held."""
        return self.ground is Ground.UNKNOWN and self.reason == _LATE

    def __str__(self) -> str:
        """Say the ground as people read it: `held in 2 of 2 probes`."""
        match self.ground:
            case Ground.STRUCTURAL:
                return "structural"
            case Ground.REFUTED:
                return "refuted by probe"
            case Ground.HELD:
                return f"held in {self.probes} of {self.probes} probes"
            case Ground.UNKNOWN:
                return f"unknown: {self.reason}"


@dataclass(frozen=True, slots=True)
class Needs:
    """What every event of one side needs in session `number`, in the lane's order."""

    number: int
    side: Side
    lane: tuple[Need, ...]

    def fits(self, events: int, others: int) -> bool:
        """Tell whether this can have been learned of a lane of so many events, and so many in the other one."""
        return len(self.lane) == events and all(
            need.count <= others and (need.count > 0 or need.ground is not Ground.HELD) for need in self.lane
        )

    @property
    def gate(self) -> tuple[int, ...]:
        """Return what each event waits for where we play this side: what it needs, or what was seen if unknown."""
        return _growing([need.count for need in self.lane])

    @property
    def demand(self) -> tuple[int, ...]:
        """Return what is demanded of a peer that plays this side: of what is unknown nothing."""
        base = _base(self.side)
        return _growing([base if need.ground is Ground.UNKNOWN else need.count for need in self.lane])

    @property
    def is_unknown(self) -> bool:
        """Tell whether there are edges, and none of them is known."""
        grounds = {need.ground for need in self.lane}
        return Ground.UNKNOWN in grounds and Ground.HELD not in grounds

    def with_known(self, before: Needs | None) -> Needs:
        """Return these needs, and of what is unknown what was known `before`, of the same lane."""
        if before is None or len(before.lane) != len(self.lane):
            return self
        lane = [old if new.ground is Ground.UNKNOWN else new for new, old in zip(self.lane, before.lane, strict=True)]
        return Needs(self.number, self.side, tuple(lane))

    def gate_ground(self, position: int) -> Need:
        """Return the need that `gate` has at this position: the event's own, or of one before it."""
        return next(need for need in self.lane if need.count == self.gate[position])

    def demand_ground(self, position: int) -> Need:
        """Return the need that `demand` has at this position; the event's own where nothing is demanded."""
        known = (need for need in self.lane[: position + 1] if need.ground is not Ground.UNKNOWN)
        return next((need for need in known if need.count == self.demand[position]), self.lane[position])


class Probed(NamedTuple):
    """What took place in a probe, and how long it held each event.

    `messages` says which of its messages is which of the recorded, both from 0. `said_ns` is when anything was said to
    the peer in this probe, on this call or on another, in its order.
    """

    session: Session
    messages: Mapping[int, int]
    hold_ns: int
    said_ns: Sequence[int]


def learn(recorded: Session, probes: Sequence[Probed], side: Side) -> Needs:
    """Say what the events of `side` need, by these probes of a recorded call.

    A probe is a session as well: what was said, what came, and when. It may have more messages than the recording, or
    fewer, or in another order, where other calls were ahead of this one.
    """
    wanted = recorded.lane(side)
    seen = Order.recorded(recorded).of(side)
    came = [_came(wanted, probed, side) for probed in probes]
    lane: list[Need] = []
    floor = _base(side)
    for position in range(len(wanted)):
        observed = [each[position] for each in came]
        counts = [each.count for each in observed if each is not None]
        count = max(min([seen[position], *counts]), floor)
        if seen[position] <= floor:
            need = Need(floor, Ground.STRUCTURAL)
        elif count == floor and counts:
            need = Need(floor, Ground.REFUTED, len(counts))
        elif len(counts) < len(probes) or not probes:
            missing = [each.session for each, at in zip(probes, observed, strict=True) if at is None]
            reason = _why(recorded, missing[0], side) if missing else "there was no probe"
            need = Need(seen[position], Ground.UNKNOWN, len(probes), reason)
        elif not _is_reaction([each for each in observed if each is not None], count):
            need = Need(seen[position], Ground.UNKNOWN, len(probes), _LATE)
        else:
            need = Need(count, Ground.HELD, len(probes))
        if need.ground is not Ground.UNKNOWN:
            floor = need.count
        lane.append(need)
    return Needs(recorded.number, side, tuple(lane))


def shape(recorded: Session, probe: Session, side: Side) -> str:
    """Say in one phrase what a side said in a probe: how many messages of those recorded, and how it ended."""
    lane = probe.lane(side)
    messages = min(_messages(lane), _messages(recorded.lane(side)))
    return f"{messages} message{'s' * (messages != 1)} and {ending_of(lane) or 'no end'}"


def gave_up(recorded: Session, probe: Session, side: Side) -> bool:
    """Tell whether a side ended a probe because it had to wait too long, and not as the recording has it."""
    lane = probe.lane(side)
    if ending_of(lane) == ending_of(recorded.lane(side)):
        return False
    match lane[-1:]:
        case (Cancel() | Reset(),):
            return True
        case (ServerTrailer(status),):
            return status is not None and status.code in _GIVEN_UP
        case _:
            return False


def ending_of(lane: Sequence[Event]) -> str:
    """Say how a lane ends: `a half-close`, `OK`; empty where it does not."""
    for event in reversed(lane):
        match event:
            case ClientHalfClose():
                return "a half-close"
            case Cancel():
                return "a cancel"
            case ServerTrailer(status):
                return code_name(status.code) if status is not None else "an end without a status"
            case Reset(code):
                return f"a reset ({error_name(code)})"
    return ""


@dataclass(frozen=True, slots=True)
class _Came:
    """When an event came in a probe: behind how many events of the other lane, and how long after anything was said."""

    count: int
    behind_ns: int
    hold_ns: int


def _came(wanted: Sequence[Event], probed: Probed, side: Side) -> list[_Came | None]:
    """Find each event of a lane in a probe."""
    others: dict[str, _Came] = {}
    messages: list[_Came] = []
    released = 0
    for entry in probed.session.entries:
        if side_of(entry.event) is not side:
            released += 1
            continue
        said = bisect_right(probed.said_ns, entry.at_ns)
        behind_ns = entry.at_ns - probed.said_ns[said - 1] if said else 0
        came = _Came(released, behind_ns, probed.hold_ns)
        if isinstance(entry.event, _MESSAGES):
            messages.append(came)
        else:
            others[_name(entry.event)] = came
    found: list[_Came | None] = []
    count = 0
    for event in wanted:
        if isinstance(event, _MESSAGES):
            place = probed.messages.get(count)
            count += 1
            found.append(None if place is None else messages[place])
        else:
            found.append(others.get(_name(event)))
    return found


def _is_reaction(observed: Sequence[_Came], count: int) -> bool:
    """Tell whether an event came as a reaction to the `count`-th event of ours.

    It is one where it came behind that event and before the next, and within the hold behind the last one that was
    said to the peer: what comes later may have come by a clock, or slowly, and then its silence before proves nothing.
    One clock can do that as well, but not in two probes of which one holds twice as long as the other: the second of
    ours is behind it in the one before the first is in the other. One that was late in a third probe has been slow
    there.
    """
    holds = [came.hold_ns for came in observed if came.count == count and came.behind_ns <= came.hold_ns]
    return bool(holds) and (len(observed) == 1 or max(holds) >= 2 * min(holds))


def _why(recorded: Session, probe: Session, side: Side) -> str:
    """Say why an event did not come in a probe."""
    peer = side.name.lower()
    ending = ending_of(probe.lane(side))
    if gave_up(recorded, probe, side):
        return f"in a probe the {peer} gave up, with {ending}"
    return f"in a probe the {peer} ended with {ending}" if ending else "it did not come in a probe"


def _messages(lane: Sequence[Event]) -> int:
    return sum(isinstance(event, _MESSAGES) for event in lane)


def _name(event: Event) -> str:
    """Tell events apart: what ends a call with another status is another event."""
    match event:
        case ServerTrailer(status):
            return f"trailer {status.code if status else None}"
        case Reset(code):
            return f"reset {code}"
        case _:
            return event_name(event)


def _base(side: Side) -> int:
    """Return what every event of a side needs: a server the ClientHeader, a client nothing."""
    return 1 if side is Side.SERVER else 0


def _growing(counts: Sequence[int]) -> tuple[int, ...]:
    growing: list[int] = []
    for count in counts:
        growing.append(max(count, growing[-1] if growing else 0))
    return tuple(growing)


_MESSAGES = (ClientMessage, ServerMessage)

_GIVEN_UP = frozenset((Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE, Code.ABORTED, Code.RESOURCE_EXHAUSTED))
"""What servers and proxies say that have waited long enough."""

_LATE = "it came later than the probes held, by a clock or slowly"
