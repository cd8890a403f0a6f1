"""Every fixture of fixtures/ is replayed to the client it was recorded from, and against its server; both agree.

Fixtures of the programs of one language are replayed to those of the others as well.
"""

import math
import os
import shlex
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import duplexmock
from duplexmock.core.session import Session
from fixtures.make import ATTEMPTS, RECIPES, Recipe, outcome, words
from tests.peers.programs import MissingTool, run, serving

SOAK = bool(os.environ.get("DUPLEXMOCK_SOAK"))
BY_NAME = {recipe.name: recipe for recipe in RECIPES}

TIMES = 20
"""Each fixture is replayed so often in a soak; else those that take no time: a Go client's cases, at infinite speed."""


def times_of(recipe: Recipe, speed: float, program: str) -> int:
    takes_none = speed > 1 and recipe.name.startswith("cases/")
    if SOAK or (takes_none and program.startswith("go")):
        return TIMES
    return 5 if takes_none and program == recipe.server else 2 if speed > 1 else 1


IN_OTHER_LANGUAGES = {"chat": ("python", "python-sync", "go", "node"), "cases": ("python", "go", "node", "grpclib")}

LEFT_OUT = {
    ("grpclib", "cases/server_ends_early"): "takes the reset behind an early end for an error",
    ("node", "cases/client_cancels"): "half-closes when it is told to cancel",
    ("python", "chat/two_calls"): "makes one call",
    ("python-sync", "chat/two_calls"): "makes one call",
    ("node", "chat/two_calls"): "makes one call",
}
"""Clients that say something else than the recorded one, with the reason. Whoever agrees does not belong here."""


@pytest.mark.parametrize("speed", [1.0, math.inf])
@pytest.mark.parametrize("recipe", RECIPES, ids=BY_NAME)
def test_a_fixture_replays_to_its_client(recipe: Recipe, speed: float) -> None:
    client = program(recipe.client)
    times = times_of(recipe, speed, recipe.client)
    for attempt in range(attempts(recipe)):
        try:
            with duplexmock.replay(recipe.path, speed=speed, repeat=times) as mock:
                codes = [run(client, mock.target).exit_code for _ in range(times)]
            break
        except duplexmock.MismatchError:
            if attempt == attempts(recipe) - 1:
                raise

    assert codes == [0] * times
    assert wrong(recipe, mock.outcomes, times) == []


def attempts(recipe: Recipe) -> int:
    """A busy machine may stop a client for as long as it is from its deadline."""
    return ATTEMPTS if "--deadline" in recipe.client else 1


@pytest.mark.parametrize("speed", [1.0, math.inf])
@pytest.mark.parametrize("recipe", RECIPES, ids=BY_NAME)
def test_a_fixture_replays_against_its_server(recipe: Recipe, speed: float) -> None:
    times = times_of(recipe, speed, recipe.server)
    with serving(program(recipe.server)) as server:
        for _ in range(attempts(recipe)):
            outcomes = duplexmock.replay_client(recipe.path, server.address, speed=speed, repeat=times)
            if outcomes.agreed:
                break

    outcomes.check()
    assert wrong(recipe, outcomes, times) == []


def others() -> list[tuple[str, Recipe]]:
    return [
        (language, recipe)
        for recipe in RECIPES
        for language in IN_OTHER_LANGUAGES[recipe.name.split("/")[0]]
        if language != recipe.client.split()[0]
    ]


@pytest.mark.parametrize(("language", "recipe"), others(), ids=[f"{name}-{each.name}" for name, each in others()])
def test_a_fixture_replays_to_the_same_program_in_another_language(language: str, recipe: Recipe) -> None:
    client = program(" ".join([language, *recipe.client.split()[1:]]))
    is_left_out = (language, recipe.name) in LEFT_OUT

    try:
        with duplexmock.replay(recipe.path, timeout_s=10) as mock:
            code = run(client, mock.target).exit_code
    except duplexmock.MismatchError:
        assert is_left_out
        return

    # A client may stumble over what it was told, and have said the right things all the same.
    assert (code, wrong(recipe, mock.outcomes, 1)) == (0, []) or (code and is_left_out)
    assert code or not is_left_out, f"{language} agrees with {recipe.name} by now"


@pytest.mark.parametrize("seat", ["server", "client"])
def test_all_fixtures_of_a_folder_are_played_at_once(seat: str, peer: Any) -> None:
    recipes = [each for each in RECIPES if each.name.startswith("cases/") and each.client.startswith("go")]
    paths = [each.path for each in recipes]
    if seat == "client":
        with serving(program("go cases-server")) as server:
            outcomes = duplexmock.replay_client(paths, server.address, ignore=["metadata:grpc-accept-encoding"])
            assert len(outcomes) == len(paths)
        return
    with duplexmock.replay(*paths) as mock, ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda each: run(program(each.client), mock.target).exit_code, reversed(recipes)))

    assert codes == [0] * len(recipes)
    assert sorted(each.session.method for each in mock.outcomes if each.session) == sorted(
        "/duplexmock.test.Cases/ClientStream" if "client_stream" in each.name else "/duplexmock.test.Cases/Bidi"
        for each in recipes
    )


def program(written: str) -> list[str]:
    """The command of a program as a recipe writes it; a machine that cannot have it skips the test."""
    try:
        return words(shlex.join(shlex.split(written)))
    except MissingTool as missing:
        pytest.skip(str(missing))


def wrong(recipe: Recipe, outcomes: Any, times: int) -> list[str]:
    """What took place and is none of the recipe's outcomes; and how many, if not as many as there have to be."""
    with duplexmock.Fixture.open(recipe.path) as fixture:
        expected = len(list(fixture.sessions())) * times
    took_place = [ended(each.session) for each in outcomes]
    told = [each for each in took_place if each not in recipe.outcomes]
    told += [each.mismatch.sentence for each in outcomes if each.mismatch]
    return [*told, *([] if len(took_place) == expected else [f"{len(took_place)} outcomes, not {expected}"])]


def ended(session: Session) -> str:
    return outcome(session)
