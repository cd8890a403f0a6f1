"""The chat client: `python -m chat_app.client --target HOST:PORT`.

Prints a line for each message it writes (`>`) and reads (`<`), and last how the call ended. The exit code is 0 if it
ended with the status given by `--ends` (default OK) and 1 otherwise.
"""

import argparse
import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

if not __package__:  # run by its path, not as a module
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from chat_app.chat_pb2 import ChatMessage
from chat_app.chat_pb2_grpc import ChatServiceStub
from chat_app.lines import Show, said_by_client, said_by_server, silent, to_stdout


@dataclass(frozen=True, slots=True)
class Talk:
    """What the client says: `count` messages, a pause of `interval_s` seconds after each, then its half-close."""

    count: int = 3
    interval_s: float = 2.0
    deadline_s: float = 10.0
    clock: Callable[[], float] = time.time

    def message(self, number: int) -> ChatMessage:
        """The message with this number, from 0."""
        return ChatMessage(sender="Client", message=f"Hi there! Message {number}", timestamp=int(self.clock()))


@dataclass(frozen=True, slots=True)
class Heard:
    """What the client got: the server's messages, and the status the call ended with."""

    messages: tuple[ChatMessage, ...]
    status: grpc.StatusCode


async def chat(channel: grpc.aio.Channel, talk: Talk, show: Show = silent) -> Heard:
    """Say what `talk` holds, and at the same time read to the end."""
    call = ChatServiceStub(channel).Chat(timeout=talk.deadline_s)
    saying = asyncio.create_task(_say(call, talk, show))
    messages = []
    try:
        async for message in call:
            show(said_by_server(message))
            messages.append(message)
    except grpc.aio.AioRpcError:
        pass  # the call has a status other than OK, asked for below
    finally:
        saying.cancel()
    status = await call.code()
    show(f"ended: {status.name}")
    return Heard(tuple(messages), status)


async def _say(call: "grpc.aio.StreamStreamCall[ChatMessage, ChatMessage]", talk: Talk, show: Show) -> None:
    try:
        for number in range(talk.count):
            message = talk.message(number)
            show(said_by_client(message))
            await call.write(message)
            await asyncio.sleep(talk.interval_s)
        show("> half-close")
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass  # the call is over; its reader learns how


def chat_sync(channel: grpc.Channel, talk: Talk, show: Show = silent) -> Heard:
    """Do the same by grpc's synchronous API, which takes what is said from an iterator in a thread of its own."""
    over = threading.Event()

    def said() -> Iterator[ChatMessage]:
        for number in range(talk.count):
            message = talk.message(number)
            show(said_by_client(message))
            yield message
            if over.wait(talk.interval_s):
                return
        show("> half-close")

    call = ChatServiceStub(channel).Chat(said(), timeout=talk.deadline_s)
    messages = []
    try:
        for message in call:
            show(said_by_server(message))
            messages.append(message)
    except grpc.RpcError:
        pass  # the call has a status other than OK, asked for below
    finally:
        over.set()
    status = call.code()
    show(f"ended: {status.name}")
    return Heard(tuple(messages), status)


async def _dial(target: str, talk: Talk) -> Heard:
    async with grpc.aio.insecure_channel(target) as channel:
        return await chat(channel, talk, to_stdout)


def _dial_sync(target: str, talk: Talk) -> Heard:
    with grpc.insecure_channel(target) as channel:
        return chat_sync(channel, talk, to_stdout)


def main(arguments: list[str]) -> int:
    """Run the program; its exit code is returned."""
    parser = argparse.ArgumentParser(prog="chat_app.client", description="Chat over one duplex call: the client.")
    target = os.environ.get("DUPLEXMOCK_TARGET")
    parser.add_argument(
        "--target",
        default=target,
        required=target is None,
        metavar="ADDRESS",
        help="HOST:PORT or unix:/path; else the environment variable DUPLEXMOCK_TARGET",
    )
    parser.add_argument("--count", type=int, default=3, metavar="N", help="messages to write")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="after each message")
    parser.add_argument("--deadline", type=float, default=10.0, metavar="SECONDS", help="of the call")
    parser.add_argument("--timestamp", type=int, metavar="N", help="what each message carries; else the wall clock")
    statuses = [code.name for code in grpc.StatusCode]
    parser.add_argument("--ends", default="OK", choices=statuses, metavar="STATUS", help="makes the exit code 0")
    parser.add_argument("--sync", action="store_true", help="by grpc's synchronous API")
    options = parser.parse_args(arguments)

    clock = time.time if options.timestamp is None else lambda: options.timestamp
    talk = Talk(options.count, options.interval, options.deadline, clock)
    heard = _dial_sync(options.target, talk) if options.sync else asyncio.run(_dial(options.target, talk))
    return 0 if heard.status.name == options.ends else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
