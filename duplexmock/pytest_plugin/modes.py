"""The record modes: what is played, what is recorded, and when the choice counts.

    none      replay; nothing is recorded
    once      record where the fixture is missing, else replay
    new       replay, and record the calls that no session of the fixture fits
    rewrite   record afresh
    verify    replay, and play the recorded client against the live server as well: has it drifted?

In CI nothing is recorded by accident: there `once`, `new` and `rewrite` count only where they are named on the command
line itself, and are `none` where they come from the ini file or from addopts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

Mode = Literal["none", "once", "new", "rewrite", "verify"]

MODES: tuple[Mode, ...] = get_args(Mode)

OPTION = "--duplexmock-record"


def chosen(given: str, is_named: bool, in_ci: bool) -> Mode:
    """Return the mode that counts; ValueError where the one that is given is none.

    `given` is empty where none is. `is_named` tells whether it was named on the command line.
    """
    mode = given or "none"
    for known in MODES:
        if known == mode:
            return known if is_named or not in_ci or known == "verify" else "none"
    raise ValueError(f"duplexmock_record = {given}: not one of {', '.join(MODES)}")


def is_named(arguments: Sequence[str]) -> bool:
    """Tell whether a command line, as it was typed, names a mode."""
    return any(argument == OPTION or argument.startswith(f"{OPTION}=") for argument in arguments)


def in_ci(environment: Mapping[str, str]) -> bool:
    """Tell whether this is a machine of continuous integration: they all set CI."""
    return environment.get("CI", "").lower() not in ("", "0", "false", "no")
