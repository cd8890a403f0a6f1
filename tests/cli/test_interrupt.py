"""Ctrl-C before a command has begun, or where it only shows: exit code 130, and not a word."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from duplexmock.core.rows import RowKind
from tests.cli.commands import DUPLEXMOCK, ROOT, environment, run, started
from tests.store.fixtures import FIRST, OTHER, write

INTERRUPTS = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPT_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
"""


@pytest.fixture
def interrupted(tmp_path):
    """`interrupted(module)` is an environment in which a command is sent SIGINT when it begins to load a module."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(INTERRUPTS)
    paths = os.pathsep.join((str(tmp_path / "site"), str(ROOT)))
    return lambda module: environment(PYTHONPATH=paths, INTERRUPT_AT=module)


SHOW = ["show", "x.duplex"]
RECORD = ["record", "127.0.0.1:9", "--out", "y.duplex"]
REPLAY = ["replay", "x.duplex"]


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["--version"], "duplexmock.cli.main"),
        (["--version"], "click"),
        (SHOW, "duplexmock.cli.show"),
        (SHOW, "msgpack"),
        (RECORD, "duplexmock.cli.record"),
        (RECORD, "asyncio"),
        (RECORD, "resource"),  # the last thing before its loop runs
        (REPLAY, "duplexmock.cli.replay"),
        (REPLAY, "resource"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_an_interrupt_while_a_command_loads(tmp_path, interrupted, arguments, module):
    write(tmp_path / "x.duplex")
    assert run(*arguments, cwd=tmp_path, env=interrupted(module)) == (130, "", "")
    assert not (tmp_path / "y.duplex").exists()


def test_an_interrupt_while_the_installed_command_loads(tmp_path, interrupted):
    command = Path(sys.executable).with_name("duplexmock")
    done = subprocess.run([command, "--version"], env=interrupted("click"), capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_an_interrupt_while_a_fixture_is_shown(tmp_path):
    rows = [(RowKind.OPENED, 1, FIRST), (RowKind.CLIENT_HEADER, 1, OTHER, 1, 1)]
    messages = [(RowKind.CLIENT_MESSAGE, 1, 0, b"\x08\x01")] * 100
    write(tmp_path / "x.duplex", [(1, rows), *((n, messages) for n in range(2, 200))])  # more than a pipe holds
    with started("show", "x.duplex", cwd=tmp_path) as process:
        assert process.stdout.readline() == "x.duplex   2026-11-22 12:00:00 UTC   of 127.0.0.1:50051   1 session\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr.read() == ""


def test_an_interrupt_that_is_ignored_is_ignored_while_a_command_loads(interrupted):
    ignoring = "import os, sys, signal as s; s.signal(s.SIGINT, s.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", ignoring, *DUPLEXMOCK, "--version"]
    done = subprocess.run(command, env=interrupted("click"), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
