"""Was it a complete run? Only then are fixtures that no test has used known to be of no use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from duplexmock.pytest_plugin.run import Run


def why_not_complete(session: pytest.Session, exitstatus: int | pytest.ExitCode, run: Run) -> str:
    """Say why tests were left out, or may have been; empty where all there are have run to their end."""
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or session.shouldstop or session.shouldfail:
        return "the run has stopped early"
    for reason in (*_filters(session.config), *_paths(session.config), *sorted(run.left_out)):
        return reason
    return ""


def _filters(config: pytest.Config) -> Iterator[str]:
    for name, option in _FILTERS.items():
        if config.getoption(name, None):
            yield f"tests were chosen by {option}"


def _paths(config: pytest.Config) -> Iterator[str]:
    """Yield a reason where the paths on the command line leave something out."""
    args = [Path(os.path.abspath(config.invocation_params.dir / arg.partition("::")[0])) for arg in config.args]
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        return
    everything = [config.rootpath]
    if config.getini("testpaths"):
        everything = [config.rootpath / path for path in config.getini("testpaths")]
    whole = [arg for arg, text in zip(args, config.args, strict=True) if "::" not in text]
    if not all(any(path == arg or arg in path.parents for arg in whole) for path in everything):
        yield "tests were chosen by their paths"


_FILTERS = {
    "keyword": "-k",
    "markexpr": "-m",
    "lf": "--lf",
    "stepwise": "--stepwise",
    "deselect": "--deselect",
    "ignore": "--ignore",
    "ignore_glob": "--ignore-glob",
    "collectonly": "--collect-only",
}
"""Options that leave tests out, and do not all say so."""
