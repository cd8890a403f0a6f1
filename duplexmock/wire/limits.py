"""What an endpoint announces, and the most it lets a peer cost.

Nothing here is a rate, because an endpoint has no clock: what could be a flood is counted against progress instead.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

DEFAULT_WINDOW_BYTES = 65_535
"""Of every window before SETTINGS and WINDOW_UPDATE say otherwise (RFC 9113 section 6.9.2)."""

DEFAULT_FRAME_BYTES = 16_384
"""The longest payload of a frame that a peer may send unasked (RFC 9113 section 4.2)."""

MAX_WINDOW_BYTES = 2**31 - 1


class Packing(Enum):
    """How messages that are sent together share DATA frames."""

    FULL = "as many messages as fit"
    MESSAGE = "a frame for each message"


class Granting(Enum):
    """When a peer may send more messages on a call."""

    READ = "as soon as what it sent has been received"
    STEP = "by step(), one message at a time"


class Limits(NamedTuple):
    """What a hostile peer can cost. Each but `max_streams`, which refuses a stream, ends the connection when passed."""

    max_streams: int = 100_000
    """Open at once, announced as MAX_CONCURRENT_STREAMS: a call that waits for a slot would look like a hang."""

    max_header_bytes: int = 256 * 1024
    """Of one header block, encoded or decoded (RFC 9113 section 6.5.2 says how to count); gRPC takes 8 to 16 KiB."""

    max_continuations: int = 64
    """Of one header block; 64 KiB need 4."""

    max_message_bytes: int = 256 * 1024 * 1024
    """As a prefix announces it; sixty-four times gRPC's default. One that fits a frame is taken in any case."""

    max_unfinished_bytes: int = 512 * 1024 * 1024
    """Of messages that have begun and not ended, over all calls."""

    max_fruitless_resets: int = 1_000
    """Streams in a row that were reset, or had to be, before anything was sent on any (CVE-2023-44487)."""

    max_empty_frames: int = 1_000
    """DATA frames in a row that carry nothing (CVE-2019-9518)."""

    max_queued_answers: int = 10_000
    """Acknowledgements and resets that wait to be written: a peer that only asks (CVE-2019-9512, 9514, 9515)."""


class Config(NamedTuple):
    """How an endpoint behaves where the RFC leaves it the choice."""

    limits: Limits = Limits()
    packing: Packing = Packing.FULL
    granting: Granting = Granting.READ
    stream_window_bytes: int = 1024 * 1024
    """Sent ahead on a call that `hold()` stops, at most; with STEP it is 0."""

    connection_window_bytes: int = 16 * 1024 * 1024
    """Over all calls. It is always given back, so that a call that is held stops no other."""
