"""Outcomes for machines: whole lines."""

import json
from dataclasses import replace

import pytest

from duplexmock.core.events import Side
from duplexmock.core.matching import Difference
from duplexmock.core.outcome import Mismatch, Outcome, Unreached
from duplexmock.report.jsonlines import entries
from duplexmock.report.outcomelines import outcome_line
from duplexmock.schema.differences import Written
from tests.playbook import ANSWER, HEADER, METHOD, OK, Playbook, lanes
from tests.report.calls import BY_NUMBER


def written(outcome: Outcome) -> dict[str, object]:
    line = outcome_line("a.duplex", outcome, BY_NUMBER)
    assert line.endswith("}\n")
    assert "\n" not in line[:-1]
    fields = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON's"))
    assert isinstance(fields, dict)
    return fields


AGREED = (Playbook(lanes(HEADER, OK, number=3), Side.SERVER) >> HEADER << OK).done()


def test_a_session_that_agreed() -> None:
    assert AGREED.session is not None
    assert written(AGREED) == {
        "fixture": "a.duplex",
        "session": 3,
        "method": METHOD,
        "seat": "server",
        "agreed": True,
        "mismatch": None,
        "unreached": [],
        "notes": [],
        "entries": entries(AGREED.session, BY_NUMBER),
    }
    assert [entry["event"] for entry in entries(AGREED.session, BY_NUMBER)] == ["ClientHeader", "ServerTrailer"]


def test_a_mismatch() -> None:
    mismatch = Mismatch(
        "It \x1b differs.", Side.SERVER, 0, 0, 5, ANSWER, ANSWER, (Difference("metadata.x", "a", None),)
    )
    outcome = Outcome(
        1, METHOD, Side.CLIENT, None, mismatch, (Unreached(Side.CLIENT, "ClientHalfClose", "its time"),), ("noted",)
    )

    assert written(outcome) == {
        "fixture": "a.duplex",
        "session": 1,
        "method": METHOD,
        "seat": "client",
        "agreed": False,
        "mismatch": {
            "sentence": "It \x1b differs.",
            "side": "server",
            "expected": "ServerHeader",
            "actual": "ServerHeader",
            "differences": [{"path": "metadata.x", "expected": "a", "actual": None}],
        },
        "unreached": [{"event": "ClientHalfClose", "waited_for": "its time"}],
        "notes": ["noted"],
        "entries": [],
    }


def test_a_mismatch_without_events() -> None:
    fields = written(replace(AGREED, mismatch=Mismatch("Lost.", Side.CLIENT, 1, 0, 5)))

    assert fields["agreed"] is False
    assert fields["mismatch"] == {
        "sentence": "Lost.",
        "side": "client",
        "expected": None,
        "actual": None,
        "differences": [],
    }


@pytest.mark.parametrize(
    ("value", "in_json"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1 << 63, 1 << 63),
        (0.5, 0.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("text\udc80\x00", "text\udc80\x00"),
        (b"\xff", r"b'\xff'"),
        (("a", b"b"), "('a', b'b')"),
        (Written("GREEN"), "GREEN"),
    ],
)
def test_a_value_is_jsons_or_its_repr(value: object, in_json: object) -> None:
    mismatch = Mismatch("It differs.", Side.CLIENT, 1, 0, 5, differences=(Difference("x", value, value),))

    fields = written(replace(AGREED, mismatch=mismatch))

    assert isinstance(fields["mismatch"], dict)
    assert fields["mismatch"]["differences"] == [{"path": "x", "expected": in_json, "actual": in_json}]
