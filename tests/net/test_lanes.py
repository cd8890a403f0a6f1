"""A lane made ready for the wire is the lane, with each run of messages framed as one."""

from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.events import ServerMessage
from duplexmock.net.lanes import FramedLane
from duplexmock.wire.framed import Framed
from tests.playbook import ANSWER, HALF_CLOSE, HEADER, OK, ask, reply

LANES = [
    [],
    [ANSWER],
    [OK],
    [ANSWER, OK],
    [HEADER, HALF_CLOSE],
    [ANSWER, reply("a"), reply("b", flags=1), reply(""), OK],
    [HEADER, ask("a"), ask("b")],
    [ask("a")],
]


def told(slice_of_lane):
    """What a slice says: events, and of a run the bytes of its messages."""
    return [bytes(each.body[each.start : each.stop]) if isinstance(each, Framed) else each for each in slice_of_lane]


def plainly(events):
    """The same, made without the class."""
    said = []
    for event in events:
        if not hasattr(event, "payload"):
            said.append(event)
            continue
        octets = bytes([event.flags]) + len(event.payload).to_bytes(4, "big") + event.payload
        if said and isinstance(said[-1], bytes):
            octets = said.pop() + octets
        said.append(octets)
    return said


@given(st.sampled_from(LANES), st.integers(0, 6), st.integers(0, 6))
def test_a_slice_is_what_the_events_of_the_lane_say(lane, start, stop):
    assert told(FramedLane(lane)[start:stop]) == plainly(lane[start:stop])


def test_it_is_a_sequence_of_the_events():
    lane = LANES[5]
    assert (len(FramedLane(lane)), [*FramedLane(lane)]) == (5, lane)
    assert FramedLane(lane)[2] == ServerMessage(b"b", 1)


def test_all_messages_of_a_lane_are_one_run_that_is_framed_once():
    lane = FramedLane(LANES[5])
    _, run, _ = lane[:]
    _, part = lane[0:3]
    assert (len(run), len(part)) == (3, 2)
    assert part.body is run.body
