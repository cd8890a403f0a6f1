"""Playing the client of scripts against a live server: `duplexmock.play_client(script, target)`.

Asyncio code awaits `duplexmock.play_client_async(script, target)`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from duplexmock.core.events import Side
from duplexmock.core.outcome import Outcome
from duplexmock.core.scriptplayer import ScriptPlayer
from duplexmock.errors import ScriptError
from duplexmock.net import address
from duplexmock.net.background import run_blocking
from duplexmock.net.client import Client
from duplexmock.net.clock import MonotonicClock
from duplexmock.net.replay import Outcomes, with_arguments_of
from duplexmock.net.serve import terms
from duplexmock.play.running import Speaking, run
from duplexmock.report.summary import tally
from duplexmock.schema.given import given
from duplexmock.schema.script import Script

if TYPE_CHECKING:
    from duplexmock.core.faults import Fault
    from duplexmock.core.scriptplayer import Expect
    from duplexmock.play.faulty import Faults
    from duplexmock.play.serving import ScriptTerms
    from duplexmock.schema.sources import Source


async def play_client_async(
    script: Script | Sequence[Script],
    target: str,
    *,
    descriptors: Source | None = None,
    expect: Expect = "lanes",
    timeout_s: float = 10.0,
    faults: Sequence[str | Fault] = (),
    repeat: int = 1,
) -> Outcomes:
    """Play the client of a Script, or of several one after another, against the live server at `target`.

        (await duplexmock.play_client_async(chat, "127.0.0.1:50051")).check()

    Returns what that led to, a call each; all of it is played `repeat` times. The calls are on one connection, as long
    as it takes new ones. Other arguments are those of `serve`, seen from the other side. Raises ScriptError where a
    Script says something of the client's that is only a match, or nobody answers at `target`; and what a function of
    the Script has raised.
    """
    to = address.parse_target(target, "target")
    scripts: list[Any] = list(script) if isinstance(script, list | tuple) else [script]
    if repeat < 1:
        raise ScriptError(f"repeat {repeat}: at least 1")
    for each in scripts:
        if not isinstance(each, Script):
            raise ScriptError(f"{each!r} is no Script: handlers answer calls, and make none")
    stage = _Stage(scripts, to, terms(expect, timeout_s), descriptors, faults)
    try:
        for _ in range(repeat):
            for each in scripts:
                await stage.play(each)
    finally:
        stage.client.close()
    return Outcomes(stage.outcomes, stage.report())


@with_arguments_of(play_client_async)
def play_client(play: Callable[[], Coroutine[Any, Any, Outcomes]]) -> Outcomes:
    """Play the client of a Script, or of several one after another, against the live server at `target`.

        duplexmock.play_client(chat, "127.0.0.1:50051").check()

    Blocks until all calls have ended; otherwise as `play_client_async`, and with its arguments. Raises ScriptError as
    that does, and where an event loop runs on this thread.
    """
    return run_blocking("play_client", play)


class _Stage:
    """The scripts that are played, and what that led to."""

    def __init__(
        self,
        scripts: Sequence[Script],
        target: address.Address,
        terms: ScriptTerms,
        descriptors: Source | None,
        faults: Sequence[str | Fault],
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._played: list[Script] = []
        self._clock = MonotonicClock()
        self._descriptors = given(descriptors)
        self._terms = terms
        self._authority = str(target)
        for script in scripts:
            script.prepared(Side.CLIENT, self._descriptors)  # what cannot be played is told before anything is said
        self._faults: Faults | None = None
        if faults:
            from duplexmock.play.faulty import Faults

            self._faults = Faults(faults, Side.CLIENT, self._clock, terms.timeout_ns)
        self.client = Client(target, self._clock, config=None if self._faults is None else self._faults.config)

    async def play(self, script: Script) -> None:
        """Play one call to its end."""
        number = len(self.outcomes) + 1
        live = await self.client.open_on(("scripts", 0, 1))
        faulty = None if self._faults is None else self._faults.around(live, number)
        stream = faulty or live
        player = ScriptPlayer(
            script.prepared(Side.CLIENT, self._descriptors),
            Side.CLIENT,
            expect=self._terms.expect,
            timeout_ns=self._terms.timeout_ns,
            start_ns=self._clock.now_ns(),
            number=number,
            authority=self._authority,
        )
        try:
            if faulty is None:
                turns = Speaking(stream, player, lambda: None)
            else:
                turns = Speaking(stream, player, faulty.left, self._clock)
            await run(turns, self._clock)
            if faulty is not None:
                await faulty.ended()
        finally:
            stream.close()
        outcome = player.outcome(stream.connection, stream.stream_id)
        self.outcomes.append(outcome if faulty is None else faulty.retold(outcome))
        self._played.append(script)

    def report(self) -> str:
        """Say what was not as expected, for people; empty where all was."""
        counted = tally(self.outcomes, (), () if self._faults is None else self._faults.unfired())
        if counted.is_green:
            return ""
        from duplexmock.report.served import failed_lines
        from duplexmock.schema.reader import Reader

        lines: list[str] = []
        for script, outcome in zip(self._played, self.outcomes, strict=True):
            if not outcome.agreed:
                known = given(script.descriptors) or self._descriptors
                reader = Reader() if known is None else Reader(known)
                lines += [*failed_lines(script.name, outcome, reader), ""]
        return "\n".join((*lines, *counted.unfired, str(counted)))
