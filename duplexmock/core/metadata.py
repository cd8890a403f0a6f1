"""Metadata: ordered pairs of a lower-case key and a value, as a call carries them in headers and trailers.

A value is text, or bytes where the key ends in `-bin` (PROTOCOL-HTTP2, "Custom-Metadata"). Keys may repeat, and their
order is kept. Text is latin-1: HTTP/2 header values are octets, and latin-1 is the encoding that loses none of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from duplexmock.core.value import value


@value
class Metadata:
    """Ordered pairs; equal when keys, values and order are equal."""

    pairs: tuple[tuple[str, str | bytes], ...] = ()

    def __post_init__(self) -> None:
        for key, text in self.pairs:
            if key != key.lower():
                raise ValueError(f"metadata key {key!r}: gRPC's keys are lower case")
            if isinstance(text, bytes) and not key.endswith("-bin"):
                raise ValueError(f"metadata key {key!r}: only keys that end in -bin have bytes for a value")

    def __iter__(self) -> Iterator[tuple[str, str | bytes]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def first(self, key: str) -> str | bytes | None:
        """Return the first value of `key`, or None."""
        for name, first in self.pairs:
            if name == key:
                return first
        return None

    def every(self, key: str) -> tuple[str | bytes, ...]:
        """Return all values of `key`, in order."""
        return tuple([each for name, each in self.pairs if name == key])


GRPC_ANSWER = Metadata((("content-type", "application/grpc"),))
"""The least that a server's first header block says (PROTOCOL-HTTP2, "Responses"); grpc-go refuses one without."""

GRPC_REQUEST = Metadata((("content-type", "application/grpc"), ("te", "trailers")))
"""The least that a client's header block says (PROTOCOL-HTTP2, "Requests")."""
