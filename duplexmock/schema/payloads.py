"""Comparing payloads by what they mean: without their ignored fields, as messages where descriptors know them.

Payloads that differ in bytes agree where they do so without their ignored fields, or as messages (differences.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.message import Message

from duplexmock.core.events import Side
from duplexmock.core.matching import Difference
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.differences import Written, differences, whole
from duplexmock.schema.fieldpath import FieldPath, routes
from duplexmock.schema.reader import Reader
from duplexmock.schema.rewriting import without
from duplexmock.schema.selection import Selection
from duplexmock.schema.text import line


class Payloads:
    """Compares the payloads of any method, as `descriptors` say and without the `ignored` fields.

    One serves all calls of a play. Paths that lead nowhere by these descriptors ignore nothing; fieldpath.check tells.
    """

    def __init__(self, descriptors: Descriptors | None = None, ignored: Iterable[FieldPath] = ()) -> None:
        self._reader = Reader(descriptors) if descriptors is not None else Reader()
        self._by_number = Reader()
        self._ignored = Selection(routes(ignored, descriptors), descriptors)

    def differences(
        self, method: str, side: Side, expected: bytes, actual: bytes, codec: str = "proto"
    ) -> Iterator[Difference]:
        """Yield the differences of two decompressed payloads that `side` sends on `method`; none where they agree.

        What is not protobuf by its `codec` agrees where it is equal.
        """
        if expected == actual:
            return
        if codec == "proto":
            spot = self._ignored.of(method, side)
            if spot is not None:
                expected, actual = without(expected, spot), without(actual, spot)
                if expected == actual:
                    return
        yield from self._differences(method, side, expected, actual, codec)

    def written(self, method: str, side: Side, payload: bytes | str, codec: str = "proto") -> Written:
        """Write a decompressed payload as timelines do; what is text says why there is none, and stays as it is."""
        if isinstance(payload, str):
            return Written(payload)
        return Written(line(self._reader.read(method, side, payload, codec)))

    def _differences(self, method: str, side: Side, expected: bytes, actual: bytes, codec: str) -> Iterator[Difference]:
        wanted = self._reader.read(method, side, expected, codec)
        came = self._reader.read(method, side, actual, codec)
        if isinstance(wanted, Message) and isinstance(came, Message):
            if wanted != came:  # fast, but no NaN equals another
                yield from differences(wanted, came)
            return
        wanted = self._by_number.read(method, side, expected, codec)
        came = self._by_number.read(method, side, actual, codec)
        if isinstance(wanted, tuple) and isinstance(came, tuple):
            yield from differences(wanted, came)
        else:
            yield whole(wanted, came)
