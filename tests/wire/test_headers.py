"""Field blocks: the examples of RFC 7541 appendix C, the table's changes, and the events made of fields."""

from __future__ import annotations

from collections.abc import Sequence

import hpack
import pytest

from duplexmock.core.events import ClientHeader, ServerHeader, ServerTrailer
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Status
from duplexmock.errors import ProtocolError
from duplexmock.wire import headers
from duplexmock.wire.headers import (
    MAX_LIST_BYTES,
    MAX_TABLE_BYTES,
    Body,
    Fields,
    HeaderReader,
    binary_values,
    client_header,
    ignore,
    message_text,
    server_header,
    server_trailer,
    trailers_only,
)


def as_text(fields: Fields) -> Sequence[str]:
    return [f"{name.decode()}: {value.decode()}" for name, value in fields]


GET = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"]
GET_AGAIN = [*GET, "cache-control: no-cache"]
GET_INDEX = [
    ":method: GET",
    ":scheme: https",
    ":path: /index.html",
    ":authority: www.example.com",
    "custom-key: custom-value",
]

PLAIN_REQUESTS = (  # RFC 7541, C.3
    ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", GET),
    ("8286 84be 5808 6e6f 2d63 6163 6865", GET_AGAIN),
    ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", GET_INDEX),
)
HUFFMAN_REQUESTS = (  # RFC 7541, C.4
    ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", GET),
    ("8286 84be 5886 a8eb 1064 9cbf", GET_AGAIN),
    ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", GET_INDEX),
)

FOUND = [
    ":status: 302",
    "cache-control: private",
    "date: Mon, 21 Oct 2013 20:13:21 GMT",
    "location: https://www.example.com",
]
FOUND_AGAIN = [":status: 307", *FOUND[1:]]
OK = [
    ":status: 200",
    "cache-control: private",
    "date: Mon, 21 Oct 2013 20:13:22 GMT",
    "location: https://www.example.com",
    "content-encoding: gzip",
    "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
]

SIZE_256 = "3fe1 01"
EVICTING_RESPONSES = (  # RFC 7541, C.5, whose encoder has a table of 256 bytes
    (
        SIZE_256 + "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32"
        "3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        FOUND,
    ),
    ("4803 3330 37c1 c0bf", FOUND_AGAIN),
    (
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f"
        "6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b"
        "2076 6572 7369 6f6e 3d31",
        OK,
    ),
)


@pytest.mark.parametrize("blocks", [PLAIN_REQUESTS, HUFFMAN_REQUESTS, EVICTING_RESPONSES], ids=["C3", "C4", "C5"])
def test_the_examples_of_the_rfc(blocks: Sequence[tuple[str, list[str]]]) -> None:
    reader = HeaderReader()
    assert [reader.read(bytes.fromhex(octets), as_text) for octets, _ in blocks] == [fields for _, fields in blocks]


def test_a_block_of_indexed_fields_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    decode = hpack.Decoder.decode

    def counted(self: hpack.Decoder, block: bytes, raw: bool = False) -> object:
        decoded.append(block)
        return decode(self, block, raw)

    monkeypatch.setattr(hpack.Decoder, "decode", counted)
    reader = HeaderReader()
    first = reader.read(b"\x83\x86", as_text)
    assert reader.read(b"\x83\x86", as_text) is first
    assert reader.read(b"\x83\x86", len) == 2  # converted to something else: not the same question
    assert decoded == [b"\x83\x86", b"\x83\x86"]


def test_an_index_means_something_else_after_the_table_has_changed() -> None:
    reader = HeaderReader()
    newest = b"\xbe"  # index 62, the newest entry of the dynamic table
    reader.read(bytes.fromhex("4001 6101 31"), ignore)
    assert reader.read(newest, as_text) == ["a: 1"]
    reader.read(bytes.fromhex("4001 6201 32"), ignore)
    assert reader.read(newest, as_text) == ["b: 2"]
    reader.read(bytes.fromhex("20"), ignore)  # the table is shrunk to nothing
    with pytest.raises(ProtocolError):
        reader.read(newest, as_text)


def test_an_index_of_two_bytes_is_not_taken_for_two_fields() -> None:
    reader = HeaderReader()
    for number in range(70):
        reader.read(b"\x40\x01a\x04%04d" % number, ignore)
    two_bytes = b"\xff\x00"  # index 127: the 66th newest entry
    assert reader.read(two_bytes, as_text) == ["a: 0004"]
    reader.read(b"\x40\x01a\x04more", ignore)
    assert reader.read(two_bytes, as_text) == ["a: 0005"]


def test_what_is_remembered_of_blocks_is_bounded() -> None:
    reader = HeaderReader()
    reader.read(indexed("a", b"x" * 4096), ignore)  # longer than the table: nothing is added
    for first in range(0x81, 0xBD):
        for second in range(0x81, 0x90):
            reader.read(bytes((first, second)), ignore)
    assert len(reader._seen) == headers._CACHED_BLOCKS
    reader.read(indexed("a", b"x" * 4000), ignore)
    for count in range(1, 100):
        reader.read(b"\xbe" * count, ignore)
    assert [count for count in range(1, 100) if (ignore, b"\xbe" * count) in reader._seen] == [1, 2]


def test_a_block_of_fields_without_bytes_is_too_long_to_remember() -> None:
    reader = HeaderReader()
    reader.read(indexed("", b""), ignore)
    for count in (1, 256, 257, 16_384):
        assert reader.read(b"\xbe" * count, len) == count
    assert [len(block) for _, block in reader._seen] == [1, 256]  # 32 bytes a field on top make 8 KiB


def test_a_table_may_grow_to_the_limit_and_no_further() -> None:
    reader = HeaderReader()
    reader.read(size_update(MAX_TABLE_BYTES), ignore)
    with pytest.raises(ProtocolError) as caught:
        HeaderReader().read(size_update(MAX_TABLE_BYTES + 1), ignore)
    assert str(caught.value) == "a header block cannot be decoded (InvalidTableSizeError)"


def test_a_table_that_grew_holds_what_the_first_size_would_have_dropped() -> None:
    reader = HeaderReader()
    reader.read(size_update(16_384), ignore)
    for number in range(3):
        reader.read(indexed(str(number), b"x" * 4000), ignore)
    assert reader.read(b"\xc0", lambda fields: fields[0][0]) == b"0"


def test_a_size_announced_as_nothing_and_back_empties_the_table() -> None:
    reader = HeaderReader()
    reader.read(bytes.fromhex("4001 6101 31"), ignore)
    reader.read(size_update(0) + size_update(4096) + bytes.fromhex("4001 6201 32"), ignore)
    assert reader.read(b"\xbe", as_text) == ["b: 2"]
    with pytest.raises(ProtocolError):
        reader.read(b"\xbf", as_text)


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    reader = HeaderReader()
    reader.read(indexed("a", b"x" * 4000), ignore)
    fits = MAX_LIST_BYTES // (4000 + 1 + 32)
    assert reader.read(b"\xbe" * fits, len) == fits
    with pytest.raises(ProtocolError) as caught:
        reader.read(b"\xbe" * (fits + 1), len)
    assert str(caught.value) == "a header block cannot be decoded (OversizedHeaderListError)"


def test_the_text_of_an_error_does_not_quote_the_block() -> None:
    with pytest.raises(ProtocolError) as caught:
        HeaderReader().read(b"\x00\x0dauthorization\x7fBearer sesame", ignore)
    assert str(caught.value) == "a header block cannot be decoded (HPACKDecodingError)"


# Events


def fields(*pairs: tuple[bytes, bytes]) -> Fields:
    return pairs


REQUEST = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b":authority", b"localhost:1"),
    (b"content-type", b"application/grpc"),
)


def test_a_client_header_keeps_keys_values_and_order() -> None:
    more = fields((b"x", b"2"), (b"grpc-timeout", b"10S"), (b"x", b"1"), (b"token-bin", b"AP8"), (b"te", b"tr\xe4lers"))
    assert client_header((*REQUEST, *more)) == ClientHeader(
        "/a.B/C",
        Metadata(
            (
                ("content-type", "application/grpc"),
                ("x", "2"),
                ("grpc-timeout", "10S"),
                ("x", "1"),
                ("token-bin", b"\x00\xff"),
                ("te", "trälers"),
            )
        ),
        "localhost:1",
        "http",
    )


def test_a_client_header_without_authority_or_scheme_says_so() -> None:
    bare = fields((b":method", b"POST"), (b":path", b"/a.B/C"), (b"content-type", b"application/grpc"))
    assert client_header(bare) == ClientHeader("/a.B/C", Metadata((("content-type", "application/grpc"),)), "", "")


def test_upper_case_keys_become_keys() -> None:
    header = client_header((*REQUEST, (b"X-Up", b"Kept"), (b"X-BIN", b"AA")))
    assert header is not None
    assert header.metadata.pairs[1:] == (("x-up", "Kept"), ("x-bin", b"\0"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b":method", b"GET"),
        (b":path", b""),
        (b"content-type", b"application/json"),
        (b"content-type", b"application/grpc-web"),
        (b"content-type", b"application/grpc-web+proto"),
        (b"content-type", b"text/application/grpc"),
        (b"content-type", b""),
    ],
)
def test_a_request_that_is_not_grpc_is_no_call(name: bytes, value: bytes) -> None:
    assert client_header([(key, value if key == name else was) for key, was in REQUEST]) is None
    assert client_header([(key, was) for key, was in REQUEST if key != name]) is None


@pytest.mark.parametrize(
    "value", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8", b"Application/GRPC"]
)
def test_content_types_of_grpc(value: bytes) -> None:
    header = client_header((*REQUEST[:-1], (b"content-type", value)))
    assert header is not None
    assert header.metadata == Metadata((("content-type", value.decode()),))


GRPC = (b"content-type", b"application/grpc")
METADATA = Metadata((("content-type", "application/grpc"), ("k", "v")))


def test_a_server_header_of_grpc_is_followed_by_messages() -> None:
    answer = fields((b":status", b"200"), GRPC, (b"k", b"v"))
    assert server_header(answer) == (ServerHeader(METADATA, 200), Body.MESSAGES)
    assert server_header(fields((b":status", b"200"))) == (ServerHeader(Metadata(), 200), Body.MESSAGES)
    assert server_header(fields((b":status", b"503"), GRPC, (b"k", b"v"))) == (
        ServerHeader(METADATA, 503),
        Body.MESSAGES,
    )


def test_a_server_header_of_something_else_is_followed_by_something_else() -> None:
    html = Metadata((("content-type", "text/html"),))
    assert server_header(fields((b":status", b"200"), (b"content-type", b"text/html"))) == (
        ServerHeader(html, 200),
        Body.FOREIGN,
    )
    assert server_header(fields((b":status", b"502"))) == (ServerHeader(Metadata(), 502), Body.FOREIGN)


@pytest.mark.parametrize("status", [b"", b"abc", b"2\xb2", b"9999999999"])
def test_a_status_that_is_no_number_is_0(status: bytes) -> None:
    assert server_header(fields((b":status", status))) == (ServerHeader(Metadata(), 0), Body.FOREIGN)
    assert trailers_only(fields()) == ServerTrailer(None, Metadata(), 0)


def test_interim_answers_are_none() -> None:
    assert server_header(fields((b":status", b"100"))) is None
    assert server_header(fields((b":status", b"199"), GRPC)) is None


def test_trailers_are_status_message_details_and_the_rest() -> None:
    trailer = fields(
        (b"first", b"1"),
        (b"grpc-status", b"5"),
        (b"grpc-message", b"no%20such%20caf%C3%A9"),
        (b"grpc-status-details-bin", b"CAU"),
        (b"last-bin", b"/w=="),
    )
    rest = Metadata((("first", "1"), ("last-bin", b"\xff")))
    assert server_trailer(trailer) == ServerTrailer(Status(5, "no such café", b"\x08\x05"), rest)
    assert trailers_only((*trailer, (b":status", b"200"))) == ServerTrailer(
        Status(5, "no such café", b"\x08\x05"), rest, 200
    )
    assert server_trailer(fields((b"grpc-status", b"0"))) == ServerTrailer(Status(0))


def test_a_status_beyond_those_that_grpc_names_is_kept() -> None:
    assert server_trailer(fields((b"grpc-status", b"42"))) == ServerTrailer(Status(42))


def test_trailers_without_a_readable_status_keep_what_came() -> None:
    trailer = fields((b"grpc-status", b"-1"), (b"grpc-message", b"a%20b"), (b"grpc-status-details-bin", b"AA"))
    pairs = (("grpc-status", "-1"), ("grpc-message", "a%20b"), ("grpc-status-details-bin", b"\0"))
    assert server_trailer(trailer) == ServerTrailer(None, Metadata(pairs))
    assert server_trailer(fields((b"grpc-message", b"x"))) == ServerTrailer(None, Metadata((("grpc-message", "x"),)))


def test_what_repeats_or_does_not_decode_in_trailers_stays_metadata() -> None:
    trailer = fields(
        (b"grpc-status", b"1"), (b"grpc-status", b"2"), (b"grpc-message", b"a"), (b"grpc-message", b"b"),
        (b"grpc-status-details-bin", b"?"),
    )  # fmt: skip
    rest = (("grpc-status", "2"), ("grpc-message", "b"), ("grpc-status-details-bin", "?"))
    assert server_trailer(trailer) == ServerTrailer(Status(1, "a"), Metadata(rest))


@pytest.mark.parametrize(
    ("value", "values"),
    [
        (b"", [b""]),
        (b"AA==", [b"\0"]),
        (b"AA", [b"\0"]),
        (b"AAE=", [b"\0\1"]),
        (b"AAE", [b"\0\1"]),
        (b"AAEC", [b"\0\1\2"]),
        (b"+/8", [b"\xfb\xff"]),
        (b"AA,AAE=, AAEC", [b"\0", b"\0\1", b"\0\1\2"]),
        (b"\0raw, \xff", [b"raw, \xff"]),
        (b"\0", [b""]),
        (b"A", ["A"]),
        (b"AAECA", ["AAECA"]),
        (b"AA===", ["AA==="]),
        (b"A=A", ["A=A"]),
        (b"-_8", ["-_8"]),
        (b"AA,?", ["AA,?"]),
        (b"caf\xe9", ["café"]),
    ],
)
def test_binary_values(value: bytes, values: list[str | bytes]) -> None:
    assert binary_values(value) == values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("a%20b", "a b"),
        ("%e2%82%AC", "€"),
        ("100%", "100%"),
        ("%2", "%2"),
        ("%zz%41", "%zzA"),
        ("%25%32%30", "%20"),
        ("%FF!", "%FF!"),
        ("%c3x", "%C3x"),
        ("caf\xc3\xa9", "café"),
        ("caf\xe9", "caf%E9"),
    ],
)
def test_status_messages_are_percent_encoded_utf_8(value: str, text: str) -> None:
    assert message_text(value) == text


def indexed(name: str, value: bytes) -> bytes:
    """Encode a field that the table takes up: literal with incremental indexing, new name (RFC 7541 section 6.2.1)."""
    return b"\x40" + integer(0x00, 7, len(name)) + name.encode() + integer(0x00, 7, len(value)) + value


def size_update(size: int) -> bytes:
    """Encode a change of the table's size (RFC 7541 section 6.3)."""
    return integer(0x20, 5, size)


def integer(first: int, bits: int, value: int) -> bytes:
    """Encode an integer behind what the first byte says with its other bits (RFC 7541 section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    octets, value = bytearray((first | most,)), value - most
    while value >= 128:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)
