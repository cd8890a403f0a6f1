"""Replaying from Python: `with duplexmock.replay(path) as mock`, and `duplexmock.replay_client(path, target)`.

Asyncio code has `async with` for the one, and `await duplexmock.replay_client_async(path, target)` for the other.
"""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from duplexmock.core.events import Side
from duplexmock.core.outcome import Outcome
from duplexmock.core.terms import FOR_EVER_S
from duplexmock.errors import DuplexmockError, MismatchError, ScriptError
from duplexmock.net import address
from duplexmock.net.address import Address
from duplexmock.net.background import run_blocking
from duplexmock.net.block import Block, check_grace
from duplexmock.net.server import Server
from duplexmock.net.stage import Stage
from duplexmock.play.plan import Options
from duplexmock.schema.given import given
from duplexmock.store.header import Expect

if TYPE_CHECKING:
    from duplexmock.core.faults import Fault
    from duplexmock.net.capture import Capture
    from duplexmock.net.driver import LiveStream
    from duplexmock.play.repertoire import Part
    from duplexmock.schema.sources import Source

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Unplayed = Literal["fail", "warn", "ignore"]
"""What is done about sessions that were not played, when a block is left."""


class Replay:
    """A mock that plays the server of a fixture while its block lasts; made by `replay`.

    `target` is what the client dials. `outcomes` are those of the calls that have ended. When the block is left, a
    mismatch, or a session that was not played, raises MismatchError with the timeline of what happened; where the block
    raises something itself, that is its note. The fixtures are opened when the block is entered.
    """

    def __init__(
        self,
        make_stage: Callable[[], Stage],
        listen: Address,
        grace_s: float,
        unplayed: Unplayed = "fail",
        capture: Capture | None = None,
    ) -> None:
        self.target = ""
        self._unplayed = unplayed
        self._capture = capture
        self._make_stage = make_stage
        self._listen = listen
        self._grace_s = grace_s
        self._stage: Stage | None = None
        self._server: Server | None = None
        self._block = Block("duplexmock-replay", self._start, self._stop)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return the outcomes so far, in the order in which the calls ended."""
        return () if self._stage is None else tuple(outcome for _, outcome in self._stage.play.outcomes)

    def __enter__(self) -> Replay:
        if self._stage is not None:
            raise ScriptError("a replay is entered once; make another one")
        self._stage = self._make_stage()
        self._server = Server(self._stage.play, self._stage.clock, self._stage.config)
        try:
            self._block.enter()
        except BaseException:
            self._stage.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if not self._block.is_entered or self._stage is None or self._server is None:
            return
        failures: list[Exception] = []
        try:
            self._block.leave()
        except Exception as failure:  # what a play has raised
            failures.append(failure)
        finally:
            report = self._stage.report() if self._unplayed == "fail" else self._stage.report_of_played()
            unplayed = self._stage.unplayed() if self._unplayed == "warn" else []
            if report:
                report = "\n".join((*self._server.unreadable, report))
            self._stage.close()
        if exc is not None:
            # The test's own exception stays the first thing shown; often it is what the verdict explains.
            for text in (report, *map(str, failures)):
                if text:
                    exc.add_note(f"duplexmock: {text}")
        elif failures:
            raise failures[0]
        elif report:
            raise MismatchError(report)
        else:
            for each in unplayed:
                warnings.warn(f"not played: {each.source}   session {each.number}   {each.method}", RuntimeWarning, 2)

    def flush(self) -> None:
        """Have in the capture's file what has been seen so far."""
        self._block.run(self._flush())

    async def __aenter__(self) -> Replay:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, exc, tb)

    async def _start(self) -> None:
        assert self._server is not None
        if self._capture is not None:
            self._capture.begin()
        self.target = str(await self._server.start(self._listen))

    async def _flush(self) -> None:
        if self._capture is not None:
            self._capture.flush()

    async def _stop(self) -> None:
        assert self._server is not None
        try:
            await self._server.stop(self._grace_s)
        finally:
            if self._capture is not None:
                await self._capture.end()


class Outcomes(Sequence[Outcome]):
    """The outcomes of a replay, in the order in which its calls ended; `str` is the report, empty where all agreed."""

    def __init__(self, outcomes: Sequence[Outcome], report: str) -> None:
        self._outcomes = tuple(outcomes)
        self._report = report

    @property
    def agreed(self) -> bool:
        """Tell whether all was as expected."""
        return not self._report

    def check(self) -> None:
        """Raise MismatchError, with the timeline of what happened, where something was not as expected."""
        if self._report:
            raise MismatchError(self._report)

    def __len__(self) -> int:
        return len(self._outcomes)

    @overload
    def __getitem__(self, index: int) -> Outcome: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Outcome]: ...

    def __getitem__(self, index: int | slice) -> Outcome | Sequence[Outcome]:
        return self._outcomes[index]

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._outcomes)

    def __str__(self) -> str:
        return self._report


def replay(
    *paths: Path | str,
    listen: str = "127.0.0.1:0",
    expect: Expect | None = None,
    order: str | None = None,
    speed: float = math.inf,
    ignore: Sequence[str] = (),
    bind: Sequence[tuple[str, str]] = (),
    metadata: Mapping[str, str] | None = None,
    sessions: Sequence[int] = (),
    methods: Sequence[str] = (),
    repeat: int = 1,
    timeout_s: float | None = None,
    descriptors: Source | None = None,
    grace_s: float = 1.0,
    unplayed: Unplayed = "fail",
    capture: Capture | None = None,
    faults: Sequence[str | Fault] = (),
) -> Replay:
    """Play the server of recorded calls, and check what the client says.

        with duplexmock.replay("chat.duplex") as mock:
            run_client(mock.target)

    `paths` are fixtures or folders of them. `expect` is what is demanded of the client: "lanes" (the right messages in
    the right order of its lane; the default) or "strict" (the interleaving that was recorded). Our own messages wait
    for what the recorded ones waited for, or by the word `order`; `speed` 1 keeps the recorded gaps, infinity leaves
    them out. `ignore` are field paths that are not compared (`package.Message.field`, `/package.Service/Method>3`,
    `metadata:KEY`), `bind` pairs of a received field and one that is sent later with its value. `metadata` has values
    for keys that were redacted. `descriptors`, besides those in the fixtures, are a descriptor set of protoc's, a
    .proto file or a generated module. `sessions` and `methods` (globs) choose, `repeat` plays all of it so many times.
    The client has `timeout_s` for each of its events; None is 10 s and what it took in the recording. When the block is
    left, open calls have `grace_s` seconds to end. Sessions that were not played fail the block, or are a
    RuntimeWarning, or nothing. Calls that no session fits go to `capture`, if there is one. `faults`, such as
    "reset(CANCEL)@server:2" (core/faults.py says how they are written), are done to each call; one that never fired
    fails the block.

    Works in `with` and in `async with`; the mock runs on a thread of its own. Raises FixtureError for a file that
    cannot be read, ScriptError for arguments that make no sense; leaving the block raises MismatchError.
    """
    options = Options(expect, order, speed, metadata or {}, sessions, methods, repeat, timeout_s)
    listening = address.parse(listen, "listen")
    check_grace(grace_s)
    known = given(descriptors)
    missed = None if capture is None else capture.take
    stage = partial(
        Stage,
        paths,
        Side.SERVER,
        options,
        descriptors=known,
        ignore=ignore,
        bind=bind,
        missed=missed,
        faults=checked(faults, Side.SERVER),
    )
    return Replay(stage, listening, grace_s, unplayed, capture)


async def replay_client_async(
    path: Path | str | Sequence[Path | str],
    target: str,
    *,
    expect: Expect | None = None,
    order: str | None = None,
    speed: float = math.inf,
    ignore: Sequence[str] = (),
    bind: Sequence[tuple[str, str]] = (),
    metadata: Mapping[str, str] | None = None,
    sessions: Sequence[int] = (),
    methods: Sequence[str] = (),
    repeat: int = 1,
    timeout_s: float | None = None,
    descriptors: Source | None = None,
    faults: Sequence[str | Fault] = (),
) -> Outcomes:
    """Play the client of recorded calls against the live server at `target`, and return what it led to.

        (await duplexmock.replay_client_async("chat.duplex", "127.0.0.1:50051")).check()

    The recorded requests are repeated on that server, which may run on the same event loop. Arguments are those of
    `replay`, seen from the other side. Returns when all calls have ended. Raises ScriptError where nobody answers at
    `target`, or a redacted value has none in `metadata`.
    """
    options = Options(expect, order, speed, metadata or {}, sessions, methods, repeat, timeout_s)
    to = address.parse_target(target, "target")
    paths = [path] if isinstance(path, str | Path) else path
    known = given(descriptors)
    with Stage(paths, Side.CLIENT, options, descriptors=known, ignore=ignore, bind=bind, faults=faults) as stage:
        await perform(stage, to)
        return Outcomes([outcome for _, outcome in stage.play.outcomes], stage.report())


def checked(faults: Sequence[str | Fault], side: Side) -> Sequence[str | Fault]:
    """Return faults as values, where there are any; ScriptError where one is none, or cannot be done by this side."""
    if not faults:
        return ()
    from duplexmock.play.faulty import read

    return read(faults, side)


def with_arguments_of(model: Callable[P, R]) -> Callable[[Callable[[Callable[[], R]], T]], Callable[P, T]]:
    """Give a function the arguments of `model`; it is called with what calls `model` with them."""

    def decorate(form: Callable[[Callable[[], R]], T]) -> Callable[P, T]:
        @wraps(model)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return form(partial(model, *args, **kwargs))

        call.__name__, call.__qualname__, call.__doc__ = form.__name__, form.__qualname__, form.__doc__
        return call

    return decorate


@with_arguments_of(replay_client_async)
def replay_client(play: Callable[[], Coroutine[Any, Any, Outcomes]]) -> Outcomes:
    """Play the client of recorded calls against the live server at `target`, and return what it led to.

        duplexmock.replay_client("chat.duplex", "127.0.0.1:50051").check()

    Blocks until all calls have ended; otherwise as `replay_client_async`, and with its arguments. Raises ScriptError as
    that does, and where an event loop runs on this thread.
    """
    return run_blocking("replay_client", play)


async def perform(
    stage: Stage, target: Address, patience_s: float = 0, reached: Callable[[], None] = lambda: None
) -> None:
    """Play the client of a stage against a live server, which may take `patience_s` seconds to listen.

    `reached` is called when it does, once for each call that is opened.
    """
    from duplexmock.net.client import Client

    client = Client(target, stage.clock, min(patience_s, FOR_EVER_S), stage.config)

    async def opened(part: Part) -> LiveStream:
        stream = await client.open(part)
        reached()
        return stream

    try:
        await stage.play.perform(opened)
    except* DuplexmockError as group:
        raise group.exceptions[0] from None
    finally:
        client.close()
