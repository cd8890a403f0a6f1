import gzip
import tracemalloc
import zlib

import pytest

from duplexmock.errors import ProtocolError, ScriptError
from duplexmock.schema.payload import COMPRESSED, compressed, plain

TEXT = b"Hi there! " * 100


def _raw_deflate(payload):
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(payload) + deflater.flush()


@pytest.mark.parametrize(
    ("payload", "flags", "encoding"),
    [
        (TEXT, 0, ""),
        (TEXT, 0, "gzip"),
        (TEXT, 1, "identity"),
        (gzip.compress(TEXT, mtime=0), 1, "gzip"),
        (
            gzip.compress(TEXT[:300], mtime=0) + gzip.compress(b"", mtime=0) + gzip.compress(TEXT[300:], mtime=0),
            1,
            "gzip",
        ),
        (zlib.compress(TEXT), 1, "deflate"),
    ],
)
def test_a_message_loses_its_compression(payload, flags, encoding):
    assert plain(payload, flags, encoding) == TEXT


@pytest.mark.parametrize(
    ("payload", "encoding", "text"),
    [
        (TEXT, "", "compressed, without a grpc-encoding"),
        (TEXT, "zstd", "unknown encoding"),
        (TEXT, "gzip", "damaged"),
        (_raw_deflate(TEXT), "deflate", "damaged"),
        (gzip.compress(TEXT, mtime=0)[:-1], "gzip", "cut short"),
        (b"", "gzip", "cut short"),
        (gzip.compress(TEXT, mtime=0) + b"behind", "gzip", "damaged"),
    ],
)
def test_what_cannot_be_decompressed_says_why(payload, encoding, text):
    with pytest.raises(ProtocolError) as refusal:
        plain(payload, 1, encoding)
    assert str(refusal.value) == text


def test_a_message_of_very_many_gzip_members_is_refused():
    one = gzip.compress(b"", mtime=0)
    assert plain(one * 99 + gzip.compress(TEXT, mtime=0), 1, "gzip") == TEXT
    with pytest.raises(ProtocolError) as refusal:
        plain(one * 101, 1, "gzip")
    assert str(refusal.value) == "more than 100 gzip members"


def test_the_limit_is_exact():
    assert plain(gzip.compress(TEXT, mtime=0), 1, "gzip", max_bytes=1000) == TEXT
    with pytest.raises(ProtocolError) as refusal:
        plain(gzip.compress(TEXT, mtime=0), 1, "gzip", max_bytes=999)
    assert str(refusal.value) == "longer than 999 bytes when decompressed"


def test_a_bomb_costs_no_more_than_the_limit():
    bomb = zlib.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            plain(bomb, 1, "deflate", max_bytes=1_000_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5_000_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_compressed_becomes_plain_and_is_the_same_each_time(encoding):
    assert plain(compressed(TEXT, encoding), COMPRESSED, encoding) == TEXT
    assert compressed(TEXT, encoding) == compressed(TEXT, encoding)


def test_an_encoding_that_nobody_knows_is_refused():
    with pytest.raises(ScriptError) as refusal:
        compressed(TEXT, "br")
    assert str(refusal.value) == "messages cannot be compressed as 'br': gzip and deflate are known"
