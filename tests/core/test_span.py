import pytest

from duplexmock.core.span import span_ns, span_text


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("5s", 5_000_000_000),
        ("100ms", 100_000_000),
        ("1.5s", 1_500_000_000),
        ("2m", 120_000_000_000),
        ("1h", 3_600_000_000_000),
        ("250us", 250_000),
        ("7ns", 7),
    ],
)
def test_a_span_is_read_and_written(text, ns):
    assert span_ns(text, "after") == ns
    assert span_ns(span_text(ns), "after") == ns


def test_a_span_is_written_in_the_largest_unit_that_is_whole():
    assert [span_text(ns) for ns in (1_500_000_000, 60_000_000_000, 1_000_001)] == ["1500ms", "1m", "1000001ns"]
