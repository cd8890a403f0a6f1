"""duplexmock as it is used: `python -m bench.answer_replay FIXTURE REPEAT SPEED [IGNORE]`.

It answers by `duplexmock.replay`, and prints `listening on ADDRESS`. Each line of standard input is answered with how
many calls agreed, so that a figure is that of a replay which has looked at every message, and has kept the Session of
every call.
"""

from __future__ import annotations

import sys

import duplexmock
from duplexmock.errors import MismatchError


def serve(fixture: str, repeat: str, speed: str, *ignore: str) -> None:
    """Replay until standard input ends."""
    mock = duplexmock.replay(fixture, repeat=int(repeat), speed=float(speed), ignore=ignore, timeout_s=60)
    try:
        with mock:
            print(f"listening on {mock.target}", flush=True)
            for _ in sys.stdin:
                print(sum(outcome.agreed and outcome.session is not None for outcome in mock.outcomes), flush=True)
    except MismatchError as exc:
        if "not agree" in str(exc):  # what was not played does not matter here
            print(exc, file=sys.stderr)


if __name__ == "__main__":
    serve(*sys.argv[1:])
