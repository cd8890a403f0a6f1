"""The engine of a simulation: whenever no task can go on, one of the things that may happen next is chosen.

Those are, in this order: what is under way, the oldest first (a delivery on a lane, a write's return), of each lane
only its first, because lanes are FIFO; the earliest timer, where nothing that is under way would be outrun by more than
`bounds.latency_s`; what may befall the run, as far as its bounds go; and last, each of the first two as a burst, where
there are two or more: then the next choice is made before any task has noticed the first.

A Chooser is given the steps that are possible, where there are several, and returns the position of one; 0 is what a
real run would have done. Without one the first is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from duplexmock.core.schedule import Kind, Schedule, Step
from duplexmock.errors import ScriptError
from duplexmock.sim.bounds import Bounds
from duplexmock.sim.deadlock import Deadlock, waiting_lines
from duplexmock.sim.log import Entries
from duplexmock.sim.loop import VirtualLoop

if TYPE_CHECKING:
    from duplexmock.sim.lanes import Line


class Chooser(Protocol):
    """Chooses what happens next."""

    def __call__(self, options: Sequence[Step], /) -> int:
        """Return the position of one of these steps, of which there are at least two."""


class Engine:
    """What is under way, what has happened, and the loop that is run in between."""

    def __init__(self, bounds: Bounds, follow: Schedule, choose: Chooser | None) -> None:
        self.loop = VirtualLoop(self._idle)
        self.bounds = bounds
        self.trace: list[Step] = []
        self.log: Entries = []
        self.lines: dict[int, Line] = {}
        """The calls by number, in the order of their making, less those that are over at both ends."""
        self.calls = 0
        """How many were made."""
        self.drains: list[Callable[[], None]] = []
        """What stops the servers."""
        self.handler_errors: list[tuple[int, BaseException]] = []
        """What handlers raised that was neither an abort nor a cancellation: the call's number, and the exception."""
        self._pending: deque[_Pending] = deque()
        self._choose = choose
        self._follow = follow.steps
        self._is_plain = choose is None and not follow.steps
        self._spent = dict.fromkeys((Kind.CANCEL, Kind.DEADLINE, Kind.RESET, Kind.DRAIN, Kind.REFUSE), 0)
        self._bursts = 0
        self._until_s: float | None = None
        self._quiet: Callable[[], None] | None = None

    def put(self, step: Step, happen: Callable[[Any], None], what: Any) -> None:
        """Let something be under way: `happen(what)` is called when the step is chosen."""
        self._pending.append((self.loop.now_s, step, happen, what))

    def forget(self, step: Step) -> None:
        """Take back all that is under way by this step."""
        if self._pending:
            self._pending = deque([each for each in self._pending if each[1] is not step])

    def settle(self, horizon_s: float) -> None:
        """Go on until nothing happens any more, or nothing but timers later than so many virtual seconds from now."""
        loop = self.loop
        if not self._pending and not loop.ready and not loop.timers:
            return
        done = loop.create_future()
        self._until_s = loop.now_s + horizon_s
        self._quiet = lambda: None if done.done() else done.set_result(None)
        try:
            loop.run_until_complete(done)
        finally:
            self._until_s = self._quiet = None

    def improvise(self) -> None:
        """Ask nobody from now on, and keep no record: what is still to come is the end of a run that was given up."""
        self._is_plain = True
        self.trace, self.log = [], []

    def options(self) -> list[Step]:
        """Return the steps that are possible now; at position 0 what a real run would do."""
        steps: list[Step] = []
        for _, step, _, _ in self._pending:
            if step not in steps:
                steps.append(step)
        if self._has_timer():
            steps.append(TIMER)
        bounds = self.bounds
        can_burst = self._bursts < bounds.bursts and len(self._pending) + (TIMER in steps) > 1
        bursts = [step._replace(is_burst=True) for step in steps] if can_burst else []
        if self._spent[Kind.REFUSE] < bounds.refusals:
            steps += [line.refuse_step for line in self.lines.values() if line.can_refuse]
        if bounds.has_faults and self._quiet is None:
            steps += self._faults()
        return steps + bursts

    def _idle(self) -> None:
        if self._is_plain:
            if self._pending:
                _, step, happen, what = self._pending.popleft()
                self.trace.append(step)
                happen(what)
            elif self._has_timer():
                self.trace.append(TIMER)
                self.loop.fire()
            else:
                self._nothing_left()
            return
        while True:
            options = self.options()
            if not options:
                self._nothing_left()
                return
            step = self._next(options)
            self.trace.append(step)
            self._do(step)
            if not step.is_burst:
                return

    def _next(self, options: Sequence[Step]) -> Step:
        position = len(self.trace)
        if position < len(self._follow):
            wanted = self._follow[position]
            if wanted not in options:
                possible = " ".join(map(str, options))
                raise ScriptError(
                    f"schedule: choice {position + 1} is {str(wanted)!r}, and what is possible there is {possible}; "
                    "it is of another program, or of other bounds"
                )
            return wanted
        if self._choose is None or len(options) == 1:
            return options[0]
        chosen = self._choose(options)
        if not 0 <= chosen < len(options):
            raise ScriptError(f"the chooser chose {chosen} of {len(options)} options")
        return options[chosen]

    def _do(self, step: Step) -> None:
        if step.is_burst:
            self._bursts += 1
            step = step._replace(is_burst=False)
        kind = step.kind
        if kind is Kind.DELIVER or kind is Kind.ACCEPT:
            pending = self._pending
            for position, (_, each, happen, what) in enumerate(pending):
                if each == step:
                    del pending[position]
                    happen(what)
                    return
        if kind is Kind.TIMER:
            self.loop.fire()
            return
        self._spent[kind] += 1
        if kind is Kind.DRAIN:
            for drain in self.drains:
                drain()
            return
        line = self.lines[step.call]
        if kind is Kind.REFUSE:
            line.refuse()
        elif kind is Kind.CANCEL:
            line.cancel()
        elif kind is Kind.DEADLINE:
            line.deadline_is_up()
        else:
            line.reset()

    def _has_timer(self) -> bool:
        timer = self.loop.next_timer()
        if timer is None:
            return False
        when = timer.when()
        if self._until_s is not None and when > self._until_s:
            return False
        return not self._pending or when <= self._pending[0][0] + self.bounds.latency_s

    def _faults(self) -> list[Step]:
        bounds, spent = self.bounds, self._spent
        live = [line for line in self.lines.values() if line.is_open]
        steps = []
        for kind, most in (
            (Kind.CANCEL, bounds.cancels),
            (Kind.DEADLINE, bounds.deadlines),
            (Kind.RESET, bounds.resets),
        ):
            if spent[kind] < most:
                steps += [Step(kind, line.number) for line in live]
        if spent[Kind.DRAIN] < bounds.drains and self.drains:
            steps.append(Step(Kind.DRAIN))
        return steps

    def _nothing_left(self) -> None:
        failure, self.loop.failure = self.loop.failure, None
        if failure is not None:
            raise failure
        if self._quiet is not None:
            self._quiet()
            return
        if self.loop.ready:
            return  # a task polls for something; it is let run for as long as it likes
        raise Deadlock(waiting_lines(self.loop, [*self.lines.values()]))


_Pending = tuple[float, Step, Callable[[Any], None], Any]
"""Since when it is under way, by which step it happens, and what is done then."""

TIMER = Step(Kind.TIMER)
