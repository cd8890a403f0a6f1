"""`python -m duplexmock` and the `duplexmock` command."""

from __future__ import annotations

import os
import signal


def run() -> None:
    """Run the command line; the process exits with its code, or with what shells say of one that SIGINT has ended.

    A command that has something to bring to its end when it is interrupted catches the signal itself.
    """
    # First of all: loading the rest takes long enough for a Ctrl-C, and a KeyboardInterrupt there is a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
    from duplexmock.cli import main

    main.run()


if __name__ == "__main__":
    run()
