"""How messages are read in a play: ignored, bound, and in encodings that the caller takes."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import dataclass
from typing import Any, cast

import pytest

from duplexmock.core.events import ClientHeader, ClientMessage, Event, ServerHeader, ServerMessage, Side
from duplexmock.core.lanes import Lanes
from duplexmock.core.matching import Difference
from duplexmock.core.metadata import Metadata
from duplexmock.core.player import Player
from duplexmock.core.session import Session
from duplexmock.errors import ScriptError
from duplexmock.play.reading import FixtureReading, check_paths
from duplexmock.schema.descriptors import Descriptors
from duplexmock.store.header import Expectations, Header
from tests.play.live import House, source, verdicts, virtual
from tests.playbook import ANSWER, HALF_CLOSE, HEADER, METHOD, OK, header, lanes, recorded, row_of, terms
from tests.schema.protos import chat_file, chat_message, set_of

NONE = Expectations()
DESCRIPTORS = set_of(chat_file())
TIMESTAMP = "chat.ChatMessage.timestamp"
SENDER = ("chat.ChatMessage.sender", "chat.ChatMessage.sender")
GZIP = ServerHeader(Metadata((("grpc-encoding", "gzip"), ("x-room", "7"))))


@dataclass(frozen=True, slots=True)
class Carrier:
    """What a reading needs of a fixture."""

    descriptors: bytes | None = None
    expectations: Expectations = NONE

    @property
    def header(self) -> Header:
        return Header(0, "there", self.descriptors, (), self.expectations)


def reading(
    ignore: tuple[str, ...] = (), bind: tuple[tuple[str, str], ...] = (), own: Expectations = NONE
) -> FixtureReading:
    return FixtureReading(cast(Any, Carrier(DESCRIPTORS, own)), "it.duplex", None, ignore, bind)


def ask(text: str, sender: str = "Ann", at: int = 1) -> ClientMessage:
    return ClientMessage(chat_message(sender, text, at).SerializeToString())


def reply(text: str, sender: str = "Ann", at: int = 1) -> ServerMessage:
    return ServerMessage(chat_message(sender, text, at).SerializeToString())


ECHO = lanes(HEADER, ANSWER, ask("one"), reply("one"), ask("two"), reply("two"), HALF_CLOSE, OK)


def compared(of: FixtureReading, expected: Event, actual: Event) -> list[Difference]:
    match = of.of_call(ECHO, Side.SERVER).match
    list(match(HEADER, HEADER))
    return list(match(expected, actual))


# What is compared


def test_messages_are_compared_by_the_fixtures_descriptors() -> None:
    assert compared(reading(), ask("one"), ask("other", at=2)) == [
        Difference("message", "one", "other"),
        Difference("timestamp", 1, 2),
    ]


@pytest.mark.parametrize("whose", ["the caller's", "the fixture's"])
def test_a_field_is_ignored(whose: str) -> None:
    own = Expectations(ignore=(TIMESTAMP,)) if whose == "the fixture's" else NONE
    of = reading(ignore=(TIMESTAMP,) if whose == "the caller's" else (), own=own)

    assert compared(of, ask("one"), ask("one", at=2)) == []
    assert compared(of, ask("one"), ask("two", at=2)) == [Difference("message", "one", "two")]


def test_without_descriptors_fields_have_numbers() -> None:
    of = FixtureReading(cast(Any, Carrier()), "it.duplex", ignore=[f"{METHOD}>3"])

    assert compared(of, ask("one"), ask("two", at=2)) == [Difference("2", "one", "two")]


def test_descriptors_that_are_given_are_added() -> None:
    of = FixtureReading(cast(Any, Carrier()), "it.duplex", Descriptors(DESCRIPTORS), [TIMESTAMP])

    assert compared(of, ask("one"), ask("two", at=2)) == [Difference("message", "one", "two")]


def test_a_redacted_value_stands_for_any() -> None:
    redacted = header(("authorization", "redacted:" + "0" * 16))
    match = reading().of_call(ECHO, Side.SERVER).match

    assert list(match(redacted, header(("authorization", "x")))) == []
    assert list(match(redacted, HEADER)) == [Difference("metadata.authorization", "redacted:" + "0" * 16, None)]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"ignore": ("",)}, "ignore ''"),
        ({"bind": (("metadata:x", TIMESTAMP),)}, "bind 'metadata:x'"),
    ],
)
def test_a_path_that_is_none_is_refused(more: dict[str, Any], text: str) -> None:
    with pytest.raises(ScriptError) as refusal:
        reading(**more)

    assert str(refusal.value).startswith(text)


def test_a_path_that_leads_nowhere_may_be_meant_for_another_fixture() -> None:
    of = reading(ignore=("other.Message.field", TIMESTAMP))

    assert compared(of, ask("one"), ask("one", at=2)) == []


def test_a_path_has_to_lead_somewhere_in_one_of_the_fixtures() -> None:
    check_paths([None, Descriptors(DESCRIPTORS)], [TIMESTAMP, "metadata:x"], [SENDER])
    check_paths([], ["other.Message.field"], [])
    for ignore, bind, text in (
        (["chat.ChatMessage.colour"], [], "ignore 'chat.ChatMessage.colour': names need descriptors"),
        ([], [(TIMESTAMP, "chat.Other.sender")], "bind 'chat.Other.sender': names need descriptors"),
    ):
        with pytest.raises(ScriptError) as refusal:
            check_paths([None, Descriptors(DESCRIPTORS)], ignore, bind)
        assert str(refusal.value).startswith(text)


# What is bound


def play(of: FixtureReading, side: Side, of_lanes: Lanes = ECHO) -> Player:
    call = of.of_call(of_lanes, side)
    return Player(of_lanes, side, terms(of_lanes, side), call.match, sees_all=call.sees_all, bind=call.bind)


def said(player: Player) -> list[Event]:
    return [step.event for step in player.next(0).steps]  # type: ignore[union-attr]


def test_what_arrived_comes_back_in_every_later_message() -> None:
    player = play(reading(bind=(SENDER,)), Side.SERVER)
    player.received([row_of(HEADER)], 0)
    assert said(player) == [ANSWER]

    player.received([row_of(ask("one", "Bob"))], 0)
    assert said(player) == [reply("one", "Bob")]
    player.received([row_of(ask("two", "Bob")), row_of(HALF_CLOSE)], 0)
    assert said(player) == [reply("two", "Bob"), OK]
    assert player.mismatch is None


def test_the_client_binds_what_the_server_chose() -> None:
    player = play(reading(bind=((SENDER[0], SENDER[1]),)), Side.CLIENT)
    assert said(player) == [HEADER]
    player.received([row_of(ANSWER)], 0)
    assert said(player) == [ask("one")]

    player.received([row_of(reply("one", "Srv"))], 0)
    assert said(player) == [ask("two", "Srv")]


def test_without_a_bind_nothing_has_to_be_seen() -> None:
    call = reading().of_call(ECHO, Side.SERVER)

    assert (call.bind, call.sees_all) == (None, False)
    elsewhere = reading(bind=((f"{METHOD}>1", "/other.Service/Method<1"),)).of_call(ECHO, Side.SERVER)
    assert elsewhere.bind is None


def test_a_bound_value_is_found_in_what_is_compressed() -> None:
    opens = header(("grpc-encoding", "gzip"))
    packed = lanes(opens, GZIP, ClientMessage(gzip.compress(ask("one").payload), 1),
                    ServerMessage(gzip.compress(reply("one").payload), 1), HALF_CLOSE, OK)  # fmt: skip
    player = play(reading(bind=(SENDER,)), Side.SERVER, packed)
    player.received([row_of(opens)], 0)
    assert said(player) == [GZIP]

    player.received([row_of(ClientMessage(gzip.compress(ask("one", "Bob").payload), 1))], 0)

    assert said(player) == [reply("one", "Bob")]
    assert player.mismatch is None


def tried(*binds: tuple[str, str]) -> FixtureReading:
    return FixtureReading(cast(Any, Carrier(DESCRIPTORS)), "it.duplex", tried=binds)


def test_what_is_tried_is_bound_and_compared_all_the_same() -> None:
    """Whether the call is the recorded one is told by all that it says: a bind that is guessed leaves nothing out."""
    call = tried(SENDER).of_call(ECHO, Side.SERVER)
    assert list(call.match(HEADER, HEADER)) == []
    assert call.bind is not None
    assert call.bind(ANSWER) == ANSWER
    assert list(call.match(ask("one"), ask("one", "Bob"))) == [Difference("sender", "Ann", "Bob")]
    assert call.bind(reply("one")) == reply("one", "Bob")


def test_a_message_that_differs_elsewhere_teaches_as_well() -> None:
    for of in (reading(bind=(SENDER,)), tried(SENDER)):
        call = of.of_call(ECHO, Side.SERVER)
        assert list(call.match(HEADER, HEADER)) == []
        assert Difference("timestamp", 1, 2) in list(call.match(ask("one"), ask("one", "Bob", at=2)))
        assert call.bind is not None
        assert call.bind(reply("one")) == reply("one", "Bob")


def test_an_event_of_another_kind_teaches_nothing() -> None:
    call = tried(SENDER).of_call(ECHO, Side.SERVER)
    assert list(call.match(ask("one"), HALF_CLOSE)) == [Difference("event", "ClientMessage", "ClientHalfClose")]
    assert call.bind is not None
    assert call.bind(reply("one")) == reply("one")


@virtual
async def test_the_same_id_may_come_back_on_another_call() -> None:
    of = reading(bind=(SENDER,))
    house = House(
        source(
            recorded((0, HEADER), (1, ask("put", "id-1")), (2, HALF_CLOSE), (3, OK), number=1),
            recorded((10, HEADER), (11, HALF_CLOSE), (12, ANSWER), (13, reply("got", "id-1")), (14, OK), number=2),
            reading=of,
        )
    )
    await house.call().talks(HEADER, ask("put", "id-9"), HALF_CLOSE, OK)

    await house.call().talks(HEADER, HALF_CLOSE, ANSWER, reply("got", "id-9"), OK)

    assert list(verdicts(await house.outcomes())) == [(1, ""), (2, "")]


# Encodings


def accepting(*values: str) -> ClientHeader:
    return header(*(("grpc-accept-encoding", value) for value in values))


PACKED = lanes(HEADER, GZIP, ServerMessage(gzip.compress(b"\x0a\x01a"), 1), ServerMessage(b"\x0a\x01b"), OK)


@pytest.mark.parametrize("values", [("gzip",), ("identity, deflate ,gzip",), ("identity", "gzip")])
def test_an_encoding_that_was_offered_is_spoken(values: tuple[str, ...]) -> None:
    assert reading().offered(PACKED, accepting(*values)) is PACKED


@pytest.mark.parametrize("values", [(), ("identity",), ("gzipped, deflate",)])
def test_an_encoding_that_was_not_offered_is_left_out(values: tuple[str, ...]) -> None:
    of = reading()
    plainly = of.offered(PACKED, accepting(*values))

    assert [step.event for step in plainly.server] == [
        ServerHeader(Metadata((("x-room", "7"),))),
        ServerMessage(b"\x0a\x01a"),
        ServerMessage(b"\x0a\x01b"),
        OK,
    ]
    assert [step.at_ns for step in plainly.server] == [step.at_ns for step in PACKED.server]
    assert (plainly.client, plainly.seen) == (PACKED.client, PACKED.seen)
    assert of.offered(PACKED, accepting(*values)) is plainly


def test_a_message_that_cannot_be_decompressed_stays_as_it_was() -> None:
    damaged = lanes(HEADER, GZIP, ServerMessage(b"not gzip", 1), OK)

    assert [step.event for step in reading().offered(damaged, HEADER).server] == [
        ServerHeader(Metadata((("x-room", "7"),))),
        ServerMessage(b"not gzip", 1),
        OK,
    ]


def test_what_is_not_compressed_needs_no_offer() -> None:
    for answer in (ANSWER, ServerHeader(Metadata((("grpc-encoding", "identity"),)))):
        plain = lanes(HEADER, answer, OK)
        assert reading().offered(plain, HEADER) is plain


def begins_alike(number: int, sender: str, last: str) -> Session:
    """A call whose last message tells it from others; it takes 6 ms."""
    events: list[Event] = [HEADER, ask("one", sender), ask(last, sender), HALF_CLOSE, ANSWER, OK]
    return recorded(*((number * 10 + place, event) for place, event in enumerate(events)), number=number)


@pytest.mark.parametrize("at_once", [True, False])
@virtual
async def test_a_session_that_does_not_fit_in_the_end_has_taught_other_calls_nothing(at_once: bool) -> None:
    binds = reading(bind=(SENDER,))
    tells = recorded((90, HEADER), (91, HALF_CLOSE), (92, ANSWER), (93, reply("hi", "Ann")),
                     (94, reply("hi", "Bea")), (95, OK), number=9)  # fmt: skip
    house = House(source(begins_alike(1, "Ann", "two"), begins_alike(2, "Bea", "three"), tells, reading=binds))
    call = house.call()
    call.says(HEADER, ask("one", "Zoe"))
    if not at_once:
        await asyncio.sleep(0.1)
    call.says(ask("three", "Zoe"))
    await call.talks(HALF_CLOSE, ANSWER, OK)

    await house.call().talks(HEADER, HALF_CLOSE, ANSWER, reply("hi", "Ann"), reply("hi", "Zoe"), OK)

    assert list(verdicts(await house.outcomes())) == [(2, ""), (9, "")]
