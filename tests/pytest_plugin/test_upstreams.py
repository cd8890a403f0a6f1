"""What may be given as upstream."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from chat_app.chat_pb2_grpc import add_ChatServiceServicer_to_server

from duplexmock.errors import ScriptError
from duplexmock.pytest_plugin.upstreams import running
from tests.peers.programs import ROOT
from tests.pytest_plugin.conftest import Project

SERVER = [
    sys.executable,
    str(ROOT / "examples" / "chat_app" / "chat_app" / "server.py"),
    "--kind",
    "ack",
    "--timestamp",
    "1795348800",
]


def no_fixture(name: str) -> Any:
    raise AssertionError(name)


FORMS = {
    "function that is given a server": """
        from tests.net.chats import AckServicer, add_ChatServiceServicer_to_server

        @pytest.mark.duplexmock(upstream=lambda server: add_ChatServiceServicer_to_server(AckServicer(), server))
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())
    """,
    "servicer that is not asyncio": """
        from chat_app.chat_pb2 import ChatMessage
        from chat_app.chat_pb2_grpc import ChatServiceServicer, add_ChatServiceServicer_to_server

        class Acks(ChatServiceServicer):
            def Chat(self, messages, context):
                for message in messages:
                    yield ChatMessage(sender="Server", message=f"ack: {message.message}")

        @pytest.mark.duplexmock(upstream=lambda server: add_ChatServiceServicer_to_server(Acks(), server))
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())
    """,
    "function that returns a context manager": """
        @pytest.mark.duplexmock(upstream=serving)
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())
    """,
    "fixture": """
        @pytest.fixture
        def chat_server():
            with serving() as target:
                yield target

        @pytest.mark.duplexmock(upstream="chat_server")
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())
    """,
    "fixture of a port": """
        @pytest.fixture(scope="module")
        def chat_port():
            with serving() as target:
                yield int(target.rpartition(":")[2])

        @pytest.mark.duplexmock(upstream="chat_port")
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())
    """,
    "address": """
        def test_chat(duplex):
            with serving() as target:
                with duplex.replay(upstream=target) as mock:
                    chat_sync(mock.channel(), talk())
    """,
    "unix socket": """
        def test_chat(duplex, tmp_path):
            with serving(listen=f"unix:{tmp_path}/chat") as target:
                with duplex.replay(upstream=target) as mock:
                    chat_sync(mock.channel(), talk())
    """,
    "asynchronous context manager": """
        from contextlib import asynccontextmanager
        import grpc.aio
        from tests.net.chats import AckServicer, add_ChatServiceServicer_to_server

        @asynccontextmanager
        async def chat_server():
            server = grpc.aio.server()
            add_ChatServiceServicer_to_server(AckServicer(), server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            yield port
            await server.stop(0)

        @pytest.mark.duplexmock(upstream=chat_server)
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())
    """,
    "command": f"""
        @pytest.mark.duplexmock(upstream=[*{SERVER!r}, "--listen", "{{address}}"])
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())
    """,
    "fixture of a test that is asyncio's": """
        import grpc.aio
        import pytest_asyncio
        from tests.net.chats import AckServicer, add_ChatServiceServicer_to_server

        @pytest_asyncio.fixture
        async def chat_server():
            server = grpc.aio.server()
            add_ChatServiceServicer_to_server(AckServicer(clock=lambda: 7), server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            yield f"127.0.0.1:{port}"
            await server.stop(0)

        @pytest.mark.asyncio
        @pytest.mark.duplexmock(upstream="chat_server")
        async def test_chat(duplex):
            await chat(duplex.aio_channel(), talk())
    """,
}


@pytest.mark.parametrize("source", FORMS.values(), ids=FORMS)
def test_an_upstream_is_recorded_and_verified(project: Project, source: str) -> None:
    if "pytest_asyncio" in source:
        pytest.importorskip("pytest_asyncio")
    project.test(source)
    project.passes("--duplexmock-record=once")
    assert project.fixtures() == ["tests/test_chat/test_chat.duplex"]
    project.passes()
    with_times = "AckServicer()" in source
    if not with_times:
        project.passes("--duplexmock-record=verify")


def test_a_command_that_is_one_text_and_reads_its_environment(tmp_path: Path) -> None:
    program = tmp_path / "listens.py"
    program.write_text(
        "import os, socket, time\n"
        "host, port = os.environ['DUPLEXMOCK_LISTEN'].split(':')\n"
        "server = socket.create_server((host, int(port)))\n"
        "time.sleep(60)\n"
    )
    with running(f"{sys.executable} {program}", no_fixture) as target:
        assert target.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("upstream", "text"),
    [
        (["no-such-program-of-mine"], "upstream no-such-program-of-mine: No such file or directory"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "*: ended with code 3 before it listened on *"),
        ("example.com:", "upstream 'example.com:': the port '' is not a number from 0 to 65535"),
        (
            "not-a-name",
            "upstream 'not-a-name': not HOST:PORT or unix:/path, a port, the name of a fixture, a command *",
        ),
        (True, "upstream True: not HOST:PORT or unix:/path, *"),
        (None, "upstream None: not HOST:PORT or unix:/path, *"),
        (lambda: 3.5, "upstream 3.5: not HOST:PORT or unix:/path, *"),
        (
            add_ChatServiceServicer_to_server,
            "upstream add_ChatServiceServicer_to_server: needs servicer, server, and is given a server and nothing "
            "else; lambda server: add_..._to_server(YourServicer(), server)",
        ),
        (0, "upstream '127.0.0.1:0': port 0 cannot be dialled"),
    ],
)
def test_what_leads_to_no_server_is_refused(upstream: Any, text: str) -> None:
    from fnmatch import fnmatchcase

    with pytest.raises(ScriptError) as caught, running(upstream, no_fixture):
        pass
    assert fnmatchcase(str(caught.value), text)


def test_a_fixture_that_is_no_address_is_refused() -> None:
    with pytest.raises(ScriptError) as caught, running("name", lambda name: "other"):
        pass
    assert str(caught.value) == "upstream 'name': that fixture is 'other', which is no HOST:PORT"
