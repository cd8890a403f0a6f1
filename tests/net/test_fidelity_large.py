"""Messages of 100 MB pass the recorder in both directions at once, and are read back from the fixture."""

from pathlib import Path
from typing import Any

from duplexmock.core.session import Ended
from duplexmock.store.fixture import Fixture
from tests.net.fidelity import Peer, Stage, assert_faithful, bidi

SIZE = 100 * 1024 * 1024
LARGE = bidi(
    "large",
    [["send", {"size": SIZE}], ["await", 1], ["half-close"]],
    [["send", {"size": SIZE + 1}], ["await", 1], ["await-half-close"], ["status", "OK"]],
)


def test_messages_of_100_mb_in_both_directions_are_the_same(peer: Any, tmp_path: Path) -> None:
    played = Stage(peer, tmp_path).play(Peer("python"), Peer("go"), [LARGE])
    with Fixture.open(tmp_path / "out.duplex") as fixture:
        read_alone = fixture.session(1)
    (tmp_path / "out.duplex").unlink()  # pytest keeps what is left for some runs

    assert_faithful(played, [LARGE])
    session = played.sessions["large"]
    is_the_same = read_alone == session  # outside of the assertion, which would draw the difference
    assert is_the_same
    assert session.ended is Ended.TRAILER
    assert sorted(len(entry.event.payload) for entry in session.entries if hasattr(entry.event, "payload")) == [
        SIZE,
        SIZE + 1,
    ]
    (carried,) = played.client_side
    assert carried.up_bytes > SIZE
    assert carried.down_bytes > SIZE
