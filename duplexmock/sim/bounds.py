"""Bounds: how far a run may go from what a real one would have done, and what may befall it."""

from __future__ import annotations

from duplexmock.core.value import value
from duplexmock.errors import ScriptError


@value
class Bounds:
    """What a chooser is offered; with the defaults, the order of deliveries, writes and timers.

    `window` is how many messages of a lane may be under way or unread before a write has to wait; None: any number.
    `latency_s` is how long a delivery or a write may be outrun by timers, in virtual seconds. The others count how
    often in a run a thing may happen: two events before the first is digested, a cancel, a deadline, a reset, a
    server's stop (with `grace_s`), a write that fails because the call has ended behind its back. ScriptError for a
    negative number.
    """

    window: int | None = None
    latency_s: float = 1.0
    bursts: int = 0
    cancels: int = 0
    deadlines: int = 0
    resets: int = 0
    drains: int = 0
    grace_s: float | None = 1.0
    refusals: int = 0

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise ScriptError(f"bounds: a window of {self.window} messages lets nothing through; the least is 1")
        for name in ("latency_s", "bursts", "cancels", "deadlines", "resets", "drains", "refusals"):
            if getattr(self, name) < 0:
                raise ScriptError(f"bounds: {name} is {getattr(self, name)!r}; the least is 0")

    @property
    def has_faults(self) -> bool:
        """Tell whether anything may befall a run."""
        return bool(self.cancels or self.deadlines or self.resets or self.drains)
