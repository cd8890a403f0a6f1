"""A mock that is written, in a test: what `duplex.serve` returns.

It is a Mock of `duplexmock.serve` that is entered when it is made and settled when its `with` or `async with` is left,
or the test is over, as a StandIn is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from duplexmock.net.serve import WAIT_S, Mock
from duplexmock.pytest_plugin.stand_in import StandIn

if TYPE_CHECKING:
    from duplexmock.core.outcome import Outcome
    from duplexmock.core.session import Session
    from duplexmock.net.mockcall import MockCall

T = TypeVar("T")


class Mocked:
    """A mock of scripts, as what a stand-in is made of."""

    def __init__(self, mock: Mock) -> None:
        self._mock = mock
        mock.__enter__()

    @property
    def target(self) -> str:
        """Return what the client dials."""
        return self._mock.target

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what the calls led to that have ended, in the order in which they were opened."""
        return tuple(call.outcome for call in self._mock.calls if call.outcome is not None)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Return the calls that have ended, as they took place."""
        return tuple(call.session for call in self._mock.calls if call.is_over)

    def end(self, exc: BaseException | None) -> None:
        """End."""
        __tracebackhide__ = True
        self._mock.__exit__(None if exc is None else type(exc), exc, None)


class Served(StandIn):
    """A mock of scripts that a test dials, and what can be asked of a Mock while it stands."""

    def __init__(self, mock: Mock) -> None:
        super().__init__(Mocked(mock))
        self._mock = mock

    @property
    def calls(self) -> tuple[MockCall, ...]:
        """Return the calls so far, as `Mock.calls`."""
        return self._mock.calls

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
