"""The rows of the result: what was measured, what was wanted, and the table of both.

A row without a target is an indication: it says how things stand, and nothing has to be met.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Target:
    """A limit and on which side of it a value has to be; prints as `>= 0.75`."""

    side: Literal[">=", "<="]
    limit: float

    def met_by(self, value: float) -> bool:
        """Tell whether the value is on the right side; the limit itself is."""
        return value >= self.limit if self.side == ">=" else value <= self.limit

    def __str__(self) -> str:
        return f"{self.side} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One result. `least` and `most` are the spread of what `value` is the median of, and equal it for a single value.

    `value` is None where nothing could be measured; the name says why.
    """

    name: str
    value: float | None
    unit: str
    target: Target | None = None
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool | None:
        """Tell whether the target was met; None for an indication."""
        if self.target is None or self.value is None:
            return None
        return self.target.met_by(self.value)

    def fields(self) -> dict[str, object]:
        """Return what `bench/last.json` has of the row."""
        target = None if self.target is None else str(self.target)
        return {"name": self.name, "value": self.value, "unit": self.unit, "target": target, "met": self.met}


def median_row(name: str, values: Iterable[float], unit: str, target: Target | None = None) -> Row:
    """Return the row of the median of some values and of their spread."""
    values = sorted(values)
    return Row(name, statistics.median(values), unit, target, values[0], values[-1])


def paired(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of each round: what disturbs a whole round is in both of its values."""
    return [numerator / denominator for numerator, denominator in zip(numerators, denominators, strict=True)]


def heading() -> str:
    """Return the lines above the table."""
    line = _COLUMNS.format("", "median", "min–max", "", "target", "")
    return f"{line.rstrip()}\n{'─' * len(line)}"


def line(row: Row) -> str:
    """Return the table's line of a row."""
    if row.value is None:
        return row.name
    spread = "" if row.least == row.most or row.least is None else f"{_short(row.least)}–{_short(row.most)}"
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    target = "" if row.target is None else str(row.target)
    return _COLUMNS.format(row.name, _short(row.value), spread, row.unit, target, verdict).rstrip()


def _short(value: float | None) -> str:
    """Three digits that count, without an exponent."""
    if value is None:
        return ""
    digits = next((digits for limit, digits in ((99.5, 0), (9.95, 1), (0.995, 2), (0.0995, 3)) if value >= limit), 4)
    return f"{value:,.{digits}f}"


_COLUMNS = "{:<62} {:>9} {:>15} {:<11} {:>8} {}"
