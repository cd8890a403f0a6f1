"""Plays the client of cases by grpc.aio, one after the other on one connection: a JSON line for each.

`cases_client.py --cases FILE --target HOST:PORT [--case NAME ...]`
"""

import argparse
import asyncio
import os
from typing import Any

import grpc
import grpc.aio
from cases import METADATA_LIMIT, PREFIX, Inbox, Saw, pairs, payload, print_saw, read_cases, shown, shown_metadata

LOCAL = (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)  # their details are each library's own


async def play(channel: grpc.aio.Channel, case: dict[str, Any]) -> Saw:
    """Do what the case's client does, while reading all the time; return what was seen."""
    inbox = Inbox()
    call = start(channel, case)
    reading = asyncio.create_task(read(call, inbox))
    try:
        for step in case["client"]:
            await do(step, call, inbox)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass  # the call is over; its status says how
    await reading
    status = await call.code()
    details = "" if status in LOCAL else await call.details()
    saw: Saw = [["message", shown(message)] for message in inbox.messages]
    if header := shown_metadata(await call.initial_metadata()):
        saw.insert(0, ["header", header])
    return [*saw, ["status", status.name, details, shown_metadata(await call.trailing_metadata())]]


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


async def do(step: list[Any], call: Any, inbox: Inbox) -> None:
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
        case ["cancel"]:
            call.cancel()
        case _:
            raise ValueError(f"no such step of a client: {step}")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", required=True)
    parser.add_argument("--target", default=os.environ.get("DUPLEXMOCK_TARGET"))
    parser.add_argument("--case", action="append")
    options = parser.parse_args()
    cases = read_cases(options.cases)
    async with grpc.aio.insecure_channel(options.target, options=METADATA_LIMIT) as channel:
        await channel.channel_ready()
        for name in options.case or cases:
            print_saw(name, "client", await play(channel, cases[name]))


if __name__ == "__main__":
    asyncio.run(main())
