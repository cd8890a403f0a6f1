"""The pytest plugin: what replaying tests cost beside the same tests against a live server, and a run without them.

The tests are files of a project that is made for it, and pytest runs it in a process of its own: TESTS tests that make
one call of nine events each, on a channel of their own. They replay a fixture each, or they dial one grpc.aio server
that runs in the same process for all of them. What is measured is the loop over the tests, without what comes before:
both load grpc. Nothing may be left of the replays at the end of it: ports, threads, tasks, file descriptors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.conversations import Batch, write
from bench.messages import CHAT, chat_message
from bench.processes import ROOT, BenchError
from bench.rows import Row, Target, median_row, paired
from duplexmock.core.events import ClientHalfClose, ClientHeader, ServerHeader, ServerTrailer
from duplexmock.core.rows import RowKind
from duplexmock.core.status import Code, Status
from duplexmock.wire.fields import GRPC_ANSWER, GRPC_REQUEST

TESTS = 500
ROUNDS = 5
PLAIN_ROUNDS = 9

CLIENTS = ("sync", "aio")
"""The tests are functions that use grpc, or coroutines of pytest-asyncio that use grpc.aio."""


def rows(folder: Path) -> Iterator[Row]:
    """Measure; the project is made in `folder`."""
    make_project(folder, TESTS)
    for client in CLIENTS:
        replays, servers = [], []
        left: set[str] = set()
        for number in range(ROUNDS):
            both = [("replay", replays), ("server", servers)]
            for against, seconds in both if number % 2 else reversed(both):
                told = ran(folder, client, against, TESTS)
                seconds.append(told["seconds"])
                if against == "replay":
                    left |= {f"{name} {before}, {after}" for name, (before, after) in told["left"].items()}
        title = f"{TESTS} tests of a call of nine events, {client}"
        yield median_row(f"{title}: replayed", replays, "s")
        yield median_row(f"{title}: one grpc.aio server", servers, "s")
        yield median_row(f"{title}: time, of the server's", paired(replays, servers), "times", Target("<=", 3))
        yield Row(f"{title}: left behind", float(len(left)), "kinds", Target("<=", 0))
        if left:
            yield Row(f"    before, after: {'; '.join(sorted(left))}", None, "")
    yield from _plain_rows(folder)


def ran(folder: Path, client: str, against: str, tests: int) -> dict[str, object]:
    """Run the tests of one file; return the seconds of their loop, and what there is behind it, and was not before it.

    Before it is behind the first test, which has loaded all that is loaded once.
    """
    out = folder / "told.json"
    out.unlink(missing_ok=True)
    _pytest(folder, [f"tests/test_{against}_{client}.py", "-p", "no:cacheprovider"], {"TOLD": str(out)})
    told: dict[str, object] = json.loads(out.read_text())
    if told["passed"] != tests:
        raise BenchError(f"{told['passed']} of {tests} tests have passed")
    return told


def make_project(folder: Path, tests: int) -> None:
    """Write so many tests of each kind, and what they replay."""
    (folder / "tests").mkdir()
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_plain.py").write_text(f"import pytest\n\n@pytest.mark.parametrize('n', range({TESTS}))\n" + PLAIN)
    for client in CLIENTS:
        for against, (arguments, target) in AGAINST.items():
            head = HEAD.format(tests=tests, arguments=arguments, is_async="async " if client == "aio" else "")
            body = BODIES[client].format(channel=target[client])
            (folder / "tests" / f"test_{against}_{client}.py").write_text(head + body)
        fixtures = folder / "fixtures" / "tests" / f"test_replay_{client}"
        fixtures.mkdir(parents=True)
        for number in range(tests):
            write(fixtures / f"test_chat[{number}].duplex", nine, 1)


def nine(call: int) -> Iterator[Batch]:
    """The server greets, and sends back the two messages of the client: nine events."""
    header = ClientHeader(CHAT, GRPC_REQUEST, "localhost:50051")
    yield 0, [(RowKind.CLIENT_HEADER, call, header, 1, 1)]
    yield 1, [(RowKind.SERVER_HEADER, call, ServerHeader(GRPC_ANSWER))]
    yield 1, [(RowKind.SERVER_MESSAGE, call, 0, chat_message(0))]
    for number in (1, 2):
        yield 2 * number, [(RowKind.CLIENT_MESSAGE, call, 0, chat_message(number))]
        yield 2 * number + 1, [(RowKind.SERVER_MESSAGE, call, 0, chat_message(number))]
    yield 6, [(RowKind.CLIENT_HALF_CLOSE, call, ClientHalfClose())]
    yield 7, [(RowKind.SERVER_TRAILER, call, ServerTrailer(Status(Code.OK)))]


def _plain_rows(folder: Path) -> Iterator[Row]:
    """What the plugin costs where nobody uses it: the CPU time of a run."""
    with_it, without = [], []
    for number in range(PLAIN_ROUNDS):
        both = [(with_it, []), (without, ["-p", "no:duplexmock"])]
        for seconds, args in both if number % 2 else reversed(both):
            seconds.append(
                _pytest(folder, ["test_plain.py", "-p", "no:hypothesispytest", "-p", "no:asyncio", *args], {})
            )
    title = f"a run of {TESTS} empty tests: CPU time"
    yield median_row(f"{title} with the plugin", with_it, "s")
    yield median_row(f"{title} without it", without, "s")
    yield median_row(f"{title}, of a run without it", paired(with_it, without), "times", Target("<=", 1.1))


def _pytest(folder: Path, args: list[str], environment: dict[str, str]) -> float:
    """Run pytest, and return the CPU seconds it took."""
    environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_ADDOPTS", None)
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:rerunfailures", *args],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    after = os.times()
    if done.returncode:
        raise BenchError(f"pytest {' '.join(args)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr}")
    return after.children_user + after.children_system - before.children_user - before.children_system


HEAD = """
from __future__ import annotations

import grpc
import grpc.aio
import pytest

from bench.messages import CHAT, chat_message

SAID = [chat_message(1), chat_message(2)]
HEARD = [chat_message(0), *SAID]


@pytest.mark.parametrize("number", range({tests}))
{is_async}def test_chat({arguments}, number):
"""
BODIES = {
    "sync": """\
    with {channel} as channel:
        assert list(channel.stream_stream(CHAT)(iter(SAID), timeout=30)) == HEARD
""",
    "aio": """\
    async with {channel} as channel:
        call = channel.stream_stream(CHAT)(timeout=30)
        heard = [await call.read()]
        for message in SAID:
            await call.write(message)
            heard.append(await call.read())
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert heard == HEARD
""",
}
AGAINST = {
    "replay": ("duplex", {"sync": "duplex.channel()", "aio": "duplex.aio_channel()"}),
    "server": (
        "server",
        {"sync": "grpc.insecure_channel(server)", "aio": "grpc.aio.insecure_channel(server)"},
    ),
}
PLAIN = """\
def test_plain(n):
    pass
"""
CONFTEST = '''\
"""One grpc.aio server for the tests that want it, and what a run leaves behind."""

import gc
import json
import os
import sys
import threading
import time

import pytest


@pytest.fixture(scope="session")
def server():
    import grpc.aio

    from bench.messages import CHAT, chat_message
    from duplexmock.net.background import Background

    async def chat(requests, context):
        await context.send_initial_metadata(())
        await context.write(chat_message(0))
        async for message in requests:
            await context.write(message)

    class Methods(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.stream_stream_rpc_method_handler(chat) if details.method == CHAT else None

    async def start():
        server = grpc.aio.server(handlers=[Methods()])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, f"127.0.0.1:{port}"

    background = Background("server")
    server, target = background.run(start())
    yield target
    background.run(server.stop(None))
    background.close()


def there():
    """What there is of each kind."""
    gc.collect()
    asyncio = sys.modules.get("asyncio")
    with open("/proc/net/tcp") as table:
        inodes = {line.split()[9] for line in table.readlines()[1:] if line.split()[3] == "0A"}
    files = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name)]
    return {
        "listening ports": sorted(file for file in files if file[8:-1] in inodes and file.startswith("socket:")),
        "file descriptors": len(files),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "kernel's threads": len(os.listdir("/proc/self/task")),
        "tasks": sum(isinstance(each, asyncio.Task) for each in gc.get_objects()) if asyncio else 0,
        "loops": sum(isinstance(each, asyncio.AbstractEventLoop) for each in gc.get_objects()) if asyncio else 0,
    }


def _is_open(name):
    return os.path.islink(f"/proc/self/fd/{name}")


class Measured:
    """Begins behind the first test, which has loaded all there is."""

    before = began = None
    passed = 0

    def pytest_runtest_logreport(self, report):
        self.passed += report.when == "call" and report.passed

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session):
        began = time.perf_counter()
        result = yield
        self.seconds = time.perf_counter() - began
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        result = yield
        if self.before is None:
            self.before = there()
        elif nextitem is None:
            self.after = there()
        return result


def pytest_configure(config):
    if "TOLD" in os.environ:
        config.pluginmanager.register(Measured(), "measured")


def pytest_sessionfinish(session):
    measured = session.config.pluginmanager.get_plugin("measured")
    if measured is not None:
        left = {
            name: (before, measured.after[name])
            for name, before in measured.before.items()
            if before != measured.after[name]
        }
        told = {"seconds": measured.seconds, "left": left, "there": measured.after, "passed": measured.passed}
        with open(os.environ["TOLD"], "w") as out:
            json.dump(told, out)
'''
