"""The option `--descriptors SET.pb`, which several commands have: what the payloads are read by."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import click

from duplexmock.schema.descriptors import Descriptors

Command = TypeVar("Command", bound=Callable[..., Any])


def descriptors_option(command: Command) -> Command:
    """Add the option; the command takes `descriptors: Descriptors | None`, several files merged into one set."""
    return click.option(
        "--descriptors",
        metavar="SET.pb",
        multiple=True,
        callback=_read,
        help="Read payloads by this set, made by protoc --include_imports --descriptor_set_out. May be repeated.",
    )(command)


def _read(context: click.Context, option: click.Parameter, paths: tuple[str, ...]) -> Descriptors | None:
    if not paths:
        return None
    return reduce(Descriptors.merge, [Descriptors.read(path) for path in paths])
