"""When the network guard is armed."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.conftest import Project

DIAL = """
    import grpc

    def dial():
        grpc.insecure_channel("chat.example.com:443").close()

    def test_plain():
        dial()

    @pytest.mark.duplexmock(unplayed="ignore")
    def test_marked():
        dial()

    def test_duplex(duplex):
        dial()
"""
OPTION = ["--duplexmock-block"]
ALLOW = ["--duplexmock-allow-hosts=10.0.*, chat.example.com"]


@pytest.mark.parametrize(
    ("is_ci", "ini", "args", "outcomes"),
    [
        (False, "", [], {"passed": 3}),
        (False, "", OPTION, {"failed": 3}),
        (False, "duplexmock_block = true", [], {"failed": 3}),
        (True, "", [], {"passed": 1, "failed": 2}),
        (True, "", OPTION, {"failed": 3}),
        (True, "duplexmock_block = false", [], {"passed": 3}),
        (True, "", ALLOW, {"passed": 3}),
        (True, "duplexmock_allow_hosts = chat.example.com:443", OPTION, {"passed": 3}),
        (True, "duplexmock_allow_hosts = chat.example.com:80", OPTION, {"failed": 3}),
    ],
)
def test_a_channel_off_this_machine_is_blocked(
    project: Project, monkeypatch: pytest.MonkeyPatch, is_ci: bool, ini: str, args: list[str], outcomes: dict[str, int]
) -> None:
    if is_ci:
        monkeypatch.setenv("CI", "true")
    project.ini(ini)
    project.test(DIAL)
    assert project.run(*args).parseoutcomes() == outcomes


def test_it_names_the_test_and_the_target(project: Project) -> None:
    project.test(DIAL)
    project.run(*OPTION, "-k", "plain").stdout.fnmatch_lines(
        ["E * tests/test_chat.py::test_plain opened a gRPC channel to 'chat.example.com:443', *"]
    )


def test_what_is_neither_true_nor_false_ends_the_run(project: Project) -> None:
    project.ini("duplexmock_block = maybe")
    project.test(DIAL)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*duplexmock_block = maybe: true or false*"])


@pytest.mark.parametrize("how", ["option", "ini"])
def test_an_allowed_host_that_is_none_ends_the_run(project: Project, how: str) -> None:
    if how == "ini":
        project.ini("duplexmock_allow_hosts = http://a/b")
    project.test(DIAL)
    result = project.run(*(["--duplexmock-allow-hosts=http://a/b"] if how == "option" else []))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*duplexmock_allow_hosts: allowed host 'http://a/b': not HOST or HOST:PORT; leave the scheme *"]
    )
