"""A MockCall: the handle by which a test sees one call of a mock, and speaks on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from duplexmock.core.events import Side
from duplexmock.core.status import Code
from duplexmock.net.background import check_may_block
from duplexmock.play.ending import Pairs

if TYPE_CHECKING:
    from duplexmock.core.metadata import Metadata
    from duplexmock.core.outcome import Outcome
    from duplexmock.core.session import Session
    from duplexmock.net.block import Block
    from duplexmock.net.mocking import Mocking
    from duplexmock.play.serving import ServedCall

T = TypeVar("T")


class MockCall:
    """One call of a mock, live or past; `number` counts from 1 in the order in which calls were opened.

    What speaks on it (`push`, `finish`, `hold`, `release`) is for tests, on any thread, while the mock's block lasts.
    """

    def __init__(self, served: ServedCall, block: Block, mocking: Mocking) -> None:
        self.number = served.number
        self.method = served.method
        self._served = served
        self._block = block
        self._mocking = mocking

    def __repr__(self) -> str:
        return f"<MockCall {self.number} {self.method}>"

    @property
    def metadata(self) -> Metadata:
        """Return what the client's header said."""
        return self._served.metadata

    @property
    def session(self) -> Session:
        """Return what has taken place so far; of a long call its beginning and its latest events."""
        return self._served.session

    @property
    def received(self) -> list[Any]:
        """Return the client's messages so far, read by the descriptors, or as bytes where there are none."""
        return list(self._served.messages(Side.CLIENT))

    @property
    def sent(self) -> list[Any]:
        """Return the server's messages so far, read as in `received`."""
        return list(self._served.messages(Side.SERVER))

    @property
    def half_closed(self) -> bool:
        """Tell whether the client has half-closed."""
        return self._served.witness.half_closed

    @property
    def is_over(self) -> bool:
        """Tell whether the call has ended and its script is through."""
        return self._served.is_over

    @property
    def outcome(self) -> Outcome | None:
        """Return what it led to when it is over; None until then, and where its handler has raised."""
        return self._served.outcome if self._served.is_over else None

    def push(self, message: Any) -> None:
        """Say a message now: as in `Call.send`, past what is held; ScriptError where the call has ended."""
        self._block.ask(self._served.push(message))

    def finish(self, code: Any = Code.OK, details: str = "", trailing: Pairs = ()) -> None:
        """End the call with a status now, as in `Call.finish`, and its handler; ScriptError where it has ended."""
        self._block.ask(self._served.finish(code, details, trailing))

    def hold(self) -> None:
        """Say nothing on this call until `release`; what the client says is heard."""
        self._block.ask(self._served.hold())

    def release(self, messages: int | None = None) -> None:
        """Say what was held, as `Mock.release` does."""
        self._block.ask(self._served.held.let_go(messages))

    def wait_for(self, condition: Callable[[MockCall], T | None], within: float = 10.0, what: str = "") -> T:
        """Wait until `condition(call)` is true, as `Mock.wait_for` does."""
        check_may_block("call.wait_for", "call.wait_for_async(...)")
        return self._block.ask(self._mocking.until(partial(condition, self), within, what))

    async def wait_for_async(
        self, condition: Callable[[MockCall], T | None], within: float = 10.0, what: str = ""
    ) -> T:
        """Wait as `wait_for` does, in asyncio code."""
        waiting = self._block.start(self._mocking.until(partial(condition, self), within, what))
        return await asyncio.wrap_future(waiting)
