"""When the network guard (guard.py) is armed: for every test where that is asked for, in CI for tests with `duplex`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from duplexmock.errors import ScriptError
from duplexmock.pytest_plugin.modes import in_ci


def add_options(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Add the guard's options."""
    group.addoption(
        "--duplexmock-block",
        action="store_true",
        help="Let no gRPC channel leave this machine, in any test (in CI: always so for tests that use duplex).",
    )
    group.addoption(
        "--duplexmock-allow-hosts",
        metavar="HOSTS",
        help="HOST or HOST:PORT that gRPC channels may open all the same, separated by commas; * is a wildcard.",
    )
    parser.addini("duplexmock_block", "true or false for --duplexmock-block; false also in CI", default="")
    parser.addini("duplexmock_allow_hosts", "As --duplexmock-allow-hosts, one an item", type="args", default=[])


@contextmanager
def guarded(item: pytest.Item, uses_duplex: bool) -> Iterator[None]:
    """Have the guard armed for one test, its fixtures included, where it has to be."""
    if not _is_blocked(item.config, uses_duplex):
        yield
        return
    from duplexmock.pytest_plugin.guard import arm

    disarm = arm(_allowed_hosts(item.config), lambda: item.nodeid)
    try:
        yield
    finally:
        disarm()


def check(config: pytest.Config) -> None:
    """Raise UsageError where the ini file has neither true nor false, or an allowed host is none."""
    _ini(config)
    if hosts := _allowed_hosts(config):
        from duplexmock.pytest_plugin.guard import check_allowed

        try:
            check_allowed(hosts)
        except ScriptError as exc:
            raise pytest.UsageError(f"duplexmock_allow_hosts: {exc}") from exc


def _allowed_hosts(config: pytest.Config) -> list[str]:
    option = config.getoption("duplexmock_allow_hosts")
    hosts = [*config.getini("duplexmock_allow_hosts"), *(option.split(",") if option else ())]
    return [host.strip() for host in hosts if host.strip()]


def _is_blocked(config: pytest.Config, uses_duplex: bool) -> bool:
    if config.getoption("duplexmock_block"):
        return True
    by_ini = _ini(config)
    return (uses_duplex and in_ci(os.environ)) if by_ini is None else by_ini


def _ini(config: pytest.Config) -> bool | None:
    text = str(config.getini("duplexmock_block")).strip().lower()
    if text not in _WORDS:
        raise pytest.UsageError(f"duplexmock_block = {text}: true or false")
    return _WORDS[text]


_WORDS = {
    "": None,
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
