"""Where the fixture of a test is: `<folder>/<module path>/<Class.test[case]>.duplex`.

    tests/test_chat.py::TestRoom::test_join[two]    fixtures/tests/test_chat/TestRoom.test_join[two].duplex
    tests/test_chat.py::test_say[a/b]               fixtures/tests/test_chat/test_say[a_b]-442ea954.duplex

What not every file system takes as it is becomes `_`, and a hash of the whole name keeps such names apart.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

SUFFIX = ".duplex"

MAX_NAME = 120
"""Longer names are cut: file systems take 255 bytes, and something is put before the name while a file is written."""


def fixture_of(item: pytest.Item, folder: Path) -> Path:
    """Return the file of a test: of this case of it, where it is parametrised."""
    module = Path(os.path.relpath(item.path, item.config.rootpath)).with_suffix("")
    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    return folder / fixture_name(module.parts, (*classes, item.name))


def fixture_name(module: Sequence[str], names: Sequence[str]) -> Path:
    """Return the file of a test: the parts of its module's path, its classes and itself."""
    return Path(*map(_plain, module), _plain(".".join(names)) + SUFFIX)


def given(path: Path | str, folder: Path) -> Path:
    """Return the file that a test names: a path below the folder, or an absolute one."""
    return folder / path


def _plain(name: str) -> str:
    plain = _ODD.sub("_", name)[:MAX_NAME]
    if plain == name and name not in ("..", "."):
        return plain
    return f"{plain.replace('..', '_')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


_ODD = re.compile(r"[^A-Za-z0-9_.\-\[\]]")
"""What is replaced: also what a file system takes and a shell does not."""
