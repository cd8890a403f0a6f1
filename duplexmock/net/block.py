"""A block: what runs on a loop of its own from the beginning of a `with` or `async with` to its end."""

from __future__ import annotations

import concurrent.futures
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from duplexmock.errors import ScriptError
from duplexmock.net.background import Background

T = TypeVar("T")


class Block:
    """Runs `start` on a Background called `name` when it is entered, and `stop` there when it is left."""

    def __init__(
        self, name: str, start: Callable[[], Coroutine[Any, Any, None]], stop: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self._name = name
        self._start = start
        self._stop = stop
        self._background: Background | None = None

    @property
    def is_entered(self) -> bool:
        """Tell whether it was entered, and not left since."""
        return self._background is not None

    def enter(self) -> None:
        """Start; where that raises, the block is not entered, and nothing is left of it."""
        background = Background(self._name)
        try:
            background.run(self._start())
        except BaseException:
            background.close()
            raise
        self._background = background

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something on its loop, to its end; where it is not entered, nothing."""
        if self._background is None:
            coroutine.close()
        else:
            self._background.run(coroutine)

    def ask(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something on its loop and return what it returns.

        ScriptError where the block is not entered, or where this is its own thread, which would wait for itself.
        """
        background = self._background
        if background is None or background.is_here:
            coroutine.close()
            raise ScriptError(
                "this is for the block of the mock alone, which was left, or not entered"
                if background is None
                else "this is for a test, and would wait for itself on the mock's own thread; a handler has its call"
            )
        return background.run(coroutine)

    def start(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begin to run something on its loop; ScriptError where the block is not entered."""
        if self._background is None:
            coroutine.close()
            raise ScriptError("this is for the block of the mock alone, which was left, or not entered")
        return self._background.start(coroutine)

    def leave(self) -> None:
        """Stop; the loop ends also where that raises. Nothing is done where the block is not entered."""
        background, self._background = self._background, None
        if background is not None:
            try:
                background.run(self._stop())
            finally:
                background.close()


def check_grace(grace_s: float) -> None:
    """Raise ScriptError where what is open at the end of a block cannot be given so long to end."""
    if not 0 <= grace_s < math.inf:
        raise ScriptError(f"grace {grace_s:g}: not a number of seconds, 0 or more")
