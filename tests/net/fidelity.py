"""Plays two peers' cases twice: directly, and through

    client ═══ relay ═══ recording proxy ═══ relay ═══ server

where the relays hash the bytes on both sides of the proxy.

Cases are rows as those of tests/peers/cases.json: what the client does, and what the server does. Here some steps have
to do with more than the call:

    client   await-goaway       until the connection takes no more calls
             await-line         until the test says so, see Lead; a case with `opens_on_line` begins so
    server   await-calls N      until so many calls have begun
             stop               gracefully: no more calls, and those that are open go on
             table-size N       announce it for HPACK, and wait until the clients know (Node's server)
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duplexmock
from duplexmock.core.connection import Connection
from duplexmock.core.session import Session
from duplexmock.store.fixture import Fixture
from tests.net.heard import heard_by_client, heard_by_server, joined, too_early
from tests.peers.programs import LIMIT_S, Ran, Server, run, run_led, serving
from tests.peers.python.cases import Saw
from tests.peers.relay import Carried, Relay, Spoken

Case = dict[str, Any]
Steps = list[list[Any]]

Lead = Callable[[Relay, Callable[[], None]], None]
"""`(relay, tell)`: waits for what the relay carries, and tells the client to go on."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A language that has the programs for cases, and options of theirs, each `NAME=VALUE`."""

    language: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Printed:
    """What both programs said they saw, by case."""

    client: dict[str, Saw]
    server: dict[str, Saw]


@dataclass(frozen=True, slots=True)
class Played:
    """A pair's cases, played directly and through the recorder; `spoken` are the frames that the client's relay saw."""

    direct: Printed
    through: Printed
    client_side: list[Carried]
    server_side: list[Carried]
    spoken: list[Spoken]
    sessions: dict[str, Session]
    connections: tuple[Connection, ...]
    complete: bool


def bidi(name: str, client: Steps, server: Steps, **more: Any) -> Case:
    """Return the case of a duplex call."""
    return {"case": name, "method": "Bidi", "client": client, "server": server, **more}


def alone(relay: Relay, tell: Callable[[], None]) -> None:
    """Lead a client that waits for nothing."""


class Stage:
    """Where peers play cases: `find` finds their programs, `folder` takes the table and the fixture."""

    def __init__(self, find: Callable[[str, str], list[str]], folder: Path) -> None:
        self._find = find
        self._folder = folder

    def play(
        self, client: Peer, server: Peer, cases: Sequence[Case], *, connections: int | None = None, lead: Lead = alone
    ) -> Played:
        """Play the cases one after the other on one connection, or deal them to so many and play all at once."""
        table = self._folder / "cases.json"
        table.write_text(json.dumps(cases), encoding="utf-8")
        asked = self._command(client, "cases-client", table)
        if connections is not None:
            asked += ["--connections", str(connections)]
        return play(asked, self._command(server, "cases-server", table), len(cases), self._folder / "out.duplex", lead)

    def _command(self, peer: Peer, program: str, table: Path) -> list[str]:
        options = [word for option in peer.options for word in ("--option", option)]
        return [*self._find(peer.language, program), "--cases", str(table), *options]


def play(client: Sequence[str], server: Sequence[str], calls: int, out: Path, lead: Lead = alone) -> Played:
    """Run the client's command to its end twice, each time against the server's, which prints a line for each call.

    Where a client waits for lines on stdin, `lead` gives them, and what is called direct has a relay in it as well.
    """
    with ThreadPoolExecutor() as both:
        direct = both.submit(_directly, client, server, calls, lead)
        through = _recorded(client, server, calls, out, lead)
    with Fixture.open(out) as fixture:
        sessions = tuple(fixture.sessions())
        by_case = {str(session.header.metadata.first("case")): session for session in sessions}
        assert len(by_case) == len(sessions), "a call was recorded twice"
        return Played(direct.result(), *through, by_case, fixture.connections, fixture.complete)


def assert_passed(played: Played) -> None:
    """Assert that the peers saw the same as directly, that every byte passed, and that the fixture was closed."""
    assert played.through == played.direct
    assert played.client_side == played.server_side
    assert played.client_side != []
    assert played.complete


def assert_faithful(played: Played, cases: Sequence[Case]) -> None:
    """Assert that as well, and of calls that ended by themselves, that the fixture says what the peers saw."""
    assert_passed(played)
    table = {case["case"]: case for case in cases}
    sessions, seen = played.sessions, played.direct
    told = Printed(
        {name: heard_by_client(session, table[name]) for name, session in sessions.items()},
        {name: heard_by_server(session, table[name]) for name, session in sessions.items()},
    )
    early = {name: list(too_early(session, table[name])) for name, session in sessions.items()}
    assert told.client == {name: joined(saw) for name, saw in seen.client.items()}
    assert told.server == {name: joined(saw) for name, saw in seen.server.items()}
    assert early == {name: [] for name in table}
    assert [session.reason for session in sessions.values() if session.reason] == []


def _directly(client: Sequence[str], server: Sequence[str], calls: int, lead: Lead) -> Printed:
    with serving(server) as serves:
        if lead is alone:
            return _printed(run(client, serves.address), serves, calls)
        relay = Relay(serves.address)
        seen = _printed(run_led(client, relay.address, partial(lead, relay)), serves, calls)
        serves.end()
        relay.carried(LIMIT_S)
        return seen


def _recorded(
    client: Sequence[str], server: Sequence[str], calls: int, out: Path, lead: Lead
) -> tuple[Printed, list[Carried], list[Carried], list[Spoken]]:
    with serving(server) as serves:
        behind = Relay(serves.address)
        with duplexmock.record(behind.address, out=out) as proxy:
            before = Relay(proxy.target)
            seen = _printed(run_led(client, before.address, partial(lead, before)), serves, calls)
            serves.end()
            return seen, before.carried(LIMIT_S), behind.carried(LIMIT_S), before.spoken()


def _printed(client: Ran, server: Server, calls: int) -> Printed:
    """Read what the client printed, and the server, which prints a call's line when it has ended: that may be later."""
    assert client.exit_code == 0
    return Printed(_by_case(client.lines), _by_case(server.lines(calls)))


def _by_case(lines: tuple[str, ...]) -> dict[str, Saw]:
    saw = {line["case"]: line["saw"] for line in map(json.loads, lines)}
    if saw.get("deadline") == [["status", "CANCELLED", "", {}]]:
        saw["deadline"][0][1] = "DEADLINE_EXCEEDED"  # the server's clock was first, and it reset the call: also direct
    return saw
