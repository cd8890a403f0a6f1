"""Running a command beside a command of ours: signals, exit codes, and a server that is ended behind the block."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from duplexmock.cli.running import Signals, check_command, run_command, serving
from duplexmock.errors import ScriptError

LIMIT_S = 30.0


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_signals_are_taken_in_their_order_and_handlers_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    async def main() -> list[int]:
        signals = Signals()
        with signals.caught():
            os.kill(os.getpid(), signal.SIGTERM)
            first = await signals.next()
            os.kill(os.getpid(), signal.SIGINT)
            return [first, await signals.next()]

    assert asyncio.run(main()) == [signal.SIGTERM, signal.SIGINT]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_task_that_is_done_a_signal_or_a_time() -> None:
    async def main() -> list[Any]:
        signals, never = Signals(), asyncio.get_running_loop().create_future()
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        with signals.caught():
            told = [await signals.or_done(done), await signals.or_done(never, 0.01)]
            os.kill(os.getpid(), signal.SIGTERM)
            return [*told, await signals.or_done(never)]

    assert asyncio.run(main()) == [None, None, signal.SIGTERM]


def test_a_command_that_cannot_be_found_or_run(tmp_path: Path) -> None:
    check_command([])
    check_command([sys.executable])
    with pytest.raises(ScriptError) as caught:
        check_command(["no-such-command-at-all"])
    assert str(caught.value) == "no-such-command-at-all: no such command"
    (tmp_path / "script").write_text("no program\n")
    (tmp_path / "script").chmod(0o755)
    script = str(tmp_path / "script")

    async def serve() -> None:
        async with serving([script], "127.0.0.1:1", LIMIT_S):
            pytest.fail("the block is not entered")

    for run in (lambda: run_command([script], "127.0.0.1:1", Signals(), LIMIT_S), serve):
        with pytest.raises(ScriptError) as caught:
            asyncio.run(run())
        assert str(caught.value) == f"{script}: Exec format error"


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("raise SystemExit(3)", 3),
        ("import os; raise SystemExit(os.environ['DUPLEXMOCK_TARGET'] != '127.0.0.1:1')", 0),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL),
    ],
)
def test_the_exit_code_of_a_command(code: str, exit_code: int) -> None:
    assert asyncio.run(run_command(python(code), "127.0.0.1:1", Signals(), LIMIT_S)) == exit_code


IGNORES = "import pathlib, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w'); "
ENDS_BY_7 = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); open(sys.argv[1], 'w'); "


async def there(path: Path) -> None:
    while not path.exists():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("import signal, sys; open(sys.argv[1], 'w'); signal.pause()", 0),
        (ENDS_BY_7 + "signal.pause()", 7),
        (IGNORES + "[signal.pause() for _ in iter(int, 1)]", 128 + signal.SIGKILL),
    ],
)
def test_a_server_is_ended_behind_the_block(tmp_path: Path, code: str, exit_code: int) -> None:
    async def main() -> int:
        async with serving(python(code, str(tmp_path / "ready")), "127.0.0.1:1", 0.5) as server:
            await there(tmp_path / "ready")
        return server.code

    assert asyncio.run(main()) == exit_code
