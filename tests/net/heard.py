"""What the fixture says that each peer saw: a session as the lines that the peer programs print.

`case` is a row of a table of cases (tests/peers/cases.json): what both peers did, and which of it a library shows.
"""

from collections.abc import Iterator
from typing import Any

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
from tests.peers.python.cases import Saw, shown, shown_metadata


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
    elif session.ended is Ended.CONNECTION_LOST:
        ending = ["status", "UNAVAILABLE", "", {}]
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
            case "await-calls" | "await-goaway" | "await-line" | "stop" | "table-size":
                pass  # what has to do with other calls, the connection, the test
            case _:
                kind = kinds[name]
                for _ in range(arguments[1] if name == "send" and len(arguments) > 1 else 1):
                    found[kind, counts.get(kind, 0)] = dict(waits)
                    counts[kind] = counts.get(kind, 0) + 1
    return found


_CLIENT_STEPS: dict[str, type[Event]] = {"send": ClientMessage, "half-close": ClientHalfClose, "cancel": Cancel}
_SERVER_STEPS: dict[str, type[Event]] = {"header": ServerHeader, "send": ServerMessage, "status": ServerTrailer}
