"""Messages of kinds.proto, drawn by Hypothesis."""

from hypothesis import strategies as st

from tests.schema.protos import everything

_TEXT = st.text(max_size=5)
_SCALARS = st.fixed_dictionaries(
    {},
    optional={
        "a_double": st.floats(allow_nan=False).map(lambda value: value + 0.0),  # no -0.0, which proto3 writes
        "a_float": st.floats(allow_nan=False, width=32).map(lambda value: value + 0.0),
        "a_int32": st.integers(-(1 << 31), (1 << 31) - 1),
        "a_uint64": st.integers(0, (1 << 64) - 1),
        "a_sint64": st.integers(-(1 << 63), (1 << 63) - 1),
        "a_sfixed32": st.integers(-(1 << 31), (1 << 31) - 1),
        "a_bool": st.booleans(),
        "a_string": _TEXT,
        "a_bytes": st.binary(max_size=5),
        "colour": st.integers(0, 3),
        "names": st.lists(_TEXT, max_size=3),
        "numbers": st.lists(st.integers(-2, 300), max_size=3),
        "flags": st.dictionaries(st.booleans(), st.integers(-2, 300)),
        "this": _TEXT,
    },
)


def messages():
    """Messages that may hold one another; the simplest is empty."""
    return st.recursive(
        _SCALARS.map(lambda fields: everything(**fields)),
        lambda inner: st.builds(
            lambda fields, more: everything(**fields, **more),
            _SCALARS,
            st.fixed_dictionaries(
                {},
                optional={
                    "nested": inner,
                    "children": st.lists(inner, max_size=3),
                    "tags": st.dictionaries(_TEXT, inner, max_size=3),
                },
            ),
        ),
        max_leaves=4,
    )
