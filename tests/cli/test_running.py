"""Running a command beside a command of ours: signals, exit codes, and how it is ended."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from duplexmock.cli.running import Signals, check_command, run_command, started
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
            told = [await signals.or_done(never, done), await signals.or_done(never, within_s=0.01)]
            assert not signals.have_come
            os.kill(os.getpid(), signal.SIGTERM)
            return [*told, await signals.or_done(never, never)]

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

    async def run_it() -> int:
        return await run_command([script], "127.0.0.1:1", Signals(), LIMIT_S)

    async def start_it() -> None:
        await started([script], "127.0.0.1:1")

    for run in (run_it, start_it):
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


def test_a_command_is_not_started_where_a_signal_has_come_before(tmp_path: Path) -> None:
    async def main() -> int:
        signals = Signals()
        with signals.caught():
            os.kill(os.getpid(), signal.SIGINT)
            while not signals.have_come:
                await asyncio.sleep(0)
            touch = python("open(__import__('sys').argv[1], 'w')", str(tmp_path / "ran"))
            return await run_command(touch, "127.0.0.1:1", signals, LIMIT_S)

    assert asyncio.run(main()) == 128 + signal.SIGINT
    assert list(tmp_path.iterdir()) == []


READY = "import signal, sys; open(sys.argv[1], 'w'); "
IGNORES = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w'); "
ENDS_BY_7 = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); open(sys.argv[1], 'w'); "


async def there(path: Path) -> None:
    while not path.exists():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (READY + "signal.pause()", 0),
        (ENDS_BY_7 + "signal.pause()", 7),
        (IGNORES + "[signal.pause() for _ in iter(int, 1)]", 128 + signal.SIGKILL),
    ],
)
def test_a_command_is_ended(tmp_path: Path, code: str, exit_code: int) -> None:
    ready = tmp_path / "ready"

    async def main() -> int:
        program = await started(python(code, str(ready)), "127.0.0.1:1")
        assert program.name == sys.executable
        await there(ready)
        return await program.end(0.5)

    async def overdue() -> int:
        return await run_command(python(code, str(ready)), "127.0.0.1:1", Signals(), LIMIT_S, there(ready))

    assert asyncio.run(main()) == exit_code
    ready.unlink()
    assert asyncio.run(overdue()) == exit_code


def test_a_command_that_has_exited_is_not_ended_well() -> None:
    async def main(code: str) -> int:
        program = await started(python(code), "127.0.0.1:1")
        await program.exited
        return await program.end(LIMIT_S)

    assert asyncio.run(main("raise SystemExit(3)")) == 3
    assert asyncio.run(main("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")) == 128 + signal.SIGTERM


def test_what_keeps_a_command_from_being_overdue_may_fail_and_it_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    async def fails() -> None:
        await there(pid)
        raise ScriptError("mine")

    code = "import os, pathlib, signal, sys; pathlib.Path(sys.argv[1] + '-').write_text(str(os.getpid())); "
    code += "os.rename(sys.argv[1] + '-', sys.argv[1]); signal.pause()"
    with pytest.raises(ScriptError, match="mine"):
        asyncio.run(run_command(python(code, str(pid)), "127.0.0.1:1", Signals(), LIMIT_S, fails()))
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
