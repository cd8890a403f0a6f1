"""Plays the server of every case by grpc.aio: a JSON line for each call when it ends.

`cases_server.py --cases FILE --listen HOST:PORT [--option NAME=VALUE ...]`; which case a call belongs to is said by its
metadata, `case`. Options are gRPC's channel arguments.
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from cases import (
    NO_LIMITS,
    PREFIX,
    Inbox,
    Saw,
    add_options,
    pairs,
    payload,
    print_saw,
    read_cases,
    shown,
    shown_metadata,
)

STOP_GRACE_S = 60.0
"""For the calls that are open at a `stop`: far more than any needs."""


class Cases:
    """One handler for each of the four kinds of call; all of them `play`."""

    def __init__(self, cases: dict[str, dict[str, Any]], server: grpc.aio.Server) -> None:
        self._cases = cases
        self._server = server
        self._stopping: asyncio.Task[None] | None = None
        self._calls = 0
        self._begun = asyncio.Condition()

    async def bidi(self, requests: AsyncIterator[bytes], context: Any) -> None:
        await self._play(requests, context, context.write)

    async def server_stream(self, request: bytes, context: Any) -> None:
        await self._play(one(request), context, context.write)

    async def client_stream(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        replies: list[bytes] = []
        await self._play(requests, context, collect(replies))
        return b"".join(replies)

    async def unary(self, request: bytes, context: Any) -> bytes:
        replies: list[bytes] = []
        await self._play(one(request), context, collect(replies))
        return b"".join(replies)

    async def _play(self, requests: AsyncIterator[bytes], context: Any, send: Any) -> None:
        async with self._begun:
            self._calls += 1
            self._begun.notify_all()
        metadata = list(context.invocation_metadata())
        case = self._cases[dict(metadata)["case"]]
        if case.get("compress"):
            context.set_compression(grpc.Compression.Gzip)
        inbox = Inbox()
        reading = asyncio.create_task(read(requests, inbox))
        ending: Saw = []
        try:
            for step in case["server"]:
                await self._do(step, context, inbox, send, ending)
        except asyncio.CancelledError:
            ending.append(["cancel"])
            raise
        finally:
            reading.cancel()
            saw: Saw = [["message", shown(message)] for message in inbox.messages]
            if header := shown_metadata(metadata):
                saw.insert(0, ["header", header])
            print_saw(case["case"], "server", [*saw, *ending])

    async def _do(self, step: list[Any], context: Any, inbox: Inbox, send: Any, ending: Saw) -> None:
        match step:
            case ["header", metadata]:
                await context.send_initial_metadata(pairs(metadata))
            case ["send", written, *times]:
                for _ in range(*(times or [1])):
                    await send(payload(written))
            case ["await", count]:
                await inbox.wait_count(count)
            case ["await-calls", count]:
                async with self._begun:
                    await self._begun.wait_for(lambda: self._calls >= count)
            case ["stop"]:
                self._stopping = asyncio.create_task(self._server.stop(STOP_GRACE_S))
            case ["await-half-close"]:
                await inbox.wait_end()
                ending.append(["half-close"])
            case ["await-cancel"]:
                await asyncio.Event().wait()  # grpc.aio cancels the handler
            case ["status", "OK", *rest]:
                context.set_trailing_metadata(pairs(rest[1] if len(rest) > 1 else []))
            case ["status", name, details, *rest]:
                context.set_trailing_metadata(pairs(rest[0] if rest else []))
                context.set_code(grpc.StatusCode[name])
                context.set_details(details)
            case _:
                raise ValueError(f"no such step of a server: {step}")


async def one(request: bytes) -> AsyncIterator[bytes]:
    yield request


def collect(replies: list[bytes]) -> Any:
    async def send(reply: bytes) -> None:
        replies.append(reply)

    return send


async def read(requests: AsyncIterator[bytes], inbox: Inbox) -> None:
    async for request in requests:
        await inbox.put(request)
    await inbox.end()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", required=True)
    parser.add_argument("--listen", default="127.0.0.1:0")
    add_options(parser)
    options = parser.parse_args()
    server = grpc.aio.server(options=[*NO_LIMITS, *options.option])
    cases = Cases(read_cases(options.cases), server)
    methods = {
        "Bidi": grpc.stream_stream_rpc_method_handler(cases.bidi),
        "ClientStream": grpc.stream_unary_rpc_method_handler(cases.client_stream),
        "ServerStream": grpc.unary_stream_rpc_method_handler(cases.server_stream),
        "Unary": grpc.unary_unary_rpc_method_handler(cases.unary),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(PREFIX.strip("/"), methods),))
    port = server.add_insecure_port(options.listen)
    await server.start()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    print(f"listening on {options.listen.rpartition(':')[0]}:{port}", flush=True)
    await ended.wait()
    await server.stop(1.0)


if __name__ == "__main__":
    asyncio.run(main())
