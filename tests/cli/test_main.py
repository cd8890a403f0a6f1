"""The command itself: its version, its help, and what it says to a command line that makes no sense."""

import pytest

from duplexmock.version import __version__
from tests.cli.commands import run

RECORD = ["record", "a:1", "--out", "x"]


def test_the_version():
    assert run("--version") == (0, f"duplexmock {__version__}\n", "")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_the_help_lists_the_commands(flag):
    code, stdout, stderr = run(flag)
    assert (code, stderr) == (0, "")
    lines = [line.strip() for line in stdout.splitlines()]
    assert "Record, replay, script and explore duplex gRPC calls." in lines
    commands = lines[lines.index("Commands:") + 1 :]
    assert {"record", "show"} <= {line.split()[0] for line in commands}


@pytest.mark.parametrize("command", ["record", "show"])
def test_every_command_has_a_help(command):
    code, stdout, stderr = run(command, "--help")
    assert (code, stderr) == (0, "")
    assert stdout.startswith(f"Usage: duplexmock {command} [OPTIONS] ")


def test_without_a_command_the_help_is_shown():
    code, stdout, stderr = run()
    assert code == 2
    assert "Commands:" in stdout + stderr


@pytest.mark.parametrize(
    ("arguments", "command", "words"),
    [
        (["rekord"], "COMMAND [ARGS]...", "No such command 'rekord'."),
        (["show"], "FILE", "Missing argument 'FILE'."),
        (["show", "a", "b"], "FILE", "unexpected extra argument (b)"),
        (["show", "a", "--session", "0"], "FILE", "Invalid value for '--session': 0 is not in the range x>=1."),
        (["show", "a", "--session", "x"], "FILE", "Invalid value for '--session': 'x' is not a valid integer range."),
        (["show", "a", "--colour"], "FILE", "--colour"),
        (["record"], "UPSTREAM [-- COMMAND...]", "Missing argument 'UPSTREAM'."),
        (["record", "a:1"], "UPSTREAM [-- COMMAND...]", "Missing option '--out'."),
        ([*RECORD, "--quiet", "--json"], "UPSTREAM [-- COMMAND...]", "--quiet and --json exclude each other."),
        ([*RECORD, "--bind", "a"], "UPSTREAM [-- COMMAND...]", "--bind 'a': not FROM=TO, two field paths."),
        ([*RECORD, "--bind", "=b"], "UPSTREAM [-- COMMAND...]", "--bind '=b': not FROM=TO, two field paths."),
        ([*RECORD, "--expect", "most"], "UPSTREAM [-- COMMAND...]", "'most' is not one of 'lanes', 'order', 'strict'."),
        *(
            (
                [*RECORD, "--grace", text],
                "UPSTREAM [-- COMMAND...]",
                f"Error: Invalid value for '--grace': {text!r} is not a number of seconds, 0 or more.",
            )
            for text in ("-1", "nan", "inf", "-inf", "soon", "")
        ),
        *(
            (
                ["replay", "x", "--timeout", text],
                "FILE... [-- COMMAND...]",
                f"Error: Invalid value for '--timeout': {text!r} is not a number of seconds more than 0, or inf.",
            )
            for text in ("0", "-1", "nan", "-inf", "soon")
        ),
        *(
            (
                ["replay", "x", "--speed", text],
                "FILE... [-- COMMAND...]",
                f"Error: Invalid value for '--speed': {text!r} is not a number more than 0; "
                "1 is as recorded, inf as fast as possible.",
            )
            for text in ("0", "-1", "nan", "-inf", "fast")
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_line_that_makes_no_sense_is_told_in_a_sentence(tmp_path, arguments, command, words):
    code, stdout, stderr = run(*arguments, cwd=tmp_path)
    usage, *_, error = stderr.splitlines()
    name = " ".join(("duplexmock", *arguments[:1])) if command != "COMMAND [ARGS]..." else "duplexmock"
    assert (code, stdout, usage) == (2, "", f"Usage: {name} [OPTIONS] {command}")
    assert error.startswith("Error: ")  # click's sentences differ between its versions; ours are whole
    assert words in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["record", "a", "--out", "x"], "UPSTREAM 'a': not HOST:PORT or unix:/path"),
        (["record", "a:0", "--out", "x"], "UPSTREAM 'a:0': port 0 cannot be dialled"),
        (["record", "a:1", "--out", "x", "--listen", "b"], "--listen 'b': not HOST:PORT or unix:/path"),
        (
            ["record", "https://a:1", "--out", "x"],
            "UPSTREAM 'https://a:1': TLS is not supported yet; use the plaintext HOST:PORT",
        ),
        (
            ["record", "a:1", "--out", "x", "--listen", "203.0.113.1:1"],
            "cannot listen on 203.0.113.1:1: Cannot assign requested address",
        ),
        (["record", "127.0.0.1:1", "--out", "."], ".: cannot be written: Is a directory"),
        (["record", "127.0.0.1:1", "--out", "no/x"], "no/x: cannot be written: No such file or directory"),
        (
            ["record", "127.0.0.1:1", "--out", "x", "--redact", "grpc-status"],
            "redact 'grpc-status': a recording cannot be read without it, and it holds no secret",
        ),
        (
            ["record", "127.0.0.1:1", "--out", "x", "--descriptors", "no.pb"],
            "'no.pb': the descriptor set cannot be read: No such file or directory",
        ),
        (["record", "127.0.0.1:1", "--out", "x", "--", "no-such-command"], "no-such-command: no such command"),
        (["show", "no.duplex"], "no.duplex: No such file or directory"),
        (["show", "."], ".: not a file that a fixture could be read from"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_told_in_one_sentence(tmp_path, arguments, sentence):
    assert run(*arguments, cwd=tmp_path) == (2, "", f"Error: {sentence}\n")
    assert list(tmp_path.iterdir()) == []
