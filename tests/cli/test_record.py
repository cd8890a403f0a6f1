"""`duplexmock record`: with a COMMAND and without, its exit codes, its signals, and what it says where."""

import json
import os
import re
import signal
import socket
import sys
import threading

import grpc
import pytest
from chat_app.chat_pb2 import ChatMessage

from duplexmock.core.session import Ended
from duplexmock.store.fixture import Fixture
from duplexmock.store.header import Expectations
from tests.cli.commands import DUPLEXMOCK, environment, recording, run, started
from tests.net.chats import CHAT, called, channel, chatted, serving
from tests.schema.protos import chat_file, set_of

CLIENT = [sys.executable, "-m", "chat_app.client", "--count", "2", "--interval", "0", "--timestamp", "1795348800"]
SAID_BY_CLIENT = """\
> [1795348800] Client: Hi there! Message 0
> [1795348800] Client: Hi there! Message 1
> half-close
"""
RECORDED = (
    r"listening on 127\.0\.0\.1:\d+\n"
    r"recording {upstream} into {out}\n"
    r"session 1   /chat\.ChatService/Chat   2 > 2 <   OK   \d+\.\d{{3}} s\n"
    r"{out}: 1 session, 2 messages >, 2 messages <, \d+ B >, \d+ B <, 1 connection\n"
)


@pytest.fixture(scope="module")
def upstream():
    with serving() as address:
        yield address


@pytest.fixture
def out(tmp_path):
    return tmp_path / "x.duplex"


def read(path):
    with Fixture.open(path) as fixture:
        assert fixture.complete
        return fixture.header, tuple(fixture.sessions())


def python(code):
    return [sys.executable, "-c", code]


# With a COMMAND


def test_a_command_talks_on_stdout_and_the_recorder_on_stderr(out, upstream):
    code, stdout, stderr = run("record", upstream, "--out", out, "--", *CLIENT)
    assert code == 0
    assert [line for line in stdout.splitlines() if line[0] == ">"] == SAID_BY_CLIENT.splitlines()
    assert stdout.count("< [1795348800] Server: ack: ") == 2
    assert stdout.endswith("ended: OK\n")
    assert re.fullmatch(RECORDED.format(upstream=re.escape(upstream), out=re.escape(str(out))), stderr)
    _, (session,) = read(out)
    assert (session.method, session.ended) == (CHAT, Ended.TRAILER)


def test_a_command_finds_the_address_in_its_environment(out, upstream):
    code, stdout, _ = run(
        "record", upstream, "--out", out, "--", *python("import os; print(os.environ['DUPLEXMOCK_TARGET'])")
    )
    assert code == 0
    assert re.fullmatch(r"127\.0\.0\.1:\d+\n", stdout)
    assert read(out)[1] == ()


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("raise SystemExit(3)", 3),
        ("raise SystemExit(1)", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 128 + signal.SIGSEGV),
    ],
)
def test_the_exit_code_of_the_command_is_passed_on(out, upstream, code, exit_code):
    assert run("record", upstream, "--out", out, "--quiet", "--", *python(code)) == (exit_code, "", "")
    assert read(out)[1] == ()


def test_a_command_that_succeeded_does_not_hide_an_incomplete_fixture(upstream):
    failure = (
        "/dev/full: No space left on device; recording stopped after 0 bytes, and the fixture is readable up to there"
    )
    code, stdout, stderr = run("record", upstream, "--out", "/dev/full", "--quiet", "--", *CLIENT)
    assert code == 2
    assert stdout.endswith("ended: OK\n")
    assert stderr == f"warning: {failure}. The conversation goes on.\n"
    assert run("record", upstream, "--out", "/dev/full", "--quiet", "--", *python("raise SystemExit(3)"))[0] == 3


def test_a_command_that_cannot_be_run(tmp_path, out, upstream):
    (tmp_path / "script").write_text("no program\n")
    (tmp_path / "script").chmod(0o755)
    sentence = f"Error: {tmp_path}/script: Exec format error\n"
    assert run("record", upstream, "--out", out, "--quiet", "--", tmp_path / "script") == (2, "", sentence)


def test_options_of_the_command_are_its_own(out, upstream):
    code, stdout, _ = run(
        "record",
        upstream,
        "--out",
        out,
        "--quiet",
        "--",
        *python("import sys; print(sys.argv[1:])"),
        "--quiet",
        "--out",
        "y",
    )
    assert (code, stdout) == (0, "['--quiet', '--out', 'y']\n")


def test_json_lines_on_stderr(out, upstream):
    code, _, stderr = run("record", upstream, "--out", out, "--json", "--", *CLIENT)
    assert code == 0
    listening, session, done = map(json.loads, stderr.splitlines())
    assert listening == {"listening": listening["listening"], "upstream": upstream, "out": str(out)}
    assert session == {
        "session": 1,
        "method": CHAT,
        "client_messages": 2,
        "server_messages": 2,
        "outcome": "OK",
        "lasted_ns": session["lasted_ns"],
    }
    assert (done["done"], done["complete"], done["failure"], done["sessions"]) == (str(out), True, None, 1)


def test_an_upstream_that_is_not_there_is_said_once(tmp_path, out):
    upstream = f"unix:{tmp_path}/none"
    code, stdout, stderr = run("record", upstream, "--out", out, "--quiet", "--", *CLIENT, "--ends", "UNAVAILABLE")
    assert code == 0
    assert stdout.endswith("ended: UNAVAILABLE\n")
    assert stderr == f"warning: {upstream} cannot be reached: No such file or directory; clients see UNAVAILABLE\n"


def test_a_file_that_is_there_is_refused_or_overwritten(out, upstream):
    out.write_text("precious")
    touch = python("open('ran', 'w')")
    assert run("record", upstream, "--out", out, "--", *touch, cwd=out.parent) == (
        2,
        "",
        f"Error: {out}: the file exists; overwrite it, or record to another one\n",
    )
    assert out.read_text() == "precious"
    assert not (out.parent / "ran").exists()
    assert run("record", upstream, "--out", out, "--overwrite", "--quiet", "--", *CLIENT)[0] == 0
    assert len(read(out)[1]) == 1


def test_a_file_that_another_recording_writes_is_refused(out, upstream):
    out.write_text("old")
    with recording(upstream, "--out", out, "--overwrite", "--quiet") as recorder:
        chatted(recorder.target, 2)
        touch = python("open('ran', 'w')")
        assert run("record", upstream, "--out", out, "--overwrite", "--", *touch, cwd=out.parent) == (
            2,
            "",
            f"Error: {out}: another recording is writing it\n",
        )
        assert not (out.parent / "ran").exists()
        chatted(recorder.target, 2)
        recorder.signal(signal.SIGTERM)
        assert recorder.end() == (0, f"listening on {recorder.target}\n", "")
    assert len(read(out)[1]) == 2


def test_an_address_that_is_taken(out, upstream):
    sentence = f"Error: cannot listen on {upstream}: Address already in use\n"
    assert run("record", "127.0.0.1:9", "--listen", upstream, "--out", out) == (2, "", sentence)
    assert not out.exists()


def test_expectations_and_descriptors_go_into_the_fixture(tmp_path, out, upstream):
    (tmp_path / "set.pb").write_bytes(set_of(chat_file()))
    options = ["--ignore", "a.B.c", "--ignore", "metadata:c", "--bind", "a.B.id=b.C.id", "--expect", "order"]
    code, _, stderr = run(
        "record", upstream, "--out", out, *options, "--descriptors", tmp_path / "set.pb", "--quiet", "--", *CLIENT
    )
    assert (code, stderr) == (0, "")
    header, _ = read(out)
    assert header.expectations == Expectations(("a.B.c", "metadata:c"), (("a.B.id", "b.C.id"),), "order")
    assert header.descriptors == set_of(chat_file())
    assert (
        "ClientMessage #1  {sender: 'Client', message: 'Hi there! Message 0', timestamp: 1795348800}"
        in run("show", out)[1]
    )


# Without one


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_recording(out, upstream, number):
    with recording(upstream, "--out", out) as recorder:
        chatted(recorder.target, 2)
        assert recorder.line() == f"recording {upstream} into {out}\n"
        assert recorder.line().startswith("session 1   ")
        recorder.signal(number)
        code, stdout, stderr = recorder.end()
    assert (code, stderr) == (0, "")
    assert re.fullmatch(RECORDED.format(upstream=re.escape(upstream), out=re.escape(str(out))), stdout)
    assert len(read(out)[1]) == 1


def test_nothing_that_was_seen_is_lost_by_a_signal(out, upstream):
    with recording(upstream, "--out", out, "--quiet") as recorder:
        chatted(recorder.target, 2)
        recorder.signal(signal.SIGTERM)  # at once: the client has its status, the file perhaps not
        assert recorder.end() == (0, f"listening on {recorder.target}\n", "")
    _, (session,) = read(out)
    assert session.ended is Ended.TRAILER


def test_sigint_ends_also_a_recording_that_a_shell_started_in_the_background(out, upstream):
    ignoring = [sys.executable, "-c", _IGNORE_SIGINT, *DUPLEXMOCK]
    with recording(upstream, "--out", out, "--quiet", program=ignoring) as recorder:
        chatted(recorder.target, 2)
        recorder.signal(signal.SIGINT)
        assert recorder.end() == (0, f"listening on {recorder.target}\n", "")
    assert len(read(out)[1]) == 1


_IGNORE_SIGINT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Open:
    """A call that says one message, has its answer, and stays open until it is told to end."""

    def __init__(self, target):
        self._end = threading.Event()
        self._channel = channel(target)
        self._call = self._channel.stream_stream(CHAT)(self._messages(), timeout=60)
        next(self._call)

    def _messages(self):
        yield ChatMessage(message="one").SerializeToString()
        self._end.wait(60)

    def end(self):
        """Half-close, and read to the end; return the status."""
        self._end.set()
        try:
            assert list(self._call) == []
        except grpc.RpcError as error:
            return error.code()
        finally:
            self._channel.close()
        return self._call.code()


def test_open_calls_have_the_grace_to_end(out, upstream):
    with recording(upstream, "--out", out, "--grace", 60) as recorder:
        call = Open(recorder.target)
        recorder.signal(signal.SIGTERM)
        recorder.line()
        assert recorder.line() == "stopping: 1 open call has 60 s to end; a second signal ends at once\n"
        assert called(recorder.target, CHAT) is grpc.StatusCode.UNAVAILABLE  # nobody new
        assert call.end() is grpc.StatusCode.OK
        code, _, stderr = recorder.end()
    assert (code, stderr) == (0, "")
    _, (session,) = read(out)
    assert session.ended is Ended.TRAILER


@pytest.mark.parametrize("how", ["a second signal", "no grace"])
def test_an_open_call_is_incomplete_when_the_recording_ends(out, upstream, how):
    with recording(upstream, "--out", out, "--grace", 60 if how == "a second signal" else 0) as recorder:
        call = Open(recorder.target)
        recorder.signal(signal.SIGINT)
        if how == "a second signal":
            recorder.line()
            assert recorder.line().startswith("stopping: 1 open call has 60 s")
            recorder.signal(signal.SIGTERM)
        code, stdout, stderr = recorder.end()
        assert call.end() is grpc.StatusCode.UNAVAILABLE
    assert (code, stderr) == (0, "")
    assert re.search(r"\nsession 1   /chat.ChatService/Chat   1 > 1 <   incomplete   \d+\.\d{3} s\n", stdout)
    _, (session,) = read(out)
    assert session.ended is Ended.INCOMPLETE
    assert sorted(session.word) == sorted("><><")


@pytest.mark.parametrize(
    ("handler", "number", "exit_code"),
    [
        ("signal.SIG_DFL", signal.SIGTERM, 128 + signal.SIGTERM),
        ("signal.SIG_DFL", signal.SIGINT, 128 + signal.SIGINT),
        ("lambda *_: sys.exit(7)", signal.SIGTERM, 7),
    ],
)
def test_a_signal_goes_to_the_command(tmp_path, out, upstream, handler, number, exit_code):
    code = f"import signal, sys; signal.signal({int(number)}, {handler}); print(flush=True); signal.pause()"
    with recording_of(tmp_path, upstream, out, code) as process:
        assert process.stdout.readline() == "\n"
        process.send_signal(number)
        assert process.wait() == exit_code
    assert read(out)[1] == ()


def test_a_command_that_ignores_the_signal_is_killed_by_the_second(tmp_path, out, upstream):
    code = """
import signal
signal.signal(signal.SIGTERM, lambda *_: print("ignored", flush=True))
print(flush=True)
while True:
    signal.pause()
"""
    with recording_of(tmp_path, upstream, out, code, "--grace", "60") as process:
        assert process.stdout.readline() == "\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "ignored\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGKILL
    assert read(out)[1] == ()


def test_a_command_that_ignores_the_signal_is_killed_after_the_grace(tmp_path, out, upstream):
    code = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True)\nwhile 1: signal.pause()"
    with recording_of(tmp_path, upstream, out, code, "--grace", "0.1") as process:
        assert process.stdout.readline() == "\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGKILL


def test_a_signal_to_the_whole_group_is_no_traceback(tmp_path, out, upstream):
    code = "import signal; signal.signal(15, signal.SIG_DFL); print(flush=True); signal.pause()"
    with recording_of(tmp_path, upstream, out, code, start_new_session=True) as process:
        assert process.stdout.readline() == "\n"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        assert process.stderr.read() == ""


def recording_of(folder, upstream, out, code, *options, **more):
    return started("record", upstream, "--out", out, "--quiet", *options, "--", *python(code), cwd=folder, **more)


def test_without_any_stdin_a_signal_goes_to_the_command(tmp_path, out, upstream):
    code = "import signal; signal.signal(2, signal.SIG_DFL); print(flush=True); signal.pause()"
    closed = [sys.executable, "-c", "import os, sys; os.close(0); os.execv(sys.argv[1], sys.argv[1:])", *DUPLEXMOCK]
    with started("record", upstream, "--out", out, "--quiet", "--", *python(code), program=closed) as process:
        assert process.stdout.readline() == "\n"
        process.send_signal(signal.SIGINT)
        assert (process.wait(), process.stderr.read()) == (128 + signal.SIGINT, "")


# What is said


def test_json_lines_on_stdout_say_everything(out, upstream):
    with recording(upstream, "--out", out, "--json", "--method", "chat.*/Chat") as recorder:
        chatted(recorder.target, 2)
        assert called(recorder.target, "/other.S/M") is grpc.StatusCode.UNIMPLEMENTED
        with socket.create_connection(target_of(recorder)) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while client.recv(1000):
                pass
        recorder.signal(signal.SIGTERM)
        code, stdout, stderr = recorder.end()
    assert (code, stderr) == (0, "")
    said = [json.loads(line) for line in stdout.splitlines()]
    assert [next(iter(line)) for line in said if "session" not in line] == ["listening", "warning", "done"]
    assert [line["session"] for line in said if "session" in line] == [1]
    assert {"warning": "connection 3 is HTTP/1.1, not gRPC: passed on, and not recorded"} in said
    assert (said[-1]["passed_calls"], said[-1]["foreign"], said[-1]["connections"]) == (1, 1, 3)


def target_of(recorder):
    host, _, port = recorder.target.rpartition(":")
    return host, int(port)


def test_secrets_are_neither_said_nor_shown(tmp_path, out, upstream):
    secret = [("authorization", "Bearer sesame"), ("x-mine", "sesame too"), ("token-bin", b"sesame")]
    for number, options in enumerate(([], ["--json"])):
        path = tmp_path / f"{number}.duplex"
        keys = ["--redact", "x-mine", "--redact", "token-bin"]
        with recording(upstream, "--out", path, *keys, *options) as recorder:
            assert called(recorder.target, "/a.B/C", secret) is grpc.StatusCode.UNIMPLEMENTED
            recorder.signal(signal.SIGTERM)
            said = "".join(map(str, recorder.end()))
        shown = [run("show", path, *more) for more in ([], ["--json"])]
        for text in (said, str(shown), path.read_bytes().decode("latin-1")):
            assert "sesame" not in text
            assert "c2VzYW1l" not in text  # the same in base64
        assert "authorization: redacted:" in shown[0][1]
        assert [code for code, _, _ in shown] == [0, 0]


def test_a_reader_that_goes_away_does_not_end_the_recording(out, upstream):
    with recording(upstream, "--out", out) as recorder:
        recorder.process.stdout.close()  # as `| head -1` does
        assert len(chatted(recorder.target, 2).messages) == 2
        assert len(chatted(recorder.target, 2).messages) == 2
        recorder.signal(signal.SIGTERM)
        assert recorder.process.stderr.read() == ""
        assert recorder.process.wait() == 0
    assert len(read(out)[1]) == 2


def test_an_encoding_that_lacks_a_character_does_not_end_the_recording(tmp_path, upstream):
    ascii_only = environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
    code, _, stderr = run("record", upstream, "--out", "ü.duplex", "--", *CLIENT, cwd=tmp_path, env=ascii_only)
    assert code == 0
    assert "into \\" in stderr
    assert "Traceback" not in stderr


def test_unix_sockets_on_both_sides(tmp_path, out):
    with serving(listen=f"unix:{tmp_path}/up") as upstream:
        listen = f"unix:{tmp_path}/in"
        with recording(upstream, "--listen", listen, "--out", out, "--quiet") as recorder:
            assert recorder.target == listen
            assert len(chatted(listen, 2).messages) == 2
            recorder.signal(signal.SIGTERM)
            assert recorder.end() == (0, f"listening on {listen}\n", "")
    assert not (tmp_path / "in").exists()
    assert len(read(out)[1]) == 1
