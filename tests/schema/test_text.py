import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BoolValue, BytesValue, FloatValue, Int64Value, StringValue

from duplexmock.core.events import Side
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.reader import Reader
from duplexmock.schema.text import line, quoted
from duplexmock.schema.wireformat import MAX_DEPTH, Field, Fixed
from tests.schema.protos import CHAT, KINDS, chat_file, chat_message, everything, kinds_file, set_of

READER = Reader(Descriptors(set_of(chat_file(), kinds_file())))


def _line(message, limit=1000):
    return line(READER.read(KINDS, Side.CLIENT, message.SerializeToString()), limit)


def _any(message, url=""):
    packed = Any(type_url=url or f"type.googleapis.com/{message.DESCRIPTOR.full_name}")
    packed.value = message.SerializeToString()
    return packed


def _struct(**fields):
    struct = Struct()
    struct.update(fields)
    return struct


def test_a_chat_message_reads_like_this():
    payload = chat_message("Client", "Hi there! Message 0").SerializeToString()

    described = line(READER.read(CHAT, Side.CLIENT, payload))
    by_number = line(Reader().read(CHAT, Side.CLIENT, payload))

    assert described == "{sender: 'Client', message: 'Hi there! Message 0', timestamp: 1795348800}"
    assert by_number == "{1: 'Client', 2: 'Hi there! Message 0', 3: 1795348800}"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (everything(), "{}"),
        (everything(a_double=0.1, a_float=0.1), "{a_double: 0.1, a_float: 0.1}"),
        (everything(a_float=3.4028234663852886e38), "{a_float: 3.4028235e+38}"),
        (everything(a_double=float("inf"), a_float=float("nan")), "{a_double: inf, a_float: nan}"),
        (everything(a_int32=-1, a_uint64=(1 << 64) - 1), "{a_int32: -1, a_uint64: 18446744073709551615}"),
        (everything(a_bool=True, a_bytes=b"\x00\xff"), r"{a_bool: true, a_bytes: b'\x00\xff'}"),
        (everything(a_string="it's\n"), r"""{a_string: "it's\n"}"""),
        (everything(colour=2), "{colour: GREEN}"),
        (everything(colour=9), "{colour: 9}"),
        (everything(nested=everything(nested=everything())), "{nested: {nested: {}}}"),
        (everything(names=["a", "b"], numbers=[0, 1]), "{names: ['a', 'b'], numbers: [0, 1]}"),
        (everything(children=[everything(), everything(that=0)]), "{children: [{}, {that: 0}]}"),
        (everything(tags={"b": everything(), "a": everything(this="x")}), "{tags: {'a': {this: 'x'}, 'b': {}}}"),
        (everything(flags={True: 1, False: 2}), "{flags: {false: 2, true: 1}}"),
        (everything(timestamp=Timestamp(seconds=1795348800)), "{timestamp: 2026-11-22T12:00:00Z}"),
        (everything(timestamp=Timestamp(seconds=-1, nanos=500_000_000)), "{timestamp: 1969-12-31T23:59:59.500Z}"),
        (everything(timestamp=Timestamp(seconds=1 << 60)), "{timestamp: {seconds: 1152921504606846976}}"),
        (everything(duration=Duration(seconds=1, nanos=500_000)), "{duration: 1.000500s}"),
        (everything(duration=Duration(nanos=-1)), "{duration: -0.000000001s}"),
        (everything(duration=Duration(seconds=1, nanos=-1)), "{duration: {seconds: 1, nanos: -1}}"),
        (everything(fieldmask=FieldMask(paths=["a.b", "c"])), "{fieldmask: 'a.b,c'}"),
        (everything(empty=Empty()), "{empty: {}}"),
        (
            everything(struct=_struct(name="x", n=3, half=0.5, no=None, yes=True, of=[1, {"k": "v"}])),
            "{struct: {'half': 0.5, 'n': 3, 'name': 'x', 'no': null, 'of': [1, {'k': 'v'}], 'yes': true}}",
        ),
        (everything(value=Value(string_value="x"), listvalue=ListValue()), "{value: 'x', listvalue: []}"),
        (everything(value=Value()), "{value: null}"),
        (
            everything(string_value=StringValue(value="x"), int64_value=Int64Value(), bool_value=BoolValue(value=True)),
            "{string_value: 'x', int64_value: 0, bool_value: true}",
        ),
        (
            everything(bytes_value=BytesValue(value=b"x"), float_value=FloatValue(value=0.1)),
            "{bytes_value: b'x', float_value: 0.1}",
        ),
        (
            everything(any=_any(chat_message("Client", "Hi"))),
            "{any: {@type: 'type.googleapis.com/chat.ChatMessage', sender: 'Client', message: 'Hi', "
            "timestamp: 1795348800}}",
        ),
        (
            everything(any=_any(Duration(seconds=3))),
            "{any: {@type: 'type.googleapis.com/google.protobuf.Duration', value: 3s}}",
        ),
        (everything(any=_any(chat_message("C", "Hi", 1), "x/y.Z")), "{any: {@type: 'x/y.Z', 1: 'C', 2: 'Hi', 3: 1}}"),
        (
            everything(any=Any(type_url="x/chat.ChatMessage", value=b"\xff")),
            r"{any: {@type: 'x/chat.ChatMessage', value: b'\xff'}}",
        ),
        (
            everything(any=_any(_struct(name="x"))),
            "{any: {@type: 'type.googleapis.com/google.protobuf.Struct', value: {'name': 'x'}}}",
        ),
        (everything(any=Any()), "{any: {@type: ''}}"),
    ],
)
def test_a_message_is_written_by_its_descriptors(message, text):
    assert _line(message) == text


def test_fields_that_the_descriptors_do_not_know_stand_behind_by_number():
    payload = (
        everything(that=1).SerializeToString()
        + b"\xa0\x06\x05"  # 100, varint
        + b"\xa2\x06\x02Hi"  # 100, text
        + b"\xa1\x06" + bytes(7) + b"\x40"  # 100, a double: 2.0
        + b"\xa5\x06\x01\x00\x00\x00"  # 100, a fixed32
        + b"\xa3\x06\x08\x02\xa4\x06"  # 100, a group
        + b"\xa0\x06" + b"\xff" * 9 + b"\x01"  # 100, -1
    )  # fmt: skip

    written = line(READER.read(KINDS, Side.CLIENT, payload))

    assert written == "{that: 1, 100: 5, 100: 'Hi', 100: 2.0, 100: 1, 100: {1: 2}, 100: -1}"


def test_what_is_not_as_described_is_read_by_number():
    assert line(READER.read(CHAT, Side.CLIENT, b"\x0a\x02\xff\xfe\x18\x01")) == r"{1: b'\xff\xfe', 3: 1}"


@pytest.mark.parametrize(
    ("payload", "codec", "text"),
    [
        (b"", "proto", "{}"),
        (b"\xff\xfe", "proto", r"b'\xff\xfe'"),
        (b"Hello, world", "proto", "'Hello, world'"),
        (b"\x08\x01", "proto", "{1: 1}"),
        (b"\x08\x01", "raw", r"'\x08\x01'"),
        (b'{"a": 1}', "json", """'{"a": 1}'"""),
        (b"\xff", "json", r"b'\xff'"),
    ],
)
def test_without_descriptors_a_payload_is_a_message_or_text_or_bytes(payload, codec, text):
    assert line(Reader().read("/x.Y/Z", Side.SERVER, payload, codec)) == text


def test_the_first_descriptors_that_know_the_method_read_it():
    payload = chat_message("Client", "Hi", 1).SerializeToString()
    acks = Descriptors(set_of(chat_file(reply="Ack")))

    reader = Reader(Descriptors(set_of(kinds_file())), acks, Descriptors(set_of(chat_file())))

    assert line(reader.read(CHAT, Side.SERVER, payload)) == "{of: 'Client', 2: 'Hi', 3: 1}"


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b2J", "\u202eabc", "\x00", "\r", "\u2028", "\x7f"])
def test_no_control_character_reaches_the_terminal(hostile):
    described = _line(everything(a_string=hostile, a_bytes=hostile.encode(), tags={hostile: everything()}))
    by_number = line((Field(1, hostile), Field(2, hostile.encode()), Field(3, Fixed(b"\x1b[2J"))))

    assert described.isprintable()
    assert by_number.isprintable()
    assert quoted(hostile * 1000, 40).isprintable()


def test_a_long_message_is_cut_and_its_brackets_closed():
    message = everything(nested=everything(names=["one", "two"], children=[everything(this="x"), everything()]))

    whole = "{nested: {names: ['one', 'two'], children: [{this: 'x'}, {}]}}"
    assert _line(message, len(whole)) == whole
    assert _line(message, 52) == "{nested: {names: ['one', 'two'], children: [{this: …}]}}"
    assert _line(message, 30) == "{nested: {names: ['one', 'two'], …}}"
    assert _line(message, 29) == "{nested: {names: ['one', …]}}"
    assert _line(message, 8) == "{…}"


def test_a_long_value_is_cut_in_the_middle():
    text, raw = "abcdefghij" * 100, bytes(range(256))

    assert quoted("x" * 18, 20) == repr("x" * 18)
    assert quoted(text, 20) == "'abcdefgh'… 984 more …'cdefghij'"
    assert quoted(raw, 40) == r"b'\x00\x01\x02\x03'… 248 more …b'\xfc\xfd\xfe\xff'"
    assert quoted("\n" * 12, 20) == r"'\n\n\n\n'… 4 more …'\n\n\n\n'"


@pytest.mark.parametrize("value", ["", "\0", "ab", "\0\1", b"\0", b"ab"])
def test_a_value_that_cutting_would_lengthen_stays_whole(value):
    assert quoted(value, 3) == repr(value)


def test_a_value_of_three_is_the_shortest_to_be_cut():
    assert quoted("abc", 4) == "'a'… 1 more …'c'"


def test_the_end_of_a_message_is_seen_behind_a_long_value():
    message = everything(a_bytes=b"x" * 1_000_000, this="end")

    assert _line(message, 100) == f"{{a_bytes: {quoted(b'x' * 1_000_000, 50)}, this: 'end'}}"


def test_a_huge_message_costs_no_more_than_its_line():
    written = _line(everything(numbers=range(1_000_000)), 40)

    assert written == "{numbers: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …]}"


def test_deep_nesting_ends_in_an_ellipsis():
    message = everything()
    for _ in range(90):
        message = everything(nested=message)

    assert _line(message, 10_000) == "{nested: " * MAX_DEPTH + "{…}" + "}" * MAX_DEPTH


def test_messages_packed_in_one_another_end_in_an_ellipsis():
    packed = Any(type_url="x/google.protobuf.Any")
    for _ in range(300):
        packed = _any(packed, "x/google.protobuf.Any")

    written = _line(everything(any=packed), 100_000)

    assert written.count("@type") == MAX_DEPTH - 1
    assert "{…}" in written
