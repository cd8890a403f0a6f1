"""What stands in for the server in a test: a mock that plays a fixture, or the recorder before the live server.

It stands from when it is made until its `with` or `async with` is left, or the test is over. Then it is settled: its
channels are closed, what still goes on has a second to end, and the verdict is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from duplexmock.errors import MismatchError, ScriptError
from duplexmock.pytest_plugin.channels import Channels, check_asyncio

if TYPE_CHECKING:
    from duplexmock.core.outcome import Outcome
    from duplexmock.core.session import Session
    from duplexmock.net.capture import Capture
    from duplexmock.net.record import RecordingProxy
    from duplexmock.net.replay import Replay


class Standing(Protocol):
    """What a stand-in is made of: something to dial, and what took place there."""

    @property
    def target(self) -> str:
        """Return what the client dials."""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what the calls led to that have ended; none where nothing is expected of them."""

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Return the calls that have ended."""

    def end(self, exc: BaseException | None) -> None:
        """End; raises the verdict, or puts it into the notes of `exc`."""


class StandIn:
    """A server that a test dials, as `duplex` returns it; a context manager of both kinds.

    Without `with` it is settled when the test is over. A verdict that is not as expected is a MismatchError; where the
    block or the test raises something itself, that is its note.
    """

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._channels = Channels()
        self._is_settled = False

    @property
    def target(self) -> str:
        """Return what the client dials: HOST:PORT."""
        return self._standing.target

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what the replayed calls that have ended led to, in the order in which they ended."""
        return self._standing.outcomes

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Return the calls that have ended, as they took place."""
        return self._standing.sessions

    def channel(self) -> Any:
        """Return a channel of grpc to `target`, which is closed at the end; ScriptError where that has come."""
        __tracebackhide__ = True
        self._check_stands("channel")
        return self._channels.channel(self.target)

    def aio_channel(self) -> Any:
        """Return a channel of grpc.aio to `target`, which is closed at the end.

        ScriptError where that has come, and where no event loop of asyncio runs.
        """
        __tracebackhide__ = True
        self._check_stands("aio_channel")
        check_asyncio("aio_channel()", "channel()")
        return self._channels.aio_channel(self.target)

    def settle(self, exc: BaseException | None = None) -> None:
        """End, and raise the verdict; `exc` is what the test has raised. A second call does nothing."""
        __tracebackhide__ = True
        if not self._is_settled:
            self._is_settled = True
            try:
                self._channels.close()
            finally:
                self._standing.end(exc)

    async def settle_async(self, exc: BaseException | None = None) -> None:
        """Do the same from asyncio code, which goes on meanwhile: the live server may be part of it."""
        __tracebackhide__ = True
        if not self._is_settled:
            await self._channels.close_async()
            await asyncio.to_thread(self.settle, exc)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        __tracebackhide__ = True
        try:
            self.settle(exc)
        except MismatchError as verdict:
            raise verdict.with_traceback(None) from None  # what led to it is in its text, and not in our code

    async def __aenter__(self) -> Self:
        __tracebackhide__ = True
        check_asyncio("async with", "with")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        try:
            await self.settle_async(exc)
        except MismatchError as verdict:
            raise verdict.with_traceback(None) from None

    def _check_stands(self, what: str) -> None:
        __tracebackhide__ = True
        if self._is_settled:
            raise ScriptError(f"{what}(): {self.target} is there no more; its `with` was left, or its test is over")


class Replayed:
    """A mock that plays a fixture, and what is done when it has: below its verdict, `advice` says what to do about it.

    `drift` compares the fixture with the live server, and says what differs. `capture` has the calls that no session
    fitted.
    """

    def __init__(
        self,
        replay: Replay,
        *,
        advice: str,
        drift: Callable[[], str] | None = None,
        capture: Capture | None = None,
    ) -> None:
        self._replay = replay
        self._advice = advice
        self._drift = drift
        self._capture = capture
        replay.__enter__()

    @property
    def target(self) -> str:
        """Return what the client dials."""
        return self._replay.target

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what the calls led to that have ended."""
        return self._replay.outcomes

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Return the calls that have ended, and last those that were passed on."""
        played = tuple(outcome.session for outcome in self.outcomes if outcome.session is not None)
        if self._capture is None:
            return played
        self._replay.flush()
        return (*played, *_recorded(self._capture.out))

    def end(self, exc: BaseException | None) -> None:
        """End."""
        notes = _notes_of(exc)
        try:
            self._replay.__exit__(None if exc is None else type(exc), exc, None)
        except MismatchError as verdict:
            raise MismatchError(f"{verdict}\n{self._advice}") from None
        if exc is not None:
            if _notes_of(exc) > notes:  # the verdict, to which the advice belongs here as well
                exc.add_note(self._advice)
        elif self._drift is not None and (text := self._drift()):
            raise MismatchError(text)


class Recorded:
    """The recorder before the live server. A test that makes no call has nothing to record, which is a mismatch."""

    def __init__(self, proxy: RecordingProxy) -> None:
        self._proxy = proxy
        proxy.__enter__()

    @property
    def target(self) -> str:
        """Return what the client dials."""
        return self._proxy.target

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return none: nothing was expected."""
        return ()

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Return the calls that have ended and are in the file."""
        self._proxy.flush()
        ended = {each.number for each in self._proxy.finished}
        return tuple(session for session in _recorded(self._proxy.out) if session.number in ended)

    def end(self, exc: BaseException | None) -> None:
        """End."""
        self._proxy.__exit__(None if exc is None else type(exc), exc, None)
        if exc is None and not _recorded(self._proxy.out):
            raise MismatchError(f"nothing was recorded: no call was made at {self.target}")


def _notes_of(exc: BaseException | None) -> int:
    return len(getattr(exc, "__notes__", ()))


def _recorded(path: Path) -> tuple[Session, ...]:
    from duplexmock.store.fixture import Fixture

    with Fixture.open(path) as fixture:
        return tuple(fixture.sessions())
