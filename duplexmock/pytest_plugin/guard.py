"""The network guard: while it is armed, a gRPC channel opens to this machine and to allowed hosts only.

gRPC's core opens its sockets itself, so that what blocks Python's sockets does not see them. Every channel, however it
was asked for, is made by one of two classes; and the calls that name a target instead of a channel take theirs from one
cache, where it may have been since before the guard was armed. These three methods (`_PLACES`) are replaced while a
guard is armed: at once where grpc is loaded, else when it is. The classes are patched and not the names in `grpc`,
because a test may have imported those long ago. This is the only patch of foreign code in duplexmock.

A target is read as gRPC reads it (doc/naming.md of gRPC): `SCHEME:PATH` or `SCHEME://AUTHORITY/PATH`, without its
query, percent-decoded; what has no known scheme is a HOST or HOST:PORT for DNS.

    allowed as they are   127.0.0.0/8, ::1 with any zone, localhost; unix: and unix-abstract:
    every one counts      several addresses, `ipv4:10.0.0.1:1,10.0.0.2:2`; the DNS server of `dns://8.8.8.8/example.com`
    allowed by name only  what does not say where it leads: `xds:`, `google-c2p:`, `vsock:`
    not loopback          0.0.0.0 and ::, link-local addresses, names that only a resolver could tell
    never allowed         what names no host: an empty target, a URL

Not seen: channels that were open before (their stubs go on), other processes, an HTTP proxy that the environment puts
between a channel and its host, and what is not gRPC's core: grpclib opens Python's sockets.
"""

from __future__ import annotations

import functools
import importlib.util
import ipaddress
import re
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import unquote

from duplexmock.core.matching import named, shown
from duplexmock.errors import DuplexmockError, ScriptError


def arm(allowed_hosts: Sequence[str], where: Callable[[], str]) -> Callable[[], None]:
    """Block every gRPC channel that leads off this machine; return what disarms it.

    An allowed host is HOST or HOST:PORT, an IPv6 address with a port in brackets; in both parts `*` stands for anything
    and `?` for one character. What allows `xds:` and its like is a whole target. ScriptError if an entry is neither.

    `where` names the test. It is called when a channel is blocked, on the thread that opens it, and opening it raises
    ScriptError. Guards may be armed within guards: the one armed last decides for all threads. Disarming in any order,
    and twice, is well; the last one leaves nothing patched.
    """
    guard = _Guard(tuple(address for entry in allowed_hosts for address in _allowed(entry)), where)
    _PATCH.add(guard)
    return lambda: _PATCH.remove(guard)


def check_allowed(hosts: Sequence[str]) -> None:
    """Raise ScriptError where one of these is no allowed host."""
    for entry in hosts:
        _allowed(entry)


# Who may be dialled


class _Address(NamedTuple):
    """One host of a target, in lower case, and what follows its colon; a target without hosts is its own `host`."""

    host: str
    port: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.port and ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host


class _Guard:
    """The terms of one arming."""

    def __init__(self, allowed: tuple[_Address, ...], where: Callable[[], str]):
        self._allowed = allowed
        self._where = where

    def check(self, target: str) -> None:
        """Raise ScriptError unless all of a target may be dialled."""
        __tracebackhide__ = True
        for address in _addresses(re.split("[?#]", target, maxsplit=1)[0]):
            if _is_nameless(target, address):
                raise ScriptError(
                    f"{self._where()} opened a gRPC channel to {shown(target)}, which names no host. "
                    "A target is HOST:PORT, or a scheme that gRPC knows and what belongs to it."
                )
            if not _is_loopback(address.host) and not any(_fits(address, entry) for entry in self._allowed):
                raise ScriptError(
                    f"{self._where()} opened a gRPC channel to {shown(target)}, and {named(str(address))} is neither "
                    "loopback nor an allowed host. If the test is meant to reach it, add it to duplexmock_allow_hosts "
                    f"in pytest's ini file, or give --duplexmock-allow-hosts={shlex.quote(str(address))}."
                )


def _allowed(entry: str) -> tuple[_Address, ...]:
    addresses = _addresses(entry)
    if any(_is_nameless(entry, address) for address in addresses):
        raise ScriptError(
            f"allowed host {entry!r}: not HOST or HOST:PORT; leave the scheme and the path out, "
            "and write a range of addresses as 10.0.*"
        )
    return addresses


def _addresses(target: str) -> tuple[_Address, ...]:
    """Return every host that a target names: none for a unix socket, one without a name for an empty target."""
    scheme = _scheme(target)
    rest = target[len(scheme) + 1 :]
    if scheme in _UNIX:
        return ()
    if scheme in _UNTOLD:
        return (_Address(target.lower()),)
    if scheme not in _WITH_HOSTS:
        return (_address(unquote(target)),)
    authority, path = "", rest.removeprefix("/")
    if rest.startswith("//"):
        authority, _, path = rest[2:].partition("/")
    path = unquote(path)
    hosts = [path] if scheme == "dns" else path.split(",")
    return tuple(_address(text) for text in ([unquote(authority)] if authority else []) + hosts)


def _scheme(target: str) -> str:
    """Return what is before the colon, in lower case: grpcio 1.68 knows no other, newer ones take them as the same."""
    scheme, colon, _ = target.partition(":")
    return scheme.lower() if colon else ""


def _address(text: str) -> _Address:
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    known = _ip(host)
    return _Address(str(known) if known else host.lower(), port.lower())


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that a host is; ::ffff:127.0.0.1 is 127.0.0.1."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_nameless(target: str, address: _Address) -> bool:
    """Tell whether what stands where a host should is none: nothing, or the pieces of a URL."""
    return not address.host or (_scheme(target) not in _UNTOLD and "/" in str(address))


def _is_loopback(host: str) -> bool:
    address = _ip(host)
    return address.is_loopback if address else host == "localhost"


def _fits(actual: _Address, entry: _Address) -> bool:
    # gRPC dials 443 where a target names no port, with or without TLS.
    if entry.port and not fnmatchcase(actual.port or "443", entry.port):
        return False
    return actual.host == entry.host or fnmatchcase(actual.host, entry.host)


# The patch


class _Patch:
    """What stands in grpc's classes and in the import system while a guard is armed, and the guards that are."""

    def __init__(self) -> None:
        self._guards: tuple[_Guard, ...] = ()
        self._replaced: list[tuple[type, str, Any, Any]] = []
        self._finder = _Finder(self.patch)
        self._lock = threading.RLock()

    def add(self, guard: _Guard) -> None:
        with self._lock:
            self._guards = (*self._guards, guard)
            if self._finder not in sys.meta_path:
                sys.meta_path.insert(0, self._finder)
            try:
                for name in _PLACES:
                    if name in sys.modules:
                        self.patch(sys.modules[name])
            except BaseException:
                self.remove(guard)
                raise

    def remove(self, guard: _Guard) -> None:
        with self._lock:
            self._guards = tuple(each for each in self._guards if each is not guard)
            if self._guards:
                return
            if self._finder in sys.meta_path:
                sys.meta_path.remove(self._finder)
            while self._replaced:
                owner, method, original, ours = self._replaced.pop()
                # Who replaced it after us keeps what is theirs, and ours below it lets everything pass.
                if vars(owner).get(method) is ours:
                    setattr(owner, method, original)

    def patch(self, module: ModuleType) -> None:
        """Replace the method of a module that has been loaded, if a guard is still armed and it was not replaced."""
        with self._lock:
            if not self._guards:
                return
            class_name, method = _PLACES[module.__name__]
            owner = getattr(module, class_name, None)
            original = vars(owner).get(method) if isinstance(owner, type) else None
            if not isinstance(owner, type) or original is None:
                raise DuplexmockError(
                    f"the network guard finds no {module.__name__}.{class_name}.{method}: "
                    "grpc is being loaded on another thread, or this grpcio is one that duplexmock does not know"
                )
            if any(ours is original for _, _, _, ours in self._replaced):
                return
            ours = self._guarded(original)
            setattr(owner, method, ours)
            self._replaced.append((owner, method, original, ours))

    def _guarded(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def guarded(self_: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            guards = self._guards
            # What is neither text nor bytes is refused by grpc itself.
            if guards and isinstance(target, (str, bytes)):
                guards[-1].check(target if isinstance(target, str) else target.decode("utf-8", "replace"))
            return original(self_, target, *args, **kwargs)

        return guarded


class _Finder:
    """Stands first in sys.meta_path, and has what the others find of `_PLACES` patched when it has been loaded."""

    def __init__(self, loaded: Callable[[ModuleType], None]):
        self._loaded = loaded
        self._looking = threading.local()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec that the other finders make, with a loader that tells when it is done."""
        # The search comes by here again, from find_spec and from other hooks that ask the same way.
        if name not in _PLACES or getattr(self._looking, "name", None) == name:
            return None
        self._looking.name = name
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking.name = None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec, spec.loader, self._loaded)
        return spec


class _Loader(Loader):
    """Loads a module by its own loader, and puts that back in its place."""

    def __init__(self, spec: ModuleSpec, loader: Loader, loaded: Callable[[ModuleType], None]):
        self._spec = spec
        self._loader = loader
        self._loaded = loaded

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._loaded(module)


_UNIX = ("unix", "unix-abstract")
_WITH_HOSTS = ("dns", "ipv4", "ipv6")
_UNTOLD = ("xds", "google-c2p", "google-c2p-experimental", "vsock")
"""Schemes that gRPC knows: for this machine, for hosts that the target names, and for those that it does not name."""

_PLACES = {
    "grpc._channel": ("Channel", "__init__"),
    "grpc.aio._channel": ("Channel", "__init__"),
    "grpc._simple_stubs": ("ChannelCache", "get_channel"),
}
"""Where channels come from, in grpcio from 1.68 on: module, class, and the method that takes the target first."""

_PATCH = _Patch()
"""The one state of this module: a class is patched for the whole process, and so its guards are the process's too."""
