"""Run the suite of examples/chat_app as its own project does, with a wheel of duplexmock: `python tests/downstream.py`.

The environment is build/downstream. It has what examples/chat_app/pyproject.toml asks for and the wheel, which is
installed anew when its sources have changed; nothing else of this repository is on its path. Arguments go to pytest, in
place of the runs below.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "examples" / "chat_app"
FOLDER = ROOT / "build" / "downstream"
BIN = FOLDER / ("Scripts" if sys.platform == "win32" else "bin")
WHEELS = FOLDER / "wheels"
RECORDED = FOLDER / "recorded"
"""Where fixtures are recorded afresh: those of the project stay as they are."""

RUNS = (
    (),
    ("--duplexmock-record=verify",),
    ("-o", f"duplexmock_dir={RECORDED}", "--duplexmock-record=once"),
    ("-o", f"duplexmock_dir={RECORDED}"),
)
"""What is committed plays; it is what the live servers say; it can be recorded again; and that plays as well."""


def environment() -> None:
    """Make what is not there, or was made for something else."""
    project = [ROOT / "pyproject.toml", PROJECT / "pyproject.toml", Path(__file__)]
    sources = [ROOT / "pyproject.toml", ROOT / "README.md", ROOT / "LICENSE", *sorted(_sources())]
    if not _is_made("environment", project):
        venv.create(FOLDER, clear=True, with_pip=True)
        _pip("install", "--upgrade", "pip>=25.1")
    if not _is_made("wheel", sources):
        shutil.rmtree(WHEELS, ignore_errors=True)
        _pip("wheel", "--no-deps", "--wheel-dir", WHEELS, ROOT)
        (wheel,) = WHEELS.glob("duplexmock-*.whl")
        _pip("install", "--force-reinstall", "--no-deps", wheel)
        _pip("install", wheel, "--editable", PROJECT, "--group", f"{PROJECT / 'pyproject.toml'}:test")
        _made("wheel", sources)
    _made("environment", project)
    ask = [BIN / "python", "-Pc", "import duplexmock; print(duplexmock.__file__)"]
    loaded = subprocess.run(ask, env=_environ(), check=True, capture_output=True, text=True).stdout.strip()
    if FOLDER not in Path(loaded).parents:
        raise SystemExit(f"duplexmock is loaded from {loaded}, and not from the wheel")


def run(arguments: Sequence[str]) -> int:
    """Run pytest in the project; return its exit code."""
    print(f"examples/chat_app, with the wheel of duplexmock: {shlex.join(['pytest', *arguments])}", flush=True)
    return subprocess.run([BIN / "pytest", *arguments], cwd=PROJECT, env=_environ()).returncode


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for, or all of RUNS up to one that fails."""
    environment()
    shutil.rmtree(RECORDED, ignore_errors=True)
    return next((code for each in ([arguments] if arguments else RUNS) if (code := run(each))), 0)


def _environ() -> dict[str, str]:
    """Return what the project is told: nothing of where this repository is."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}


def _sources() -> Iterable[Path]:
    return (path for path in (ROOT / "duplexmock").rglob("*") if path.suffix == ".py" or path.name == "py.typed")


def _pip(command: str, *arguments: str | Path) -> None:
    subprocess.run([BIN / "python", "-m", "pip", command, "--quiet", *arguments], check=True)


def _is_made(what: str, of: Sequence[Path]) -> bool:
    made_of = FOLDER / f"{what}-made-of"
    return made_of.exists() and made_of.read_text() == _hash(of)


def _made(what: str, of: Sequence[Path]) -> None:
    (FOLDER / f"{what}-made-of").write_text(_hash(of))


def _hash(paths: Sequence[Path]) -> str:
    said = hashlib.sha256(sys.version.encode())
    for path in paths:
        said.update(f"{path}\n".encode() + path.read_bytes())
    return said.hexdigest()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
