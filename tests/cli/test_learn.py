"""`duplexmock learn`: both seats, what it says, its exit codes; and what show and replay make of what was learned."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from click.testing import CliRunner

from duplexmock.cli.main import duplexmock
from duplexmock.core.events import Side
from duplexmock.core.learned import Ground, Need, Needs
from duplexmock.store.amend import amend
from duplexmock.store.fixture import Fixture
from duplexmock.store.header import Expectations
from tests.cli.commands import run, started
from tests.learn.peers import answering, shouts
from tests.learn.runs import wire
from tests.net.ends import ANSWER, REQUEST, written
from tests.net.wires import listening
from tests.playbook import HALF_CLOSE, METHOD, OK, ask, recorded, reply

HOLD = ("--hold", "0.25")
SHORT_HOLD = ("--hold", "0.15")
IN_PROBES = "each event is held until nothing has come for 250 ms, and longer: in 2 probes, up to 3 s"
NOTHING = "nothing was learned, and the fixture is as it was"
USAGE = "Usage: duplexmock learn [OPTIONS] FILE [-- COMMAND...]\nTry 'duplexmock learn --help' for help.\n\nError: "

SERVER = Needs(1, Side.SERVER, (Need(2, Ground.HELD, 2), Need(2, Ground.STRUCTURAL), Need(3, Ground.HELD, 2)))
CLIENT = Needs(1, Side.CLIENT, (Need(0, Ground.STRUCTURAL), Need(0, Ground.STRUCTURAL), Need(2, Ground.HELD, 2)))

SERVER_LINES = """\
x.duplex   session 1   /chat.ChatService/Chat   what the server needs
    ServerHeader       ClientMessage #1   held in 2 of 2 probes
    ServerMessage #1   ClientMessage #1   structural
    ServerTrailer      ClientHalfClose    held in 2 of 2 probes
"""
CLIENT_LINES = """\
x.duplex   session 1   /chat.ChatService/Chat   what the client needs
    ClientHeader       nothing            structural
    ClientMessage #1   nothing            structural
    ClientHalfClose    ServerMessage #1   held in 2 of 2 probes
"""
SERVER_JSON = (
    '{"learned": 1, "method": "/chat.ChatService/Chat", "side": "server", "needs": ['
    '{"event": "ServerHeader", "needs": "ClientMessage #1", "count": 2, "ground": "held", "probes": 2, "reason": ""}, '
    '{"event": "ServerMessage #1", "needs": "ClientMessage #1", "count": 2, "ground": "structural", "probes": 0, '
    '"reason": ""}, '
    '{"event": "ServerTrailer", "needs": "ClientHalfClose", "count": 3, "ground": "held", "probes": 2, '
    '"reason": ""}]}\n'
)
CLIENT_JSON = (
    '{"learned": 1, "method": "/chat.ChatService/Chat", "side": "client", "needs": ['
    '{"event": "ClientHeader", "needs": null, "count": 0, "ground": "structural", "probes": 0, "reason": ""}, '
    '{"event": "ClientMessage #1", "needs": null, "count": 0, "ground": "structural", "probes": 0, "reason": ""}, '
    '{"event": "ClientHalfClose", "needs": "ServerMessage #1", "count": 2, "ground": "held", "probes": 2, '
    '"reason": ""}]}\n'
)

WAITS = """
import os, queue, secrets, sys, grpc

# Says one message, and half-closes when it has its answer.
target = os.environ["DUPLEXMOCK_TARGET"]
metadata = [("x-request-id", secrets.token_hex(8))] if "new ids" in sys.argv else []
answered = queue.SimpleQueue()

def messages():
    yield b"a"
    answered.get()

with grpc.insecure_channel(target) as channel:
    for _ in channel.stream_stream("/chat.ChatService/Chat")(messages(), metadata=metadata):
        answered.put(True)
if "its target" in sys.argv:
    print(target)
sys.exit("badly" in sys.argv)
"""
INSISTS = """
import os, queue, secrets, grpc
from duplexmock.schema.wirescan import scan
from tests.learn.runs import wire

# Makes two calls over one stream, one after the other, and takes only the answer to the id that it has just chosen.
answered = queue.SimpleQueue()

def text(message, number):
    return next(message[at.value_start : at.value_end] for at in scan(message, 0, len(message)) if at.number == number)

def messages():
    for method in ("first", "second"):
        number = secrets.token_hex(8)
        yield wire({1: number, 2: method, 3: secrets.token_bytes(8)})
        if answered.get() != number.encode():
            raise SystemExit(f"an answer to another call than {method}")

with grpc.insecure_channel(os.environ["DUPLEXMOCK_TARGET"]) as channel:
    for message in channel.stream_stream("/chat.ChatService/Chat")(messages()):
        answered.put(text(message, 1))
"""
HASTY = """
import os
from tests.net.ends import REQUEST, client
from tests.playbook import HALF_CLOSE, ask

with client(os.environ["DUPLEXMOCK_TARGET"]) as end:
    end.hear(end.open(REQUEST, ask("a"), HALF_CLOSE), 1)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A call in which the client half-closes when it has its answer."""
    events = (REQUEST, ask("a"), ANSWER, reply("A"), HALF_CLOSE, OK)
    return written(tmp_path / "x.duplex", recorded(*enumerate(events)))


def learn(path: Path, *arguments: object, **more: Any) -> tuple[int, str, str]:
    """Run `duplexmock learn` on the fixture, in its folder."""
    code, stdout, stderr = run("learn", path.name, *arguments, cwd=path.parent, **more)
    return code, stdout, stderr


def said(path: Path, *arguments: str) -> tuple[int, str]:
    """Give these arguments to `duplexmock learn` in this process; return its exit code, and all it said."""
    done = CliRunner().invoke(duplexmock, ["learn", str(path), *arguments], prog_name="duplexmock")
    return done.exit_code, done.output


@pytest.fixture
def waits(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a client of the fixture."""
    return program(tmp_path_factory, WAITS)


@pytest.fixture
def hasty(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a client that half-closes before it has its answer."""
    return program(tmp_path_factory, HASTY)


@pytest.fixture
def insists(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a client that takes only the answers to the ids that it has chosen."""
    return program(tmp_path_factory, INSISTS)


def program(folders: pytest.TempPathFactory, code: str) -> list[str]:
    path = folders.mktemp("clients") / "client.py"
    path.write_text(code)
    return [sys.executable, str(path)]


def kept(path: Path) -> tuple[dict[Side, Needs], Expectations]:
    with Fixture.open(path) as fixture:
        return dict(fixture.learned(fixture.session(1))), fixture.expectations


@contextmanager
def untouched(path: Path) -> Iterator[None]:
    """See that the fixture is byte for byte as it was, and that nothing is beside it."""
    before = path.read_bytes()
    yield
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


# What the peer needs


def test_a_server_is_learned_from(path: Path) -> None:
    with answering(shouts) as target:
        done = learn(path, "--target", target, *HOLD)
    repeated = f"the recorded requests are repeated on the live server at {target}, with longer deadlines; {IN_PROBES}"
    assert done == (0, f"{repeated}\nprobe 1 of 2\nprobe 2 of 2\n{SERVER_LINES}", "")
    assert kept(path) == ({Side.SERVER: SERVER}, Expectations())


def test_a_command_is_learned_from(path: Path, waits: list[str]) -> None:
    is_run = f"{' '.join(waits)} is run and kept waiting: its deadlines may be up, and its keepalive; {IN_PROBES}"
    assert learn(path, *HOLD, "--", *waits) == (0, f"{is_run}\nprobe 1 of 2\nprobe 2 of 2\n{CLIENT_LINES}", "")
    assert kept(path) == ({Side.CLIENT: CLIENT}, Expectations())


def test_both_are_learned_from_and_told_as_json(path: Path, waits: list[str]) -> None:
    with answering(shouts) as target:
        code, stdout, stderr = learn(path, "--target", target, *HOLD, "--json", "--write", "--", *waits, "new ids")
    repeated = f"the recorded requests are repeated on the live server at {target}, with longer deadlines"
    is_run = f"{' '.join(waits)} 'new ids' is run and kept waiting: its deadlines may be up, and its keepalive"
    probes = '{"probe": 1}\n{"probe": 2}\n'
    assert (code, stderr) == (0, "")
    assert stdout == (
        f'{{"probes": 2, "hold_ms": 250.0, "changes": "{repeated}"}}\n{probes}'
        f'{{"probes": 2, "hold_ms": 250.0, "changes": "{is_run}"}}\n{probes}'
        f'{SERVER_JSON}{{"ignore": [], "bind": [], "written": true}}\n'
        f'{CLIENT_JSON}{{"ignore": ["metadata:x-request-id"], "bind": [], "written": true}}\n'
    )
    assert kept(path) == ({Side.SERVER: SERVER, Side.CLIENT: CLIENT}, Expectations(("metadata:x-request-id",)))


def test_what_changes_is_told_as_options_and_not_kept_unasked(path: Path, waits: list[str]) -> None:
    changes = "changes from play to play (to be given to replay, or kept by --write): --ignore metadata:x-request-id\n"
    code, stdout, stderr = learn(path, *SHORT_HOLD, "--", *waits, "new ids")
    assert (code, stderr) == (0, "")
    assert stdout.endswith(changes)
    assert kept(path)[1] == Expectations()
    written_now = changes.replace("to be given to replay, or kept by --write", "written into the fixture")
    assert learn(path, *SHORT_HOLD, "--write", "--", *waits, "new ids")[1].endswith(written_now)
    assert kept(path)[1] == Expectations(("metadata:x-request-id",))


def test_what_comes_back_is_told_as_an_option_and_kept_on_demand(tmp_path: Path, insists: list[str]) -> None:
    """From then on a replay goes on with a client that has chosen other ids, and without it with none."""
    path = tmp_path / "x.duplex"
    with answering(answers_by_id) as target:
        assert run("record", target, "--out", path, "--", *insists)[0] == 0
    bind = f"--bind '{METHOD}>1={METHOD}<1'"
    changes = f"changes from play to play (to be given to replay, or kept by --write): --ignore '{METHOD}>3' {bind}\n"
    code, stdout, stderr = learn(path, *SHORT_HOLD, "--", *insists)
    assert (code, stderr) == (0, "")
    assert stdout.endswith(changes)
    assert kept(path)[1] == Expectations()
    assert run("replay", path, "--ignore", f"{METHOD}>3", "--ignore", f"{METHOD}>1", "--", *insists)[0] == 1
    assert run("replay", path, "--ignore", f"{METHOD}>3", "--bind", f"{METHOD}>1={METHOD}<1", "--", *insists)[0] == 0
    written_now = changes.replace("to be given to replay, or kept by --write", "written into the fixture")
    assert learn(path, *SHORT_HOLD, "--write", "--", *insists)[1].endswith(written_now)
    assert kept(path)[1] == Expectations((f"{METHOD}>3",), ((f"{METHOD}>1", f"{METHOD}<1"),))
    agreed = f"{path}   session 1   {METHOD}   the mock played the server   agreed\n1 session: 1 agreed\n"
    assert run("replay", path, "--", *insists) == (0, agreed, "")


async def answers_by_id(_: Any, context: Any) -> None:
    """Answer each message with what it begins with, its id, and `done`."""
    while (message := await context.read()) is not grpc.aio.EOF:
        await context.write(message[: 2 + message[1]] + wire({2: "done"}))


def test_the_command_dials_where_it_is_told_and_its_exit_code_is_a_warning(path: Path, waits: list[str]) -> None:
    listen = f"unix:{path.parent}/sock"
    code, stdout, stderr = learn(
        path, *SHORT_HOLD, "--runs", 2, "--listen", listen, "--", *waits, "its target", "badly"
    )
    assert code == 0
    assert [line for line in stdout.splitlines() if line.startswith("unix:")] == [listen] * 2
    assert [line for line in stdout.splitlines() if line.startswith("probe")] == ["probe 1 of 2", "probe 2 of 2"]
    assert stderr == f"warning: {sys.executable} exited with 1\n" * 2
    assert os.listdir(path.parent) == ["x.duplex"]


def test_the_hold_is_chosen_by_the_recording(path: Path, tmp_path: Path) -> None:
    events = ((0, REQUEST), (1, ask("a")), (2, ANSWER), (3, reply("A")), (153, HALF_CLOSE), (154, OK))
    written(tmp_path / "slow.duplex", recorded(*events))
    for file, told in ((path, "100 ms"), (tmp_path / "slow.duplex", "300 ms")):
        code, stdout, _ = learn(file, "--", "true")
        assert code == 1
        assert f"; each event is held until nothing has come for {told}, and longer: in 2 probes, " in stdout


# Where nothing is learned


def test_a_command_that_makes_no_call_is_a_mismatch(path: Path) -> None:
    with untouched(path):
        code, stdout, stderr = learn(path, *HOLD, "--", "false")
    is_run = f"false is run and kept waiting: its deadlines may be up, and its keepalive; {IN_PROBES}\n"
    sentence = f"Error: probe 1: the client did not open session 1 ({METHOD}); {NOTHING}\n"
    assert (code, stdout, stderr) == (1, is_run, f"warning: false exited with 1\n{sentence}")


def test_a_command_that_makes_no_call_and_hangs_is_ended(path: Path) -> None:
    with untouched(path):
        code, _, stderr = learn(path, "--timeout", "0.3", "--", sys.executable, "-c", "import signal; signal.pause()")
    assert (code, stderr) == (1, f"Error: probe 1: the client did not open session 1 ({METHOD}); {NOTHING}\n")


def test_nothing_is_kept_of_the_server_where_the_command_fails(path: Path) -> None:
    with untouched(path), answering(shouts) as target:
        code, stdout, stderr = learn(path, "--target", target, *SHORT_HOLD, "--", "true")
    assert (code, stderr) == (1, f"Error: probe 1: the client did not open session 1 ({METHOD}); {NOTHING}\n")
    assert "what the server needs" not in stdout


def test_a_server_that_is_not_there_is_an_error(path: Path) -> None:
    with listening() as (listener, target):
        listener.close()
        with untouched(path):
            code, stdout, stderr = learn(path, "--target", target, *HOLD)
    repeated = f"the recorded requests are repeated on the live server at {target}, with longer deadlines; {IN_PROBES}"
    assert (code, stdout, stderr) == (2, f"{repeated}\n", f"Error: {target} cannot be reached: Connection refused\n")


@pytest.mark.parametrize(("number", "seat"), [(signal.SIGINT, "target"), (signal.SIGTERM, "command")])
def test_a_signal_ends_it_and_nothing_is_learned(
    path: Path, waits: list[str], number: signal.Signals, seat: str
) -> None:
    """With a hold that nobody waits for: the signal comes when it has begun."""
    with untouched(path), answering(shouts) as target:
        there = ["--target", target] if seat == "target" else ["--", *waits]
        with started("learn", path, "--hold", "100", *there) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.endswith("until nothing has come for 100 s, and longer: in 2 probes, up to 961 s\n")
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", "")


def test_its_help_says_what_it_does() -> None:
    code, told = said(Path("--help"))
    assert code == 0
    assert told.startswith(
        "Usage: duplexmock learn [OPTIONS] FILE [-- COMMAND...]\n\n  Learn which order across the lanes"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--target or -- COMMAND: whose needs are to be learned?"),
        (["--listen", "127.0.0.1:0", "--target", "h:1"], "--listen is where COMMAND dials, and there is none."),
        (
            ["--hold", "0", "--target", "h:1"],
            "Invalid value for '--hold': '0' is not a number of seconds more than 0 and less than 1,000,000.",
        ),
        (
            ["--hold", "1e6", "--target", "h:1"],
            "Invalid value for '--hold': '1e6' is not a number of seconds more than 0 and less than 1,000,000.",
        ),
        (["--runs", "1", "--target", "h:1"], "Invalid value for '--runs': 1 is not in the range x>=2."),
        (
            ["--timeout", "-1", "--", "true"],
            "Invalid value for '--timeout': '-1' is not a number of seconds more than 0, or inf.",
        ),
        (["--metadata", "k", "--", "true"], "--metadata 'k': not KEY=VALUE."),
        (["--bind", "a", "--", "true"], "--bind 'a': not FROM=TO, two field paths."),
    ],
)
def test_usage_errors(path: Path, arguments: list[str], sentence: str) -> None:
    with untouched(path):
        assert said(path, *arguments) == (2, f"{USAGE}{sentence}\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", "nowhere"], "--target 'nowhere': not HOST:PORT or unix:/path"),
        (["--listen", "nowhere", "--", "true"], "--listen 'nowhere': not HOST:PORT or unix:/path"),
        (["--", "no-such-command"], "no-such-command: no such command"),
        (["--session", "2", "--", "true"], "{path}: there is no session 2; the fixture holds session 1 alone"),
        (["--method", "*/None", "--", "true"], "{path}: no sessions to learn from"),
        (["--ignore", "a b", "--", "true"], "ignore 'a b': 'a b' is neither a field's name nor its number"),
    ],
)
def test_what_cannot_be_done_is_refused(path: Path, arguments: list[str], sentence: str) -> None:
    with untouched(path):
        assert said(path, *arguments) == (2, f"Error: {sentence.format(path=path)}\n")


def test_the_time_that_the_recording_took_is_told_as_well(tmp_path: Path) -> None:
    """A server that pushed for a minute pushes for a minute in each probe."""
    pushes = tuple((1_000 * n, reply(f"{n}")) for n in range(1, 60))
    path = written(tmp_path / "x.duplex", recorded((0, REQUEST), (1, ANSWER), *pushes, (60_000, HALF_CLOSE)))
    code, stdout = said(path, "--hold", "1", "--target", "127.0.0.1:1")
    assert code == 2
    assert stdout.partition("\n")[0].endswith(
        "each event is held until nothing has come for 1 s, and longer: in 2 probes, up to 127 s"
    )


def test_a_file_that_cannot_be_learned_from_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])
    sentence = f"{path}: the file ends inside entry 3; only a whole recording can be learned from"
    with untouched(path):
        assert said(path, "--", "true") == (2, f"Error: {sentence}\n")
        missing = path.with_name("y.duplex")
        assert said(missing, "--", "true") == (2, f"Error: {missing}: No such file or directory\n")


# What is made of it


def test_show_marks_what_is_needed(path: Path) -> None:
    amend(path, [SERVER, CLIENT])
    head = "x.duplex   2026-11-22 12:00:00 UTC   of 127.0.0.1:50051   1 session\n"
    title = "x.duplex   session 1   /chat.ChatService/Chat   127.0.0.1:1 > 127.0.0.1:2\n"
    assert run("show", path) == (
        0,
        f"""{head}
{title}        0.000 ms  >  ClientHeader
        1.000 ms  >  ClientMessage #1  'a'
        2.000 ms  <  ServerHeader  needs ClientMessage #1 (held in 2 of 2 probes)
        3.000 ms  <  ServerMessage #1  'A'
        4.000 ms  >  ClientHalfClose  needs ServerMessage #1 (held in 2 of 2 probes)
        5.000 ms  <  ServerTrailer OK  needs ClientHalfClose (held in 2 of 2 probes)
""",
        "",
    )


def test_show_has_it_as_json(path: Path) -> None:
    amend(path, [SERVER, CLIENT])
    code, stdout, stderr = run("show", path, "--json")
    assert (code, stderr) == (0, "")
    lines = stdout.splitlines(keepends=True)
    assert [next(iter(json.loads(line))) for line in lines] == ["fixture", "session", "learned", "learned"]
    assert sorted(lines[2:]) == [CLIENT_JSON, SERVER_JSON]


def test_replay_asserts_the_order_of_a_learned_client_unasked(path: Path, waits: list[str], hasty: list[str]) -> None:
    agreed = f"{path}   session 1   {METHOD}   the mock played the server   agreed\n1 session: 1 agreed"
    not_asserted = f"{agreed}; order across lanes was not asserted\n"
    assert run("replay", path, "--", *waits) == (0, not_asserted, "")
    amend(path, [SERVER, CLIENT])
    assert run("replay", path, "--", *waits) == (0, f"{agreed}\n", "")
    assert run("replay", path, "--expect", "lanes", "--", *hasty)[:2] == (0, not_asserted)
    code, stdout, stderr = run("replay", path, "--", *hasty)
    assert (code, stderr) == (1, "")
    assert timeless(stdout).splitlines() == [
        f"{path}   session 1   /chat.ChatService/Chat   the mock played the server",
        "  TIME  >  ClientHeader",
        "  TIME  >  ClientMessage #1  'a'",
        "! TIME  >  ClientHalfClose  too early",
        "             –    <  ServerHeader  not reached",
        "             –    <  ServerMessage #1  not reached",
        "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (held in 2 of 2 probes)",
        "ClientHalfClose came before ServerMessage #1, and has to come after it (held in 2 of 2 probes).",
        f"Again: duplexmock replay {path} --session 1 -- {' '.join(hasty)}",
        "1 session: 0 agreed, 1 did not",
    ]


def test_replay_asserts_the_order_of_a_learned_server_unasked(path: Path) -> None:
    amend(path, [SERVER])
    repeated = "the recorded requests are repeated on the live server at "
    with answering(shouts) as target:
        agreed = f"{path}   session 1   {METHOD}   the replay played the client   agreed\n1 session: 1 agreed\n"
        assert run("replay", path, "--target", target) == (0, f"{repeated}{target}\n{agreed}", "")
        assert run("replay", path, "--target", target, "--expect", "order")[0] == 0


@pytest.mark.parametrize("expect", [(), ("--expect", "order")])
def test_where_all_edges_are_unknown_replay_says_that_no_order_was_asserted(
    path: Path, hasty: list[str], expect: tuple[str, ...]
) -> None:
    unknown = Need(2, Ground.UNKNOWN, 2, "in a probe the client gave up, with a cancel")
    amend(path, [SERVER, Needs(1, Side.CLIENT, (*CLIENT.lane[:2], unknown))])
    agreed = f"{path}   session 1   {METHOD}   the mock played the server   agreed\n1 session: 1 agreed"
    told = f"{agreed}; order across lanes was not asserted: all edges are unknown\n"
    assert run("replay", path, *expect, "--", *hasty) == (0, told, "")


@pytest.mark.parametrize(
    ("there", "peer", "how"),
    [(["--", "true"], "client", "-- COMMAND"), (["--target", "h:1"], "server", "--target HOST:PORT")],
    ids=["client", "server"],
)
def test_an_order_that_was_not_learned_is_not_asserted_and_the_way_to_learn_it_is_told(
    path: Path, there: list[str], peer: str, how: str
) -> None:
    amend(path, [SERVER if peer == "client" else CLIENT])
    assert run("replay", path, "--expect", "order", *there) == (
        2,
        "",
        f"Error: {path}: expect 'order' demands what the {peer} needs, which has not been learned of session 1; learn "
        f"it (duplexmock learn {path} {how}), or use 'lanes', or 'strict' for the order that was seen\n",
    )


def timeless(text: str) -> str:
    """Return a timeline without its times, and without the metadata of its header."""
    text = re.sub(r"(?m)^ +(! )?[0-9.]+ ms", lambda found: f"{found[1] or '  '}TIME", text)
    return re.sub(r"(?m)^(  TIME  >  ClientHeader).*", r"\1", text)
