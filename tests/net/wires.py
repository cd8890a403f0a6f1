"""Plain sockets on both sides of a recording proxy, for what no gRPC library does."""

from __future__ import annotations

import socket
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duplexmock
from duplexmock.net.record import RecordingProxy

LIMIT_S = 30.0
"""For anything to happen: a test that comes to it fails."""


@dataclass
class Wire:
    """A recording proxy, the listener behind it, and what was warned of once the block is left."""

    proxy: RecordingProxy
    listener: socket.socket
    warned: list[str]

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Return a client's socket and the server's that it got."""
        client = dialled(self.proxy.target)
        server, _ = self.listener.accept()
        server.settimeout(LIMIT_S)
        return client, server


@contextmanager
def wire(out: Path, *, listen: str = "127.0.0.1:0", upstream: str = "127.0.0.1:0", **options: Any) -> Iterator[Wire]:
    """Record what passes between sockets."""
    options = {"grace_s": 0} | options
    with listening(upstream) as (listener, address):
        with warning() as warned, duplexmock.record(address, out=out, listen=listen, **options) as proxy:
            yield Wire(proxy, listener, warned)


@contextmanager
def warning() -> Iterator[list[str]]:
    """Yield a list that has, behind the block, the texts of its RuntimeWarnings."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    texts += [str(each.message) for each in caught if each.category is RuntimeWarning]


@contextmanager
def listening(where: str = "127.0.0.1:0") -> Iterator[tuple[socket.socket, str]]:
    """Listen; yields the socket and its address."""
    if where.startswith("unix:"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(where.removeprefix("unix:"))
        listener.listen()
    else:
        host, _, port = where.rpartition(":")
        listener = socket.create_server((host, int(port)))
        where = f"{host}:{listener.getsockname()[1]}"
    listener.settimeout(LIMIT_S)
    with listener:
        yield listener, where


def dialled(where: str) -> socket.socket:
    """Return a socket that is connected to an address."""
    if where.startswith("unix:"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(LIMIT_S)
        client.connect(where.removeprefix("unix:"))
        return client
    host, _, port = where.rpartition(":")
    return socket.create_connection((host, int(port)), LIMIT_S)


def exactly(sock: socket.socket, size: int) -> bytes:
    """Read so many bytes; fewer at the end."""
    pieces = []
    while size and (piece := sock.recv(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def to_the_end(sock: socket.socket) -> bytes:
    """Read until the other side says no more."""
    return b"".join(iter(lambda: sock.recv(65_536), b""))


def reset(sock: socket.socket) -> None:
    """Close a connection by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
