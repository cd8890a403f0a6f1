"""What a mismatch is called: one sentence for each way in which a peer can leave the script.

The sentences say what the peer did, in the words of the call: they are read first, by somebody who has not seen the
script. `Expected` tells where in its lane the peer was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Event,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.matching import Difference, named, shown
from duplexmock.core.status import Status, code_name, error_name


class Expected(NamedTuple):
    """What was expected next of `side`: an event, or None behind its last, and how many messages it had sent."""

    side: Side
    event: Event | None
    messages: int


def label(kind: type[Event], messages_before: int) -> str:
    """Name an event of a lane as people count: `ClientMessage #2`, where there is one in the lane before it."""
    if kind in (ClientMessage, ServerMessage):
        return f"{kind.__name__} #{messages_before + 1}"
    return kind.__name__


def labels(lane: Sequence[Event]) -> list[str]:
    """Name every event of a lane."""
    names: list[str] = []
    messages = 0
    for event in lane:
        names.append(label(type(event), messages))
        messages += isinstance(event, (ClientMessage, ServerMessage))
    return names


def differs(expected: Expected, actual: Event, differences: Sequence[Difference]) -> str:
    """Say that an event came in its turn, and is not the expected one."""
    told = "; ".join(map(str, differences[:_TOLD])) + (
        f"; and {more} more" if (more := len(differences) - _TOLD) > 0 else ""
    )
    match expected.event, actual:
        case _, ClientHeader():
            return f"The call's metadata differs from the recorded one: {told}."
        case _, ServerHeader():
            return f"The server's initial metadata differs from the recorded one: {told}."
        case ServerTrailer(Status(code=recorded)), ServerTrailer(Status(code=came)) if recorded != came:
            return f"{_did(expected, actual)}; in the recording it ends with {code_name(recorded)}."
        case Reset(recorded), Reset():
            return f"{_did(expected, actual)}; in the recording it does so with {error_name(recorded)}."
        case _, ServerTrailer():
            return f"The server's ending differs from the recorded one: {told}."
        case _:
            return f"{label(type(actual), expected.messages)} differs from the recorded one: {told}."


def out_of_turn(expected: Expected, actual: Event, deadline: str = "") -> str:
    """Say that another event came than the expected one; `deadline` says which was up where `actual` is its Cancel."""
    did = _did(expected, actual, deadline)
    match expected.event, actual:
        case None, _:
            return f"{did}; in the recording nothing more comes from the {expected.side.name.lower()}."
        case ((ClientHalfClose() | Cancel() | ServerTrailer() | Reset()), (ClientMessage() | ServerMessage())):
            return f"{did}; in the recording it {_does(expected)} {_after(expected.messages)}."
        case ((ClientMessage() | ServerMessage() | ServerHeader() | ClientHalfClose()), _):
            return f"{did} before {_its(expected)}."
        case _:
            return f"{did}; in the recording it {_does(expected)} at this point."


def too_early(expected: Expected, needed: str, evidence: str) -> str:
    """Say that an event came before one of ours that it is to come after; `evidence` says how that is known."""
    assert expected.event is not None
    name = label(type(expected.event), expected.messages)
    return f"{name} came before {needed}, and has to come after it ({evidence})."


def lost(expected: Expected, reason: str) -> str:
    """Say that the peer's connection went away."""
    why = f" ({named(reason)})" if reason else ""
    return f"The {expected.side.name.lower()}'s connection was lost{why} before {_its(expected)}."


def broken(side: Side, reason: str) -> str:
    """Say that what the peer sent is not gRPC's."""
    return f"The {side.name.lower()} broke the protocol: {named(reason)}."


def no_deadline(recorded: str) -> str:
    """Say that a call has no deadline, where the recorded one ends by it."""
    return f"The call has no deadline; in the recording it ends by its deadline of {recorded}."


def stalled(expected: Expected, within: str, waits: str) -> str:
    """Say that nothing came; `waits` says what else waits for it, or is empty."""
    if expected.event is None and waits:
        return f"Nothing happened for {within}: {waits}."
    awaited = _its(expected) if expected.event is not None else "the loss of its connection"
    behind = f": {waits}" if waits else ""
    return f"Nothing came from the {expected.side.name.lower()} within {within}, and {awaited} was expected{behind}."


def no_session(method: str) -> str:
    """Say that a call's method is not among those that are played."""
    return f"There is no session of {named(method)}."


def one_more(method: str) -> str:
    """Say that a call has come and all sessions of its method are taken."""
    return f"Every session of {named(method)} is taken by another call; this call is one more."


def duration(ns: int) -> str:
    """Write a span of time for people: `10 s`, `250 ms`."""
    return f"{ns / 1e9:g} s" if ns >= 1_000_000_000 else f"{ns / 1e6:g} ms"


def _did(expected: Expected, actual: Event, deadline: str = "") -> str:
    match actual:
        case ClientMessage() | ServerMessage():
            return f"The {expected.side.name.lower()} sent its {_ordinal(expected.messages + 1)} message"
        case ClientHalfClose():
            return "The client half-closed"
        case Cancel() if deadline:
            return f"The client gave up at its deadline of {deadline}"
        case Cancel(code):
            return f"The client cancelled the call ({error_name(code)})"
        case ClientHeader():
            return "The client sent its header"
        case ServerHeader():
            return "The server sent its initial metadata"
        case ServerTrailer(status):
            if status is None:
                return "The server ended the call without a status"
            text = f" {shown(status.message)}" if status.message else ""
            return f"The server ended the call with {code_name(status.code)}{text}"
        case Reset(code):
            return f"The server reset the call ({error_name(code)})"
        case _:
            raise TypeError(f"{actual!r} is no event")


def _does(expected: Expected) -> str:
    """Say what an ending is that was expected: `half-closes`."""
    match expected.event:
        case ClientHalfClose():
            return "half-closes"
        case Cancel():
            return "cancels the call"
        case ServerTrailer(status):
            return f"ends the call with {code_name(status.code)}" if status else "ends the call without a status"
        case Reset(code):
            return f"resets the call ({error_name(code)})"
        case _:
            raise TypeError(f"{expected.event!r} is no ending")


def _its(expected: Expected) -> str:
    """Name what was expected: `its second message`."""
    match expected.event:
        case None:
            return "the end of the call"
        case ClientMessage() | ServerMessage():
            return f"its {_ordinal(expected.messages + 1)} message"
        case ClientHeader():
            return "its header"
        case ClientHalfClose():
            return "its half-close"
        case Cancel():
            return "its cancel"
        case ServerHeader():
            return "its initial metadata"
        case ServerTrailer(status):
            return f"its status {code_name(status.code)}" if status else "the end of its stream"
        case Reset(code):
            return f"its reset ({error_name(code)})"
        case _:
            raise TypeError(f"{expected.event!r} is no event")


def _ordinal(number: int) -> str:
    if number <= len(_ORDINALS):
        return _ORDINALS[number - 1]
    suffix = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _after(messages: int) -> str:
    return ("without a message", "after one message")[messages] if messages < 2 else f"after {messages} messages"


_TOLD = 3
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
