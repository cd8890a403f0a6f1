"""Lines for whoever reads them, also where nobody does any more."""

from __future__ import annotations

import os
import sys
from typing import IO

import click


def echo(text: str, stream: IO[str] | None = None, *, end: str = "\n") -> None:
    """Write text to a stream, stdout by default, and flush it.

    Where the reader has gone (a pipe into `head`), what follows goes nowhere, and the work goes on.
    """
    stream = sys.stdout if stream is None else stream
    try:
        click.echo(text + end, file=stream, nl=False, color=False if os.environ.get("NO_COLOR") else None)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
