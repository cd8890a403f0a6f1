"""Runs of messages framed ahead, and how they are cut into frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from duplexmock.wire.flow import Credit, Outbox
from duplexmock.wire.framed import Framed
from duplexmock.wire.frames import HEAD, HEAD_BYTES
from duplexmock.wire.framing import message
from duplexmock.wire.limits import Packing
from tests.wire.talk import examples


def test_a_run_is_its_messages() -> None:
    run = Framed([(0, b"a"), (1, b""), (0, b"bcd")])
    assert run.body == b"\0\0\0\0\1a\1\0\0\0\0\0\0\0\0\3bcd"
    assert (len(run), run.ends, repr(run)) == (3, (6, 11, 19), "Framed(3 messages, 19 bytes)")


def test_a_part_of_a_run_shares_its_bytes() -> None:
    run = Framed.alike([b"a", b"bc", b"d", b"e"])
    part = run[1:4][0:2]
    assert part.body is run.body
    assert part.body[part.start : part.stop] == message(b"bc") + message(b"d")
    assert (len(part), len(run[2:1]), len(run[9:]), len(run[:-1])) == (2, 0, 0, 3)


def test_octets_are_sent_as_they_are() -> None:
    run = Framed.octets(b"\0\0\0")
    assert (run.body, run.start, run.stop, len(run)) == (b"\0\0\0", 0, 3, 1)


RUNS = st.lists(st.lists(st.integers(0, 60), max_size=6), max_size=5)
ALLOWANCES = st.lists(st.integers(1, 50), max_size=30)


@examples(300)
@given(RUNS, ALLOWANCES, st.sampled_from(Packing), st.booleans(), st.integers(1, 40))
def test_an_outbox_writes_what_was_put_whatever_the_windows(
    runs: list[list[int]], allowances: list[int], packing: Packing, ends: bool, frame_bytes: int
) -> None:
    outbox = Outbox(7, packing)
    expected = b""
    for sizes in runs:
        payloads = [bytes((number,)) * size for number, size in enumerate(sizes)]
        outbox.put(Framed.alike(payloads)[1:])
        expected += b"".join(map(message, payloads[1:]))
    out: list[bytes] = []
    for allowed in [*allowances, len(expected) + 1]:
        before = outbox.unsent_bytes
        written = outbox.write(out, allowed, frame_bytes, ends)
        assert written == min(allowed, before)
        assert outbox.unsent_bytes == before - written
    payloads, flags = cut(b"".join(out))
    assert b"".join(payloads) == expected
    assert all(0 < len(payload) <= frame_bytes for payload in payloads)
    assert flags[:-1] == [0] * (len(flags) - 1)
    assert flags[-1:] == ([int(ends)] if expected else [])


def test_a_frame_for_each_message_where_windows_allow() -> None:
    outbox, out = Outbox(1, Packing.MESSAGE), list[bytes]()
    outbox.put(Framed.alike([b"ab", b"", b"c"])[0:2])
    outbox.put(Framed.alike([b"d"]))
    outbox.write(out, 100, 100, False)
    assert cut(b"".join(out))[0] == [message(b"ab"), message(b""), message(b"d")]


def test_credit_is_given_back_by_halves() -> None:
    credit = Credit(100)
    credit.spend(49, 0)
    assert credit.due() == 0
    credit.spend(1, 0)
    assert (credit.due(), credit.left) == (50, 100)
    credit.held = True
    credit.spend(100, 0)
    assert credit.due() == 0
    credit.held = False
    assert credit.due() == 100
    assert Credit(0).due() == 0


def cut(octets: bytes) -> tuple[list[bytes], list[int]]:
    """Return payloads and flags of DATA frames on stream 7 or 1."""
    payloads, all_flags = [], []
    while octets:
        head, flags, _ = HEAD.unpack_from(octets)
        end = HEAD_BYTES + (head >> 8)
        payloads.append(octets[HEAD_BYTES:end])
        all_flags.append(flags)
        octets = octets[end:]
    return payloads, all_flags
