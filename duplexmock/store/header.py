"""The head of a fixture: what a recording is of, what is needed to read it, and what is expected where it is played."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

FORMAT = "duplexmock"
VERSION = 1
"""Of the format, not of the package. A change that an old reader would misread makes a new one."""

Expect = Literal["lanes", "order", "strict"]
"""What is demanded of a peer: the right messages in each lane; and none before what it needs; the word as seen."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What a play of the fixture expects unless it is told otherwise.

    `ignore` are field paths that are not compared, `bind` pairs of a field path of what is received and one of what is
    sent later and takes its value, `expect` what is demanded of the peer; None leaves it to the player.
    """

    ignore: tuple[str, ...] = ()
    bind: tuple[tuple[str, str], ...] = ()
    expect: Expect | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """What a fixture says before its first entry.

    `started_at_ns` is the wall clock at the recording's start, in Unix nanoseconds; all other times count from there.
    `upstream` is what was recorded: `host:port` or `unix:/path`. `descriptors` is a serialized FileDescriptorSet, or
    None. `redacted_keys` are the metadata keys whose values were not written. `notes` are free.
    """

    started_at_ns: int
    upstream: str
    descriptors: bytes | None = None
    redacted_keys: tuple[str, ...] = ()
    expectations: Expectations = Expectations()
    notes: Mapping[str, str] = field(default_factory=dict)


def header_fields(header: Header) -> dict[str, Any]:
    """Return the header as the map that opens a file of the current version; `format` and `version` come first."""
    expectations = header.expectations
    return {
        "format": FORMAT,
        "version": VERSION,
        "started_at_ns": header.started_at_ns,
        "upstream": header.upstream,
        "descriptors": header.descriptors,
        "redacted_keys": header.redacted_keys,
        "expectations": {"ignore": expectations.ignore, "bind": expectations.bind, "expect": expectations.expect},
        "notes": dict(header.notes),
    }


def header_from(fields: Mapping[str, Any]) -> Header:
    """Read the map that opens a file; ValueError, with what to do, where this is no header that can be read."""
    version = fields.get("version")
    if type(version) is not int or version < 1:
        raise ValueError(f"its version is {version!r}; the file is damaged or was edited by hand")
    if version > VERSION:
        raise ValueError(
            f"it has version {version} of the fixture format, and this duplexmock reads up to {VERSION}; "
            "a newer duplexmock reads it (pip install --upgrade duplexmock)"
        )
    return _READERS[version](fields)


def expectations_from(ignore: Any, bind: Any, expect: Any) -> Expectations:
    """Read what the file has of expectations; ValueError where these are none."""
    match ignore, bind:
        case [[*paths], [*pairs]] if (
            all(isinstance(path, str) for path in paths)
            and all(isinstance(pair, list) and [type(path) for path in pair] == [str, str] for pair in pairs)
            and (expect is None or expect in get_args(Expect))
        ):
            return Expectations(tuple(paths), tuple((source, path) for source, path in pairs), expect)
        case _:
            raise ValueError("expectations that are not paths, pairs of paths and a word")


def _from_v1(fields: Mapping[str, Any]) -> Header:
    match fields:
        case {
            "started_at_ns": int(started_at_ns),
            "upstream": str(upstream),
            "descriptors": bytes() | None as descriptors,
            "redacted_keys": [*keys],
            "expectations": {"ignore": ignore, "bind": bind, "expect": expect},
            "notes": dict(notes),
        } if all(isinstance(text, str) for text in (*keys, *notes, *notes.values())):
            try:
                expectations = expectations_from(ignore, bind, expect)
            except ValueError as exc:
                raise ValueError(_DAMAGED) from exc
            return Header(started_at_ns, upstream, descriptors, tuple(keys), expectations, notes)
        case _:
            raise ValueError(_DAMAGED)


_DAMAGED = "its header lacks a field or has one of a wrong type; it is damaged or was edited by hand"

_READERS: dict[int, Callable[[Mapping[str, Any]], Header]] = {1: _from_v1}
