"""Redaction: what is kept out of a fixture, by the metadata key it stands under.

The key stays, the value becomes a placeholder: an HMAC of the value under a key of this recording, which nobody keeps.
So one can see in a fixture that the same token came twice, and cannot try out which it was. It happens before anything
is written, shown or counted. What cannot be redacted as asked is refused before the recording begins.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import translate

from duplexmock.core.events import ClientHeader, Event, ServerHeader, ServerTrailer
from duplexmock.core.metadata import Metadata
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.session import Session
from duplexmock.core.status import Status
from duplexmock.errors import ScriptError

DEFAULT_KEYS = (
    "*api-key*",
    "*apikey*",
    "*authorization*",
    "*cookie*",
    "*credential*",
    "*password*",
    "*secret*",
    "*token*",
    "x-forwarded-client-cert",
)
"""Globs of keys whose values are secrets by their meaning."""

PLACEHOLDER = "redacted:"
"""How every placeholder begins; 16 hexadecimal digits follow."""


class Redaction:
    """Redacts the metadata under `keys` and DEFAULT_KEYS, for one recording.

    Keys may be globs: `x-acme-*`. `grpc-message` and `grpc-status-details-bin` are parts of the Status and redacted
    there. ScriptError where a key is no metadata key, or one without which the recording could not be read.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self.keys = tuple(sorted({*DEFAULT_KEYS, *(_checked(key) for key in keys)}))
        self._matches = re.compile("|".join(translate(key) for key in self.keys)).match
        self._secret = os.urandom(32)

    def rows(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows with every secret replaced; the same object where they hold none."""
        found = {
            position: redacted
            for position, row in enumerate(rows)
            if row[0] in _WITH_METADATA and (redacted := self.event(row[2])) is not row[2]
        }
        if not found:
            return rows
        return [
            (*row[:2], found[position], *row[3:]) if position in found else row for position, row in enumerate(rows)
        ]

    def event(self, event: ClientHeader | ServerHeader | ServerTrailer) -> ClientHeader | ServerHeader | ServerTrailer:
        """Return the event with every secret replaced; the same object where it holds none."""
        metadata = event.metadata
        if any(self._is_secret(key) for key, _ in metadata):
            metadata = Metadata(tuple((key, self._value(key, value)) for key, value in metadata))
            event = replace(event, metadata=metadata)
        if isinstance(event, ServerTrailer) and event.status is not None and any(map(self._is_secret, _OF_STATUS)):
            event = replace(event, status=self._status(event.status))
        return event

    def session(self, session: Session) -> Session:
        """Return the session with every secret replaced."""
        return replace(session, entries=tuple(replace(entry, event=self.any(entry.event)) for entry in session.entries))

    def any(self, event: Event) -> Event:
        """Return the event with every secret replaced, whatever event it is."""
        return self.event(event) if isinstance(event, ClientHeader | ServerHeader | ServerTrailer) else event

    def _is_secret(self, key: str) -> bool:
        return key not in _NEEDED and self._matches(key) is not None

    def _value(self, key: str, value: str | bytes) -> str | bytes:
        if not self._is_secret(key) or is_redacted(value):
            return value
        # What a `-bin` key carried as text was no base64; latin-1 loses none of it.
        raw = value if isinstance(value, bytes) else value.encode("latin-1")
        return self._placeholder(raw).encode() if isinstance(value, bytes) else self._placeholder(raw)

    def _status(self, status: Status) -> Status:
        if self._is_secret("grpc-message") and status.message:
            status = replace(status, message=self._placeholder(status.message.encode("utf-8", "surrogateescape")))
        if self._is_secret("grpc-status-details-bin") and status.details is not None:
            status = replace(status, details=self._placeholder(status.details).encode())
        return status

    def _placeholder(self, value: bytes) -> str:
        return PLACEHOLDER + hmac.digest(self._secret, value, "sha256")[:8].hex()


def is_redacted(value: str | bytes) -> bool:
    """Tell whether this stands for a value that was not written."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return _PLACEHOLDER.fullmatch(text) is not None


def _checked(key: str) -> str:
    """Return the key as metadata has it."""
    lower = key.lower()
    if lower.startswith(":"):
        raise ScriptError(f"redact {key!r}: pseudo-headers are not metadata and cannot be redacted")
    if lower in _NEEDED:
        raise ScriptError(f"redact {key!r}: a recording cannot be read without it, and it holds no secret")
    if not _KEY.fullmatch(lower):
        raise ScriptError(f"redact {key!r}: not a metadata key, or a glob of them: letters, digits, '-', '_', '.', '*'")
    return lower


_KEY = re.compile(r"[a-z0-9_.\-*]+")
_PLACEHOLDER = re.compile(re.escape(PLACEHOLDER) + r"[0-9a-f]{16}")
_WITH_METADATA = frozenset((RowKind.CLIENT_HEADER, RowKind.SERVER_HEADER, RowKind.SERVER_TRAILER))
_NEEDED = frozenset(("content-type", "grpc-encoding", "grpc-status", "grpc-timeout", "te"))
_OF_STATUS = frozenset(("grpc-message", "grpc-status-details-bin"))
