"""Plays the client of cases by grpclib, one after the other on one connection: a JSON line for each.

`grpclib_cases_client.py --cases FILE --target HOST:PORT [--case NAME ...]`. grpclib knows no compression, and its
client reports how a call ended only if that was behind its own half-close: leave the other cases out.
"""

import argparse
import asyncio
import os
from typing import Any

from cases import PREFIX, Inbox, Saw, pairs, payload, print_saw, read_cases, shown, shown_metadata
from grpclib.client import Channel, Stream
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError
from grpclib_codec import Raw

LOCAL = (Status.CANCELLED, Status.DEADLINE_EXCEEDED)  # their details are each library's own


class Cancelled(Exception):
    """The case's client gives its call up; leaving the stream's block by an exception resets it."""


async def play(channel: Channel, case: dict[str, Any]) -> Saw:
    """Do what the case's client does, while reading all the time; return what was seen."""
    inbox = Inbox()
    name, details = "OK", ""
    stream: Any = channel.request(
        PREFIX + case["method"],
        _CARDINALITIES[case["method"]],
        bytes,
        bytes,
        timeout=case["deadline_ms"] / 1000 if "deadline_ms" in case else None,
        metadata=(("case", case["case"]), *pairs(case.get("metadata", []))),
    )
    try:
        async with stream:
            await stream.send_request()
            reading = asyncio.create_task(read(stream, inbox))
            try:
                for step in case["client"]:
                    await do(step, stream, inbox)
                await reading  # raises how the call ended
            finally:
                reading.cancel()
    except GRPCError as exc:
        name, details = exc.status.name, "" if exc.status in LOCAL else exc.message or ""
    except Cancelled:
        name = "CANCELLED"
    except TimeoutError:
        name = "DEADLINE_EXCEEDED"
    ending = ["status", name, details, shown_metadata((stream.trailing_metadata or {}).items())]
    saw: Saw = [["message", shown(message)] for message in inbox.messages]
    if header := shown_metadata((stream.initial_metadata or {}).items()):
        saw.insert(0, ["header", header])
    return [*saw, ending]


async def read(stream: "Stream[bytes, bytes]", inbox: Inbox) -> None:
    try:
        async for message in stream:
            await inbox.put(message)
    finally:
        await inbox.end()


async def do(step: list[Any], stream: Any, inbox: Inbox) -> None:
    match step:
        case ["send", written, *times]:
            for _ in range(*(times or [1])):
                await stream.send_message(payload(written))
        case ["half-close"]:
            await stream.end()
        case ["await", count]:
            await inbox.wait_count(count)
        case ["await-header"]:
            while stream.initial_metadata is None:  # its reader asks for it
                await asyncio.sleep(0)
        case ["cancel"]:
            raise Cancelled
        case _:
            raise ValueError(f"no such step of a client: {step}")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", required=True)
    parser.add_argument("--target", default=os.environ.get("DUPLEXMOCK_TARGET"))
    parser.add_argument("--case", action="append")
    options = parser.parse_args()
    cases = read_cases(options.cases)
    host, _, port = options.target.rpartition(":")
    async with Channel(host, int(port), codec=Raw()) as channel:
        for name in options.case or cases:
            print_saw(name, "client", await play(channel, cases[name]))


_CARDINALITIES = {
    "Bidi": Cardinality.STREAM_STREAM,
    "ClientStream": Cardinality.STREAM_UNARY,
    "ServerStream": Cardinality.UNARY_STREAM,
    "Unary": Cardinality.UNARY_UNARY,
}

if __name__ == "__main__":
    asyncio.run(main())
