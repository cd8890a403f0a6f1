"""The plan: which sessions of a fixture are played, on which terms, with which values filled in."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from duplexmock.core.events import ClientHalfClose, ClientHeader, ServerHeader, ServerTrailer, Side
from duplexmock.core.learned import Ground, Need, Needs
from duplexmock.core.metadata import Metadata
from duplexmock.core.rows import RowKind
from duplexmock.core.status import Code, Status
from duplexmock.core.terms import Terms
from duplexmock.errors import FixtureError, ScriptError
from duplexmock.play.plan import Options, check_chosen, find, metadata_value, source, terms
from duplexmock.play.repertoire import Repertoire
from duplexmock.store.fixture import Fixture
from duplexmock.store.header import Expectations
from tests.play.live import Plain
from tests.playbook import ANSWER, HALF_CLOSE, HEADER, METHOD, OK, ask, lanes, reply
from tests.store.fixtures import BARE, FIRST, write

NONE = Expectations()
TOKEN = "redacted:" + "0" * 16
SECRET = Metadata((("authorization", TOKEN), ("x-room", "7")))
ECHO = lanes(HEADER, ask("a"), ANSWER, reply("a"), HALF_CLOSE, OK)

# Options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"speed": 0}, "speed 0: not more than 0; 1 is as recorded, inf as fast as possible"),
        ({"speed": -1.5}, "speed -1.5: not more than 0; 1 is as recorded, inf as fast as possible"),
        ({"speed": math.nan}, "speed nan: not more than 0; 1 is as recorded, inf as fast as possible"),
        ({"repeat": 0}, "repeat 0: at least 1"),
        ({"timeout_s": 0}, "timeout 0: not more than 0 seconds"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ScriptError) as refusal:
        Options(**options)

    assert str(refusal.value) == text


# Fixtures


def test_a_folder_is_all_fixtures_below_it_and_none_is_meant_twice(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name in ("b/c/2.duplex", "b/1.duplex", "a.duplex", "b/notes.txt"):
        (tmp_path / name).touch()
    paths = [tmp_path / name for name in ("a.duplex", "b/1.duplex", "b/c/2.duplex")]

    assert find([tmp_path]) == paths
    assert find([str(paths[2]), tmp_path / "b", paths[2]]) == [paths[2], paths[1]]
    assert find([tmp_path / "not there"]) == [tmp_path / "not there"]


def test_no_paths_are_refused() -> None:
    with pytest.raises(ScriptError) as refusal:
        find([])

    assert str(refusal.value) == "no fixtures were given"


def test_a_folder_without_fixtures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FixtureError) as refusal:
        find([tmp_path])

    assert str(refusal.value) == f"{tmp_path}: no fixtures (*.duplex) in this folder"


# Sessions


def opened(number: int, at_ns: int, event: ClientHeader = HEADER) -> tuple[int, list[Any]]:
    return at_ns, [(RowKind.CLIENT_HEADER, number, event, 1, number)]


def ended(number: int, at_ns: int, event: ServerTrailer = OK) -> tuple[int, list[Any]]:
    return at_ns, [(RowKind.SERVER_TRAILER, number, event)]


@pytest.fixture
def fixture(tmp_path: Path) -> Any:
    """Write and open a fixture of these reads; `expectations` are what it carries."""

    def make(*reads: tuple[int, list[Any]], expectations: Expectations = NONE) -> Fixture:
        path = tmp_path / f"{len(opens)}.duplex"
        write(path, ((0, [(RowKind.OPENED, 1, FIRST)]), *reads), replace(BARE, expectations=expectations))
        return opens.append(Fixture.open(path)) or opens[-1]

    opens: list[Fixture] = []
    yield make
    for each in opens:
        each.close()


THREE = (opened(1, 1), ended(1, 2), opened(2, 3), ended(2, 4), opened(3, 5, ClientHeader("/a.B/C")), ended(3, 6))


def test_what_chooses_nothing_is_refused(fixture: Any) -> None:
    it, empty = fixture(*THREE), fixture()

    def told(*fixtures: tuple[str, Fixture], **options: Any) -> str:
        asked = Options(**options)
        with pytest.raises(ScriptError) as refusal:
            check_chosen([source(of, name, Side.SERVER, asked, Plain()) for name, of in fixtures], asked)
        return str(refusal.value)

    assert told(("it", it), methods=["/a.B/*", "/a.C/*"]) == "method '/a.C/*': no session is of such a method"
    assert told(("it", it), sessions=[1], methods=["/a.B/*"]) == "method '/a.B/*': no session is of such a method"
    assert told(("it", empty), ("more", empty)) == "it, more: no sessions to play"


def test_a_glob_has_to_choose_something_in_one_of_the_fixtures(fixture: Any) -> None:
    asked = Options(methods=["/a.B/*", "chat.*/Chat"])
    fixtures = fixture(*THREE[:4]), fixture(*THREE[4:]), fixture()

    check_chosen([source(of, "it", Side.SERVER, asked, Plain()) for of in fixtures], asked)


def planned(of: Fixture, side: Side = Side.SERVER, **options: Any) -> list[Any]:
    return list(Repertoire([source(of, "it.duplex", side, Options(**options), Plain())], side))


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({}, [1, 2, 3]),
        ({"sessions": [3, 1, 3]}, [1, 3]),
        ({"methods": ["/a.B/*"]}, [3]),
        ({"methods": ["/a.B/*"], "sessions": [1, 2]}, []),
    ],
)
def test_sessions_are_chosen(fixture: Any, options: dict[str, Any], numbers: list[int]) -> None:
    assert [part.lanes.number for part in planned(fixture(*THREE), **options)] == numbers


@pytest.mark.parametrize(
    ("options", "numbers"),
    [({}, [1, 2, 3]), ({"sessions": [3, 1, 3]}, [1, 3]), ({"methods": ["/a.B/*"], "repeat": 2}, [3, 3])],
)
def test_what_was_not_played_is_known_without_reading(
    fixture: Any, options: dict[str, Any], numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    it, asked = fixture(*THREE), Options(**options)
    for reads in ("session", "sessions"):
        monkeypatch.setattr(Fixture, reads, None)
    from_it = source(it, "it.duplex", Side.SERVER, asked, Plain())

    methods = {1: METHOD, 2: METHOD, 3: "/a.B/C"}
    unplayed = Repertoire([from_it], Side.SERVER, asked.repeat).unplayed()
    assert [*unplayed] == [("it.duplex", number, methods[number]) for number in numbers]


def test_a_session_that_is_not_there_is_refused_before_anything_is_played(fixture: Any) -> None:
    it = fixture(*THREE)

    with pytest.raises(ScriptError) as refusal:
        source(it, "it.duplex", Side.SERVER, Options(sessions=[4]), Plain())

    assert str(refusal.value).endswith("0.duplex: there is no session 4; the fixture holds sessions 1 to 3")


@pytest.mark.parametrize("asked", ["by the options", "by the fixture"])
def test_an_order_that_was_not_learned_is_refused(fixture: Any, asked: str) -> None:
    by_fixture = asked == "by the fixture"
    it = fixture(*THREE, expectations=Expectations(expect="order" if by_fixture else None))

    with pytest.raises(ScriptError) as refusal:
        planned(it, expect=None if by_fixture else "order")

    assert str(refusal.value) == (
        "it.duplex: expect 'order' demands what the client needs, which has not been learned of session 1; learn it "
        "(duplexmock learn it.duplex -- COMMAND), or use 'lanes', or 'strict' for the order that was seen"
    )


HELD = Needs(1, Side.CLIENT, (Need(0, Ground.STRUCTURAL), Need(0, Ground.REFUTED, 2), Need(2, Ground.HELD, 2)))
FREE = Needs(1, Side.SERVER, (Need(1, Ground.STRUCTURAL), Need(2, Ground.HELD, 3), Need(3, Ground.UNKNOWN, 3, "why")))


def test_our_lane_waits_for_what_it_needs_and_the_order_is_demanded_of_a_peer_that_was_learned() -> None:
    learned = {(1, needs.side): needs for needs in (HELD, FREE)}

    as_server = terms(ECHO, "it", Side.SERVER, None, Options(), learned)
    assert (as_server.gate, as_server.need) == ((1, 2, 3), (0, 0, 2))
    assert [as_server.gate_evidence(position) for position in range(3)] == [
        "structural",
        "held in 3 of 3 probes",
        "unknown: why",
    ]
    assert as_server.need_evidence(2) == "held in 2 of 2 probes"

    as_client = terms(ECHO, "it", Side.CLIENT, None, Options(), learned)
    assert (as_client.gate, as_client.need) == ((0, 0, 2), (1, 2, 2))


def test_lanes_and_strict_and_an_order_of_ones_own_do_without_what_was_learned() -> None:
    learned = {(1, needs.side): needs for needs in (HELD, FREE)}

    assert terms(ECHO, "it", Side.SERVER, "lanes", Options(), learned).need == (0, 0, 0)
    strict = terms(ECHO, "it", Side.SERVER, "strict", Options(), learned)
    assert (strict.need, strict.need_evidence(2)) == ((0, 0, 2), "seen, not learned")
    ordered = terms(ECHO, "it", Side.SERVER, "lanes", Options(order=">>><<<"), learned)
    assert (ordered.gate, ordered.gate_evidence(2)) == ((3, 3, 3), "seen, not learned")


def test_what_was_learned_of_another_session_is_refused() -> None:
    with pytest.raises(FixtureError) as refusal:
        terms(ECHO, "it.duplex", Side.SERVER, None, Options(), {(1, Side.CLIENT): Needs(1, Side.CLIENT, HELD.lane[:2])})

    assert str(refusal.value) == (
        "it.duplex: session 1: what was learned of the client does not fit; the file is damaged or was edited by hand"
    )


def test_the_fixture_says_what_is_expected_unless_the_options_do(fixture: Any) -> None:
    two = (
        opened(1, 1),
        (2, [(RowKind.SERVER_HEADER, 1, ANSWER)]),
        (3, [(RowKind.CLIENT_HALF_CLOSE, 1, ClientHalfClose())]),
    )
    it = fixture(*two, expectations=Expectations(expect="strict"))

    assert [part.terms.need for part in planned(it)] == [(0, 1)]
    assert [part.terms.need for part in planned(it, expect="lanes")] == [(0, 0)]


# Terms


def test_terms_are_what_was_seen_for_our_lane_and_what_is_expected_for_the_peers() -> None:
    options = Options(speed=2, timeout_s=0.25)

    assert terms(ECHO, "it", Side.SERVER, "lanes", options) == Terms((2, 2, 3), (0, 0, 0), 2, 250_000_000, True)
    assert terms(ECHO, "it", Side.SERVER, "strict", options) == Terms((2, 2, 3), (0, 0, 2), 2, 250_000_000, True)
    assert terms(ECHO, "it", Side.CLIENT, "lanes", Options()) == Terms((0, 0, 2), (1, 1, 1))
    assert terms(ECHO, "it", Side.CLIENT, "strict", Options()) == Terms((0, 0, 2), (2, 2, 3))


def test_a_timeout_that_was_asked_for_is_a_bound_and_the_default_has_the_recorded_time_on_top() -> None:
    asked, by_default = (terms(ECHO, "it", Side.SERVER, "lanes", Options(timeout_s=it)) for it in (10, None))

    assert (asked.timeout_ns, asked.is_timeout_strict) == (10_000_000_000, True)
    assert (by_default.timeout_ns, by_default.is_timeout_strict) == (10_000_000_000, False)


def test_an_order_word_is_for_our_lane_alone() -> None:
    options = Options(order=">>><<<")

    assert terms(ECHO, "it", Side.SERVER, "strict", options) == Terms((3, 3, 3), (0, 0, 2))


def test_an_order_word_of_another_length_is_refused() -> None:
    with pytest.raises(ScriptError) as refusal:
        terms(ECHO, "it.duplex", Side.SERVER, "lanes", Options(order=">><"))

    assert str(refusal.value) == (
        "it.duplex: order '>><' spells 2 events of the client and 1 of the server; session 1 has 3 and 3"
    )


# Values that were redacted


def secret_call(fixture: Any) -> Fixture:
    return fixture(
        opened(1, 1, ClientHeader(METHOD, SECRET)),
        (2, [(RowKind.SERVER_HEADER, 1, ServerHeader(SECRET))]),
        ended(1, 3, ServerTrailer(Status(Code.OK), SECRET)),
    )


def test_the_client_needs_a_value_for_what_was_redacted(fixture: Any) -> None:
    with pytest.raises(ScriptError) as refusal:
        planned(secret_call(fixture), Side.CLIENT)

    assert str(refusal.value) == (
        "it.duplex: session 1: the value of 'authorization' was redacted; give one: --metadata authorization=VALUE"
    )


def test_the_client_says_what_it_was_given(fixture: Any) -> None:
    given = {"Authorization": "me", "x-room": "8", "x-new-bin": "AAE"}
    [part] = planned(secret_call(fixture), Side.CLIENT, metadata=given)

    assert part.lanes.client[0].event.metadata.pairs == (
        ("authorization", "me"),
        ("x-room", "8"),
        ("x-new-bin", b"\x00\x01"),
    )
    assert [step.event.metadata for step in part.lanes.server] == [SECRET, SECRET]


def test_the_server_says_what_it_was_given_for_what_was_redacted_and_else_what_it_said(fixture: Any) -> None:
    filled = Metadata((("authorization", "me"), ("x-room", "7")))
    [plain] = planned(secret_call(fixture))
    [given] = planned(secret_call(fixture), metadata={"authorization": "me", "x-room": "8", "x-new": "1"})

    assert [step.event.metadata for step in plain.lanes.server] == [SECRET, SECRET]
    assert [step.event.metadata for step in given.lanes.server] == [filled, filled]
    assert given.lanes.client[0].event.metadata == SECRET


def test_a_key_that_came_twice_is_given_once(fixture: Any) -> None:
    twice = Metadata((("x-k", "1"), ("x-k", "2")))
    [part] = planned(
        fixture(opened(1, 1, ClientHeader(METHOD, twice)), ended(1, 2)), Side.CLIENT, metadata={"x-k": "3"}
    )

    assert part.lanes.client[0].event.metadata.pairs == (("x-k", "3"),)


def test_the_value_of_a_binary_key_is_written_in_base64() -> None:
    assert metadata_value("x", "AAE=") == "AAE="
    assert metadata_value("x-bin", "AAE=") == metadata_value("x-bin", "AAE") == b"\x00\x01"
    with pytest.raises(ScriptError) as refusal:
        metadata_value("x-bin", "not base64!")
    assert str(refusal.value) == "metadata x-bin=not base64!: the value of a -bin key is written in base64"
