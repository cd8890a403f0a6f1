"""What the chat programs print: a line for each thing said, `>` from the client and `<` from the server."""

import sys
from collections.abc import Callable

from chat_app.chat_pb2 import ChatMessage

Show = Callable[[str], object]
"""Is given one line, without its end."""


def said_by_client(message: ChatMessage) -> str:
    """`> [1795348800] Client: Hi there! Message 0`."""
    return f"> {_text(message)}"


def said_by_server(message: ChatMessage) -> str:
    """`< [1795348800] Server: Hello from the server!`."""
    return f"< {_text(message)}"


def to_stdout(line: str) -> None:
    """Print a line at once, also into a pipe, and whole: several threads may print."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def silent(line: str) -> None:
    """Print nothing."""


def _text(message: ChatMessage) -> str:
    return f"[{message.timestamp}] {message.sender}: {message.message}"
