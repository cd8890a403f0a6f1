"""One run of tests: its record mode, where its fixtures are, and which of them its tests have to do with.

Under pytest-xdist each worker has a Run of its own, and what they say of it is put together at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from duplexmock.pytest_plugin.modes import Mode


@dataclass(slots=True)
class Run:
    """What the plugin knows of a run; fixtures are known by their absolute paths.

    `used` are those that tests have opened or recorded, and `named` those that belong to tests by their name or their
    marker, whether they ran or not. `written` were recorded in this run. `without_upstream` were played by a test that
    gives no live server, which the mode asks for, and `with_upstream` by one that does; where there are both, all is
    well. `left_out` says why not every test has run to its end, in which case fixtures that were not used are not known
    to be of no use.
    """

    mode: Mode
    folder: Path
    used: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    without_upstream: set[str] = field(default_factory=set)
    with_upstream: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)

    def said(self) -> dict[str, list[str]]:
        """Return what a worker says of its part, in plain lists."""
        return {name: sorted(getattr(self, name)) for name in _SAID}

    def add(self, said: Mapping[str, list[str]]) -> None:
        """Take what a worker has said."""
        for name in _SAID:
            getattr(self, name).update(said[name])


_SAID = ("used", "named", "written", "without_upstream", "with_upstream", "left_out")

RUN = pytest.StashKey[Run]()
