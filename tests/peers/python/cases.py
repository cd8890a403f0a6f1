"""The cases as both Python programs know them: the table, payloads, and what is printed of a call.

`saw` is a list of `["header", METADATA]`, `["message", TEXT]`, `["half-close"]`, `["cancel"]` and
`["status", NAME, DETAILS, METADATA]`. METADATA is what the case sent, `{key: [values]}`: keys that begin with `x-`,
binary values as hex. A payload of more than 64 bytes is shown by its size and hash.
"""

import argparse
import asyncio
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

PREFIX = "/duplexmock.test.Cases/"
NO_LIMITS = [
    ("grpc.max_metadata_size", 1 << 20),
    ("grpc.absolute_max_metadata_size", 1 << 20),
    ("grpc.max_receive_message_length", -1),
]

Metadata = dict[str, list[str]]
Saw = list[list[Any]]


def read_cases(path: str) -> dict[str, dict[str, Any]]:
    """The table, by name, in the file's order."""
    return {case["case"]: case for case in json.loads(Path(path).read_text(encoding="utf-8"))}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let gRPC's channel arguments be given by name."""
    parser.add_argument("--option", action="append", default=[], type=_option, metavar="NAME=VALUE")


def _option(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    return name, int(value)


def payload(written: str | dict[str, int]) -> bytes:
    """The bytes of a payload: a text, or `{"size": N}` for the letters a to z over and over."""
    if isinstance(written, str):
        return written.encode()
    letters = b"abcdefghijklmnopqrstuvwxyz"
    return (letters * (written["size"] // len(letters) + 1))[: written["size"]]


def pairs(written: list[list[Any]]) -> tuple[tuple[str, str | bytes], ...]:
    """Metadata as grpcio takes it."""
    return tuple(
        (key, bytes.fromhex(value) if key.endswith("-bin") else payload(value).decode()) for key, value in written
    )


def shown(message: bytes) -> str:
    """A payload as it is printed."""
    if len(message) <= 64:
        return message.decode()
    return f"{len(message)} bytes {hashlib.sha256(message).hexdigest()}"


def shown_metadata(pairs: Any) -> Metadata:
    """Metadata as it is printed; `pairs` of key and value, or None."""
    seen: Metadata = {}
    for key, value in pairs or ():
        if key.startswith("x-"):
            text = value.hex() if key.endswith("-bin") else shown(value.encode())
            seen.setdefault(key, []).append(text)
    return dict(sorted(seen.items()))


def print_saw(case: str, side: str, saw: Saw) -> None:
    """Print one call's line, at once."""
    json.dump({"case": case, "side": side, "saw": saw}, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


class Inbox:
    """The messages that have been read, and whether there can be more."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.ended = False
        self._changed = asyncio.Condition()

    async def put(self, message: bytes) -> None:
        async with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    async def end(self) -> None:
        async with self._changed:
            self.ended = True
            self._changed.notify_all()

    async def wait_count(self, count: int) -> None:
        """Wait for so many messages, or the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.ended or len(self.messages) >= count)

    async def wait_end(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.ended)
