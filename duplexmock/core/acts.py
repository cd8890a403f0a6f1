"""Acts: what a fault has done in the place of an event. A fault returns some; play/faulty.py does them, one by one.

An event among them is said, or handed on where it was heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from duplexmock.core.events import CLIENT_EVENTS, SERVER_EVENTS, Event
from duplexmock.core.value import value

EVENTS = (*CLIENT_EVENTS, *SERVER_EVENTS)


@value
class Pause:
    """Let time pass: what comes behind it in its lane waits."""

    ns: int


@value
class Keep:
    """Keep an event of ours back until so many of our messages have been said; 0 is until anything is to be said."""

    event: Event
    messages: int


@value
class Repeat:
    """Say a message of ours again and again, at this interval, until the peer ends the call."""

    event: Event
    every_ns: int


@value
class Octets:
    """Send these bytes as DATA, under flow control: a message, or what only looks like one."""

    body: bytes


@value
class Anyway:
    """Say an event whatever the rules and the windows say, and though the call may have ended."""

    event: Event


@value
class Cut:
    """Send so many bytes of the frame that a message of ours would be (None: half of it), and close the connection."""

    event: Event
    octets: int | None = None


@value
class GoAway:
    """Say GOAWAY; `last_stream_id` is the last call that it promises to answer, None the newest one."""

    code: int
    last_stream_id: int | None = None


@value
class Sever:
    """Lose the connection, by a TCP reset or by closing it."""

    by_reset: bool = False


@value
class Withhold:
    """Give the peer no more window on the call: for so long, or, None, for good."""

    ns: int | None = None


class Turn(Enum):
    """What becomes from here on of what the play says."""

    ENDED = "nothing of it is said: a fault has ended the call"
    STALLED = "nothing of it is said, and nothing ends the call"
    OVERRUN = "it is said anyway, behind the end of the call"


Wrong = Octets | Anyway | Cut | GoAway | Sever
"""What only the live end of a call can do: `Stream.do` takes them."""

Act = Event | Wrong | Pause | Keep | Repeat | Withhold | Turn


def is_gentle(acts: Sequence[Act], event: Event) -> bool:
    """Tell whether these, in the place of `event`, leave the peer what it would have been told, later at most."""
    if Withhold() in acts:
        return False  # it can say no more than its window takes
    told = [act for act in acts if not isinstance(act, Pause | Withhold) and act != GoAway(0)]
    return told in ([event], [Keep(event, 0)])
