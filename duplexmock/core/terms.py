"""On which terms lanes are played: what our events wait for, what is demanded of the peer's, and at which pace."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

from duplexmock.core.events import Side
from duplexmock.core.value import value

if TYPE_CHECKING:
    from duplexmock.core.learned import Needs


FOR_EVER_S = 1e9
"""What an infinite timeout or patience is: some thirty years."""


class Ordered(Enum):
    """Whether a peer's event that comes too early is a mismatch; the value says why not, in a report."""

    YES = ""
    NOT_ASKED = "order across lanes was not asserted"
    ALL_UNKNOWN = "order across lanes was not asserted: all edges are unknown"


@value
class Across:
    """Our event at `position` of our lane waits until `count` events of `side` were seen in session `number`.

    `at_ns` is when the recording saw the last of them, `name` what that one is called.
    """

    position: int
    number: int
    side: Side
    count: int
    at_ns: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} of session {self.number}"


@value
class Terms:
    """How lanes are played: the waits of our lane, what is demanded of the peer's, and the pace.

    `gate` and `need` are as long as their lanes. `learned_gate` and `learned_need` are the lessons that they were taken
    from, None where they are what was seen. `speed` 1 is as recorded, 2 twice as fast, infinity as soon as the order
    allows. The peer has `timeout_ns` for each of its events, and, unless it is strict, what it took in the recording on
    top.
    """

    gate: tuple[int, ...]
    need: tuple[int, ...]
    speed: float = math.inf
    timeout_ns: int = 10_000_000_000
    is_timeout_strict: bool = False
    learned_gate: Needs | None = None
    learned_need: Needs | None = None

    def gate_evidence(self, position: int) -> str:
        """Say on what evidence our event at `position` waits."""
        return _SEEN if self.learned_gate is None else str(self.learned_gate.gate_ground(position))

    def need_evidence(self, position: int) -> str:
        """Say on what evidence the peer's event at `position` is demanded to wait."""
        return _SEEN if self.learned_need is None else str(self.learned_need.demand_ground(position))


_SEEN = "seen, not learned"
