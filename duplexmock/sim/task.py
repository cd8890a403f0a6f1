"""Tasks of the virtual loop: numbered, so that nothing depends on where in memory they are.

asyncio keeps tasks in sets (a TaskGroup cancels its tasks in the order of one), and a set is ordered by hashes. A
task's own hash is its address, which differs from process to process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from types import FrameType
from typing import Any


class SimTask(asyncio.Task[Any]):
    """A task that hashes as its number."""

    __slots__ = ("caller", "number")

    number: int
    caller: FrameType | None
    """Where the thread waits that this task runs for (turns.py)."""

    def __init__(
        self,
        coro: Coroutine[Any, Any, Any],
        loop: asyncio.AbstractEventLoop,
        number: int,
        name: str | None,
        context: Context | None,
    ) -> None:
        self.caller = None
        self.number = number  # first: asyncio puts the task into a set while it is made
        super().__init__(coro, loop=loop, name=name or f"task {number}", context=context)

    def __hash__(self) -> int:
        return self.number
