"""Settling a test: when its call is over, what it has left open is ended, and the verdict becomes that of the test.

It happens while the test is still being called, so that a mismatch is a failure of the test and not an error behind it,
and reruns, xfail and reports see one as they see any other.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from duplexmock.errors import DuplexmockError

if TYPE_CHECKING:
    from duplexmock.pytest_plugin.duplex import Duplex

DUPLEX = pytest.StashKey["Duplex"]()
"""The fixture's value, while a test has one."""


def settle(item: pytest.Item, exc: BaseException | None) -> None:
    """Settle a test whose call has raised `exc`, or nothing; then this raises what is wrong, as pytest's own failure.

    Where the test has raised something that stays what is shown; the verdict is in its notes. A test that was skipped
    has none.
    """
    duplex = item.stash.get(DUPLEX, None)
    if duplex is None:
        return
    if exc is not None:
        if isinstance(exc, Exception | pytest.fail.Exception):
            duplex.settle(exc)
        return
    try:
        duplex.settle(None)
    except DuplexmockError as failure:
        text = "\n\n".join((str(failure), *getattr(failure, "__notes__", ())))
        raise pytest.fail.Exception(text, pytrace=False) from None


def keep(item: pytest.Item, report: pytest.TestReport) -> None:
    """Keep what a test has recorded whose report says that it has passed; where that cannot be done, it has failed."""
    duplex = item.stash.get(DUPLEX, None)
    if duplex is None or report.when != "call" or report.outcome != "passed":
        return
    try:
        duplex.keep()
    except DuplexmockError as failure:
        report.outcome = "failed"
        report.longrepr = str(failure)


@contextmanager
def in_its_loop(item: pytest.Item) -> Iterator[None]:
    """Have a test that is a coroutine settled by itself: its channels, and a server of its own, live in its loop."""
    duplex = item.stash.get(DUPLEX, None)
    if duplex is None or not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        yield
        return
    function = item.obj
    item.obj = _settled(function, duplex)
    try:
        yield
    finally:
        item.obj = function


def _settled(function: Any, duplex: Duplex) -> Any:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            result = await function(*args, **kwargs)
        except Exception as exc:
            await duplex.settle_async(exc)
            raise
        await duplex.settle_async(None)
        return result

    return call
