"""Recording from Python: `with duplexmock.record(upstream, out=path) as proxy`, and the same in `async with`."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from duplexmock.errors import FixtureError
from duplexmock.net import address
from duplexmock.net.address import Address
from duplexmock.net.block import Block, check_grace
from duplexmock.net.proxy import Proxy, ask_upstream
from duplexmock.net.recording import Finished, Recording, Watcher
from duplexmock.schema.binding import check_expectations
from duplexmock.schema.sources import Source, given
from duplexmock.store.header import Expect, Expectations


class RecordingProxy:
    """A proxy that records while its block lasts; made by `record`.

    `target` is what a client dials instead of the upstream. `out` is the fixture, complete when the block is left.
    `finished` are the sessions that have ended and are in the file. What goes wrong on the way (the upstream cannot be
    reached, something speaks HTTP/1.1, the disk is full) is a RuntimeWarning when the block is left, and the
    conversation goes on; an unwritable file is then a FixtureError. An exception of the block stays the one that is
    raised, and the warnings are notes of it.
    """

    def __init__(
        self, out: Path, proxy: Proxy, listen: Address, grace_s: float, record: Callable[[Watcher], Recording]
    ) -> None:
        self.out = out
        self.target = ""
        self.finished: list[Finished] = []
        self._proxy = proxy
        self._listen = listen
        self._grace_s = grace_s
        self._warnings: list[str] = []
        self._record = partial(record, _Watcher(self.finished, self._warnings))
        self._block = Block("duplexmock-record", self._start, self._stop)

    def __enter__(self) -> RecordingProxy:
        self._block.enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if not self._block.is_entered:
            return
        self._block.leave()
        if exc is not None:
            for text in self._warnings:
                exc.add_note(f"duplexmock: {text}")
            return
        failure = self._proxy.recording.failure
        if failure:
            raise FixtureError(failure)
        for text in self._warnings:
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def flush(self) -> None:
        """Have in the file what has been seen so far: it is complete when the block is left."""
        self._block.run(self._flush())

    async def __aenter__(self) -> RecordingProxy:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, exc, tb)

    async def _start(self) -> None:
        self.target = str(await self._proxy.start(self._listen, self._record))

    async def _flush(self) -> None:
        self._proxy.recording.flush()

    async def _stop(self) -> None:
        try:
            await self._proxy.drain(self._grace_s)
        finally:  # also where somebody does not want to wait, and interrupts
            await self._proxy.stop()


def record(
    upstream: str,
    *,
    out: Path | str,
    listen: str = "127.0.0.1:0",
    overwrite: bool = False,
    methods: Sequence[str] = (),
    redact: Iterable[str] = (),
    descriptors: Source | None = None,
    reflection: bool = False,
    ignore: Sequence[str] = (),
    bind: Sequence[tuple[str, str]] = (),
    expect: Expect | None = None,
    notes: Mapping[str, str] | None = None,
    grace_s: float = 5.0,
) -> RecordingProxy:
    """Record the calls that clients make at the proxy's `target`, and `upstream` serves, into the fixture `out`.

        with duplexmock.record("127.0.0.1:50051", out="chat.duplex") as proxy:
            run_client(proxy.target)

    `upstream` and `listen` are `HOST:PORT` or `unix:/path`. `methods` are globs of the calls to record, all by default;
    the others pass. `redact` are metadata keys besides the usual ones (authorization, cookie, x-api-key …) whose values
    are not written. `descriptors` is a descriptor set of protoc's, a .proto file or a generated module; with
    `reflection` the upstream is asked for them, once, on a connection of its own. They go into the fixture, as do
    `ignore`, `bind`, `expect` (see `replay`) and `notes`. When the block is left, open calls have `grace_s` seconds to
    end.

    Works in `with` and in `async with`; the proxy runs on a thread of its own. Raises ScriptError for arguments that
    make no sense or an address that is taken, FixtureError where `out` exists and `overwrite` is False, is being
    written by another recording, or cannot be written.
    """
    to = address.parse_target(upstream, "upstream")
    known = given(descriptors)
    check_expectations(ignore, bind)
    check_grace(grace_s)
    recording = partial(
        Recording,
        out,
        str(to),
        if_exists="overwrite" if overwrite else "refuse",
        methods=tuple(methods),
        redact=tuple(redact),
        descriptors=None if known is None else known.serialized,
        expectations=Expectations(tuple(ignore), tuple(bind), expect),
        notes=notes,
    )
    proxy = Proxy(to, partial(ask_upstream, to) if reflection else None)
    return RecordingProxy(Path(out), proxy, address.parse(listen, "listen"), grace_s, recording)


class _Watcher:
    """Keeps what happens."""

    def __init__(self, finished: list[Finished], warnings: list[str]) -> None:
        self._finished = finished
        self._warnings = warnings

    def ended(self, session: Finished) -> None:
        self._finished.append(session)

    def warn(self, text: str) -> None:
        self._warnings.append(text)
