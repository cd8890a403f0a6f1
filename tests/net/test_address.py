"""Addresses: what people write, what is refused, what is listened on and what is left behind."""

import asyncio
import os
import socket

import pytest

from duplexmock.errors import ScriptError
from duplexmock.net import address
from duplexmock.net.address import Address, parse, parse_target


@pytest.mark.parametrize(
    ("text", "expected", "written"),
    [
        ("localhost:50051", Address("localhost", 50051), None),
        ("127.0.0.1:0", Address("127.0.0.1", 0), None),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535), None),
        ("[::1]:80", Address("::1", 80), None),
        ("bücher.example:1", Address("bücher.example", 1), None),
        ("unix:/run/chat.sock", Address(path="/run/chat.sock"), None),
        ("unix:chat.sock", Address(path="chat.sock"), None),
        ("unix:///run/chat.sock", Address(path="/run/chat.sock"), "unix:/run/chat.sock"),
    ],
)
def test_an_address_is_written_as_it_is_read(text, expected, written):
    assert parse(text, "UPSTREAM") == expected
    assert str(expected) == (written or text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not HOST:PORT or unix:/path"),
        ("localhost", "not HOST:PORT or unix:/path"),
        (":50051", "not HOST:PORT or unix:/path"),
        ("unix", "not HOST:PORT or unix:/path"),
        ("unix:", "no path behind 'unix:'"),
        ("localhost:", "the port '' is not a number from 0 to 65535"),
        ("localhost:http", "the port 'http' is not a number from 0 to 65535"),
        ("localhost:65536", "the port '65536' is not a number from 0 to 65535"),
        ("localhost:-1", "the port '-1' is not a number from 0 to 65535"),
        ("localhost:٣", "the port '٣' is not a number from 0 to 65535"),
        ("localhost:" + "1" * 5000, f"the port {'1' * 5000!r} is not a number from 0 to 65535"),
        ("::1:50051", "an IPv6 address stands in brackets: [::1]:50051"),
        ("http://localhost:50051", "not HOST:PORT or unix:/path; leave the scheme and the path out"),
        ("localhost:50051/path", "not HOST:PORT or unix:/path; leave the scheme and the path out"),
        ("https://localhost:443", "TLS is not supported yet; use the plaintext HOST:PORT"),
        ("grpcs:localhost:443", "TLS is not supported yet; use the plaintext HOST:PORT"),
        ("a..b:80", "'a..b' is not the name of a host"),
        ("x" * 64 + ":80", f"{'x' * 64!r} is not the name of a host"),
        ("a\0b:80", "no address has a zero byte"),
        ("unix:/a\0b", "no address has a zero byte"),
    ],
    ids=range(20),
)
def test_what_is_no_address_is_refused_with_the_reason(text, sentence):
    with pytest.raises(ScriptError) as caught:
        parse(text, "UPSTREAM")
    assert str(caught.value) == f"UPSTREAM {text!r}: {sentence}"


def test_a_target_has_a_port():
    assert parse_target("localhost:1", "upstream") == Address("localhost", 1)
    assert parse_target("unix:/x", "upstream") == Address(path="/x")
    with pytest.raises(ScriptError) as caught:
        parse_target("localhost:0", "upstream")
    assert str(caught.value) == "upstream 'localhost:0': port 0 cannot be dialled"


def listened(where):
    """Listen on an address, and close it again; return the address that was had."""

    async def listen():
        server, had = await address.listen(where, asyncio.Protocol)
        await server.start_serving()
        server.close()
        address.unlink(had)
        return had

    return asyncio.run(listen())


def refusal(where):
    with pytest.raises(ScriptError) as caught:
        listened(where)
    return str(caught.value)


def test_port_0_takes_a_free_one():
    had = listened(Address("127.0.0.1", 0))
    assert had.host == "127.0.0.1"
    assert 0 < had.port < 65536
    assert listened(Address("localhost", 0)).host in ("127.0.0.1", "::1")


def test_an_address_that_is_taken_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert refusal(Address("127.0.0.1", port)) == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_an_address_of_another_machine_is_refused():
    sentence = "cannot listen on 203.0.113.1:50051: Cannot assign requested address"
    assert refusal(Address("203.0.113.1", 50051)) == sentence


def test_a_unix_socket_leaves_no_file(tmp_path):
    path = tmp_path / "s"
    assert listened(Address(path=str(path))) == Address(path=str(path))
    assert not path.exists()


def test_the_file_of_a_socket_that_nobody_listens_on_is_replaced(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    assert os.path.exists(path)
    assert listened(Address(path=path)) == Address(path=path)


@pytest.mark.parametrize("backlog", ["has room", "is full"])
def test_a_unix_socket_that_somebody_listens_on_is_left_alone(tmp_path, backlog):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX):
        server.bind(path)
        server.listen(0)
        if backlog == "is full":
            one.connect(path)
        assert refusal(Address(path=path)) == f"cannot listen on unix:{path}: somebody else listens there"
        assert os.path.exists(path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    assert refusal(Address(path=str(path))) == f"cannot listen on unix:{path}: {path} exists and is not a socket"
    assert path.read_text() == "precious"
    address.unlink(Address(path=str(path)))
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_or_leads_nowhere_is_refused(tmp_path):
    long = str(tmp_path / ("x" * 200))
    assert refusal(Address(path=long)) == f"cannot listen on unix:{long}: AF_UNIX path too long"
    nowhere = str(tmp_path / "none" / "s")
    assert refusal(Address(path=nowhere)) == f"cannot listen on unix:{nowhere}: No such file or directory"


def test_the_reason_is_the_systems_word_for_it():
    assert address.reason(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)")) == "Connection refused"
    assert address.reason(OSError("Multiple exceptions: one, two")) == "Multiple exceptions: one, two"
    assert address.reason(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"
