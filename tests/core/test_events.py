from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import get_args

import pytest

from duplexmock.core.events import (
    CLIENT_EVENTS,
    SERVER_EVENTS,
    Cancel,
    ClientEvent,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Event,
    Reset,
    ServerEvent,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
    event_name,
    side_of,
)
from duplexmock.core.metadata import Metadata


def test_a_side_is_drawn_as_an_arrow_and_has_an_other() -> None:
    assert [(side.value, side.other) for side in Side] == [(">", Side.SERVER), ("<", Side.CLIENT)]


@pytest.mark.parametrize(
    ("event", "side", "name"),
    [
        (ClientHeader("/a.B/C"), Side.CLIENT, "ClientHeader"),
        (ClientMessage(b""), Side.CLIENT, "ClientMessage"),
        (ClientHalfClose(), Side.CLIENT, "ClientHalfClose"),
        (Cancel(8), Side.CLIENT, "Cancel"),
        (ServerHeader(), Side.SERVER, "ServerHeader"),
        (ServerMessage(b""), Side.SERVER, "ServerMessage"),
        (ServerTrailer(None), Side.SERVER, "ServerTrailer"),
        (Reset(2), Side.SERVER, "Reset"),
    ],
)
def test_an_event_has_a_side_and_a_name(event: Event, side: Side, name: str) -> None:
    assert (side_of(event), event_name(event)) == (side, name)


def test_the_tuples_of_kinds_are_those_of_the_types() -> None:
    assert get_args(ClientEvent) == CLIENT_EVENTS
    assert get_args(ServerEvent) == SERVER_EVENTS
    assert get_args(Event) == CLIENT_EVENTS + SERVER_EVENTS


def test_events_are_equal_by_value_and_the_two_messages_are_not_one_another() -> None:
    assert ClientMessage(b"a", 1) == ClientMessage(b"a", 1)
    assert ClientMessage(b"a", 1) != ClientMessage(b"a", 0)
    assert ClientMessage(b"a") != ServerMessage(b"a")
    assert len({Cancel(8), Cancel(8), Reset(8)}) == 2


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        ClientMessage(b"a").payload = b"b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("metadata", "timeout_ns"),
    [
        (Metadata((("grpc-timeout", "500m"),)), 500_000_000),
        (Metadata((("x", "1"), ("grpc-timeout", "1S"), ("grpc-timeout", "2S"))), 1_000_000_000),
        (Metadata((("grpc-timeout", "soon"),)), None),
        (Metadata((("timeout", "1S"),)), None),
        (Metadata(), None),
    ],
)
def test_a_header_knows_the_deadline_that_the_client_announced(metadata: Metadata, timeout_ns: int | None) -> None:
    assert ClientHeader("/a.B/C", metadata).timeout_ns == timeout_ns
