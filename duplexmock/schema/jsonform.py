"""A reading as JSON, by protobuf's own mapping (protobuf.dev, "ProtoJSON Format") with the names of the .proto file.

64-bit integers are strings, bytes are base64, enums their names. What was read by number has numbers for keys, a list
where a number occurs more than once, and `{"base64": …}` for bytes, to be told from text.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from duplexmock.schema.reader import Reading
from duplexmock.schema.tree import Deeper, Entries, Items, Key, Long, Name, Node, Unread, Word, tree

JSON = None | bool | int | float | str | list[Any] | dict[str, Any]


def to_json(reading: Reading) -> JSON:
    """Return a reading as values that `json.dumps` writes; messages nested too deep are null."""
    return _json(tree(reading))


def base64(raw: bytes) -> str:
    """Write bytes as protobuf's mapping does: standard base64 with padding."""
    return b64encode(raw).decode("ascii")


def _json(node: Node) -> JSON:
    match node:
        case Entries(pairs):
            return _object(pairs)
        case Items(nodes):
            return [_json(item) for item in nodes]
        case Unread(raw):
            return {"base64": base64(raw)}
        case Deeper():
            return None
        case Word(text):
            return text
        case Long(number):
            return str(number)
        case bytes():
            return base64(node)
        case float() if not math.isfinite(node):
            return _NOT_FINITE.get(node, "NaN")
        case None | bool() | int() | float() | str():
            return node
        case _:
            raise TypeError(f"{node!r} is no node")


def _object(pairs: Iterable[tuple[Key, Node]]) -> dict[str, JSON]:
    every: dict[str, list[JSON]] = {}
    for key, node in pairs:
        every.setdefault(_key(key), []).append(_json(node))
    return {key: values[0] if len(values) == 1 else values for key, values in every.items()}


def _key(key: Key) -> str:
    match key:
        case Name(text):
            return text
        case bool():
            return "true" if key else "false"
        case _:
            return str(key)


_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}
