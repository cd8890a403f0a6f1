"""What real clients observe of each fault: messages and status, by grpc.aio, grpc-go and grpc-js.

They differ, and what is written here is what each of them makes of it today. Details are shown where they are the same
each time; those of a connection that went away are the operating system's, and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from duplexmock.core.outcome import Outcome
from duplexmock.core.status import Code, ErrorCode, code_name, code_of_reset
from tests.net.faulty_calls import ALONE, CALLS, LANGUAGES, TOGETHER, Seen, played

ALL_WELL = "A é C OK"

Observed = str | tuple[str, str, str]
"""What all clients see, or what grpc.aio, grpc-go and grpc-js see."""

CORE = "INTERNAL (Internal error from Core)"
"""What grpc.aio makes of a call that ends while a write of the client's is in flight: it loses the status."""

EXPECTED: dict[str, Observed] = {
    "delay(5ms)@server:*": ALL_WELL,
    "jitter(5ms, 7)@server:*": ALL_WELL,
    "slow(5ms)@client:*": ALL_WELL,
    "no-window@client:header": (CORE, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
    "no-window(50ms)@client:header": "A OK",
    "late-header@server:header": ALL_WELL,
    # DATA before HEADERS: Node closes the connection, and its call does not hear of it.
    "late-header(1)@server:header": (ALL_WELL, ALL_WELL, "DEADLINE_EXCEEDED"),
    "drop@server:2": "A DEADLINE_EXCEEDED",
    "drop@server:trailer": "A é C DEADLINE_EXCEEDED",
    "drop@client:half-close": "A é C DEADLINE_EXCEEDED",
    "duplicate@server:2": "A é é C OK",
    "reorder@server:1": "é A OK",
    "corrupt@server:2": "A <V C OK",
    "length(1)@server:2": "A DEADLINE_EXCEEDED",
    # An empty message, and é read as a prefix: 2,835,349,504 bytes are to come.
    "length(-2)@server:2": (
        "A  DEADLINE_EXCEEDED",
        "A  RESOURCE_EXHAUSTED (grpc: received message larger than max (2835349504 vs. 2147483647))",
        "A  RESOURCE_EXHAUSTED (Received message larger than max (2835349504 vs 4194304))",
    ),
    "endless(1ms)@server:2": "A é … DEADLINE_EXCEEDED",
    "endless(1ms)@server:trailer": "A é C … DEADLINE_EXCEEDED",
    "stall@server:2": "A DEADLINE_EXCEEDED",
    "status(UNAVAILABLE, gone)@server:3": "A é UNAVAILABLE (gone)",
    "early-trailer@server:2": "A OK",
    "trailers-only(NOT_FOUND, no)@server:header": "NOT_FOUND (no)",
    "no-trailers@server:trailer": (
        "A é C UNKNOWN (Stream removed (Data frame with END_STREAM flag received))",
        "A é C INTERNAL (server closed the stream without sending trailers)",
        "A é C INTERNAL (Received RST_STREAM with code 0 (Call ended without gRPC status))",
    ),
    "no-status@server:trailer": (
        "A é C UNKNOWN (No status received)",
        "A é C UNKNOWN",
        "A é C UNKNOWN (Received HTTP status code 200)",
    ),
    "ignore-cancel(50ms)@client:cancel": "A CANCELLED",
    "ignore-deadline(50ms)@client:deadline": "A DEADLINE_EXCEEDED",
    "goaway@server:2": ALL_WELL,
    "goaway(last=0)@server:2": "A UNAVAILABLE",
    "abrupt-goaway(ENHANCE_YOUR_CALM)@server:2": ("A UNAVAILABLE", "A UNAVAILABLE", "A RESOURCE_EXHAUSTED"),
    "cut@server:2": "A UNAVAILABLE",
    "lose@server:2": "A UNAVAILABLE",
    "lose(reset)@client:2": "A UNAVAILABLE",
    "reset(REFUSED_STREAM)@server:header": "UNAVAILABLE",
}

RESETS = {f"reset({code.name})@server:2": code for code in ErrorCode}

OF_ITS_OWN = {("go", ErrorCode.FLOW_CONTROL_ERROR): "RESOURCE_EXHAUSTED"}
"""Where a library derives another status of a reset than PROTOCOL-HTTP2 has, and than the others do."""

ALSO = {("python", "no-window@client:header"): "DEADLINE_EXCEEDED"}
"""What is seen now and then: whether the write is in flight still is a race of grpc.aio's with the server."""

TRIED_AGAIN = {"python": 1, "go": 2, "node": 2}
"""How often a call that is refused unprocessed comes: grpc-go and grpc-js open it once more by themselves."""


@pytest.fixture(scope="module")
def seen(peer: Callable[[str, str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    return played(peer, tmp_path_factory.mktemp("calls"))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("fault", EXPECTED)
def test_a_client_observes_a_fault(seen: dict[str, Seen], fault: str, language: str) -> None:
    expected = EXPECTED[fault]
    of_this = expected if isinstance(expected, str) else expected[LANGUAGES.index(language)]
    saw = seen[language].saw[fault]
    seen_now_and_then = {ALSO.get((language, fault), of_this), *_without_its_status(language, of_this)}
    if fault in {call.fault for call in ALONE}:
        saw = re.sub(r" \(.*", "", saw)
        seen_now_and_then = {re.sub(r" \(.*", "", each) for each in seen_now_and_then}

    assert saw in {of_this, *seen_now_and_then}


def _without_its_status(language: str, of_this: str) -> set[str]:
    """Return how grpc.aio tells an error that comes while a write of its client's is in flight."""
    words = of_this.split(" ")
    place = next(number for number, word in enumerate(words) if word in Code.__members__)
    return {" ".join((*words[:place], CORE))} if language == "python" and words[place] != "OK" else set()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("fault", RESETS)
def test_a_client_derives_a_status_of_each_reset(seen: dict[str, Seen], fault: str, language: str) -> None:
    code = RESETS[fault]
    derived = OF_ITS_OWN.get((language, code), code_name(DERIVED.get(code, code_of_reset(code))))

    saw = seen[language].saw[fault]
    assert re.sub(r" \(.*", "", saw) == f"A {derived}" or saw in _without_its_status(language, f"A {derived}")


DERIVED = {ErrorCode.STREAM_CLOSED: 13, ErrorCode.HTTP_1_1_REQUIRED: 13}
"""Codes that PROTOCOL-HTTP2 derives no status of, or none here: all three say INTERNAL."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_client_is_blamed_and_each_outcome_has_its_fault(seen: dict[str, Seen], language: str) -> None:
    outcomes = seen[language].outcomes

    blamed = [(fault, each.mismatch) for fault, every in outcomes.items() for each in every if not each.agreed]
    untold = [fault for fault, every in outcomes.items() if not all(_tells(fault, each) for each in every)]
    assert blamed == []
    assert untold == []
    assert set(outcomes) == {call.fault for call in CALLS}


def _tells(fault: str, outcome: Outcome) -> bool:
    written = fault.replace("reset(INTERNAL_ERROR)", "reset").replace("length(1)", "length")
    return any(note.startswith(f"fault {written}") for note in outcome.notes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_call_that_is_refused_may_come_again(seen: dict[str, Seen], language: str) -> None:
    every = seen[language].outcomes["reset(REFUSED_STREAM)@server:header"]

    assert len(every) == TRIED_AGAIN[language]


def test_all_calls_are_expected() -> None:
    assert {call.fault for call in (*TOGETHER, *ALONE)} == {*EXPECTED, *RESETS}
