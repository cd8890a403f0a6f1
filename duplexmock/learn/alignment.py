"""Which call and which message of one run is which of another: by their methods, and by what agrees in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from duplexmock.core.events import ClientMessage, ServerMessage, Side
from duplexmock.core.session import Session
from duplexmock.learn.likeness import align, pair_up
from duplexmock.learn.runs import Call, Message, read_runs
from duplexmock.schema.descriptors import Descriptors

MOST_PAIRED_UP = 300
"""Calls of a method of which each is compared with each; of more the order counts."""


def same_messages(
    recorded: Session, other: Session, side: Side, descriptors: Descriptors | None = None
) -> dict[int, int]:
    """Return which message of `side` in another session is which of the recorded ones: places in the lane, from 0.

    Those that are equal byte for byte are the same, the first with the first, in whatever order they came: what other
    calls did may have put one before another. The rest are aligned by what agrees.
    """
    ours, theirs = (
        [event.payload for event in session.lane(side) if isinstance(event, ClientMessage | ServerMessage)]
        for session in (recorded, other)
    )
    places: dict[bytes, list[int]] = {}
    for place in range(len(theirs) - 1, -1, -1):
        places.setdefault(theirs[place], []).append(place)
    same = {place: places[payload].pop() for place, payload in enumerate(ours) if places.get(payload)}
    if len(same) == len(ours):
        return same
    taken = set(same.values())
    our_left = [place for place in range(len(ours)) if place not in same]
    their_left = [place for place in range(len(theirs)) if place not in taken]
    our_call, their_call = (calls[0] for calls in read_runs([[recorded], [other]], descriptors))
    pairs = align(
        [our_call.lanes[side][place].features for place in our_left],
        [their_call.lanes[side][place].features for place in their_left],
    )
    return same | {our_left[our]: their_left[their] for our, their in pairs}


def compared(runs: Sequence[list[Call]]) -> Iterator[tuple[Call, Call]]:
    """Yield the calls that belong together, of runs that are to be compared."""
    for ours, theirs in _pairs(runs):
        yield from _aligned(ours, theirs)


def messages_together(ours: Call, theirs: Call) -> Iterator[tuple[Message, Message]]:
    """Yield the messages that belong together, in calls that do."""
    for side in Side:
        our_lane, their_lane = ours.lanes[side], theirs.lanes[side]
        for our, their in align([each.features for each in our_lane], [each.features for each in their_lane]):
            yield our_lane[our], their_lane[their]


def _pairs(runs: Sequence[list[Call]]) -> Iterator[tuple[list[Call], list[Call]]]:
    """Yield the runs to be compared: each with the first, and with the one before."""
    yield from ((runs[0], other) for other in runs[1:])
    yield from pairwise(runs[1:])


def _aligned(ours: Sequence[Call], theirs: Sequence[Call]) -> Iterator[tuple[Call, Call]]:
    """Yield the calls that belong together: of a method those that are most alike, if there are as many.

    Calls that were open at the same time may have found one another's sessions, where what tells them apart came late.
    """
    for method in dict.fromkeys(call.session.method for call in ours):
        of_ours, of_theirs = ([call for call in run if call.session.method == method] for run in (ours, theirs))
        together = pair_up if len(of_ours) == len(of_theirs) <= MOST_PAIRED_UP else align
        pairs = together([call.features for call in of_ours], [call.features for call in of_theirs])
        yield from ((of_ours[our], of_theirs[their]) for our, their in pairs)
