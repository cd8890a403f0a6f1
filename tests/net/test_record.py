"""`duplexmock.record` as people use it: real gRPC clients and servers, synchronous and asyncio code."""

import asyncio
import gc
import math
import os
import signal
import socket
import threading
import warnings
from contextlib import suppress

import grpc
import grpc.aio
import pytest
from chat_app.chat_pb2 import ChatMessage
from chat_app.client import chat, chat_sync

import duplexmock
from duplexmock.core.events import (
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.session import Ended
from duplexmock.core.status import Status
from duplexmock.errors import FixtureError, ScriptError
from duplexmock.store.fixture import Fixture
from duplexmock.store.header import Expectations
from duplexmock.store.redact import is_redacted
from tests.net.chats import CHAT, called, channel, chatted, serving, talk
from tests.net.wires import LIMIT_S, warning
from tests.schema.protos import chat_file, set_of

CLIENT_LANE = [ClientHeader, ClientMessage, ClientMessage, ClientMessage, ClientHalfClose]
SERVER_LANE = [ServerHeader, ServerMessage, ServerMessage, ServerMessage, ServerTrailer]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "chat.duplex"


@pytest.fixture
def server():
    with serving() as address:
        yield address


def sessions(path):
    with Fixture.open(path) as fixture:
        assert fixture.complete
        return tuple(fixture.sessions())


def lanes(session):
    return [[type(event) for event in session.lane(side)] for side in Side]


def texts(heard):
    return [message.message for message in heard.messages], heard.status


ACKS = (["ack: Hi there! Message 0", "ack: Hi there! Message 1", "ack: Hi there! Message 2"], grpc.StatusCode.OK)


# Calls


def test_a_synchronous_client_is_recorded_and_does_not_notice(out, server):
    with duplexmock.record(server, out=out) as proxy:
        assert proxy.out == out
        assert texts(chatted(proxy.target)) == ACKS
    (session,) = sessions(out)
    assert (session.number, session.method, session.ended) == (1, CHAT, Ended.TRAILER)
    assert lanes(session) == [CLIENT_LANE, SERVER_LANE]
    assert [ChatMessage.FromString(event.payload).message for event in session.lane(Side.SERVER)[1:4]] == ACKS[0]
    assert session.entries[-1].event == ServerTrailer(Status(0))
    (finished,) = proxy.finished
    assert (finished.number, finished.method, finished.client_messages, finished.server_messages, finished.outcome) == (
        1,
        CHAT,
        3,
        3,
        "OK",
    )


def test_asyncio_code_records_with_async_with(out, server):
    async def main():
        async with duplexmock.record(server, out=out) as proxy:
            async with grpc.aio.insecure_channel(proxy.target) as dialled:
                return texts(await chat(dialled, talk()))

    assert asyncio.run(main()) == ACKS
    (session,) = sessions(out)
    assert lanes(session) == [CLIENT_LANE, SERVER_LANE]


def test_asyncio_code_may_use_the_plain_with(out, server):
    async def main():
        with duplexmock.record(server, out=out) as proxy:
            async with grpc.aio.insecure_channel(proxy.target) as dialled:
                return texts(await chat(dialled, talk()))

    assert asyncio.run(main()) == ACKS
    assert len(sessions(out)) == 1


def test_clients_at_the_same_time_and_one_after_another(out, server):
    def all_chat(target):
        threads = [threading.Thread(target=lambda: heard.append(texts(chatted(target)))) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    heard = []
    with duplexmock.record(server, out=out) as proxy:
        all_chat(proxy.target)
        with channel(proxy.target) as dialled:
            heard += [texts(chat_sync(dialled, talk())) for _ in range(3)]
    assert heard == [ACKS] * 8
    recorded = sessions(out)
    assert [session.number for session in recorded] == list(range(1, 9))
    assert [session.connection.number for session in recorded[5:]] == [6, 6, 6]
    assert [session.stream_id for session in recorded[5:]] == [1, 3, 5]
    assert all(lanes(session) == [CLIENT_LANE, SERVER_LANE] for session in recorded)


def test_unix_sockets_on_both_sides(tmp_path, out):
    with serving(listen=f"unix:{tmp_path}/server") as address:
        with duplexmock.record(address, out=out, listen=f"unix:{tmp_path}/proxy") as proxy:
            assert proxy.target == f"unix:{tmp_path}/proxy"
            assert texts(chatted(proxy.target)) == ACKS
    assert len(sessions(out)) == 1


def test_globs_choose_what_is_recorded_and_all_passes(out, server):
    with duplexmock.record(server, out=out, methods=["chat.*/Chat"]) as proxy:
        assert called(proxy.target, "/other.Service/Method") is grpc.StatusCode.UNIMPLEMENTED
        assert texts(chatted(proxy.target)) == ACKS
        recording = proxy._proxy.recording
    assert [session.method for session in sessions(out)] == [CHAT]
    assert recording.counts.passed_calls == 1


def test_an_upstream_that_is_not_there_is_unavailable_and_can_come(out, tmp_path):
    address = f"unix:{tmp_path}/late"
    with warning() as warned, duplexmock.record(address, out=out) as proxy:
        assert called(proxy.target, CHAT) is grpc.StatusCode.UNAVAILABLE
        with serving(listen=address):
            assert texts(chatted(proxy.target)) == ACKS
    assert warned == [f"{address} cannot be reached: No such file or directory; clients see UNAVAILABLE"]
    assert [session.ended for session in sessions(out)] == [Ended.TRAILER]


def test_a_server_that_dies_leaves_sessions_that_say_so(out):
    hanging = Hanging()
    with duplexmock.record(hanging.address, out=out) as proxy:
        with channel(proxy.target) as dialled:
            call = dialled.stream_stream(CHAT)(iter([]), timeout=LIMIT_S)
            hanging.die_at_a_call()
            with pytest.raises(grpc.RpcError) as caught:
                next(call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert [session.ended for session in sessions(out)] == [Ended.CONNECTION_LOST]
    assert [(one.outcome, one.client_messages) for one in proxy.finished] == [("connection lost", 0)]


class Hanging:
    """A server that takes a connection, and dies when a call has come."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def die_at_a_call(self):
        connection, _ = self._listener.accept()
        self._listener.close()
        with connection:
            connection.sendall(bytes.fromhex("000000 04 00 00000000"))  # SETTINGS
            heard = b""
            while b"ChatService" not in heard and b"\x00\x01\x04" not in heard[24:]:
                heard += connection.recv(65_536)


# Secrets


def test_secrets_are_nowhere(out, server):
    secrets = {
        "authorization": "Bearer sesame-1",
        "cookie": "sesame-2",
        "x-session": "sesame-3",
        "x-token-bin": b"sesame-4",
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with duplexmock.record(server, out=out, redact=["x-session", "X-Token-Bin"]) as proxy:
            for _ in range(2):
                assert called(proxy.target, "/a.B/C", list(secrets.items())) is grpc.StatusCode.UNIMPLEMENTED
    content = out.read_bytes()
    assert b"sesame" not in content
    assert b"c2VzYW1l" not in content  # the same in base64
    assert "sesame" not in repr((proxy.finished, [str(warning.message) for warning in caught]))
    first, second = ({key: session.header.metadata.first(key) for key in secrets} for session in sessions(out))
    assert first == second
    assert all(is_redacted(value) for value in first.values())
    assert len({str(value) for value in first.values()}) == 4


# The block


def test_an_exception_in_the_block_stays_the_one(out, server):
    def fail(heard):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), duplexmock.record(server, out=out) as proxy:
        fail(chatted(proxy.target))
    assert len(sessions(out)) == 1


@pytest.mark.parametrize("asynchronous", [False, True], ids=["with", "async with"])
def test_an_exception_stays_first_where_the_disk_is_full_and_warnings_are_errors(asynchronous):
    async def main():
        async with duplexmock.record("127.0.0.1:9", out="/dev/full"):
            raise KeyError("mine")

    def plainly():
        with duplexmock.record("127.0.0.1:9", out="/dev/full"):
            raise KeyError("mine")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyError, match="mine") as caught:
            asyncio.run(main()) if asynchronous else plainly()
    assert caught.value.__notes__ == [
        "duplexmock: /dev/full: No space left on device; recording stopped after 0 bytes, "
        "and the fixture is readable up to there. The conversation goes on."
    ]


def test_a_full_disk_is_an_error_behind_the_block_and_the_conversation_goes_on(server):
    failure = (
        "/dev/full: No space left on device; recording stopped after 0 bytes, and the fixture is readable up to there"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(FixtureError) as error, duplexmock.record(server, out="/dev/full") as proxy:
            assert texts(chatted(proxy.target)) == ACKS
    assert str(error.value) == failure
    assert [str(each.message) for each in caught if each.category is RuntimeWarning] == []  # it is said once


def test_a_file_that_is_there_is_refused_or_overwritten(out, server):
    out.write_text("precious")
    with pytest.raises(FixtureError) as caught, duplexmock.record(server, out=out):
        pytest.fail("the block is not entered")
    assert str(caught.value) == f"{out}: the file exists; overwrite it, or record to another one"
    assert out.read_text() == "precious"
    with duplexmock.record(server, out=str(out), overwrite=True) as proxy:
        chatted(proxy.target)
    assert len(sessions(out)) == 1


def test_a_file_that_another_recording_writes_is_refused(out, server):
    with duplexmock.record(server, out=out) as proxy:
        with pytest.raises(FixtureError) as caught, duplexmock.record(server, out=out, overwrite=True):
            pytest.fail("the block is not entered")
        assert texts(chatted(proxy.target)) == ACKS
    assert str(caught.value) == f"{out}: another recording is writing it"
    assert len(sessions(out)) == 1


def test_a_call_that_is_open_when_the_block_is_left_has_the_grace_to_end(out, server):
    with HalfClosesLate() as ends:
        with duplexmock.record(server, out=out, grace_s=LIMIT_S) as proxy:
            dialled = channel(proxy.target)
            call = dialled.stream_stream(CHAT)(ends.messages(), timeout=LIMIT_S)
            next(call)
            threading.Thread(target=ends.when_refused, args=(proxy.target, call)).start()
        with pytest.raises(StopIteration):
            next(call)
        dialled.close()
    (session,) = sessions(out)
    assert session.ended is Ended.TRAILER


class HalfClosesLate:
    """A client that says one message, and half-closes when nobody new is accepted."""

    def __init__(self):
        self._refused = threading.Event()
        self._over = threading.Event()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._refused.set()
        self._over.set()

    def messages(self):
        yield ChatMessage(message="one").SerializeToString()
        self._refused.wait(LIMIT_S)

    def never(self):
        yield ChatMessage(message="one").SerializeToString()
        self._over.wait(LIMIT_S)

    def when_refused(self, target, call):
        until_refused(target)
        self._refused.set()


def test_an_interrupt_ends_the_grace_and_the_fixture_is_complete(out, server):
    interrupted = threading.Event()

    def interrupt(number, frame):
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def when_refused():
        until_refused(proxy.target)
        # Python may miss a signal that comes just as a thread begins to wait: people press Ctrl-C again.
        while not interrupted.wait(0.05):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with HalfClosesLate() as ends:
            proxy = duplexmock.record(server, out=out, grace_s=LIMIT_S).__enter__()
            dialled = channel(proxy.target)
            call = dialled.stream_stream(CHAT)(ends.never(), timeout=LIMIT_S)
            next(call)
            interrupting = threading.Thread(target=when_refused)
            interrupting.start()
            with pytest.raises(KeyboardInterrupt):
                proxy.__exit__(None, None, None)
            interrupting.join()
    finally:
        signal.signal(signal.SIGINT, before)
    dialled.close()
    (session,) = sessions(out)
    assert session.ended is Ended.INCOMPLETE
    assert session.lane(Side.SERVER)[1:] != ()


def until_refused(target):
    host, _, port = target.rpartition(":")
    with suppress(OSError):
        while True:
            socket.create_connection((host, int(port))).close()


def test_without_grace_an_open_call_is_incomplete(out, server):
    never = threading.Event()

    def messages():
        yield ChatMessage(message="one").SerializeToString()
        never.wait(LIMIT_S)

    with duplexmock.record(server, out=out, grace_s=0) as proxy:
        dialled = channel(proxy.target)
        call = dialled.stream_stream(CHAT)(messages(), timeout=LIMIT_S)
        next(call)
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    never.set()
    dialled.close()
    (session,) = sessions(out)
    assert (session.ended, session.reason) == (Ended.INCOMPLETE, "the recording stops before the call's end")
    assert [
        type(entry.event) for entry in session.entries if isinstance(entry.event, ClientMessage | ServerMessage)
    ] == [
        ClientMessage,
        ServerMessage,
    ]


def test_the_fixture_carries_what_was_asked_for(tmp_path, out, server):
    described = tmp_path / "set.pb"
    described.write_bytes(set_of(chat_file()))
    with duplexmock.record(
        server,
        out=out,
        descriptors=described,
        ignore=["chat.ChatMessage.timestamp"],
        bind=[("a.id", "b.id")],
        expect="lanes",
        notes={"made for": "this"},
    ):
        pass
    with Fixture.open(out) as fixture:
        header = fixture.header
    assert header.upstream == server
    assert header.expectations == Expectations(("chat.ChatMessage.timestamp",), (("a.id", "b.id"),), "lanes")
    assert header.notes == {"made for": "this"}
    assert header.descriptors == set_of(chat_file())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"upstream": "localhost"}, "upstream 'localhost': not HOST:PORT or unix:/path"),
        ({"upstream": "localhost:0"}, "upstream 'localhost:0': port 0 cannot be dialled"),
        ({"listen": "here"}, "listen 'here': not HOST:PORT or unix:/path"),
        ({"grace_s": math.nan}, "grace nan: not a number of seconds, 0 or more"),
        ({"grace_s": math.inf}, "grace inf: not a number of seconds, 0 or more"),
        ({"grace_s": -1}, "grace -1: not a number of seconds, 0 or more"),
        ({"descriptors": "none.pb"}, "'none.pb': the descriptor set cannot be read: No such file or directory"),
        ({"redact": [":path"]}, "redact ':path': pseudo-headers are not metadata and cannot be redacted"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_and_leave_nothing(out, monkeypatch, arguments, sentence):
    monkeypatch.chdir(out.parent)
    threads = threading.active_count()
    with (
        pytest.raises(ScriptError) as caught,
        duplexmock.record(**{"upstream": "127.0.0.1:9", "out": out, **arguments}),
    ):
        pytest.fail("the block is not entered")
    assert str(caught.value) == sentence
    assert not out.exists()
    assert threading.active_count() == threads


def test_nothing_is_left_behind(out, server):
    chatted(server)  # grpc keeps threads of its own
    gc.collect()
    threads = {thread.name for thread in threading.enumerate()}
    files = open_files()
    with duplexmock.record(server, out=out) as proxy:
        pass
    with duplexmock.record(server, out=out, overwrite=True) as proxy:
        assert "duplexmock-record" in {thread.name for thread in threading.enumerate()}
    assert {thread.name for thread in threading.enumerate()} == threads
    assert open_files() <= files  # gRPC may be closing some of its own
    assert proxy.target


def open_files():
    return len(os.listdir("/proc/self/fd"))
