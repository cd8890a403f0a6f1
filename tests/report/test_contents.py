import gzip
import zlib

import pytest

from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientMessage,
    Reset,
    ServerHeader,
    ServerMessage,
    Side,
)
from duplexmock.core.metadata import Metadata
from duplexmock.report.contents import Content, Contents
from duplexmock.schema.wireformat import Field
from tests.report.calls import BY_NUMBER, DESCRIBED, OK, header, said
from tests.schema.protos import CHAT, chat_message

HELLO = (Field(1, "Client"), Field(2, "Hi"), Field(3, 1795348800))


def test_messages_count_from_one_on_each_side():
    contents = Contents(CHAT, BY_NUMBER)
    contents.see(header())

    told = [
        contents.see(event)
        for event in (ClientMessage(b""), ServerMessage(b""), ServerMessage(b""), ClientMessage(b""))
    ]

    assert told == [Content(1, ()), Content(1, ()), Content(2, ()), Content(2, ())]


@pytest.mark.parametrize("event", [header(), ServerHeader(), ClientHalfClose(), Cancel(8), OK, Reset(8)])
def test_other_events_have_no_content(event):
    assert Contents(CHAT, BY_NUMBER).see(event) is None


def test_a_message_is_read_by_the_descriptors_of_its_side():
    contents = Contents(CHAT, DESCRIBED)
    contents.see(header())

    told = contents.see(ClientMessage(said("Hi")))

    # Messages of two pools are never equal; what they say is.
    assert told.reading.SerializeToString() == chat_message("Client", "Hi").SerializeToString()
    assert told.reading.DESCRIPTOR is DESCRIBED.read(CHAT, Side.CLIENT, b"").DESCRIPTOR


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_each_side_has_an_encoding_of_its_own(encoding, compress):
    contents = Contents(CHAT, BY_NUMBER)
    contents.see(header(("grpc-encoding", encoding)))
    contents.see(ServerHeader())

    by_client = contents.see(ClientMessage(compress(said("Hi")), flags=1))
    by_server = contents.see(ServerMessage(b"\xff", flags=1))

    assert by_client == Content(1, HELLO, True, encoding)
    assert by_server == Content(1, b"\xff", True, "", "compressed, without a grpc-encoding")


def test_a_message_that_is_not_compressed_has_no_encoding():
    contents = Contents(CHAT, BY_NUMBER)
    contents.see(header(("grpc-encoding", "gzip")))

    assert contents.see(ClientMessage(said("Hi"))) == Content(1, HELLO)


def test_what_cannot_be_decompressed_stays_as_it_came():
    contents = Contents(CHAT, BY_NUMBER)
    contents.see(header(("grpc-encoding", "snappy")))

    assert contents.see(ClientMessage(b"\x01\x02", flags=1)) == Content(
        1, b"\x01\x02", True, "snappy", "unknown encoding"
    )


@pytest.mark.parametrize(
    ("content_type", "reading"),
    [
        ("application/grpc", HELLO),
        ("application/grpc+proto", HELLO),
        ("application/grpc+PROTO; charset=utf-8", HELLO),
        ("application/grpc; charset=utf-8", HELLO),
        ("application/grpc+json", said("Hi")),
        ("", HELLO),
    ],
)
def test_the_content_type_says_what_a_payload_is(content_type, reading):
    contents = Contents(CHAT, BY_NUMBER)
    contents.see(header())
    contents.see(ServerHeader(Metadata((("content-type", content_type),))))

    assert contents.see(ServerMessage(said("Hi"))) == Content(1, reading)
