"""Asking a server's reflection for its descriptors, over a connection of its own.

It is grpcio's blocking client on a thread that asks: grpc.aio in a second event loop of a process makes the first one
log errors, and recording runs beside programs that use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc

from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.reflection import METHODS, Asking

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""The most that one response may be: servers send a file with all that it imports."""


async def ask(target: str, within_s: float) -> Descriptors | None:
    """Return the descriptors of the services that the server at `HOST:PORT` or `unix:/path` reflects.

    None where there is no such server, it has no reflection, or it does not answer within this time.
    """
    channel = grpc.insecure_channel(target, options=_OPTIONS)
    try:
        async with asyncio.timeout(within_s):
            return await asyncio.to_thread(_ask, channel, within_s)
    except TimeoutError:
        return None
    finally:
        channel.close()


def _ask(channel: Any, within_s: float) -> Descriptors | None:
    for method in METHODS:
        asking = Asking()
        try:
            _converse(channel, method, asking, within_s)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                continue
        return asking.descriptors()  # as far as it got: one answer may have been too long
    return None


def _converse(channel: Any, method: str, asking: Asking, within_s: float) -> None:
    requests: SimpleQueue[bytes | None] = SimpleQueue()
    requests.put(asking.next())
    call = channel.stream_stream(method)(_until_none(requests), timeout=within_s)
    try:
        for response in call:
            asking.answered(response)
            requests.put(asking.next())
    finally:
        requests.put(None)
        call.cancel()


def _until_none(requests: SimpleQueue[bytes | None]) -> Iterator[bytes]:
    while (request := requests.get()) is not None:
        yield request


_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
)
