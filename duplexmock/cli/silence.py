"""How long a COMMAND that is played to may keep silent: without a call, and with more to play."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from duplexmock.net.stage import Stage
from duplexmock.play.plan import DEFAULT_TIMEOUT_S, Options, find
from duplexmock.store.fixture import Fixture


async def too_long(
    idle: Callable[[float], Awaitable[None]], stage: Stage, paths: Sequence[Path | str], options: Options
) -> float:
    """Wait until there was no call for too long; return for how many seconds. Never returns when all was played.

    `idle` waits until there was none for so many seconds. What is too long is the timeout of the options; by default
    DEFAULT_TIMEOUT_S, and on top of it what was the longest silence when the fixtures at `paths` were recorded.
    """
    within_s = options.timeout_s or DEFAULT_TIMEOUT_S
    await idle(within_s)
    if options.timeout_s is None:
        within_s += await asyncio.to_thread(recorded_silence_s, paths, options)  # it may have to read far
        await idle(within_s)
    if not stage.unplayed():
        await asyncio.Event().wait()
    return within_s


def recorded_silence_s(paths: Sequence[Path | str], options: Options) -> float:
    """Return the longest time before one of the sessions that are played in which none of the others was open."""
    longest_ns = 0
    for path in find(paths):
        until_ns = 0
        with Fixture.open(path) as fixture:
            for session in fixture.chosen(sorted(set(options.sessions)), options.methods):
                longest_ns = max(longest_ns, session.entries[0].at_ns - until_ns)
                until_ns = max(until_ns, session.entries[-1].at_ns)
    return longest_ns / 1e9
