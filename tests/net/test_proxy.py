"""The proxy is a wire: bytes, ends, resets and back-pressure go through it as if it were not there."""

import asyncio
import hashlib
import os
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

import duplexmock
from duplexmock.core.connection import Closed, Closing, Settings
from duplexmock.core.events import Cancel, ClientHeader, ClientMessage, Side
from duplexmock.core.session import Ended
from duplexmock.errors import FixtureError, ScriptError
from duplexmock.net.address import Address
from duplexmock.net.proxy import Proxy
from duplexmock.net.recording import Recording
from duplexmock.store.fixture import Fixture
from duplexmock.wire.frames import PREFACE
from tests.net.wires import LIMIT_S, dialled, exactly, listening, reset, to_the_end, warning, wire
from tests.wire.talk import ANSWER, REQUEST, data, frame, headers, message, settings
from tests.wire.talk import reset as rst_stream

OPENING = PREFACE + settings() + headers(1, REQUEST)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "x.duplex"


def read(path):
    """The connections and the sessions of a fixture, which is complete."""
    with Fixture.open(path) as fixture:
        assert fixture.complete
        return fixture.connections, tuple(fixture.sessions())


def closing(path):
    """How the only connection of a fixture came to its end."""
    ((connection,), _) = read(path)
    return connection.closed.how, connection.closed.side, connection.closed.reason


# Bytes


@pytest.mark.parametrize("upstream", ["127.0.0.1:0", "unix"])
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "unix"])
def test_bytes_pass_both_ways_at_once_as_they_are(tmp_path, out, listen, upstream):
    places = {"listen": listen, "upstream": upstream}
    places = {name: f"unix:{tmp_path}/{name}" if place == "unix" else place for name, place in places.items()}
    sent = [random.Random(seed).randbytes(3_000_000) for seed in (1, 2)]

    def say(sock, content, seed):
        chosen, position = random.Random(seed), 0
        while position < len(content):
            size = chosen.choice((1, 13, 1000, 70_000, 300_000))
            sock.sendall(content[position : position + size])
            position += size
        sock.shutdown(socket.SHUT_WR)

    with wire(out, **places) as proxied, ThreadPoolExecutor() as pool:
        client, server = proxied.connect()
        with client, server:
            both = [pool.submit(say, client, sent[0], 3), pool.submit(say, server, sent[1], 4)]
            heard = [pool.submit(to_the_end, server), pool.submit(to_the_end, client)]
            assert [hashlib.sha256(each.result()).digest() for each in heard] == [
                hashlib.sha256(each).digest() for each in sent
            ]
            assert [each.result() for each in both] == [None, None]
    assert proxied.warned == ["connection 1 is not HTTP/2, not gRPC: passed on, and not recorded"]
    ((connection,), sessions) = read(out)
    assert sessions == ()
    if listen == "unix":
        assert connection.client == "unix:"
        assert not (tmp_path / "listen").exists()
    if upstream == "unix":
        assert connection.server == f"unix:{tmp_path}/upstream"


def test_ipv6_on_both_sides(out):
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("loopback has no IPv6 here")
    with listener:
        port = listener.getsockname()[1]
        with duplexmock.record(f"[::1]:{port}", out=out, listen="[::1]:0", grace_s=0) as proxy:
            host, _, chosen = proxy.target.rpartition(":")
            assert host == "[::1]"
            with socket.create_connection(("::1", int(chosen)), LIMIT_S) as client:
                server, _ = listener.accept()
                with server:
                    client.sendall(PREFACE)
                    assert exactly(server, len(PREFACE)) == PREFACE
    ((connection,), _) = read(out)
    assert connection.client.startswith("[::1]:")
    assert connection.server == f"[::1]:{port}"


def test_what_a_client_says_before_the_upstream_answers_is_not_lost(out):
    with wire(out) as proxied:
        with dialled(proxied.proxy.target) as client:
            client.sendall(OPENING)
            client.shutdown(socket.SHUT_WR)
            server, _ = proxied.listener.accept()
            with server:
                assert to_the_end(server) == OPENING


# Ends


def test_half_closed_connections_go_on_in_the_other_direction(out):
    with wire(out) as proxied:
        client, server = proxied.connect()
        with client, server:
            client.sendall(OPENING)
            client.shutdown(socket.SHUT_WR)
            assert to_the_end(server) == OPENING
            server.sendall(settings() + headers(1, ANSWER))
            server.shutdown(socket.SHUT_WR)
            assert to_the_end(client) == settings() + headers(1, ANSWER)
    assert closing(out) == (Closing.CLOSED, Side.CLIENT, "")


def test_a_server_may_say_its_last_word_first(out):
    with wire(out) as proxied:
        client, server = proxied.connect()
        with client, server:
            server.sendall(settings())
            server.shutdown(socket.SHUT_WR)
            assert to_the_end(client) == settings()
            client.sendall(OPENING)
            client.shutdown(socket.SHUT_WR)
            assert to_the_end(server) == OPENING
    assert closing(out) == (Closing.CLOSED, Side.SERVER, "")


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_is_passed_on_as_one(out, side):
    with wire(out) as proxied:
        client, server = proxied.connect()
        with client, server:
            client.sendall(OPENING)
            assert exactly(server, len(OPENING)) == OPENING
            first, second = (client, server) if side == "client" else (server, client)
            reset(first)
            with pytest.raises(ConnectionResetError):
                to_the_end(second)
    (connection,), (session,) = read(out)
    assert (connection.closed.how, connection.closed.side) == (Closing.RESET, Side[side.upper()])
    assert (session.ended, session.reason) == (Ended.CONNECTION_LOST, f"the connection was reset by the {side}")


def test_a_reset_behind_a_half_close_is_passed_on(out):
    with wire(out) as proxied:
        client, server = proxied.connect()
        with client, server:
            client.sendall(OPENING)
            client.shutdown(socket.SHUT_WR)
            assert to_the_end(server) == OPENING
            reset(server)
            with pytest.raises(ConnectionResetError):
                to_the_end(client)
    assert closing(out) == (Closing.RESET, Side.SERVER, "")


def test_a_call_that_was_open_when_the_server_died_is_lost_with_the_connection(out):
    with wire(out) as proxied:
        client, server = proxied.connect()
        with client:
            client.sendall(OPENING + data(1, message(b"hello")))
            with server:
                assert exactly(server, len(OPENING) + 19) == OPENING + data(1, message(b"hello"))
                server.sendall(settings())
            assert to_the_end(client) == settings()
        with dialled(proxied.proxy.target) as again:  # and it goes on serving
            again.sendall(PREFACE)
            second, _ = proxied.listener.accept()
            with second:
                assert exactly(second, len(PREFACE)) == PREFACE
    _, (session,) = read(out)
    assert [entry.event for entry in session.entries[1:]] == [ClientMessage(b"hello")]
    assert (session.ended, session.reason) == (Ended.CONNECTION_LOST, "the connection was closed by the server")
    assert [(one.number, one.outcome, one.client_messages) for one in proxied.proxy.finished] == [
        (1, "connection lost", 1)
    ]
    assert proxied.warned == []


def test_a_client_that_resets_its_stream_because_the_server_has_gone_did_not_cancel(out):
    with wire(out) as proxied:
        client, server = proxied.connect()
        with client, server:
            client.sendall(OPENING + headers(3, REQUEST))
            exactly(server, len(OPENING + headers(3, REQUEST)))
            client.sendall(rst_stream(3, 8))
            exactly(server, len(rst_stream(3, 8)))
            server.sendall(settings())
            server.shutdown(socket.SHUT_WR)
            assert to_the_end(client) == settings()
            client.sendall(data(1, message(b"late")) + rst_stream(1, 7))
            client.shutdown(socket.SHUT_WR)
            assert to_the_end(server) == data(1, message(b"late")) + rst_stream(1, 7)
    _, (session, before) = read(out)
    assert [entry.event for entry in session.entries[1:]] == [ClientMessage(b"late")]
    assert (session.ended, session.reason) == (Ended.CONNECTION_LOST, "the connection was closed by the server")
    assert before.ended is Ended.CANCELLED
    assert [(one.number, one.outcome) for one in proxied.proxy.finished] == [
        (2, "cancelled by the client: CANCEL"),
        (1, "connection lost"),
    ]


# An upstream that is not there


def test_an_upstream_that_refuses_is_told_once_and_tried_again(out):
    with listening() as (taken, address):
        taken.close()
        with warning() as warned, duplexmock.record(address, out=out, grace_s=0) as proxy:
            for _ in range(3):
                with dialled(proxy.target) as client:
                    assert to_the_end(client) == b""
            with listening(address) as (listener, _):
                with dialled(proxy.target) as client:
                    client.sendall(OPENING)
                    server, _ = listener.accept()
                    with server:
                        assert exactly(server, len(OPENING)) == OPENING
                    assert to_the_end(client) == b""
            for _ in range(2):
                with dialled(proxy.target) as client:
                    assert to_the_end(client) == b""
    sentence = f"{address} cannot be reached: Connection refused; clients see UNAVAILABLE"
    assert warned == [sentence, sentence]
    connections, sessions = read(out)
    assert [connection.closed.how for connection in connections] == [
        *[Closing.REFUSED] * 3,
        Closing.CLOSED,
        *[Closing.REFUSED] * 2,
    ]
    assert connections[0].closed.reason == "Connection refused"
    assert [session.ended for session in sessions] == [Ended.CONNECTION_LOST]


def test_a_unix_upstream_that_is_not_there_is_told(tmp_path, out):
    upstream = f"unix:{tmp_path}/none"
    with warning() as warned, duplexmock.record(upstream, out=out, grace_s=0) as proxy:
        with dialled(proxy.target) as client:
            assert to_the_end(client) == b""
    assert warned == [f"{upstream} cannot be reached: No such file or directory; clients see UNAVAILABLE"]


# What is not gRPC


@pytest.mark.parametrize(
    ("says", "hears", "what"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nup 1\n", "HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), b"\x16\x03\x03" + bytes(100), "TLS"),
        (b"\0" * 100, b"\xff" * 100, "not HTTP/2"),
    ],
    ids=["HTTP/1.1", "TLS", "other"],
)
def test_what_is_not_http_2_passes_and_is_told_in_one_line(out, says, hears, what):
    with wire(out) as proxied:
        for _ in range(2):
            client, server = proxied.connect()
            with client, server:
                client.sendall(says)
                assert exactly(server, len(says)) == says
                server.sendall(hears)
                assert exactly(client, len(hears)) == hears
                client.shutdown(socket.SHUT_WR)
                assert to_the_end(server) == b""
        recording = proxied.proxy._proxy.recording
    assert proxied.warned == [
        f"connection {number} is {what}, not gRPC: passed on, and not recorded" for number in (1, 2)
    ]
    assert (recording.counts.foreign, recording.counts.sessions) == (2, 0)
    assert (recording.counts.client_bytes, recording.counts.server_bytes) == (2 * len(says), 2 * len(hears))


def test_requests_over_http_2_that_are_not_grpc_are_counted(out):
    get = headers(1, ((":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")), 0x1)
    with wire(out) as proxied:
        client, server = proxied.connect()
        with client, server:
            client.sendall(PREFACE + settings() + get)
            assert exactly(server, len(PREFACE + settings() + get)) == PREFACE + settings() + get
        recording = proxied.proxy._proxy.recording
    assert (recording.counts.foreign_streams, recording.counts.foreign, recording.counts.sessions) == (1, 0, 0)
    assert proxied.warned == []


def test_bytes_that_cannot_be_read_damage_the_sessions_and_flow_on(out):
    bad = frame(4, 0, 0, b"12345")  # SETTINGS whose length is no multiple of six
    more = data(1, message(b"more")) + b"\xff" * 1000
    with wire(out) as proxied:
        client, server = proxied.connect()
        with client, server:
            client.sendall(OPENING + data(1, message(b"one")))
            client.sendall(bad + more)
            said = OPENING + data(1, message(b"one")) + bad + more
            assert exactly(server, len(said)) == said
            server.sendall(settings() + headers(1, ANSWER))
            assert exactly(client, len(settings() + headers(1, ANSWER))) == settings() + headers(1, ANSWER)
    _, (session,) = read(out)
    assert session.ended is Ended.DAMAGED
    assert [type(entry.event) for entry in session.entries] == [ClientHeader, ClientMessage]
    fault = session.reason
    assert fault.startswith("the client's bytes cannot be read: ")
    assert proxied.warned == [f"connection 1: {fault}; what was open is damaged, and the conversation goes on"]
    assert [(one.number, one.outcome) for one in proxied.proxy.finished] == [(1, f"damaged: {fault}")]


# Back-pressure


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_side_that_does_not_read_stops_the_other_from_being_read(out, side):
    content = random.Random(5).randbytes(32_000_000)
    with wire(out) as proxied, ThreadPoolExecutor() as pool:
        client, server = proxied.connect()
        with client, server:
            stalled, writing = (client, server) if side == "client" else (server, client)
            sent = pool.submit(writing.sendall, content)
            held = proxied.proxy._block._background.run(_full(proxied.proxy._proxy, Side[side.upper()]))
            assert not sent.done()
            assert held <= 256 * 1024  # asyncio's longest read
            assert exactly(stalled, len(content)) == content
            assert sent.result() is None
    assert proxied.warned == ["connection 1 is not HTTP/2, not gRPC: passed on, and not recorded"]


async def _full(proxy, side):
    """Wait until a side takes no more, and its other side is not read; return what is held for it."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            for link in proxy._links:
                end = link.client if side is Side.CLIENT else link.server
                transports = end.transport, end.other.transport
                if None not in transports and transports[0].get_write_buffer_size() and not transports[1].is_reading():
                    return transports[0].get_write_buffer_size()
            await asyncio.sleep(0)


def test_a_reset_while_the_other_side_stalls_comes_when_it_reads_on(out):
    content = random.Random(6).randbytes(32_000_000)
    with wire(out) as proxied, ThreadPoolExecutor() as pool:
        client, server = proxied.connect()
        with client, server:

            def say():
                with suppress(OSError):
                    client.sendall(content)

            saying = pool.submit(say)
            proxied.proxy._block._background.run(_full(proxied.proxy._proxy, Side.SERVER))
            client.shutdown(socket.SHUT_RDWR)
            saying.result()
            reset(client)
            heard = bytearray()
            with suppress(ConnectionResetError):
                while piece := server.recv(65_536):
                    heard += piece
            assert content.startswith(heard)


# Beginning and stopping


def test_the_end_of_the_recording_ends_the_connections(out):
    with wire(out) as proxied:
        client, server = proxied.connect()
        client.sendall(OPENING)
        assert exactly(server, len(OPENING)) == OPENING
    with client, server:
        assert to_the_end(client) == b""
        assert to_the_end(server) == b""
    (connection,), (session,) = read(out)
    assert connection.closed == Closed(connection.closed.at_ns, Closing.STOPPED, None, "the recording stopped")
    assert (session.ended, session.reason) == (Ended.INCOMPLETE, "the recording stops before the call's end")
    assert [type(entry) for entry in connection.settings] == [Settings]
    with pytest.raises(ConnectionRefusedError):
        dialled(proxied.proxy.target)


def test_open_calls_have_the_grace_to_end(out):
    with ThreadPoolExecutor() as pool:
        with wire(out, grace_s=LIMIT_S) as proxied:
            client, server = proxied.connect()
            client.sendall(OPENING)
            assert exactly(server, len(OPENING)) == OPENING
            proxied.proxy._block._background.run(_seen(proxied.proxy._proxy))

            def end_late():
                while True:  # until nobody is accepted any more
                    try:
                        dialled(proxied.proxy.target).close()
                    except OSError:
                        break
                client.sendall(rst_stream(1, 8))

            late = pool.submit(end_late)
        late.result()
    client.close()
    server.close()
    _, (session,) = read(out)
    assert session.entries[-1].event == Cancel(8)
    assert session.ended is Ended.CANCELLED


async def _seen(proxy):
    async with asyncio.timeout(LIMIT_S):
        while not proxy.open_calls:
            await asyncio.sleep(0)


def test_a_client_that_comes_while_the_proxy_stops_is_not_recorded(out):
    async def stop_while_one_comes():
        proxy = Proxy(Address("127.0.0.1", 9))
        await proxy.start(Address("127.0.0.1", 0), lambda: Recording(out, "x:1", Silent()))
        end = proxy._accepted()  # asyncio's call before connection_made
        await proxy.stop()
        near, far = socket.socketpair()
        far.settimeout(LIMIT_S)
        await asyncio.get_running_loop().create_connection(lambda: end, sock=near)
        with far:
            assert await asyncio.to_thread(far.recv, 1) == b""

    asyncio.run(stop_while_one_comes())
    assert read(out) == ((), ())


class Silent:
    def ended(self, session):
        pass

    def warn(self, text):
        pass


def test_clients_that_come_all_the_time_do_not_disturb_the_end(out):
    stopped = threading.Event()

    def come(target):
        while not stopped.is_set():
            with suppress(OSError), dialled(target) as client:
                client.sendall(PREFACE)

    def accept(listener):
        with suppress(OSError):
            while True:
                listener.accept()[0].close()

    with ThreadPoolExecutor() as pool:
        with wire(out) as proxied:
            accepting = pool.submit(accept, proxied.listener)
            coming = [pool.submit(come, proxied.proxy.target) for _ in range(2)]
            proxied.proxy._block._background.run(_after(proxied.proxy._proxy, 20))
            proxied.listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            assert accepting.result() is None
        stopped.set()
        assert [each.result() for each in coming] == [None, None]
    connections, sessions = read(out)
    assert [connection.number for connection in connections] == list(range(1, len(connections) + 1))
    assert sessions == ()


async def _after(proxy, connections):
    async with asyncio.timeout(LIMIT_S):
        while proxy.recording.counts.connections < connections:
            await asyncio.sleep(0)


def test_an_address_that_is_taken_makes_no_file(out):
    with listening() as (_, taken), listening() as (_, upstream):
        with pytest.raises(ScriptError) as caught, duplexmock.record(upstream, out=out, listen=taken):
            pass
        assert str(caught.value) == f"cannot listen on {taken}: Address already in use"
    assert not out.exists()


def test_the_upstreams_own_address_is_refused(out):
    with listening() as (_, upstream):
        with pytest.raises(ScriptError) as caught, duplexmock.record(upstream, out=out, listen=upstream):
            pass
        assert str(caught.value) == f"listen {upstream}: it is the upstream's own address"
    assert not out.exists()


def test_an_address_is_free_again_when_the_file_cannot_be_made(tmp_path, out):
    out.write_text("precious")
    listen = f"unix:{tmp_path}/s"
    with pytest.raises(FixtureError), duplexmock.record("127.0.0.1:9", out=out, listen=listen):
        pass
    assert not (tmp_path / "s").exists()


def test_nothing_is_left_behind(out):
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with wire(out) as proxied:
        for _ in range(5):
            client, server = proxied.connect()
            client.sendall(OPENING)
            exactly(server, len(OPENING))
            client.close()
            server.close()
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) <= files  # gRPC of other tests may be closing some of its own
