"""Header tables of any size, and padding: what is framed unlike the usual passes, and reads the same in the fixture."""

import json
from pathlib import Path
from typing import Any

import pytest
from hpack.hpack import decode_integer

from duplexmock.core.connection import Connection
from duplexmock.core.events import ClientHeader, ServerHeader, ServerTrailer, Side
from tests.net.fidelity import Case, Peer, Played, Stage, assert_faithful, bidi
from tests.peers.frames import DATA, HEADERS, PADDED, PRIORITY, PRIORITY_BYTES, Frame
from tests.peers.programs import CASES

SETTINGS_HEADER_TABLE_SIZE = 0x1

# Of Node's http2, the one peer that pads. C-core does not read what is padded (it takes the padding for content), and
# so is no peer for it.
ALIGNED, MAX = "padding=1", "padding=2"

KEYS = {
    "accept-encoding",
    "case",
    "content-type",
    "date",
    "grpc-accept-encoding",
    "grpc-encoding",
    "te",
    "user-agent",
}
"""What grpc-go and grpc-js say of their own, and `case`."""

CALLS = 40
"""Each brings some 340 bytes that are new to a client's table, and 600 to a server's: the largest table here, of 8192
bytes, has to evict half of what it gets, and the smallest has nothing of the call before."""

AGAIN = {"client": 16, "header": 10, "trailer": 10}
"""What is said again after so many calls is still in a table of 8192 bytes, and no longer in one of 4096."""


@pytest.fixture
def stage(peer: Any, tmp_path: Path) -> Stage:
    return Stage(peer, tmp_path)


def tables(decoder: int, encoder: int | None = None) -> tuple[str, ...]:
    """The options of a peer that announces a table of `decoder` bytes, and has one of `encoder` bytes itself."""
    sizes = {"decoder": decoder} if encoder is None else {"decoder": decoder, "encoder": encoder}
    return tuple(f"grpc.http2.hpack_table_size.{name}={size}" for name, size in sizes.items())


def varied(number: int, *before: list[Any]) -> Case:
    """A call whose metadata are new in part, the same as ever in part, and in part those of some calls before."""

    def metadata(what: str) -> list[list[str]]:
        return [
            ["x-always", what],
            ["x-again", f"{what} {number % AGAIN[what]}"],
            [f"x-{what}-{number}", f"{number}" + " new" * (20 + number % 60)],
            ["x-raw-bin", f"{number:04x}" * 4],
        ]

    return bidi(
        f"call-{number}",
        [["send", f"a{number}"], ["half-close"]],
        [
            *before,
            ["header", metadata("header")],
            ["await", 1],
            ["send", f"A{number}"],
            ["await-half-close"],
            ["status", "OK", "", metadata("trailer")],
        ],
        metadata=metadata("client"),
    )


@pytest.mark.parametrize(
    ("client", "server", "announced", "used"),
    [
        # grpc-go's client announces no size, its server reads no table of more than 4096, and its encoder has none.
        (Peer("python", tables(256)), Peer("go", tables(1024)), ((256,), (1024,)), ((1024,), (256,))),
        (Peer("go"), Peer("node", tables(0, 0)), ((), (0,)), ((0,), (0,))),
        (Peer("go"), Peer("node", tables(8192, 128)), ((), (8192,)), ((), (128,))),
        (Peer("node", tables(100, 8192)), Peer("python", tables(8192)), ((100,), (8192,)), ((8192,), (100,))),
        (Peer("python", tables(8192)), Peer("node", tables(300, 8192)), ((8192,), (300,)), ((300,), (8192,))),
    ],
    ids=lambda value: value.language if isinstance(value, Peer) else "+".join(map(str, sum(value, ()))),
)
def test_metadata_are_the_same_with_header_tables_of_other_sizes(
    client: Peer,
    server: Peer,
    announced: tuple[tuple[int, ...], ...],
    used: tuple[tuple[int, ...], ...],
    stage: Stage,
) -> None:
    cases = [varied(number) for number in range(CALLS)]
    played = stage.play(client, server, cases)

    assert_faithful(played, cases)
    (connection,) = played.connections
    (spoken,) = played.spoken
    assert (table_sizes(connection, Side.CLIENT), table_sizes(connection, Side.SERVER)) == announced
    assert (size_updates(spoken.client), size_updates(spoken.server)) == used


@pytest.mark.parametrize(
    ("client", "used"),
    [
        (Peer("go"), (128, 0)),  # grpc-go's encoder takes back no size that it has given up
        (Peer("node", tables(4096, 8192)), (128, 8192, 0)),
    ],
    ids=["go", "node"],
)
def test_metadata_are_the_same_when_a_header_table_changes_its_size_on_the_way(
    client: Peer, used: tuple[int, ...], stage: Stage
) -> None:
    sizes = {3: 128, 6: 8192, 38: 0}
    cases = [varied(number, *([["table-size", sizes[number]]] if number in sizes else [])) for number in range(CALLS)]
    played = stage.play(client, Peer("node"), cases)

    assert_faithful(played, cases)
    (connection,) = played.connections
    (spoken,) = played.spoken
    assert table_sizes(connection, Side.SERVER) == (128, 8192, 0)
    assert size_updates(spoken.client) == used


# Padding


@pytest.mark.parametrize(
    ("client", "server", "client_pads", "server_pads"),
    [
        (Peer("node", (MAX,)), Peer("go"), {DATA, HEADERS}, set()),
        (Peer("go"), Peer("node", (ALIGNED,)), set(), {DATA, HEADERS}),
        (Peer("node", (MAX,)), Peer("node", (MAX,)), {DATA, HEADERS}, {DATA, HEADERS}),
    ],
    ids=["client-max", "server-aligned", "both-max"],
)
def test_what_is_padded_is_the_same(
    client: Peer, server: Peer, client_pads: set[int], server_pads: set[int], stage: Stage
) -> None:
    cases = [case for case in json.loads(CASES.read_text(encoding="utf-8")) if case["case"] != "deadline"]
    played = stage.play(client, server, cases)

    assert_faithful(played, cases)
    assert keys_of(played) <= KEYS  # none is made of padding
    client_frames = [frame for spoken in played.spoken for frame in spoken.client]
    server_frames = [frame for spoken in played.spoken for frame in spoken.server]
    assert (padded(client_frames), padded(server_frames)) == (client_pads, server_pads)


def table_sizes(connection: Connection, side: Side) -> tuple[int, ...]:
    """The sizes of a table that a side announced, by the fixture."""
    return tuple(
        value
        for settings in connection.settings
        for identifier, value in settings.values
        if settings.side is side and identifier == SETTINGS_HEADER_TABLE_SIZE
    )


def size_updates(frames: tuple[Frame, ...]) -> tuple[int, ...]:
    """The sizes that a side's encoder said it goes on with, which header blocks begin with (RFC 7541 section 6.3)."""
    sizes = []
    for frame in frames:
        block = frame.payload[PRIORITY_BYTES:] if frame.flags & PRIORITY else frame.payload
        while frame.kind == HEADERS and block and block[0] >> 5 == 1:
            size, used = decode_integer(block, 5)
            sizes.append(size)
            block = block[used:]
    return tuple(sizes)


def keys_of(played: Played) -> set[str]:
    """The keys of all metadata in the fixture, but for those of the cases."""
    events = [entry.event for session in played.sessions.values() for entry in session.entries]
    return {
        key
        for event in events
        if isinstance(event, ClientHeader | ServerHeader | ServerTrailer)
        for key, _ in event.metadata
        if not key.startswith("x-")
    }


def padded(frames: list[Frame]) -> set[int]:
    """The types of frames of which a side has padded some."""
    return {frame.kind for frame in frames if frame.kind in (DATA, HEADERS) and frame.flags & PADDED}
