"""An event loop on a thread of its own, so that synchronous and asyncio code use what runs there alike."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from duplexmock.errors import ScriptError

T = TypeVar("T")


class Background:
    """Runs coroutines on a loop of its own from its making until `close`. Its thread is a daemon.

    `run` blocks, `start` does not: await `asyncio.wrap_future` of what it returns. What the coroutine raises is raised
    there.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Tell whether this is its own thread, where `run` would wait for itself."""
        return threading.current_thread() is self._thread

    def start(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begin to run a coroutine."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return what it returns. A KeyboardInterrupt here cancels it."""
        future = self.start(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the loop, cancelling what still runs on it, and then the thread. A second call does nothing.

        What does not end within LAST_S seconds of its cancelling is left behind.
        """
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            end(self._loop)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end as `asyncio.run` does, and `end` its loop, as that does not."""
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(coroutine)
    finally:
        asyncio.set_event_loop(None)
        end(loop)


def run_blocking(name: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the coroutine of a function `name`, the blocking form of `{name}_async`, and return its result.

    ScriptError, and no coroutine is made, where an event loop runs on this thread.
    """
    check_may_block(name, f"{name}_async(...)")
    background = Background(f"duplexmock-{name.replace('_', '-')}")
    try:
        return background.run(make())
    finally:
        background.close()


def end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left on a loop, and close it.

    What does not let itself be cancelled within LAST_S seconds, as somebody's handler may not, is left behind.
    """
    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            if not task.cancelling():  # one that was cancelled before is ending in its own way
                task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LAST_S))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


LAST_S = 5.0
"""How long what was cancelled may take to end when the loop is ended: for a `finally` that writes, on a slow disk."""


def check_may_block(name: str, instead: str) -> None:
    """Raise ScriptError where an event loop runs on this thread, which a function of this name would block.

    `instead` says what is to be awaited there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ScriptError(
        f"{name} would block the event loop that runs here, and a server on it could never answer; "
        f"there, await {instead}"
    )
