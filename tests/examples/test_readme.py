"""The five-minute path of the README, as it is written there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.peers.programs import ROOT

FILES = {"proto": "chat.proto", "python": "test_chat.py"}


def test_the_five_minute_path_is_as_it_is_written(tmp_path: Path) -> None:
    """What is printed has each line that the README has, numbers and spaces aside; … is anything."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI"))}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment["PYTEST_ADDOPTS"] = "-p no:cacheprovider -p no:asyncio -p no:anyio -p no:hypothesispytest -p no:xdist"
    ran = 0
    for kind, block in blocks("## The five-minute path, with pytest"):
        if kind in FILES:
            (tmp_path / FILES[kind]).write_text(block, encoding="utf-8")
        if kind != "console":
            continue
        for command, output in commands(block):
            if command.startswith(("python3 -m venv ", "pip ")):
                continue
            done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
            printed = [alike(line) for line in done.stdout.splitlines()]
            missing = [line for line in output if not any(re.fullmatch(pattern(line), said) for said in printed)]
            assert missing == [], f"{command}\n{done.stdout}{done.stderr}"
            ran += 1
    assert ran == 7
    recorded = tmp_path / "fixtures" / "test_chat"
    assert [path.name for path in recorded.iterdir()] == ["test_talk.duplex"]


def blocks(heading: str) -> Iterator[tuple[str, str]]:
    """The kind and the text of each block of code of a section."""
    section = re.split(r"\n##+ ", (ROOT / "README.md").read_text(encoding="utf-8").partition(heading)[2])[0]
    yield from re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command and the lines that stand below it."""
    for part in block.split("$ ")[1:]:
        command, *output = part.splitlines()
        yield command, output


def alike(line: str) -> str:
    """A line without what differs each time."""
    return re.sub(r"[\d.]+", "0", re.sub(r"\s+", " ", line)).strip()


def pattern(line: str) -> str:
    return re.escape(alike(line)).replace("…", ".*")
