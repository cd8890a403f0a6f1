"""Adding to a fixture what was found out behind its recording: what was learned, and what is expected.

The file is written anew beside itself and renamed, so that nobody ever reads half of it, and a reader that has it open
reads on as it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING

from duplexmock.core.rows import Row, RowKind
from duplexmock.errors import FixtureError
from duplexmock.store.header import Expectations
from duplexmock.store.reading import last_index, read_header, read_index
from duplexmock.store.records import END, Source
from duplexmock.store.writer import Behind, Writer, kept_from_writers

if TYPE_CHECKING:
    from duplexmock.core.learned import Needs


def amend(
    path: Path | str,
    needs: Sequence[Needs] = (),
    expectations: Expectations | None = None,
    *,
    started_at_ns: int | None = None,
) -> None:
    """Add these to a fixture, in the place of what it had of them; what it has of other sessions and sides stays.

    The whole file is copied. FixtureError where the recording was not closed, or is another one than that which was
    `started_at_ns`, or where the file cannot be read or written, or is being written: then it is as it was.
    """
    rows: list[Row] = [(RowKind.LEARNED, 0, each) for each in needs]
    if expectations is not None:
        rows.append((RowKind.EXPECTED, 0, expectations))
    target = Path(os.path.realpath(path))  # a link stays one
    with kept_from_writers(path):
        _add(path, target, rows, _end_of(path, started_at_ns))


def _add(path: Path | str, target: Path, rows: Sequence[Row], behind: Behind) -> None:
    """Put a copy with these rows behind it in the place of the target, which is `path` to people."""
    beside = _beside(target, path)
    try:
        shutil.copyfile(target, beside)
        os.truncate(beside, behind.offset)
        writer = Writer(beside, behind)
        writer.write(0, rows)
        writer.close()
        if writer.failure:
            raise FixtureError(f"{path}: nothing was added: {_reason(writer.failure, beside)}")
        shutil.copymode(target, beside)
        os.replace(beside, target)
    except OSError as exc:
        raise FixtureError(f"{path}: nothing was added: {exc.strerror or exc}") from exc
    finally:
        with suppress(OSError):
            beside.unlink()


def _beside(target: Path, name: Path | str) -> Path:
    """Make a file in the same folder, for its owner only: a recording holds what people said."""
    try:
        fd, beside = mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as exc:
        reason = exc.strerror or exc
        raise FixtureError(f"{name}: nothing was added: no file can be made beside it: {reason}") from exc
    os.close(fd)
    return Path(beside)


def _reason(failure: str, beside: Path) -> str:
    """Return what the system said, of a Writer's sentence: what that says of a recording is not meant here."""
    return failure.removeprefix(f"{beside}: ").partition(";")[0]


def _end_of(path: Path | str, started_at_ns: int | None) -> Behind:
    """Say where the file goes on when its END record is taken off."""
    source = Source(path)
    try:
        header, first = read_header(source)
        if started_at_ns not in (None, header.started_at_ns):
            raise FixtureError(f"{path}: it was recorded anew meanwhile; nothing was added")
        _, why_incomplete = read_index(source, first)
        if why_incomplete:
            raise FixtureError(f"{path}: {why_incomplete}; what is learned can be added to a whole recording only")
        offset, number = last_index(source, first)
        return Behind(source.end - END.size, number, offset)
    finally:
        source.close()
