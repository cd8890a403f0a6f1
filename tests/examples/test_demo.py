"""The demo of the README."""

import re
import sys
from collections.abc import Sequence
from itertools import takewhile

from tests.peers.programs import ROOT, run


def test_the_demo_records_a_chat_shows_it_learns_it_and_replays_it() -> None:
    demo = run([sys.executable, str(ROOT / "examples" / "demo.py")])

    assert demo.exit_code == 0
    assert lanes_in(printed_by("duplexmock show", demo.lines)) == {
        ">": ["ClientHeader", *(f"ClientMessage #{number}" for number in (1, 2, 3)), "ClientHalfClose"],
        "<": ["ServerHeader", *(f"ServerMessage #{number}" for number in (1, 2, 3)), "ServerTrailer"],
    }
    (lesson,) = played("duplexmock learn", demo.lines)
    assert "    ServerTrailer      ClientHalfClose   held in 2 of 2 probes" in lesson
    assert lesson[-1] == "changes from play to play (written into the fixture): --ignore '/chat.ChatService/Chat>3'"
    same_client, hasty_client = played("duplexmock replay", demo.lines)
    assert same_client[-1] == "1 session: 1 agreed"
    assert "The client half-closed before its third message." in "\n".join(hasty_client)
    assert hasty_client[-1] == "1 session: 0 agreed, 1 did not"


def played(command: str, lines: Sequence[str]) -> list[list[str]]:
    """What stands behind each use of a command, up to the next heading."""
    starts = [at for at, line in enumerate(lines) if line.startswith(f"$ {command}")]
    return [list(takewhile(lambda line: line != "", lines[start + 1 :])) for start in starts]


def printed_by(command: str, lines: Sequence[str]) -> list[str]:
    """What stands between a command and the next."""
    start = next(at for at, line in enumerate(lines) if line.startswith(f"$ {command}"))
    return list(takewhile(lambda line: not line.startswith("$"), lines[start + 1 :]))


def lanes_in(timeline: Sequence[str]) -> dict[str, list[str]]:
    """The names of each side's events; how the two lanes mix is free."""
    events = [found for line in timeline if (found := re.match(r" +[0-9.]+ ms  ([<>])  (\w+(?: #\d)?)", line))]
    return {arrow: [found[2] for found in events if found[1] == arrow] for arrow in "<>"}
