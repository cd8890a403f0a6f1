"""Where the lanes of each call stand: which rows there are, which calls are known, which are open."""

from __future__ import annotations

from duplexmock.core.call import LaneState
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    Reset,
    ServerHeader,
    ServerTrailer,
    Side,
)
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.status import Status
from duplexmock.wire.calls import LINGERING, Call, Calls
from duplexmock.wire.headers import Body
from tests.wire.talk import counting, message

HEADER = ClientHeader("/chat.ChatService/Chat")
ANSWER = ServerHeader()
TRAILER = ServerTrailer(Status(0))

HALF_CLOSE_ROW = (RowKind.CLIENT_HALF_CLOSE, 1, ClientHalfClose())
CANCEL_ROW = (RowKind.CANCEL, 1, Cancel(8))
ANSWER_ROW = (RowKind.SERVER_HEADER, 1, ANSWER)
TRAILER_ROW = (RowKind.SERVER_TRAILER, 1, TRAILER)
RESET_ROW = (RowKind.RESET, 1, Reset(7))
RESET_AFTER_ROW = (RowKind.RESET_AFTER, 1, 0)


def all_recorded() -> Calls:
    numbers = counting()
    return Calls(7, lambda method: next(numbers))


class One:
    """The calls of a connection, one call of which is open on stream 1, and the rows since then."""

    def __init__(self) -> None:
        self.calls = all_recorded()
        self.call = self.calls.opened(1, HEADER, [])
        self.rows: list[Row] = []

    def answer(self, body: Body = Body.MESSAGES) -> One:
        self.calls.answered(self.call, ANSWER, body, self.rows)
        return self

    def half_close(self) -> One:
        self.calls.half_closed(self.call, self.rows)
        return self

    def cancel(self) -> One:
        self.calls.cancelled(self.call, 8, self.rows)
        return self

    def finish(self) -> One:
        self.calls.finished(self.call, TRAILER, self.rows)
        return self

    def reset(self, code: int = 7) -> One:
        self.calls.reset(self.call, code, self.rows)
        return self

    def take(self, side: Side, octets: bytes) -> One:
        self.calls.messages[side][1].take(octets, 0, len(octets), self.rows)
        return self

    @property
    def is_open(self) -> bool:
        return len(self.calls) == 1

    @property
    def lanes(self) -> tuple[LaneState, LaneState]:
        return self.call.client, self.call.server

    def has_messages(self) -> tuple[bool, bool]:
        return 1 in self.calls.messages[Side.CLIENT], 1 in self.calls.messages[Side.SERVER]


def test_a_call_is_opened_by_its_header() -> None:
    calls, rows = all_recorded(), []
    call = calls.opened(5, HEADER, rows)
    assert rows == [(RowKind.CLIENT_HEADER, 1, HEADER, 7, 5)]
    assert (call.stream_id, call.number, call.client, call.server) == (5, 1, LaneState.OPEN, LaneState.IDLE)
    assert (len(calls), calls.open_numbers, calls.get(5), calls.get(7)) == (1, (1,), call, None)


def test_a_call_that_is_not_admitted_is_followed_and_gives_no_rows() -> None:
    calls, rows = Calls(7, lambda method: None), []
    call = calls.opened(1, HEADER, rows)
    calls.answered(call, ANSWER, Body.MESSAGES, rows)
    assert (len(calls), calls.open_numbers, calls.messages) == (1, (), {Side.CLIENT: {}, Side.SERVER: {}})
    calls.half_closed(call, rows)
    calls.finished(call, TRAILER, rows)
    calls.damaged(call, "too late", rows)
    assert (rows, len(calls)) == ([], 0)


def test_admission_is_asked_once_by_the_name_of_the_method() -> None:
    asked: list[str] = []

    def admit(method: str) -> int:
        asked.append(method)
        return 9

    Calls(7, admit).opened(1, HEADER, [])
    assert asked == ["/chat.ChatService/Chat"]


# Endings


def test_a_call_is_open_until_both_sides_have_ended() -> None:
    one = One().answer().half_close()
    assert (one.is_open, one.lanes) == (True, (LaneState.HALF_CLOSED, LaneState.OPEN))
    one.finish()
    assert (one.is_open, one.lanes) == (False, (LaneState.HALF_CLOSED, LaneState.ENDED))
    assert one.rows == [ANSWER_ROW, HALF_CLOSE_ROW, TRAILER_ROW]

    one = One().answer().finish()
    assert (one.is_open, one.calls.open_numbers) == (True, (1,))
    one.half_close()
    assert (one.is_open, one.calls.open_numbers) == (False, ())
    assert one.rows == [ANSWER_ROW, TRAILER_ROW, HALF_CLOSE_ROW]


def test_a_reset_by_either_side_ends_a_call() -> None:
    cancelled, reset = One().answer().cancel(), One().answer().reset()
    assert (cancelled.is_open, cancelled.rows) == (False, [ANSWER_ROW, CANCEL_ROW])
    assert (reset.is_open, reset.rows) == (False, [ANSWER_ROW, RESET_ROW])


def test_a_cancel_may_follow_the_half_close_and_the_trailer() -> None:
    assert One().half_close().cancel().rows == [HALF_CLOSE_ROW, CANCEL_ROW]
    assert One().half_close().finish().cancel().rows == [HALF_CLOSE_ROW, TRAILER_ROW, CANCEL_ROW]


def test_a_reset_behind_the_trailer_belongs_to_it() -> None:
    one = One().answer().finish().reset(0)
    assert (one.is_open, one.rows) == (False, [ANSWER_ROW, TRAILER_ROW, RESET_AFTER_ROW])


def test_a_second_reset_of_one_side_says_nothing() -> None:
    assert One().cancel().cancel().rows == [CANCEL_ROW]
    assert One().reset().reset().rows == [RESET_ROW]
    assert One().finish().reset(0).reset(0).rows == [TRAILER_ROW, RESET_AFTER_ROW]


def test_what_crosses_a_reset_is_kept() -> None:
    one = One().answer().cancel().take(Side.SERVER, message(b"late")).finish()
    assert one.rows == [ANSWER_ROW, CANCEL_ROW, (RowKind.SERVER_MESSAGE, 1, 0, b"late"), TRAILER_ROW]
    one = One().answer().reset().take(Side.CLIENT, message(b"late")).half_close().cancel()
    assert one.rows == [ANSWER_ROW, RESET_ROW, (RowKind.CLIENT_MESSAGE, 1, 0, b"late"), HALF_CLOSE_ROW, CANCEL_ROW]
    assert not one.is_open


def test_end_stream_on_data_is_a_half_close_or_an_answer_without_a_status() -> None:
    one = One().answer()
    one.calls.ended_by_data(one.call, Side.CLIENT, one.rows)
    one.calls.ended_by_data(one.call, Side.SERVER, one.rows)
    assert one.rows == [ANSWER_ROW, HALF_CLOSE_ROW, (RowKind.SERVER_TRAILER, 1, ServerTrailer(None))]
    one.calls.ended_by_data(one.call, Side.CLIENT, one.rows)
    one.calls.ended_by_data(one.call, Side.SERVER, one.rows)
    assert len(one.rows) == 3


# Lanes of messages


def test_data_is_messages_while_a_lane_is_open() -> None:
    assert One().has_messages() == (True, False)
    assert One().answer().has_messages() == (True, True)
    assert One().answer(Body.FOREIGN).has_messages() == (True, False)
    assert One().answer().half_close().has_messages() == (False, True)
    assert One().answer().finish().has_messages() == (True, False)
    assert One().answer().cancel().has_messages() == (False, True)
    assert One().answer().reset().has_messages() == (True, False)


def test_a_message_may_be_broken_off_by_a_reset() -> None:
    assert One().take(Side.CLIENT, b"\0\0").cancel().rows == [CANCEL_ROW]
    assert One().answer().take(Side.SERVER, message(b"Hello")[:-1]).reset().rows == [ANSWER_ROW, RESET_ROW]


def test_a_message_may_not_be_broken_off_by_an_end_of_the_stream() -> None:
    one = One().take(Side.CLIENT, message(b"Hello")[:8]).half_close()
    assert one.rows == [(RowKind.DAMAGED, 1, "END_STREAM from the client behind 3 of 5 bytes of a message")]
    one = One().answer().take(Side.SERVER, b"\0\0").finish()
    assert one.rows == [
        ANSWER_ROW, (RowKind.DAMAGED, 1, "END_STREAM from the server behind 2 of 5 prefix bytes of a message")
    ]  # fmt: skip


# Damage


def test_damage_is_told_once_and_is_the_last_row_of_a_call() -> None:
    one = One().answer()
    one.calls.damaged(one.call, "first", one.rows)
    one.calls.damaged(one.call, "second", one.rows)
    one.half_close().finish()
    assert one.rows == [ANSWER_ROW, (RowKind.DAMAGED, 1, "first")]
    assert one.has_messages() == (False, False)


def test_a_damaged_call_is_open_until_it_ends_but_no_longer_recorded() -> None:
    one = One().answer()
    one.calls.damaged(one.call, "first", one.rows)
    assert (one.is_open, one.calls.open_numbers) == (True, ())
    one.half_close().finish()
    assert not one.is_open


def test_a_frame_belongs_where_its_lane_is_open() -> None:
    texts = []
    for one, side in [
        (One(), Side.CLIENT),
        (One(), Side.SERVER),
        (One().answer(), Side.SERVER),
        (One().half_close(), Side.CLIENT),
        (One().cancel(), Side.CLIENT),
        (One().finish(), Side.SERVER),
        (One().reset(), Side.SERVER),
    ]:
        before = len(one.rows)
        one.calls.check_open(one.call, side, "DATA", one.rows)
        texts.append([row[2] for row in one.rows[before:]])
    assert texts == [
        [],
        ["DATA from the server before its headers"],
        [],
        ["DATA from the client after its end of the stream"],
        ["DATA from the client after its end of the stream"],
        ["DATA from the server after its end of the stream"],
        ["DATA from the server after its end of the stream"],
    ]


def test_giving_up_damages_what_is_open_and_forgets_all() -> None:
    calls, rows = all_recorded(), []
    ended, open_, half = (calls.opened(stream_id, HEADER, []) for stream_id in (1, 3, 5))
    calls.cancelled(ended, 8, [])
    calls.half_closed(half, [])
    calls.give_up("nothing can be read", rows)
    assert rows == [(RowKind.DAMAGED, 2, "nothing can be read"), (RowKind.DAMAGED, 3, "nothing can be read")]
    assert (len(calls), calls.open_numbers) == (0, ())
    assert [calls.get(call.stream_id) for call in (ended, open_, half)] == [None, None, None]


# What has ended


def test_so_many_ended_calls_stay_known_and_the_oldest_is_forgotten() -> None:
    calls, rows = all_recorded(), []
    ended: list[Call] = []
    for number in range(LINGERING + 1):
        call = calls.opened(2 * number + 1, HEADER, [])
        calls.answered(call, ANSWER, Body.MESSAGES, [])
        calls.cancelled(call, 8, [])
        ended.append(call)
    assert len(calls) == 0
    assert [calls.get(call.stream_id) for call in ended[:2]] == [None, ended[1]]
    assert len(calls.messages[Side.SERVER]) == LINGERING
    calls.finished(ended[0], TRAILER, rows)
    calls.finished(ended[1], TRAILER, rows)
    assert rows == [(RowKind.SERVER_TRAILER, 2, TRAILER)]
