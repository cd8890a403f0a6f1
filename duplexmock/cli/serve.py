"""`duplexmock serve`: a mock that is written, until a signal or a command's end."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import click

from duplexmock.cli.descriptors import descriptors_option
from duplexmock.cli.numbers import GRACE, TIMEOUT
from duplexmock.cli.output import echo
from duplexmock.cli.running import (
    EXIT_MISMATCH,
    Signals,
    WithCommand,
    check_command,
    command_given,
    raise_file_limit,
    run_command,
)
from duplexmock.cli.scripts import found, ready_made
from duplexmock.core.scriptplayer import Expect
from duplexmock.net import address, background
from duplexmock.net.address import Address
from duplexmock.net.mocking import Mocking
from duplexmock.net.serve import terms
from duplexmock.net.tee import Tee
from duplexmock.play.serving import ServedCall

if TYPE_CHECKING:
    from duplexmock.schema.descriptors import Descriptors


@click.command(cls=WithCommand)
@click.argument("scripts", metavar="[SCRIPT]...", nargs=-1)
@click.option("--list", "lists", is_flag=True, help="Print the ready-made scripts, with a line each.")
@click.option("--listen", metavar="ADDRESS", default="127.0.0.1:0", show_default=True, help="Where clients dial.")
@click.option(
    "--expect", type=click.Choice(get_args(Expect)), default="lanes", help="What a Script demands of clients."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=TIMEOUT,
    default=math.inf,
    metavar="SECONDS",
    help="For each event that a Script waits for.  [default: for ever]",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="What is done instead of an event, such as reset(CANCEL)@server:2; README has a table.",
)
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False), help="Write all that is said into a fixture.")
@click.option("--overwrite", is_flag=True, help="Write FILE also where there is one.")
@click.option("--redact", multiple=True, metavar="KEY", help="Metadata whose values no fixture and no report has.")
@click.option("--no-services", is_flag=True, help="Without server reflection and health checking.")
@click.option(
    "--grace",
    "grace_s",
    type=GRACE,
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="For open calls to end, when it is over.",
)
@click.option("--json", "as_json", is_flag=True, help="Say everything as JSON lines.")
@descriptors_option
def serve(
    scripts: tuple[str, ...],
    lists: bool,
    listen: str,
    expect: Expect,
    timeout_s: float,
    faults: tuple[str, ...],
    out: str | None,
    overwrite: bool,
    redact: tuple[str, ...],
    no_services: bool,
    grace_s: float,
    as_json: bool,
    descriptors: Descriptors | None,
) -> None:
    """Serve SCRIPTs: names of ready-made ones, .py files with Scripts and handlers in them, or module:name.

    \b
        duplexmock serve chat --listen localhost:50051       until SIGINT or SIGTERM
        duplexmock serve moody.py -- ./client --some-flag    to a command that finds it in DUPLEXMOCK_TARGET

    Server reflection and health checking are served as well. When it is over, open calls have --grace seconds to end,
    and a second signal ends at once. The exit code is 0 if all calls agreed with their scripts, 1 if not or if a
    handler has raised, 2 if a file or an option cannot be used. With a COMMAND behind --, its exit code counts as well.
    """
    if lists:
        width = max(len(name) for name, _ in ready_made())
        for name, said in ready_made():
            echo(f"{name:<{width}}   {said}")
        return
    if not scripts:
        raise click.UsageError("Missing argument 'SCRIPT': a name of --list, a .py file, or module:name.")
    command = command_given()
    check_command(command)
    listening = address.parse(listen, "--listen")
    tee = None if out is None else Tee(out, if_exists="overwrite" if overwrite else "refuse", redact=redact)
    run = _Run(command, grace_s, as_json)
    mocking = Mocking(
        [script for text in scripts for script in found(text)],
        descriptors=descriptors,
        terms=terms(expect, timeout_s),
        faults=faults,
        services="none" if no_services else "served",
        redact=redact,
        out=tee,
        ended=lambda call: run.ended(mocking, call),
    )
    raise_file_limit()
    code = background.run(run.until_over(mocking, listening))
    for text in tee.warnings if tee is not None else ():
        echo(f"warning: {text}", sys.stderr)
    serving = mocking.serving
    if as_json:
        counts = {"agreed": serving.agreed, "mismatched": serving.disagreed, "raised": serving.raised}
        echo(json.dumps({**counts, "unfired": list(mocking.unfired)} if faults else counts))
    else:
        for line in mocking.unfired:
            echo(line)
        echo(mocking.tally())
    failed = serving.disagreed or serving.raised or mocking.unfired
    sys.exit(code or (EXIT_MISMATCH if failed else 2 if tee is not None and tee.warnings else 0))


class _Run:
    """One run of the command."""

    def __init__(self, command: Sequence[str], grace_s: float, as_json: bool) -> None:
        self._command = command
        self._grace_s = grace_s
        self._as_json = as_json
        self._signals = Signals()

    async def until_over(self, mocking: Mocking, listen: Address) -> int:
        """Serve until a signal, or until the command has exited; return the command's exit code."""
        with self._signals.caught():
            target = str(await mocking.start(listen))
            if self._as_json:
                echo(json.dumps({"listening": target}))
            elif not self._command:
                echo(f"listening on {target}")
            code = 0
            try:
                if self._command:
                    code = await run_command(self._command, target, self._signals, self._grace_s)
                else:
                    await self._signals.next()
            finally:
                await self._stop(mocking)
                for text in mocking.unreadable:
                    echo(f"warning: {text}", sys.stderr)
        return code

    async def _stop(self, mocking: Mocking) -> None:
        """Let open calls end; a signal ends the waiting."""
        stopping = asyncio.ensure_future(mocking.stop(self._grace_s))
        if await self._signals.or_done(stopping) is not None:
            await mocking.abandon()
        await stopping

    def ended(self, mocking: Mocking, call: ServedCall) -> None:
        """Say what a call has come to."""
        if call.failed is not None:
            echo("".join(traceback.format_exception(call.failed)), sys.stderr, end="")
        if self._as_json:
            echo(json.dumps(_fields(call)))
        elif call.outcome is not None and not call.outcome.agreed:
            for line in mocking.lines(call):
                echo(line)
        else:
            echo(mocking.line(call))


def _fields(call: ServedCall) -> dict[str, object]:
    from duplexmock.report.served import ending

    mismatch = call.outcome.mismatch if call.outcome is not None else None
    return {
        "call": call.number,
        "method": call.method,
        "script": call.name,
        "client_messages": call.witness.heard_messages,
        "server_messages": call.witness.said_messages,
        "ended": ending(call.session),
        "agreed": call.failed is None and mismatch is None,
        "sentence": mismatch.sentence if mismatch is not None else None,
        "raised": None if call.failed is None else f"{type(call.failed).__name__}: {call.failed}",
    }
