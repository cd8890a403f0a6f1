"""Addresses: what to dial and what to listen on, as `HOST:PORT` or `unix:/path`.

TLS will join here and nowhere else: which address has it, and with which certificates.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable

from duplexmock.core.value import value
from duplexmock.errors import ScriptError


@value
class Address:
    """A TCP address, or a unix socket where `path` is not empty. `str` is how people write it."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


LOOPBACK = Address("127.0.0.1", 0)


def parse(text: str, what: str) -> Address:
    """Read `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`; ScriptError, which begins with `what`, where it is none."""
    if not isinstance(text, str):
        raise ScriptError(f"{what} {text!r}: not HOST:PORT or unix:/path")
    if "\0" in text:
        raise ScriptError(f"{what} {text!r}: no address has a zero byte")
    scheme, separator, rest = text.partition(":")
    if scheme == "unix" and separator:
        path = rest[2:] if rest.startswith("///") else rest
        if not path:
            raise ScriptError(f"{what} {text!r}: no path behind 'unix:'")
        if not hasattr(socket, "AF_UNIX"):
            raise ScriptError(f"{what} {text!r}: this platform has no unix sockets; use HOST:PORT")
        return Address(path=path)
    if scheme in ("https", "grpcs"):
        raise ScriptError(f"{what} {text!r}: TLS is not supported yet; use the plaintext HOST:PORT")
    if "/" in text:
        raise ScriptError(f"{what} {text!r}: not HOST:PORT or unix:/path; leave the scheme and the path out")
    host, separator, port = text.rpartition(":")
    if not separator or not host:
        raise ScriptError(f"{what} {text!r}: not HOST:PORT or unix:/path")
    if not (port.isascii() and port.isdigit() and len(port) <= len(str(_MAX_PORT)) and int(port) <= _MAX_PORT):
        raise ScriptError(f"{what} {text!r}: the port {port!r} is not a number from 0 to {_MAX_PORT}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ScriptError(f"{what} {text!r}: an IPv6 address stands in brackets: [{host}]:{port}")
    try:
        if not _is_literal(host):
            host.encode("idna")  # as whoever looks it up does
    except UnicodeError as exc:
        raise ScriptError(f"{what} {text!r}: {host!r} is not the name of a host") from exc
    return Address(host, int(port))


def parse_target(text: str, what: str) -> Address:
    """Read an address to dial, which has a port."""
    address = parse(text, what)
    if not address.path and not address.port:
        raise ScriptError(f"{what} {text!r}: port 0 cannot be dialled")
    return address


async def connect(address: Address, protocol: Callable[[], asyncio.Protocol]) -> None:
    """Dial; OSError where nobody answers."""
    loop = asyncio.get_running_loop()
    if address.path:
        await loop.create_unix_connection(protocol, address.path)
    else:
        await loop.create_connection(protocol, address.host, address.port)


async def listen(address: Address, protocol: Callable[[], asyncio.Protocol]) -> tuple[asyncio.Server, Address]:
    """Bind, and return the server, which does not serve yet, and its address with the port it has got.

    ScriptError where the address is taken, or not one of this machine's.
    """
    loop = asyncio.get_running_loop()
    try:
        if address.path:
            _remove_stale(address.path)
            server = await loop.create_unix_server(protocol, address.path, start_serving=False)
            return server, address
        host = address.host
        if not address.port and not _is_literal(host):
            # A name may stand for several addresses, and each would get a port of its own.
            host = str((await loop.getaddrinfo(host, 0, type=socket.SOCK_STREAM))[0][4][0])
        server = await loop.create_server(protocol, host, address.port, start_serving=False)
    except OSError as exc:
        raise ScriptError(f"cannot listen on {address}: {reason(exc)}") from exc
    return server, Address(host, server.sockets[0].getsockname()[1])


async def is_ours(target: Address, listening: Address) -> bool:
    """Tell whether dialling `target` reaches whoever listens at `listening`, however the two are written."""
    if target.path or listening.path:
        return bool(target.path) and os.path.abspath(target.path) == os.path.abspath(listening.path)
    if target.port != listening.port:
        return False
    loop = asyncio.get_running_loop()
    hosts: list[set[str]] = []
    for host in (target.host, listening.host):
        try:
            found = await loop.getaddrinfo(host, target.port, type=socket.SOCK_STREAM)
        except OSError:
            return False
        hosts.append({str(each[4][0]) for each in found})
    dialled, ours = hosts
    return bool(dialled & ours) or (bool(ours & _ANY_HOST) and all(map(_is_loopback, dialled)))


def unlink(address: Address) -> None:
    """Remove the file of a unix socket that is no longer listened on; nothing else has one."""
    if address.path and os.path.exists(address.path) and stat.S_ISSOCK(os.stat(address.path).st_mode):
        os.unlink(address.path)


def reason(exc: OSError) -> str:
    """Return the system's words for what went wrong, without asyncio's list of attempts."""
    if isinstance(exc, socket.gaierror):
        return exc.strerror or str(exc)
    return os.strerror(exc.errno) if exc.errno else str(exc)


def _is_literal(host: str) -> bool:
    """Tell whether this is an address as it stands, which nobody has to be asked for."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False


def _remove_stale(path: str) -> None:
    """Remove the file of a unix socket that nobody listens on; OSError where somebody does, or it is another file."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(f"{path} exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # somebody who is too busy to accept is there as well
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise OSError("somebody else listens there")


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


_ANY_HOST = frozenset(("0.0.0.0", "::"))
_MAX_PORT = 65_535
