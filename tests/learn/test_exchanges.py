"""What changes and what comes back is found by learning alone: of programs of which it is known, exactly.

Each is recorded once, and learned from in both seats, all at a time: most of it is waiting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

import duplexmock
from duplexmock import learn_client, learn_server
from duplexmock.learn.learning import Lesson
from duplexmock.store.fixture import Fixture
from duplexmock.store.header import Expectations
from tests.learn.exchanges import EXCHANGES, Exchange, recorded, serving

HOLD_S = 0.15
"""Longer than what a busy machine takes a program away for."""


class Learned(NamedTuple):
    """A fixture, and the lessons that it holds."""

    path: Path
    of_server: Lesson
    of_client: Lesson


Lessons = Mapping[Exchange, Future[Learned]]


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lessons]:
    """What is learned of every exchange, and kept."""
    folder = tmp_path_factory.mktemp("lessons")

    def learned(exchange: Exchange) -> Learned:
        path = folder / f"{exchange}.duplex"
        recorded(exchange, path)
        with serving(exchange, 1) as target:
            of_server = learn_server(path, target, hold_s=HOLD_S, write=True)
        runs = count(1)
        of_client = learn_client(
            path, lambda target: exchange.run_client(target, next(runs)), hold_s=HOLD_S, write=True
        )
        return Learned(path, of_server, of_client)

    with ThreadPoolExecutor(len(EXCHANGES)) as threads:
        yield {exchange: threads.submit(learned, exchange) for exchange in EXCHANGES}


@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_what_changes_and_what_comes_back_is_found_exactly(lessons: Lessons, exchange: Exchange) -> None:
    path, of_server, of_client = lessons[exchange].result()
    assert of_server.proposals == exchange.of_server
    assert of_client.proposals == exchange.of_client
    with Fixture.open(path) as fixture:
        assert fixture.expectations == Expectations(
            (*exchange.of_server.ignore, *exchange.of_client.ignore),
            (*exchange.of_server.bind, *exchange.of_client.bind),
        )


@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_programs_agree_with_what_was_learned_in_another_run(lessons: Lessons, exchange: Exchange) -> None:
    """With ids, leases, nonces and times that neither the recording nor a probe has seen."""
    path = lessons[exchange].result().path
    with duplexmock.replay(path) as mock:
        exchange.run_client(mock.target, 100)
    with serving(exchange, 100) as target:
        duplexmock.replay_client(path, target).check()
