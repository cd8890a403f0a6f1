"""What each fault has done in the place of an event."""

from random import Random

import pytest

from duplexmock.core.acts import (
    Act,
    Anyway,
    Cut,
    GoAway,
    Keep,
    Octets,
    Pause,
    Repeat,
    Sever,
    Turn,
    Withhold,
    is_gentle,
)
from duplexmock.core.events import Cancel, Event, Reset, ServerMessage, ServerTrailer, Side, side_of
from duplexmock.core.faultkinds import KINDS, At
from duplexmock.core.faults import parse
from duplexmock.core.metadata import GRPC_ANSWER, Metadata
from duplexmock.core.status import Code, ErrorCode, Status
from tests.playbook import ANSWER, CANCEL, HALF_CLOSE, HEADER, OK, ask, reply

MS = 1_000_000
B = reply("bb")


def acts(text: str, event: Event, side: Side = Side.SERVER, **more: object) -> list[Act]:
    """What a fault has done in the place of an event."""
    fault = parse(text)
    is_ours = side_of(event) is side
    told = {"has_header": True, "last": reply("last"), "draw": Random(1)} | more
    return list(fault.kind.does(At(side, event, is_ours, **told), *fault.arguments))  # type: ignore[arg-type]


DONE: list[tuple[str, Event, list[Act]]] = [
    ("delay(5ms)@server:1", B, [Pause(5 * MS), B]),
    ("late-header@server:header", ANSWER, [Keep(ANSWER, 0)]),
    ("late-header(2)@server:header", ANSWER, [Keep(ANSWER, 2)]),
    ("slow(5ms)@client:1", ask("a"), [Withhold(5 * MS), Pause(5 * MS), ask("a")]),
    ("no-window@client:header", HEADER, [Withhold(None), HEADER]),
    ("no-window(2s)@server:1", B, [Withhold(2000 * MS), B]),
    ("drop@server:1", B, []),
    ("duplicate@server:1", B, [B, B]),
    ("duplicate(2)@server:1", B, [B, B, B]),
    ("reorder@server:1", B, [Keep(B, 1)]),
    ("corrupt@server:1", B, [ServerMessage(b"\x9d\x9d")]),
    ("corrupt@server:1", reply(""), [ServerMessage(b"\xff")]),
    ("corrupt(9)@server:1", B, [ServerMessage(b"\x9d\x9d")]),
    ("length@server:1", B, [Octets(b"\0\0\0\0\x03bb")]),
    ("length(-1)@server:1", reply("bb", 1), [Octets(b"\1\0\0\0\x01bb")]),
    ("length(-9)@server:1", B, [Octets(b"\0\0\0\0\0bb")]),
    ("length(9999999999)@server:1", B, [Octets(b"\0\xff\xff\xff\xffbb")]),
    ("cut@server:1", B, [Cut(B, None), Turn.ENDED]),
    ("cut(3)@server:1", B, [Cut(B, 3), Turn.ENDED]),
    ("endless@server:1", B, [Repeat(B, 10 * MS), Turn.STALLED]),
    ("endless(1s)@server:trailer", OK, [Repeat(reply("last"), 1000 * MS), Turn.STALLED]),
    ("status(ABORTED, no)@server:1", B, [ServerTrailer(Status(Code.ABORTED, "no")), Turn.ENDED]),
    ("early-trailer@server:1", B, [ServerTrailer(Status(Code.OK)), Turn.OVERRUN, B]),
    ("no-trailers@server:trailer", OK, [ServerTrailer(None)]),
    ("no-status@server:trailer", OK, [Anyway(ServerTrailer(None)), Turn.ENDED]),
    ("reset(CANCEL)@server:1", B, [Reset(ErrorCode.CANCEL), Turn.ENDED]),
    ("stall@client:1", ask("a"), [Turn.STALLED]),
    ("ignore-cancel(5ms)@client:cancel", CANCEL, [Turn.OVERRUN, Pause(5 * MS), CANCEL]),
    ("ignore-deadline(5ms)@client:deadline", CANCEL, [Turn.OVERRUN, Pause(5 * MS), CANCEL]),
    ("ignore-deadline@client:deadline", ServerTrailer(Status(Code.DEADLINE_EXCEEDED)), []),
    ("goaway@client:1", ask("a"), [GoAway(ErrorCode.NO_ERROR, None), ask("a")]),
    ("goaway(CANCEL, last=7)@server:1", B, [GoAway(ErrorCode.CANCEL, 7), B]),
    ("abrupt-goaway@server:1", B, [GoAway(ErrorCode.INTERNAL_ERROR, None), Sever(), Turn.ENDED]),
    ("lose@client:half-close", HALF_CLOSE, [Sever(), Turn.ENDED]),
    ("lose(reset)@server:1", B, [Sever(by_reset=True), Turn.ENDED]),
]


@pytest.mark.parametrize(("text", "event", "done"), DONE)
def test_a_fault_has_something_done(text: str, event: Event, done: list[Act]) -> None:
    assert acts(text, event) == done


def test_a_status_without_a_header_is_trailers_only() -> None:
    done = acts("trailers-only(NOT_FOUND)@server:header", ANSWER, has_header=False)

    assert done == [ServerTrailer(Status(Code.NOT_FOUND), GRPC_ANSWER), Turn.ENDED]


def test_trailers_without_a_status_keep_their_metadata() -> None:
    trailer = ServerTrailer(Status(Code.OK), Metadata((("x", "y"),)))

    done = acts("no-status@server:trailer", trailer)

    assert done == [Anyway(ServerTrailer(None, Metadata((("x", "y"),)))), Turn.ENDED]


def test_a_client_resets_by_a_cancel() -> None:
    assert acts("reset(CONNECT_ERROR)@client:2", ask("a"), Side.CLIENT) == [
        Cancel(ErrorCode.CONNECT_ERROR),
        Turn.ENDED,
    ]


def test_nothing_said_yet_is_repeated_as_an_empty_message() -> None:
    assert acts("endless@server:trailer", OK, last=None) == [Repeat(ServerMessage(b""), 10 * MS), Turn.STALLED]


def test_chance_is_drawn_from_the_seed() -> None:
    pauses = [acts("jitter(1s)@server:*", B, draw=Random(seed)) for seed in "aab"]
    payloads = [acts("corrupt(3)@server:1", reply("abcdefgh"), draw=Random(seed)) for seed in "aab"]

    assert pauses[0] == pauses[1] != pauses[2]
    assert all(0 <= pause.ns <= 1000 * MS for pause, _ in pauses)  # type: ignore[union-attr]
    assert payloads[0] == payloads[1] != payloads[2]
    changed = [sum(x != y for x, y in zip(message.payload, b"abcdefgh", strict=True)) for [message] in payloads]  # type: ignore[union-attr]
    assert changed == [3, 3, 3]


@pytest.mark.parametrize(
    ("text", "event", "is_so"),
    [
        ("delay(5ms)@server:1", B, True),
        ("slow(5ms)@client:1", ask("a"), True),
        ("no-window(5ms)@client:header", HEADER, True),
        ("no-window@client:header", HEADER, False),
        ("late-header@server:header", ANSWER, True),
        ("goaway@server:1", B, True),
        ("late-header(1)@server:header", ANSWER, False),
        ("goaway(CANCEL)@server:1", B, False),
        ("goaway(last=0)@server:1", B, False),
        ("duplicate@server:1", B, False),
        ("drop@server:1", B, False),
        ("reorder@server:1", B, False),
        ("stall@server:1", B, False),
    ],
)
def test_what_only_takes_time_is_gentle(text: str, event: Event, is_so: bool) -> None:
    assert is_gentle(acts(text, event), event) is is_so


def test_every_fault_is_shown_here() -> None:
    shown = {text.partition("(")[0].partition("@")[0] for text, _, _ in DONE}

    assert set(KINDS) - shown == {"jitter", "trailers-only"}
