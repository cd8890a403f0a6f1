"""Run tests with the lowest versions that pyproject.toml declares: `make lowest`, or `python tests/lowest.py PATH ...`.

The environment is build/lowest; it is made once for a given pyproject.toml. Arguments go to pytest.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "lowest"


def environment() -> Path:
    """Make the environment if it is not there, and return its interpreter."""
    project = (ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()
    made_for = FOLDER / "made-for"
    wanted = f"{sys.version} {hashlib.sha256(project).hexdigest()}"
    python = FOLDER / "bin" / "python"
    if made_for.exists() and made_for.read_text() == wanted:
        return python
    venv.create(FOLDER, clear=True, with_pip=True)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lowest = [requirement.replace(">=", "==") for requirement in declared["project"]["dependencies"]]
    tools = ("anyio", "build", "grpc", "h2", "pytest")
    for_tests = [need for need in declared["dependency-groups"]["dev"] if need.startswith(tools)]
    install = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, *lowest, *for_tests], check=True)
    subprocess.run([*install, "--no-deps", "--editable", str(ROOT)], check=True)
    made_for.write_text(wanted)
    return python


if __name__ == "__main__":
    raise SystemExit(subprocess.run([environment(), "-m", "pytest", *sys.argv[1:]], cwd=ROOT).returncode)
