"""Where a value comes from: the field of the other lane in which it first appeared.

A value that comes back proves a relation the better the more values it could have been: a uuid does at once, a 7 never
does. So every value has bits, less where it could be one of many, and a relation needs MIN_BITS of them over all runs.
Two clocks that are read in the same second agree by chance: a time in seconds or milliseconds proves something only
where more time than that lay between the two messages, and CLOCK_TO_WIRE_NS besides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from duplexmock.learn.fields import LaneField, raw_of, scanned
from duplexmock.schema.scalars import Scalar, read

MIN_BITS = 24
"""What a relation has to prove: chance makes one such in sixteen million. One port number in each of two runs does."""

CLOCK_TO_WIRE_NS = 100_000_000
"""How long a clock may have been read before it was seen to be said: a busy machine takes a process away meanwhile."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a value was said: in which run and call, as which of the run's events, and at what time."""

    run: int
    call: int
    position: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Appearance:
    """A value in a field, and when it was said."""

    moment: Moment
    value: Scalar


class Appearances:
    """All values that may be bound, and where each first appeared in every call; add them in any order."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, type, Scalar], dict[LaneField, dict[int, Moment]]] = {}
        self._values: dict[tuple[int, LaneField], set[Scalar]] = {}

    def add(self, field: LaneField, appearance: Appearance) -> None:
        """Note one value of a field."""
        moment, value = appearance.moment, appearance.value
        of_calls = self._first.setdefault((moment.run, type(value), value), {}).setdefault(field, {})
        first = of_calls.get(moment.call)
        if first is None or moment.position < first.position:
            of_calls[moment.call] = moment
        self._values.setdefault((moment.run, field), set()).add(value)

    def before(self, appearance: Appearance) -> dict[LaneField, Moment]:
        """Return the fields that had this value earlier in the run, each with its first moment."""
        found = {}
        moment, value = appearance.moment, appearance.value
        for field, of_calls in self._first.get((moment.run, type(value), value), {}).items():
            first = min(of_calls.values(), key=lambda each: each.position)
            if first.position < moment.position:
                # What this call said itself does not depend on which others are replayed.
                own = of_calls.get(moment.call)
                found[field] = own if own is not None and own.position < moment.position else first
        return found

    def count(self, run: int, field: LaneField) -> int:
        """Return how many values a field has in a run."""
        return len(self._values.get((run, field), ()))


def sources(target: LaneField, came: Iterable[Appearance], appearances: Appearances) -> tuple[LaneField, ...]:
    """Return the fields of the other lane whose values the target repeats, as few as explain all that came.

    None do where one value cannot be explained, where what agrees may do so by chance, or where a value was said first
    on the target's own lane.
    """
    every = _each_once(came)
    explained = _explained(target, every, appearances, in_runs=2)
    if not all(_is_from_the_other_lane(target, fields) for fields in explained):
        return ()
    return _cover(target, every, explained)


def returning(target: LaneField, came: Iterable[Appearance], appearances: Appearances) -> tuple[LaneField, ...]:
    """Return the fields of the other lane whose values come back in the target, in one run, as few as explain those.

    What came from elsewhere is passed over: a bind replaces no value that it has not learned.
    """
    every = _each_once(came)
    explained = _explained(target, every, appearances, in_runs=1)
    both = [pair for pair in zip(every, explained, strict=True) if _is_from_the_other_lane(target, pair[1])]
    return _cover(target, [each for each, _ in both], [fields for _, fields in both])


def _each_once(came: Iterable[Appearance]) -> list[Appearance]:
    """Return the first appearance of each value in each call."""
    each_once: dict[tuple[int, int, type, Scalar], Appearance] = {}
    for appearance in came:
        moment, value = appearance.moment, appearance.value
        key = moment.run, moment.call, type(value), value
        if key not in each_once or moment.position < each_once[key].moment.position:
            each_once[key] = appearance
    return sorted(each_once.values(), key=lambda each: (each.moment.run, each.moment.position))


def _explained(
    target: LaneField, every: Sequence[Appearance], appearances: Appearances, in_runs: int
) -> list[dict[LaneField, Moment]]:
    """Return for each appearance the fields that had its value before, of those that prove to be related."""
    before = [appearances.before(each) for each in every]
    proven = _proven(target, every, before, appearances, in_runs)
    return [{field: moment for field, moment in fields.items() if field in proven} for fields in before]


def _is_from_the_other_lane(target: LaneField, explained: dict[LaneField, Moment]) -> bool:
    return bool(explained) and min(explained.items(), key=_earliest)[0].side is not target.side


def _earliest(item: tuple[LaneField, Moment]) -> tuple[int, str]:
    field, moment = item
    return moment.position, str(field.path)


def _proven(
    target: LaneField,
    every: Sequence[Appearance],
    before: Sequence[dict[LaneField, Moment]],
    appearances: Appearances,
    in_runs: int,
) -> set[LaneField]:
    """Return the fields that agree with the target more often than chance makes them, in so many runs at least."""
    unit_ns = _unit_ns([each.value for each in every], is_timestamp=target.is_timestamp)
    is_fine_timestamp = target.is_timestamp and not unit_ns
    bits: dict[LaneField, dict[tuple[int, Scalar], float]] = {}
    for appearance, fields in zip(every, before, strict=True):
        run, value = appearance.moment.run, appearance.value
        for field, moment in fields.items():
            if field is target:
                continue
            proof = _bits(value, is_fine_timestamp=is_fine_timestamp) - math.log2(max(1, appearances.count(run, field)))
            if unit_ns:
                waited_ns = appearance.moment.at_ns - moment.at_ns - CLOCK_TO_WIRE_NS
                waited = min(1.0, max(0, waited_ns) / unit_ns)
                proof = min(proof, -math.log2(max(1 - waited, 2**-MIN_BITS)))
            known = bits.setdefault(field, {})
            known[run, value] = max(0.0, proof, known.get((run, value), 0.0))
    return {
        field
        for field, known in bits.items()
        if sum(known.values()) >= MIN_BITS and len({run for run, _ in known}) >= in_runs
    }


def _cover(
    target: LaneField, every: Sequence[Appearance], explained: Sequence[dict[LaneField, Moment]]
) -> tuple[LaneField, ...]:
    """Return the fewest fields of the other lane that explain all; one of the same call before one of another."""
    others: dict[LaneField, dict[int, Moment]] = {}
    for number, fields in enumerate(explained):
        for field, moment in fields.items():
            if field.side is not target.side:
                others.setdefault(field, {})[number] = moment
    left = set(range(len(every)))
    chosen = []

    def rank(field: LaneField) -> tuple[int, int, list[int], str]:
        explains = sorted(left & others[field].keys())
        moments = [others[field][number] for number in explains]
        elsewhere = sum(
            moment.call != every[number].moment.call for number, moment in zip(explains, moments, strict=True)
        )
        return -len(explains), elsewhere, [moment.position for moment in moments], str(field.path)

    while left:
        best = min(others, key=rank)
        chosen.append(best)
        left -= others[best].keys()
    return tuple(chosen)


def _bits(value: Scalar, *, is_fine_timestamp: bool) -> float:
    """Return how much a value tells apart, in bits: as many as it has, less the zeros it ends with."""
    match value:
        case bytes():
            # Others read the seconds of a Timestamp as well. Text has fewer bits than bytes have.
            return _round(_nanos(value)).bit_length() if is_fine_timestamp else 4.0 * len(value)
        case float():
            if not math.isfinite(value):
                return 0.0
            return _round(round(abs(math.frexp(value)[0]) * 2**53)).bit_length()
        case _:
            return _round(abs(value)).bit_length()


def _round(number: int) -> int:
    for factor in (10, 2):
        while number and number % factor == 0:
            number //= factor
    return number


def _unit_ns(values: Sequence[Scalar], *, is_timestamp: bool) -> int:
    """Return the step of the clock that these values were read from; 0 where they are none, or one that is fine."""
    if is_timestamp:
        nanos = [_nanos(value) for value in values]
        return next((unit_ns for unit_ns in _UNITS_NS if not any(each % unit_ns for each in nanos)), 0)
    numbers = [value for value in values if isinstance(value, int)]
    if len(numbers) == len(values):
        for unit_ns in _UNITS_NS:
            a_second = 1_000_000_000 // unit_ns
            low, high = _YEAR_2010_S * a_second, _YEAR_2060_S * a_second
            if all(low <= number <= high for number in numbers):
                return unit_ns if max(numbers) - min(numbers) <= _A_YEAR_S * a_second else 0
        return 0
    units = []
    for value in values:
        found = _TIME.search(value) if isinstance(value, bytes) and len(value) <= _LONG_TEXT else None
        if found is None:
            return 0
        fraction = found[1] or b""
        units.append(10 ** (9 - min(9, len(fraction))))
    return unit if (unit := max(units, default=0)) >= 1_000_000 else 0


def _nanos(timestamp: Scalar) -> int:
    """Return the field `nanos` of a google.protobuf.Timestamp as it was on the wire."""
    raw = timestamp if isinstance(timestamp, bytes) else b""
    found = [
        value
        for place in scanned(raw) or ()
        if place.number == _NANOS
        for value in read(place.wire_type, raw_of(raw, place), None)
    ]
    return found[-1] if found and isinstance(found[-1], int) else 0


_UNITS_NS = (1_000_000_000, 1_000_000)
_NANOS = 2
_TIME = re.compile(rb"\b\d\d:\d\d(?::\d\d(?:[.,](\d+))?)?")
_LONG_TEXT = 1000
_YEAR_2010_S, _YEAR_2060_S, _A_YEAR_S = 1_262_304_000, 2_840_140_800, 31_536_000
"""Runs that are compared were made within a year of each other; ids that look like times differ by more."""
