from __future__ import annotations

import pytest

from duplexmock.core.metadata import Metadata

PAIRS = (("b", "1"), ("token-bin", b"\x00\xff"), ("a", "2"), ("b", "3"))


def test_pairs_keep_their_order_and_keys_may_repeat() -> None:
    metadata = Metadata(PAIRS)
    assert (tuple(metadata), len(metadata)) == (PAIRS, 4)
    assert metadata != Metadata(PAIRS[::-1])
    assert metadata == Metadata(PAIRS)


def test_the_first_value_of_a_key_or_none() -> None:
    metadata = Metadata(PAIRS)
    assert [metadata.first(key) for key in ("b", "token-bin", "c", "B")] == ["1", b"\x00\xff", None, None]


def test_every_value_of_a_key_in_order() -> None:
    metadata = Metadata(PAIRS)
    assert [metadata.every(key) for key in ("b", "token-bin", "c")] == [("1", "3"), (b"\x00\xff",), ()]


def test_a_value_of_a_bin_key_that_is_no_base64_may_stay_text() -> None:
    assert Metadata((("token-bin", "?"),)).first("token-bin") == "?"


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (("X-Up", "1"), "metadata key 'X-Up': gRPC's keys are lower case"),
        (("x", b"1"), "metadata key 'x': only keys that end in -bin have bytes for a value"),
        (("x-binary", b"1"), "metadata key 'x-binary': only keys that end in -bin have bytes for a value"),
    ],
)
def test_what_grpc_does_not_allow_is_refused_by_name(pair: tuple[str, str | bytes], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        Metadata((("ok", "1"), pair))
    assert str(caught.value) == text
