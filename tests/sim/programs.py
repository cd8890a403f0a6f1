"""Programs for the two ends of one call, as values: what the client does, what the handler does, and by which API.

A program is run by `acting.py` on anything that looks like grpc.aio, and by `acting_sync.py` on anything that looks
like grpc. Messages are bytes, there are no serializers. `programs()` is the Hypothesis strategy; `made(seed)` makes the
same kind of program of a number, many times faster.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import grpc
from hypothesis import strategies as st

Kind = Literal["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
Verb = Literal[
    "write",  # a message; in an iterator or a generator it is yielded
    "done_writing",
    "read",  # one message
    "read_all",  # up to the end: `async for` where the style is an iterator
    "response",  # the one response of a unary call
    "cancel",
    "sleep",  # seconds
    "code",  # wait for the status
    "initial_metadata",  # the client waits for it, the handler sends it
    "trailing_metadata",  # the client waits for it, the handler sets it
    "set_code",
    "set_details",
    "abort",  # (code, details, trailing metadata)
    "raise",  # ValueError, with a text
    "returns",  # the response of a unary handler, at its end
    "stop",  # the server, by the client's hand: a grace in seconds, or None
]
Metadata = tuple[tuple[str, str | bytes], ...]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that is done. What it is done with is in `value`."""

    verb: Verb
    value: object = None

    def __repr__(self) -> str:
        return f"Act({self.verb!r})" if self.value is None else f"Act({self.verb!r}, {self.value!r})"


Acts = tuple[Act, ...]


@dataclass(frozen=True, slots=True)
class Client:
    """What the client does: a task for each of `lanes`, and `feed` as its request iterator, if there is one.

    `request` is the request of a unary call. With `reads="iterator"` responses are taken by `async for`.
    """

    lanes: tuple[Acts, ...]
    feed: Acts | None = None
    request: bytes = b"request"
    reads: Literal["iterator", "read"] = "read"
    deadline_s: float | None = None
    metadata: Metadata = ()
    intercepted: bool = False


@dataclass(frozen=True, slots=True)
class Handler:
    """What the handler does, in one task; `writes="yield"` makes it an asynchronous generator."""

    acts: Acts
    reads: Literal["iterator", "read"] = "read"
    writes: Literal["yield", "write"] = "write"
    intercepted: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """Both ends of a call."""

    kind: Kind
    client: Client
    handler: Handler

    @property
    def stops(self) -> bool:
        """Tell whether the server is stopped in it."""
        return any(act.verb == "stop" for lane in self.client.lanes for act in lane)


class Choose:
    """Where a program's choices come from: Hypothesis, or a seed."""

    def __init__(self, one_of: Callable[[Sequence[object]], object]) -> None:
        self._one_of = one_of

    def one_of(self, values: Sequence[Value]) -> Value:
        """Return one of the values; the first is the simplest."""
        return self._one_of(values)  # type: ignore[return-value]

    def often(self, chance: int) -> bool:
        """Tell True once in so many times; False is the simpler."""
        return self.one_of([False] * (chance - 1) + [True])


def programs() -> st.SearchStrategy[Program]:
    """Return the strategy; it shrinks towards short programs without errors."""

    @st.composite
    def drawn(draw: st.DrawFn) -> Program:
        return program(Choose(lambda values: draw(st.sampled_from(values))))

    return drawn()


def made(seed: int) -> Program:
    """Return the program with this number."""
    chosen = random.Random(seed)
    return program(Choose(chosen.choice))


def program(choose: Choose) -> Program:
    """Make a program."""
    kind: Kind = choose.one_of(["stream_stream", "stream_stream", "stream_unary", "unary_stream", "unary_unary"])
    client, handler = _client(choose, kind), _handler(choose, kind)
    if client.intercepted and _hangs_on_turns(client.lanes, handler.acts):
        client = replace(client, intercepted=False)
    return Program(kind, client, handler)


def _client(choose: Choose, kind: Kind) -> Client:
    streams_requests, streams_responses = kind.startswith("stream"), kind.endswith("stream")
    reads = choose.one_of(["read", "iterator"])
    feed: Acts | None = None
    lanes: tuple[Acts, ...]
    if not streams_requests:
        lanes = (_reading(choose, streams_responses, reads),)
    elif choose.often(3):
        feed = tuple(_maybe_pause(choose, [Act("write", b"c%d" % k) for k in range(choose.one_of([1, 0, 2, 3]))]))
        lanes = (_reading(choose, streams_responses, reads),)
    elif streams_responses and choose.often(2):
        lanes = (_ping_pong(choose, reads),)
    else:
        lanes = (_writing(choose), _reading(choose, streams_responses, reads))
    if choose.often(8):
        lanes = (*lanes, _ending(choose))
    return Client(
        lanes,
        feed,
        reads=reads,
        deadline_s=choose.one_of([None] * 9 + [SHORT_S]),
        metadata=choose.one_of([(), (), (("key", "value"), ("key", "twice"), ("some-bin", b"\x00\xff"))]),
        intercepted=choose.often(6),
    )


def _hangs_on_turns(lanes: tuple[Acts, ...], handler: Acts) -> bool:
    """Tell whether a write follows a half-close, or may follow the status.

    Behind interceptors a write passes through a queue, and whether such a one is refused hangs on the turns that
    asyncio takes while the core is at work; sim lets all tasks come to rest before anything else happens.
    """
    verbs = [[act.verb for act in lane] for lane in lanes]
    is_late = any("done_writing" in lane and "write" in lane[lane.index("done_writing") :] for lane in verbs)
    is_heard = any(act.verb == "read_all" for act in handler)
    return is_late or (not is_heard and any("write" in lane for lane in verbs))


def _writing(choose: Choose) -> Acts:
    acts = [Act("write", b"c%d" % k) for k in range(choose.one_of([1, 0, 2, 3]))]
    acts += [Act("done_writing")] * (0 if choose.often(10) else 1)
    if choose.often(10):
        acts.append(choose.one_of([Act("write", b"late"), Act("done_writing")]))
    return tuple(_maybe_pause(choose, acts))


def _reading(choose: Choose, streams: bool, reads: str) -> Acts:
    if not streams:
        acts = [Act("response")]
    elif reads == "iterator":
        acts = [Act("read_all")]
    else:
        acts = [Act("read")] * choose.one_of([0, 0, 1, 2]) + [Act("read_all")] * (0 if choose.often(6) else 1)
        acts = [*acts, Act("read")] if choose.often(8) else acts
    if choose.often(6):
        acts = [Act("initial_metadata"), *acts]
    if choose.often(10):
        acts = [*acts, choose.one_of([Act("code"), Act("trailing_metadata"), Act("cancel")])]
    return tuple(_maybe_pause(choose, acts))


def _ping_pong(choose: Choose, reads: str) -> Acts:
    turns = choose.one_of([1, 2, 3])
    if reads == "iterator":
        return (*(Act("write", b"c%d" % k) for k in range(turns)), Act("done_writing"), Act("read_all"))
    acts = [act for k in range(turns) for act in (Act("write", b"c%d" % k), Act("read"))]
    acts += choose.one_of(
        [[Act("done_writing"), Act("read")], [Act("done_writing"), Act("read_all")], [Act("cancel")], []]
    )
    return tuple(_maybe_pause(choose, acts))


def _ending(choose: Choose) -> Acts:
    """Return a lane that ends the call; a server is stopped when the call has reached it."""
    end = choose.one_of([Act("cancel"), Act("stop"), Act("stop", PAUSE_S)])
    return (end,) if end.verb == "cancel" and choose.often(2) else (Act("sleep", PAUSE_S / 2), end)


def _handler(choose: Choose, kind: Kind) -> Handler:
    streams_requests, streams_responses = kind.startswith("stream"), kind.endswith("stream")
    reads = choose.one_of(["read", "iterator"])
    acts: list[Act] = []
    if choose.often(6):
        acts.append(Act("initial_metadata", (("greeting", "hello"),)))
    if streams_requests:
        reading = [[Act("read_all")], [], [Act("read")], [Act("read"), Act("read")]]
        acts += choose.one_of(reading[:2] if reads == "iterator" else reading)
    if streams_responses:
        acts += [Act("write", b"s%d" % k) for k in range(choose.one_of([1, 0, 2, 3]))]
        if streams_requests and choose.often(3):
            acts = _mixed(choose, acts)
    if choose.often(6):
        acts.append(Act("trailing_metadata", (("farewell", "bye"), ("mark-bin", b"\x01"))))
    if choose.often(10):
        acts += [Act("set_code", grpc.StatusCode.NOT_FOUND), Act("set_details", "not here")]
    acts = _maybe_pause(choose, acts)
    ending = choose.one_of([None, None, None, None, None, "abort", "raise"])
    if ending == "abort":
        trailing = choose.one_of([(), (("why", "because"),)])
        acts.append(Act("abort", (grpc.StatusCode.ABORTED, "enough", trailing)))
    elif ending == "raise":
        acts.append(Act("raise", "no such thing"))
    elif not streams_responses:
        acts.append(Act("returns", b"response"))
    writes = choose.one_of(["write", "yield"]) if streams_responses else "write"
    return Handler(tuple(acts), reads, writes, choose.often(6))


def _mixed(choose: Choose, acts: list[Act]) -> list[Act]:
    """Let reads and writes take turns."""
    reads = [act for act in acts if act.verb == "read"]
    rest = [act for act in acts if act.verb != "read"]
    mixed = []
    while reads or rest:
        lane = reads if reads and (not rest or choose.often(2)) else rest
        mixed.append(lane.pop(0))
    return mixed


def _maybe_pause(choose: Choose, acts: list[Act]) -> list[Act]:
    if not choose.often(8):
        return acts
    place = choose.one_of(range(len(acts) + 1))
    return [*acts[:place], Act("sleep", PAUSE_S), *acts[place:]]


PAUSE_S = 0.03  # much longer than a delivery on loopback takes
SHORT_S = 0.045  # a deadline between one pause and two
