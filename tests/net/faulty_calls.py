"""Calls that are played to real clients with a fault each: what is recorded, what the client does, and what it saw.

Every client makes the calls of TOGETHER one after the other, so that the number of a call is its place, and each of
ALONE on a connection of its own, which that call may break. The clients are those of tests/peers/: they read all the
time, and go on with a call only when the answer has come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duplexmock
from duplexmock.core.events import Cancel, ClientMessage, Event, ServerMessage, ServerTrailer
from duplexmock.core.outcome import Outcome
from duplexmock.core.status import Code, ErrorCode, Status
from tests.net.ends import ANSWER, request, written
from tests.peers.programs import run
from tests.playbook import HALF_CLOSE, recorded

METHOD = "/duplexmock.test.Cases/Bidi"

LANGUAGES = ("python", "go", "node")

HANGS_MS = 700
"""The deadline of a call that nothing else ends."""

ENDS_MS = 20_000
"""That of all others: a busy machine must not meet it."""

LARGE = 1_000_000
"""A message that needs many windows of HTTP/2's default."""


@dataclass(frozen=True)
class Played:
    """One call with its fault; `events` is what was recorded of it behind the server's header."""

    fault: str
    steps: Sequence[Sequence[Any]]
    events: Sequence[Event]
    deadline_ms: int = ENDS_MS


def ask(text: str) -> ClientMessage:
    return ClientMessage(text.encode())


def reply(text: str) -> ServerMessage:
    return ServerMessage(text.encode())  # é inverted is <V, which every client can print


OK = ServerTrailer(Status(Code.OK))
TALK = (ask("a"), reply("A"), ask("b"), reply("é"), ask("c"), reply("C"), HALF_CLOSE, OK)
STEPS = (["send", "a"], ["await", 1], ["send", "b"], ["await", 2], ["send", "c"], ["await", 3], ["half-close"])


def talk(fault: str, deadline_ms: int = ENDS_MS) -> Played:
    """Return a call of three questions, each behind the answer to the one before."""
    return Played(fault, STEPS, TALK, deadline_ms)


LETTERS = "abcdefghijklmnopqrstuvwxyz" * (LARGE // 26 + 1)

TOGETHER = (
    talk("delay(5ms)@server:*"),
    talk("jitter(5ms, 7)@server:*"),
    talk("slow(5ms)@client:*"),
    Played(
        "no-window@client:header",
        (["send", {"size": LARGE}], ["await", 1]),
        (ask(LETTERS[:LARGE]), reply("A"), HALF_CLOSE, OK),
        HANGS_MS,
    ),
    Played(
        "no-window(50ms)@client:header",
        (["send", {"size": LARGE}], ["await", 1], ["half-close"]),
        (ask(LETTERS[:LARGE]), reply("A"), HALF_CLOSE, OK),
    ),
    talk("late-header@server:header"),
    talk("drop@server:2", HANGS_MS),
    talk("drop@server:trailer", HANGS_MS),
    talk("drop@client:half-close", HANGS_MS),
    talk("duplicate@server:2"),
    Played(
        "reorder@server:1",
        (["send", "a"], ["await", 2], ["half-close"]),
        (ask("a"), reply("A"), reply("é"), HALF_CLOSE, OK),
    ),
    talk("corrupt@server:2"),
    talk("length(1)@server:2", HANGS_MS),
    talk("length(-2)@server:2", HANGS_MS),
    talk("endless(1ms)@server:2", HANGS_MS),
    talk("endless(1ms)@server:trailer", HANGS_MS),
    talk("stall@server:2", HANGS_MS),
    talk("status(UNAVAILABLE, gone)@server:3"),
    talk("trailers-only(NOT_FOUND, no)@server:header"),
    talk("no-trailers@server:trailer"),
    talk("no-status@server:trailer"),
    *(talk(f"reset({code.name})@server:2") for code in ErrorCode),
    Played(
        "ignore-cancel(50ms)@client:cancel",
        (["send", "a"], ["await", 1], ["half-close"], ["cancel"]),  # Node half-closes in any case
        (ask("a"), reply("A"), HALF_CLOSE, Cancel(ErrorCode.CANCEL)),
    ),
    Played(
        "ignore-deadline(50ms)@client:deadline",
        (["send", "a"], ["await", 1], ["half-close"], ["await", 2]),
        (ask("a"), reply("A"), HALF_CLOSE, Cancel(ErrorCode.CANCEL)),
        HANGS_MS,
    ),
    talk("goaway@server:2"),
)

ALONE = (
    talk("early-trailer@server:2"),
    talk("late-header(1)@server:header", HANGS_MS),
    talk("goaway(last=0)@server:2"),
    talk("abrupt-goaway(ENHANCE_YOUR_CALM)@server:2"),
    talk("cut@server:2"),
    talk("lose@server:2"),
    talk("lose(reset)@client:2"),
    talk("reset(REFUSED_STREAM)@server:header"),  # what is refused may be tried again
)

CALLS = (*TOGETHER, *ALONE)


@dataclass(frozen=True)
class Seen:
    """What a client saw of each call, by its fault, and what the mock made of it."""

    saw: dict[str, str]
    outcomes: dict[str, list[Outcome]]


def played(command: Callable[[str, str], list[str]], folder: Path) -> dict[str, Seen]:
    """Play all calls to a client of each language."""
    commands = {language: command(language, "cases-client") for language in LANGUAGES}
    with ThreadPoolExecutor(len(LANGUAGES)) as pool:
        running = {name: pool.submit(_seen, asked, folder / name) for name, asked in commands.items()}
        return {name: each.result() for name, each in running.items()}


def _seen(command: list[str], folder: Path) -> Seen:
    folder.mkdir()
    seen = Seen({}, {})
    for place, calls in enumerate((TOGETHER, *((call,) for call in ALONE))):
        _add(seen, command, folder / str(place), calls)
    return seen


def _add(seen: Seen, command: list[str], folder: Path, calls: Sequence[Played]) -> None:
    """Play these calls to one run of a client."""
    folder.mkdir()
    cases = folder / "cases.json"
    cases.write_text(json.dumps([_case(number, call) for number, call in enumerate(calls, start=1)]))
    sessions = [_session(number, call) for number, call in enumerate(calls, start=1)]
    fixture = written(folder / "calls.duplex", *sessions)
    faults = [call.fault if calls is not TOGETHER else f"{call.fault}#{number}" for number, call in enumerate(calls, 1)]
    with duplexmock.replay(fixture, faults=faults) as mock:
        ran = run([*command, "--cases", str(cases)], mock.target)
    assert ran.exit_code == 0
    for outcome in mock.outcomes:
        seen.outcomes.setdefault(calls[outcome.number - 1].fault, []).append(outcome)
    for line in map(json.loads, ran.lines):
        seen.saw[calls[int(line["case"]) - 1].fault] = _told(line["saw"])


def _told(saw: list[list[Any]]) -> str:
    """The messages that a client saw, a run of more than two equal ones as `C …`, and the status."""
    messages = [part[1] for part in saw if part[0] == "message"]
    words: list[str] = []
    for message in messages:
        if words[-2:] == [message, message] or words[-2:] == [message, "…"]:
            words[-2:] = [message, "…"]
        else:
            words.append(message)
    _, status, details, _ = saw[-1]
    return " ".join((*words, f"{status} ({details})" if details else status))


def _case(number: int, call: Played) -> dict[str, Any]:
    return {
        "case": str(number),
        "method": "Bidi",
        "deadline_ms": call.deadline_ms,
        "client": [list(step) for step in call.steps],
        "server": [],
    }


def _session(number: int, call: Played) -> Any:
    events = (request(("case", str(number)), method=METHOD), ANSWER, *call.events)
    return recorded(*((float(1000 * number + place), event) for place, event in enumerate(events)), number=number)
