"""The world of a Play for the tests: a loop whose time is a number, and calls whose far end a test speaks at.

    @virtual
    async def test_it() -> None:
        house = House(recorded(...))
        call = house.call()
        await call.talks(HEADER, ANSWER, ask("a"), reply("a"))
        assert await house.outcomes() == …

Waiting costs nothing: the loop's time goes on when nothing else can happen. Where nothing can happen ever, it says so.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any

from duplexmock.core.connection import Connection
from duplexmock.core.events import Event, Reset, Side, side_of
from duplexmock.core.lanes import Lanes, Loss, Parting
from duplexmock.core.outcome import Outcome
from duplexmock.core.rows import Row
from duplexmock.core.session import Session
from duplexmock.core.status import ErrorCode
from duplexmock.play.play import Play
from duplexmock.play.repertoire import CallReading, Part, Reading, Repertoire, Source
from tests.playbook import CONNECTION, by_bytes, row_of, terms


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a loop with virtual time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now_s


class _Selector(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._of = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is on its way, and nothing waits for its time"
            self._of.now_s += timeout
        return ready


class LoopClock:
    def now_ns(self) -> int:
        return round(asyncio.get_running_loop().time() * 1e9)


class Call:
    """One call: a Stream for the Play, and the far end, which says and hears; `line` are all of its connection."""

    def __init__(self, line: list[Call] | None = None, number: int = 1) -> None:
        self.lost: str | None = None
        self.is_refused = False
        self.is_closed = self.withheld = False
        self.connection: Connection = replace(CONNECTION, number=number)
        self.stream_id = 1
        self._line = line if line is not None else []
        self._line.append(self)
        self.heard: list[Any] = []
        self.task: asyncio.Task[None] | None = None
        self._rows: list[Row] = []
        self._news = asyncio.Event()
        self._hearing = asyncio.Event()
        self._told = 0

    # The far end

    def says(self, *events: Event) -> None:
        """Say these, at once."""
        self._rows += [row_of(event) for event in events]
        if Reset(ErrorCode.REFUSED_STREAM) in events:
            self.is_refused = True
        self._news.set()

    def goes(self, reason: str = "closed") -> None:
        """Lose the connection."""
        self.lost = reason
        self._news.set()

    async def hears(self, *expected: Any) -> None:
        """Wait for as many, which are these."""
        while len(self.heard) < self._told + len(expected):
            self._hearing.clear()
            await self._hearing.wait()
        came, self._told = self.heard[self._told : self._told + len(expected)], self._told + len(expected)
        assert came == list(expected), f"heard {came}, not {list(expected)}"

    async def talks(self, *events: Event, our: Side = Side.CLIENT) -> None:
        """Say what is of our side, and hear what is of the other, in this order."""
        for event in events:
            if side_of(event) is our:
                self.says(event)
            else:
                await self.hears(event)

    # The Stream

    async def send(self, events: Sequence[Any]) -> None:
        self.heard += events
        self._hearing.set()

    async def do(self, what: Loss | Parting) -> None:
        self.heard.append(what)
        self._hearing.set()
        if isinstance(what, Loss):
            for call in self._line:
                call.goes("as recorded")

    async def receive(self, until_ns: int) -> Sequence[Row]:
        if not self._rows and self.lost is None:
            loop = asyncio.get_running_loop()
            timer = loop.call_at(until_ns / 1e9, self._news.set)
            await self._news.wait()
            timer.cancel()
        self._news.clear()
        rows, self._rows = self._rows, []
        return rows

    def wake(self) -> None:
        self._news.set()

    async def drained(self) -> None:
        pass

    def hold(self) -> None:
        self.withheld = True

    def release(self) -> None:
        self.withheld = False

    def close(self) -> None:
        self.is_closed = True


class Plain:
    """A Reading that compares by bytes."""

    def of_call(self, lanes: Lanes, side: Side) -> CallReading:
        return CallReading(by_bytes)

    def offered(self, lanes: Lanes, header: Event) -> Lanes:
        return lanes


def source(
    *sessions: Session, name: str = "one.duplex", side: Side = Side.SERVER, reading: Reading | None = None, **on: Any
) -> Source:
    """Return a source of these sessions, on terms as in the playbook."""
    return Source(name, lambda: iter(sessions), Lanes.of, lambda of: terms(of, side, **on), reading or Plain())


class House:
    """A Play of these sessions or sources, and the calls on it."""

    def __init__(
        self, *what: Session | Source, side: Side = Side.SERVER, repeat: int = 1, more: Any = None, **on: Any
    ) -> None:
        sessions = [each for each in what if isinstance(each, Session)]
        sources = [each for each in what if isinstance(each, Source)]
        if sessions:
            sources.append(source(*sessions, side=side, **on))
        self.clock = LoopClock()
        self.play = Play(Repertoire(sources, side, repeat), side, self.clock, **(more or {}))
        self.calls: list[Call] = []
        self._lines: dict[int, list[Call]] = {}
        self._coming = asyncio.Event()

    # The play is the server

    def call(self, *said: Event, connection: int = 1) -> Call:
        """Open a call, saying these at once."""
        call = self._call(connection)
        call.says(*said) if said else None
        call.task = asyncio.get_running_loop().create_task(self.play.answer(call))
        self.calls.append(call)
        return call

    async def outcomes(self) -> list[Outcome]:
        """Wait for all calls to end; return their outcomes, in the order in which they ended."""
        for call in self.calls:
            assert call.task is not None
            await call.task
            assert call.is_closed
        return [outcome for _, outcome in self.play.outcomes]

    def unplayed(self) -> list[int]:
        return [session.number for session in self.play.unplayed()]

    def _call(self, connection: int) -> Call:
        return Call(self._lines.setdefault(connection, []), connection)

    # The play is the client

    def performs(self) -> asyncio.Task[None]:
        """Begin to play the client; `call_of` gives the far ends."""
        return asyncio.get_running_loop().create_task(self.play.perform(self._open))

    async def _open(self, part: Part) -> Call:
        call = self._call(part.connection)
        self.calls.append(call)
        self._coming.set()
        return call

    async def opened(self, place: int) -> Call:
        """Wait for the call at this place, from 0 in the order of their opening."""
        while len(self.calls) <= place:
            self._coming.clear()
            await self._coming.wait()
        return self.calls[place]


def verdicts(outcomes: Sequence[Outcome]) -> Iterator[tuple[int, str]]:
    """Yield the session of each and its sentence, empty where it agreed."""
    for outcome in outcomes:
        yield outcome.number, outcome.mismatch.sentence if outcome.mismatch else ""
