"""The endpoint against h2 in both roles, what each says drawn at random and cut anywhere; and against noise."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from contextlib import suppress
from operator import itemgetter

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    Reset,
    ServerHeader,
    ServerTrailer,
    Side,
)
from duplexmock.core.rows import RowKind
from duplexmock.core.status import Code, Status
from duplexmock.wire.endpoint import Endpoint
from duplexmock.wire.fields import GRPC_ANSWER, GRPC_REQUEST
from duplexmock.wire.framed import Framed
from duplexmock.wire.frames import PREFACE
from duplexmock.wire.framing import message
from duplexmock.wire.limits import Config, Packing
from tests.wire.talk import ANSWER, REQUEST, TRAILERS, data, examples, frame, headers, padded, reset, settings

SIZES = st.sampled_from([0, 1, 5, 11, 100, 700, 3_000, 17_000])
HEADER = ClientHeader("/chat.ChatService/Chat", GRPC_REQUEST, "localhost:1")
CALLS = 4
BIG = 2**30

CALLED = 6 * ("say",) + 6 * ("hear",) + 2 * ("answer", "hold", "release", "credit")
CALLED_RARELY = ("end", "finish", "reset", "abandon", "priority")
CONNECTED = ("open", "flow", "ping", "barrier", "window", "window", "frame size", "table")
WHAT = st.sampled_from(CALLED + CALLED_RARELY + CONNECTED)
STEPS = st.lists(
    st.tuples(WHAT, st.integers(0, CALLS - 1), st.lists(SIZES, min_size=1, max_size=3)), min_size=10, max_size=40
)


class Conversation:
    """Our endpoint in a role, and h2 in the other; `sent` and `heard` are the bodies of our lanes, by stream."""

    def __init__(self, role: Side, packing: Packing, cut: int) -> None:
        self.role = role
        self.cut = cut
        self.ours = Endpoint(role, Config(packing=packing, stream_window_bytes=9_000, connection_window_bytes=65_535))
        self.theirs = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=role is Side.SERVER, header_encoding=None)
        )
        self.theirs.initiate_connection()
        self.calls: list[int] = []
        self.gone: set[int] = set()  # reset by either side
        self.sent: dict[int, bytes] = defaultdict(bytes)
        self.heard: dict[int, bytes] = defaultdict(bytes)
        self.said: dict[int, list[bytes]] = defaultdict(list)  # messages of h2
        self.told: dict[int, list[bytes]] = defaultdict(list)
        self.unsaid: dict[int, bytes] = defaultdict(bytes)  # what h2's windows have stopped
        self.owed: dict[int, int] = defaultdict(int)  # what h2 has not acknowledged
        self.begun: dict[int, set[str]] = defaultdict(set)
        self.endings: dict[int, list[str]] = defaultdict(list)

    def step(self, what: str, number: int, sizes: list[int]) -> None:
        """Do one thing, if it can be done now."""
        going = [stream for stream in self.calls if stream not in self.gone]
        if what in CONNECTED:
            self._connection(what, sizes)
        elif going:
            self._call(what, going[number % len(going)], sizes)

    def finish(self) -> None:
        """Let all that was said arrive, and end each lane."""
        self.theirs.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: BIG})
        self.theirs.increment_flow_control_window(BIG)
        self.flow()
        for stream in self.calls:
            if stream not in self.gone:
                for what in ("release", "answer", "end", "finish"):
                    self._call(what, stream, [])
        self.flow(100_000)

    def flow(self, rounds: int = 20) -> None:
        """Carry bytes both ways until nothing more comes, or for some rounds: a window of one byte takes thousands."""
        for _ in range(rounds):
            for stream in list(self.unsaid):
                self._hear(stream)
            to_us, to_them = self.theirs.data_to_send(), self.ours.take()
            if not to_us and not to_them:
                return
            for start in range(0, len(to_us), self.cut):
                for stream, rows in self.ours.receive(to_us[start : start + self.cut]):
                    self._take_rows(stream, rows)
            for start in range(0, len(to_them), self.cut):
                self._take_events(self.theirs.receive_data(to_them[start : start + self.cut]))

    def _connection(self, what: str, sizes: list[int]) -> None:
        size = sum(sizes)
        match what:
            case "open" if len(self.calls) < CALLS:
                if self.role is Side.CLIENT:
                    self.calls.append(self.ours.open(HEADER))
                else:
                    stream = self.theirs.get_next_available_stream_id()
                    self.theirs.send_headers(stream, REQUEST)
                    self.begun[stream].add("answer")
                    self.calls.append(stream)
                self.flow()
            case "flow":
                self.flow()
            case "ping":
                self.ours.ping(b"12345678")
                self.theirs.ping(b"87654321")
            case "barrier":
                self.ours.barrier()
            case "window":
                self._set(h2.settings.SettingCodes.INITIAL_WINDOW_SIZE, size)
            case "frame size":
                self._set(h2.settings.SettingCodes.MAX_FRAME_SIZE, 16_384 + size)
            case "table":
                self._set(h2.settings.SettingCodes.HEADER_TABLE_SIZE, size)

    def _set(self, code: h2.settings.SettingCodes, value: int) -> None:
        """Change a setting of h2, and wait: with two on their way it takes one acknowledgement for both."""
        self.theirs.update_settings({code: value})
        self.flow(3)

    def _call(self, what: str, stream: int, sizes: list[int]) -> None:
        begun = self.begun[stream]
        match what:
            case "say" if "end" not in begun:
                self._begin(stream)
                run = [(0, bytes([stream]) * size) for size in sizes]
                self.ours.send(stream, [Framed(run)])
                self.sent[stream] += b"".join(message(payload) for _, payload in run)
            case "end" if "end" not in begun:
                self._begin(stream)
                begun.add("end")
                last = ClientHalfClose() if self.role is Side.CLIENT else ServerTrailer(Status(Code.OK))
                self.ours.send(stream, [last])
            case "hold":
                self.ours.hold(stream)
            case "release":
                self.ours.release(stream)
            case "reset":
                self.gone.add(stream)
                # A client may cancel behind its half-close; a server's trailer was its last word.
                if self.role is Side.CLIENT or "end" not in begun:
                    self.ours.send(stream, [Cancel(8) if self.role is Side.CLIENT else Reset(8)])
                self.ours.reset(stream, 8)
            case "answer" if "answer" not in begun:
                begun.add("answer")
                self.theirs.send_headers(stream, ANSWER)
            case "hear" if "answer" in begun and "finish" not in begun:
                for size in sizes:
                    payload = bytes([stream + 1]) * size
                    self.said[stream].append(payload)
                    self.unsaid[stream] += message(payload)
                self._hear(stream)
            case "finish" if "answer" in begun and "finish" not in begun:
                begun.add("finish")
                self._hear(stream)
            case "credit":
                self._acknowledge(stream)
            case "abandon":
                self.gone.add(stream)
                with suppress(h2.exceptions.StreamClosedError):  # both sides have ended, and h2 knows it
                    self.theirs.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            case "priority":
                self.theirs.prioritize(stream, weight=3) if self.role is Side.SERVER else None

    def _begin(self, stream: int) -> None:
        if self.role is Side.SERVER and "began" not in self.begun[stream]:
            self.begun[stream].add("began")
            self.ours.send(stream, [ServerHeader(GRPC_ANSWER)])

    def _hear(self, stream: int) -> None:
        """Say what h2's windows allow, and end the lane when nothing is left of it."""
        if stream in self.gone or "over" in self.begun[stream]:
            return
        octets = self.unsaid[stream]
        while octets:
            room = min(self.theirs.local_flow_control_window(stream), self.theirs.max_outbound_frame_size)
            if room <= 0:
                break
            pad = 3 if room > 10 and len(octets) % 3 == 0 else None
            piece = octets[: room - 4 if pad else room]
            self.theirs.send_data(stream, piece, pad_length=pad)
            octets = octets[len(piece) :]
        self.unsaid[stream] = octets
        if not octets and "finish" in self.begun[stream]:
            self.begun[stream].add("over")
            if self.role is Side.CLIENT:
                self.theirs.send_headers(stream, TRAILERS, end_stream=True)
            else:
                self.theirs.end_stream(stream)

    def _acknowledge(self, stream: int) -> None:
        owed = self.owed.pop(stream, 0)
        if owed:
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                self.theirs.acknowledge_received_data(owed, stream)

    def _take_rows(self, stream: int, rows: object) -> None:
        if not stream:
            return
        for row in rows:  # type: ignore[attr-defined]
            match row:
                case (RowKind.CLIENT_MESSAGE | RowKind.SERVER_MESSAGE, _, 0, payload):
                    self.told[stream].append(payload)
                case (kind, *_):
                    self.endings[stream].append(RowKind(kind).name)

    def _take_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            match event:
                case h2.events.DataReceived():
                    self.heard[event.stream_id] += event.data
                    self.owed[event.stream_id] += event.flow_controlled_length
                    if self.owed[event.stream_id] > 1_500:
                        self._acknowledge(event.stream_id)
                case h2.events.StreamReset():
                    self.gone.add(event.stream_id)


def converse(role: Side, packing: Packing, cut: int, steps: list[tuple[str, int, list[int]]]) -> None:
    """Hold a conversation, and check that all that was said arrived."""
    talk = Conversation(role, packing, cut)
    talk.flow()
    talk.step("window", 0, [3_000])
    for what, number, sizes in steps:
        talk.step(what, number, sizes)
    talk.finish()
    assert talk.ours.failed is None
    for stream in talk.calls:
        assert "DAMAGED" not in talk.endings[stream]
        if stream in talk.gone:
            assert talk.sent[stream].startswith(talk.heard[stream])
            assert talk.told[stream] == talk.said[stream][: len(talk.told[stream])]
        else:
            assert talk.heard[stream] == talk.sent[stream]
            assert talk.told[stream] == talk.said[stream]
            last = "SERVER_TRAILER" if role is Side.CLIENT else "CLIENT_HALF_CLOSE"
            assert talk.endings[stream][-1] == last
    assert talk.ours.open_streams == ()


@examples(60)
@given(st.sampled_from(Packing), st.sampled_from([97, 999, 70_000]), STEPS)
def test_our_server_and_a_client_of_h2(packing: Packing, cut: int, steps: list[tuple[str, int, list[int]]]) -> None:
    converse(Side.SERVER, packing, cut, [("open", 0, []), *steps])


@examples(60)
@given(st.sampled_from(Packing), st.sampled_from([97, 999, 70_000]), STEPS)
def test_our_client_and_a_server_of_h2(packing: Packing, cut: int, steps: list[tuple[str, int, list[int]]]) -> None:
    converse(Side.CLIENT, packing, cut, [("open", 0, []), *steps])


# Noise: whole frames that make some sense, and none at all.

KINDS = st.integers(0, 10)
STREAMS = st.sampled_from([0, 1, 2, 3, 5, 7, 2**31 - 1])
FRAMES: st.SearchStrategy[bytes] = st.one_of(
    st.builds(frame, KINDS, st.integers(0, 255), STREAMS, st.binary(max_size=40)),
    st.builds(data, STREAMS, st.builds(message, st.binary(max_size=20)), st.sampled_from([0, 1])),
    st.builds(padded, STREAMS, st.binary(max_size=9), st.integers(0, 9), st.sampled_from([0, 1])),
    st.builds(headers, STREAMS, st.sampled_from([REQUEST, ANSWER, TRAILERS, REQUEST[1:]]), st.sampled_from([0, 1])),
    st.builds(reset, STREAMS, st.integers(0, 20)),
    st.builds(lambda key, value: settings((key, value)), st.integers(0, 7), st.sampled_from([0, 1, 16_384, 2**31 - 1])),
    st.builds(lambda at, more: frame(8, 0, at, more.to_bytes(4, "big")), STREAMS, st.sampled_from([0, 1, 2**31 - 1])),
    st.binary(max_size=30),
)


@examples(600)
@given(st.sampled_from(Side), st.lists(FRAMES, max_size=30), st.integers(1, 200))
def test_noise_ends_the_connection_or_a_stream_and_nothing_else(role: Side, said: list[bytes], cut: int) -> None:
    whole, pieces = noisy(role), noisy(role)
    octets = b"".join(said)
    at_once = flat(whole.receive(octets))
    in_pieces = [
        each for start in range(0, len(octets), cut) for each in flat(pieces.receive(octets[start : start + cut]))
    ]
    assert whole.failed == pieces.failed
    assert sorted(at_once, key=itemgetter(0)) == sorted(in_pieces, key=itemgetter(0))
    for endpoint in (whole, pieces):
        for stream in endpoint.open_streams:
            endpoint.send(stream, [])
            endpoint.reset(stream, 8)
        assert endpoint.open_streams == ()


def noisy(role: Side) -> Endpoint:
    endpoint = Endpoint(role)
    if role is Side.SERVER:
        endpoint.receive(PREFACE + settings())
    else:
        for _ in range(3):
            endpoint.send(endpoint.open(HEADER), [Framed.alike([b"abc"])])
        endpoint.receive(settings())
    endpoint.take()
    return endpoint


def flat(groups: object) -> list[tuple[int, object]]:
    return [(stream, each) for stream, group in groups for each in group]  # type: ignore[attr-defined]
