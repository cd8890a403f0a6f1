"""What a Player wants done next, by whoever runs it: Send, Do, Wait or Done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from duplexmock.core.lanes import Loss, Parting, Step


class Send(NamedTuple):
    """Say the events of these now; `start` is the place of the first in our lane, None where they are not of it."""

    steps: Sequence[Step]
    start: int | None = None


class Do(NamedTuple):
    """Do to the connection what the recording saw done to it."""

    what: Loss | Parting


class Wait(NamedTuple):
    """Give `received` what has come, at this time at the latest: an empty run then."""

    until_ns: int


class Done(NamedTuple):
    """It is over: ask for the `outcome`."""
