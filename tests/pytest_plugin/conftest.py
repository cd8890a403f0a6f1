"""Projects of other people: a folder with tests and fixtures, and pytest run there with the plugin."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import grpc.aio  # noqa: F401 - pytester forgets what a run has loaded, and grpc can be loaded once only
import pytest
from chat_app import chat_pb2

import duplexmock
import duplexmock.learn.learning
import duplexmock.pytest_plugin.duplex
import duplexmock.report.outcomes
import duplexmock.schema.reader
import duplexmock.schema.sources
from tests.environments import ROOT
from tests.net.chats import chatted, serving

HEAD = f"""
    import sys

    sys.path += {[str(ROOT), str(ROOT / "examples" / "chat_app")]!r}  # which workers do not have with every pytest

    import asyncio
    import pytest
    from chat_app.client import chat, chat_sync
    from tests.net.chats import channel, chatted, serving, talk
"""


class Project:
    """A folder with tests in tests/ and fixtures in fixtures/."""

    def __init__(self, pytester: pytest.Pytester, recorded: Path) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self._recorded = recorded

    def fixture(self, name: str) -> Path:
        """Put the recording of a chat of three messages, each acknowledged, below fixtures/."""
        path = self.path / "fixtures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._recorded, path)
        return path

    def fixtures(self) -> list[str]:
        """Return which fixtures there are."""
        folder = self.path / "fixtures"
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def test(self, source: str, name: str = "test_chat.py") -> None:
        """Write a file of tests, below what all of them import."""
        path = self.path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(HEAD) + textwrap.dedent(source), encoding="utf-8")

    def ini(self, text: str) -> None:
        """Write pytest.ini."""
        (self.path / "pytest.ini").write_text("[pytest]\n" + textwrap.dedent(text))

    def run(self, *args: str) -> pytest.RunResult:
        """Run pytest here."""
        if not any(arg.startswith("--reruns") for arg in args):
            args = ("-p", "no:rerunfailures", *args)  # it starts a server in every run
        args = ("-p", "no:hypothesispytest", *args)  # it loads hypothesis in every run, and in every worker
        return self.pytester.runpytest(
            "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function", *args
        )

    def passes(self, *args: str, count: int = 1) -> pytest.RunResult:
        """Run pytest, and see so many tests pass and none do anything else."""
        result = self.run(*args)
        assert result.parseoutcomes() == {"passed": count}
        return result


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "three.duplex"
    with serving() as server, duplexmock.record(server, out=out, descriptors=chat_pb2) as proxy:
        chatted(proxy.target)
    return out


@pytest.fixture
def project(pytester: pytest.Pytester, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return Project(pytester, recorded)
