"""Events to header fields and back, and blocks that repeat."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.events import ClientHeader, ServerHeader, ServerTrailer
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Status
from duplexmock.errors import ScriptError
from duplexmock.wire.fields import (
    GRPC_ANSWER,
    GRPC_REQUEST,
    HeaderWriter,
    answer_fields,
    message_octets,
    request_fields,
    trailer_fields,
    trailers_only_fields,
)
from duplexmock.wire.headers import (
    Body,
    HeaderReader,
    client_header,
    message_text,
    server_header,
    server_trailer,
    trailers_only,
)
from tests.wire.talk import examples

REQUEST = ClientHeader("/a.B/C", GRPC_REQUEST, "localhost:1")

NAMES = st.from_regex(r"[a-z0-9_.][a-z0-9_.\-]{0,9}", fullmatch=True).filter(
    lambda name: not name.endswith("-bin") and not name.startswith("grpc-") and name != "content-type"
)
TEXT = st.text(st.characters(codec="latin-1", exclude_characters="\0\r\n"), max_size=20)
CUSTOM = st.lists(st.one_of(st.tuples(NAMES, TEXT), st.tuples(NAMES.map("{}-bin".format), st.binary(max_size=9))))
METADATA = CUSTOM.map(lambda pairs: Metadata((("content-type", "application/grpc"), *pairs)))
STATUSES = st.builds(Status, st.integers(0, 99), st.text(max_size=20), st.none() | st.binary(max_size=9))
TRAILERS = st.builds(ServerTrailer, STATUSES, CUSTOM.map(lambda pairs: Metadata(tuple(pairs))))


@examples(200)
@given(METADATA, METADATA, TRAILERS)
def test_what_is_spelled_is_read(request: Metadata, answer: Metadata, trailer: ServerTrailer) -> None:
    writer, reader = HeaderWriter(), HeaderReader()
    header = ClientHeader("/a.B/C", request, "localhost:1")
    initial = ServerHeader(answer)
    for _ in range(3):  # the first fills the table, the second is indexed, the third is known
        assert reader.read(writer.write(header, request_fields), client_header) == header
        assert reader.read(writer.write(initial, answer_fields), server_header) == (initial, Body.MESSAGES)
        assert reader.read(writer.write(trailer, trailer_fields), server_trailer) == trailer


def test_trailers_only_begin_with_a_status_and_the_content_type() -> None:
    trailer = ServerTrailer(Status(5, "no", b"\0"), GRPC_ANSWER)
    assert trailers_only_fields(trailer) == [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"5"),
        (b"grpc-message", b"no"),
        (b"grpc-status-details-bin", b"AA"),
    ]
    assert trailers_only(trailers_only_fields(trailer)) == ServerTrailer(trailer.status, GRPC_ANSWER, 200)


@given(st.text(st.characters(exclude_categories=["Cs"])))
@examples(200)
def test_a_message_is_percent_encoded(message: str) -> None:
    octets = message_octets(message)
    assert all(0x20 <= octet < 0x7F for octet in octets)
    assert message_text(octets.decode("ascii")) == message


def test_the_example_of_a_message() -> None:
    assert message_octets("100 % näher\n") == b"100 %25 n%C3%A4her%0A"


def test_a_block_that_repeats_is_encoded_twice_and_then_known(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = hpack.Encoder.encode

    def counted(self: hpack.Encoder, fields: object, huffman: bool = True) -> bytes:
        block: bytes = encode(self, fields, huffman)
        encoded.append(len(block))
        return block

    monkeypatch.setattr(hpack.Encoder, "encode", counted)
    writer = HeaderWriter()
    blocks = [writer.write(REQUEST, request_fields) for _ in range(5)]
    assert blocks[1:] == [blocks[1]] * 4
    assert len(encoded) == 2
    other = ClientHeader("/a.B/D", GRPC_REQUEST, "localhost:1")
    writer.write(other, request_fields)  # changes the table, and what an index means
    assert writer.write(REQUEST, request_fields) != blocks[1]


def test_a_smaller_table_is_announced_and_obeyed() -> None:
    writer, reader = HeaderWriter(), HeaderReader()
    for size in (0, 100, 4096, 1_000_000):
        writer.resize(size)
        for _ in range(3):
            assert reader.read(writer.write(REQUEST, request_fields), client_header) == REQUEST


def test_of_several_sizes_the_smallest_and_the_last_are_announced() -> None:
    for sizes, announced in (((700, 0), "20"), ((0, 700), "20 3f9d05"), ((50, 4096), "3f13 3fe11f"), ((4096,), "")):
        writer = HeaderWriter()
        writer.write(REQUEST, request_fields)
        for size in sizes:
            writer.resize(size)
        block = writer.write(REQUEST, request_fields)
        assert block.startswith(bytes.fromhex(announced) + b"\x83")  # then `:method: POST`, indexed


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (("a b", ""), "metadata key 'a b' cannot be sent: it has a character that no header name may have"),
        ((":path", ""), "metadata key ':path' cannot be sent: it has a character that no header name may have"),
        (("a", "1\n2"), "the value of 'a' cannot be sent: it has a line break, a NUL or no latin-1"),
        (("a", "\u20ac"), "the value of 'a' cannot be sent: it has a line break, a NUL or no latin-1"),
    ],
)
def test_what_no_header_can_carry_is_refused(pair: tuple[str, str], text: str) -> None:
    with pytest.raises(ScriptError) as refused:
        answer_fields(ServerHeader(Metadata((pair,))))
    assert str(refused.value) == text
