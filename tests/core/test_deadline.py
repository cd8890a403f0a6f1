from __future__ import annotations

import pytest

from duplexmock.core.deadline import timeout_ns


@pytest.mark.parametrize(
    ("value", "expected_ns"),
    [
        ("1H", 3_600_000_000_000),
        ("2M", 120_000_000_000),
        ("10S", 10_000_000_000),
        ("500m", 500_000_000),
        ("7u", 7_000),
        ("7n", 7),
        ("0n", 0),
        ("00000010S", 10_000_000_000),
        ("99999999H", 359_999_996_400_000_000_000),
    ],
)
def test_a_timeout_is_at_most_eight_digits_and_a_unit(value: str, expected_ns: int) -> None:
    assert timeout_ns(value) == expected_ns


@pytest.mark.parametrize(
    "value",
    ["", "S", "10", "10s", "10h", "10ms", "123456789S", "-1S", "+1S", "1.5S", " 1S", "1S ", "1S\n", "1 S", "١S"],
)
def test_what_is_not_a_timeout_is_none(value: str) -> None:
    assert timeout_ns(value) is None
