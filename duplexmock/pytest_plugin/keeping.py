"""Keeping a recording: it is made elsewhere, and put in its place when its test has passed, whole or not at all.

Several tests may name one file, and several workers run them. The file is locked for as long as it takes to be
replaced, so that nobody adds to what somebody else has just replaced.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from duplexmock.errors import FixtureError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def keep_first(recorded: Path, path: Path) -> bool:
    """Put a recording in its place; one that is there by now stays, and False is returned."""
    with _beside(recorded, path) as beside:
        try:
            os.link(beside, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if path.exists():
                return False
            os.replace(beside, path)
    return True


def keep_last(recorded: Path, path: Path) -> None:
    """Put a recording in its place, or in that of the one that is there."""
    with locked(path):
        replace(recorded, path)


def replace(recorded: Path, path: Path) -> None:
    """Do the same, where the file is locked already."""
    with _beside(recorded, path) as beside:
        os.replace(beside, path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep others who lock it off a file, where there is one and the platform has locks; wait for those who have."""
    descriptor = _lock(path)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(path: Path) -> int | None:
    while fcntl is not None:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:  # it is not there, or no file that could be
            return None
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)  # it was replaced while we waited
    return None


@contextmanager
def _beside(recorded: Path, path: Path) -> Iterator[Path]:
    """Copy a recording into the folder where it is to be; what is left of the copy at the end is removed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
    except OSError as exc:
        raise FixtureError(f"{path}: the recording cannot be kept: {exc.strerror or exc}") from exc
    beside = Path(name)
    try:
        shutil.copyfile(recorded, beside)
        yield beside
    except OSError as exc:
        raise FixtureError(f"{path}: the recording cannot be kept: {exc.strerror or exc}") from exc
    finally:
        with suppress(OSError):
            beside.unlink()
