"""Environments with duplexmock's sources in them, made once below build/ and used until what they are of changes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def declared() -> dict[str, list[str]]:
    """Return what pyproject.toml asks for: `dependencies`, and the packages of each dependency group."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {"dependencies": project["project"]["dependencies"], **project["dependency-groups"]}


def environment(name: str, requirements: Sequence[str], python: str = sys.executable) -> Path:
    """Make build/NAME where it is not there, and return its interpreter.

    It has these packages, and duplexmock without what that asks for. Raises CalledProcessError with pip's words in its
    `stderr` where they cannot be installed.
    """
    folder = ROOT / "build" / name
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout
    said = hashlib.sha256("\n".join((version, *requirements)).encode())
    said.update((ROOT / "pyproject.toml").read_bytes())
    made_of = folder / "made-of"
    inside = folder / "bin" / "python"
    if made_of.exists() and made_of.read_text() == said.hexdigest():
        return inside
    subprocess.run([python, "-m", "venv", "--clear", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", inside, "install", "--quiet", "--timeout=10", "--retries=1"]
    for packages in (requirements, ("--no-deps", "--editable", ROOT)):
        subprocess.run([*pip, *packages], check=True, stderr=subprocess.PIPE, text=True)
    made_of.write_text(said.hexdigest())
    return inside
