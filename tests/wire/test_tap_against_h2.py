"""The tap against h2: two h2 connections talk to one another, and a tap reads what passes between them.

What a tap says of each read is compared with the events that the receiving h2 makes of it. In the end each lane is also
compared with what its sender was told to send: h2 does not report what arrives on a stream that its own side has reset.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

import h2.events as h2
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.connection import GoAway, Settings
from duplexmock.core.events import Cancel, ClientHalfClose, ClientHeader, Reset, ServerHeader, ServerTrailer, Side
from duplexmock.core.metadata import Metadata
from duplexmock.core.rows import FIRST_OF_CONNECTION, Row, RowKind
from duplexmock.core.status import Status
from duplexmock.wire.tap import Tap
from tests.wire.talk import Parts, counting, examples, message, taken

CHAT, NOT_RECORDED = "/chat.ChatService/Chat", "/chat.ChatService/Other"
GRPC = ("content-type", "application/grpc")

Pairs = tuple[tuple[str, str | bytes], ...]
Headers = Iterable[tuple[bytes, bytes]]


def recording_chat() -> Tap:
    numbers = counting()
    return Tap(7, lambda method: next(numbers) if method == CHAT else None)


# What is sent


class Speaker:
    """One side: its h2 connection, what it may do next, and what it said on each recorded call."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.h2 = H2Connection(H2Configuration(client_side=side is Side.CLIENT, header_encoding=None))
        self.h2.initiate_connection()
        self.said: dict[int, list[object]] = {}  # by stream, of recorded calls
        self.idle: set[int] = set()  # streams that a server has not answered
        self.open: set[int] = set()  # streams on which it may send
        self.alive: set[int] = set()  # streams that it may reset
        self.other_ended: set[int] = set()
        self.reset: set[int] = set()
        self.written = 0
        self.awaits_ack = False
        self.unsent: dict[int, bytes] = {}  # of messages that have been begun
        self.unread: dict[int, bytes] = {}  # of what was sent: the message that is not whole

    def say(self, stream_id: int, what: object) -> None:
        if stream_id in self.said:
            self.said[stream_id].append(what)

    def begin(self, stream_id: int) -> None:
        self.open.add(stream_id)
        self.alive.add(stream_id)

    def end(self, stream_id: int) -> None:
        self.open.discard(stream_id)
        self.idle.discard(stream_id)
        if stream_id in self.other_ended:
            self.alive.discard(stream_id)

    def lose(self, stream_id: int) -> None:
        self.end(stream_id)
        self.alive.discard(stream_id)

    def hear_end(self, stream_id: int) -> None:
        self.other_ended.add(stream_id)
        if stream_id not in self.open:
            self.alive.discard(stream_id)

    def write(self, stream_id: int, size: int, flags: int) -> None:
        """Begin a message of so many bytes, which are all different from those of the message before."""
        self.written += 1
        unsent = self.unsent.get(stream_id, b"")
        self.unsent[stream_id] = unsent + message(bytes((self.written % 256,)) * size, flags)

    def send(self, stream_id: int, size: int, pad: int | None, ends: bool) -> None:
        """Send so much of what is unsent in one frame, as the window allows, and END_STREAM if that is all of it."""
        size = max(0, min(size, self.h2.local_flow_control_window(stream_id) - 256))
        unsent = self.unsent.get(stream_id, b"")
        octets, self.unsent[stream_id] = unsent[:size], unsent[size:]
        ends = ends and not self.unsent[stream_id]
        self.h2.send_data(stream_id, octets, end_stream=ends, pad_length=pad)
        messages, self.unread[stream_id] = messages_in(self.unread.get(stream_id, b"") + octets)
        for flags, payload in messages:
            self.say(stream_id, (flags, payload))
        if ends:
            self.say(stream_id, ClientHalfClose() if self.side is Side.CLIENT else ServerTrailer(None))
            self.end(stream_id)


class Conversation:
    """Two speakers, and the tap between them with all the reads that it was given and the rows that it made of them."""

    def __init__(self) -> None:
        self.client, self.server = Speaker(Side.CLIENT), Speaker(Side.SERVER)
        self.calls: dict[int, int] = {}  # by stream: the number of the session
        self.ears = {side: Ear(side, self.calls) for side in Side}
        self.tap = recording_chat()
        self.reads: list[tuple[Side, bytes]] = []
        self.parts: Parts = {}
        self.rows: list[Row] = []

    def other(self, speaker: Speaker) -> Speaker:
        return self.server if speaker is self.client else self.client

    # What the client does

    def ask(self, pairs: Pairs = (), method: str = CHAT, content_type: str = GRPC[1], weight: int | None = None) -> int:
        stream_id: int = self.client.h2.get_next_available_stream_id()
        known = (("content-type", content_type), ("te", "trailers"), *pairs)
        request = [(":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "localhost:1")]
        self.client.h2.send_headers(stream_id, [*request, *encoded(known)], priority_weight=weight)
        self.client.begin(stream_id)
        if method == CHAT and content_type == GRPC[1]:
            self.calls[stream_id] = len(self.calls) + 1
            self.client.said[stream_id] = [ClientHeader(CHAT, Metadata(known), "localhost:1")]
            self.server.said[stream_id] = []
        return stream_id

    # What the server does

    def hint(self, stream_id: int) -> None:
        self.server.h2.send_headers(stream_id, [(":status", "103"), ("link", "x")])

    def answer(self, stream_id: int, pairs: Pairs = ()) -> None:
        self.server.h2.send_headers(stream_id, [(":status", "200"), *encoded((GRPC, *pairs))])
        self.server.idle.discard(stream_id)
        self.server.say(stream_id, ServerHeader(Metadata((GRPC, *pairs))))

    def refuse(self, stream_id: int, pairs: Pairs = ()) -> None:
        known = (GRPC, *pairs)
        status = (("grpc-status", "5"), ("grpc-message", "no%20such"))
        self.server.h2.send_headers(stream_id, [(":status", "200"), *encoded((*known, *status))], end_stream=True)
        self.server.end(stream_id)
        self.server.say(stream_id, ServerTrailer(Status(5, "no such"), Metadata(known), 200))

    def finish(self, stream_id: int, pairs: Pairs = ()) -> None:
        self.server.h2.send_headers(stream_id, encoded((("grpc-status", "0"), *pairs)), end_stream=True)
        self.server.end(stream_id)
        self.server.say(stream_id, ServerTrailer(Status(0), Metadata(pairs)))

    # What both do

    def reset(self, speaker: Speaker, stream_id: int, code: int) -> None:
        speaker.h2.reset_stream(stream_id, code)
        speaker.lose(stream_id)
        speaker.reset.add(stream_id)
        ended = any(isinstance(event, ServerTrailer) for event in speaker.said.get(stream_id, ()))
        is_client = speaker is self.client
        speaker.say(stream_id, Cancel(code) if is_client else RowKind.RESET_AFTER if ended else Reset(code))

    # What passes

    def greet(self) -> None:
        """Exchange SETTINGS: h2 takes the ACK of its first ones for that of all which it has sent until then."""
        self.deliver(self.client)
        self.deliver(self.server)
        self.deliver(self.client)

    def deliver(self, speaker: Speaker) -> None:
        """Let the other side have all that this one has written, and compare what it hears with what the tap says."""
        octets = speaker.h2.data_to_send()
        if not octets:
            return
        receiver = self.other(speaker)
        deaf = {self.calls[stream_id] for stream_id in receiver.reset if stream_id in self.calls}
        ended = {
            self.calls[stream_id] for stream_id, said in receiver.said.items() if said and isinstance(said[-1], ENDS)
        }
        heard: list[Row] = []
        for event in receiver.h2.receive_data(octets):
            heard += self.ears[speaker.side].rows(event)
            self._react(receiver, event)
        self.reads.append((speaker.side, octets))
        rows = taken(self.tap, self.reads[-1:], self.parts)
        assert (self.tap.fault, self.tap.foreign) == ("", "")
        assert [row for row in rows if is_heard(row, deaf, ended)] == [
            row for row in heard if is_heard(row, deaf, ended)
        ]
        self.rows += rows

    def conclude(self, goodbye: Side | None) -> None:
        """Deliver all that is left, and compare each lane with what was said on it."""
        for _ in range(3):  # what is written in answer to what is read, and in answer to that
            self.deliver(self.client)
            self.deliver(self.server)
        if goodbye is not None:
            speaker = self.client if goodbye is Side.CLIENT else self.server
            speaker.h2.close_connection(error_code=11, additional_data=b"too_many_pings", last_stream_id=1)
            self.deliver(speaker)
        for speaker in (self.client, self.server):
            said = {self.calls[stream_id]: events for stream_id, events in speaker.said.items()}
            assert lanes(self.rows, speaker.side, said) == said

    def _react(self, receiver: Speaker, event: h2.Event) -> None:
        match event:
            case h2.RequestReceived(stream_id=stream_id):
                receiver.begin(stream_id)
                receiver.idle.add(stream_id)
            case h2.DataReceived(stream_id=stream_id, flow_controlled_length=length) if length:
                receiver.h2.acknowledge_received_data(length, stream_id)
            case h2.SettingsAcknowledged():
                receiver.awaits_ack = False
            case h2.StreamEnded(stream_id=stream_id):
                receiver.hear_end(stream_id)
            case h2.StreamReset(stream_id=stream_id):
                receiver.lose(stream_id)


# What is heard


class Ear:
    """Makes rows of what h2 reports that `side` has sent."""

    def __init__(self, side: Side, calls: dict[int, int]) -> None:
        self.side = side
        self.calls = calls
        self.left: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def rows(self, event: h2.Event) -> Iterator[Row]:
        match event:
            case h2.RemoteSettingsChanged(changed_settings=changed):
                values = tuple((int(code), setting.new_value) for code, setting in changed.items())
                yield RowKind.SETTINGS, 7, Settings(5, self.side, values)
            case h2.ConnectionTerminated(error_code=code, last_stream_id=last, additional_data=debug):
                yield RowKind.GOAWAY, 7, GoAway(5, self.side, last, int(code), debug or b"")
            case h2.PingReceived() | h2.PingAckReceived() | h2.SettingsAcknowledged():
                pass
            case _ if event.stream_id in self.calls:
                yield from self._rows_of_call(self.calls[event.stream_id], event)

    def _rows_of_call(self, call: int, event: h2.Event) -> Iterator[Row]:
        from_client = self.side is Side.CLIENT
        match event:
            case h2.RequestReceived(stream_id=stream_id, headers=headers):
                said = dict(headers)
                header = ClientHeader(said[b":path"].decode(), metadata(headers), said[b":authority"].decode())
                yield RowKind.CLIENT_HEADER, call, header, 7, stream_id
            case h2.ResponseReceived(headers=headers, stream_ended=None):
                yield RowKind.SERVER_HEADER, call, ServerHeader(metadata(headers), int(dict(headers)[b":status"]))
            case h2.ResponseReceived(headers=headers):
                self.ended.add(call)
                yield RowKind.SERVER_TRAILER, call, trailer(headers, int(dict(headers)[b":status"]))
            case h2.TrailersReceived(headers=headers):
                self.ended.add(call)
                yield RowKind.SERVER_TRAILER, call, trailer(headers, None)
            case h2.DataReceived(data=octets):
                messages, self.left[call] = messages_in(self.left.get(call, b"") + octets)
                kind = RowKind.CLIENT_MESSAGE if from_client else RowKind.SERVER_MESSAGE
                yield from ((kind, call, flags, payload) for flags, payload in messages)
            case h2.StreamEnded() if from_client:
                yield RowKind.CLIENT_HALF_CLOSE, call, ClientHalfClose()
            case h2.StreamEnded() if call not in self.ended:
                self.ended.add(call)
                yield RowKind.SERVER_TRAILER, call, ServerTrailer(None)
            case h2.StreamReset(error_code=code) if from_client:
                yield RowKind.CANCEL, call, Cancel(int(code))
            case h2.StreamReset(error_code=code) if call in self.ended:
                yield RowKind.RESET_AFTER, call, int(code)
            case h2.StreamReset(error_code=code):
                yield RowKind.RESET, call, Reset(int(code))


ENDS = (ClientHalfClose, ServerTrailer)
RESET_BEHIND_AN_END = (RowKind.CANCEL, RowKind.RESET_AFTER)


def is_heard(row: Row, deaf: set[int], ended: set[int]) -> bool:
    """Tell whether h2 reports this: nothing of a stream that it has reset, no reset of one that both have ended."""
    kind, call = row[:2]
    return kind >= FIRST_OF_CONNECTION or not (call in deaf or (call in ended and kind in RESET_BEHIND_AN_END))


def encoded(pairs: Pairs) -> list[tuple[str, str | bytes]]:
    """Return metadata as it goes over the wire: bytes in base64 without padding, text in latin-1."""
    return [
        (name, base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1"))
        for name, value in pairs
    ]


def metadata(headers: Headers, *without: str) -> Metadata:
    pairs: list[tuple[str, str | bytes]] = []
    for raw_name, raw in headers:
        name = raw_name.decode()
        if name.endswith("-bin"):
            pairs.append((name, base64.b64decode(raw + b"=" * (-len(raw) % 4))))
        elif not name.startswith(":") and name not in without:
            pairs.append((name, raw.decode("latin-1")))
    return Metadata(tuple(pairs))


def trailer(headers: Headers, http_status: int | None) -> ServerTrailer:
    said = dict(headers)
    status = Status(int(said[b"grpc-status"]), unquote(said.get(b"grpc-message", b"").decode()))
    return ServerTrailer(status, metadata(headers, "grpc-status", "grpc-message"), http_status)


def messages_in(octets: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the messages that these bytes begin with, and the bytes behind them."""
    messages = []
    while len(octets) >= 5 and len(octets) >= (end := 5 + int.from_bytes(octets[1:5], "big")):
        messages.append((octets[0], octets[5:end]))
        octets = octets[end:]
    return messages, octets


def lanes(rows: Iterable[Row], side: Side, calls: Iterable[int]) -> dict[int, list[object]]:
    """Return what the rows say of one side of each call."""
    lanes: dict[int, list[object]] = {call: [] for call in calls}
    for row in rows:
        match row:
            case (RowKind.CLIENT_MESSAGE | RowKind.SERVER_MESSAGE as kind, call, flags, payload):
                if kind in OF_SIDE[side]:
                    lanes[call].append((flags, payload))
            case (RowKind.RESET_AFTER as kind, call, _):
                if kind in OF_SIDE[side]:
                    lanes[call].append(kind)
            case (kind, call, event, *_):
                if kind in OF_SIDE[side]:
                    lanes[call].append(event)
    return lanes


OF_SIDE = {
    Side.CLIENT: (RowKind.CLIENT_HEADER, RowKind.CLIENT_MESSAGE, RowKind.CLIENT_HALF_CLOSE, RowKind.CANCEL),
    Side.SERVER: (
        RowKind.SERVER_HEADER, RowKind.SERVER_MESSAGE, RowKind.SERVER_TRAILER, RowKind.RESET, RowKind.RESET_AFTER,
    ),
}  # fmt: skip


# Any conversation


@dataclass(frozen=True)
class Step:
    """Something to do next; `pick` chooses the stream, and what a step does not need it does not look at."""

    what: str
    pick: int
    pairs: Pairs
    size: int
    frame_size: int
    pad: int | None
    number: int


def take(talk: Conversation, step: Step) -> None:
    """Take a step, or none where it makes no sense."""
    client, server = talk.client, talk.server
    speaker = client if step.number % 2 else server
    match step.what:
        case "deliver":
            talk.deliver(speaker)
        case "ask":
            # h2 adds the priority to a frame that a long block has filled, and then finds it too long.
            talk.ask(step.pairs, weight=20 if step.pad and len(str(step.pairs)) < 4900 else None)
        case "ask for something else":
            talk.ask(step.pairs, *(NOT_RECORDED,) if step.number < 4 else (CHAT, "text/html"))
        case "ping":
            speaker.h2.ping(b"12345678")
        case "table" if not speaker.awaits_ack:
            # Never the same size twice: hpack forgets a change that it has not told when it is made again.
            sizes = [size for size in (0, 64, 4096, 65_536) if size != speaker.h2.local_settings.header_table_size]
            speaker.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: sizes[step.pick % 3]})
            speaker.awaits_ack = True
        case "hint" if server.idle:
            stream_id = picked(server.idle, step)
            talk.deliver(client)  # h2 cannot read an interim answer on a stream that it has reset
            if stream_id in server.idle:
                talk.hint(stream_id)
                talk.deliver(server)
        case "answer" if server.idle:
            talk.answer(picked(server.idle, step), step.pairs)
        case "refuse" if server.idle:
            talk.refuse(picked(server.idle, step), step.pairs)
        case "write" if sending := speaker.open - speaker.idle:
            stream_id = picked(sending, step)
            speaker.write(stream_id, step.size, step.number)
            speaker.send(stream_id, step.frame_size, step.pad, ends=False)
        case "send" if sending := speaker.open - speaker.idle:
            speaker.send(picked(sending, step), step.frame_size, step.pad, ends=False)
        case "end" if sending := speaker.open - speaker.idle:
            speaker.send(picked(sending, step), 16_000, step.pad, ends=True)
        case "finish" if sending := {each for each in server.open - server.idle if not server.unsent.get(each)}:
            talk.finish(picked(sending, step), step.pairs)
        case "reset" if speaker.alive:
            talk.reset(speaker, picked(speaker.alive, step), step.number)


def picked(streams: set[int], step: Step) -> int:
    return sorted(streams)[step.pick % len(streams)]


WHAT = {
    "deliver": 8, "ask": 3, "ask for something else": 1, "ping": 1, "table": 1, "hint": 1, "answer": 8, "refuse": 1,
    "write": 12, "send": 4, "end": 2, "finish": 2, "reset": 1,
}  # fmt: skip
"""How often each is drawn."""

STEPS = st.builds(
    Step,
    what=st.sampled_from([what for what, weight in WHAT.items() for _ in range(weight)]),
    pick=st.integers(0, 3),
    pairs=st.sampled_from(
        [
            (),
            (("grpc-timeout", "250m"), ("k", "2"), ("k", "1")),
            (("id-bin", b"\x00\xff"), ("id-bin", b""), ("k", "caf\xe9")),
            (("k", "1"), ("authorization", "Bearer sesame"), ("user-agent", "duplexmock")),
            (("long", "\xf9" * 4900),),  # 28 bits each: a block longer than a frame, an entry longer than the table
            *((((f"k{number}", "v" * 300)),) for number in range(20)),  # more than the table holds
        ]
    ),
    size=st.sampled_from((0, 1, 2, 7, 20, 100, 4091, 4096, 9000)),
    frame_size=st.sampled_from((0, 1, 3, 4, 5, 6, 9, 4096, 15_000, 15_000, 15_000, 15_000)),
    pad=st.sampled_from((None, None, None, 0, 1, 200)),
    number=st.integers(0, 8),
)


@examples(80)
@given(
    st.lists(STEPS, min_size=20, max_size=60),
    st.sampled_from((None, *Side)),
    st.lists(st.integers(1, 5000), max_size=30),
)
def test_the_tap_says_what_h2_hears_and_what_was_sent(
    steps: list[Step], goodbye: Side | None, sizes: list[int]
) -> None:
    talk = Conversation()
    talk.ask()
    talk.greet()
    for step in steps:
        take(talk, step)
    talk.conclude(goodbye)
    assert taken(recording_chat(), cut(talk.reads, sizes)) == talk.rows


def cut(reads: Iterable[tuple[Side, bytes]], sizes: Iterable[int]) -> Iterator[tuple[Side, bytes]]:
    """Cut the reads into pieces of these sizes, one after another; what is left when they are used up stays whole."""
    left = iter(sizes)
    for side, octets in reads:
        while octets:
            size = next(left, len(octets))
            yield side, octets[:size]
            octets = octets[size:]


# One rich conversation, cut everywhere


def rich() -> Conversation:
    """Return a conversation that has a little of everything, and is short."""
    talk = Conversation()
    client, server = talk.client, talk.server
    first = talk.ask((("grpc-timeout", "250m"), ("k", "2"), ("k", "1"), ("id-bin", b"\x00\xff")))
    second = talk.ask((("k", "2"),), weight=20)
    talk.ask(content_type="text/html")
    talk.greet()
    client.write(first, 2, 1)
    client.send(first, 3, None, ends=False)
    client.send(first, 4, 1, ends=False)
    talk.deliver(client)
    talk.hint(first)
    talk.answer(first, (("k", "caf\xe9"),))
    server.write(first, 0, 0)
    server.write(first, 5, 0)
    server.send(first, 12, None, ends=False)
    server.send(first, 3, 0, ends=False)
    client.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 64})
    talk.deliver(server)
    talk.deliver(client)
    talk.answer(second, (("k", "caf\xe9"),))
    server.write(second, 1, 0)
    server.send(second, 15_000, None, ends=False)
    talk.finish(second, (("details-bin", b"\x01"),))
    talk.reset(server, second, 0)
    client.send(second, 0, 2, ends=True)
    client.h2.ping(b"12345678")
    talk.deliver(server)
    talk.deliver(client)
    third = talk.ask((("k", "2"),))
    client.send(first, 0, None, ends=True)
    talk.deliver(client)
    talk.refuse(third, (("k", "caf\xe9"),))
    talk.finish(first)
    talk.reset(client, first, 8)
    talk.deliver(server)
    talk.reset(client, third, 8)
    talk.conclude(Side.SERVER)
    return talk


def test_the_rich_conversation_has_nearly_every_kind_of_row() -> None:
    assert {row[0] for row in rich().rows} == {
        RowKind.CLIENT_HEADER,
        RowKind.CLIENT_MESSAGE,
        RowKind.CLIENT_HALF_CLOSE,
        RowKind.CANCEL,
        RowKind.SERVER_HEADER,
        RowKind.SERVER_MESSAGE,
        RowKind.SERVER_TRAILER,
        RowKind.RESET_AFTER,
        RowKind.SETTINGS,
        RowKind.GOAWAY,
    }


def test_the_rows_of_the_rich_conversation_do_not_depend_on_where_it_is_cut() -> None:
    talk = rich()
    for number, (side, octets) in enumerate(talk.reads):
        for place in range(1, len(octets)):
            pieces = [(side, octets[:place]), (side, octets[place:])]
            reads = [*talk.reads[:number], *pieces, *talk.reads[number + 1 :]]
            assert taken(recording_chat(), reads) == talk.rows, (number, place)


def test_the_rows_of_the_rich_conversation_are_the_same_byte_by_byte() -> None:
    talk = rich()
    for size in (1, 2, 3, 5, 8, 13):
        total = sum(len(octets) for _, octets in talk.reads)
        assert taken(recording_chat(), cut(talk.reads, [size] * total)) == talk.rows
