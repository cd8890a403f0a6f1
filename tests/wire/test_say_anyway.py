"""What an endpoint says anyway: frames in the wrong place, on calls that have ended, past windows."""

import pytest

from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientMessage,
    Event,
    Reset,
    ServerMessage,
    ServerTrailer,
)
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.errors import ScriptError
from duplexmock.wire.framed import Framed
from duplexmock.wire.frames import FrameType
from duplexmock.wire.limits import Config, Granting
from tests.wire.joined import HEADER, REQUEST, TRAILER, Pair, joined
from tests.wire.test_endpoint import frames


def opened(*said: Event, config: Config | None = None) -> tuple[Pair, int]:
    """A call on which the server has said these."""
    pair = joined(client=config)
    stream_id = pair.client.open(REQUEST)
    pair.flow()
    pair.server.send(stream_id, said)
    pair.flow()
    return pair, stream_id


def written(pair: Pair) -> list[tuple[str, int, bytes]]:
    """The type, the flags and the payload of what the server writes, header blocks left out."""
    return [
        (kind.name, flags, payload if kind is not FrameType.HEADERS else b"")
        for kind, flags, _, payload in frames(pair.server.take())
    ]


def test_a_message_comes_before_the_header() -> None:
    pair, stream_id = opened()

    pair.server.say_anyway(stream_id, ServerMessage(b"a", 1))
    pair.server.send(stream_id, [HEADER])

    assert written(pair) == [("DATA", 0, b"\1\0\0\0\1a"), ("HEADERS", 4, b"")]


def test_a_message_comes_behind_the_trailers() -> None:
    pair, stream_id = opened(HEADER, TRAILER)

    pair.server.say_anyway(stream_id, ServerMessage(b"a"))
    pair.server.say_anyway(stream_id, TRAILER)

    assert written(pair) == [("DATA", 0, b"\0\0\0\0\1a"), ("HEADERS", 5, b"")]


def test_a_message_comes_behind_a_cancel() -> None:
    pair, stream_id = opened(HEADER)
    pair.client.send(stream_id, [Cancel(ErrorCode.CANCEL)])
    pair.flow()
    assert not pair.server.is_open(stream_id)

    pair.server.say_anyway(stream_id, ServerMessage(b"a"))

    assert written(pair) == [("DATA", 0, b"\0\0\0\0\1a")]
    pair.client.receive(b"")
    assert pair.client.failed is None


def test_a_message_comes_past_the_window_and_past_what_waits_for_it() -> None:
    pair, stream_id = opened(HEADER, config=Config(granting=Granting.STEP))
    pair.server.send(stream_id, [ServerMessage(b"waits")])

    pair.server.say_anyway(stream_id, ServerMessage(b"x" * 20_000))

    assert [(name, len(payload)) for name, _, payload in written(pair)] == [("DATA", 16_384), ("DATA", 3_621)]
    assert pair.server.unsent_bytes(stream_id) == 10


def test_trailers_without_fields_end_the_call() -> None:
    pair, stream_id = opened(HEADER)
    pair.client.send(stream_id, [ClientHalfClose()])
    pair.flow()

    pair.server.say_anyway(stream_id, ServerTrailer(None))

    assert not pair.server.is_open(stream_id)
    assert frames(pair.server.take()) == [(FrameType.HEADERS, 5, stream_id, b"")]


def test_trailers_only_without_a_status_are_an_answer() -> None:
    pair, stream_id = opened()

    pair.server.say_anyway(stream_id, ServerTrailer(None, Metadata((("x", "y"),))))

    told = pair.flow()
    assert told == [(stream_id, ServerTrailer(None, Metadata((("x", "y"),)), 200))]


def test_the_client_says_anyway_what_comes_behind_its_half_close() -> None:
    pair, stream_id = opened(HEADER)
    pair.client.send(stream_id, [ClientHalfClose()])
    pair.client.take()

    pair.client.say_anyway(stream_id, ClientMessage(b"a"))
    pair.client.say_anyway(stream_id, ClientHalfClose())

    sent = [(kind.name, flags, payload) for kind, flags, _, payload in frames(pair.client.take())]
    assert sent == [("DATA", 0, b"\0\0\0\0\1a"), ("DATA", 1, b"")]


@pytest.mark.parametrize("said", [(), (HEADER, Reset(ErrorCode.CANCEL))])
def test_a_reset_comes_at_any_time(said: tuple[Event, ...]) -> None:
    pair, stream_id = opened(*said)

    pair.server.say_anyway(stream_id, Reset(42))

    assert written(pair) == [("RST_STREAM", 0, b"\0\0\0\x2a")]
    assert not pair.server.is_open(stream_id)


def test_header_compression_goes_on_behind_what_was_said_anyway() -> None:
    pair, stream_id = opened(HEADER)
    trailer = ServerTrailer(Status(Code.ABORTED, "new"), Metadata((("indexed", "value"),)))
    pair.server.say_anyway(stream_id, trailer)
    assert pair.flow() == [(stream_id, trailer)]
    other = pair.client.open(REQUEST)
    pair.flow()

    pair.server.send(other, [HEADER, trailer])

    assert pair.flow() == [(other, HEADER), (other, trailer)]


def test_a_run_of_messages_goes_on_behind_one_that_was_said_anyway() -> None:
    pair, stream_id = opened(HEADER)

    pair.server.say_anyway(stream_id, ServerMessage(b"a"))
    pair.server.send(stream_id, [Framed.alike([b"b", b"c"])])

    assert pair.flow() == [(stream_id, ServerMessage(text)) for text in (b"a", b"b", b"c")]


def test_a_call_is_not_opened_anyway() -> None:
    pair, stream_id = opened()

    with pytest.raises(ScriptError) as refused:
        pair.client.say_anyway(stream_id, REQUEST)

    assert str(refused.value) == "ClientHeader opens a call, and cannot be said on one"
