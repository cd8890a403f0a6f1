"""Nothing is left of 500 tests that replay: ports, threads, tasks, event loops, file descriptors, temporary folders."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import plugin


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what there is is read from /proc")
def test_nothing_is_left_of_500_replaying_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytest_asyncio")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    project = tmp_path / "project"
    project.mkdir()
    plugin.make_project(project, 250)
    for client in plugin.CLIENTS:
        told = plugin.ran(project, client, "replay", 250)
        assert told["left"] == {}
        there = told["there"]
        assert isinstance(there, dict)
        assert there["listening ports"] == []
        assert {name for name in there["threads"] if not name.endswith("(_poll_wrapper)")} == {"MainThread"}
    assert list((tmp_path / "tmp").iterdir()) == []
