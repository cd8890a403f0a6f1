"""A mock of Scripts, as one writes it with duplexmock: `python -m bench.answer_script` prints `listening on ADDRESS`.

It answers the echo of bench/answer_aio.py, and messages stay bytes there as here.
"""

from __future__ import annotations

import sys

import duplexmock
from bench.messages import CHAT
from duplexmock import Script, anything, header, repeat, server, turn


def echo(message: bytes) -> bytes:
    """Send back what came."""
    return message


CHATTING = Script(CHAT, server(header()), repeat(turn(anything, reply=echo)))


def serve() -> None:
    """Answer until standard input ends."""
    with duplexmock.serve(CHATTING) as mock:
        print(f"listening on {mock.target}", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve()
