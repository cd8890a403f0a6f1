"""`python -m bench [--only PART]`: run the parts, print one table, write bench/last.json.

A missed target is a line of the table and no failure: whether it is the code or the machine, a person has to say. The
exit code is 1 where something that was to be measured did not run.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import learn, plugin, record, replay, script, sim
from bench.jobs import Skipped
from bench.processes import BenchError
from bench.rows import Row, heading, line

LAST = Path(__file__).with_name("last.json")


def main() -> int:
    """Run the parts that were asked for, all by default."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure duplexmock beside what does the same or less.")
    parser.add_argument("--only", choices=PARTS, help="run one part")
    only = parser.parse_args().only
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that child processes are ended
    rows: list[Row] = []
    print(heading(), flush=True)
    try:
        for name in [only] if only else PARTS:
            for row in _part(name):
                print(line(row), flush=True)
                rows.append(row)
    except BenchError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    LAST.write_text(json.dumps([row.fields() for row in rows], indent=2, ensure_ascii=False) + "\n")
    return 0


def _part(name: str) -> Iterable[Row]:
    with tempfile.TemporaryDirectory(prefix="duplexmock-bench-") as folder:
        try:
            yield from PARTS[name](Path(folder))
        except Skipped as why:
            yield Row(f"{name}: skipped. {why}", None, "")


PARTS: dict[str, Callable[[Path], Iterable[Row]]] = {
    "record": record.rows,
    "replay": replay.rows,
    "learn": learn.rows,
    "plugin": plugin.rows,
    "script": script.rows,
    "sim": sim.rows,
}
"""The parts by name: each yields its rows and puts its files into the folder it is given."""

if __name__ == "__main__":
    sys.exit(main())
