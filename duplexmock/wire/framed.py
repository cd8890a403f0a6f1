"""Messages framed ahead of time: what a fixture's lane becomes once, before it is played many times.

The prefixes and payloads of a run of messages are joined to one string of bytes. To send any stretch of it costs one
slice and one frame head for every 16 KiB (bench: `push, framed ahead`), and a slice of a run shares its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from duplexmock.wire.messages import PREFIX


class Framed:
    """A run of messages, `(flags, payload)` each; `run[2:5]` is a run of three of them.

    `body[start:stop]` are its bytes, and message k of `first <= k < last` ends before `ends[k]`.
    """

    __slots__ = ("body", "ends", "first", "last", "start", "stop")

    def __init__(self, messages: Iterable[tuple[int, bytes]]) -> None:
        pack = PREFIX.pack
        bodies = [pack(flags, len(payload)) + payload for flags, payload in messages]
        self._set(b"".join(bodies), tuple(accumulate(map(len, bodies))), 0, len(bodies))

    @classmethod
    def alike(cls, payloads: Sequence[bytes], flags: int = 0) -> Framed:
        """Frame messages that all have the same flags; the quickest way."""
        return cls([(flags, payload) for payload in payloads])

    @classmethod
    def octets(cls, body: bytes) -> Framed:
        """Stand for bytes as they are, sent as DATA under flow control: half a message, or a prefix that lies."""
        run = cls.__new__(cls)
        run._set(body, (len(body),), 0, 1)
        return run

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, part: slice) -> Framed:
        first, last, step = part.indices(self.last - self.first)
        assert step == 1, "a run is contiguous"
        run = Framed.__new__(Framed)
        run._set(self.body, self.ends, self.first + first, self.first + max(first, last))
        return run

    def __repr__(self) -> str:
        return f"Framed({len(self)} messages, {self.stop - self.start} bytes)"

    def _set(self, body: bytes, ends: tuple[int, ...], first: int, last: int) -> None:
        self.body = body
        self.ends = ends
        self.first = first
        self.last = last
        self.start = ends[first - 1] if first else 0
        self.stop = ends[last - 1] if last else 0
