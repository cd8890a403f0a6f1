"""The pytest plugin: options, the marker `duplexmock`, the fixture `duplex`, and what hooks into a run.

It is loaded with pytest in every project that has duplexmock installed. So it imports nothing that takes time; what
plays and records is loaded when a test first uses `duplex`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duplexmock.errors import DuplexmockError
from duplexmock.pytest_plugin import blocking, modes
from duplexmock.pytest_plugin.completeness import why_not_complete
from duplexmock.pytest_plugin.marker import NAME, asked_by
from duplexmock.pytest_plugin.naming import fixture_of, given
from duplexmock.pytest_plugin.report import lines
from duplexmock.pytest_plugin.run import RUN, Run
from duplexmock.pytest_plugin.settling import DUPLEX, in_its_loop, keep, settle
from duplexmock.pytest_plugin.simulated import duplex_sim as duplex_sim
from duplexmock.pytest_plugin.simulated import pytest_pyfunc_call as pytest_pyfunc_call

if TYPE_CHECKING:
    from duplexmock.pytest_plugin.duplex import Duplex

MARKER = (
    f"{NAME}(path=None, *, expect, ignore, bind, speed, upstream, unplayed, metadata, sessions, methods, timeout_s, "
    "descriptors, redact): what the fixture `duplex` plays, how, and which live server it records. "
    "Of several markers the nearest one counts."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and ini names."""
    group = parser.getgroup("duplexmock", "duplexmock: gRPC calls, recorded and replayed")
    group.addoption(
        modes.OPTION,
        choices=modes.MODES,
        help="none: replay (the default). once: record fixtures that are missing. new: record calls that no session "
        "fits. rewrite: record afresh. verify: replay, and compare with the live server.",
    )
    group.addoption(
        "--duplexmock-prune",
        action="store_true",
        help="Remove fixtures that no test has used, after a complete run in which all tests passed.",
    )
    parser.addini("duplexmock_record", f"As {modes.OPTION}; in CI only none and verify count", default="")
    parser.addini("duplexmock_dir", "Folder of the fixtures, below the root directory", default="fixtures")
    blocking.add_options(parser, group)


def pytest_configure(config: pytest.Config) -> None:
    """Begin a run."""
    config.addinivalue_line("markers", MARKER)
    blocking.check(config)
    told = getattr(config, "workerinput", {}).get(NAME)
    if told is not None:
        config.stash[RUN] = Run(told["mode"], Path(told["folder"]))
        return
    named = config.getoption("duplexmock_record")
    try:
        mode = modes.chosen(
            named or config.getini("duplexmock_record"),
            modes.is_named([str(argument) for argument in config.invocation_params.args]),
            modes.in_ci(os.environ),
        )
    except ValueError as exc:
        raise pytest.UsageError(str(exc)) from exc
    folder = os.path.abspath(config.rootpath / config.getini("duplexmock_dir"))
    config.stash[RUN] = Run(mode, Path(folder))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist what it could not find out: its command line is another one."""
    run = node.config.stash[RUN]
    node.workerinput[NAME] = {"mode": run.mode, "folder": str(run.folder)}


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say in which mode fixtures are used, where it is not that of every day."""
    mode = config.stash[RUN].mode
    asked = config.getoption("duplexmock_record") or config.getini("duplexmock_record") or "none"
    if mode == asked:
        return None if mode == "none" else f"duplexmock: record mode {mode}"
    return f"duplexmock: record mode {mode} (CI is set, and {asked} was not named on the command line)"


@pytest.fixture
def duplex(request: pytest.FixtureRequest) -> Iterator[Duplex]:
    """Stand in for a gRPC server: replay what was recorded of it, or record it.

    `duplex.target`, `.channel()` and `.aio_channel()` lead to the fixture of the test or of its marker; `.replay(path)`
    and `.record(upstream)` are others. The verdict is there when their `with` is left, or when the test is over.
    """
    from duplexmock.pytest_plugin.duplex import Duplex

    item = request.node
    try:
        asked = asked_by(item)
    except DuplexmockError as exc:
        raise pytest.fail.Exception(str(exc), pytrace=False) from None
    value = Duplex(item, request.config.stash[RUN], asked, request.getfixturevalue)
    item.stash[DUPLEX] = value
    try:
        value.prepare()
        yield value
    finally:
        del item.stash[DUPLEX]
        value.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Guard the network."""
    with blocking.guarded(item, _uses_duplex(item)):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Settle a test when its call is over."""
    try:
        with in_its_loop(item):
            yield
    except BaseException as exc:
        settle(item, exc)
        raise
    settle(item, None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which fixtures belong to the tests that there are."""
    run = session.config.stash[RUN]
    for item in session.items:
        if not _uses_duplex(item):
            continue
        run.named.add(str(fixture_of(item, run.folder)))
        try:
            path = asked_by(item).path
        except (DuplexmockError, TypeError):
            continue  # which is told when the test is set up
        if path is not None:
            run.named.add(os.path.abspath(given(path, run.folder)))


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note that tests are left out."""
    for item in items:
        item.config.stash[RUN].left_out.add("tests were deselected")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Note that tests are not known."""
    report = yield
    if report.outcome != "passed":
        collector.config.stash[RUN].left_out.add(f"{collector.nodeid} was not collected")
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Keep what a test has recorded that has passed, whatever else may say that it has not: a strict xfail, for one.

    Note tests that did not run to their end: they may have fixtures that nobody knows of.
    """
    report = yield
    keep(item, report)
    if report.outcome == "skipped" and _uses_duplex(item):
        item.config.stash[RUN].left_out.add(f"{item.nodeid} did not run to its end")
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
    """Let a worker tell what it knows; elsewhere, find out whether the run was complete."""
    run = session.config.stash[RUN]
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[NAME] = run.said()
        return
    session.config.stash[_WHY_NOT_COMPLETE] = why_not_complete(session, exitstatus, run)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker tells."""
    run = node.config.stash[RUN]
    said = getattr(node, "workeroutput", {}).get(NAME)
    if said is None:
        run.left_out.add("a worker was lost")
    else:
        run.add(said)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int | pytest.ExitCode, config: pytest.Config
) -> None:
    """Say which fixtures were recorded, and which are of no use."""
    reason = config.stash.get(_WHY_NOT_COMPLETE, "the run has stopped early")
    is_green = exitstatus == pytest.ExitCode.OK
    prune = config.getoption("duplexmock_prune")
    said = list(lines(config.stash[RUN], reason, is_green, prune, config.invocation_params.dir))
    if said:
        terminalreporter.section("duplexmock")
        for line in said:
            terminalreporter.line(line)


def _uses_duplex(item: pytest.Item) -> bool:
    return "duplex" in getattr(item, "fixturenames", ()) or item.get_closest_marker(NAME) is not None


_WHY_NOT_COMPLETE = pytest.StashKey[str]()
