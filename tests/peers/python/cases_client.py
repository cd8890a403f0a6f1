"""Plays the client of cases by grpc.aio: a JSON line for each.

`cases_client.py --cases FILE --target HOST:PORT [--case NAME ...] [--connections COUNT] [--option NAME=VALUE ...]`

They are played one after the other on one connection, or dealt to so many and all played at once. Options are gRPC's
channel arguments.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
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

LOCAL = (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)  # their details are each library's own
OF_ITS_OWN = ("grpc.use_local_subchannel_pool", 1)  # a connection; channels of one target share one else


async def play(channel: grpc.aio.Channel, case: dict[str, Any]) -> None:
    """Do what the case's client does, while reading all the time; print what was seen."""
    if case.get("opens_on_line"):
        await line()
    inbox = Inbox()
    call = start(channel, case)
    reading = asyncio.create_task(read(call, inbox))
    try:
        for step in case["client"]:
            await do(step, channel, call, inbox)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass  # the call is over; its status says how
    await reading
    status = await call.code()
    details = "" if status in LOCAL else await call.details()
    saw: Saw = [["message", shown(message)] for message in inbox.messages]
    if header := shown_metadata(await call.initial_metadata()):
        saw.insert(0, ["header", header])
    ending = ["status", status.name, details, shown_metadata(await call.trailing_metadata())]
    print_saw(case["case"], "client", [*saw, ending])


def start(channel: grpc.aio.Channel, case: dict[str, Any]) -> Any:
    kinds = {
        "Bidi": channel.stream_stream,
        "ClientStream": channel.stream_unary,
        "ServerStream": channel.unary_stream,
        "Unary": channel.unary_unary,
    }
    method = kinds[case["method"]](PREFIX + case["method"])
    request = [payload(case["client"][0][1])] if case["method"] in ("ServerStream", "Unary") else []
    return method(
        *request,
        metadata=(("case", case["case"]), *pairs(case.get("metadata", []))),
        timeout=case["deadline_ms"] / 1000 if "deadline_ms" in case else None,
        compression=grpc.Compression.Gzip if case.get("compress") else None,
    )


async def read(call: Any, inbox: Inbox) -> None:
    try:
        if hasattr(call, "__aiter__"):
            async for message in call:
                await inbox.put(message)
        else:
            await inbox.put(await call)
    except grpc.aio.AioRpcError:
        pass  # a status other than OK
    except asyncio.CancelledError:
        pass  # by the step below: grpc.aio raises it in the reader
    await inbox.end()


async def do(step: list[Any], channel: grpc.aio.Channel, call: Any, inbox: Inbox) -> None:
    match step:
        case ["send", written, *times]:
            if hasattr(call, "write"):
                for _ in range(*(times or [1])):
                    await call.write(payload(written))
        case ["half-close"]:
            if hasattr(call, "done_writing"):
                await call.done_writing()
        case ["await", count]:
            await inbox.wait_count(count)
        case ["await-header"]:
            await call.initial_metadata()
        case ["await-line"]:
            await line()
        case ["await-goaway"]:
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        case ["cancel"]:
            call.cancel()
        case _:
            raise ValueError(f"no such step of a client: {step}")


async def line() -> None:
    """Wait for a line on stdin."""
    await asyncio.to_thread(sys.stdin.readline)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", required=True)
    parser.add_argument("--target", default=os.environ.get("DUPLEXMOCK_TARGET"))
    parser.add_argument("--case", action="append")
    parser.add_argument("--connections", type=int)
    add_options(parser)
    options = parser.parse_args()
    cases = read_cases(options.cases)
    names = options.case or list(cases)
    arguments = [*NO_LIMITS, *options.option]
    if options.connections is None:
        async with connected(options.target, arguments) as channel:
            for name in names:
                await play(channel, cases[name])
        return
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as calls:
        for first in range(options.connections):
            channel = await stack.enter_async_context(connected(options.target, [*arguments, OF_ITS_OWN]))
            for name in names[first :: options.connections]:
                calls.create_task(play(channel, cases[name]))


@asynccontextmanager
async def connected(target: str, arguments: list[tuple[str, int]]) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(target, options=arguments) as channel:
        await channel.channel_ready()
        yield channel


if __name__ == "__main__":
    asyncio.run(main())
