"""Outcomes for machines: one JSON object a line for each session that was played.

    {"fixture": name, "session": number (0 where no session fitted), "method": …, "seat": "server" | "client",
     "agreed": bool, "mismatch": null or {"sentence": text, "side": "client" | "server", "expected": event's name or
     null, "actual": event's name or null, "differences": [{"path", "expected", "actual"}]},
     "unreached": [{"event": name, "waited_for": text}], "notes": [text], "entries": [entry, …]}

`seat` is the side that was played. Entries are those of jsonlines.py, of what took place.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from duplexmock.core.events import event_name
from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.report.jsonlines import entries
from duplexmock.schema.reader import Reader


def outcome_line(name: str, outcome: Outcome, reader: Reader) -> str:
    """Return the line of one outcome; `name` is what its fixture is called."""
    fields = {
        "fixture": name,
        "session": outcome.number,
        "method": outcome.method,
        "seat": outcome.side.name.lower(),
        "agreed": outcome.agreed,
        "mismatch": None if outcome.mismatch is None else _mismatch(outcome.mismatch),
        "unreached": [{"event": each.name, "waited_for": each.waited_for} for each in outcome.unreached],
        "notes": list(outcome.notes),
        "entries": [] if outcome.session is None else entries(outcome.session, reader),
    }
    return json.dumps(fields) + "\n"


def _mismatch(mismatch: Mismatch) -> dict[str, Any]:
    return {
        "sentence": mismatch.sentence,
        "side": mismatch.side.name.lower(),
        "expected": None if mismatch.expected is None else event_name(mismatch.expected),
        "actual": None if mismatch.actual is None else event_name(mismatch.actual),
        "differences": [
            {"path": each.path, "expected": _value(each.expected), "actual": _value(each.actual)}
            for each in mismatch.differences
        ],
    }


def _value(value: Any) -> Any:
    """Return a value of JSON's, which has no NaN and no infinity, else its repr."""
    if isinstance(value, float):
        return value if isfinite(value) else repr(value)
    return value if value is None or isinstance(value, bool | int | str) else repr(value)
