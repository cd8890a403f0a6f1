"""Scripts played in virtual time, one seat against arrows."""

import pytest

from duplexmock.core.events import Cancel, ServerTrailer, Side
from duplexmock.core.given import anything, like
from duplexmock.core.metadata import GRPC_ANSWER, GRPC_REQUEST, Metadata
from duplexmock.core.scriptplayer import ScriptPlayer
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.core.words import (
    after,
    any_order,
    cancel,
    client,
    every,
    half_close,
    header,
    one_of,
    optional,
    repeat,
    sequence,
    server,
    status,
    turn,
)
from duplexmock.errors import ProtocolError
from tests.core.scripts import ANSWER, echo, is_short, language, no_answer, played_by_client, played_by_server, twice
from tests.playbook import HALF_CLOSE, HEADER, METHOD, OK, After, Lost, ask, fails, reply, row_of
from tests.playbook import header as opens

OPENS = opens(*GRPC_REQUEST.pairs)
ALONE = ServerTrailer(OK.status, GRPC_ANSWER)
ECHO = repeat(turn(anything, reply=echo))


def refused(sentence, metadata=Metadata()):
    return ServerTrailer(Status(Code.FAILED_PRECONDITION, sentence), metadata)


# What need not be written


def test_header_half_close_and_status_need_not_be_written():
    (played_by_server(turn(b"a", reply=b"b")) >> HEADER >> ask("a") << (ANSWER, reply("b")) >> HALF_CLOSE << OK).done()


def test_a_client_half_closes_when_it_has_nothing_more_to_say():
    book = played_by_client(client(b"a"), server(b"b", status("NOT_FOUND")))
    (book >> (OPENS, ask("a"), HALF_CLOSE) << (ANSWER, reply("b"), fails(Code.NOT_FOUND, "gone"))).done()


def test_a_status_without_a_message_goes_without_a_header():
    trailers_only = ServerTrailer(Status(Code.NOT_FOUND), GRPC_ANSWER)
    (played_by_server(client(b"a"), server(status("NOT_FOUND"))) >> HEADER >> ask("a") << trailers_only).done()


def test_headers_may_be_written():
    book = played_by_server(client(header({"x-room": "42"})), server(header({"x-mood": "good"})), client(b"a"))
    said = ANSWER.__class__(Metadata((*GRPC_ANSWER.pairs, ("x-mood", "good"))))
    (book >> opens(("x-room", "42"), ("x-more", "1")) << said >> (ask("a"), HALF_CLOSE) << OK).done()


def test_a_wrong_header_is_a_mismatch():
    sentence = "The call's metadata is not as the script has it: metadata.x-room: expected '42', got nothing."
    book = played_by_server(client(header({"x-room": "42"})), client(b"a"))
    assert (book >> HEADER << refused(sentence, GRPC_ANSWER)).failed().mismatch.sentence == sentence


# Turns and choices


def test_an_echo_answers_each_message():
    (
        played_by_server(ECHO) >> HEADER >> ask("a") << (ANSWER, reply("a")) >> (ask("b"), ask("c"), HALF_CLOSE)
        << (reply("b"), reply("c"), OK)
    ).done()  # fmt: skip


def test_a_function_may_answer_with_many_messages_or_none():
    (
        played_by_server(turn(b"a", reply=twice), turn(b"b", reply=no_answer), turn(b"c", reply=echo))
        >> HEADER >> ask("a") << (ANSWER, reply("a"), reply("a")) >> ask("b") >> ask("c") << reply("c")
        >> HALF_CLOSE << OK
    ).done()  # fmt: skip


def test_what_came_chooses_the_branch():
    parts = repeat(one_of(turn(b"ping", reply=b"pong"), turn(is_short, reply=b"short"), turn(anything, reply=b"?")))
    (
        played_by_server(parts) >> HEADER >> ask("long") << (ANSWER, reply("?")) >> ask("ab") << reply("short")
        >> ask("ping") << reply("pong") >> HALF_CLOSE << OK
    ).done()  # fmt: skip


def test_a_server_may_speak_first_and_go_on_behind_the_half_close():
    (
        played_by_server(server(b"hello"), client(half_close()), server(b"bye"))
        >> HEADER << (ANSWER, reply("hello")) >> HALF_CLOSE << (reply("bye"), OK)
    ).done()  # fmt: skip


def test_a_server_waits_while_the_client_may_go_on():
    (
        played_by_server(repeat(client(b"a")), server(b"bye", status("ABORTED")))
        >> HEADER >> ask("a") >> ask("a") >> HALF_CLOSE << (ANSWER, reply("bye"), fails(Code.ABORTED))
    ).done()  # fmt: skip


def test_a_message_that_may_have_been_the_last_is_answered():
    (
        played_by_server(repeat(client(anything)), client(b"end"), server(b"bye"))
        >> HEADER >> ask("a") >> ask("end") << (ANSWER, reply("bye")) >> HALF_CLOSE << OK
    ).done()  # fmt: skip


def test_the_seat_that_begins_a_repeat_without_a_most_has_one_round():
    (
        played_by_client(repeat(turn(like(anything, b"a"), reply=echo)))
        >> (OPENS, ask("a")) << (ANSWER, reply("a")) >> HALF_CLOSE << OK
    ).done()  # fmt: skip


def test_choices_are_made_by_the_function_that_is_given():
    left = [1, 1, 0]
    seen = []

    def choose(moves):
        seen.append([move.step.name for move in moves])
        return left.pop(0)

    (
        played_by_client(one_of(client(b"a"), repeat(client(b"b"), 1)), choose=choose)
        >> (OPENS, ask("b"), ask("b"), HALF_CLOSE) << OK
    ).done()  # fmt: skip
    assert seen == [['b"a"', 'b"b"'], ["half-close", 'b"b"'], ["half-close", 'b"b"']]


def test_a_cancel_ends_the_script():
    (played_by_server(server(b"a"), client(cancel())) >> HEADER << (ANSWER, reply("a")) >> Cancel(8)).done()
    (played_by_client(client(b"a"), client(cancel())) >> (OPENS, ask("a"), Cancel(ErrorCode.CANCEL))).done()


# Time


def test_every_goes_by_the_clock_until_what_follows_can_happen():
    (
        played_by_server(every("5s", server(b"tick")))
        >> HEADER << After(5_000) << (ANSWER, reply("tick")) << After(5_000) << reply("tick")
        << After(2_000) >> HALF_CLOSE << OK
    ).done()  # fmt: skip


def test_a_push_does_not_wait_for_a_turn_nor_the_turn_for_it():
    (
        played_by_server(any_order(every("5s", server(b"tick")), ECHO))
        >> HEADER >> ask("a") << (ANSWER, reply("a")) << After(5_000) << reply("tick") << After(1_000)
        >> ask("b") << reply("b") << After(4_000) << reply("tick") >> HALF_CLOSE << OK
    ).done()  # fmt: skip


def test_after_begins_anew_with_each_round_that_comes_before():
    (
        played_by_server(ECHO, after("2s"), server(status("DEADLINE_EXCEEDED")))
        >> HEADER << After(1_500) >> ask("a") << (ANSWER, reply("a")) << After(2_000)
        << fails(Code.DEADLINE_EXCEEDED)
    ).done()  # fmt: skip


def test_after_lets_the_client_be_first():
    script = (one_of(client(b"a"), after("1s", server(b"too late"))),)
    (played_by_server(*script) >> HEADER << After(500) >> (ask("a"), HALF_CLOSE) << ALONE).done()
    (played_by_server(*script) >> HEADER << After(1_000) << (ANSWER, reply("too late")) >> HALF_CLOSE << OK).done()


# Mismatches


def test_a_message_that_is_not_the_one_that_may_come():
    sentence = (
        "ClientMessage #2 b'c' is not allowed here: after ClientMessage #1 only b\"b\" may come from the client "
        "(message: expected b'b', got b'c')."
    )
    outcome = (
        played_by_server(client(b"a", b"b")) >> HEADER >> ask("a") >> ask("c") << refused(sentence, GRPC_ANSWER)
    ).failed()
    assert outcome.mismatch.sentence == sentence
    assert (outcome.mismatch.side, outcome.mismatch.position, outcome.mismatch.entries) == (Side.CLIENT, 2, 2)
    assert outcome.mismatch.actual == ask("c")


def test_a_message_behind_a_half_close_that_nothing_may_follow():
    sentence = (
        "ServerMessage #2 b'c' is not allowed here: after ServerMessage #1 only status OK may come from the server."
    )
    book = played_by_client(client(b"a", half_close()), server(b"b"))
    outcome = (
        book >> (OPENS, ask("a"), HALF_CLOSE) << (ANSWER, reply("b"), reply("c")) >> Cancel(ErrorCode.CANCEL)
    ).failed()
    assert outcome.mismatch.sentence == sentence


def test_a_half_close_while_messages_are_needed():
    sentence = (
        'The client\'s half-close is not allowed here: after ClientMessage #1 only b"b" may come from the client.'
    )
    book = played_by_server(client(b"a", b"b"))
    assert (
        book >> HEADER >> (ask("a"), HALF_CLOSE) << refused(sentence, GRPC_ANSWER)
    ).failed().mismatch.sentence == sentence


def test_an_answer_that_is_not_what_the_function_makes():
    sentence = (
        "ServerMessage #1 b'x' is not allowed here: after the server's initial metadata only b\"a\" may come from the "
        "server (message: expected b'a', got b'x')."
    )
    book = played_by_client(turn(b"a", reply=echo))
    outcome = (book >> (OPENS, ask("a"), HALF_CLOSE) << (ANSWER, reply("x")) >> Cancel(ErrorCode.CANCEL)).failed()
    assert outcome.mismatch.sentence == sentence


def test_nothing_comes():
    sentence = (
        'Nothing came from the client within 10 s: b"a", b"b" or the half-close was to come; '
        'the server waits for that, to say b"bye".'
    )
    book = played_by_server(one_of(client(b"a"), client(b"b"), client(half_close())), server(b"bye"))
    outcome = (book >> HEADER << After(10_000) << refused(sentence, GRPC_ANSWER)).failed()
    assert outcome.mismatch.sentence == sentence


def test_a_connection_is_lost():
    outcome = (played_by_server(client(b"a")) >> HEADER >> Lost("reset")).failed()
    assert outcome.mismatch.sentence == 'The client\'s connection was lost (reset): b"a" was to come.'


def test_what_crosses_our_last_word_is_not_judged():
    (played_by_server(client(b"a"), server(status("ABORTED"))) >> HEADER >> ask("a")
     << ServerTrailer(Status(Code.ABORTED), GRPC_ANSWER) >> ask("b") >> HALF_CLOSE).done()  # fmt: skip


# Early, or in order


def test_a_client_may_be_early_by_default():
    (
        played_by_server(turn(b"a", reply=b"b"), turn(b"c", reply=b"d"))
        >> HEADER >> (ask("a"), ask("c"), HALF_CLOSE) << (ANSWER, reply("b"), reply("d"), OK)
    ).done()  # fmt: skip


def test_a_client_that_is_early_is_a_mismatch_where_order_is_asked_for():
    sentence = "ClientMessage #2 b'c' is not allowed here: after ClientMessage #1 nothing may come from the client."
    book = played_by_server(turn(b"a", reply=b"b"), client(b"c"), expect="order")
    outcome = (book >> HEADER >> (ask("a"), ask("c")) << refused(sentence, GRPC_ANSWER)).failed()
    assert outcome.mismatch.sentence == sentence


def test_what_could_never_come_is_told_while_we_still_have_to_say_something():
    sentence = (
        "ClientMessage #1 b'x' is not allowed here: after the client's header only b\"a\" or the half-close may come "
        "from the client (message: expected b'a', got b'x')."
    )
    book = played_by_server(any_order(every("5s", server(b"tick")), repeat(client(b"a"))))
    outcome = (book >> HEADER >> ask("x") << refused(sentence, GRPC_ANSWER)).failed()
    assert outcome.mismatch.sentence == sentence


def test_a_compressed_message_that_cannot_be_read_is_a_mismatch():
    spoken = language(client(b"a"))

    def plain(payload, flags, encoding):
        raise ProtocolError("compressed, without a grpc-encoding")

    spoken.codec.plain = plain
    player = ScriptPlayer(spoken, Side.SERVER)
    player.received([row_of(HEADER), row_of(ask("a", 1))], 0)
    assert player.mismatch.sentence == "Message 1 of the client is compressed, without a grpc-encoding."


def test_an_exception_of_a_function_comes_out():
    def fail(message):
        raise KeyError(message)

    player = ScriptPlayer(language(turn(anything, reply=fail)), Side.SERVER)
    with pytest.raises(KeyError):
        player.received([row_of(HEADER), row_of(ask("a"))], 0)


def test_an_optional_part_may_be_left_out():
    parts = (sequence(optional(client(b"a")), client(b"b")),)
    (played_by_server(*parts) >> HEADER >> (ask("b"), HALF_CLOSE) << ALONE).done()
    (played_by_server(*parts) >> HEADER >> (ask("a"), ask("b"), HALF_CLOSE) << ALONE).done()


def test_a_line_may_be_longer_than_the_stack():
    player = ScriptPlayer(language(server(*[b"x"] * 5_000)), Side.SERVER)
    player.received([row_of(HEADER), row_of(HALF_CLOSE)], 0)
    said = 0
    while hasattr(move := player.next(0), "steps"):
        said += len(move.steps)
    assert said == 5_002
    assert player.outcome(None, 1).method == METHOD
