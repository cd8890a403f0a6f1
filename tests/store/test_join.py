"""Two recordings in one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from duplexmock.errors import FixtureError
from duplexmock.store.fixture import Fixture
from duplexmock.store.join import join
from tests.net.ends import ANSWER, request, written
from tests.playbook import HALF_CLOSE, OK, ask, recorded, reply


def _session(number: int, text: str, size: int = 1):
    events = (request(), ask(text * size), ANSWER, reply(text.upper()), HALF_CLOSE, OK)
    return recorded(*((number * 100 + ms, event) for ms, event in enumerate(events)), number=number)


def test_the_sessions_of_the_second_stand_behind_those_of_the_first(tmp_path: Path) -> None:
    first = written(tmp_path / "first", _session(1, "a"), _session(2, "b"))
    second = written(tmp_path / "second", _session(1, "c"), _session(2, "d", 600_000))
    join(first, second, tmp_path / "out")
    with Fixture.open(tmp_path / "out") as out, Fixture.open(first) as one, Fixture.open(second) as two:
        assert out.complete
        assert out.header == one.header
        sessions, before, behind = list(out.sessions()), list(one.sessions()), list(two.sessions())
    assert [each.number for each in sessions] == [1, 2, 3, 4]
    assert sessions[:2] == before
    assert [each.connection.number for each in sessions] == [1, 1, 2, 2]
    last_ns = before[-1].entries[-1].at_ns
    for session, alone in zip(sessions[2:], behind, strict=True):
        assert [entry.event for entry in session.entries] == [entry.event for entry in alone.entries]
        assert [entry.at_ns for entry in session.entries] == [last_ns + entry.at_ns for entry in alone.entries]
        assert (session.ended, session.stream_id) == (alone.ended, alone.stream_id)
        assert session.connection.opened_at_ns == last_ns + alone.connection.opened_at_ns


def test_a_recording_that_was_not_closed_is_refused(tmp_path: Path) -> None:
    first = written(tmp_path / "first", _session(1, "a"))
    first.write_bytes(first.read_bytes()[:-1])
    second = written(tmp_path / "second", _session(1, "b"))
    with pytest.raises(FixtureError) as caught:
        join(first, second, tmp_path / "out")
    assert str(caught.value).endswith("; only whole recordings can be joined")
