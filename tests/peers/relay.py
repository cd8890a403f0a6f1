"""A TCP relay on loopback that counts and hashes what it carries, to be put on each side of a proxy.

It never resets a connection and reads each side to its end, so that whatever the proxy writes is counted, also what a
peer that has gone no longer takes. It knows which HTTP/2 frames it has carried, and can be waited for.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.peers.frames import PREFACE, Frame, Frames

CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True, order=True)
class Carried:
    """What one connection carried each way: bytes and their SHA-256."""

    up_bytes: int
    up_hash: str
    down_bytes: int
    down_hash: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """The frames of one connection so far: what the client said, and what the server said."""

    client: tuple[Frame, ...]
    server: tuple[Frame, ...]


class Relay:
    """Listens on `address` and carries each connection to the target, `HOST:PORT`."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: list[_Connection] = []
        self._changed = threading.Condition()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def carried(self, within_s: float) -> list[Carried]:
        """Stop accepting, wait for the end of all connections, and return what they carried, sorted."""
        self._listener.shutdown(socket.SHUT_RDWR)  # ends accept
        self._accepting.join()
        self._listener.close()
        return sorted(connection.carried(within_s) for connection in self._connections)

    def spoken(self) -> list[Spoken]:
        """Return the frames of all connections, in the order in which they were made."""
        with self._changed:
            return [connection.spoken() for connection in self._connections]

    def wait(self, fact: Callable[[list[Spoken]], bool], within_s: float) -> None:
        """Wait until something is true of the frames; AssertionError if it does not become so."""
        with self._changed:
            found = self._changed.wait_for(lambda: fact([each.spoken() for each in self._connections]), within_s)
            assert found, f"not in {[each.spoken() for each in self._connections]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                for each in (near, far):  # as gRPC's libraries do: what is written is sent
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._changed:
                    self._connections.append(_Connection(near, far, self._changed))


class _Connection:
    def __init__(self, near: socket.socket, far: socket.socket, changed: threading.Condition) -> None:
        self._near, self._far = near, far
        self._up = _Pump(near, far, Frames(len(PREFACE)), changed)
        self._down = _Pump(far, near, Frames(0), changed)

    def spoken(self) -> Spoken:
        return Spoken(tuple(self._up.frames.seen), tuple(self._down.frames.seen))

    def carried(self, within_s: float) -> Carried:
        up, down = self._up.end(within_s), self._down.end(within_s)
        self._near.close()
        self._far.close()
        return Carried(*up, *down)


class _Pump:
    """Carries one direction to its end."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, frames: Frames, changed: threading.Condition
    ) -> None:
        self.frames = frames
        self._changed = changed
        self._bytes = 0
        self._hash = hashlib.sha256()
        self._thread = threading.Thread(target=self._run, args=(source, sink), daemon=True)
        self._thread.start()

    def end(self, within_s: float) -> tuple[int, str]:
        self._thread.join(within_s)
        assert not self._thread.is_alive(), "the connection is still open"
        return self._bytes, self._hash.hexdigest()

    def _run(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # reset by its peer: the end of what it says
            while chunk := source.recv(CHUNK_BYTES):
                self._bytes += len(chunk)
                self._hash.update(chunk)
                with suppress(OSError):  # its peer has gone: the rest is read all the same
                    sink.sendall(chunk)
                with self._changed:
                    self.frames.read(chunk)
                    self._changed.notify_all()
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
