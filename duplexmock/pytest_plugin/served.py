"""A mock that is written, in a test: what `duplex.serve` returns.

It is a Mock of `duplexmock.serve` that is entered when it is made and settled when its `with` or `async with` is left,
or the test is over, with the channels that StandIn has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from duplexmock.errors import MismatchError
from duplexmock.net.serve import WAIT_S, Mock
from duplexmock.pytest_plugin.channels import Channels

if TYPE_CHECKING:
    from duplexmock.core.outcome import Outcome
    from duplexmock.core.session import Session
    from duplexmock.net.mockcall import MockCall

T = TypeVar("T")


class Served:
    """A mock of scripts that a test dials; a context manager of both kinds."""

    def __init__(self, mock: Mock) -> None:
        self._mock = mock
        self._channels = Channels()
        self._is_settled = False
        mock.__enter__()

    @property
    def target(self) -> str:
        """Return what the client dials: HOST:PORT."""
        return self._mock.target

    @property
    def calls(self) -> tuple[MockCall, ...]:
        """Return the calls so far, as `Mock.calls`."""
        return self._mock.calls

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what the calls led to that have ended, in the order in which they were opened."""
        return tuple(call.outcome for call in self.calls if call.outcome is not None)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Return the calls that have ended, as they took place."""
        return tuple(call.session for call in self.calls if call.is_over)

    def call(self, number: int = 1, within: float = WAIT_S) -> MockCall:
        """Return the call of this number, as `Mock.call`."""
        return self._mock.call(number, within)

    async def call_async(self, number: int = 1, within: float = WAIT_S) -> MockCall:
        """Return the call of this number, as `Mock.call_async`."""
        return await self._mock.call_async(number, within)

    def wait_for(self, condition: Callable[[Mock], T | None], within: float = WAIT_S, what: str = "") -> T:
        """Wait until `condition(mock)` is true, as `Mock.wait_for`."""
        return self._mock.wait_for(condition, within, what)

    async def wait_for_async(self, condition: Callable[[Mock], T | None], within: float = WAIT_S, what: str = "") -> T:
        """Wait as `wait_for` does, in asyncio code."""
        return await self._mock.wait_for_async(condition, within, what)

    def hold(self) -> None:
        """Say nothing on any call until `release`, as `Mock.hold`."""
        self._mock.hold()

    def release(self, messages: int | None = None) -> None:
        """Say what was held, as `Mock.release`."""
        self._mock.release(messages)

    def save(self, path: Path | str, *, if_exists: Literal["refuse", "overwrite"] = "refuse") -> None:
        """Write all that was seen and said as a fixture, as `Mock.save`."""
        self._mock.save(path, if_exists=if_exists)

    def channel(self) -> Any:
        """Return a channel of grpc to `target`, which is closed at the end."""
        return self._channels.channel(self.target)

    def aio_channel(self) -> Any:
        """Return a channel of grpc.aio to `target`, which is closed at the end; where an event loop runs."""
        return self._channels.aio_channel(self.target)

    def settle(self, exc: BaseException | None = None) -> None:
        """End, and raise the verdict; `exc` is what the test has raised. A second call does nothing."""
        __tracebackhide__ = True
        if not self._is_settled:
            self._is_settled = True
            self._channels.close()
            self._mock.__exit__(None if exc is None else type(exc), exc, None)

    async def settle_async(self, exc: BaseException | None = None) -> None:
        """Do the same from asyncio code, which goes on meanwhile."""
        __tracebackhide__ = True
        if not self._is_settled:
            await self._channels.close_async()
            await asyncio.to_thread(self.settle, exc)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        __tracebackhide__ = True
        try:
            self.settle(exc)
        except MismatchError as verdict:
            raise verdict.with_traceback(None) from None  # what led to it is in its text, and not in our code

    async def __aenter__(self) -> Served:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        try:
            await self.settle_async(exc)
        except MismatchError as verdict:
            raise verdict.with_traceback(None) from None
