"""Serving scripts from Python: `with duplexmock.serve(script) as mock`, or `async with`."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar

from duplexmock.core.terms import FOR_EVER_S
from duplexmock.errors import MismatchError, ScriptError
from duplexmock.net import address
from duplexmock.net.address import Address
from duplexmock.net.background import check_may_block
from duplexmock.net.block import Block, check_grace
from duplexmock.net.mockcall import MockCall
from duplexmock.net.mocking import Mocking, Services
from duplexmock.play.serving import ScriptTerms

if TYPE_CHECKING:
    from duplexmock.core.faults import Fault
    from duplexmock.core.scriptplayer import Expect
    from duplexmock.play.handler import Handler
    from duplexmock.play.serving import ServedCall
    from duplexmock.schema.script import Script
    from duplexmock.schema.sources import Source

T = TypeVar("T")

WAIT_S = 10.0
"""How long a test waits for what it expects, unless it says otherwise."""


class Mock:
    """A server that is written, while its block lasts; made by `serve`.

    `target` is what the client dials. When the block is left, what a handler has raised is raised here with its
    traceback, and a client that did not keep to the script raises MismatchError with the timeline of its call; where
    the block raises something itself, these are its notes.
    """

    def __init__(self, mocking: Mocking, listen: Address, grace_s: float) -> None:
        self.target = ""
        self._mocking = mocking
        self._listen = listen
        self._grace_s = grace_s
        self._was_entered = False
        self._handles: dict[int, MockCall] = {}
        self._block = Block("duplexmock-serve", self._start, self._stop)

    @property
    def calls(self) -> tuple[MockCall, ...]:
        """Return the calls so far, live and past, in the order in which they were opened.

        The latest 1,000 past ones are kept, or fewer where they hold much; the `number` of each counts on.
        """
        calls = self._mocking.serving.calls
        self._handles = {
            served.number: self._handles.get(served.number) or MockCall(served, self._block, self._mocking)
            for served in calls
        }
        return tuple(self._handles.values())

    def call(self, number: int = 1, within: float = WAIT_S) -> MockCall:
        """Return the call of this number, from 1; wait for it so many seconds, and raise MismatchError then."""
        return self.wait_for(lambda mock: mock._call(number), within, f"call {number} has come")

    async def call_async(self, number: int = 1, within: float = WAIT_S) -> MockCall:
        """Return the call of this number, as `call` does, in asyncio code."""
        return await self.wait_for_async(lambda mock: mock._call(number), within, f"call {number} has come")

    def wait_for(self, condition: Callable[[Mock], T | None], within: float = WAIT_S, what: str = "") -> T:
        """Wait until `condition(mock)` is true, and return what it returned; it is asked when anything has happened.

        MismatchError, which says what the calls have come to, where that is not so within so many seconds; `what` is
        what is waited for, in words. Raises what the condition raises, and ScriptError where an event loop runs on this
        thread.
        """
        check_may_block("mock.wait_for", "mock.wait_for_async(...)")
        return self._block.ask(self._mocking.until(partial(condition, self), within, what))

    async def wait_for_async(self, condition: Callable[[Mock], T | None], within: float = WAIT_S, what: str = "") -> T:
        """Wait as `wait_for` does, in asyncio code."""
        waiting = self._block.start(self._mocking.until(partial(condition, self), within, what))
        return await asyncio.wrap_future(waiting)

    def hold(self) -> None:
        """Say nothing on any call, those that come later among them, until `release`; what clients say is heard."""
        self._block.ask(self._mocking.serving.hold())

    def release(self, messages: int | None = None) -> None:
        """Say what was held: all, and from now on everything at once; or so many messages on each call.

        A status counts as a message, and a header goes with what stands behind it.
        """
        self._block.ask(self._mocking.serving.release(messages))

    def save(self, path: Path | str, *, if_exists: Literal["refuse", "overwrite"] = "refuse") -> None:
        """Write all that the mock saw and said so far as a fixture, without secrets, as `record` does.

        Also when the block was left. ScriptError where so much was said that not all of it was kept; then
        `serve(..., out=FILE)` writes it as it goes.
        """
        self._mocking.save(path, if_exists)

    def __enter__(self) -> Mock:
        if self._was_entered:
            raise ScriptError("a mock is entered once; make another one")
        self._was_entered = True
        self._block.enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if not self._block.is_entered:
            return
        self._block.leave()
        failed = [(call, call.failed) for call in self._mocking.raised() if call.failed is not None]
        report = self._mocking.report()
        shown, first = exc, None
        if exc is None and failed:
            (_, first), *failed = failed
            shown = first
        if shown is not None:
            # The test's own exception stays the first thing shown; often it is what these explain.
            for text in (*(_told(call, raised) for call, raised in failed), report):
                if text:
                    shown.add_note(f"duplexmock: {text}")
        if first is not None:
            raise first
        if exc is None and report:
            raise MismatchError(report)

    async def __aenter__(self) -> Mock:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, exc, tb)

    def _call(self, number: int) -> MockCall | None:
        return next((call for call in self.calls if call.number == number), None)

    async def _start(self) -> None:
        self.target = str(await self._mocking.start(self._listen))

    async def _stop(self) -> None:
        await self._mocking.stop(self._grace_s)


def serve(
    *scripts: Script | Handler,
    listen: str = "127.0.0.1:0",
    descriptors: Source | None = None,
    expect: Expect = "lanes",
    timeout_s: float = 10.0,
    faults: Sequence[str | Fault] = (),
    services: Services = "served",
    out: Path | str | None = None,
    redact: Sequence[str] = (),
    grace_s: float = 1.0,
) -> Mock:
    """Serve what is written: the scripts, each for the calls of its method.

        with duplexmock.serve(chat, lobby) as mock:
            run_client(mock.target)

    Several scripts of one method are played in turn, a call each, and the last one goes on answering. `descriptors`,
    besides those of the scripts, are a descriptor set of protoc's, a .proto file or a generated module.

    Of a client that meets a Script is demanded, by `expect`, that it says the right messages ("lanes"), or also none
    before it may come ("order"); it has `timeout_s` for each of its events while nothing of ours is due. `faults`, such
    as "reset(CANCEL)@server:2", are done to each call; one that never fired fails the block.

    Server reflection and health checking are served as well, for grpcurl and its like, unless `services` is "none";
    where a script has one of their methods, the script's is meant. What is said goes into the fixture `out` as it is
    said, if one is given; `redact` are metadata keys, besides the usual ones, whose values no fixture and no report
    has. When the block is left, what was held is let go, and open calls have `grace_s` seconds to end.

    Works in `with` and in `async with`; the mock runs on a thread of its own. Raises ScriptError for what can never be
    served; leaving the block raises what a handler has raised, or MismatchError.
    """
    listening = address.parse(listen, "listen")
    check_grace(grace_s)
    tee = None
    if out is not None:
        from duplexmock.net.tee import Tee

        tee = Tee(out, redact=redact)
    mocking = Mocking(
        scripts,
        descriptors=descriptors,
        terms=terms(expect, timeout_s),
        faults=faults,
        services=services,
        redact=redact,
        out=tee,
    )
    return Mock(mocking, listening, grace_s)


def terms(expect: Expect, timeout_s: float) -> ScriptTerms:
    """Return how Scripts are played; ScriptError where the timeout is none, or nothing is to be expected so."""
    if expect not in ("lanes", "order"):
        raise ScriptError(f"expect={expect!r}: of a Script's peer is demanded 'lanes' or 'order'")
    if not timeout_s > 0:
        raise ScriptError(f"timeout {timeout_s:g}: not more than 0 seconds")
    return ScriptTerms(expect, round(min(timeout_s, FOR_EVER_S) * 1e9))


def _told(call: ServedCall, raised: BaseException) -> str:
    """Return what a handler has raised, with its traceback."""
    where = "".join(traceback.format_exception(raised)).rstrip()
    return f"{call.name} has raised, on call {call.number} of {call.method}:\n{where}"
