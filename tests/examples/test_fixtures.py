"""The fixtures that are committed: they are those of fixtures/make.py, and README.md has a row for each."""

from dataclasses import replace
from pathlib import Path

import pytest

from duplexmock.report.timeline import timeline
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.reader import Reader
from duplexmock.store.fixture import Fixture
from fixtures.make import FIXTURES, RECIPES, Recipe, descriptor_set, problems, readme, record
from tests.peers.programs import MissingTool

BY_NAME = {recipe.name: recipe for recipe in RECIPES}


def test_every_fixture_has_a_recipe_and_every_recipe_a_fixture() -> None:
    names = sorted(str(path.relative_to(FIXTURES).with_suffix("")) for path in FIXTURES.rglob("*.duplex"))

    assert names == sorted(BY_NAME)


def test_the_readme_has_a_row_for_each() -> None:
    assert (FIXTURES / "README.md").read_text(encoding="utf-8") == readme()


@pytest.mark.parametrize("recipe", RECIPES, ids=BY_NAME)
def test_a_fixture_opens_and_is_what_its_row_says(recipe: Recipe) -> None:
    assert list(problems(recipe, recipe.path)) == []


def test_a_fixture_of_the_chat_reads_by_its_own_descriptors() -> None:
    with Fixture.open(BY_NAME["chat/echo_three"].path) as fixture:
        assert fixture.header.descriptors == descriptor_set()
        (session,) = fixture.sessions()
        reader = Reader(Descriptors(fixture.header.descriptors))

    told = [(line.what, line.details) for line in timeline(session, reader) if "Message" in line.what]

    assert told == [
        (
            f"{side}Message #{number + 1}",
            (f"{{sender: '{side}', message: '{text} {number}', timestamp: 1795348800}}",),
        )
        for number in range(3)
        for side, text in (("Client", "Hi there! Message"), ("Server", "ack: Hi there! Message"))
    ]


def test_a_recipe_can_be_recorded_again(tmp_path: Path) -> None:
    recipe = BY_NAME["cases/ping_pong"]
    try:
        record(recipe, tmp_path / "again.duplex", descriptors=tmp_path / "unused")
    except MissingTool as missing:
        pytest.skip(str(missing))

    with Fixture.open(recipe.path) as old, Fixture.open(tmp_path / "again.duplex") as new:
        assert [session.word for session in new.sessions()] == [session.word for session in old.sessions()]


def test_what_is_not_as_its_row_says_is_told() -> None:
    recipe = replace(BY_NAME["chat/echo_three"], outcomes=("3 > 2 < OK", "3 > 3 < ABORTED"))

    assert list(problems(recipe, recipe.path)) == ["session 1: 3 > 3 < OK, not 3 > 2 < OK or 3 > 3 < ABORTED"]
