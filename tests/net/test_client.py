"""The client's seat against servers spoken at by hand: connections, GOAWAY, refusals, limits, a server that dies."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import duplexmock
from duplexmock.core.events import Reset
from duplexmock.core.session import Session
from duplexmock.core.status import ErrorCode
from duplexmock.net import client as client_of
from duplexmock.wire.limits import Config, Limits
from tests.net.ends import ANSWER, REQUEST, End, request, sentences, server, written
from tests.net.wires import LIMIT_S, listening
from tests.playbook import HALF_CLOSE, OK, ask, recorded, reply

ASKED = [REQUEST, ask("a"), HALF_CLOSE]
ANSWERED = [ANSWER, reply("A"), OK]
REFUSED = Reset(ErrorCode.REFUSED_STREAM)
SECRET = "redacted:" + "0" * 16
AGAIN = "the server refused the call unprocessed; it was opened again"


def hello(number: int = 1, begin_ms: float = 0, connection: int = 1, text: str = "a") -> Session:
    """One message, one answer."""
    events = [REQUEST, ask(text), HALF_CLOSE, ANSWER, reply(text.upper()), OK]
    return recorded(*((begin_ms + ms, event) for ms, event in enumerate(events)), number=number, connection=connection)


@contextmanager
def replayed(path: Path, listener_address: str, **options: Any) -> Iterator["Future[Any]"]:
    """Replay the client against an address while the block goes on; yields the future of the outcomes."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(duplexmock.replay_client, path, listener_address, **options)


def answers(end: End, count: int = 1) -> None:
    """Take calls and answer them, one after the other."""
    for _ in range(count):
        stream_id = end.accept()
        assert end.hear(stream_id, 3) == ASKED
        end.say(stream_id, *ANSWERED)


def test_sessions_of_one_connection_share_one(tmp_path: Path) -> None:
    path = written(tmp_path / "x.duplex", hello(1), hello(2, 10), hello(3, 20, connection=2))
    with listening() as (listener, address), replayed(path, address) as playing:
        first = server(listener)
        answers(first, 2)
        second = server(listener)
        answers(second)
        outcomes = playing.result(LIMIT_S)

    outcomes.check()
    assert sorted((each.number, each.session.connection.number) for each in outcomes) == [(1, 1), (2, 1), (3, 2)]


def test_connections_of_a_pass_are_closed_before_the_next_pass_dials(tmp_path: Path) -> None:
    path = written(tmp_path / "x.duplex", hello(1), hello(2, connection=2))
    with listening() as (listener, address), replayed(path, address, repeat=3) as playing:
        for _ in range(3):
            ends = [server(listener), server(listener)]
            for end in ends:
                answers(end)
            for end in ends:
                end.to_the_end()
        outcomes = playing.result(LIMIT_S)

    assert sentences(outcomes) in ([(1, ""), (2, "")] * 3, [(2, ""), (1, "")] * 3) or outcomes.agreed


def test_idle_connections_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_of, "MAX_IDLE", 2)
    gap_ms = 50.0
    sessions = [hello(number, number * gap_ms, connection=number) for number in range(1, 6)]
    path = written(tmp_path / "x.duplex", *sessions)
    with listening() as (listener, address), replayed(path, address, speed=1) as playing:
        ends = []
        for place in range(5):
            ends.append(server(listener))
            answers(ends[-1])
            if place >= 3:
                ends[place - 3].to_the_end()
        outcomes = playing.result(LIMIT_S)

    outcomes.check()


def test_a_call_is_opened_elsewhere_when_the_server_goes_away_before_it_is_opened(tmp_path: Path) -> None:
    path = written(tmp_path / "x.duplex", hello(1), hello(2, 300))
    with listening() as (listener, address), replayed(path, address, speed=1) as playing:
        first = server(listener)
        answers(first)
        first.endpoint.goaway()
        first.flush()
        second = server(listener)
        answers(second)
        outcomes = playing.result(LIMIT_S)

    outcomes.check()
    assert [(each.number, each.notes) for each in outcomes] == [(1, ()), (2, (AGAIN,))]


def test_a_call_is_opened_elsewhere_when_the_connection_is_closed_before_it_is_opened(tmp_path: Path) -> None:
    path = written(tmp_path / "x.duplex", hello(1), hello(2, 300))
    with listening() as (listener, address), replayed(path, address, speed=1) as playing:
        first = server(listener)
        answers(first)
        first.sock.close()
        answers(server(listener))
        outcomes = playing.result(LIMIT_S)

    outcomes.check()
    assert [(each.number, each.notes) for each in outcomes] == [(1, ()), (2, (AGAIN,))]


@pytest.mark.parametrize("how", ["by a reset", "by GOAWAY"])
def test_a_call_that_is_refused_unprocessed_is_opened_again(tmp_path: Path, how: str) -> None:
    path = written(tmp_path / "x.duplex", hello())
    with listening() as (listener, address), replayed(path, address) as playing:
        end = server(listener)
        stream_id = end.accept()
        if how == "by a reset":
            end.say(stream_id, REFUSED)
        else:
            end.endpoint.goaway(last_stream_id=0)
            end.flush()
            end = server(listener)
        answers(end)
        outcomes = playing.result(LIMIT_S)

    outcomes.check()
    assert [(each.number, each.notes) for each in outcomes] == [(1, (AGAIN,))]


def test_a_call_that_is_refused_for_ever_is_a_mismatch(tmp_path: Path) -> None:
    path = written(tmp_path / "x.duplex", hello())
    with listening() as (listener, address), replayed(path, address) as playing:
        end = server(listener)
        for _ in range(4):
            end.say(end.accept(), REFUSED)
        outcomes = playing.result(LIMIT_S)

    assert sentences(outcomes) == [(1, "The server reset the call (REFUSED_STREAM) before its initial metadata.")]


def test_a_server_that_dies_is_a_mismatch_of_every_session_that_is_left(tmp_path: Path) -> None:
    path = written(tmp_path / "x.duplex", hello(1), hello(2, 10), hello(3, 20, connection=2))
    with listening() as (listener, address):
        with replayed(path, address, speed=0.1) as playing:
            end = server(listener)
            end.accept()
            listener.close()
            end.sock.close()
            outcomes = playing.result(LIMIT_S)

    lost = "The server's connection was lost ({}) before its initial metadata."
    unreachable = f"{address} cannot be reached: Connection refused"
    assert [each.number for each in outcomes] == [1, 2, 3]
    first, *others = (sentence for _, sentence in sentences(outcomes))
    assert first in (lost.format("closed"), lost.format("reset"))
    assert others == [lost.format(unreachable)] * 2


def test_nobody_answers(tmp_path: Path) -> None:
    path = written(tmp_path / "x.duplex", hello())
    with listening() as (listener, address):
        listener.close()
        with pytest.raises(duplexmock.ScriptError) as caught:
            duplexmock.replay_client(path, address)

    assert str(caught.value) == f"{address} cannot be reached: Connection refused"


def test_more_calls_than_the_server_allows_wait_for_their_turn(tmp_path: Path) -> None:
    path = written(tmp_path / "x.duplex", *(hello(number) for number in range(1, 8)))
    most = 0
    with listening() as (listener, address), replayed(path, address) as playing:
        end = server(listener, Config(limits=Limits(max_streams=2)))
        for _ in range(7):
            stream_id = end.accept()
            assert end.hear(stream_id, 3) == ASKED
            most = max(most, len(end.endpoint.open_streams))
            end.say(stream_id, *ANSWERED)
        outcomes = playing.result(LIMIT_S)

    outcomes.check()
    assert len(outcomes) == 7
    assert most <= 2 or any(each.notes for each in outcomes)


def test_more_calls_than_are_remembered_may_end_in_one_read(tmp_path: Path) -> None:
    count = 1_200
    path = written(tmp_path / "x.duplex", *(hello(number) for number in range(1, count + 1)))
    with listening() as (listener, address), replayed(path, address) as playing:
        end = server(listener)
        for stream_id in [end.accept() for _ in range(count)]:
            assert end.hear(stream_id, 3) == ASKED
            end.endpoint.send(stream_id, ANSWERED)
        end.flush()
        outcomes = playing.result(LIMIT_S)

    outcomes.check()
    assert len(outcomes) == count


def test_a_message_is_held_while_the_server_is_silent_and_pings_are_answered(tmp_path: Path) -> None:
    session = recorded(*enumerate((REQUEST, ask("a"), ANSWER, reply("A"), ask("b"), HALF_CLOSE, OK)))
    path = written(tmp_path / "x.duplex", session)
    with listening() as (listener, address), replayed(path, address) as playing:
        end = server(listener)
        stream_id = end.accept()
        assert end.hear(stream_id, 2) == [REQUEST, ask("a")]
        pinged = len(end.happened)
        for number in range(20):
            end.endpoint.ping(number.to_bytes(8, "big"))
            end.flush()
            end.until(lambda: sum("PingAcknowledged" in repr(each) for each in end.happened) > number)  # noqa: B023
        assert len(end.happened) >= pinged + 20
        end.say(stream_id, ANSWER, reply("A"))
        assert end.hear(stream_id, 2) == [ask("b"), HALF_CLOSE]
        end.say(stream_id, OK)
        outcomes = playing.result(LIMIT_S)

    outcomes.check()


def test_every_redacted_value_is_asked_for_before_anybody_is_dialled(tmp_path: Path) -> None:
    secret = recorded(
        *((10 + ms, event) for ms, event in enumerate((request(("x-key", SECRET)), OK))),
        number=2,
    )
    path = written(tmp_path / "x.duplex", hello(1), secret)
    with listening() as (listener, address):
        with pytest.raises(duplexmock.ScriptError) as caught:
            duplexmock.replay_client(path, address)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()

    assert str(caught.value) == (
        f"{path}: session 2: the value of 'x-key' was redacted; give one: --metadata x-key=VALUE"
    )
