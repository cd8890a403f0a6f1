"""`duplexmock show`: whole texts of a fixed fixture, choices, colours, git's textconv, and files that are none."""

import json
import os
import pty
import shutil
import subprocess
import sys

import pytest

from duplexmock.core.rows import RowKind
from tests.cli.commands import DUPLEXMOCK, environment, run
from tests.schema.protos import chat_file, set_of
from tests.store.fixtures import BARE, FIRST, OTHER, RICH, rich_bytes, write

HEAD = """\
rich.duplex   2026-11-22 12:00:00 UTC   of 127.0.0.1:50051   7 sessions
    ignore chat.ChatMessage.timestamp
    bind a.B.id=a.C.id
    expect order
"""

SESSION_1 = """
rich.duplex   session 1   /chat.ChatService/Chat   127.0.0.1:41234 > 127.0.0.1:50051
        0.000 ms  >  ClientHeader  grpc-timeout: 5S, x: café, x: 2, raw-bin: b'\\x00\\xff'
        0.000 ms  >  ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}
        0.000 ms  <  ServerHeader  grpc-encoding: gzip, k: v
        0.000 ms  <  ServerMessage #1  b'\\x1f\\x8b not gzip'  gzip, 11 bytes, damaged
        0.000 ms  >  ClientHalfClose
        0.000 ms  <  ServerTrailer NOT_FOUND  'no such café'  details {1: 5}  t-bin: b'', u: ''
"""

OTHERS = """
rich.duplex   session 2   /other.Service/Method   unix: > 127.0.0.1:50051
        0.000 ms  >  ClientHeader
        0.000 ms  <  ServerTrailer UNAVAILABLE, derived: HTTP 503  trailers-only  HTTP 503  reset_after NO_ERROR

rich.duplex   session 3   /other.Service/Method   unix: > 127.0.0.1:50051
        0.000 ms  >  ClientHeader
        0.000 ms  >  ClientMessage #1  'abcde'
        0.000 ms  >  Cancel CANCEL
"""


@pytest.fixture
def rich(tmp_path):
    write(tmp_path / "rich.duplex")
    return tmp_path / "rich.duplex"


def test_the_whole_fixture_as_text(rich):
    code, stdout, stderr = run("show", rich)
    assert (code, stderr) == (0, "")
    assert stdout.startswith(HEAD + SESSION_1 + OTHERS)
    assert stdout.count("\nrich.duplex   session ") == 7
    assert stdout.endswith(
        """
rich.duplex   session 7   /other.Service/Method   unix: > 127.0.0.1:50051
        0.000 ms  >  ClientHeader
             –       incomplete: the recording stops before the call's end
"""
    )


def test_a_fixture_that_was_not_closed_says_so_at_its_end(tmp_path):
    (tmp_path / "rich.duplex").write_bytes(rich_bytes(tmp_path, close=False)[:-3])
    code, stdout, stderr = run("show", tmp_path / "rich.duplex")
    assert (code, stderr) == (0, "")
    assert stdout.endswith("\nrich.duplex: incomplete: the file ends inside entry 15\n")


def test_some_sessions(rich):
    assert run("show", rich, "--session", 1) == (0, HEAD + SESSION_1, "")
    assert run("show", rich, "--session", 3, "--session", 1)[1].count("   session ") == 2
    assert run("show", rich, "--method", "*/Chat", "--session", 1, "--session", 2) == (0, HEAD + SESSION_1, "")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--session", 8], "{rich}: there is no session 8; the fixture holds sessions 1 to 7"),
        (["--session", 1, "--session", 99], "{rich}: there is no session 99; the fixture holds sessions 1 to 7"),
        (["--method", "none"], "method 'none': no session is of such a method"),
        (["--method", "*/Chat", "--method", "none"], "method 'none': no session is of such a method"),
        (["--session", 2, "--method", "*/Chat"], "method '*/Chat': none of the sessions chosen is of such a method"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_what_chooses_nothing_is_refused(rich, options, sentence, form):
    assert run("show", rich, *options, *form) == (2, "", f"Error: {sentence.format(rich=rich)}\n")


def test_a_fixture_without_sessions_is_shown_and_nothing_can_be_chosen_of_it(tmp_path):
    write(tmp_path / "none.duplex", [], BARE)
    head = "none.duplex   2026-11-22 12:00:00 UTC   of unix:/run/chat.sock   0 sessions\n"
    assert run("show", "none.duplex", cwd=tmp_path) == (0, head, "")
    sentence = "Error: none.duplex: there is no session 1; the fixture holds no sessions\n"
    assert run("show", "none.duplex", "--session", 1, cwd=tmp_path) == (2, "", sentence)
    sentence = "Error: method '*': no session is of such a method\n"
    assert run("show", "none.duplex", "--method", "*", cwd=tmp_path) == (2, "", sentence)


def test_descriptors_name_the_fields(tmp_path):
    bare = [(at_ns, [row for row in rows if row[0] != RowKind.DESCRIPTORS]) for at_ns, rows in RICH]
    write(tmp_path / "bare.duplex", bare, BARE)
    (tmp_path / "set.pb").write_bytes(set_of(chat_file()))
    without = run("show", "bare.duplex", "--session", 1, cwd=tmp_path)[1]
    assert "ClientMessage #1  {1: 'Client', 2: 'one', 3: 1795348800}\n" in without
    given = run("show", "bare.duplex", "--session", 1, "--descriptors", "set.pb", cwd=tmp_path)[1]
    assert "ClientMessage #1  {sender: 'Client', message: 'one', timestamp: 1795348800}\n" in given
    assert given.startswith("bare.duplex   2026-11-22 12:00:00 UTC   of unix:/run/chat.sock   7 sessions\n\n")


def test_descriptors_that_are_none(rich):
    assert run("show", rich, "--descriptors", rich) == (
        2,
        "",
        f"Error: {str(rich)!r} is not a descriptor set; make it with: "
        "protoc --include_imports --descriptor_set_out=set.pb FILE.proto\n",
    )


def test_json_lines(rich):
    code, stdout, stderr = run("show", rich, "--json", "--session", 1, "--session", 7)
    assert (code, stderr) == (0, "")
    first, one, seven = map(json.loads, stdout.splitlines())
    assert first == {
        "fixture": "rich.duplex",
        "upstream": "127.0.0.1:50051",
        "started": "2026-11-22T12:00:00.000000001Z",
        "sessions": 7,
        "complete": True,
        "why_incomplete": "",
    }
    assert [entry["event"] for entry in one["entries"]] == [
        "ClientHeader",
        "ClientMessage",
        "ServerHeader",
        "ServerMessage",
        "ClientHalfClose",
        "ServerTrailer",
    ]
    assert one["entries"][1]["message"] == {"sender": "Client", "message": "one", "timestamp": "1795348800"}
    assert (seven["session"], seven["ended"]) == (7, "incomplete")


def test_a_pipe_gets_no_colour_and_a_terminal_does_unless_it_is_unwanted(rich):
    assert "\x1b" not in run("show", rich)[1]
    assert "\x1b[36m        0.000 ms  >  ClientHeader" in on_a_terminal("show", rich)
    assert "\x1b[32m        0.000 ms  <  ServerHeader" in on_a_terminal("show", rich)
    assert "\x1b" not in on_a_terminal("show", rich, NO_COLOR="1")


def on_a_terminal(*arguments, **more):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*DUPLEXMOCK, *map(str, arguments)], env=environment(**more), stdout=theirs)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65_536):
            said += piece
    except OSError:
        pass  # the terminal's other end has gone
    os.close(ours)
    assert process.wait() == 0
    return said.decode()


def test_what_the_encoding_lacks_is_escaped(rich):
    done = subprocess.run(
        [*DUPLEXMOCK, "show", str(rich)], env=environment(PYTHONIOENCODING="latin-1"), capture_output=True, check=True
    )
    assert done.stderr == b""
    assert b"x: caf\xe9, x: 2" in done.stdout
    assert b"             \\u2013       incomplete" in done.stdout


def test_a_locale_that_knows_ascii_alone_is_no_error(rich):
    ascii_only = environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
    code, stdout, stderr = run("show", rich, env=ascii_only)
    assert (code, stderr) == (0, "")
    assert stdout.startswith(HEAD)


def test_a_pipe_that_is_closed_early_is_no_error(tmp_path):
    long = tmp_path / "long.duplex"
    rows = [(RowKind.OPENED, 1, FIRST), (RowKind.CLIENT_HEADER, 1, OTHER, 1, 1)]
    write(long, [(1, rows), *((n, [(RowKind.CLIENT_MESSAGE, 1, 0, b"\x08\x01")] * 100) for n in range(2, 200))])
    process = subprocess.Popen(
        [*DUPLEXMOCK, "show", str(long)], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"long.duplex   2026-11-22 12:00:00 UTC   of 127.0.0.1:50051   1 session\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


def test_git_shows_fixtures_as_text(tmp_path, rich):
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")

    def do(*words):
        env = environment(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull, GIT_PAGER="cat")
        return subprocess.run([git, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout

    do("init", "--quiet", ".")
    do("config", "user.name", "t")
    do("config", "user.email", "t@example.com")
    do("config", "diff.duplexmock.textconv", f"'{sys.executable}' -m duplexmock show")
    (tmp_path / ".gitattributes").write_text("*.duplex diff=duplexmock\n")
    do("add", ".")
    do("commit", "--quiet", "-m", "one")
    rich.unlink()
    write(rich, RICH[:-1])
    difference = do("diff")
    assert "connection lost: the reason" in difference
    assert [line for line in difference.splitlines() if line.startswith("+ ")] == [
        "+             –       incomplete: the recording stops before the call's end"
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a duplexmock fixture"),
        (b"hello", "not a duplexmock fixture"),
        (None, "the file ends inside its header; nothing was recorded"),
    ],
)
def test_files_that_are_no_fixture(tmp_path, content, sentence):
    path = tmp_path / "x.duplex"
    path.write_bytes(rich_bytes(tmp_path)[:50] if content is None else content)
    assert run("show", path) == (2, "", f"Error: {path}: {sentence}\n")


def test_damage_is_told_with_its_place_and_what_was_read_before_it_is_shown(tmp_path):
    content = rich_bytes(tmp_path)
    path = tmp_path / "rich.duplex"
    path.write_bytes(content.replace(b"too_many_pings", b"too_many_ping\xff"))
    assert run("show", path)[0] == 0  # a payload may be anything
    path.write_bytes(content.replace(b"\x93\x0b\x06", b"\x93\x63\x06"))
    code, stdout, stderr = run("show", path)
    assert code == 2
    assert stdout.startswith(HEAD + SESSION_1)
    assert stderr == (
        f"Error: {path}: entry 13: row 1: a row of kind 99 that is not as its kind demands; "
        "the file is damaged or was edited by hand\n"
    )


def test_sessions_as_the_source_of_scripts(rich):
    code, stdout, stderr = run("show", rich, "--as", "script", "--session", "3")
    assert (code, stderr) == (0, "")
    assert stdout == (
        "# rich.duplex, as scripts: each allows what was recorded, and nothing else.\n"
        "# Dicts need descriptors: Script(..., descriptors=...), or --descriptors where it is served.\n"
        "\n"
        "from duplexmock import Script, cancel, client\n"
        "\n"
        "session_3 = Script(\n"
        '    "/other.Service/Method",\n'
        '    client(b"abcde", cancel()),\n'
        ")\n"
    )


def test_json_and_scripts_exclude_each_other(rich):
    code, _, stderr = run("show", rich, "--as", "script", "--json")
    assert code == 2
    assert "Error: --json and --as script exclude each other." in stderr
