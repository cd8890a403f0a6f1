import gzip
import json
import zlib

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.events import (
    Cancel,
    ClientHeader,
    ClientMessage,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.matching import Difference
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Code, Status
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.fieldpath import metadata_keys, parse
from duplexmock.schema.matching import CallMatcher
from duplexmock.schema.payloads import Payloads
from duplexmock.schema.wirescan import scan, varint
from tests.schema.kinds import messages
from tests.schema.protos import CHAT, KINDS, chat_file, chat_message, everything, kinds_file, set_of
from tests.wire.talk import examples

DESCRIPTORS = Descriptors(set_of(chat_file(), kinds_file()))


def _texts(expected, actual, *ignored, method=KINDS, descriptors=DESCRIPTORS, codec="proto"):
    payloads = Payloads(descriptors, [parse(path) for path in ignored])
    raw = [side if isinstance(side, bytes) else side.SerializeToString() for side in (expected, actual)]
    return [str(difference) for difference in payloads.differences(method, Side.CLIENT, *raw, codec)]


def _any(message):
    return Any(type_url=f"type.googleapis.com/{message.DESCRIPTOR.full_name}", value=message.SerializeToString())


def _struct(**fields):
    struct = Struct()
    struct.update(fields)
    return struct


@pytest.mark.parametrize(
    ("expected", "actual", "texts"),
    [
        (everything(a_int64=5), everything(a_int64=6), ["a_int64: expected 5, got 6"]),
        (everything(a_int64=5), everything(), ["a_int64: expected 5, got 0"]),
        (everything(), everything(a_string="x"), ["a_string: expected '', got 'x'"]),
        (everything(a_bool=True), everything(), ["a_bool: expected True, got False"]),
        (everything(a_float=0.1), everything(a_float=0.2), ["a_float: expected 0.1, got 0.2"]),
        (everything(a_bytes=b"\xff"), everything(a_bytes=b"\0"), [r"a_bytes: expected b'\xff', got b'\x00'"]),
        (everything(colour=1), everything(colour=2), ["colour: expected RED, got GREEN"]),
        (everything(colour=1), everything(), ["colour: expected RED, got UNSPECIFIED"]),
        (everything(colour=1), everything(colour=9), ["colour: expected RED, got 9"]),
        (
            everything(this="x"),
            everything(that=0),
            ["this: expected 'x', got nothing", "that: expected nothing, got 0"],
        ),
        (everything(nested=everything()), everything(), ["nested: expected {}, got nothing"]),
        (
            everything(nested=everything(nested=everything(this="x"))),
            everything(nested=everything(nested=everything(this="y"))),
            ["nested.nested.this: expected 'x', got 'y'"],
        ),
        (
            everything(names=["a", "b"], numbers=[1]),
            everything(names=["a", "c", "d"]),
            [
                "names[1]: expected 'b', got 'c'",
                "names[2]: expected nothing, got 'd'",
                "numbers: expected [1], got nothing",
            ],
        ),
        (
            everything(children=[everything(), everything(this="x")]),
            everything(children=[everything(), everything(this="y")]),
            ["children[1].this: expected 'x', got 'y'"],
        ),
        (
            everything(tags={"x": everything(this="1"), "y'": everything()}, flags={True: 1, False: 2}),
            everything(tags={"x": everything(this="2"), "z": everything()}, flags={True: 2, False: 2}),
            [
                "tags['x'].this: expected '1', got '2'",
                """tags["y'"]: expected {}, got nothing""",
                "tags['z']: expected nothing, got {}",
                "flags[true]: expected 1, got 2",
            ],
        ),
        (
            everything(timestamp=Timestamp(seconds=1795348800), duration=Duration(seconds=1)),
            everything(timestamp=Timestamp(seconds=1795348801), duration=Duration(nanos=5)),
            [
                "timestamp: expected 2026-11-22T12:00:00Z, got 2026-11-22T12:00:01Z",
                "duration: expected 1s, got 0.000000005s",
            ],
        ),
        (
            everything(struct=_struct(n=3, of=[1, None], gone=True)),
            everything(struct=_struct(n=4, of=[1, "x"])),
            [
                "struct['gone']: expected True, got nothing",
                "struct['n']: expected 3, got 4",
                "struct['of'][1]: expected null, got 'x'",
            ],
        ),
        (
            everything(string_value=StringValue(value="x")),
            everything(string_value=StringValue()),
            ["string_value: expected 'x', got ''"],
        ),
        (
            everything(any=_any(chat_message("Client", "Hi"))),
            everything(any=_any(chat_message("Client", "Ho"))),
            ["any.message: expected 'Hi', got 'Ho'"],
        ),
        (
            everything(any=_any(StringValue(value="x"))),
            everything(any=_any(StringValue(value="y"))),
            ["any.value: expected 'x', got 'y'"],
        ),
        (
            everything(a_double=float("nan"), a_int32=1),
            everything(a_double=float("nan"), a_int32=2),
            ["a_int32: expected 1, got 2"],
        ),
    ],
)
def test_differences_have_the_paths_and_values_that_people_read(expected, actual, texts):
    assert _texts(expected, actual) == texts


@pytest.mark.parametrize(
    ("expected", "actual", "texts"),
    [
        (
            chat_message("Client", "Hi", 7),
            chat_message("Client", "Ho", 8),
            ["2: expected 'Hi', got 'Ho'", "3: expected 7, got 8"],
        ),
        (
            everything(nested=everything(a_int32=7), names=["a", "b"]),
            everything(nested=everything(a_int32=8), names=["a"]),
            ["21.3: expected 7, got 8", "22[1]: expected 'b', got nothing"],
        ),
        (everything(a_double=0.5), everything(), ["1: expected 0.5, got nothing"]),
        (everything(a_bytes=b"\xff"), everything(a_bytes=b"\xfe"), [r"15: expected b'\xff', got b'\xfe'"]),
        (everything(nested=everything(a_int32=7)), everything(), ["21: expected {3: 7}, got nothing"]),
        (b"\x08\x07", b"\x0d\x07\x00\x00\x00", ["message: expected {1: 7}, got {1: 7}"]),
        (b"\x08\x07", b"\xff\xff", [r"message: expected {1: 7}, got b'\xff\xff'"]),
    ],
)
def test_without_descriptors_fields_have_numbers(expected, actual, texts):
    assert _texts(expected, actual, descriptors=None) == texts


def test_fields_that_the_descriptors_do_not_know_are_compared_by_number():
    known = everything(a_int32=1).SerializeToString()

    assert _texts(known + b"\x98\x06\x07", known + b"\x98\x06\x08") == ["99: expected 7, got 8"]
    assert _texts(known + b"\x98\x06\x07", known) == ["99: expected 7, got nothing"]
    assert _texts(b"\x98\x06\x07" + known, known + b"\x98\x06\x07") == []
    assert _texts(known + b"\x98\x06\x07", known, f"{KINDS}>99") == []


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (b"\xba\x01\x02\x01\x02", b"\xb8\x01\x01\xb8\x01\x02"),  # packed, and not
        (b"", everything().SerializeToString() + b"\x18\x00"),  # a default that is written
        (b"\x18\x07\x20\x08", b"\x20\x08\x18\x87\x00"),  # another order, a longer varint
        (b"\x09" + bytes(7) + b"\x80", b""),  # -0.0
        (b"\x09\0\0\0\0\0\0\xf8\x7f\x18\x07", b"\x18\x07\x09\0\0\0\0\0\0\xf8\x7f"),  # NaN
    ],
)
def test_what_encoders_do_differently_makes_no_difference(expected, actual):
    assert _texts(expected, actual) == []


def test_a_payload_that_the_descriptors_cannot_read_is_compared_by_number():
    assert _texts(chat_message("C", "Hi"), b"\x0a\x01\xff\x12\x02Hi", method=CHAT) == [
        r"1: expected 'C', got b'\xff'",
        "3: expected 1795348800, got nothing",
    ]


def test_a_field_of_another_wire_type_is_not_the_one_that_is_known():
    assert _texts(b"\x18\x07", b"\x1a\x01x") == ["3: expected nothing, got 'x'", "a_int32: expected 7, got 0"]


@pytest.mark.parametrize(
    ("ignored", "method", "descriptors"),
    [
        ("chat.ChatMessage.timestamp", CHAT, DESCRIPTORS),
        (f"{CHAT}>timestamp", CHAT, DESCRIPTORS),
        (f"{CHAT}>3", CHAT, DESCRIPTORS),
        (f"{CHAT}>3", CHAT, None),
        ("kinds.Everything.any", KINDS, DESCRIPTORS),
    ],
)
def test_ignored_fields_are_not_compared(ignored, method, descriptors):
    expected, actual = chat_message("C", "Hi", 1), chat_message("C", "Hi", 2)
    if method == KINDS:
        expected, actual = everything(any=_any(expected)), everything()

    assert _texts(expected, actual, ignored, method=method, descriptors=descriptors) == []
    assert _texts(expected, actual, method=method, descriptors=descriptors) != []


def test_an_ignored_field_hides_no_other():
    expected, actual = chat_message("C", "Hi", 1), chat_message("C", "Ho", 2)

    assert _texts(expected, actual, f"{CHAT}>3", method=CHAT) == ["message: expected 'Hi', got 'Ho'"]
    assert _texts(expected, actual, f"{CHAT}<3", "no.Such.field", method=CHAT, descriptors=None) == [
        "2: expected 'Hi', got 'Ho'",
        "3: expected 1, got 2",
    ]


def test_a_value_goes_to_json_as_its_text():
    expected, actual = (everything(colour=colour).SerializeToString() for colour in (1, 2))
    (difference,) = Payloads(DESCRIPTORS).differences(KINDS, Side.CLIENT, expected, actual)

    assert json.dumps(difference.expected) == '"RED"'


def test_differences_are_bounded():
    texts = _texts(everything(numbers=range(1000)), everything(numbers=range(1, 1001)))

    assert texts == [f"numbers[{position}]: expected {position}, got {position + 1}" for position in range(20)]


def test_messages_nested_too_deep_to_be_shown_are_compared_all_the_same():
    def deep(text):
        message = everything(this=text)
        for _ in range(80):
            message = everything(nested=message)
        return message

    assert _texts(deep("x"), deep("x")) == []
    (text,) = _texts(deep("x"), deep("y"))
    assert text.startswith("message: expected {nested: {nested: ")


@pytest.mark.parametrize(
    ("expected", "actual", "texts"),
    [
        (b'{"a": 1}', b'{"a": 2}', ["""message: expected '{"a": 1}', got '{"a": 2}'"""]),
        (b"\xff", b"x", [r"message: expected b'\xff', got 'x'"]),
        (b"x", b"x", []),
    ],
)
def test_other_codecs_are_compared_as_text(expected, actual, texts):
    assert _texts(expected, actual, f"{KINDS}>1", codec="json") == texts


@examples(100)
@given(messages(), st.randoms(use_true_random=False))
def test_a_message_agrees_with_itself_however_it_is_written(message, shuffler):
    again = everything()
    again.MergeFromString(_shuffled(message.SerializeToString(), shuffler))
    assert again == message
    assert _texts(message, _shuffled(message.SerializeToString(), shuffler)) == []


@examples(100)
@given(messages(), messages())
def test_two_messages_agree_exactly_when_protobuf_says_so(one, other):
    assert (not _texts(one, other)) == (one == other)


@examples(300)
@given(*[st.binary(max_size=60) | st.lists(st.sampled_from(range(32)), max_size=60).map(bytes)] * 2)
def test_any_bytes_agree_by_number_or_have_a_difference(one, other):
    assert _texts(one, one, descriptors=None) == []
    assert len(_texts(one, other, descriptors=None)) <= 20
    assert len(_texts(one, other, "kinds.Everything.a_string")) <= 20


def _shuffled(payload, shuffler):
    """Write the fields of a message, and of those in it, in another order; those of one number keep theirs."""
    lanes, order = {}, []
    for place in scan(payload, 0, len(payload)):
        raw = payload[place.start : place.end]
        if place.number in (21, 24):
            inner = _shuffled(payload[place.value_start : place.value_end], shuffler)
            raw = varint(place.number << 3 | 2) + varint(len(inner)) + inner
        lane = raw if place.number in (25, 26) else place.number  # entries of a map have no order
        lanes.setdefault(lane, []).append(raw)
        order.append(lane)
    shuffler.shuffle(order)
    return b"".join(lanes[lane].pop(0) for lane in order)


def _header(encoding="", codec="", **metadata):
    pairs = [("content-type", f"application/grpc{codec}")]
    pairs += [("grpc-encoding", encoding)] if encoding else []
    return Metadata(tuple(pairs + list(metadata.items())))


def _matcher(*ignored, descriptors=DESCRIPTORS, **options):
    paths = [parse(path) for path in ignored]
    return CallMatcher(CHAT, lambda: Payloads(descriptors, paths), metadata_keys(paths), **options)


def test_messages_are_compared_decompressed_by_the_headers_of_both():
    one, other = (chat_message("C", text).SerializeToString() for text in ("Hi", "Ho"))
    match = _matcher()

    assert not list(match(ClientHeader(CHAT, _header("gzip")), ClientHeader(CHAT, _header("deflate"))))
    assert not list(match(ServerHeader(_header()), ServerHeader(_header("gzip"))))
    assert not list(match(ClientMessage(gzip.compress(one), 1), ClientMessage(zlib.compress(one), 1)))
    assert not list(match(ClientMessage(one), ClientMessage(zlib.compress(one), 1)))
    assert not list(match(ServerMessage(one), ServerMessage(gzip.compress(one), 1)))
    assert list(match(ServerMessage(one), ServerMessage(gzip.compress(other), 1))) == [
        Difference("message", "Hi", "Ho")
    ]


def test_what_cannot_be_decompressed_says_why():
    payload = chat_message("C", "Hi", 1).SerializeToString()
    match = _matcher()
    list(match(ClientHeader(CHAT, _header("zstd")), ClientHeader(CHAT, _header("gzip"))))

    def texts(expected, actual):
        return [str(difference) for difference in match(expected, actual)]

    shown = "{sender: 'C', message: 'Hi', timestamp: 1}"
    assert texts(ClientMessage(payload), ClientMessage(b"not gzip", 1)) == [
        f"message: expected {shown}, got cannot be decompressed: damaged"
    ]
    assert texts(ClientMessage(b"x", 1), ClientMessage(payload)) == [
        f"message: expected cannot be decompressed: unknown encoding, got {shown}"
    ]
    assert texts(ClientMessage(b"x", 1), ClientMessage(b"x", 1)) == []
    assert texts(ClientMessage(b"x", 1), ClientMessage(b"y", 1)) == ["message: expected b'x', got b'y'"]


def test_messages_of_two_codecs_are_compared_as_text():
    match = _matcher()
    list(match(ClientHeader(CHAT, _header()), ClientHeader(CHAT, _header(codec="+json"))))

    assert list(match(ClientMessage(b"\x0a\x01C"), ClientMessage(b"{}"))) == [Difference("message", "\n\x01C", "{}")]
    assert not list(match(ServerMessage(b"\x18\x07\x0a\x01C"), ServerMessage(b"\x0a\x01C\x18\x07")))


def test_an_ignored_metadata_key_is_not_asked_for():
    match = _matcher("metadata:x-id")
    header = Metadata((("x-id", "1"), ("x-room", "a")))

    assert not list(match(ClientHeader(CHAT, header), ClientHeader(CHAT, Metadata((("x-room", "a"),)))))
    assert list(match(ServerHeader(header), ServerHeader(Metadata()))) == [Difference("metadata.x-room", "a", None)]
    assert list(match(ServerTrailer(Status(Code.OK), header), ServerTrailer(Status(Code.OK)))) == [
        Difference("metadata.x-room", "a", None)
    ]


def test_the_words_of_a_status_are_ignored_as_metadata_is():
    expected = ServerTrailer(Status(Code.NOT_FOUND, "no 7", b"\x01"))
    actual = ServerTrailer(Status(Code.ABORTED, "no 8", b"\x02"))

    assert list(_matcher("metadata:grpc-message", "metadata:grpc-status-details-bin")(expected, actual)) == [
        Difference("status", "NOT_FOUND", "ABORTED")
    ]
    assert [difference.path for difference in _matcher("metadata:grpc-message")(expected, actual)] == [
        "status",
        "status.details",
    ]
    assert [difference.path for difference in _matcher("metadata:grpc-message")(expected, ServerTrailer(None))] == [
        "status"
    ]


def test_a_wildcard_stands_for_any_value():
    match = _matcher("metadata:other", is_wildcard=lambda value: value == "*")
    expected = ClientHeader(CHAT, Metadata((("authorization", "*"),)))

    assert not list(match(expected, ClientHeader(CHAT, Metadata((("authorization", "x"),)))))
    assert list(match(Cancel(8), Cancel(5))) == []
