"""A recording under way: numbers, counts, what is chosen, what is told, and what a full disk changes."""

import asyncio

import pytest

from duplexmock.core.connection import Closing
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    Reset,
    ServerHeader,
    ServerTrailer,
    Side,
)
from duplexmock.core.metadata import Metadata
from duplexmock.core.rows import RowKind
from duplexmock.core.session import Ended
from duplexmock.core.status import Status
from duplexmock.errors import FixtureError, ScriptError
from duplexmock.net.recording import Counts, Finished, Recording
from duplexmock.store.fixture import Fixture
from duplexmock.store.header import Expectations
from duplexmock.store.redact import DEFAULT_KEYS
from duplexmock.wire.tap import Tap
from tests.wire.talk import PREFACE, REQUEST, headers, settings

HEADER = ClientHeader("/a.B/C")
OK = ServerTrailer(Status(0))


class Kept:
    """A watcher that keeps what it is told."""

    def __init__(self):
        self.ended_sessions = []
        self.warnings = []

    def ended(self, session):
        self.ended_sessions.append(session)

    def warn(self, text):
        self.warnings.append(text)


def recorded(out, said, **options):
    """Run `said(recording)`, a function or coroutine, and finish; return the watcher and the counts."""
    watcher = Kept()

    async def run():
        recording = Recording(out, "127.0.0.1:50051", watcher, **options)
        result = said(recording)
        if asyncio.iscoroutine(result):
            await result
        await recording.finish()
        return recording

    recording = asyncio.run(run())
    return watcher, recording


def opened(recording, header=HEADER, at_ns=10):
    """Open a call on connection 1; return the session's number, or None."""
    number = recording.admit(header.method)
    if number is not None:
        recording.take(at_ns, [(RowKind.CLIENT_HEADER, number, header, 1, 2 * number - 1)])
    return number


@pytest.fixture
def out(tmp_path):
    return tmp_path / "x.duplex"


def test_connections_and_sessions_are_numbered_from_1_in_their_order(out):
    numbers = []

    def said(recording):
        numbers.extend(recording.connected(f"client {n}", "server") for n in range(3))
        numbers.extend(opened(recording) for _ in range(2))

    _, recording = recorded(out, said)
    assert numbers == [1, 2, 3, 1, 2]
    assert recording.counts == Counts(connections=3, sessions=2, ended_sessions=2)
    with Fixture.open(out) as fixture:
        assert [(c.number, c.client, c.server) for c in fixture.connections] == [
            (n, f"client {n - 1}", "server") for n in (1, 2, 3)
        ]
        assert [session.number for session in fixture.sessions()] == [1, 2]


@pytest.mark.parametrize(
    ("globs", "chosen"),
    [
        ((), ["/chat.ChatService/Chat", "/chat.ChatService/Room", "/other.S/Chat"]),
        (("/chat.ChatService/*",), ["/chat.ChatService/Chat", "/chat.ChatService/Room"]),
        (("chat.ChatService/Chat",), ["/chat.ChatService/Chat"]),
        (("*/Chat",), ["/chat.ChatService/Chat", "/other.S/Chat"]),
        (("*/Room", "other.*"), ["/chat.ChatService/Room", "/other.S/Chat"]),
        (("*/chat",), []),
    ],
)
def test_the_calls_that_are_not_chosen_pass_without_a_number(out, globs, chosen):
    methods = ["/chat.ChatService/Chat", "/chat.ChatService/Room", "/other.S/Chat"]

    def said(recording):
        recording.connected("c", "s")
        for method in methods:
            opened(recording, ClientHeader(method))

    _, recording = recorded(out, said, methods=globs)
    assert recording.counts.passed_calls == 3 - len(chosen)
    with Fixture.open(out) as fixture:
        assert [(session.number, session.method) for session in fixture.sessions()] == [*enumerate(chosen, start=1)]


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ((RowKind.SERVER_TRAILER, 1, OK), "OK"),
        ((RowKind.SERVER_TRAILER, 1, ServerTrailer(Status(5, "none"))), "NOT_FOUND"),
        ((RowKind.SERVER_TRAILER, 1, ServerTrailer(Status(42))), "code 42"),
        ((RowKind.SERVER_TRAILER, 1, ServerTrailer(None)), "no grpc-status"),
        ((RowKind.RESET, 1, Reset(2)), "reset by the server: INTERNAL_ERROR"),
        ((RowKind.CANCEL, 1, Cancel(8)), "cancelled by the client: CANCEL"),
        ((RowKind.DAMAGED, 1, "why"), "damaged: why"),
    ],
)
def test_a_session_that_has_ended_is_told_once_when_it_is_in_the_file(out, row, outcome):
    told = []

    async def said(recording):
        recording.connected("c", "s")
        opened(recording)
        recording.take(20, [(RowKind.CLIENT_MESSAGE, 1, 0, b"x"), (RowKind.CLIENT_MESSAGE, 1, 0, b"y")])
        recording.take(25, [(RowKind.SERVER_HEADER, 1, ServerHeader()), (RowKind.SERVER_MESSAGE, 1, 0, b"z")])
        recording.take(30, [row])
        recording.take(35, [(RowKind.CANCEL, 1, Cancel(0))] if row[0] == RowKind.SERVER_TRAILER else [])
        told.append(list(recording._watcher.ended_sessions))

    watcher, recording = recorded(out, said)
    assert told == [[]]
    assert watcher.ended_sessions == [Finished(1, "/a.B/C", 2, 1, outcome, 20)]
    assert watcher.warnings == []
    assert (recording.counts.client_messages, recording.counts.server_messages) == (2, 1)


def test_what_is_seen_is_in_the_file_soon_without_another_read(out):
    async def said(recording):
        recording.connected("c", "s")
        opened(recording)
        async with asyncio.timeout(30):
            while True:
                with Fixture.open(out) as fixture:
                    if len(fixture) == 1:
                        return
                await asyncio.sleep(0)

    recorded(out, said)


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        (Closing.CLOSED, Ended.CONNECTION_LOST),
        (Closing.RESET, Ended.CONNECTION_LOST),
        (Closing.STOPPED, Ended.INCOMPLETE),
    ],
)
def test_a_call_that_was_open_ends_with_its_connection(out, how, outcome):
    def said(recording):
        number = recording.connected("c", "s")
        tap = Tap(number, recording.admit)
        recording.take(10, tap.take(Side.CLIENT, PREFACE + settings() + headers(1, REQUEST), 10))
        recording.disconnected(number, tap, (), how, None)

    watcher, _ = recorded(out, said)
    (finished,) = watcher.ended_sessions
    assert (finished.number, finished.outcome) == (1, outcome.value)
    with Fixture.open(out) as fixture:
        assert [session.ended for session in fixture.sessions()] == [outcome]


def test_secrets_are_taken_out_before_anything_is_written(out):
    secret = Metadata((("authorization", "Bearer sesame"), ("x-mine", "sesame too"), ("k", "v")))

    def said(recording):
        recording.connected("c", "s")
        opened(recording, ClientHeader("/a.B/C", secret))
        recording.take(
            20,
            [
                (RowKind.CLIENT_HALF_CLOSE, 1, ClientHalfClose()),
                (RowKind.SERVER_HEADER, 1, ServerHeader(secret)),
                (RowKind.SERVER_TRAILER, 1, ServerTrailer(Status(0), secret)),
            ],
        )

    recorded(out, said, redact=("X-Mine",))
    assert b"sesame" not in out.read_bytes()
    with Fixture.open(out) as fixture:
        assert fixture.header.redacted_keys == tuple(sorted((*DEFAULT_KEYS, "x-mine")))
        values = {
            entry.event.metadata.pairs
            for entry in fixture.session(1).entries
            if not isinstance(entry.event, ClientHalfClose)
        }
    ((authorization, mine, other),) = values
    assert [authorization[0], mine[0], other] == ["authorization", "x-mine", ("k", "v")]


def test_the_header_says_what_was_asked_for(out):
    expectations = Expectations(("a.b",), (("c", "d"),), "strict")
    recorded(out, lambda recording: None, expectations=expectations, notes={"by": "me"}, descriptors=b"set")
    with Fixture.open(out) as fixture:
        header = fixture.header
    assert (header.upstream, header.descriptors) == ("127.0.0.1:50051", b"set")
    assert (header.expectations, header.notes) == (expectations, {"by": "me"})


def test_a_full_disk_is_warned_of_once(tmp_path):
    async def said(recording):
        recording.connected("c", "s")
        opened(recording)
        async with asyncio.timeout(30):
            while not recording._watcher.warnings:
                await asyncio.sleep(0)
        recording.take(20, [(RowKind.SERVER_TRAILER, 1, OK)])

    watcher, recording = recorded("/dev/full", said)
    failure = (
        "/dev/full: No space left on device; recording stopped after 0 bytes, and the fixture is readable up to there"
    )
    assert watcher.warnings == [f"{failure}. The conversation goes on."]
    assert recording.failure == failure
    assert [finished.number for finished in watcher.ended_sessions] == [1]


def test_what_cannot_be_is_refused_at_once(out):
    out.write_text("precious")
    with pytest.raises(FixtureError) as caught:
        recorded(out, lambda recording: None)
    assert str(caught.value) == f"{out}: the file exists; overwrite it, or record to another one"
    with pytest.raises(ScriptError) as refused:
        recorded(out, lambda recording: None, redact=("grpc-status",), if_exists="overwrite")
    assert str(refused.value) == "redact 'grpc-status': a recording cannot be read without it, and it holds no secret"
    assert out.read_text() == "precious"
