"""Options that take a number: what does not fit is a usage error that says what does, not-a-number included."""

from __future__ import annotations

import math
from collections.abc import Callable

import click


def number(allowed: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """Return the type, for click, of an option whose number `fits`; `allowed` says in words which do."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise click.BadParameter(f"{text!r} is not {allowed}.")
        return value

    return read


GRACE = number("a number of seconds, 0 or more", lambda value: 0 <= value < math.inf)
SPEED = number("a number more than 0; 1 is as recorded, inf as fast as possible", lambda value: value > 0)
TIMEOUT = number("a number of seconds more than 0, or inf", lambda value: value > 0)
HOLD = number("a number of seconds more than 0 and less than 1,000,000", lambda value: 0 < value < 1e6)
