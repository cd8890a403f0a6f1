"""What a mock costs that is written: by Scripts (bench/declared.py), and by handlers (bench/handlers.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench import declared, handlers
from bench.rows import Row


def rows(folder: Path) -> Iterator[Row]:
    """Measure all of it. Skipped where the load program cannot be had."""
    yield from declared.rows()
    yield from handlers.rows()
