"""kill -9 in the middle of a recording: the fixture opens, and what was seen a quarter of a second before is in it."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from duplexmock.core.events import ClientMessage, Side
from duplexmock.core.session import Ended
from duplexmock.store.fixture import Fixture
from tests.cli.commands import recording
from tests.net.wires import dialled, exactly, listening
from tests.wire.talk import ANSWER, PREFACE, REQUEST, data, headers, message, settings

KILLS = 500 if os.environ.get("DUPLEXMOCK_SOAK") else 50
AT_ONCE = 4

KEPT_S = 0.25
"""What was seen so long before the kill is in the file: five times what a row may wait for its block."""

PREFIX = 9 + 5  # of a DATA frame and of the message in it


def test_what_was_seen_before_a_kill_is_in_the_file(tmp_path):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        kept = list(pool.map(killed, range(KILLS), [tmp_path] * KILLS))
    assert sum(old for old, _ in kept) > KILLS * 10  # there was something to lose
    assert [missing for _, missing in kept if missing] == []


def killed(seed: int, folder: Path) -> tuple[int, str]:
    """Kill one recording; return how many messages were old enough, and what is wrong with its fixture."""
    chosen = random.Random(seed)
    out = folder / f"{seed}.duplex"
    with listening() as (listener, upstream), recording(upstream, "--out", out, "--quiet") as recorder:
        with dialled(recorder.target) as client:
            server, _ = listener.accept()
            with server:
                sent, answered = talked(client, server, chosen, chosen.uniform(0.3, 0.6))
                now = time.monotonic()
                recorder.process.kill()
        recorder.process.wait()
    with Fixture.open(out) as fixture:
        assert not fixture.complete
        (session,) = fixture.sessions()
        (summary,) = fixture.summaries()
    assert session.ended is Ended.INCOMPLETE
    lanes = [[event.payload[:8] for event in session.lane(side) if hasattr(event, "payload")] for side in Side]
    assert [summary.client_messages, summary.server_messages] == [len(lane) for lane in lanes]
    old = 0
    for seen, lane in zip((sent, answered), lanes, strict=True):
        assert lane == [b"%08d" % number for number in range(len(lane))]
        count = sum(at < now - KEPT_S for at in seen)
        old += count
        if len(lane) < count:
            return old, f"seed {seed}: {len(lane)} of {count} messages"
    assert all(len(event.payload) >= 8 for event in session.lane(Side.CLIENT) if isinstance(event, ClientMessage))
    return old, ""


def talked(client, server, chosen, for_s):
    """Play ping-pong with numbered messages of all sizes; return when the server and the client had each of them."""
    opening = PREFACE + settings() + headers(1, REQUEST)
    answer = settings() + headers(1, ANSWER)
    client.sendall(opening)
    assert exactly(server, len(opening)) == opening
    server.sendall(answer)
    assert exactly(client, len(answer)) == answer
    # Small ones alone do not fill a block, and go to the file because time has passed; large ones because it is full.
    sizes = (0, 1, 2) if chosen.random() < 0.5 else (0, 10, 100, 1000, *[5000] * 100, 600_000)
    sent, answered = [], []
    until = time.monotonic() + for_s
    with suppress(OSError):
        while time.monotonic() < until:
            size = chosen.choice(sizes)
            for near, far, seen in ((client, server, sent), (server, client, answered)):
                frame = data(1, message(b"%08d" % len(seen) + bytes(size)))
                near.sendall(frame) if size < 100_000 else passed(near, far, frame)
                if size < 100_000:
                    assert len(exactly(far, len(frame))) == PREFIX + 8 + size
                seen.append(time.monotonic())
    return sent, answered


def passed(near, far, frame):
    """Pass what does not fit the buffers in between."""
    with ThreadPoolExecutor(1) as pool:
        saying = pool.submit(near.sendall, frame)
        assert exactly(far, len(frame)) == frame
        saying.result()
