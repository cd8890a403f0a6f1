"""A recording under way: rows of all connections in, a fixture out, and what a person wants to know meanwhile.

Connections and sessions get their numbers here, secrets are taken out here, and the clock that all times count from is
this one's. What has been seen is in the operating system's hands after FLUSH_S at the latest, and on the disk after
SYNC_S; a message of a busy connection goes earlier, with its block.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Literal, Protocol

from duplexmock.core.connection import Closed, Closing, Connection
from duplexmock.core.events import Cancel, ClientHeader, Reset, ServerTrailer, Side
from duplexmock.core.method import is_chosen
from duplexmock.core.recorder import unfinished
from duplexmock.core.rows import FIRST_OF_CONNECTION, Row, RowKind
from duplexmock.core.session import Ended
from duplexmock.core.status import code_name, error_name
from duplexmock.store.header import Expectations, Header
from duplexmock.store.index import LAST_OF_MESSAGES, SessionLine
from duplexmock.store.redact import Redaction
from duplexmock.store.writer import Writer
from duplexmock.wire.tap import Tap

FLUSH_S = 0.05
"""How long a row may wait for its block: a kill loses no more than that."""

SYNC_S = 1.0
"""How often the disk is asked to hold what was flushed: a sync costs as much as writing some hundred rows."""

_KIND = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Finished:
    """A session that has ended and is in the file; `outcome` is its status, or else how it ended, for people."""

    number: int
    method: str
    client_messages: int
    server_messages: int
    outcome: str
    lasted_ns: int


@dataclass(slots=True)
class Counts:
    """How much there is so far.

    `passed_calls` were not asked for; `foreign` connections speak something other than HTTP/2, and `foreign_streams`
    are HTTP/2 requests that are not gRPC's, of the connections that have ended. `unreadable` are those of them whose
    bytes could not be read to the end: calls on them are damaged, or not there at all.
    """

    connections: int = 0
    sessions: int = 0
    ended_sessions: int = 0
    passed_calls: int = 0
    foreign: int = 0
    foreign_streams: int = 0
    unreadable: int = 0
    client_messages: int = 0
    server_messages: int = 0
    client_bytes: int = 0
    server_bytes: int = 0


class Watcher(Protocol):
    """Is told what happens; called on the recording's loop, and must not block."""

    def ended(self, session: Finished) -> None:
        """A session has ended and is in the file."""

    def warn(self, text: str) -> None:
        """Something is not as it should be; one sentence, and the conversation goes on."""


class Recording:
    """Writes one fixture.

    `methods` are globs of the calls to record (`/chat.ChatService/*`, with the slash or without); none: all of them.
    FixtureError where the file cannot be made, ScriptError where `redact` asks for what cannot be done.
    """

    def __init__(
        self,
        out: Path | str,
        upstream: str,
        watcher: Watcher,
        *,
        if_exists: Literal["refuse", "overwrite"] = "refuse",
        methods: Sequence[str] = (),
        redact: Iterable[str] = (),
        descriptors: bytes | None = None,
        expectations: Expectations | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        self.counts = Counts()
        self.upstream = upstream
        self._watcher = watcher
        self._methods = tuple(methods)
        self._redaction = Redaction(redact)
        self._started_ns = time.monotonic_ns()
        header = Header(
            time.time_ns(), upstream, descriptors, self._redaction.keys, expectations or Expectations(), notes or {}
        )
        self._writer = Writer(out, header, if_exists=if_exists, wrote=self._wrote)
        self._sessions: dict[int, _Session] = {}
        self._lost: list[_Session] = []
        self._failed = False
        self._flushing: asyncio.TimerHandle | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._is_unsynced = False

    @property
    def failure(self) -> str:
        """Say why the fixture is not complete; empty while all is well."""
        return self._writer.failure

    def now_ns(self) -> int:
        """Return the time that the fixture's entries count in."""
        return time.monotonic_ns() - self._started_ns

    def connected(self, client: str, server: str) -> int:
        """Take a new connection; return its number."""
        self.counts.connections += 1
        number, at_ns = self.counts.connections, self.now_ns()
        self._write(at_ns, [(RowKind.OPENED, number, Connection(number, client, server, at_ns))])
        return number

    def described(self, serialized: bytes) -> None:
        """Take what the upstream says of its services, a FileDescriptorSet."""
        self._write(self.now_ns(), [(RowKind.DESCRIPTORS, 0, serialized)])

    def admit(self, method: str) -> int | None:
        """Return the number of the new session, or None where the call is not to be recorded."""
        if not is_chosen(method, self._methods):
            self.counts.passed_calls += 1
            return None
        self.counts.sessions += 1
        return self.counts.sessions

    def take(self, at_ns: int, rows: Sequence[Row]) -> None:
        """Take the rows of one read."""
        if max(map(_KIND, rows), default=0) > LAST_OF_MESSAGES:
            rows = self._redaction.rows(rows)
            for row in rows:
                if LAST_OF_MESSAGES < row[0] < FIRST_OF_CONNECTION:
                    self._follow(at_ns, row)
        self._write(at_ns, rows)

    def disconnected(
        self, number: int, tap: Tap, lost: Sequence[int], how: Closing, side: Side | None, reason: str = ""
    ) -> None:
        """Take the end of a connection, and with it of the calls that were open on it.

        `lost` are the sessions that are no longer open to the tap, and have not ended by themselves.
        """
        at_ns = self.now_ns()
        closed = Closed(at_ns, how, side, reason)
        self._write(at_ns, [(RowKind.CLOSED, number, closed)])
        ended, _ = unfinished(Connection(number, "", "", 0, closed=closed))
        for session in (self._sessions.get(number) for number in (*lost, *tap.open_numbers())):
            if session is not None and not session.outcome:
                session.end(at_ns, ended.value)
                self._lost.append(session)
        self.counts.foreign += bool(tap.foreign)
        self.counts.foreign_streams += tap.foreign_streams
        self.counts.unreadable += bool(tap.fault)

    def flush(self) -> None:
        """Have in the file what has been seen."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flush()

    def warn(self, text: str) -> None:
        """Tell the watcher."""
        self._watcher.warn(text)

    async def finish(self) -> None:
        """Write what is pending and close the fixture."""
        self._is_unsynced = False  # closing syncs
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._syncing is not None:
            await asyncio.wait({self._syncing})  # and not the task itself, which may have been cancelled
        self._writer.close()
        self._report_failure()
        for session in list(self._sessions.values()):
            session.end(self.now_ns(), Ended.INCOMPLETE.value)
            self._tell(session)

    def _write(self, at_ns: int, rows: Sequence[Row]) -> None:
        self._writer.write(at_ns, rows)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        self._writer.flush()
        self._report_failure()
        self._is_unsynced = True
        self._sync_soon()

    def _sync_soon(self) -> None:
        """Sync now, or as soon as the last time is long enough ago."""
        if self._syncing is None and self._is_unsynced and not self._failed:
            self._is_unsynced = False
            self._syncing = asyncio.get_running_loop().create_task(self._sync())

    async def _sync(self) -> None:
        """Sync on another thread, and not again before SYNC_S."""
        try:
            await asyncio.to_thread(self._writer.sync)
        finally:
            asyncio.get_running_loop().call_later(SYNC_S, self._may_sync)

    def _may_sync(self) -> None:
        self._syncing = None
        self._sync_soon()

    def _report_failure(self) -> None:
        if self._writer.failure and not self._failed:
            self._failed = True
            self.warn(f"{self._writer.failure}. The conversation goes on.")

    def _follow(self, at_ns: int, row: Row) -> None:
        """Keep of a session what its line will say."""
        number = row[1]
        match row[2]:
            case ClientHeader(method):
                self._sessions[number] = _Session(number, method, at_ns)
            case ServerTrailer(status):
                self._ended(number, at_ns, code_name(status.code) if status else "no grpc-status")
            case Reset(code):
                self._ended(number, at_ns, f"reset by the server: {error_name(code)}")
            case Cancel(code):
                self._ended(number, at_ns, f"cancelled by the client: {error_name(code)}")
            case str(reason) if row[0] == RowKind.DAMAGED:
                self._ended(number, at_ns, f"damaged: {reason}")
            case _:
                pass  # not an ending

    def _ended(self, number: int, at_ns: int, outcome: str) -> None:
        session = self._sessions.get(number)
        if session is not None and not session.outcome:
            session.end(at_ns, outcome)

    def _wrote(self, lines: Mapping[int, SessionLine]) -> None:
        """Count what has gone into the file, and tell of the sessions whose end has."""
        for number, line in lines.items():
            self.counts.client_messages += line.client_messages
            self.counts.server_messages += line.server_messages
            session = self._sessions.get(number)
            if session is not None:
                session.client_messages += line.client_messages
                session.server_messages += line.server_messages
                if line.ending:
                    self._tell(session)
        while self._lost:
            self._tell(self._lost.pop())

    def _tell(self, session: _Session) -> None:
        if self._sessions.pop(session.number, None) is not None:
            self.counts.ended_sessions += 1
            self._watcher.ended(session.finished())


class _Session:
    """What a session's line will say, as far as it is known."""

    __slots__ = ("client_messages", "ended_at_ns", "method", "number", "opened_at_ns", "outcome", "server_messages")

    def __init__(self, number: int, method: str, at_ns: int) -> None:
        self.number = number
        self.method = method
        self.opened_at_ns = self.ended_at_ns = at_ns
        self.outcome = ""
        self.client_messages = self.server_messages = 0

    def end(self, at_ns: int, outcome: str) -> None:
        """Note how and when it ended; the first ending counts."""
        if not self.outcome:
            self.ended_at_ns, self.outcome = at_ns, outcome

    def finished(self) -> Finished:
        """Return what can be told."""
        lasted_ns = self.ended_at_ns - self.opened_at_ns
        return Finished(self.number, self.method, self.client_messages, self.server_messages, self.outcome, lasted_ns)
