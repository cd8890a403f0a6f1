"""The History of one call that is played: what the peer said and what we said, read by read, as cheaply as it came.

A Session is made of it when somebody asks. Rows stay rows, and stretches of our lane stay stretches, until then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from duplexmock.core.connection import Connection
from duplexmock.core.events import Cancel, ClientHeader, Event, Reset, ServerTrailer
from duplexmock.core.lanes import Step
from duplexmock.core.rows import Row, RowKind, event_of
from duplexmock.core.session import Ended, Entry, Session


class Arrived(NamedTuple):
    """What came in one read."""

    at_ns: int
    rows: Sequence[Row]


class Said(NamedTuple):
    """What we said at once; `start` is its place in our lane, None where it is not of the script."""

    at_ns: int
    start: int | None
    steps: Sequence[Step]


class History:
    """Collects what happens, in its order; iterating gives it back."""

    __slots__ = ("_happened",)

    def __init__(self) -> None:
        self._happened: list[Arrived | Said] = []

    def __iter__(self) -> Iterator[Arrived | Said]:
        return iter(self._happened)

    def add(self, happened: Arrived | Said) -> None:
        """Take the next thing."""
        self._happened.append(happened)

    def header(self) -> tuple[int, ClientHeader] | None:
        """Return the ClientHeader, whoever said it, and when; None where it has not been said."""
        for happened in self._happened:
            match happened:
                case Arrived(at_ns, rows):
                    event = event_of(rows[0])
                case Said(at_ns, _, steps):
                    event = steps[0].event
            if isinstance(event, ClientHeader):
                return at_ns, event
        return None

    def session(self, number: int, connection: Connection, stream_id: int, lost: str | None) -> Session | None:
        """Return what took place; `lost` says why the connection went away, None where it did not."""
        entries = self._entries()
        if not entries:
            return None
        ended, reason = self._ending() or ((Ended.INCOMPLETE, "") if lost is None else (Ended.CONNECTION_LOST, lost))
        return Session(number, connection, stream_id, tuple(entries), ended, reason)

    def _ending(self) -> tuple[Ended, str] | None:
        """Return the first ending that was seen, and the reason where the peer broke the protocol."""
        for happened in self._happened:
            if isinstance(happened, Said):
                last = type(happened.steps[-1].event)  # nothing is said behind one's last word
                if last in _ENDINGS:
                    return _ENDINGS[last], ""
                continue
            for row in happened.rows:
                if row[0] == RowKind.DAMAGED:
                    return Ended.DAMAGED, row[2]
                if type(row[2]) in _ENDINGS:
                    return _ENDINGS[type(row[2])], ""
        return None

    def _entries(self) -> list[Entry]:
        entries: list[Entry] = []
        for happened in self._happened:
            if isinstance(happened, Said):
                entries += [Entry(happened.at_ns, step.event) for step in happened.steps]
                continue
            for row in happened.rows:
                event = event_of(row)
                if event is not None:
                    entries.append(Entry(happened.at_ns, event))
                elif row[0] == RowKind.RESET_AFTER:
                    _amend_trailer(entries, row[2])
        return entries


def _amend_trailer(entries: list[Entry], code: int) -> None:
    for position in range(len(entries) - 1, -1, -1):
        event = entries[position].event
        if isinstance(event, ServerTrailer):
            entries[position] = replace(entries[position], event=replace(event, reset_after=code))
            return


_ENDINGS: dict[type[Event], Ended] = {ServerTrailer: Ended.TRAILER, Reset: Ended.RESET, Cancel: Ended.CANCELLED}
