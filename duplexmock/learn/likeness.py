"""Which message of one run is which of another: two lanes aligned, so that one message more does not shift the rest.

What is aligned is given as Features: what kind of message it is, and its values. Two that are of different kinds are
never taken for one another; else they are alike by the values they share, and a value counts the more the rarer it is.
A field whose values are mostly others in the other lane says nothing of which message is which, nor does a number that
only grows and starts elsewhere: a timestamp of a second run. The alignment is the one with the greatest sum of
likeness (Needleman and Wunsch, 1970), and it is sought near the diagonal where the lanes are long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

MAX_CELLS = 300_000
"""Pairs that are compared of two lanes: lanes of 500 with each other, longer ones in a band that grows narrower."""

MIN_BAND = 32
"""Messages to each side of the diagonal that are looked at however long the lanes are."""


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of a message: the fields that it has, its `kind`, and pairs of a field and a value."""

    fields: frozenset[Hashable]
    values: tuple[tuple[Hashable, Hashable], ...]
    kind: Hashable = None


def align(ours: Sequence[Features], theirs: Sequence[Features]) -> list[tuple[int, int]]:
    """Return the pairs of positions that belong together, in their order."""
    likeness = _Likeness(ours, theirs)
    width = max(MIN_BAND, MAX_CELLS // (2 * max(1, len(ours))), len(theirs) // max(1, len(ours)) + 1)
    steps: list[tuple[int, bytearray]] = []
    above: list[float] = []
    above_low = 0
    for row in range(len(ours) + 1):
        centre = row * len(theirs) // max(1, len(ours))
        low, high = max(0, centre - width), min(len(theirs), centre + width)
        scores: list[float] = []
        taken = bytearray(high - low + 1)
        for column in range(low, high + 1):
            best, step = (scores[-1], _THEIRS) if column > low else (_NEVER, _THEIRS)
            if row == column == 0:
                best = 0.0
            over = column - above_low
            # Only what is better is taken: of those that are alike the first belong to the first, as a replay has it.
            if row and over < len(above) and above[over] > best:
                best, step = above[over], _OURS
            if row and column and 0 < over <= len(above):
                like = likeness.of(row - 1, column - 1)
                if like and above[over - 1] + like > best + _ROUNDING:
                    best, step = above[over - 1] + like, _BOTH
            scores.append(best)
            taken[column - low] = step
        steps.append((low, taken))
        above, above_low = scores, low
    return _path(steps, len(ours), len(theirs))


def pair_up(ours: Sequence[Features], theirs: Sequence[Features]) -> list[tuple[int, int]]:
    """Return the pairs of positions that belong together, of as many as there are of the others, in any order.

    Those that are most alike go first, and of those that are as alike the ones that are at the same position.
    """
    likeness = _Likeness(ours, theirs)
    like = {(our, their): likeness.of(our, their) for our in range(len(ours)) for their in range(len(theirs))}
    found: dict[int, int] = {}
    taken: set[int] = set()
    for our, their in sorted(like, key=lambda pair: (-like[pair], abs(pair[0] - pair[1]), pair)):
        if our not in found and their not in taken:
            found[our] = their
            taken.add(their)
    return sorted(found.items())


def _path(steps: Sequence[tuple[int, bytearray]], row: int, column: int) -> list[tuple[int, int]]:
    pairs = []
    while row or column:
        low, taken = steps[row]
        step = taken[column - low]
        if step == _BOTH:
            pairs.append((row - 1, column - 1))
        row -= step != _THEIRS
        column -= step != _OURS
    return pairs[::-1]


class _Likeness:
    """How alike two messages are: 0 where they cannot be the same, 1.1 where they agree in all that tells."""

    def __init__(self, ours: Sequence[Features], theirs: Sequence[Features]) -> None:
        self._weights = _weights(ours, theirs)
        self._ours, self._theirs = (
            [frozenset(value for value in each.values if value in self._weights) for each in lane]
            for lane in (ours, theirs)
        )
        self._sums = [
            [sum(map(self._weights.__getitem__, each)) for each in lane] for lane in (self._ours, self._theirs)
        ]
        forms: dict[tuple[Hashable, frozenset[Hashable]], int] = {}
        self._forms = [
            [forms.setdefault((each.kind, each.fields), len(forms)) for each in lane] for lane in (ours, theirs)
        ]
        self._of_forms = list(forms)
        self._bases: dict[tuple[int, int], float] = {}

    def of(self, our: int, their: int) -> float:
        """Return how alike the message at this position of ours and the one of theirs are."""
        forms = self._forms[0][our], self._forms[1][their]
        base = self._bases.get(forms)
        if base is None:
            base = self._bases[forms] = _base(self._of_forms[forms[0]], self._of_forms[forms[1]])
        if not base:
            return 0.0
        shared = self._ours[our] & self._theirs[their]
        if not shared:
            return base
        weight = sum(map(self._weights.__getitem__, shared))
        part = 2 * weight / (self._sums[0][our] + self._sums[1][their])
        # Squared, so that one pair that agrees in all is worth more than two that agree in half.
        return base + part * part * min(1.0, weight)


def _base(our: tuple[Hashable, frozenset[Hashable]], their: tuple[Hashable, frozenset[Hashable]]) -> float:
    """Return what two messages are alike by the fields they have: at most a tenth of what their values may say."""
    if our[0] != their[0]:
        return 0.0
    if our[1] == their[1]:
        return _OF_FORM
    part = 2 * len(our[1] & their[1]) / (len(our[1]) + len(their[1]))
    if part < _LEAST_IN_COMMON:
        # Without its zeros a message may be empty, and is one of its kind all the same.
        return 0.0 if our[1] and their[1] else _OF_FORM / 10
    return _OF_FORM * part


def _weights(ours: Sequence[Features], theirs: Sequence[Features]) -> dict[tuple[Hashable, Hashable], float]:
    """Return what each value counts; those that tell nothing are not there."""
    counts = [Counter(value for each in lane for value in set(each.values)) for lane in (ours, theirs)]
    totals: list[Counter[Hashable]] = [Counter(), Counter()]
    common: Counter[Hashable] = Counter()
    for total, count in zip(totals, counts, strict=True):
        for (field, _), times in count.items():
            total[field] += times
    for value in counts[0].keys() & counts[1].keys():
        common[value[0]] += min(counts[0][value], counts[1][value])
    growing = _growing(ours, theirs)
    tells = {
        field: share
        for field, times in common.items()
        if (share := times / min(totals[0][field], totals[1][field])) >= _MOSTLY and field not in growing
    }
    return {
        value: tells[value[0]] * 2 / max(2, counts[0][value] + counts[1][value])
        for value in counts[0].keys() | counts[1].keys()
        if value[0] in tells
    }


def _growing(ours: Sequence[Features], theirs: Sequence[Features]) -> set[Hashable]:
    """Return the fields that hold numbers which never fall, and start differently in the two lanes."""
    columns = [_numbers(lane) for lane in (ours, theirs)]
    return {
        field
        for field in columns[0].keys() & columns[1].keys()
        if all(_grows(column[field]) for column in columns) and columns[0][field][0] != columns[1][field][0]
    }


def _numbers(lane: Iterable[Features]) -> dict[Hashable, list[float]]:
    columns: dict[Hashable, list[float]] = {}
    for each in lane:
        for field, value in each.values:
            columns.setdefault(field, []).append(value if isinstance(value, int | float) else float("nan"))
    return columns


def _grows(numbers: Sequence[float]) -> bool:
    return numbers[0] < numbers[-1] and all(one <= other for one, other in pairwise(numbers))


_NEVER = float("-inf")
_ROUNDING = 1e-9
"""Sums of the same numbers in another order differ by less."""
_BOTH, _OURS, _THEIRS = 0, 1, 2
_OF_FORM = 0.1
_LEAST_IN_COMMON = 1 / 3
"""The part of their fields that two messages share at least; one that left out its zeros still does."""
_MOSTLY = 0.5
"""The part of a field's values that has to be in both lanes for it to tell messages apart."""
