"""The project of examples/chat_app (tests/downstream.py): it knows duplexmock as others do, by its public names."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import duplexmock
from duplexmock.store.fixture import Fixture
from tests.peers.programs import ROOT

PROJECT = ROOT / "examples" / "chat_app"

OTHERS = {"chat_app", "google", "grpc", "pytest", "pytest_asyncio"}
"""What the project may import beside Python's own and duplexmock."""


@pytest.mark.parametrize("path", sorted(PROJECT.rglob("*.py")), ids=lambda path: path.name)
def test_it_imports_nothing_of_the_repository_but_public_names(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    foreign = {name for name in imported(tree) if name.partition(".")[0] not in sys.stdlib_module_names | OTHERS}
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "duplexmock"
    }

    assert foreign <= {"duplexmock", *(f"duplexmock.{name}" for name in duplexmock.__all__)}
    assert used - {"mark"} <= set(duplexmock.__all__)


def test_its_fixtures_name_the_test_that_recorded_them() -> None:
    tests = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "tests").glob("test_*.py")}
    paths = sorted((PROJECT / "fixtures").rglob("*.duplex"))
    assert paths
    for path in paths:
        with Fixture.open(path) as fixture:
            assert str(fixture.header.notes["test"]).partition("::")[0] in tests


def imported(tree: ast.Module) -> Iterator[str]:
    """Each module that is imported, and each name of a module as `module.name`; relative ones begin with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{each.name}" for each in node.names)
