"""The mock as an HTTP/2 server: h2spec's generic, http2 and hpack groups. Skipped where Go or its module is missing."""

import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import duplexmock
from tests.net.chats import CHAT, channel
from tests.net.ends import ANSWER, REQUEST, written
from tests.peers.programs import ROOT
from tests.playbook import HALF_CLOSE, OK, ask, recorded, reply

TOOLS = ROOT / "build" / "tools"
MODULE = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"

GROUPS = ("generic", "http2", "hpack")

LIMIT_S = 300.0

EXCEPTIONS: dict[str, str] = {}
"""Cases that fail, by what h2spec calls them, each with the reason. There are none."""


@pytest.fixture(scope="module")
def h2spec() -> Path:
    """h2spec, built once into build/tools."""
    binary = TOOLS / "h2spec"
    if not binary.exists():
        go = shutil.which("go")
        if go is None:
            pytest.skip("h2spec: Go is not installed")
        done = subprocess.run(
            [go, "install", MODULE],
            env={**os.environ, "GOBIN": str(TOOLS)},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        if done.returncode:
            pytest.skip(f"h2spec cannot be had: {done.stderr.strip()}")
    return binary


def test_h2spec_passes_and_calls_beside_it_are_served(h2spec: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "x.duplex", recorded(*enumerate((REQUEST, ANSWER, ask("a"), reply("A"), HALF_CLOSE, OK))))
    with duplexmock.replay(path, timeout_s=LIMIT_S, repeat=2, speed=math.inf, grace_s=0) as mock:
        before = _played(mock.target)
        done = subprocess.run(
            [h2spec, "-h", "127.0.0.1", "-p", mock.target.rpartition(":")[2], "-o", "5", "-P", CHAT, *GROUPS],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        after = _played(mock.target)

    failed = [line.strip(" ×").split(": ", 1)[1] for line in done.stdout.splitlines() if line.strip().startswith("×")]
    assert sorted(set(failed)) == sorted(EXCEPTIONS)
    counted = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    assert counted is not None, done.stdout
    assert counted.groups() == ("145", "145", "0", "0")
    assert (before, after) == ([b"A"], [b"A"])
    assert [each.agreed for each in mock.outcomes] == [True, True]


def _played(target: str) -> list[bytes]:
    with channel(target) as dialled:
        return list(dialled.stream_stream(CHAT)(iter([b"a"]), timeout=LIMIT_S))
