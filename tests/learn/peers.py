"""Peers that are learned from: a grpc.aio server of one method on a thread of its own, and ends played by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio

from duplexmock.net.background import Background
from tests.net.wires import LIMIT_S, listening
from tests.playbook import METHOD


@contextmanager
def answering(handle: Callable[[Any, Any], Any]) -> Iterator[str]:
    """Serve METHOD, bytes as they come; yields the address."""
    background = Background("a server")
    service, name = METHOD.removeprefix("/").split("/")

    async def start() -> tuple[Any, str]:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handler = grpc.stream_stream_rpc_method_handler(handle)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, f"127.0.0.1:{port}"

    try:
        server, target = background.run(start())
        try:
            yield target
        finally:
            background.run(server.stop(0))
    finally:
        background.close()


async def shouts(_: Any, context: Any) -> None:
    """Answer each message in capitals."""
    while (message := await context.read()) is not grpc.aio.EOF:
        await context.write(message.upper())


@contextmanager
def hand_made(play: Callable[[socket.socket], None]) -> Iterator[str]:
    """Let `play` be the server, on a thread of its own; yields the address."""
    with listening() as (listener, target), ThreadPoolExecutor() as threads:
        playing = threads.submit(play, listener)
        yield target
        playing.result(LIMIT_S)
