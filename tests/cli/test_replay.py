"""`duplexmock replay`: both seats, with a COMMAND and without, its exit codes, its signals, and what it says where."""

import json
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.commands import LIMIT_S, replaying, run, started
from tests.net.chats import CHAT, serving
from tests.net.ends import ANSWER, REQUEST, request, written
from tests.net.test_replay import says
from tests.net.wires import listening
from tests.peers.programs import ROOT
from tests.playbook import HALF_CLOSE, OK, ask, recorded, reply

ECHO_THREE = ROOT / "fixtures" / "chat" / "echo_three.duplex"
SERVER = [sys.executable, "-m", "chat_app.server", "--kind", "ack", "--timestamp", "1795348800"]
SECRET = "redacted:" + "0" * 16
SUMMARY = "1 session: 1 agreed; order across lanes was not asserted\n"


def client(count: int = 3, *more: str) -> list[str]:
    own = ["--count", str(count), "--interval", "0", "--timestamp", "1795348800"]
    return [sys.executable, "-m", "chat_app.client", *own, *more]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return echo(tmp_path / "x.duplex")


def echo(path: Path, text: str = "a", count: int = 1, header: Any = REQUEST) -> Path:
    events = (header, ask(text), HALF_CLOSE, ANSWER, reply(text.upper()), OK)
    return written(path, *(recorded(*enumerate(events, 10 * number), number=number) for number in range(1, count + 1)))


# The server, to a COMMAND


def test_a_command_agrees() -> None:
    code, stdout, stderr = run("replay", ECHO_THREE, "--", *client())
    assert (code, stderr) == (0, "")
    agreed = f"{ECHO_THREE}   session 1   {CHAT}   the mock played the server   agreed"
    said_by_mock = [line for line in stdout.splitlines() if line[:2] not in ("> ", "< ", "en")]
    assert said_by_mock == [agreed, SUMMARY.rstrip()]
    assert "ended: OK" in stdout.splitlines()


def test_a_command_that_says_too_little() -> None:
    command = client(2, "--ends", "FAILED_PRECONDITION")
    code, stdout, stderr = run("replay", ECHO_THREE, "--", *command)
    assert (code, stderr) == (1, "")
    lines = stdout.splitlines()
    assert "The client half-closed before its third message." in lines
    assert f"Again: duplexmock replay {ECHO_THREE} --session 1 -- {' '.join(command)}" in lines
    assert lines[-1] == "1 session: 0 agreed, 1 did not"


@pytest.mark.parametrize(("exits", "code"), [(0, 1), (3, 3), (2, 2)])
def test_both_verdicts_count(path: Path, exits: int, code: int) -> None:
    done = run("replay", path, "--", *python(f"raise SystemExit({exits})"))
    not_played = f"not played: {path}   session 1   {CHAT}\n1 session: 0 agreed, 1 not played\n"
    assert done == (code, not_played, "")


def test_a_command_that_fails_where_all_agreed() -> None:
    assert run("replay", ECHO_THREE, "--", *client(3, "--ends", "ABORTED"))[0] == 1


def test_a_command_that_hangs_in_its_call_is_told_and_ends(path: Path) -> None:
    hangs = (
        "import os\n"
        "from tests.net.ends import REQUEST, client\n"
        "from tests.playbook import ask\n"
        "with client(os.environ['DUPLEXMOCK_TARGET']) as end:\n"
        "    print(end.hear(end.open(REQUEST, ask('a')), 1)[0].status.message)\n"
    )
    code, stdout, stderr = run("replay", path, "--timeout", "3", "--", *python(hangs))
    sentence = (
        "Nothing came from the client within 3 s, and its half-close was expected: the client waits for ServerHeader; "
        "that needs ClientHalfClose (seen, not learned); nothing is on its way."
    )
    assert (code, stderr) == (1, "")
    assert stdout.splitlines().count(sentence) == 2  # the command's and ours


HANGS = "import signal; signal.pause()"


def ended(within: str) -> str:
    return f"{sys.executable} was ended: no call came within {within}, and there is more to play."


def test_a_command_that_opens_no_call_is_ended(path: Path) -> None:
    assert run("replay", path, "--timeout", "0.3", "--", *python(HANGS)) == (
        1,
        f"{ended('300 ms')}\nnot played: {path}   session 1   {CHAT}\n1 session: 0 agreed, 1 not played\n",
        "",
    )


def test_json_lines_of_a_command_that_was_ended(path: Path) -> None:
    code, stdout, _ = run("replay", path, "--timeout", "0.3", "--json", "--", *python(HANGS))
    _, counted = map(json.loads, stdout.splitlines())
    assert (code, counted["command"], counted["agreed"]) == (1, ended("300 ms"), 0)


def test_a_command_that_is_ended_takes_what_it_has_started_with_it(path: Path) -> None:
    # The end of stdout, which `run` waits for, comes when nobody has it open any more.
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HANGS!r}])"
    assert run("replay", path, "--timeout", "0.3", "--", *python(starts))[0] == 1


@pytest.mark.parametrize("exits", [0, 7])
def test_the_exit_code_of_a_command_that_was_ended_is_not_its_own(path: Path, exits: int) -> None:
    code = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit({exits})); signal.pause()"
    assert run("replay", path, "--timeout", "0.5", "--", *python(code))[0] == 1


# The server, listening


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(path: Path, number: signal.Signals) -> None:
    with replaying(path) as mock:
        assert says(mock.target, b"a")[0] == [b"A"]
        mock.signal(number)
        assert mock.end() == (
            0,
            f"listening on {mock.target}\n{path}   session 1   {CHAT}   the mock played the server   agreed\n{SUMMARY}",
            "",
        )


def test_a_signal_before_all_was_played(path: Path) -> None:
    with replaying(path, "--listen", "127.0.0.1:0") as mock:
        mock.signal(signal.SIGTERM)
        assert mock.end() == (
            1,
            f"listening on {mock.target}\nnot played: {path}   session 1   {CHAT}\n1 session: 0 agreed, 1 not played\n",
            "",
        )


def test_options_choose_and_repeat(tmp_path: Path) -> None:
    echo(tmp_path / "one.duplex", count=2)
    echo(tmp_path / "two.duplex", "b", header=request(method="/other.Service/Talk"))
    with replaying(tmp_path, "--method", "*/Talk", "--repeat", 2) as mock:
        for _ in range(2):
            assert says(mock.target, b"b", method="/other.Service/Talk")[0] == [b"B"]
        mock.signal(signal.SIGTERM)
        assert mock.end()[0] == 0
    with replaying(tmp_path / "one.duplex", "--session", 2, "--order", "><<>><", "--speed", "2") as mock:
        assert says(mock.target, b"a")[0] == [b"A"]
        mock.signal(signal.SIGTERM)
        assert mock.end()[0] == 0


def test_faults(path: Path) -> None:
    with replaying(path, "--fault", "status(UNAVAILABLE, gone)@server:1", "--fault", "drop@server:9") as mock:
        replies, status, details = says(mock.target, b"a")
        mock.signal(signal.SIGTERM)
        code, stdout, stderr = mock.end()
    assert (replies, status.name, details) == ([], "UNAVAILABLE", "gone")
    told = "fault status(UNAVAILABLE, gone)@server:1; the client was not judged behind it, and said nothing"
    assert (code, stdout, stderr) == (
        1,
        f"listening on {mock.target}\n"
        f"{path}   session 1   {CHAT}   the mock played the server   agreed   {told}\n"
        "fault drop@server:9 never fired: no call came to ServerMessage #9\n"
        "1 session: 1 agreed, 1 fault never fired; order across lanes was not asserted\n",
        "",
    )


def test_a_fault_that_is_none(path: Path) -> None:
    done = run("replay", path, "--fault", "rest@server:1")
    assert done == (2, "", "Error: fault 'rest@server:1': there is no fault 'rest'; is 'reset' meant?\n")


def test_json_lines(path: Path) -> None:
    with replaying(path, "--json") as mock:
        says(mock.target, b"a")
        mock.signal(signal.SIGTERM)
        code, stdout, stderr = mock.end()
    listening_on, outcome, counted = map(json.loads, stdout.splitlines())
    assert (code, stderr) == (0, "")
    assert listening_on == {"listening": mock.target}
    assert {key: outcome[key] for key in ("fixture", "session", "method", "seat", "agreed", "mismatch")} == {
        "fixture": str(path),
        "session": 1,
        "method": CHAT,
        "seat": "server",
        "agreed": True,
        "mismatch": None,
    }
    assert {key: counted[key] for key in ("agreed", "mismatched", "unplayed")} == {
        "agreed": 1,
        "mismatched": 0,
        "unplayed": [],
    }


def test_junit(path: Path, tmp_path: Path) -> None:
    assert run("replay", path, "--junit", tmp_path / "r.xml", "--", *python("pass"))[0] == 1
    suite = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert len(list(suite.iter("testcase"))) == 1
    code, _, stderr = run("replay", path, "--junit", tmp_path / "none" / "r.xml", "--", *python("pass"))
    assert (code, stderr) == (2, f"Error: {tmp_path}/none/r.xml: cannot be written: No such file or directory\n")


def test_a_reader_that_goes_ends_nothing(path: Path) -> None:
    with replaying(path) as mock:
        assert mock.process.stdout is not None
        mock.process.stdout.close()
        assert says(mock.target, b"a")[0] == [b"A"]
        mock.signal(signal.SIGTERM)
        assert mock.process.wait(LIMIT_S) == 0


# The client


def test_the_first_line_says_that_a_live_server_is_talked_to() -> None:
    with serving() as target:
        code, stdout, stderr = run("replay", ECHO_THREE, "--target", target)
    assert (code, stderr) == (0, "")
    assert stdout == (
        f"the recorded requests are repeated on the live server at {target}\n"
        f"{ECHO_THREE}   session 1   {CHAT}   the replay played the client   agreed\n{SUMMARY}"
    )


def test_json_lines_of_the_client() -> None:
    with serving() as target:
        code, stdout, _ = run("replay", ECHO_THREE, "--target", target, "--json")
    first, outcome, _ = map(json.loads, stdout.splitlines())
    assert code == 0
    assert first == {"target": target, "repeats": "recorded requests on a live server"}
    assert (outcome["seat"], outcome["agreed"]) == ("client", True)


def test_the_server_may_be_the_command() -> None:
    with listening() as (listener, target):
        listener.close()
        code, stdout, stderr = run(
            "replay", ECHO_THREE, "--target", target, "--timeout", "30", "--", *SERVER, "--listen", target
        )
    assert (code, stderr) == (0, "")
    assert stdout.endswith(SUMMARY)


def test_a_server_that_fails_at_its_end_counts() -> None:
    code = (
        "import signal, subprocess, sys\n"
        "server = subprocess.Popen(sys.argv[1:])\n"
        "def end(*_): server.terminate(); sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "server.wait()\n"
    )
    with listening() as (listener, target):
        listener.close()
        command = [*python(code), *SERVER, "--listen", target]
        assert run("replay", ECHO_THREE, "--target", target, "--timeout", "30", "--", *command)[0] == 7


@pytest.mark.parametrize(("exits", "code"), [(0, 1), (3, 3)])
def test_a_server_that_exits_before_it_can_be_reached(path: Path, exits: int, code: int) -> None:
    with listening() as (listener, target):
        listener.close()
        done = run("replay", path, "--target", target, "--timeout", "inf", "--", *python(f"raise SystemExit({exits})"))
    assert done == (
        code,
        f"the recorded requests are repeated on the live server at {target}\n"
        f"{sys.executable} exited with {exits} before {target} could be reached.\n"
        f"not played: {path}   session 1   {CHAT}\n1 session: 0 agreed, 1 not played\n",
        "",
    )


def test_a_server_that_never_listens(path: Path) -> None:
    with listening() as (listener, target):
        listener.close()
        done = run("replay", path, "--target", target, "--timeout", "0.3", "--", *python(HANGS))
    first = f"the recorded requests are repeated on the live server at {target}\n"
    assert done == (2, first, refused(f"{target} cannot be reached: Connection refused"))


@pytest.mark.parametrize("with_command", [False, True])
def test_an_interrupted_client_is_no_success(path: Path, with_command: bool) -> None:
    with listening() as (listener, target):
        command = ["--", *python("import signal; signal.pause()")] if with_command else []
        with started("replay", path, "--target", target, *command) as process:
            listener.accept()
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_S) == 130


# Mistakes


def refused(sentence: str) -> str:
    return f"Error: {sentence}\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--session", "2"], "{path}: there is no session 2; the fixture holds session 1 alone"),
        (["--listen", "here"], "--listen 'here': not HOST:PORT or unix:/path"),
        (["--target", "here"], "--target 'here': not HOST:PORT or unix:/path"),
        (["--target", "127.0.0.1:0"], "--target '127.0.0.1:0': port 0 cannot be dialled"),
        (
            ["--order", "><"],
            "{path}: order '><' spells 1 events of the client and 1 of the server; session 1 has 3 and 3",
        ),
        (["--", "no-such-command-at-all"], "no-such-command-at-all: no such command"),
    ],
)
def test_mistakes(path: Path, options: Sequence[str], sentence: str) -> None:
    assert run("replay", path, *options) == (2, "", refused(sentence.format(path=path)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--listen", ":1", "--target", ":2"], "--listen plays the server and --target the client: one of them."),
        (["--bind", "a"], "--bind 'a': not FROM=TO, two field paths."),
        (["--metadata", "a"], "--metadata 'a': not KEY=VALUE."),
        (["--repeat", "0"], "Invalid value for '--repeat': 0 is not in the range x>=1."),
        (["--expect", "x"], "Invalid value for '--expect': 'x' is not one of 'lanes', 'order', 'strict'."),
    ],
)
def test_mistakes_of_usage(path: Path, options: Sequence[str], sentence: str) -> None:
    code, stdout, stderr = run("replay", path, *options)
    assert (code, stdout) == (2, "")
    assert stderr == (
        "Usage: duplexmock replay [OPTIONS] FILE... [-- COMMAND...]\n"
        f"Try 'duplexmock replay --help' for help.\n\nError: {sentence}\n"
    )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    code, stdout, stderr = run("replay", tmp_path / "none.duplex")
    assert (code, stdout) == (2, "")
    assert re.fullmatch(rf"Error: {re.escape(str(tmp_path))}/none\.duplex: .*\n", stderr)


def test_nobody_at_the_target(path: Path) -> None:
    with listening() as (listener, target):
        listener.close()
        code, stdout, stderr = run("replay", path, "--target", target)
    assert code == 2
    assert stdout == f"the recorded requests are repeated on the live server at {target}\n"
    assert stderr == refused(f"{target} cannot be reached: Connection refused")


def test_a_redacted_value_is_asked_for(tmp_path: Path) -> None:
    path = echo(tmp_path / "x.duplex", header=request(("x-key", SECRET)))
    assert run("replay", path, "--target", "127.0.0.1:9") == (
        2,
        "",
        refused(f"{path}: session 1: the value of 'x-key' was redacted; give one: --metadata x-key=VALUE"),
    )
