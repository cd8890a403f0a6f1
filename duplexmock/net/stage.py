"""A stage: the fixtures of a replay opened, and a Play of one of their sides. The command and the API stand on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from duplexmock.core.events import Side
from duplexmock.core.outcome import Outcome
from duplexmock.core.player import Player
from duplexmock.core.terms import Ordered
from duplexmock.errors import ScriptError
from duplexmock.net.clock import MonotonicClock
from duplexmock.net.lanes import FramedLane
from duplexmock.play.plan import DEFAULT_TIMEOUT_S, Options, check_chosen, find, source
from duplexmock.play.play import Missed, Play
from duplexmock.play.reading import FixtureReading, check_paths
from duplexmock.play.repertoire import Repertoire, Source, Unplayed
from duplexmock.report.summary import Tally, tally
from duplexmock.store.fixture import Fixture
from duplexmock.store.redact import Redaction
from duplexmock.wire.limits import Config

if TYPE_CHECKING:
    from duplexmock.core.faults import Fault
    from duplexmock.play.faulty import Faults
    from duplexmock.play.seat import MakeSeat
    from duplexmock.schema.descriptors import Descriptors
    from duplexmock.schema.reader import Reader


class Stage:
    """The fixtures at `paths`, opened, and the `play` of their `side`; a context manager.

    `tried` are binds that may be none: what is learned by them is said, and compared all the same.

    FixtureError and ScriptError where a file cannot be read, or the options do not fit.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        side: Side,
        options: Options,
        *,
        descriptors: Descriptors | None = None,
        ignore: Sequence[str] = (),
        bind: Sequence[tuple[str, str]] = (),
        tried: Sequence[tuple[str, str]] = (),
        seat: MakeSeat = Player,
        ended: Callable[[str, Outcome], None] = lambda source, outcome: None,
        missed: Missed | None = None,
        faults: Sequence[str | Fault] = (),
    ) -> None:
        self.clock = MonotonicClock()
        self.faults = _faults(faults, side, self.clock, options)
        self._readings: dict[str, FixtureReading] = {}
        self._redacted_keys: dict[str, Sequence[str]] = {}
        self._redactions: dict[str, Redaction] = {}
        self._fixtures: list[Fixture] = []
        found = find(paths)
        if options.sessions and len(found) > 1:
            raise ScriptError("sessions are chosen by number in one fixture, and there are several")
        try:
            sources = []
            for path in found:
                name = str(path)
                fixture = Fixture.open(path)
                self._fixtures.append(fixture)
                self._redacted_keys[name] = fixture.header.redacted_keys
                reading = self._readings[name] = FixtureReading(fixture, name, descriptors, ignore, bind, tried)
                sources.append(source(fixture, name, side, options, reading))
            check_chosen(sources, options)
            if ignore or bind:
                check_paths([reading.descriptors for reading in self._readings.values()], ignore, bind)
            if side is Side.CLIENT or options.order is not None:
                _check(sources)
        except BaseException:
            self.close()
            raise
        ordered = {each.ordered for each in sources}
        self._ordered = next((how for how in (Ordered.NOT_ASKED, Ordered.ALL_UNKNOWN) if how in ordered), Ordered.YES)
        repertoire = Repertoire(sources, side, options.repeat)
        self.play = Play(
            repertoire,
            side,
            self.clock,
            seat=seat,
            prepare=FramedLane if self.faults is None else list,
            ended=ended,
            missed=missed,
            faults=self.faults,
        )

    def close(self) -> None:
        """Close the fixtures."""
        for fixture in self._fixtures:
            fixture.close()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def reader(self, name: str) -> Reader:
        """Return what reads the payloads of this fixture."""
        from duplexmock.schema.reader import Reader

        reading = self._readings.get(name)
        return reading.reader if reading else Reader()

    def shown(self, name: str, outcome: Outcome) -> Outcome:
        """Return the outcome as it may be shown and written: without the peer's secrets."""
        redaction = self._redaction(name)
        session, mismatch = outcome.session, outcome.mismatch
        if mismatch is not None and mismatch.actual is not None:
            mismatch = replace(mismatch, actual=redaction.any(mismatch.actual))
        return replace(outcome, session=session and redaction.session(session), mismatch=mismatch)

    @property
    def config(self) -> Config | None:
        """Return what connections are to be like, where faults want them otherwise than they are."""
        return None if self.faults is None else self.faults.config

    def unplayed(self) -> list[Unplayed]:
        """Return the sessions that no call took."""
        return list(self.play.unplayed())

    def tally(self) -> Tally:
        """Count what agreed, what did not, and what was not played."""
        unplayed = (f"{name}   session {number}   {method}" for name, number, method in self.unplayed())
        outcomes = (outcome for _, outcome in self.play.outcomes)
        unfired = () if self.faults is None else self.faults.unfired()
        return tally(outcomes, unplayed, unfired, ordered=self._ordered)

    def report(self) -> str:
        """Say what went wrong, for people; empty where nothing did."""
        return self._told(self.tally())

    def report_of_played(self) -> str:
        """Say what went wrong in the sessions that were played; empty where nothing did."""
        return self._told(replace(self.tally(), unplayed=()))

    def _told(self, counted: Tally) -> str:
        if counted.is_green:
            return ""
        from duplexmock.report.outcomes import mismatch_lines

        lines: list[str] = []
        failed = [(name, outcome) for name, outcome in self.play.outcomes if not outcome.agreed]
        for name, outcome in failed[:_TOLD]:
            lines += [*mismatch_lines(name, self.shown(name, outcome), self.reader(name)), ""]
        if len(failed) > _TOLD:
            lines += [f"and {len(failed) - _TOLD} more that did not agree", ""]
        lines += [f"not played: {line}" for line in counted.unplayed[:_TOLD]]
        if len(counted.unplayed) > _TOLD:
            lines.append(f"and {len(counted.unplayed) - _TOLD} more that were not played")
        lines += counted.unfired
        return "\n".join((*lines, str(counted)))

    def _redaction(self, name: str) -> Redaction:
        redaction = self._redactions.get(name)
        if redaction is None:
            redaction = self._redactions[name] = Redaction(self._redacted_keys.get(name, ()))
        return redaction


def _faults(faults: Sequence[str | Fault], side: Side, clock: MonotonicClock, options: Options) -> Faults | None:
    """Return the faults of a play; None where there are none, and then nothing of them is loaded."""
    if not faults:
        return None
    from duplexmock.play.faulty import Faults

    return Faults(faults, side, clock, round((options.timeout_s or DEFAULT_TIMEOUT_S) * 1e9))


def _check(sources: Sequence[Source]) -> None:
    """Raise ScriptError where a session cannot be played as asked: before anything is said to anybody."""
    for each in sources:
        for session in each.sessions():
            each.terms(each.lanes(session))


_TOLD = 10
"""Mismatches that are told in full: who reads more of them has stopped reading."""
