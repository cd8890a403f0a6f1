"""The option `--descriptors SOURCE`, which several commands have: what the payloads are read by."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from duplexmock.schema.descriptors import Descriptors

Command = TypeVar("Command", bound=Callable[..., Any])


def descriptors_option(command: Command) -> Command:
    """Add the option; the command takes `descriptors: Descriptors | None`, several sources merged into one set."""
    return click.option(
        "--descriptors",
        metavar="SOURCE",
        multiple=True,
        callback=_read,
        help="Read payloads by a set of protoc's (--include_imports --descriptor_set_out), a .proto file or a module.",
    )(command)


def sources_given() -> tuple[str, ...]:
    """Return what was given for the option."""
    sources: tuple[str, ...] = click.get_current_context().meta.get(_SOURCES, ())
    return sources


def _read(context: click.Context, option: click.Parameter, sources: tuple[str, ...]) -> Descriptors | None:
    context.meta[_SOURCES] = sources
    if not sources:
        return None
    from duplexmock.schema.descriptors import Descriptors
    from duplexmock.schema.sources import load

    return reduce(Descriptors.merge, map(load, sources))


_SOURCES = "duplexmock.descriptors"
