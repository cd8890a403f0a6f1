"""A mocking under way: scripts, the server that answers by them, and what its calls have come to.

The command and the API stand on it. On its loop: `start`, then `stop`; `save`, `report` and what it knows of calls may
be asked on any thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from duplexmock.core import verdict
from duplexmock.core.events import Side
from duplexmock.core.rows import Row
from duplexmock.errors import MismatchError, ScriptError
from duplexmock.net.clock import MonotonicClock
from duplexmock.net.server import Server
from duplexmock.play.handler import Handler
from duplexmock.play.serving import DEFAULT_TERMS, ScriptTerms, ServedCall, Serving
from duplexmock.schema.script import Script
from duplexmock.store.redact import Redaction

if TYPE_CHECKING:
    from duplexmock.core.faults import Fault
    from duplexmock.net.address import Address
    from duplexmock.net.driver import Driver
    from duplexmock.net.tee import Tee
    from duplexmock.play.faulty import Faults
    from duplexmock.schema.descriptors import Descriptors
    from duplexmock.schema.sources import Source

T = TypeVar("T")

Services = Literal["served", "none"]
"""Whether the mock has server reflection and health checking beside its scripts."""


class Mocking:
    """Answers calls by scripts; ScriptError where they, or the descriptors, do not fit one another.

    `ended` is told each call that is over. `out` is a fixture that is written as it goes.
    """

    def __init__(
        self,
        scripts: Sequence[Handler | Script],
        *,
        descriptors: Source | None = None,
        terms: ScriptTerms = DEFAULT_TERMS,
        faults: Sequence[str | Fault] = (),
        services: Services = "served",
        redact: Sequence[str] = (),
        out: Tee | None = None,
        ended: Callable[[ServedCall], None] = lambda call: None,
    ) -> None:
        check_scripts(scripts)
        if services not in ("served", "none"):
            raise ScriptError(f"services={services!r}: reflection and health are 'served', or 'none'")
        self.descriptors = _described(scripts, descriptors)
        self.redaction = Redaction(redact)
        self._out = out
        self._clock = MonotonicClock()
        self._started_ns = time.time_ns()
        self._waiting: set[asyncio.Future[None]] = set()
        self._target = ""
        self._faults: Faults | None = None
        if faults:
            from duplexmock.play.faulty import Faults

            self._faults = Faults(faults, Side.SERVER, self._clock, terms.timeout_ns)
        own: dict[str, Handler] = {}
        if services == "served":
            from duplexmock.play.services import services_of

            own = services_of([script.method for script in scripts], lambda: self.descriptors)
        self.serving = Serving(
            scripts,
            self._clock,
            descriptors=self.descriptors,
            terms=terms,
            own=own,
            faults=self._faults,
            changed=self._changed,
            heard=self._heard,
            ended=ended,
        )
        config = None if self._faults is None else self._faults.config
        self._server = Server(self.serving, self._clock, config, name="the mock", gone=self._gone)

    @property
    def unreadable(self) -> Sequence[str]:
        """Return a sentence for each connection that was ended because of what its client sent."""
        return self._server.unreadable

    @property
    def server(self) -> Server:
        """Return what listens."""
        return self._server

    async def start(self, listen: Address) -> Address:
        """Listen, and return the address with its port."""
        listening = await self._server.start(listen)
        self._target = str(listening)
        if self._out is not None:
            try:
                self._out.begin(self._target, self.descriptors)
            except BaseException:
                await self._server.stop(0)
                raise
        return listening

    async def stop(self, grace_s: float) -> None:
        """Let go what is held, give open calls `grace_s` seconds to end, and close."""
        await self.serving.release()
        await self.serving.end_own()
        try:
            await self._server.stop(grace_s)
        finally:
            if self._out is not None:
                await self._out.end()

    async def abandon(self) -> None:
        """End all calls now; for one who does not wait for `stop`."""
        await self._server.abandon()

    async def until(self, condition: Callable[[], T | None], within_s: float, what: str) -> T:
        """Wait until a condition is true, and return what it returned; MismatchError where it is not in time."""
        try:
            async with asyncio.timeout(within_s):
                while not (result := condition()):
                    news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.add(news)
                    try:
                        await news
                    finally:
                        self._waiting.discard(news)
                return result
        except TimeoutError:
            within = verdict.duration(round(within_s * 1e9))
            raise MismatchError(
                "\n".join((f"{what or 'what was waited for'}: not within {within}", *self._standing()))
            ) from None

    def save(self, path: Path | str, if_exists: Literal["refuse", "overwrite"]) -> None:
        """Write what is kept of all calls as a fixture; ScriptError where that is not all there was."""
        from duplexmock.store.header import Expectations, Header
        from duplexmock.store.sessions import write

        calls = self.serving.calls
        cut = next((call for call in calls if call.witness.left_out), None)
        if self.serving.dropped or cut is not None:
            what = (
                f"call {cut.number} has {cut.witness.left_out} events that were not kept"
                if cut is not None
                else f"the first {self.serving.dropped} calls were not kept"
            )
            raise ScriptError(f"{path}: {what}; serve(..., out=FILE) writes everything as it goes")
        if not calls:
            raise ScriptError(f"{path}: no call has come, and there is nothing to save")
        serialized = None if self.descriptors is None else self.descriptors.serialized
        header = Header(self._started_ns, self._target, serialized, self.redaction.keys, Expectations(), {})
        write(path, header, [call.session for call in calls], self.redaction, if_exists=if_exists)

    def raised(self) -> list[ServedCall]:
        """Return the calls whose handler has raised what is not a mismatch, the first few."""
        return self.serving.failures

    def report(self) -> str:
        """Say what clients did not do as they should, for people; empty where nothing."""
        mismatched = self.serving.mismatched
        if not mismatched and not self.unfired:
            return ""
        lines = list(self.unreadable)
        for call in mismatched:
            lines += [*self.lines(call), ""]
        if self.serving.disagreed > len(mismatched):
            lines += [f"and {self.serving.disagreed - len(mismatched)} more that did not agree", ""]
        return "\n".join((*lines, *self.unfired, self.tally()))

    @property
    def unfired(self) -> Sequence[str]:
        """Return a sentence for each fault that was never done."""
        return () if self._faults is None else self._faults.unfired()

    def lines(self, call: ServedCall) -> list[str]:
        """Return the lines of a call that did not agree: its timeline and the sentence."""
        from dataclasses import replace

        from duplexmock.report.served import failed_lines
        from duplexmock.schema.reader import Reader

        assert call.outcome is not None
        reader = Reader() if self.descriptors is None else Reader(self.descriptors)
        session = call.outcome.session
        shown = replace(call.outcome, session=session and self.redaction.session(session))
        return list(failed_lines(call.name, shown, reader))

    def line(self, call: ServedCall) -> str:
        """Return the line of a call that is over."""
        from duplexmock.report.escaping import escaped
        from duplexmock.report.served import ending

        session, witness = call.session, call.witness
        lasted_s = (session.entries[-1].at_ns - session.entries[0].at_ns) / 1e9
        said = f"{witness.heard_messages} > {witness.said_messages} <"
        how = ending(session) if call.failed is None else f"{ending(session)}   the handler has raised"
        name = "" if call.name == call.method else escaped(call.name)
        words = (f"call {call.number}", name, escaped(call.method), said, how, f"{lasted_s:.3f} s")
        return "   ".join(filter(None, words))

    def tally(self) -> str:
        """Count the calls, for people."""
        serving = self.serving
        calls = serving.agreed + serving.disagreed + serving.raised
        parts = [f"{serving.agreed} agreed"]
        if serving.disagreed:
            parts.append(f"{serving.disagreed} did not")
        if serving.raised:
            parts.append(f"{serving.raised} failed by their handler")
        return f"{calls} call{'' if calls == 1 else 's'}: {', '.join(parts)}"

    def _standing(self) -> list[str]:
        """Return a line for each call, of the latest few: what it has come to."""
        calls = self.serving.calls
        if not calls:
            return ["no call has come"]
        lines = [f"and {len(calls) - _TOLD} calls before"] if len(calls) > _TOLD else []
        return lines + [standing(call) for call in calls[-_TOLD:]]

    def _changed(self) -> None:
        for news in self._waiting:
            if not news.done():
                news.set_result(None)

    def _heard(self, call: ServedCall, at_ns: int, rows: Sequence[Row]) -> None:
        if self._out is not None:
            self._out.take(call, rows)

    def _gone(self, driver: Driver) -> None:
        if self._out is not None:
            here = driver.connection.number
            on_it = [call.number for call in self.serving.live.values() if call.connection.number == here]
            self._out.gone(driver, on_it)


def standing(call: ServedCall) -> str:
    """Say in a line what a call has come to."""
    witness = call.witness
    ends = "over" if call.is_over else "half-closed" if witness.half_closed else "open"
    return f"call {call.number}   {call.method}   {witness.heard_messages} > {witness.said_messages} <   {ends}"


def is_script(given: object) -> bool:
    """Tell whether this can be served."""
    return isinstance(given, Handler | Script)


def check_scripts(scripts: Sequence[object]) -> None:
    """Raise ScriptError where there is none, or one is no script."""
    if not scripts:
        raise ScriptError("no scripts were given: serve(script, ...)")
    for script in scripts:
        if not is_script(script):
            name = getattr(script, "__name__", repr(script))
            hint = ": is @duplexmock.handler(METHOD) missing above it?" if callable(script) else ""
            raise ScriptError(f"{name} is no script and no handler{hint}")


def _described(scripts: Sequence[Handler | Script], given_ones: Source | None) -> Descriptors | None:
    """Return one set of all descriptors that were given; None where there are none."""
    sources = [script.descriptors for script in scripts if script.descriptors is not None]
    if given_ones is None and not sources:
        return None
    from duplexmock.schema.descriptors import Descriptors
    from duplexmock.schema.sources import given

    for script in scripts:
        own = given(script.descriptors if script.descriptors is not None else given_ones)
        if own is not None:
            own.check(script.method)
    sets = [each for each in map(given, (given_ones, *dict.fromkeys(sources))) if each is not None]
    return reduce(Descriptors.merge, sets)


_TOLD = 10
"""Calls that are told one by one: more of them explain no more."""
