"""A mock of handlers, as one writes it with duplexmock: `python -m bench.answer_handler` prints `listening on ADDRESS`.

It answers what bench/answer_aio.py answers, and messages stay bytes there as here. What took place is kept as it is for
any mock.
"""

from __future__ import annotations

import sys

import duplexmock
from bench.messages import CHAT, PUSH, chat_message


@duplexmock.handler(CHAT)
async def chat(call: duplexmock.Call) -> None:
    """Send back what comes."""
    await call.send_header()
    async for message in call:
        await call.send(message)


@duplexmock.handler(PUSH)
async def push(call: duplexmock.Call) -> None:
    """Send as many messages as are asked for."""
    await call.send_header()
    message = chat_message(0)
    async for wanted in call:
        for _ in range(int.from_bytes(wanted, "big")):
            await call.send(message)


def serve() -> None:
    """Answer until standard input ends."""
    with duplexmock.serve(chat, push) as mock:
        print(f"listening on {mock.target}", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve()
