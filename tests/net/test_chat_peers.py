"""The chat programs of every language say and hear the same under the recorder as directly."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from chat_app.chat_pb2_grpc import add_ChatServiceServicer_to_server
from chat_app.client import Heard, Talk
from chat_app.client import chat as chat_by_aio
from chat_app.server import AckServicer

import duplexmock
from duplexmock.core.events import Side
from duplexmock.core.session import Ended, Session
from duplexmock.schema.wireformat import decode
from duplexmock.store.fixture import Fixture
from tests.peers.programs import Ran, run, serving

PAIRS = [
    ("python", "python"),
    ("python-sync", "python"),
    ("go", "go"),
    ("node", "node"),
    ("python", "go"),
    ("python-sync", "node"),
    ("go", "node"),
    ("node", "python"),
]

TIMESTAMP = "1795348800"
CLIENT = ["--count", "3", "--interval", "0.03", "--deadline", "20", "--timestamp", TIMESTAMP]
SERVERS = {
    "push": ["--kind", "push", "--pushes", "3", "--interval", "0.05", "--timestamp", TIMESTAMP],
    "ack": ["--kind", "ack", "--timestamp", TIMESTAMP],
}
SAID = [f"> [{TIMESTAMP}] Client: Hi there! Message {number}" for number in range(3)]
HEARD = {
    "push": [f"< [{TIMESTAMP}] Server: Hello from the server!"] * 3,
    "ack": [f"< [{TIMESTAMP}] Server: ack: Hi there! Message {number}" for number in range(3)],
}


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize(("client", "server"), PAIRS, ids=map("-".join, PAIRS))
def test_a_chat_is_the_same_under_the_recorder(client: str, server: str, kind: str, peer: Any, tmp_path: Path) -> None:
    serve = [*peer(server, "chat-server"), *SERVERS[kind]]
    talk = [*peer(client, "chat-client"), *CLIENT]
    out = tmp_path / "chat.duplex"

    with ThreadPoolExecutor() as both:
        direct = both.submit(chat, serve, talk)
        through = both.submit(chat, serve, talk, out)
        told = [lanes_of(ran.lines) for ran in direct.result()], [lanes_of(ran.lines) for ran in through.result()]
        exit_codes = [ran.exit_code for ran in (*direct.result(), *through.result())]
    with Fixture.open(out) as fixture:
        (session,) = fixture.sessions()

    by_client = [*SAID, "> half-close"], HEARD[kind], ["ended: OK"]
    by_server = SAID, HEARD[kind], []
    assert told == ([by_client, by_server], [by_client, by_server])
    assert exit_codes == [0, 0, 0, 0]
    assert (messages(session, Side.CLIENT), messages(session, Side.SERVER)) == (SAID, HEARD[kind])
    assert (session.ended, session.reason) == (Ended.TRAILER, "")


def test_calls_at_the_same_time_on_one_connection_are_kept_apart(peer: Any, tmp_path: Path) -> None:
    serve = [*peer("go", "chat-server"), *SERVERS["push"]]
    talk = [*peer("go", "chat-client"), *CLIENT, "--calls", "8"]
    out = tmp_path / "chat.duplex"

    client, server = chat(serve, talk, out)
    with Fixture.open(out) as fixture:
        sessions = tuple(fixture.sessions())

    assert (client.exit_code, sorted(client.lines)) == (
        0,
        sorted([*SAID * 8, *HEARD["push"] * 8, *["> half-close", "ended: OK"] * 8]),
    )
    assert (server.exit_code, sorted(server.lines)) == (0, sorted([*SAID * 8, *HEARD["push"] * 8]))
    assert [session.number for session in sessions] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {session.connection.number for session in sessions} == {1}
    assert [(messages(session, Side.CLIENT), messages(session, Side.SERVER)) for session in sessions] == [
        (SAID, HEARD["push"])
    ] * 8


def test_client_server_and_recorder_can_share_a_loop(tmp_path: Path) -> None:
    async def main() -> Heard:
        server = grpc.aio.server()
        add_ChatServiceServicer_to_server(AckServicer(clock=lambda: int(TIMESTAMP)), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with duplexmock.record(f"127.0.0.1:{port}", out=tmp_path / "chat.duplex") as proxy:
            async with grpc.aio.insecure_channel(proxy.target) as channel:
                heard = await chat_by_aio(channel, Talk(3, 0.0, 20.0, lambda: int(TIMESTAMP)))
        await server.stop(None)
        return heard

    heard = asyncio.run(main())
    with Fixture.open(tmp_path / "chat.duplex") as fixture:
        (session,) = fixture.sessions()

    assert [f"< [{said.timestamp}] {said.sender}: {said.message}" for said in heard.messages] == HEARD["ack"]
    assert heard.status is grpc.StatusCode.OK
    assert (messages(session, Side.CLIENT), messages(session, Side.SERVER)) == (SAID, HEARD["ack"])


def chat(serve: list[str], talk: list[str], out: Path | None = None) -> tuple[Ran, Ran]:
    """What client and server print, directly, or with the client run by the recorder."""
    with serving(serve) as server:
        if out is None:
            client = run(talk, server.address)
        else:
            client = run([sys.executable, "-m", "duplexmock", "record", server.address, "--out", str(out), "--", *talk])
        return client, server.end()


def lanes_of(lines: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    """The client's lines, the server's, and the others: how the two lanes mix is free."""
    client = [line for line in lines if line.startswith(">")]
    server = [line for line in lines if line.startswith("<")]
    return client, server, [line for line in lines if line not in client and line not in server]


def messages(session: Session, side: Side) -> list[str]:
    """What the fixture holds of a side, as the programs print it."""
    return [
        f"{side.value} [{timestamp}] {sender}: {text}"
        for sender, text, timestamp in (
            [field.value for field in decode(event.payload) or ()]
            for event in session.lane(side)
            if hasattr(event, "payload")
        )
    ]
