"""What is said of fixtures at the end of a run: which were recorded, and which no test has used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from duplexmock.pytest_plugin.naming import SUFFIX
from duplexmock.pytest_plugin.run import Run


def lines(run: Run, why_not_complete: str, is_green: bool, prune: bool, shown_from: Path) -> Iterator[str]:
    """Yield the lines; remove what no test has used where that is asked for, and the run was complete and green."""
    for path in sorted(run.written):
        yield f"recorded: {_shown(path, shown_from)}"
    if never := run.without_upstream - run.with_upstream:
        yield f"played only, because no live server is given (upstream=...) to {_TO_DO[run.mode]}:"
        yield from _listed(never, shown_from)
    reason = why_not_complete or ("" if is_green else "not every test has passed")
    if prune and reason:
        yield f"nothing was removed: {reason}"
    if why_not_complete or not (run.used or run.named or prune):
        return
    unused = [path for path in _fixtures(run.folder) if path not in run.used and path not in run.named]
    if not unused:
        return
    if prune and not reason:
        yield "removed, because no test has used them:"
        yield from _listed(unused, shown_from)
        for path in unused:
            _remove(Path(path), run.folder)
    else:
        yield "no test has used these fixtures (--duplexmock-prune removes them):"
        yield from _listed(unused, shown_from)


def _fixtures(folder: Path) -> list[str]:
    return sorted(os.path.abspath(path) for path in folder.rglob(f"*{SUFFIX}") if not path.name.startswith("."))


def _remove(path: Path, folder: Path) -> None:
    """Remove a fixture, and the folders that it leaves empty."""
    with suppress(OSError):
        path.unlink()
        for parent in path.parents:
            if parent == folder:
                return
            parent.rmdir()


def _listed(paths: list[str] | set[str], shown_from: Path) -> Iterator[str]:
    for path in sorted(paths):
        yield f"    {_shown(path, shown_from)}"


def _shown(path: str, shown_from: Path) -> str:
    return path.removeprefix(f"{shown_from}{os.sep}")


_TO_DO = {"none": "", "once": "record", "new": "add new calls from", "rewrite": "record", "verify": "compare with"}
