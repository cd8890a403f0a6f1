from __future__ import annotations

import pytest

from duplexmock.core.deadline import timeout_ns, timeout_value


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


@pytest.mark.parametrize(
    ("ns", "expected"),
    [
        (0, "0m"),
        (1, "1m"),
        (5_000_000_000, "5000m"),
        (5_000_000_001, "5001m"),
        (99_999_999_000_000, "99999999m"),
        (99_999_999_000_001, "100000S"),
        (99_999_999_000_000_001, "1666667M"),
        (5_999_999_940_000_000_001, "1666667H"),
        (10**30, "99999999H"),
    ],
)
def test_a_timeout_is_written_as_finely_as_eight_digits_allow(ns: int, expected: str) -> None:
    assert timeout_value(ns) == expected
    written_ns = timeout_ns(expected)
    assert written_ns is not None
    assert written_ns >= ns or expected == "99999999H"
