"""What a mock costs that is written: by handlers (bench/handlers.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench import handlers
from bench.rows import Row


def rows(folder: Path) -> Iterator[Row]:
    """Measure all of it. Skipped where the load program cannot be had."""
    yield from handlers.rows()
