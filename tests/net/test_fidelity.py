"""What two peers see of each other through the recorder is what they see directly, and what the fixture says.

Every pair of languages plays every case of tests/peers/cases.json, directly and through the recorder (fidelity.py).
"""

import json
from typing import Any

import pytest

from duplexmock.core.connection import Closing
from tests.net.fidelity import Played, play
from tests.net.heard import heard_by_client, heard_by_server, joined, too_early
from tests.peers.programs import CASES

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


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def played(request: Any, peer: Any, tmp_path_factory: pytest.TempPathFactory) -> Played:
    client, server = request.param
    left_out = LEFT_OUT.get(f"{client} client", set()) | LEFT_OUT.get(f"{server} server", set())
    chosen = [name for name in EVERY_CASE if name not in left_out]
    serve = [*peer(server, "cases-server"), "--cases", str(CASES)]
    asked = [*peer(client, "cases-client"), "--cases", str(CASES)]
    asked += [word for name in chosen for word in ("--case", name)]
    out = tmp_path_factory.mktemp("fidelity") / f"{client}-{server}.duplex"
    return play(asked, serve, len(chosen), out)


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
