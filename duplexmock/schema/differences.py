"""The differences of two readings of one message, with the paths that people read.

    timestamp: expected 1795348800, got 1795348801
    tags[2].name: expected 'x', got nothing
    labels['x']: expected GREEN, got RED
    3.1: expected 7, got 8

Messages are compared as what they mean: the order of a map, how repeated values are packed and which defaults are
written make no difference. A field without presence that is not there has its default. What the descriptors do not
know is compared by number.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Any

from google.protobuf.message import Message

from duplexmock.core.matching import WHOLE, Difference
from duplexmock.schema.reader import Reading
from duplexmock.schema.text import node_line
from duplexmock.schema.tree import Deeper, Entries, Items, Key, Long, Name, Node, Unread, Word, tree
from duplexmock.schema.wireformat import Field

MAX_DIFFERENCES = 20
"""The most that are told of one message; who reads twenty has seen what is wrong."""


class Written(str):
    """A value as timelines write it: `GREEN`, `{name: 'x'}`. Its repr has no quotes, for error texts; JSON has text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def differences(expected: Reading, actual: Reading) -> Iterator[Difference]:
    """Yield where two readings of the same kind differ, in the order of the fields, MAX_DIFFERENCES at most."""
    return islice(_every(expected, actual), MAX_DIFFERENCES)


def whole(expected: Reading, actual: Reading) -> Difference:
    """Return the difference that says both readings."""
    return Difference(WHOLE, _shown(tree(expected)), _shown(tree(actual)))


def _every(expected: Reading, actual: Reading) -> Iterator[Difference]:
    comparison = _Comparison()
    has_found = False
    for difference in comparison.nodes("", tree(expected), tree(actual)):
        has_found = True
        yield difference
    # A tree leaves out what is too deep, and by number it shows a varint and a fixed 7 alike.
    may_hide = comparison.has_stopped or isinstance(expected, tuple)
    if not has_found and may_hide and _settled(expected) != _settled(actual):
        yield whole(expected, actual)


class _Comparison:
    """Compares trees; `has_stopped` says that some messages were nested too deep to be compared."""

    def __init__(self) -> None:
        self.has_stopped = False

    def nodes(self, path: str, expected: Node, actual: Node) -> Iterator[Difference]:
        match expected, actual:
            case Entries(), Entries():
                yield from self._entries(path, expected, actual)
            case Items(nodes), Items(others):
                yield from self._items(path, zip_longest(nodes, others, fillvalue=_ABSENT))
            case Deeper(), Deeper():
                self.has_stopped = True
            case _ if not _is_same(expected, actual):
                yield Difference(path or WHOLE, _shown(expected), _shown(actual))

    def _items(self, path: str, pairs: Iterator[tuple[Any, Any]]) -> Iterator[Difference]:
        for position, (expected, actual) in enumerate(pairs):
            here = f"{path}[{position}]"
            if expected is _ABSENT or actual is _ABSENT:
                yield Difference(here, _shown_or_none(expected), _shown_or_none(actual))
            else:
                yield from self.nodes(here, expected, actual)

    def _entries(self, path: str, expected: Entries, actual: Entries) -> Iterator[Difference]:
        of_map = expected.is_map or actual.is_map
        wanted, came = _by_key(expected), _by_key(actual)
        for order in sorted(wanted.keys() | came.keys()):
            key, nodes = wanted.get(order) or came[order]
            here = _under(path, key, of_map)
            others = came[order][1] if order in came else []
            nodes = nodes if order in wanted else []
            if len(nodes) > 1 or len(others) > 1:  # a number that occurs more than once
                yield from self._items(here, zip_longest(nodes, others, fillvalue=_ABSENT))
            elif nodes and others:
                yield from self.nodes(here, nodes[0], others[0])
            else:
                absent = key.absent if isinstance(key, Name) else None
                values = [_shown(of_side[0]) if of_side else _default(absent) for of_side in (nodes, others)]
                if values[0] != values[1]:  # -0.0 is written, and is 0.0
                    yield Difference(here, *values)


Order = tuple[int, Any, str]


def _by_key(entries: Entries) -> dict[Order, tuple[Key, list[Node]]]:
    """Gather the nodes of each key; sorted, the keys are in field order."""
    found: dict[Order, tuple[Key, list[Node]]] = {}
    for key, node in entries.pairs:
        found.setdefault(_order(key), (key, []))[1].append(node)
    return found


def _order(key: Key) -> Order:
    match key:
        case Name(text, number):
            return 0, number, text
        case str():
            return 1, key, ""
        case bool() | int():
            return 0, key, ""
        case _:
            raise TypeError(f"{key!r} is no key")


def _under(path: str, key: Key, of_map: bool) -> str:
    match key:
        case Name(text):
            return f"{path}.{text}" if path else text
        case bool():
            return f"{path}[{'true' if key else 'false'}]"
        case int() if not of_map:
            return f"{path}.{key}" if path else str(key)
        case _:
            return f"{path}[{key!r}]"


def _is_same(expected: Node, actual: Node) -> bool:
    if type(expected) is not type(actual):
        return False
    if isinstance(expected, float) and expected != expected:
        return actual != actual  # one NaN is like the other
    return expected == actual


def _shown(node: Node) -> Any:
    match node:
        case None:
            return Written("null")
        case str() | bytes() | bool() | int() | float():
            return node
        case Long(number):
            return number
        case Unread(raw):
            return raw
        case Word() | Deeper() | Entries() | Items():
            return Written(node_line(node))
        case _:
            raise TypeError(f"{node!r} is no node")


def _shown_or_none(node: Any) -> Any:
    return None if node is _ABSENT else _shown(node)


def _default(absent: Any) -> Any:
    return None if absent is None else _shown(absent)


def _settled(reading: Reading) -> Any:
    """Return a message in one order of its fields and maps, as bytes or as fields."""
    match reading:
        case Message():
            return reading.SerializePartialToString(deterministic=True)
        case tuple():
            return _sorted(reading)
        case _:
            return reading


def _sorted(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    settled = [
        Field(field.number, _sorted(field.value) if isinstance(field.value, tuple) else field.value) for field in fields
    ]
    return tuple(sorted(settled, key=lambda field: field.number))


_ABSENT = object()
