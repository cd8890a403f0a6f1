"""What two peers see of each other through the recorder is what they see directly, and what the fixture says.

Every pair of languages plays every case of tests/peers/cases.json twice: directly, and through

    client ═══ relay ═══ recording proxy ═══ relay ═══ server

where the relays hash the bytes on both sides of the proxy.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import duplexmock
from duplexmock.core.connection import Closing
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Event,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.metadata import Metadata
from duplexmock.core.session import Ended, Session
from duplexmock.core.status import code_name
from duplexmock.schema.payload import plain
from duplexmock.store.fixture import Fixture
from tests.peers.programs import CASES, LIMIT_S, run, serving
from tests.peers.python.cases import Saw, shown, shown_metadata
from tests.peers.relay import Carried, Relay

EVERY_CASE = {case["case"]: case for case in json.loads(CASES.read_text(encoding="utf-8"))}

LANGUAGES = ("python", "go", "node")
PAIRS = [
    *((client, server) for client in LANGUAGES for server in LANGUAGES),
    ("grpclib", "grpclib"),
    ("grpclib", "node"),
    ("go", "grpclib"),
]

LEFT_OUT = {
    # grpclib knows no compression; its client reports an end only behind its own half-close, and takes the server's
    # reset at its deadline for an error.
    "grpclib client": {"gzip", "refused-at-once", "server-ends-early", "deadline"},
    "grpclib server": {"gzip"},
}


@dataclass(frozen=True, slots=True)
class Printed:
    """What both programs said they saw, by case."""

    client: dict[str, Saw]
    server: dict[str, Saw]


@dataclass(frozen=True, slots=True)
class Played:
    """A pair's cases, played directly and through the recorder."""

    direct: Printed
    through: Printed
    sessions: dict[str, Session]
    complete: bool
    client_side: list[Carried]
    server_side: list[Carried]


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def played(request: Any, peer: Any, tmp_path_factory: pytest.TempPathFactory) -> Played:
    client, server = request.param
    left_out = LEFT_OUT.get(f"{client} client", set()) | LEFT_OUT.get(f"{server} server", set())
    chosen = [name for name in EVERY_CASE if name not in left_out]
    serve = [*peer(server, "cases-server"), "--cases", str(CASES)]
    play = [*peer(client, "cases-client"), "--cases", str(CASES)]
    play += [word for name in chosen for word in ("--case", name)]
    out = tmp_path_factory.mktemp("fidelity") / f"{client}-{server}.duplex"
    with ThreadPoolExecutor() as both:
        direct = both.submit(directly, play, serve, len(chosen))
        through, client_side, server_side = recorded(play, serve, len(chosen), out)
    with Fixture.open(out) as fixture:
        sessions = {str(session.header.metadata.first("case")): session for session in fixture.sessions()}
        complete = fixture.complete
    return Played(direct.result(), through, sessions, complete, client_side, server_side)


def directly(play: list[str], serve: list[str], calls: int) -> Printed:
    with serving(serve) as server:
        return printed(play, server.address, server, calls)


def recorded(play: list[str], serve: list[str], calls: int, out: Path) -> tuple[Printed, list[Carried], list[Carried]]:
    with serving(serve) as server:
        behind = Relay(server.address)
        with duplexmock.record(behind.address, out=out) as proxy:
            before = Relay(proxy.target)
            seen = printed(play, before.address, server, calls)
            server.end()
            return seen, before.carried(LIMIT_S), behind.carried(LIMIT_S)


def printed(play: list[str], target: str, server: Any, calls: int) -> Printed:
    """Play the client to its end; the server prints a call's line when it has ended, which may be later."""
    ran = run(play, target)
    assert ran.exit_code == 0
    return Printed(by_case(ran.lines), by_case(server.lines(calls)))


def by_case(lines: tuple[str, ...]) -> dict[str, Saw]:
    saw = {line["case"]: line["saw"] for line in map(json.loads, lines)}
    if saw.get("deadline") == [["status", "CANCELLED", "", {}]]:
        saw["deadline"][0][1] = "DEADLINE_EXCEEDED"  # the server's clock was first, and it reset the call: also direct
    return saw


def test_both_peers_see_the_same_as_directly(played: Played) -> None:
    assert played.through.client == played.direct.client
    assert played.through.server == played.direct.server


def test_the_fixture_says_what_the_client_saw(played: Played) -> None:
    told = {name: heard_by_client(session, EVERY_CASE[name]) for name, session in played.sessions.items()}

    assert told == {name: joined(saw) for name, saw in played.direct.client.items()}


def test_the_fixture_says_what_the_server_saw(played: Played) -> None:
    told = {name: heard_by_server(session, EVERY_CASE[name]) for name, session in played.sessions.items()}

    assert told == {name: joined(saw) for name, saw in played.direct.server.items()}


def test_nothing_is_recorded_before_what_it_waited_for(played: Played) -> None:
    early = {name: list(too_early(session, EVERY_CASE[name])) for name, session in played.sessions.items()}

    assert early == {name: [] for name in played.direct.client}


def test_the_recorder_passes_every_byte_as_it_came(played: Played) -> None:
    assert played.client_side == played.server_side
    assert played.client_side != []


def test_the_fixture_is_complete(played: Played) -> None:
    closings = {session.connection.closed.how for session in played.sessions.values() if session.connection.closed}

    assert played.complete
    assert [session.reason for session in played.sessions.values() if session.reason] == []
    assert closings == {Closing.CLOSED}


def heard_by_client(session: Session, case: dict[str, Any]) -> Saw:
    """What the server's lane, and the client's own giving up, make a client say."""
    saw: Saw = []
    ending: list[Any] = []
    encoding = ""
    for event in session.lane(Side.SERVER):
        match event:
            case ServerHeader(metadata):
                encoding = str(metadata.first("grpc-encoding") or "")
                saw += header_of(metadata)
            case ServerMessage(payload, flags):
                saw.append(["message", shown(plain(payload, flags, encoding))])
            case ServerTrailer(status, metadata):
                assert status is not None
                details = status.message if status.code else ""  # Node says "OK", and no library passes it on
                ending = ["status", code_name(status.code), details, metadata_of(metadata)]
    if "deadline_ms" in case and session.ended in (Ended.CANCELLED, Ended.RESET, Ended.TRAILER):
        ending = ["status", "DEADLINE_EXCEEDED", "", {}]  # the server has a clock of its own, and may be first
    elif session.ended is Ended.CANCELLED:
        ending = ["status", "CANCELLED", "", {}]
    if case["method"] in ("Unary", "ClientStream") and ending[1] != "OK":
        saw = [part for part in saw if part[0] != "message"]  # a library has a response or a status, not both
    return [*saw, ending]


def heard_by_server(session: Session, case: dict[str, Any]) -> Saw:
    """What the client's lane makes a server say: of its end, what the case's server waits for."""
    saw: Saw = []
    encoding = ""
    awaited = {step[0] for step in case["server"]}
    for event in session.lane(Side.CLIENT):
        match event:
            case ClientHeader(_, metadata):
                encoding = str(metadata.first("grpc-encoding") or "")
                saw += header_of(metadata)
            case ClientMessage(payload, flags):
                saw.append(["message", shown(plain(payload, flags, encoding))])
            case ClientHalfClose() if "await-half-close" in awaited:
                saw.append(["half-close"])
            case Cancel() if "await-cancel" in awaited and "deadline_ms" not in case:
                saw.append(["cancel"])
    return [*saw, ["cancel"]] if "deadline_ms" in case else saw


def header_of(metadata: Metadata) -> Saw:
    shown = metadata_of(metadata)
    return [["header", shown]] if shown else []


def metadata_of(metadata: Metadata) -> dict[str, list[str]]:
    return together(shown_metadata(metadata))


def joined(saw: Saw) -> Saw:
    """The same with the values of a key joined: some libraries send and show them so."""
    return [[together(part) if isinstance(part, dict) else part for part in each] for each in saw]


def together(metadata: dict[str, list[str]]) -> dict[str, list[str]]:
    return {key: values if key.endswith("-bin") else [", ".join(values)] for key, values in metadata.items()}


def too_early(session: Session, case: dict[str, Any]) -> Iterator[str]:
    """Yield the events that stand in the recording before what their side had waited for."""
    client, server = needs(case["client"], _CLIENT_STEPS), needs(case["server"], _SERVER_STEPS)
    happened: list[type[Event]] = []
    for entry in session.entries:
        kind = type(entry.event)
        needed = client if kind in _CLIENT_STEPS.values() else server
        for awaited, count in needed.get((kind, happened.count(kind)), {}).items():
            if happened.count(awaited) < count:
                yield f"{kind.__name__} #{happened.count(kind) + 1} before {awaited.__name__} #{count}"
        happened.append(kind)


def needs(
    steps: list[list[Any]], kinds: dict[str, type[Event]]
) -> dict[tuple[type[Event], int], dict[type[Event], int]]:
    """What each event of a side comes after, by its type and its index: so many events of a type of the other side."""
    waits: dict[type[Event], int] = {}
    found: dict[tuple[type[Event], int], dict[type[Event], int]] = {}
    counts: dict[type[Event], int] = {}
    for name, *arguments in steps:
        match name:
            case "await":
                waits[ServerMessage if kinds is _CLIENT_STEPS else ClientMessage] = arguments[0]
            case "await-header":
                waits[ServerHeader] = 1
            case "await-half-close":
                waits[ClientHalfClose] = 1
            case "await-cancel":
                waits[Cancel] = 1
            case _:
                kind = kinds[name]
                for _ in range(arguments[1] if name == "send" and len(arguments) > 1 else 1):
                    found[kind, counts.get(kind, 0)] = dict(waits)
                    counts[kind] = counts.get(kind, 0) + 1
    return found


_CLIENT_STEPS: dict[str, type[Event]] = {"send": ClientMessage, "half-close": ClientHalfClose, "cancel": Cancel}
_SERVER_STEPS: dict[str, type[Event]] = {"header": ServerHeader, "send": ServerMessage, "status": ServerTrailer}
