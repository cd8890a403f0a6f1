"""One end of an HTTP/2 connection that speaks gRPC, for either role: bytes in, rows out; events in, bytes out.

    endpoint = Endpoint(Side.SERVER)
    for stream_id, happened in endpoint.receive(chunk):     # runs of rows, one a call; stream 0 is the connection
        ...
        endpoint.send(stream_id, [ServerHeader(GRPC_ANSWER), Framed.alike(payloads), ServerTrailer(Status(0))])
    socket.write(endpoint.take())

It does no I/O, knows no clock and calls nobody back: the caller pulls. After each `receive`, `send` or any other call,
`take` returns what is to be written; whoever writes to a socket that is full does not take. Limits bound what waits.

**Rows** are those of core/rows.py, with the stream's identifier in the place of the call's number: plain tuples,
because a value a message costs as much as all the rest (bench: `endpoint, values`). `event_of` makes the values.

**Sending** is in order within a call. DATA waits for the peer's windows, and trailers, an empty half-close, Cancel and
Reset wait behind it. `reset` does not wait. `unsent_bytes` says how much does, and Drained when nothing does any more.
What the peer has said before it has seen our reset was said all the same, and is told.

**Windows.** With Granting.READ what the caller has received may be sent again, unless `hold` withholds it. With
Granting.STEP a peer may send nothing on a call but what `step` grants: the five bytes of a prefix, then the message
they announce. What it sends before it has seen our SETTINGS is taken, and `early` counts it.

**Faults on purpose.** Everything that the rules forbid is built with framing.py and written by `inject`: the endpoint
does not look at it, and goes by what it knew before. `Framed.octets` sends any bytes as DATA under flow control, and
`say_anyway` an event that may not come next, on a call that may have ended.

Follows RFC 9113 and gRPC's PROTOCOL-HTTP2. What a peer may cost is bounded by Limits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from duplexmock.core.call import NEXT, LaneState
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
    event_name,
)
from duplexmock.core.rows import Row
from duplexmock.core.status import ErrorCode
from duplexmock.errors import ProtocolError, ScriptError
from duplexmock.wire import framing
from duplexmock.wire.faults import ConnectionFault
from duplexmock.wire.fields import trailer_fields, trailers_only_fields
from duplexmock.wire.framed import Framed
from duplexmock.wire.frames import END_STREAM, HEAD_BYTES, PREFACE
from duplexmock.wire.happenings import Failed, GoAwayReceived, Happening
from duplexmock.wire.limits import DEFAULT_WINDOW_BYTES, Config
from duplexmock.wire.opening import foreign_client, foreign_server
from duplexmock.wire.receiver import Receiver
from duplexmock.wire.sender import Sender
from duplexmock.wire.settings import Setting
from duplexmock.wire.streams import Closed, LastWords, Stream, Streams

Group = tuple[int, Sequence[Row] | Sequence[Happening]]


class Endpoint:
    """One end of a connection, which plays `role`.

    `failed` is set once the peer has broken a rule that ends the connection.
    """

    def __init__(self, role: Side, config: Config | None = None) -> None:
        config = config or Config()
        self.role = role
        self.failed: Failed | None = None
        self._streams = Streams()
        self._sender = Sender(self._streams, config.limits)
        self._receiver = Receiver(role, config, self._streams, self._sender)
        self._message = ClientMessage if role is Side.CLIENT else ServerMessage
        self._preface = b"" if role is Side.CLIENT else PREFACE  # what is still missing of the peer's
        self._beginning: bytes | None = b"" if role is Side.CLIENT else None  # of a server, until it is known
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._next_id = 1
        self._settings = _settings(role, config, self._receiver.stream_window_bytes)
        self._settings_sent = 0
        if role is Side.CLIENT:
            self._sender.write(PREFACE)
        self.barrier()
        if config.connection_window_bytes > DEFAULT_WINDOW_BYTES:
            increment = config.connection_window_bytes - DEFAULT_WINDOW_BYTES
            self._sender.write(framing.window_update(0, increment))

    def receive(self, chunk: bytes) -> Sequence[Group]:
        """Read the next bytes of the peer; return what happened, by stream.

        A call's rows are in their order and a call has one group; the connection's happenings are the group of stream
        0, which comes last. Never raises for what a peer sends: a stream in error is reset and gives a DAMAGED row, a
        connection in error gives Failed, and whatever comes after that is ignored.
        """
        if self.failed:
            return []
        rows: list[Row] = []
        groups: list[tuple[int, list[Row]]] = []
        try:
            try:
                if self._preface:
                    chunk = self._read_preface(chunk)
                elif self._beginning is not None:
                    self._check_beginning(self._beginning + chunk[:HEAD_BYTES])
                self._receiver.read(chunk, rows)
            finally:
                groups = _grouped(rows)
            self._receiver.settle(groups)
        except ConnectionFault as fault:
            self._fail(fault.code, fault.reason)
        except ProtocolError as exc:
            self._fail(ErrorCode.PROTOCOL_ERROR, str(exc))
        if self._waiting:
            self._start_waiting()
        happened = self._receiver.happened
        if not happened:
            return groups
        self._receiver.happened = []
        return [*groups, (0, happened)]

    def take(self) -> bytes:
        """Return the bytes to be written now; empty where there are none."""
        return self._sender.take()

    def open(self, header: ClientHeader) -> int:
        """Open a call and return its stream; it waits while the peer allows no more calls at once.

        ProtocolError where the peer takes no more calls on this connection; ScriptError in the server's role.
        """
        if self.role is not Side.CLIENT:
            raise ScriptError("a server opens no calls")
        if self.failed or self._receiver.goaway_received:
            raise ProtocolError("the peer takes no more calls on this connection")
        stream_id = self._next_id
        self._next_id += 2
        stream = self._receiver.new_stream(stream_id)
        stream.ours = LaneState.OPEN
        self._waiting[stream_id] = _Waiting(stream, header)
        self._start_waiting()
        return stream_id

    def send(self, stream_id: int, events: Iterable[Event | Framed]) -> None:
        """Send the next events of our lane of a call; messages may come as values or as runs that are Framed.

        What does not fit the peer's windows waits. ScriptError for an event that may not come next (core/call.py) or
        a stream that was never open; what is sent to a call that has been reset is dropped.
        """
        stream = self._stream(stream_id)
        plain: list[tuple[int, bytes]] = []
        for event in events:
            if isinstance(event, self._message):
                self._check_open(stream)
                plain.append((event.flags, event.payload))
                continue
            if plain:
                stream.outbox.put(Framed(plain))
                plain = []
            if isinstance(event, Framed):
                self._check_open(stream)
                stream.outbox.put(event)
            else:
                self._say(stream, event)
        if plain:
            stream.outbox.put(Framed(plain))
        if not stream.is_open:
            stream.outbox.clear()
            stream.last_words = None
        elif stream_id not in self._waiting:
            self._sender.flush(stream)
            if not stream.is_open:
                self._closed(stream)

    def reset(self, stream_id: int, code: int) -> None:
        """Send RST_STREAM at once; what waits to be sent on the call is dropped. Nothing happens where it is closed."""
        stream = self._stream(stream_id)
        stream.ours = LaneState.ENDED
        if self._waiting.pop(stream_id, None) is not None:
            stream.is_open = False
        elif stream.is_open:
            self._sender.reset(stream, code)
            self._closed(stream)

    def unsent_bytes(self, stream_id: int) -> int:
        """Return how many bytes of messages wait for the peer's windows on a call."""
        return self._stream(stream_id).outbox.unsent_bytes

    def is_open(self, stream_id: int) -> bool:
        """Tell whether a call is open, or waits to be opened."""
        return stream_id in self._waiting or self._streams.is_open(stream_id)

    def hold(self, stream_id: int) -> None:
        """Give the peer no more window on a call until `release`; it may send what it has been given."""
        self._stream(stream_id).credit.held = True

    def release(self, stream_id: int) -> None:
        """Give the peer window on a call again, as much as it is owed."""
        stream = self._stream(stream_id)
        stream.credit.held = False
        self._receiver.credit(stream)

    def step(self, stream_id: int, messages: int = 1) -> None:
        """Let the peer send so many more messages on a call (Granting.STEP); one that came early is one of them."""
        stream = self._stream(stream_id)
        stream.granted += messages
        self._receiver.credit(stream)

    def early(self, stream_id: int) -> int:
        """Return how many messages of a call have come without being granted."""
        stream = self._stream(stream_id)
        return max(0, stream.arrived - stream.granted)

    def barrier(self) -> int:
        """Send our SETTINGS again, unchanged, and return their number.

        SettingsAcknowledged with that number says that the peer's transport has read all that was sent before. PING
        would say the same, but servers count pings and close the connection.
        """
        self._settings_sent += 1
        self._receiver.unacknowledged.append(self._settings_sent)
        self._sender.write(framing.settings(self._settings))
        return self._settings_sent

    def ping(self, opaque: bytes) -> None:
        """Send PING; PingAcknowledged has the same eight bytes."""
        self._sender.write(framing.ping(opaque))

    def goaway(self, code: int = ErrorCode.NO_ERROR, debug: bytes = b"", last_stream_id: int | None = None) -> int:
        """Take no more calls: those above `last_stream_id`, by default the newest, are ignored. Open ones go on.

        Returns the stream that was told to be the last.
        """
        last = self._last_of_peer() if last_stream_id is None else last_stream_id
        self._receiver.ignore_above = last
        self._sender.write(framing.goaway(last, code, debug))
        return last

    def inject(self, octets: bytes) -> None:
        """Write any bytes, unseen by the endpoint: for what a peer should never send."""
        self._sender.write(octets)

    def say_anyway(self, stream_id: int, event: Event) -> None:
        """Write an event at once, past what waits and past the windows, whatever has been said on the call.

        Where the call is open, an END_STREAM or a reset that is said so is one. Messages are counted against no window.
        """
        stream = self._stream(stream_id)
        is_first = stream.ours is LaneState.IDLE
        match event:
            case ClientMessage() | ServerMessage():
                self._sender.message_anyway(stream_id, event.payload, event.flags)
                return
            case ServerHeader():
                self._sender.initial_metadata(stream, event)
                stream.ours = LaneState.OPEN if is_first else stream.ours
                return
            case ServerTrailer():
                self._sender.trailers_anyway(stream, event, trailers_only_fields if is_first else trailer_fields)
            case ClientHalfClose():
                self._sender.write(framing.data(stream_id, b"", END_STREAM))
            case Cancel() | Reset():
                if not stream.is_open:
                    self._sender.write(framing.reset(stream_id, event.code))
                self.reset(stream_id, event.code)
                return
            case _:
                raise ScriptError(f"{event_name(event)} opens a call, and cannot be said on one")
        stream.ours = LaneState.HALF_CLOSED if isinstance(event, ClientHalfClose) else LaneState.ENDED
        stream.end_sent = True
        if stream.is_open and stream.end_received:
            self._sender.close(stream, Closed.ENDS)
            self._closed(stream)

    @property
    def open_streams(self) -> tuple[int, ...]:
        """Return the streams that are open, those that wait to be opened last."""
        return (*(stream.stream_id for stream in self._streams), *self._waiting)

    @property
    def wants_write(self) -> bool:
        """Tell whether `take` would return anything."""
        return self._sender.waits

    def _say(self, stream: Stream, event: Event) -> None:
        state = NEXT.get((stream.ours, type(event)))
        if state is None or isinstance(event, (ClientHeader, ClientMessage, ServerMessage)):
            raise ScriptError(f"{event_name(event)} on stream {stream.stream_id}, {self._standing(stream)}")
        was, stream.ours = stream.ours, state
        if not stream.is_open:
            return
        words = stream.last_words or LastWords()
        match event:
            case ServerHeader():
                self._sender.initial_metadata(stream, event)
                return
            case ClientHalfClose():
                words.ends = True
            case ServerTrailer():
                words.reset = event.reset_after
                if was is LaneState.IDLE:
                    words.trailer, words.spell = event, trailers_only_fields
                elif event.status is None and not event.metadata:
                    words.ends = True
                else:
                    words.trailer = event
            case Cancel() | Reset():
                words.reset = event.code
        stream.last_words = words

    def _check_open(self, stream: Stream) -> None:
        if stream.ours is not LaneState.OPEN:
            raise ScriptError(f"a message on stream {stream.stream_id}, {self._standing(stream)}")

    def _standing(self, stream: Stream) -> str:
        return f"where the {self.role.name.lower()}'s lane is {stream.ours.value}"

    def _stream(self, stream_id: int) -> Stream:
        stream = self._streams.get(stream_id)
        if stream is not None:
            return stream
        if stream_id in self._waiting:
            return self._waiting[stream_id].stream
        raise ScriptError(f"there is no stream {stream_id}, or it was closed long ago")

    def _closed(self, stream: Stream) -> None:
        self._receiver.forget(stream)
        if self._waiting:
            self._start_waiting()

    def _start_waiting(self) -> None:
        """Open the calls that wait, as far as the peer allows; none where it is going away."""
        if self.failed or self._receiver.goaway_received:
            self._give_up_waiting()
            return
        while self._waiting and len(self._streams) < self._sender.max_streams:
            _, waiting = self._waiting.popitem(last=False)
            stream = waiting.stream
            stream.window = self._sender.initial_window
            self._streams.open(stream)
            self._sender.request(stream, waiting.header)
            self._sender.flush(stream)

    def _give_up_waiting(self) -> None:
        happened = self._receiver.happened
        for position, happening in enumerate(happened):
            if isinstance(happening, GoAwayReceived):
                lost = (*happening.unprocessed, *self._waiting)
                happened[position] = GoAwayReceived(happening.last_stream_id, happening.code, happening.debug, lost)
                for waiting in self._waiting.values():
                    waiting.stream.is_open = False
                self._waiting.clear()

    def _check_beginning(self, beginning: bytes) -> None:
        """Fail where a server begins with what is not HTTP/2, whose first frame is SETTINGS (RFC 9113 section 3.4)."""
        spoken = foreign_server(beginning)
        if spoken in ("HTTP/1.1", "TLS"):  # what else it may be, its frames say better
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"it answers {spoken}, not HTTP/2")
        self._beginning = beginning if len(beginning) < HEAD_BYTES else None

    def _read_preface(self, chunk: bytes) -> bytes:
        beginning = chunk[: len(self._preface)]
        if not self._preface.startswith(beginning):
            spoken = foreign_client(chunk) or "not HTTP/2"
            text = f"the client's first bytes are not HTTP/2's preface, but {spoken}"
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, text.replace("but not", "and not"))
        self._preface = self._preface[len(beginning) :]
        return chunk[len(beginning) :]

    def _last_of_peer(self) -> int:
        return self._streams.last_id if self.role is Side.SERVER else 0

    def _fail(self, code: ErrorCode, reason: str) -> None:
        self.failed = Failed(code, reason)
        self._sender.write(framing.goaway(self._last_of_peer(), code, reason.encode("utf-8", "replace")))
        self._receiver.happened.append(self.failed)


class _Waiting:
    """A call that waits to be opened."""

    __slots__ = ("header", "stream")

    def __init__(self, stream: Stream, header: ClientHeader) -> None:
        self.stream = stream
        self.header = header


def _grouped(rows: list[Row]) -> list[tuple[int, list[Row]]]:
    """Put the rows of each call together, in the order in which the calls came up."""
    if not rows:
        return []
    first = rows[0][1]
    if rows[-1][1] == first and all(row[1] == first for row in rows):
        return [(first, rows)]
    groups: dict[int, list[Row]] = {}
    for row in rows:
        stream_id = row[1]
        if stream_id in groups:
            groups[stream_id].append(row)
        else:
            groups[stream_id] = [row]
    return list(groups.items())


def _settings(role: Side, config: Config, stream_window_bytes: int) -> tuple[tuple[int, int], ...]:
    first = (
        (Setting.ENABLE_PUSH, 0) if role is Side.CLIENT else (Setting.MAX_CONCURRENT_STREAMS, config.limits.max_streams)
    )
    return (
        first,
        (Setting.INITIAL_WINDOW_SIZE, stream_window_bytes),
        (Setting.MAX_HEADER_LIST_SIZE, config.limits.max_header_bytes),
    )
