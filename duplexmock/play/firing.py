"""Firing: which faults concern a call, and what they have done in the place of each of its events.

It only says what is to be done: play/saying.py and play/hearing.py do it. It knows what faults look at: whether the
header has been said, the last message, the client's header and the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

from duplexmock.core.acts import EVENTS, Act, Turn, is_gentle
from duplexmock.core.deadline import is_up
from duplexmock.core.events import Cancel, ClientHeader, Event, ServerTrailer, Side, side_of
from duplexmock.core.faultkinds import At
from duplexmock.core.status import Code

if TYPE_CHECKING:
    from duplexmock.core.faults import Fault
    from duplexmock.play.faulty import Faults


class Firing:
    """The faults of one call, the one of this number in the play.

    `deviation` is the first fault by which the peer was told anything but what it would have been told, and `turn` what
    the call has come to by one; `has_left` tells that the peer has left what it was to say: no more faults then.
    """

    def __init__(self, faults: Faults, number: int) -> None:
        self.side = faults.side
        self.turn: Turn | None = None
        self.has_deviated = False
        self.deviation: Fault | None = None
        self.has_header = False  # whether the server's was said
        self.last: Event | None = None  # the last message of ours
        self.header: tuple[int, ClientHeader] | None = None  # when it was said, or came
        self.has_left = False
        self._faults = faults
        self._clock = faults.clock
        self._number = number
        self._armed: list[_Armed] | None = None  # those that concern the call: known with its header

    def acts(self, event: Event, number: int) -> list[Act]:
        """Return what is to be done in the place of an event of ours, or of one that was heard, and behind it."""
        acts: list[Act] = [event]
        behind: list[Act] = []
        is_by_deadline = self._is_by_deadline(event)
        for armed in () if self.has_left else self._arm(event):
            fault = armed.fault
            if not fault.place.fits(event, number, is_by_deadline):
                continue
            if fault.place.is_behind:
                behind += [act for act in self._fire(armed, event) if act is not event]
                continue
            places = [place for place, act in enumerate(acts) if isinstance(act, EVENTS)]
            for place in reversed(places):
                acts[place : place + 1] = self._fire(armed, acts[place])  # type: ignore[arg-type]
        return [*acts, *behind]

    def _arm(self, event: Event) -> Sequence[_Armed]:
        """Return the faults that concern the call, which its header tells."""
        if self._armed is None:
            assert isinstance(event, ClientHeader)
            self._armed = [
                _Armed(place, fault, Random(f"{fault.seed}/{place}/{self._number}"))
                for place, fault in enumerate(self._faults.faults)
                if fault.concerns(self._number, event.method)
            ]
        return self._armed

    def _fire(self, armed: _Armed, event: Event) -> Sequence[Act]:
        fault = armed.fault
        is_ours = side_of(event) is self.side
        at = At(self.side, event, is_ours, self.has_header, self.last, armed.draw)
        acts = fault.kind.does(at, *fault.arguments)
        armed.times += 1
        self._faults.fired[armed.place] += 1
        if not self.has_deviated and not is_gentle(acts, event):
            self.has_deviated = True
            self.deviation = fault
        return acts

    def _is_by_deadline(self, event: Event) -> bool:
        """Tell whether it is what ends the call when the client's deadline is up."""
        if not isinstance(event, Cancel | ServerTrailer) or self.header is None:
            return False
        if isinstance(event, ServerTrailer) and (
            event.status is None or event.status.code != Code.DEADLINE_EXCEEDED or self.side is Side.CLIENT
        ):
            return False
        at_ns, header = self.header
        timeout_ns = header.timeout_ns
        return timeout_ns is not None and is_up(timeout_ns, self._clock.now_ns() - at_ns)

    def notes(self, behind: Sequence[str]) -> Iterator[str]:
        """Say what was done; `behind` is what the peer has said behind the one that deviates."""
        for armed in self._armed or ():
            if not armed.times:
                continue
            times = f", {armed.times} times" if armed.times > 1 else ""
            if armed.fault is not self.deviation:
                yield f"fault {armed.fault}{times}"
                continue
            peer = self.side.other.name.lower()
            more = len(behind) - _TOLD
            said = ", ".join(behind[:_TOLD]) + (f" and {more} more" if more > 0 else "") or "nothing"
            yield f"fault {armed.fault}{times}; the {peer} was not judged behind it, and said {said}"


class _Armed:
    """A fault that concerns a call; `place` is its place among all, `times` how often it was done."""

    __slots__ = ("draw", "fault", "place", "times")

    def __init__(self, place: int, fault: Fault, draw: Random) -> None:
        self.place = place
        self.fault = fault
        self.draw = draw
        self.times = 0


_TOLD = 5
"""Events of the peer behind a fault that are named."""
