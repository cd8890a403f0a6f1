import pytest
from google.protobuf.any_pb2 import Any
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.events import Side
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.fieldpath import parse, routes
from duplexmock.schema.rewriting import replaced, values, without
from duplexmock.schema.selection import Selection
from tests.schema.kinds import messages
from tests.schema.protos import CHAT, KINDS, chat_file, chat_message, everything, kinds_file, set_of
from tests.wire.talk import examples

DESCRIPTORS = Descriptors(set_of(chat_file(), kinds_file()))


def _spot(*paths, method=KINDS, descriptors=DESCRIPTORS):
    found = [route.to_values() for route in routes([parse(path) for path in paths], descriptors)]
    return Selection(found, descriptors).of(method, Side.CLIENT)


def _without(message, *paths):
    kept = everything()
    kept.MergeFromString(without(message.SerializeToString(), _spot(*paths)))
    return kept


def _any(message):
    return Any(type_url=f"type.googleapis.com/{message.DESCRIPTOR.full_name}", value=message.SerializeToString())


def test_a_field_is_taken_out_wherever_its_message_is_nested():
    full, empty = everything(a_string="x", this="y"), everything(this="y")

    def nested(inner):
        message = everything(nested=inner, children=[inner, everything(children=[inner])], tags={"k": inner})
        return everything(any=_any(inner), nested=message)

    assert _without(nested(full), "kinds.Everything.a_string") == nested(empty)


def test_a_path_of_a_method_goes_from_the_top():
    message = everything(a_string="x", nested=everything(a_string="y", names=["a", "b"], that=0))

    assert _without(message, f"{KINDS}>nested.names") == everything(
        a_string="x", nested=everything(a_string="y", that=0)
    )
    assert _without(message, f"{KINDS}>14", f"{KINDS}>21.14") == everything(nested=everything(names=["a", "b"], that=0))


def test_what_is_no_message_where_one_should_be_stays():
    payload = chat_message("Client", "Hi").SerializeToString()

    assert without(payload, _spot(f"{CHAT}>1.1", method=CHAT, descriptors=None)) == payload
    assert without(b"\xff\xff", _spot(f"{CHAT}>1", method=CHAT)) == b"\xff\xff"
    assert without(b"", _spot(f"{CHAT}>1", method=CHAT)) == b""


def test_a_field_in_a_group_is_taken_out():
    spot = _spot("/a/b>1.2", method="/a/b", descriptors=None)
    assert without(b"\x0b\x08\x07\x10\x05\x0c\x18\x01", spot) == b"\x0b\x08\x07\x0c\x18\x01"


def test_values_are_found_by_where_they_stand():
    message = everything(
        a_string="top",
        names=["a", "b"],
        numbers=[7, -1],
        children=[everything(), everything(this="c")],
        tags={"k": everything(this="t"), "": everything(this="u")},
        flags={True: 5},
    )
    paths = ("a_string", "names", "numbers", "children.this", "tags.this", "flags")

    assert values(message.SerializeToString(), _spot(*(f"{KINDS}>{path}" for path in paths))) == {
        ((14, 0),): b"top",
        ((22, 0),): b"a",
        ((22, 1),): b"b",
        ((23, 0),): 7,
        ((23, 1),): -1,
        ((24, 1), (27, 0)): b"c",
        ((25, b"k"), (2, 0), (27, 0)): b"t",
        ((25, None), (2, 0), (27, 0)): b"u",
        ((26, 1), (2, 0)): 5,
    }


@pytest.mark.parametrize(
    ("field", "old", "new"),
    [
        ("a_double", 0.5, -1e300),
        ("a_float", 0.5, 1.5),
        ("a_int32", 7, -(1 << 31)),
        ("a_int64", -1, 1 << 62),
        ("a_uint32", 7, (1 << 32) - 1),
        ("a_uint64", (1 << 64) - 1, 1),
        ("a_sint32", -7, (1 << 31) - 1),
        ("a_sint64", 7, -(1 << 63)),
        ("a_fixed32", 7, (1 << 32) - 1),
        ("a_fixed64", 7, (1 << 64) - 1),
        ("a_sfixed32", 7, -1),
        ("a_sfixed64", -7, 1 << 62),
        ("a_bool", 1, 0),
        ("a_string", b"old", "für alle".encode() * 100),
        ("a_bytes", b"old", b"\xff\xfe"),
        ("colour", 1, 2),
        ("names", b"old", b""),
        ("numbers", 7, 1_000_000),
        ("nested", b"", b"\xda\x01\x01x"),
    ],
)
def test_a_value_of_every_kind_is_replaced(field, old, new):
    def shaped(value):
        value = value.decode() if isinstance(value, bytes) and field in ("a_string", "names") else value
        value = [value, value] if field in ("names", "numbers") else value
        if field == "nested":
            value = everything(this="x") if value else everything()
        return everything(**{field: value, "that": 1})

    payload = shaped(old).SerializeToString()
    changed = replaced(payload, _spot(f"{KINDS}>{field}"), {old: new}.get)

    again = everything()
    again.MergeFromString(changed)
    assert again == shaped(new)
    assert replaced(changed, _spot(f"{KINDS}>{field}"), {new: old}.get) == payload


@pytest.mark.parametrize(
    ("field", "old", "new"),
    [
        ("a_int32", 7, 1 << 31),
        ("a_uint64", 7, -1),
        ("a_bool", 1, 2),
        ("a_fixed32", 7, 1 << 32),
        ("a_float", 0.5, 1e300),
        ("a_fixed64", 7, 0.5),
        ("a_int32", 7, 0.5),
        ("a_int32", 7, b"x"),
        ("a_string", b"old", b"\xff"),
        ("a_bytes", b"old", 7),
        ("numbers", 7, b"x"),
    ],
)
def test_a_value_that_does_not_fit_its_field_is_not_put_there(field, old, new):
    value = old.decode() if field == "a_string" else [old] if field == "numbers" else old
    payload = everything(**{field: value}).SerializeToString()

    assert replaced(payload, _spot(f"{KINDS}>{field}"), {old: new}.get) is payload


def test_a_value_is_replaced_by_number_alone():
    spot = _spot("/a/b>21.14", "/a/b>5", "/a/b>1", "/a/b>10", method="/a/b", descriptors=None)
    message = everything(a_double=0.5, a_uint32=7, a_fixed64=9, nested=everything(a_string="old"), this="end")

    double = int.from_bytes(b"\0\0\0\0\0\0\xe0\x3f", "little")  # 0.5, which nobody knows to be a double
    changed = replaced(message.SerializeToString(), spot, {double: 1.5, 7: 300, 9: 10, b"old": b"newer"}.get)

    assert (
        changed
        == (
            everything(a_double=1.5, a_uint32=300, a_fixed64=10, nested=everything(a_string="newer"), this="end")
        ).SerializeToString()
    )


def test_a_message_in_which_nothing_is_replaced_is_the_same_object():
    payload = everything(a_string="x").SerializeToString()
    assert replaced(payload, _spot(f"{KINDS}>a_string"), {}.get) is payload


def test_all_else_stays_byte_for_byte():
    # A number out of order, a varint longer than it need be, an unknown field and a group.
    odd = b"\xe0\x01\x81\x00" + b"\x98\x06\x07" + b"\x9b\x06\x08\x01\x9c\x06"
    payload = odd + b"\x72\x03old" + odd

    assert replaced(payload, _spot(f"{KINDS}>a_string"), {b"old": b"new value"}.get) == odd + b"\x72\x09new value" + odd


@examples(100)
@given(messages(), st.sampled_from(["a_string", "names", "numbers", "nested", "tags", "children.this", "a_sint64"]))
def test_without_a_field_is_as_if_it_had_been_cleared(message, path):
    *above, field = path.split(".")
    cleared = everything()
    cleared.CopyFrom(message)
    for holder in list(getattr(cleared, above[0])) if above else [cleared]:
        holder.ClearField(field)

    # Routes end at the map itself here, as they do for what is ignored.
    selection = Selection(routes([parse(f"{KINDS}>{path}")], DESCRIPTORS), DESCRIPTORS)
    kept = everything()
    kept.MergeFromString(without(message.SerializeToString(), selection.of(KINDS, Side.CLIENT)))
    assert kept == cleared


@examples(100)
@given(messages(), st.text(max_size=300))
def test_a_value_replaced_everywhere_is_as_if_it_had_been_set(message, text):
    spot = _spot("kinds.Everything.a_string")
    payload = message.SerializeToString()

    changed = replaced(payload, spot, lambda value: text.encode() + b"!")

    again = everything()
    again.MergeFromString(changed)
    found = values(changed, spot)
    assert set(found.values()) <= {text.encode() + b"!"}
    assert found.keys() == values(payload, spot).keys()
    assert without(changed, spot) == without(payload, spot)


@examples(300)
@given(st.binary(max_size=80) | st.lists(st.sampled_from(range(32)), max_size=80).map(bytes))
def test_any_bytes_are_survived(payload):
    spot = _spot("kinds.Everything.a_string", "kinds.Everything.numbers", f"{KINDS}>1.1.1")

    assert isinstance(without(payload, spot), bytes)
    assert isinstance(values(payload, spot), dict)
    assert isinstance(replaced(payload, spot, lambda value: b"x"), bytes)
