import json
from base64 import b64encode

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BoolValue, BytesValue, FloatValue, Int64Value, StringValue

from duplexmock.core.events import Side
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.jsonform import base64, to_json
from duplexmock.schema.reader import Reader
from duplexmock.schema.wireformat import MAX_DEPTH, Field, Fixed
from tests.schema.protos import KINDS, chat_file, chat_message, everything, kinds_file, set_of

READER = Reader(Descriptors(set_of(chat_file(), kinds_file())))


def _read(message):
    return READER.read(KINDS, Side.CLIENT, message.SerializeToString())


def _any(message):
    return Any(type_url=f"type.googleapis.com/{message.DESCRIPTOR.full_name}", value=message.SerializeToString())


def _struct(**fields):
    struct = Struct()
    struct.update(fields)
    return struct


@pytest.mark.parametrize(
    "message",
    [
        everything(),
        everything(a_double=0.1, a_float=0.1, a_int32=-1, a_sint64=-(1 << 63), a_uint64=(1 << 64) - 1),
        everything(a_fixed32=7, a_fixed64=7, a_sfixed32=-7, a_sfixed64=-7, a_bool=True),
        everything(a_double=float("inf"), a_float=float("-inf")),
        everything(a_double=float("nan")),
        everything(a_string="it's für alle\n", a_bytes=b"\x00\xff\xfe"),
        everything(colour=2),
        everything(colour=9),
        everything(nested=everything(nested=everything(this=""))),
        everything(names=["a", "b"], numbers=[0, 1], children=[everything(), everything(that=0)]),
        everything(tags={"b": everything(), "a": everything(this="x")}, flags={True: 1, False: 2}),
        everything(timestamp=Timestamp(seconds=1795348800, nanos=1_000), duration=Duration(seconds=-1, nanos=-500)),
        everything(fieldmask=FieldMask(paths=["a.b", "c"]), empty=Empty()),
        everything(struct=_struct(name="x", half=0.5, no=None, yes=True, of=[1.5, {"k": "v"}])),
        everything(value=Value(string_value="x"), listvalue=ListValue()),
        everything(value=Value(null_value=0)),
        everything(string_value=StringValue(value="x"), int64_value=Int64Value(value=3), bool_value=BoolValue()),
        everything(bytes_value=BytesValue(value=b"x"), float_value=FloatValue(value=0.1)),
        everything(any=_any(chat_message("Client", "Hi"))),
        everything(any=_any(Duration(seconds=3))),
        everything(any=_any(_struct(name="x"))),
        everything(any=_any(ListValue())),
        everything(any=_any(Empty())),
        everything(any=_any(_any(_any(StringValue(value="x"))))),
    ],
)
def test_a_message_becomes_what_protobuf_itself_makes_of_it(message):
    reading = _read(message)
    pool = reading.DESCRIPTOR.file.pool
    expected = MessageToDict(reading, preserving_proto_field_name=True, descriptor_pool=pool)

    assert json.dumps(to_json(reading), sort_keys=True) == json.dumps(expected, sort_keys=True)


def test_a_field_mask_keeps_the_names_of_the_proto_file():
    assert to_json(_read(everything(fieldmask=FieldMask(paths=["a_b.c_d"])))) == {"fieldmask": "a_b.c_d"}


def test_what_is_read_by_number_has_numbers_for_keys():
    fields = (
        Field(1, "text"),
        Field(2, b"\xff"),
        Field(3, (Field(1, -1), Field(1, (Field(2, 5),)), Field(1, Fixed(bytes.fromhex("0000003f"))))),
        Field(3, ""),
        Field(4, ()),
    )

    assert to_json(fields) == {
        "1": "text",
        "2": {"base64": b64encode(b"\xff").decode()},
        "3": [{"1": [-1, {"2": 5}, 0.5]}, ""],
        "4": {},
    }


def test_what_the_descriptors_do_not_know_stands_beside_what_they_know():
    payload = everything(that=1).SerializeToString() + b"\xa2\x06\x02Hi" + b"\xa0\x06\x05"

    assert to_json(READER.read(KINDS, Side.CLIENT, payload)) == {"that": 1, "100": ["Hi", 5]}


@pytest.mark.parametrize(("reading", "value"), [("text", "text"), (b"\xff", {"base64": "/w=="}), ((), {})])
def test_what_is_no_message_is_text_or_marked_bytes(reading, value):
    assert to_json(reading) == value


def test_what_is_nested_too_deep_is_null():
    reading = (Field(1, 1),)
    for _ in range(MAX_DEPTH):
        reading = (Field(1, reading),)

    value, depth = to_json(reading), 0
    while value is not None:
        value, depth = value["1"], depth + 1

    assert depth == MAX_DEPTH


def test_base64_is_the_standard_one_with_padding():
    assert base64(b"\xfb\xff") == "+/8="
