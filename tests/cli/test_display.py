"""What the recorder says: every happening to people and to machines, and the live table on a terminal."""

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import termios

import pytest

from duplexmock.cli.display import Done, Listening, Stopping, Warned, as_json, counted, fields, plain, quiet, text
from duplexmock.net.recording import Counts, Finished
from tests.cli.commands import DUPLEXMOCK, environment
from tests.net.chats import chatted, serving

COUNTS = Counts(
    connections=2,
    sessions=1234,
    ended_sessions=1,
    client_messages=1,
    server_messages=1_000_000,
    client_bytes=999,
    server_bytes=1_500_000,
)
FINISHED = Finished(3, "/chat.ChatService/Chat", 1, 20, "OK", 1_234_567_890)

SAID = [
    (
        Listening("127.0.0.1:1", "127.0.0.1:2", "x.duplex", COUNTS),
        "listening on 127.0.0.1:1\nrecording 127.0.0.1:2 into x.duplex",
        {"listening": "127.0.0.1:1", "upstream": "127.0.0.1:2", "out": "x.duplex"},
    ),
    (
        FINISHED,
        "session 3   /chat.ChatService/Chat   1 > 20 <   OK   1.235 s",
        {
            "session": 3,
            "method": "/chat.ChatService/Chat",
            "client_messages": 1,
            "server_messages": 20,
            "outcome": "OK",
            "lasted_ns": 1_234_567_890,
        },
    ),
    (Warned("the disk is full"), "warning: the disk is full", {"warning": "the disk is full"}),
    (
        Stopping(1, 5.0),
        "stopping: 1 open call has 5 s to end; a second signal ends at once",
        {"stopping": 1, "grace_s": 5.0},
    ),
    (
        Stopping(2, 0.5),
        "stopping: 2 open calls have 0.5 s to end; a second signal ends at once",
        {"stopping": 2, "grace_s": 0.5},
    ),
    (
        Done("x.duplex", COUNTS, ""),
        "x.duplex: 1,234 sessions, 1 message >, 1,000,000 messages <, 999 B >, 1.5 MB <, 2 connections",
        {
            "done": "x.duplex",
            "complete": True,
            "failure": None,
            "connections": 2,
            "sessions": 1234,
            "ended_sessions": 1,
            "passed_calls": 0,
            "foreign": 0,
            "foreign_streams": 0,
            "unreadable": 0,
            "client_messages": 1,
            "server_messages": 1_000_000,
            "client_bytes": 999,
            "server_bytes": 1_500_000,
        },
    ),
]


@pytest.mark.parametrize(("happening", "people", "machines"), SAID, ids=lambda value: type(value).__name__)
def test_what_happens_is_said_to_people_and_to_machines(happening, people, machines):
    assert text(happening) == people
    assert fields(happening) == machines


def test_a_failure_is_said_to_machines():
    said = fields(Done("x", COUNTS, "why"))
    assert (said["complete"], said["failure"]) == (False, "why")


def test_what_is_not_grpc_is_counted_where_there_is_any():
    counts = Counts(1, 1, 1, 2, 1, 3)
    assert counted(counts) == (
        "1 session, 0 messages >, 0 messages <, 0 B >, 0 B <, 1 connection, 2 other calls passed, "
        "1 connection not gRPC, 3 requests not gRPC"
    )


def test_what_a_peer_chose_is_escaped():
    assert text(Finished(1, "/a.B/\x1b[2J", 0, 0, "OK", 0)) == "session 1   '/a.B/\\x1b[2J'   0 > 0 <   OK   0.000 s"


def test_plain_json_and_quiet_say_it_to_their_streams():
    lines, machine, address, errors = (io.StringIO() for _ in range(4))
    for happening, _, _ in SAID[:3]:
        plain(lines)(happening)
        as_json(machine)(happening)
        quiet(address, errors)(happening)
        quiet(None, errors)(happening)
    assert lines.getvalue() == "".join(f"{people}\n" for _, people, _ in SAID[:3])
    assert machine.getvalue().count("\n") == 3
    assert address.getvalue() == "listening on 127.0.0.1:1\n"
    assert errors.getvalue() == "warning: the disk is full\n" * 2


def test_on_a_terminal_a_table_lives_as_long_as_the_recording(tmp_path):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    screen = Screen(ours)
    with serving() as upstream:
        process = subprocess.Popen(
            [*DUPLEXMOCK, "record", upstream, "--out", "chat.duplex"],
            cwd=tmp_path,
            env=environment(TERM="xterm", COLUMNS="120"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        with process:
            target = screen.until(r"listening on (\S+)")[1]
            screen.until(rf"recording {upstream} into chat.duplex")
            screen.until(r"client > +0 +0 B")
            chatted(target)
            screen.until(r"client > +3 +\d+ B")
            screen.until(r"server < +3 +\d+ B")
            screen.until(r"0 calls open, 1 ended; Ctrl-C ends the recording")
            screen.until(r"session 1   /chat.ChatService/Chat   3 > 3 <   OK   \d+\.\d{3} s")
            process.send_signal(signal.SIGINT)
            screen.until(r"chat.duplex: 1 session, 3 messages >, 3 messages <, \d+ B >, \d+ B <, 1 connection\r\n")
            assert process.wait() == 0
    os.close(ours)


class Screen:
    """What a program writes on its terminal, without the escape sequences."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._said = ""

    def until(self, pattern):
        while not (found := re.search(pattern, self._said)):
            piece = os.read(self._descriptor, 65_536).decode()
            self._said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._said + piece)
        return found
