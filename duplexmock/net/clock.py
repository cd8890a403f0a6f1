"""The real clock."""

from __future__ import annotations

import time


class MonotonicClock:
    """Counts nanoseconds from its making."""

    def __init__(self) -> None:
        self._started_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        """Return the nanoseconds since then."""
        return time.monotonic_ns() - self._started_ns
