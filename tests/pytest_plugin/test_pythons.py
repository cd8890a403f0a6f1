"""The plugin in a project of its own, under every Python from 3.11 on that this machine has.

That of this suite is left out: what is tested here is tested under it everywhere else.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import declared, environment

OTHERS = [f"3.{minor}" for minor in range(11, 16) if minor != sys.version_info.minor]

PROJECT = """
import asyncio

import grpc
import grpc.aio
import pytest

import duplexmock

METHOD = "/echo.Echo/Say"
started = 0


async def echo(requests, context):
    async for message in requests:
        await context.write(b"ack " + message)


class Methods(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.stream_stream_rpc_method_handler(echo) if details.method == METHOD else None


def server(grpc_server):
    global started
    started += 1
    grpc_server.add_generic_rpc_handlers([Methods()])


pytestmark = pytest.mark.duplexmock(upstream=server)


def said(channel, *messages):
    return list(channel.stream_stream(METHOD)(iter(messages), timeout=30))


@pytest.mark.parametrize("text", ["plain", "a/b", "größe"])
def test_case(duplex, text):
    assert said(duplex.channel(), text.encode(), b"2") == [b"ack " + text.encode(), b"ack 2"]


class TestShared:
    @pytest.mark.duplexmock("shared.duplex")
    def test_marker(self, duplex):
        assert said(duplex.channel(), b"1") == [b"ack 1"]


def test_asyncio(duplex):
    async def run():
        async with duplex.replay() as mock:
            call = mock.aio_channel().stream_stream(METHOD)(timeout=30)
            await call.write(b"1")
            assert await call.read() == b"ack 1"
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF

    asyncio.run(run())


def test_blocked(duplex):
    said(duplex.channel(), b"1")
    with pytest.raises(duplexmock.ScriptError, match="test_blocked opened a gRPC channel to 'example.com:443'"):
        grpc.insecure_channel("example.com:443")


def test_mismatch(duplex):
    said(duplex.channel(), *([b"1", b"2"] if started else [b"1"]))


def test_the_live_server_is_started_where_the_mode_needs_it(pytestconfig):
    is_live = pytestconfig.getoption("duplexmock_record") is not None
    assert (started > 0) is is_live
"""
RECORDED = [
    "shared.duplex",
    "test_echo/test_asyncio.duplex",
    "test_echo/test_blocked.duplex",
    "test_echo/test_case[a_b]-68f019b6.duplex",
    "test_echo/test_case[gr_xf6_xdfe]-a93f6d74.duplex",
    "test_echo/test_case[plain].duplex",
    "test_echo/test_mismatch.duplex",
]


@pytest.mark.parametrize("version", OTHERS)
def test_a_project_records_replays_and_verifies(version: str, tmp_path: Path) -> None:
    python = environment_of(version)
    (tmp_path / "test_echo.py").write_text(PROJECT, encoding="utf-8")

    def run(*args: str) -> str:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
        done = subprocess.run(
            [python, "-m", "pytest", "-q", "--duplexmock-block", *args],
            cwd=tmp_path,
            env={**inherited, "PYTHONUTF8": "1", "CI": ""},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        return done.stdout + done.stderr

    text = run("--duplexmock-record=once")
    folder = tmp_path / "fixtures"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.duplex")) == RECORDED, text
    assert "8 passed" in text
    text = run()
    assert "1 failed, 7 passed" in text
    assert "Again: pytest test_echo.py::test_mismatch" in text
    text = run("--duplexmock-record=verify", "--deselect=test_echo.py::test_mismatch")
    assert "7 passed, 1 deselected" in text


def environment_of(version: str) -> Path:
    """Return the interpreter of an environment; skip where there is no such Python, or no index to install from."""
    found = interpreter(version)
    if found is None:
        pytest.skip(f"there is no Python {version} on this machine")
    try:
        return environment(f"python-{version}", declared()["dependencies"], found)
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"duplexmock cannot be installed for Python {version}: {(exc.stderr or '').splitlines()[-1:]}")


def interpreter(version: str) -> str | None:
    """Return a Python of this version that runs: of PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = [str(path / "bin" / "python") for path in sorted(pyenv.glob(f"{version}.*"))]
    for candidate in (shutil.which(f"python{version}"), *reversed(installed)):
        if candidate is not None and _version(candidate) == version:
            return candidate
    return None


def _version(python: str) -> str:
    try:
        done = subprocess.run([python, "-V"], capture_output=True, text=True, timeout=30)
    except OSError:
        return ""
    told = re.match(r"Python (\d+\.\d+)", done.stdout)
    return told[1] if told and done.returncode == 0 else ""
