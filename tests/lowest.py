"""Run tests with the lowest versions that pyproject.toml declares: `make lowest`, or `python tests/lowest.py PATH ...`.

The environment is build/lowest; it is made once for a given pyproject.toml. Arguments go to pytest.
"""

from __future__ import annotations

import subprocess
import sys

from environments import ROOT, declared, environment

TOOLS = ("anyio", "build", "grpc", "h2", "pytest", "trio")
"""What of the group `dev` the tests need: as new as there is for these versions."""


def lowest() -> list[str]:
    """Return the requirements."""
    needs = declared()
    exact = [requirement.replace(">=", "==") for requirement in needs["dependencies"]]
    return [*exact, *(need for need in needs["dev"] if need.startswith(TOOLS))]


if __name__ == "__main__":
    python = environment("lowest", lowest())
    raise SystemExit(subprocess.run([python, "-m", "pytest", *sys.argv[1:]], cwd=ROOT).returncode)
