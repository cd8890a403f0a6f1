"""A stage: fixtures opened for a seat, what cannot be played refused at once, and the report when it is over."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from duplexmock.core.events import Side
from duplexmock.errors import FixtureError, ScriptError
from duplexmock.net.stage import Stage
from duplexmock.play.plan import Options
from duplexmock.store.header import Expectations
from tests.net.ends import ANSWER, BARE, REQUEST, request, written
from tests.play.live import Call
from tests.playbook import HALF_CLOSE, OK, ask, recorded, reply

SECRET = "redacted:" + "0" * 16


def hello(number=1, method=REQUEST.method, key=()):
    events = (request(*key, method=method), ask("a"), HALF_CLOSE, ANSWER, reply("A"), OK)
    return recorded(*enumerate(events, start=number * 10), number=number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "x.duplex", hello(1), hello(2, method="/a.B/C"))


def refused(path: Path, side: Side = Side.SERVER, *, paths: list[Path] | None = None, **more) -> str:
    """What a stage is refused with; nothing is left open."""
    options = {key: more.pop(key) for key in list(more) if key in Options.__dataclass_fields__}
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises((ScriptError, FixtureError)) as caught:
        Stage(paths or [path], side, Options(**options), **more)
    assert len(os.listdir("/proc/self/fd")) == before
    return str(caught.value)


def test_sessions_are_chosen_in_one_fixture(tmp_path, path):
    other = written(tmp_path / "y.duplex", hello())
    assert (
        refused(path, paths=[path, other], sessions=[1])
        == "sessions are chosen by number in one fixture, and there are several"
    )


@pytest.mark.parametrize(
    ("side", "options", "sentence"),
    [
        (Side.SERVER, {"sessions": [3]}, "{path}: there is no session 3; the fixture holds sessions 1 to 2"),
        (
            Side.SERVER,
            {"expect": "order"},
            "{path}: expect 'order' demands what the client needs, which has not been learned of session 1; learn "
            "it (duplexmock learn {path} -- COMMAND), or use 'lanes', or 'strict' for the order that was seen",
        ),
        (
            Side.SERVER,
            {"order": "><"},
            "{path}: order '><' spells 1 events of the client and 1 of the server; session 1 has 3 and 3",
        ),
        (Side.CLIENT, {"ignore": ["a..b"]}, None),
    ],
)
def test_what_does_not_fit_is_refused(path, side, options, sentence):
    told = refused(path, side, **options)
    assert told == sentence.format(path=path) if sentence else told.startswith("ignore 'a..b'")


def test_a_fixture_may_expect_what_is_not_known_yet(tmp_path):
    path = written(tmp_path / "x.duplex", hello(), header=replace(BARE, expectations=Expectations((), (), "order")))
    assert refused(path).startswith(f"{path}: expect 'order' demands what the client needs")
    with Stage([path], Side.SERVER, Options(expect="lanes")) as stage:
        assert [session.number for session in stage.unplayed()] == [1]


def test_every_redacted_value_of_ours_is_asked_for(tmp_path):
    path = written(tmp_path / "x.duplex", hello(1), hello(2, key=[("x-key", SECRET)]))
    sentence = f"{path}: session 2: the value of 'x-key' was redacted; give one: --metadata x-key=VALUE"
    assert refused(path, Side.CLIENT) == sentence
    for side, metadata in ((Side.SERVER, {}), (Side.CLIENT, {"x-key": "1"})):
        with Stage([path], side, Options(metadata=metadata)):
            pass


def test_the_report_is_empty_where_all_agreed(path):
    async def main(stage):
        for header in (REQUEST, request(method="/a.B/C")):
            call = Call()
            call.says(header, ask("a"), HALF_CLOSE)
            await stage.play.answer(call)
        return stage.report(), str(stage.tally())

    with Stage([path], Side.SERVER, Options()) as stage:
        assert asyncio.run(main(stage)) == ("", "2 sessions: 2 agreed; order across lanes was not asserted")


def test_the_report_names_what_was_not_played(path):
    with Stage([path], Side.SERVER, Options()) as stage:
        assert stage.report() == (
            f"not played: {path}   session 1   /chat.ChatService/Chat\n"
            f"not played: {path}   session 2   /a.B/C\n"
            "2 sessions: 0 agreed, 2 not played"
        )


def test_the_report_tells_ten_of_a_kind_and_counts_the_others(tmp_path):
    path = written(tmp_path / "x.duplex", *map(hello, range(1, 25)))

    async def main(stage):
        for _ in range(12):
            call = Call()
            call.says(REQUEST, HALF_CLOSE)
            await stage.play.answer(call)
        return stage.report()

    with Stage([path], Side.SERVER, Options()) as stage:
        report = asyncio.run(main(stage))

    assert report.count("The client half-closed before its first message.") == 10
    assert report.endswith(
        "and 2 more that did not agree\n\n"
        + "".join(f"not played: {path}   session {number}   /chat.ChatService/Chat\n" for number in range(13, 23))
        + "and 2 more that were not played\n24 sessions: 0 agreed, 12 did not, 12 not played"
    )


def test_a_call_of_no_fixture_is_read_without_descriptors(path):
    async def main(stage):
        call = Call()
        call.says(request(method="/no.Such/Method"))
        await stage.play.answer(call)
        return stage.report().splitlines()[:3]

    with Stage([path], Side.SERVER, Options()) as stage:
        heading, line, sentence = asyncio.run(main(stage))

    assert heading == "no session   /no.Such/Method   the mock played the server"
    assert "ClientHeader" in line
    assert sentence == "There is no session of /no.Such/Method."
