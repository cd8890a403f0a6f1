"""Options that take two things with an equals sign between them."""

from __future__ import annotations

import click


def pair(text: str, option: str, form: str) -> tuple[str, str]:
    """Return what stands before and behind the first equals sign; a usage error where there is none, or nothing."""
    left, separator, right = text.partition("=")
    if not separator or not left or (form == FROM_TO and not right):
        raise click.UsageError(f"{option} {text!r}: not {form}.")
    return left, right


FROM_TO = "FROM=TO, two field paths"
KEY_VALUE = "KEY=VALUE"
