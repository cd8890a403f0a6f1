"""The `duplexmock` command: a table of commands, each loaded when it is asked for.

Exit codes: 0 all is well or agreed, 1 a mismatch, 2 a command line or a file that cannot be used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from duplexmock.errors import DuplexmockError
from duplexmock.version import __version__


class _Refusal(click.ClickException):
    """One sentence to stderr, and exit code 2."""

    exit_code = 2


class _Commands(click.Group):
    """Commands by the table at the foot; what duplexmock refuses is one sentence for a person."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_HOMES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        home = _HOMES.get(name)
        if home is None:
            return None
        command: click.Command = getattr(import_module(f"duplexmock.cli.{home}"), home)
        return command

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except DuplexmockError as exc:
            raise _Refusal(str(exc)) from exc


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["--help", "-h"]},
)
@click.version_option(__version__, message="duplexmock %(version)s")
@click.pass_context
def duplexmock(context: click.Context) -> None:
    """Record, replay, script and explore duplex gRPC calls."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


def run() -> None:
    """Run the command line; the process exits with its code."""
    for stream in (sys.stdout, sys.stderr):
        # What a peer said may have characters that the terminal's encoding lacks: that must not end a recording.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    duplexmock(prog_name="duplexmock")


_HOMES = {
    "learn": "learn",
    "record": "record",
    "replay": "replay",
    "serve": "serve",
    "show": "show",
}
"""Commands and the file, and the function in it, that each is."""
