"""Faults as people write them, and what is wrong with those that are none."""

import re
from pathlib import Path

import pytest

from duplexmock.core.events import Side
from duplexmock.core.faultkinds import KINDS
from duplexmock.core.faults import Fault, Place, parse
from duplexmock.core.status import Code, ErrorCode
from duplexmock.errors import ScriptError
from tests.playbook import ANSWER, CANCEL, HALF_CLOSE, HEADER, OK, ask, reply

MS = 1_000_000

READ = {
    "reset(CANCEL)@server:2": Fault("reset", Place(Side.SERVER, "message", 2), (int(ErrorCode.CANCEL),)),
    "reset@client:half-close": Fault("reset", Place(Side.CLIENT, "half-close"), (int(ErrorCode.INTERNAL_ERROR),)),
    "reset(42)@server:trailer": Fault("reset", Place(Side.SERVER, "trailer"), (42,)),
    "delay(5ms)@server:*": Fault("delay", Place(Side.SERVER, "message"), (5 * MS,)),
    "jitter(20ms, 7)@client:1#2": Fault("jitter", Place(Side.CLIENT, "message", 1), (20 * MS, 7), 2),
    "status(UNAVAILABLE, gone away)@server:3": Fault(
        "status", Place(Side.SERVER, "message", 3), (int(Code.UNAVAILABLE), "gone away")
    ),
    "status(99, 'a, (b) \\'c\\'')@server:1": Fault("status", Place(Side.SERVER, "message", 1), (99, "a, (b) 'c'")),
    "goaway(last=0)@after:client:header": Fault("goaway", Place(Side.CLIENT, "header", 0, True), (0, 0)),
    "lose(reset)@server:header#/chat.*/Chat": Fault("lose", Place(Side.SERVER, "header"), ("reset",), "/chat.*/Chat"),
    "length(-3)@server:1": Fault("length", Place(Side.SERVER, "message", 1), (-3,)),
    "no-window@client:header": Fault("no-window", Place(Side.CLIENT, "header"), (None,)),
    "ignore-deadline@client:deadline": Fault("ignore-deadline", Place(Side.CLIENT, "deadline"), (1000 * MS,)),
}


@pytest.mark.parametrize("text", READ)
def test_a_fault_is_read_and_written_so_that_it_is_read_again(text: str) -> None:
    assert parse(text) == READ[text]
    assert str(READ[text]) == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (" reset( cancel ) @ server:2 ", "reset(CANCEL)@server:2"),
        ("reset(0x8)@server:2", "reset(CANCEL)@server:2"),
        ("reset(INTERNAL_ERROR)@server:2", "reset@server:2"),
        ("jitter(most=1s, seed=0)@server:*", "jitter(1s)@server:*"),
        ('status(code=ABORTED, message="so, it is")@server:1', "status(ABORTED, 'so, it is')@server:1"),
        ("corrupt(seed=3)@server:1", "corrupt(seed=3)@server:1"),
        ("drop()@server:01", "drop@server:1"),
    ],
)
def test_there_is_one_way_to_write_a_fault(written: str, text: str) -> None:
    assert str(parse(written)) == text


def test_a_fault_that_is_read_already_is_itself() -> None:
    fault = parse("drop@server:1")

    assert parse(fault) is fault


WRITTEN = "a fault is written NAME(ARGUMENTS)@PLACE, as in reset(CANCEL)@server:2"
OF_HTTP2 = (
    "one of NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, "
    "FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, "
    "INADEQUATE_SECURITY, HTTP_1_1_REQUIRED, or a number"
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", WRITTEN),
        ("reset", WRITTEN),
        ("reset(CANCEL@server:2", WRITTEN),
        ("rest@server:1", "there is no fault 'rest'; is 'reset' meant?"),
        ("xyz@server:1", f"there is no fault 'xyz'; there are {', '.join(KINDS)}"),
        ("reset(FOO)@server:1", f"'FOO' is not an error code of HTTP/2: {OF_HTTP2}"),
        ("reset(1, 2)@server:1", "too many arguments; it has code"),
        ("drop(1)@server:1", "it has no arguments"),
        ("delay@server:1", "argument 'time' is missing; it has time"),
        ("delay(1s, time=2s)@server:1", "argument 'time' is given twice"),
        ("delay(5)@server:1", "time '5': a time is written '5s', '100ms', '1.5s', '2m' or '1h'"),
        ("jitter(5ms, sed=1)@server:1", "there is no argument 'sed'; it has most, seed"),
        ("duplicate(0)@server:1", "times 0: at least 1"),
        ("length(long)@server:1", "more 'long': a whole number"),
        ("lose(slowly)@server:1", "how 'slowly': close or reset"),
        (
            "status(OK, a'b)@server:1",
            WRITTEN,
        ),
        ("drop@serv:1", "place 'serv:1' begins with client: or server:, as in server:2 or client:half-close"),
        ("drop@server:0", "place 'server:0': messages count from 1"),
        (
            "drop@server:half-close",
            "place 'server:half-close': of the server there are header, trailer, the number of a message, or *",
        ),
        (
            "drop@client:last",
            "place 'client:last': of the client there are header, half-close, cancel, deadline, the number of a "
            "message, or *",
        ),
        ("no-trailers@server:2", "a fault no-trailers is not at server:2; it is at server:trailer"),
        (
            "endless@client:half-close",
            "a fault endless is not at client:half-close; it is at a message, or server:trailer",
        ),
        ("drop@after:server:1", "a fault drop stands in the place of an event, not after it"),
        ("reset@server:1#0", "calls count from 1"),
        ("reset@server:1#", "behind # stands the number of a call, or a glob of methods"),
    ],
)
def test_what_is_no_fault_is_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ScriptError) as refused:
        parse(text)

    assert str(refused.value) == f"fault {text!r}: {sentence}"


def test_what_is_no_text_is_no_fault() -> None:
    with pytest.raises(ScriptError) as refused:
        parse(7)

    assert str(refused.value) == f"fault 7: {WRITTEN}"


@pytest.mark.parametrize(
    ("text", "side", "sentence"),
    [
        ("status(OK)@client:1", Side.CLIENT, "only a server can do this, and the client is played here"),
        ("corrupt@client:1", Side.SERVER, "the server is played here, and cannot change what the client says"),
        ("cut@server:1", Side.CLIENT, "the client is played here, and cannot change what the server says"),
        (
            "reset@client:header",
            Side.CLIENT,
            "this cannot be done in the place of what the client is to say; after:client:header stands behind it",
        ),
        ("slow(1s)@server:1", Side.SERVER, "this cannot be done in the place of what the server is to say"),
    ],
)
def test_what_a_side_cannot_do_is_refused(text: str, side: Side, sentence: str) -> None:
    with pytest.raises(ScriptError) as refused:
        parse(text).check(side)

    assert str(refused.value) == f"fault {text}: {sentence}"


@pytest.mark.parametrize("text", READ)
def test_what_the_server_can_do_is_not_refused(text: str) -> None:
    parse(text).check(Side.SERVER)


@pytest.mark.parametrize(
    "text", ["reset@after:client:header", "delay(1s)@client:header", "slow(1s)@server:*", "drop@client:deadline"]
)
def test_what_the_client_can_do_is_not_refused(text: str) -> None:
    parse(text).check(Side.CLIENT)


def test_a_place_fits_its_events() -> None:
    events = [HEADER, ANSWER, ask("a"), reply("b"), HALF_CLOSE, CANCEL, OK]
    places = ["client:header", "server:header", "client:1", "server:*", "client:half-close", "client:cancel"]

    fits = [[parse(f"delay(1s)@{place}").place.fits(event, 1, False) for event in events] for place in places]

    assert fits == [[place == which for which in range(7)] for place in range(6)]
    assert parse("delay(1s)@server:trailer").place.fits(OK, 0, False)
    assert not parse("delay(1s)@server:2").place.fits(reply("b"), 1, False)
    assert parse("delay(1s)@client:deadline").place.fits(CANCEL, 0, True)


@pytest.mark.parametrize(
    ("text", "concerned"),
    [
        ("drop@server:1", [True, True, True]),
        ("drop@server:1#2", [False, True, False]),
        ("drop@server:1#/a.B/*", [True, False, False]),
        ("drop@server:1#a.B/C", [True, False, False]),
    ],
)
def test_a_fault_concerns_the_calls_that_it_names(text: str, concerned: list[bool]) -> None:
    calls = [(1, "/a.B/C"), (2, "/a.X/C"), (3, "/a.X/C")]

    assert [parse(text).concerns(*call) for call in calls] == concerned


def test_the_readme_has_a_row_for_each_fault() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+[^`]*@[^`]+)` \| (.*) \|$", text, re.MULTILINE)
    faults = [parse(written) for written, _ in rows]

    assert sorted(fault.name for fault in faults) == sorted(KINDS)
    assert [line for _, line in rows] == [fault.kind.line for fault in faults]
    assert f"{len(KINDS)} faults" in text
    for fault in faults:
        fault.check(Side.SERVER)
