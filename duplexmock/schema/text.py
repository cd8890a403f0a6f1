"""A reading in one line: `{sender: 'Client', message: 'Hi there! Message 0', timestamp: 1795348800}`.

Text and bytes stand as Python writes them, so that no control character, escape sequence or change of direction reaches
a terminal. A long value is cut in the middle and says by how much; a long message ends in `…`, its brackets closed. The
work done is in proportion to the line, not to the message.
"""

from __future__ import annotations

from collections.abc import Iterator

from duplexmock.schema.reader import Reading
from duplexmock.schema.tree import Deeper, Entries, Items, Key, Long, Name, Node, Unread, Word, tree

DEFAULT_LIMIT = 200
"""The characters a message may take: about two lines of a wide terminal."""


def line(reading: Reading, limit: int = DEFAULT_LIMIT) -> str:
    """Write a reading in one line of about `limit` characters: the brackets still to be closed come on top."""
    return node_line(tree(reading), limit)


def node_line(node: Node, limit: int = DEFAULT_LIMIT) -> str:
    """Write a part of a reading, as `line` writes all of it."""
    written: list[str] = []
    closing: list[str] = []
    room = limit
    for token in _tokens(node, limit // 2):
        room -= len(token)
        if room < 0 and token not in _CLOSING:
            written.append(", …" if token.startswith(", ") else "…")
            break
        written.append(token)
        if token in _OPENING:
            closing.append(_OPENING[token])
        elif token in _CLOSING:
            closing.pop()
    return "".join((*written, *reversed(closing)))


def quoted(value: str | bytes, limit: int) -> str:
    """Write text or bytes as Python does, in at most about `limit` characters: `'Hi th'… 4000 more …'age 0'`."""
    if len(value) <= limit and len(whole := repr(value)) <= limit:
        return whole
    kept = len(value) // 2 if len(value) <= limit else limit // 2
    while kept > 1 and len(repr(value[:kept])) + len(repr(value[-kept:])) > limit:
        kept -= max(1, kept // 8)
    if 2 * kept >= len(value) or not kept:
        return repr(value)  # so short that the cut would be longer
    return f"{value[:kept]!r}… {len(value) - 2 * kept} more …{value[-kept:]!r}"


def _tokens(node: Node, leaf_limit: int) -> Iterator[str]:
    match node:
        case Entries(pairs):
            yield "{"
            for position, (key, value) in enumerate(pairs):
                yield f"{', ' if position else ''}{_leaf(key, leaf_limit)}: "
                yield from _tokens(value, leaf_limit)
            yield "}"
        case Items(nodes):
            yield "["
            for position, value in enumerate(nodes):
                if position:
                    yield ", "
                yield from _tokens(value, leaf_limit)
            yield "]"
        case _:
            yield _leaf(node, leaf_limit)


def _leaf(leaf: Key, limit: int) -> str:
    match leaf:
        case None:
            return "null"
        case bool():
            return "true" if leaf else "false"
        case int() | float():
            return repr(leaf)
        case str() | bytes():
            return quoted(leaf, limit)
        case Unread(raw):
            return quoted(raw, limit)
        case Word(text) | Name(text):
            return text if text.isprintable() else repr(text)
        case Long(number):
            return str(number)
        case Deeper():
            return "{…}"
        case _:
            raise TypeError(f"{leaf!r} is no leaf")


_OPENING = {"{": "}", "[": "]"}
_CLOSING = tuple(_OPENING.values())
