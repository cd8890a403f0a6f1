"""Outcomes for people: the whole text of every kind of mismatch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from duplexmock.core.events import (
    ClientMessage,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.lanes import Lanes
from duplexmock.core.metadata import Metadata
from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.core.status import Code, Status
from duplexmock.core.terms import Across
from duplexmock.report.outcomes import mismatch_lines
from duplexmock.report.summary import Tally, agreed_line, heading, tally
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.matching import CallMatcher
from duplexmock.schema.payloads import Payloads
from tests.playbook import (
    ANSWER,
    CANCEL,
    CONNECTION,
    HALF_CLOSE,
    HEADER,
    METHOD,
    OK,
    After,
    Broken,
    Lost,
    Playbook,
    fails,
    goaway,
    header,
    lanes,
    lost_by,
    recorded,
)
from tests.report.calls import BY_NUMBER, DESCRIBED, said
from tests.schema.protos import chat_file, set_of

PAYLOADS = Payloads(Descriptors(set_of(chat_file())))


def ask(text: str) -> ClientMessage:
    return ClientMessage(said(text))


def reply(text: str) -> ServerMessage:
    return ServerMessage(said(f"ack: {text}", "Server"))


ECHO = Lanes.of(
    recorded(
        (0, HEADER), (0.5, ANSWER), (10, ask("one")), (10.5, reply("one")), (20, ask("two")), (20.5, reply("two")),
        (30, HALF_CLOSE), (30.5, OK),
    )
)  # fmt: skip


def server(of: Lanes = ECHO, **more: Any) -> Playbook:
    return Playbook(of, Side.SERVER, match=CallMatcher(of.method, lambda: PAYLOADS), **more)


def client(of: Lanes = ECHO, **more: Any) -> Playbook:
    return Playbook(of, Side.CLIENT, match=CallMatcher(of.method, lambda: PAYLOADS), **more)


def closing(sentence: str) -> ServerTrailer:
    return ServerTrailer(Status(Code.FAILED_PRECONDITION, sentence))


def begun(of: Lanes = ECHO, **more: Any) -> Playbook:
    """The mock has answered the first message."""
    return server(of, **more) >> HEADER << ANSWER >> After(13) >> ask("one") << reply("one") >> After(1)


def asked(of: Lanes = ECHO, **more: Any) -> Playbook:
    """The first message has been answered to the client that we play."""
    return client(of, **more) >> HEADER << ANSWER >> ask("one") >> After(2) << reply("one") >> ask("two") >> After(1)


CASES: dict[str, tuple[Callable[[], Playbook], list[str]]] = {
    "half-close too early": (
        lambda: begun() >> HALF_CLOSE,
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "       13.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "       13.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "     ! 14.000 ms  >  ClientHalfClose  expected ClientMessage #2  {sender: 'Client', message: "
            "'two', timestamp: 1795348800}",
            "             –    <  ServerMessage #2  not reached: waited for ClientMessage #2 (seen, not learned)",
            "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
            "The client half-closed before its second message.",
        ],
    ),
    "extra message": (
        lambda: begun() >> ask("two") << reply("two") >> ask("three"),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "       13.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "       13.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "       14.000 ms  >  ClientMessage #2  {sender: 'Client', message: 'two', timestamp: 1795348800}",
            "       14.000 ms  <  ServerMessage #2  {sender: 'Server', message: 'ack: two', timestamp: 1795348800}",
            "     ! 14.000 ms  >  ClientMessage #3  {sender: 'Client', message: 'three', timestamp: "
            "1795348800}  expected ClientHalfClose",
            "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
            "The client sent its third message; in the recording it half-closes after 2 messages.",
        ],
    ),
    "missing half-close, cancelled": (
        lambda: begun() >> ask("two") << reply("two") >> CANCEL,
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "       13.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "       13.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "       14.000 ms  >  ClientMessage #2  {sender: 'Client', message: 'two', timestamp: 1795348800}",
            "       14.000 ms  <  ServerMessage #2  {sender: 'Server', message: 'ack: two', timestamp: 1795348800}",
            "     ! 14.000 ms  >  Cancel CANCEL  expected ClientHalfClose",
            "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
            "The client cancelled the call (CANCEL) before its half-close.",
        ],
    ),
    "missing half-close": (
        lambda: begun() >> ask("two") << reply("two") >> After(10_010),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "       13.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "       13.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "       14.000 ms  >  ClientMessage #2  {sender: 'Client', message: 'two', timestamp: 1795348800}",
            "       14.000 ms  <  ServerMessage #2  {sender: 'Server', message: 'ack: two', timestamp: 1795348800}",
            "           ! –    >  nothing came  expected ClientHalfClose",
            "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
            "Nothing came from the client within 10 s, and its half-close was expected: the client waits "
            "for ServerTrailer; that needs ClientHalfClose (seen, not learned); nothing is on its way.",
        ],
    ),
    "cancel": (
        lambda: begun() >> CANCEL,
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "       13.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "       13.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "     ! 14.000 ms  >  Cancel CANCEL  expected ClientMessage #2  {sender: 'Client', message: "
            "'two', timestamp: 1795348800}",
            "             –    <  ServerMessage #2  not reached: waited for ClientMessage #2 (seen, not learned)",
            "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
            "The client cancelled the call (CANCEL) before its second message.",
        ],
    ),
    "behind the half-close": (
        lambda: (
            server(Lanes.of(recorded((0, HEADER), (1, HALF_CLOSE), (2, ANSWER), (9_000, OK))), speed=1)
            >> HEADER
            >> HALF_CLOSE
            >> After(1)
            << ANSWER
            >> CANCEL
        ),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  >  ClientHalfClose",
            "        1.000 ms  <  ServerHeader",
            "      ! 1.000 ms  >  Cancel CANCEL  expected nothing more",
            "             –    <  ServerTrailer  not reached: waited for its time",
            "The client cancelled the call (CANCEL); in the recording nothing more comes from the client.",
        ],
    ),
    "deadline": (
        lambda: server() >> header(("grpc-timeout", "250m")) << ANSWER >> After(250) >> CANCEL,
        [
            "        0.000 ms  >  ClientHeader  grpc-timeout: 250m",
            "        0.000 ms  <  ServerHeader",
            "    ! 250.000 ms  >  Cancel CANCEL  deadline  expected ClientMessage #1  {sender: 'Client', "
            "message: 'one', timestamp: 1795348800}",
            "             –    <  ServerMessage #1  not reached: waited for ClientMessage #1 (seen, not learned)",
            "             –    <  ServerMessage #2  not reached: waited for ClientMessage #2 (seen, not learned)",
            "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
            "The client gave up at its deadline of 250 ms before its first message.",
        ],
    ),
    "no deadline": (
        lambda: server(Lanes.of(recorded((0, header(("grpc-timeout", "250m"))), (1, ANSWER), (251, CANCEL)))) >> HEADER,
        [
            "      ! 0.000 ms  >  ClientHeader  expected ClientHeader  grpc-timeout: 250m",
            "             –    <  ServerHeader  not reached: waited for ClientHeader (seen, not learned)",
            "The call has no deadline; in the recording it ends by its deadline of 250 ms.",
        ],
    ),
    "message where it cancels": (
        lambda: server(lanes(HEADER, ANSWER, CANCEL)) >> HEADER << ANSWER >> ask("one"),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "      ! 0.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: "
            "1795348800}  expected Cancel CANCEL",
            "The client sent its first message; in the recording it cancels the call without a message.",
        ],
    ),
    "half-close where it cancels": (
        lambda: server(lanes(HEADER, ANSWER, ask("one"), CANCEL)) >> HEADER << ANSWER >> ask("one") >> HALF_CLOSE,
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "        0.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "      ! 0.000 ms  >  ClientHalfClose  expected Cancel CANCEL",
            "The client half-closed; in the recording it cancels the call at this point.",
        ],
    ),
    "wrong message": (
        lambda: begun() >> ask("three"),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "       13.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "       13.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "     ! 14.000 ms  >  ClientMessage #2  {sender: 'Client', message: 'three', timestamp: "
            "1795348800}  expected ClientMessage #2  {sender: 'Client', message: 'two', timestamp: "
            "1795348800}",
            "             –    <  ServerMessage #2  not reached: waited for ClientMessage #2 (seen, not learned)",
            "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
            "ClientMessage #2 differs from the recorded one: message: expected 'two', got 'three'.",
        ],
    ),
    "wrong metadata": (
        lambda: (
            server(lanes(header(("x-room", "7"), ("x-user", "ann"), ("x-user", "bob")), OK))
            >> header(("x-room", "8"), ("x-user", "bob"), ("x-user", "ann"))
        ),
        [
            "      ! 0.000 ms  >  ClientHeader  x-room: 8, x-user: bob, x-user: ann  expected ClientHeader  "
            "x-room: 7, x-user: ann, x-user: bob",
            "             –    <  ServerTrailer  not reached: waited for ClientHeader (seen, not learned)",
            "The call's metadata differs from the recorded one: metadata.x-room: expected '7', got '8'; "
            "metadata.x-user: expected ('ann', 'bob'), got ('bob', 'ann').",
        ],
    ),
    "order": (
        lambda: server(expect="strict") >> HEADER << ANSWER >> After(13) >> (ask("one"), ask("two")),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "       13.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "     ! 13.000 ms  >  ClientMessage #2  {sender: 'Client', message: 'two', timestamp: "
            "1795348800}  too early",
            "             –    <  ServerMessage #1  not reached",
            "             –    <  ServerMessage #2  not reached: waited for ClientMessage #2 (seen, not learned)",
            "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
            "ClientMessage #2 came before ServerMessage #1, and has to come after it (seen, not learned).",
        ],
    ),
    "broken": (
        lambda: begun() >> Broken("a message of 4294967295 bytes"),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "       13.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "       13.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "           ! –    >  protocol broken  expected ClientMessage #2  {sender: 'Client', message: "
            "'two', timestamp: 1795348800}",
            "             –    <  ServerMessage #2  not reached: waited for ClientMessage #2 (seen, not learned)",
            "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
            "The client broke the protocol: a message of 4294967295 bytes.",
        ],
    ),
    "lost": (
        lambda: begun() >> Lost("reset"),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "       13.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "       13.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "           ! –    >  connection lost  expected ClientMessage #2  {sender: 'Client', message: "
            "'two', timestamp: 1795348800}",
            "             –    <  ServerMessage #2  not reached: waited for ClientMessage #2 (seen, not learned)",
            "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
            "The client's connection was lost (reset) before its second message.",
        ],
    ),
    "lost without end": (
        lambda: (
            server(Lanes.of(recorded((0, HEADER), (1, ANSWER), (2, ask("one")), closed=lost_by(Side.SERVER, 3))))
            >> HEADER
            << ANSWER
            >> Lost("closed")
        ),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "           ! –    >  connection lost  expected ClientMessage #1  {sender: 'Client', message: "
            "'one', timestamp: 1795348800}",
            "The client's connection was lost (closed) before its first message.",
        ],
    ),
    "stall": (
        lambda: begun() >> After(10_009.5),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "       13.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "       13.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "           ! –    >  nothing came  expected ClientMessage #2  {sender: 'Client', message: "
            "'two', timestamp: 1795348800}",
            "             –    <  ServerMessage #2  not reached: waited for ClientMessage #2 (seen, not learned)",
            "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
            "Nothing came from the client within 10 s, and its second message was expected: the client "
            "waits for ServerMessage #2; that needs ClientMessage #2 (seen, not learned); nothing is on its "
            "way.",
        ],
    ),
    "stall edge": (
        lambda: (
            server(lanes(HEADER, ANSWER, reply("one"), OK), edges=[Across(1, 2, Side.CLIENT, 2, 0, "ClientMessage #1")])
            >> HEADER
            << ANSWER
            >> After(10_001)
        ),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "           ! –    >  nothing came",
            "             –    <  ServerMessage #1  not reached: waited for ClientMessage #1 of session 2 (inferred)",
            "             –    <  ServerTrailer  not reached",
            "Nothing happened for 10 s: the client waits for ServerMessage #1; that needs ClientMessage #1 "
            "of session 2 (inferred); nothing is on its way.",
        ],
    ),
    "no loss": (
        lambda: (
            server(Lanes.of(recorded((0, HEADER), (1, ANSWER), closed=lost_by(Side.CLIENT, 2))))
            >> HEADER
            << ANSWER
            >> After(10_000)
        ),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "           ! –    >  nothing came",
            "Nothing came from the client within 10 s, and the loss of its connection was expected.",
        ],
    ),
    "premature end": (
        lambda: asked() << OK,
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "        0.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "        2.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "        2.000 ms  >  ClientMessage #2  {sender: 'Client', message: 'two', timestamp: 1795348800}",
            "      ! 3.000 ms  <  ServerTrailer OK  expected ServerMessage #2  {sender: 'Server', message: "
            "'ack: two', timestamp: 1795348800}",
            "             –    >  ClientHalfClose  not reached: waited for ServerMessage #2 (seen, not learned)",
            "The server ended the call with OK before its second message.",
        ],
    ),
    "premature failure": (
        lambda: asked() << fails(Code.UNAVAILABLE, "going down"),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "        0.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "        2.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "        2.000 ms  >  ClientMessage #2  {sender: 'Client', message: 'two', timestamp: 1795348800}",
            "      ! 3.000 ms  <  ServerTrailer UNAVAILABLE  'going down'  expected ServerMessage #2  "
            "{sender: 'Server', message: 'ack: two', timestamp: 1795348800}",
            "             –    >  ClientHalfClose  not reached: waited for ServerMessage #2 (seen, not learned)",
            "The server ended the call with UNAVAILABLE 'going down' before its second message.",
        ],
    ),
    "extra server message": (
        lambda: asked() << reply("two") >> HALF_CLOSE << reply("three"),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "        0.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "        2.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "        2.000 ms  >  ClientMessage #2  {sender: 'Client', message: 'two', timestamp: 1795348800}",
            "        3.000 ms  <  ServerMessage #2  {sender: 'Server', message: 'ack: two', timestamp: 1795348800}",
            "        3.000 ms  >  ClientHalfClose",
            "      ! 3.000 ms  <  ServerMessage #3  {sender: 'Server', message: 'ack: three', timestamp: "
            "1795348800}  expected ServerTrailer OK",
            "The server sent its third message; in the recording it ends the call with OK after 2 messages.",
        ],
    ),
    "wrong status": (
        lambda: (
            asked()
            << reply("two")
            >> HALF_CLOSE
            << ServerTrailer(Status(Code.NOT_FOUND, "no such room"), Metadata((("x-why", "gone"),)))
        ),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "        0.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "        2.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "        2.000 ms  >  ClientMessage #2  {sender: 'Client', message: 'two', timestamp: 1795348800}",
            "        3.000 ms  <  ServerMessage #2  {sender: 'Server', message: 'ack: two', timestamp: 1795348800}",
            "        3.000 ms  >  ClientHalfClose",
            "      ! 3.000 ms  <  ServerTrailer NOT_FOUND  'no such room'  x-why: gone  expected ServerTrailer OK",
            "The server ended the call with NOT_FOUND 'no such room'; in the recording it ends with OK.",
        ],
    ),
    "wrong status message": (
        lambda: client(lanes(HEADER, fails(Code.ABORTED, "quota of 5"))) >> HEADER << fails(Code.ABORTED, "quota of 6"),
        [
            "        0.000 ms  >  ClientHeader",
            "      ! 0.000 ms  <  ServerTrailer ABORTED  'quota of 6'  expected ServerTrailer ABORTED  'quota of 5'",
            "The server's ending differs from the recorded one: status.message: expected 'quota of 5', got "
            "'quota of 6'.",
        ],
    ),
    "no status": (
        lambda: client(lanes(HEADER, OK)) >> HEADER << ServerTrailer(None, http_status=None),
        [
            "        0.000 ms  >  ClientHeader",
            "      ! 0.000 ms  <  ServerTrailer UNKNOWN, derived: no grpc-status  expected ServerTrailer OK",
            "The server's ending differs from the recorded one: status: expected 'OK', got nothing.",
        ],
    ),
    "wrong trailer metadata": (
        lambda: client(lanes(HEADER, ServerTrailer(Status(Code.OK), Metadata((("x-cost", "3"),))))) >> HEADER << OK,
        [
            "        0.000 ms  >  ClientHeader",
            "      ! 0.000 ms  <  ServerTrailer OK  expected ServerTrailer OK  x-cost: 3",
            "The server's ending differs from the recorded one: metadata.x-cost: expected '3', got nothing.",
        ],
    ),
    "reset": (
        lambda: asked() << reply("two") >> HALF_CLOSE << Reset(2),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "        0.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "        2.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "        2.000 ms  >  ClientMessage #2  {sender: 'Client', message: 'two', timestamp: 1795348800}",
            "        3.000 ms  <  ServerMessage #2  {sender: 'Server', message: 'ack: two', timestamp: 1795348800}",
            "        3.000 ms  >  ClientHalfClose",
            "      ! 3.000 ms  <  Reset INTERNAL_ERROR  INTERNAL, derived: RST_STREAM  expected ServerTrailer OK",
            "The server reset the call (INTERNAL_ERROR); in the recording it ends the call with OK at this point.",
        ],
    ),
    "another reset": (
        lambda: client(lanes(HEADER, Reset(2))) >> HEADER << Reset(8),
        [
            "        0.000 ms  >  ClientHeader",
            "      ! 0.000 ms  <  Reset CANCEL  CANCELLED, derived: RST_STREAM  expected Reset INTERNAL_ERROR",
            "The server reset the call (CANCEL); in the recording it does so with INTERNAL_ERROR.",
        ],
    ),
    "status where it resets": (
        lambda: client(lanes(HEADER, Reset(2))) >> HEADER << OK,
        [
            "        0.000 ms  >  ClientHeader",
            "      ! 0.000 ms  <  ServerTrailer OK  expected Reset INTERNAL_ERROR",
            "The server ended the call with OK; in the recording it resets the call (INTERNAL_ERROR) at this point.",
        ],
    ),
    "initial metadata": (
        lambda: client(lanes(HEADER, ServerHeader(Metadata((("x-room", "7"),))), OK)) >> HEADER << ServerHeader(),
        [
            "        0.000 ms  >  ClientHeader",
            "      ! 0.000 ms  <  ServerHeader  expected ServerHeader  x-room: 7",
            "The server's initial metadata differs from the recorded one: metadata.x-room: expected '7', got nothing.",
        ],
    ),
    "header where it ends": (
        lambda: client(lanes(HEADER, ServerTrailer(Status(Code.UNIMPLEMENTED), http_status=200))) >> HEADER << ANSWER,
        [
            "        0.000 ms  >  ClientHeader",
            "      ! 0.000 ms  <  ServerHeader  expected ServerTrailer UNIMPLEMENTED",
            "The server sent its initial metadata; in the recording it ends the call with UNIMPLEMENTED at this point.",
        ],
    ),
    "server silent": (
        lambda: asked() >> After(10_010),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  <  ServerHeader",
            "        0.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "        2.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: 1795348800}",
            "        2.000 ms  >  ClientMessage #2  {sender: 'Client', message: 'two', timestamp: 1795348800}",
            "           ! –    <  nothing came  expected ServerMessage #2  {sender: 'Server', message: "
            "'ack: two', timestamp: 1795348800}",
            "             –    >  ClientHalfClose  not reached: waited for ServerMessage #2 (seen, not learned)",
            "Nothing came from the server within 10 s, and its second message was expected: the server "
            "waits for ClientHalfClose; that needs ServerMessage #2 (seen, not learned); nothing is on its "
            "way.",
        ],
    ),
    "strict server": (
        lambda: (
            client(lanes(HEADER, ask("one"), ANSWER, HALF_CLOSE, reply("one"), OK), expect="strict", word=">><><<")
            >> (HEADER, ask("one"))
            << (ANSWER, reply("one"))
        ),
        [
            "        0.000 ms  >  ClientHeader",
            "        0.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}",
            "        0.000 ms  <  ServerHeader",
            "      ! 0.000 ms  <  ServerMessage #1  {sender: 'Server', message: 'ack: one', timestamp: "
            "1795348800}  too early",
            "             –    >  ClientHalfClose  not reached",
            "ServerMessage #1 came before ClientHalfClose, and has to come after it (seen, not learned).",
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mismatch_reads_like_this(name: str) -> None:
    play, text = CASES[name]

    outcome = play().mismatch()

    seat = "the mock played the server" if outcome.side is Side.SERVER else "the replay played the client"
    assert list(mismatch_lines("echo.duplex", outcome, DESCRIBED)) == [
        f"echo.duplex   session 1   /chat.ChatService/Chat   {seat}",
        *text,
    ]


def test_notes_and_advice_stand_below() -> None:
    play = server(Lanes.of(recorded((0, HEADER), (1, ANSWER), ended=Ended.DAMAGED, reason="frames \x1b[31m")))
    outcome = (play >> HEADER << ANSWER << closing("the recording stops here: damaged: frames \x1b[31m")).done()
    outcome = replace(outcome, mismatch=Mismatch("It was wrong.", Side.CLIENT, 1, 0, 0, entries=1))

    assert list(mismatch_lines("echo.duplex", outcome, BY_NUMBER, ["Again: duplexmock replay"])) == [
        "echo.duplex   session 1   /chat.ChatService/Chat   the mock played the server",
        "        0.000 ms  >  ClientHeader",
        "           ! –    >  nothing came",
        "It was wrong.",
        r"'replayed up to the last entry of the recording, which is damaged: frames \x1b[31m'",
        "Again: duplexmock replay",
    ]


def test_a_call_without_a_session() -> None:
    session = Session(0, CONNECTION, 1, (Entry(5, HEADER), Entry(7, closing("no"))), Ended.TRAILER)
    outcome = Outcome(
        0, METHOD, Side.SERVER, session, Mismatch("One more.", Side.CLIENT, 0, 0, 7, None, HEADER, entries=0)
    )

    assert list(mismatch_lines("", outcome, BY_NUMBER)) == [
        "no session   /chat.ChatService/Chat   the mock played the server",
        "      ! 0.000 ms  >  ClientHeader",
        "One more.",
    ]


def test_a_play_on_which_nothing_happened() -> None:
    outcome = client().player.outcome(CONNECTION, 1)
    outcome = replace(outcome, notes=(), mismatch=Mismatch("Nothing.", Side.SERVER, 0, 0, 0, ANSWER))

    assert list(mismatch_lines("echo.duplex", outcome, BY_NUMBER))[1:] == [
        "           ! –    <  nothing came  expected ServerHeader",
        "Nothing.",
    ]


def test_a_goaway_on_the_way_is_shown_and_moves_no_mark() -> None:
    outcome = (begun() >> HALF_CLOSE).mismatch()
    assert outcome.session is not None
    on = replace(CONNECTION, goaways=(goaway(13.5, 11, b"too_many_pings"),))
    outcome = replace(outcome, session=replace(outcome.session, connection=on))

    assert list(mismatch_lines("echo.duplex", outcome, DESCRIBED))[5:7] == [
        "       13.500 ms  <  GOAWAY ENHANCE_YOUR_CALM  last stream 1  b'too_many_pings'",
        "     ! 14.000 ms  >  ClientHalfClose  expected ClientMessage #2  "
        "{sender: 'Client', message: 'two', timestamp: 1795348800}",
    ]


def test_what_a_peer_chose_is_escaped_and_cut() -> None:
    evil = "\x1b[2J\u202e" + "x" * 1000
    play = client(lanes(header(("x-\x9b", "1"), method="/\x1b/C"), OK))
    outcome = (
        play
        >> header(("x-\x9b", "1"), method="/\x1b/C")
        << ServerTrailer(Status(Code.INTERNAL, evil), Metadata((("k", "\x1b" * 500),)))
    ).mismatch()

    lines = list(mismatch_lines("a\nb.duplex", outcome, DESCRIBED))

    assert all(line.isprintable() for line in lines)
    assert lines == [
        r"'a\nb.duplex'   session 1   '/\x1b/C'   the replay played the client",
        r"        0.000 ms  >  ClientHeader  'x-\x9b': 1",
        lines[2],
        rf"The server ended the call with INTERNAL '\x1b[2J\u202e{'x' * 46}… 895 more …{'x' * 59}'; "
        "in the recording it ends with OK.",
    ]
    assert len(lines[2]) < 700


@pytest.mark.parametrize("reason", ["\x1b[31m", "x" * 1000])
def test_reasons_are_escaped_and_cut(reason: str) -> None:
    for play in (begun() >> Broken(reason), begun() >> Lost(reason)):
        *_, sentence = mismatch_lines("echo.duplex", play.mismatch(), DESCRIBED)
        assert sentence.isprintable()
        assert len(sentence) < 220


def test_a_long_call_is_shortened() -> None:
    rounds = [event for number in range(50) for event in (ask(f"{number}"), reply(f"{number}"))]
    long = lanes(HEADER, ANSWER, *rounds, HALF_CLOSE, OK)
    play = server(long) >> HEADER << ANSWER
    for number in range(40):
        play = play >> ask(f"{number}") << reply(f"{number}")

    lines = list(mismatch_lines("echo.duplex", (play >> HALF_CLOSE).mismatch(), DESCRIBED))

    assert len(lines) == 1 + 8 + 1 + 24 + 1
    what = [line[16:].split("  {")[0].strip() for line in lines[1:-1]]
    assert what[:8] == [
        ">  ClientHeader",
        "<  ServerHeader",
        *(
            f"{arrow}  {name}Message #{number}"
            for number in (1, 2, 3)
            for arrow, name in ((">", "Client"), ("<", "Server"))
        ),
    ]
    assert lines[9] == "            …    54 entries more"
    assert what[9:12] == [">  ClientMessage #31", "<  ServerMessage #31", ">  ClientMessage #32"]
    assert what[-4] == ">  ClientHalfClose  expected ClientMessage #41"
    assert lines[-1] == "The client half-closed before its 41st message."


def test_what_agreed_is_one_line() -> None:
    outcome = (server(lanes(HEADER, OK)) >> HEADER << OK).done()

    assert agreed_line("a.duplex", outcome) == (
        "a.duplex   session 1   /chat.ChatService/Chat   the mock played the server   agreed"
    )
    noted = replace(outcome, notes=("this", "that \x1b"))
    assert agreed_line("a.duplex", noted).endswith(r"agreed   this   'that \x1b'")
    assert heading("", replace(outcome, side=Side.CLIENT, number=0)) == (
        "no session   /chat.ChatService/Chat   the replay played the client"
    )


def test_the_tally() -> None:
    agreed = (server(lanes(HEADER, OK)) >> HEADER << OK).done()
    failed = (begun() >> HALF_CLOSE).mismatch()

    assert tally([agreed]) == Tally(1, 0)
    assert tally([agreed]).is_green
    assert str(tally([agreed])) == "1 session: 1 agreed"
    assert str(tally([agreed, failed, agreed], ["a", "b"])) == "5 sessions: 2 agreed, 1 did not, 2 not played"
    assert not tally([failed]).is_green
    assert not tally([agreed], ["a"]).is_green
    assert (tally([]).is_green, str(tally([]))) == (True, "0 sessions: 0 agreed")
