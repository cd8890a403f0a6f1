"""What is done to a connection over a real socket: its calls are all heard first, and it is done once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duplexmock
from duplexmock.core.connection import Closing
from duplexmock.core.events import Side
from duplexmock.core.session import Session
from duplexmock.wire.happenings import GoAwayReceived
from tests.net.ends import ANSWER, REQUEST, client, request, written
from tests.playbook import OK, ask, goaway, lost_by, recorded, reply

OTHER = request(("x-other", "1"))


def second(session: Session) -> Session:
    return replace(session, number=2, stream_id=3)


def test_a_connection_is_lost_when_all_of_its_calls_are_through(tmp_path: Path) -> None:
    closed = lost_by(Side.SERVER, 30, Closing.RESET)
    path = written(
        tmp_path / "lost.duplex",
        recorded((0, REQUEST), (1, ANSWER), closed=closed),
        second(recorded((10, OTHER), (11, ANSWER), (20, ask("a")), (21, reply("A")), closed=closed)),
    )

    with duplexmock.replay(path) as mock, client(mock.target) as end:
        assert end.hear(end.open(REQUEST), 1) == [ANSWER]
        later = end.open(OTHER)
        assert end.hear(later, 1) == [ANSWER]
        end.say(later, ask("a"))
        assert end.hear(later, 1) == [reply("A")]
        end.to_the_end()


def test_goaway_is_said_once_behind_the_calls_that_it_came_behind(tmp_path: Path) -> None:
    said = [goaway(15, 0, b"bye")]
    path = written(
        tmp_path / "parted.duplex",
        recorded((0, REQUEST), (1, ANSWER), (40, OK), goaways=said),
        second(recorded((10, OTHER), (11, ANSWER), (20, ask("a")), (21, reply("A")), (22, OK), goaways=said)),
    )

    with duplexmock.replay(path) as mock, client(mock.target) as end:
        first = end.open(REQUEST)
        assert end.hear(first, 1) == [ANSWER]
        later = end.open(OTHER)
        assert end.hear(later, 1) == [ANSWER]
        end.say(later, ask("a"))
        assert end.hear(later, 2) == [reply("A"), OK]
        assert end.hear(first, 1) == [OK]
        assert [each.debug for each in end.happened if isinstance(each, GoAwayReceived)] == [b"bye"]
