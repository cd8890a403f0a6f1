"""Beside the plugins that people have: no option, ini name, marker or fixture of ours is one of theirs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.environments import declared, environment

PLUGINS = (
    "anyio",
    "pytest-asyncio",
    "pytest-grpc",
    "pytest-recording",
    "pytest-socket",
    "pytest-vcr",
    "pytest-xdist",
    "syrupy",
)


@pytest.fixture(scope="module")
def python() -> Path:
    """Return the interpreter of an environment with all of them; a machine that reaches no index skips the tests."""
    try:
        return environment("collisions", [*declared()["dependencies"], *PLUGINS])
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"the plugins cannot be installed: {(exc.stderr or '').splitlines()[-1:]}")


@pytest.mark.parametrize("without", ["vcr", "recording"])  # these two refuse to run beside each other
def test_our_plugin_runs_beside_all_of_them(python: Path, tmp_path: Path, without: str) -> None:
    (tmp_path / "test_plain.py").write_text(
        "import pytest\n@pytest.mark.duplexmock(unplayed='ignore')\ndef test_plain(duplex):\n    assert duplex\n"
    )

    def run(*args: str) -> str:
        command = [python, "-m", "pytest", "-p", f"no:{without}", *args]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "1 passed" in run("--strict-markers")
    assert run("--markers").count("@pytest.mark.duplexmock(") == 1
    assert run("--fixtures").count("\nduplex --") == 1
    names = [line.split()[0].rstrip(":=") for line in run("--help").splitlines() if line.strip().startswith(NAMES)]
    assert sorted({name.partition("=")[0] for name in names}) == [
        "--duplexmock-allow-hosts",
        "--duplexmock-block",
        "--duplexmock-prune",
        "--duplexmock-record",
        "duplexmock_allow_hosts",
        "duplexmock_block",
        "duplexmock_dir",
        "duplexmock_record",
    ]


NAMES = ("--duplexmock", "duplexmock_")
