"""The chat server: `python -m chat_app.server --listen 127.0.0.1:0 --kind push`.

Prints `listening on ADDRESS`, then a line for each message it reads (`>`) and writes (`<`). SIGTERM or SIGINT ends it:
no new calls, the open ones have `--grace` seconds to finish, exit code 0.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc.aio

if not __package__:  # run by its path, not as a module
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from chat_app.chat_pb2 import ChatMessage
from chat_app.chat_pb2_grpc import ChatServiceServicer, add_ChatServiceServicer_to_server
from chat_app.lines import Show, said_by_client, said_by_server, silent, to_stdout

Clock = Callable[[], float]


class ChatServicer(ChatServiceServicer):
    """Pushes a greeting every `interval_s` seconds, the first at once, while it reads what the client says.

    After `pushes` greetings it waits for the client's half-close and ends the call with OK. With None it goes on, also
    after the half-close, until the client cancels or its deadline comes.
    """

    def __init__(
        self,
        interval_s: float = 5.0,
        pushes: int | None = None,
        greeting: str = "Hello from the server!",
        *,
        clock: Clock = time.time,
        show: Show = silent,
    ) -> None:
        self._interval_s = interval_s
        self._pushes = pushes
        self._greeting = greeting
        self._clock = clock
        self._show = show

    async def Chat(
        self,
        request_iterator: AsyncIterator[ChatMessage],
        context: "grpc.aio.ServicerContext[ChatMessage, ChatMessage]",
    ) -> None:
        """Push and read at the same time; the call ends when both are done."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._read(request_iterator))
            both.create_task(self._push(context))

    async def _read(self, messages: AsyncIterator[ChatMessage]) -> None:
        async for message in messages:
            self._show(said_by_client(message))

    async def _push(self, context: "grpc.aio.ServicerContext[ChatMessage, ChatMessage]") -> None:
        pushed = 0
        while pushed != self._pushes:
            if pushed:
                await asyncio.sleep(self._interval_s)
            push = ChatMessage(sender="Server", message=self._greeting, timestamp=int(self._clock()))
            self._show(said_by_server(push))
            await context.write(push)
            pushed += 1


class AckServicer(ChatServiceServicer):
    """Answers each message with `ack: <its text>`, and ends the call with OK at the client's half-close."""

    def __init__(self, *, clock: Clock = time.time, show: Show = silent) -> None:
        self._clock = clock
        self._show = show

    async def Chat(
        self,
        request_iterator: AsyncIterator[ChatMessage],
        context: "grpc.aio.ServicerContext[ChatMessage, ChatMessage]",
    ) -> None:
        """Read one, write one."""
        async for message in request_iterator:
            self._show(said_by_client(message))
            ack = ChatMessage(sender="Server", message=f"ack: {message.message}", timestamp=int(self._clock()))
            self._show(said_by_server(ack))
            await context.write(ack)


async def serve(servicer: ChatServiceServicer, listen: str, grace_s: float, show: Show) -> None:
    """Serve until SIGTERM or SIGINT; `listen` is HOST:PORT, where port 0 takes a free one, or unix:/path."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])  # a taken port is an error, not shared
    add_ChatServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port(listen)
    await server.start()

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    host = listen.rpartition(":")[0]
    show(f"listening on {listen if listen.startswith('unix:') else f'{host}:{port}'}")
    await ended.wait()
    await server.stop(grace_s)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="chat_app.server", description="Chat over one duplex call: the server.")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="ADDRESS", help="HOST:PORT or unix:/path")
    parser.add_argument("--kind", choices=("push", "ack"), default="push", help="push at an interval, or acknowledge")
    parser.add_argument("--interval", type=float, default=5.0, metavar="SECONDS", help="between two pushes")
    parser.add_argument("--pushes", type=int, metavar="N", help="end after so many pushes; else at the deadline")
    parser.add_argument("--timestamp", type=int, metavar="N", help="what each message carries; else the wall clock")
    parser.add_argument("--grace", type=float, default=1.0, metavar="SECONDS", help="for open calls, at the end")
    options = parser.parse_args(arguments)

    clock = time.time if options.timestamp is None else lambda: options.timestamp
    servicer: ChatServiceServicer
    if options.kind == "push":
        servicer = ChatServicer(options.interval, options.pushes, clock=clock, show=to_stdout)
    else:
        servicer = AckServicer(clock=clock, show=to_stdout)
    asyncio.run(serve(servicer, options.listen, options.grace, to_stdout))


if __name__ == "__main__":
    main(sys.argv[1:])
