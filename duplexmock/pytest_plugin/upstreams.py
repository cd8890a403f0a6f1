"""The live server that is recorded: what a test may give as `upstream`, and the address that it leads to.

    "localhost:50051", "unix:/run/chat.sock", 50051    a server that runs already
    "chat_server"                                      the fixture of this name; its value is any of these
    ["./server", "--listen", "{address}"]              a command; or as one text with spaces
    lambda server: add_ChatServicer_to_server(Chat(), server)    a grpc.aio server of its own, on a free port
    start_server                                       without arguments: returns an address or a context manager of it

A command finds where to listen in place of `{address}` or `{port}`, and in DUPLEXMOCK_LISTEN. It is ready when
somebody listens there, and is ended by SIGTERM. What is started here is stopped when the test is over. Servicers may be
asyncio or not.
"""

from __future__ import annotations

import inspect
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from typing import Any

from duplexmock.errors import ScriptError
from duplexmock.net import address
from duplexmock.net.background import Background

START_S = 10.0
"""How long a command may take until it listens."""

END_S = 5.0
"""How long a command may take to end."""


@contextmanager
def running(upstream: Any, fixture: Callable[[str], Any]) -> Iterator[str]:
    """Have an upstream run for the length of a block; yields its address. `fixture` returns the value of a fixture.

    ScriptError where it is nothing that leads to a server.
    """
    match upstream:
        case str() if not upstream.startswith("unix:") and len(words := shlex.split(upstream)) > 1:
            block = _command(words)
        case str() if ":" in upstream:
            yield str(address.parse_target(upstream, "upstream"))
            return
        case str() if upstream.isidentifier():
            value = fixture(upstream)
            if isinstance(value, str) and ":" not in value:
                raise ScriptError(f"upstream {upstream!r}: that fixture is {value!r}, which is no HOST:PORT")
            block = running(value, fixture)
        case bool():
            raise ScriptError(f"upstream {upstream!r}: {_FORMS}")
        case int():
            yield str(address.parse_target(f"127.0.0.1:{upstream}", "upstream"))
            return
        case [*words] if words and all(isinstance(word, str | os.PathLike) for word in words):
            block = _command([os.fspath(word) for word in words])
        case AbstractContextManager():
            block = _entered(upstream, fixture)
        case AbstractAsyncContextManager():
            block = _entered_in_background(upstream, fixture)
        case _ if callable(upstream):
            block = _served(upstream) if _takes_a_server(upstream) else running(upstream(), fixture)
        case _:
            raise ScriptError(f"upstream {upstream!r}: {_FORMS}")
    with block as target:
        yield target


@contextmanager
def _entered(block: AbstractContextManager[Any], fixture: Callable[[str], Any]) -> Iterator[str]:
    with block as value, running(value, fixture) as target:
        yield target


@contextmanager
def _entered_in_background(block: AbstractAsyncContextManager[Any], fixture: Callable[[str], Any]) -> Iterator[str]:
    background = Background("duplexmock-upstream")
    try:
        value = background.run(_enter(block))
        try:
            with running(value, fixture) as target:
                yield target
        finally:
            background.run(_leave(block))
    finally:
        background.close()


async def _enter(block: AbstractAsyncContextManager[Any]) -> Any:
    return await block.__aenter__()


async def _leave(block: AbstractAsyncContextManager[Any]) -> None:
    await block.__aexit__(None, None, None)


@contextmanager
def _served(add: Callable[[Any], object]) -> Iterator[str]:
    """Serve what is added to a server."""
    with _entered_in_background(_server(add), _no_fixture) as target:
        yield target


@asynccontextmanager
async def _server(add: Callable[[Any], object]) -> AsyncIterator[int]:
    import grpc.aio

    with ThreadPoolExecutor(thread_name_prefix="duplexmock-upstream") as pool:
        server = grpc.aio.server(pool, options=[("grpc.so_reuseport", 0)])
        add(server)
        port: int = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield port
        finally:
            await server.stop(_SERVER_GRACE_S)


def _no_fixture(name: str) -> Any:
    raise ScriptError(f"upstream {name!r}: {_FORMS}")


def _takes_a_server(function: Callable[..., Any]) -> bool:
    """Tell whether a function is to be given a server: it has a parameter without a default."""
    needed = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(needed) > 1:
        raise ScriptError(
            f"upstream {getattr(function, '__qualname__', function)}: "
            f"needs {', '.join(needed)}, and is given a server and nothing else; "
            "lambda server: add_..._to_server(YourServicer(), server)"
        )
    return bool(needed)


@contextmanager
def _command(words: Sequence[str]) -> Iterator[str]:
    """Run a command, and yield the address where it listens."""
    port = _free_port()
    target = f"127.0.0.1:{port}"
    command = [word.replace("{address}", target).replace("{port}", str(port)) for word in words]
    environment = {**os.environ, "DUPLEXMOCK_LISTEN": target}
    # A group of its own, so that what it starts ends with it: shells and `go run` pass no signals on.
    own_group: dict[str, Any] = {"process_group": 0} if hasattr(os, "killpg") else {}
    try:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, **own_group)
    except OSError as exc:
        raise ScriptError(f"upstream {command[0]}: {exc.strerror or exc}") from exc
    try:
        _wait_until_it_listens(process, command, port)
        yield target
    finally:
        _end(process)


def _wait_until_it_listens(process: subprocess.Popen[bytes], command: Sequence[str], port: int) -> None:
    until_s = time.monotonic() + START_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        code = process.poll()
        if code is not None:
            raise ScriptError(f"upstream {shlex.join(command)}: ended with code {code} before it listened on {port}")
        if time.monotonic() > until_s:
            raise ScriptError(
                f"upstream {shlex.join(command)}: does not listen on 127.0.0.1:{port} after {START_S:g} s; it is told "
                "to by {address} or {port} in the command, or by DUPLEXMOCK_LISTEN in its environment"
            )
        time.sleep(_LOOK_AGAIN_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_FORMS = (
    "not HOST:PORT or unix:/path, a port, the name of a fixture, a command as a list of words, "
    "or a function that adds servicers to the server it is given"
)
_LOOK_AGAIN_S = 0.02
_SERVER_GRACE_S = 1.0
