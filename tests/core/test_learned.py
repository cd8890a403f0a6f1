"""What probes show: whole needs, from sessions written by hand. Recorded and probes are words with times."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from duplexmock.core.events import Cancel, ClientHalfClose, Event, Reset, ServerMessage, ServerTrailer, Side, side_of
from duplexmock.core.learned import Ground, Need, Needs, Probed, gave_up, learn, shape
from duplexmock.core.session import Entry, Session
from duplexmock.core.status import Code, Status
from tests.core.calls import session

OK = ServerTrailer(Status(Code.OK))
LATE = ServerTrailer(Status(Code.DEADLINE_EXCEEDED))
BROKEN = ServerTrailer(Status(Code.INTERNAL))


def ended(timed_word: str, at_ns: int, event: Event) -> Session:
    open_one = session(timed_word)
    return replace(open_one, entries=(*open_one.entries, Entry(at_ns, event)))


HOLDS = (100, 220, 480)


def probed(played: Session, hold_ns: int = 100) -> Probed:
    """Return a probe whose n-th message of the server is the recorded n-th."""
    count = sum(isinstance(entry.event, ServerMessage) for entry in played.entries)
    return probed_by(played, {place: place for place in range(count)}, hold_ns, Side.SERVER)


def probed_by(played: Session, messages: Mapping[int, int], hold_ns: int = 100, side: Side = Side.CLIENT) -> Probed:
    said_ns = [entry.at_ns for entry in played.entries if side_of(entry.event) is not side]
    return Probed(played, messages, hold_ns, said_ns)


def server_needs(recorded: Session, *probes: Session) -> list[str]:
    made = [probed(each, hold_ns) for each, hold_ns in zip(probes, HOLDS, strict=False)]
    return [f"{need.count} {need}" for need in learn(recorded, made, Side.SERVER).lane]


def test_what_came_without_an_event_did_not_need_it() -> None:
    recorded = session("0> 1< 2> 3> 4<")
    assert server_needs(recorded, session("0> 1< 2< 100> 200>")) == ["1 structural", "1 refuted by probe"]


def test_what_never_came_without_an_event_is_held_by_it() -> None:
    recorded = session("0> 1< 2> 3> 4<")
    probe = session("0> 1< 100> 101< 200>")
    assert server_needs(recorded, probe, probe) == ["1 structural", "2 held in 2 of 2 probes"]


def test_what_is_held_may_be_less_than_what_was_seen() -> None:
    recorded = session("0> 1< 2> 3> 4<")
    assert server_needs(recorded, session("0> 1< 100> 101< 200>"), session("0> 1< 160> 162< 320>")) == [
        "1 structural",
        "2 held in 2 of 2 probes",
    ]


def test_what_came_late_in_one_probe_and_at_once_in_another_is_not_told_from_a_clock() -> None:
    recorded = session("0> 1< 2> 3> 4<")
    assert server_needs(recorded, session("0> 1< 100> 200> 201<"), session("0> 1< 160> 161< 320>")) == [
        "1 structural",
        "3 unknown: it came later than the probes held, by a clock or slowly",
    ]


def test_what_was_seen_bounds_what_is_needed() -> None:
    recorded = session("0> 1< 2< 3> 4>")
    assert server_needs(recorded, session("0> 1< 100> 200> 201<")) == ["1 structural", "1 structural"]


def test_an_event_needs_what_the_one_before_it_needs() -> None:
    recorded = session("0> 1> 2< 3<")
    probe = session("0> 100> 101< 102<")
    assert server_needs(recorded, probe) == ["2 held in 1 of 1 probes", "2 structural"]


def test_the_client_needs_nothing_by_gRPC_alone() -> None:
    recorded = session("0> 1< 2> 3< 4>")
    held = probed_by(session("0> 100< 101> 200< 201>"), {0: 0, 1: 1}, 100)
    free = probed_by(session("0> 1> 220< 440< 441>"), {0: 0, 1: 1}, 220)
    assert learn(recorded, [held], Side.CLIENT) == Needs(
        1, Side.CLIENT, (Need(0, Ground.STRUCTURAL), Need(1, Ground.HELD, 1), Need(2, Ground.HELD, 1))
    )
    assert learn(recorded, [free, held], Side.CLIENT) == Needs(
        1, Side.CLIENT, (Need(0, Ground.STRUCTURAL), Need(0, Ground.REFUTED, 2), Need(2, Ground.HELD, 2))
    )


def test_what_comes_as_long_after_the_event_before_it_in_all_probes_comes_by_a_clock() -> None:
    recorded = session("0> 1< 100> 200> 251<")
    assert server_needs(recorded, session("0> 1< 120> 240> 251<"), session("0> 1< 190> 251< 380>")) == [
        "1 structural",
        "3 unknown: it came later than the probes held, by a clock or slowly",
    ]


def test_what_waits_for_another_call_as_well_is_no_clock() -> None:
    recorded = session("0> 1< 2> 3<")
    late = session("0> 1< 100> 301<")
    probes = [Probed(late, {0: 0}, hold_ns, (0, 100, 200, 300)) for hold_ns in (100, 220)]
    assert learn(recorded, probes, Side.SERVER).lane[1] == Need(2, Ground.HELD, 2)


def test_what_comes_behind_the_same_event_in_probes_of_different_holds_is_a_reaction_however_late() -> None:
    """A busy machine makes what reacts at once come late, and the times look like those of a clock."""
    recorded = session("0> 1< 2> 3<")
    late, in_time = session("0> 1< 101> 190<"), session("0> 1< 221> 223<")
    assert server_needs(recorded, late, in_time)[1] == "2 held in 2 of 2 probes"


def test_a_clock_is_one_in_three_probes_as_well() -> None:
    recorded = session("0> 1< 100> 200> 501<")
    probes = (session("0> 1< 100> 200> 501<"), session("0> 1< 220> 440> 501<"), session("0> 1< 480> 501< 980>"))
    assert server_needs(recorded, *probes)[1] == "3 unknown: it came later than the probes held, by a clock or slowly"


def test_one_probe_in_which_it_was_late_makes_a_reaction_no_clock() -> None:
    recorded = session("0> 1< 100> 200> 201<")
    probes = (session("0> 1< 100> 101< 200>"), session("0> 1< 220> 440> 441<"), session("0> 1< 480> 481< 960>"))
    assert server_needs(recorded, *probes)[1] == "2 held in 3 of 3 probes"


def test_two_probes_that_hold_alike_do_not_tell_a_reaction_from_a_clock() -> None:
    recorded, probe = session("0> 1< 2> 3<"), session("0> 1< 100> 101<")
    alike = [probed(probe, 100), probed(probe, 150)]
    assert learn(recorded, alike, Side.SERVER).lane[1].ground is Ground.UNKNOWN


def test_a_reaction_that_takes_its_time_is_one() -> None:
    recorded = session("0> 1< 100> 200> 230<")
    assert server_needs(recorded, session("0> 1< 120> 240> 272<"), session("0> 1< 190> 380> 409<")) == [
        "1 structural",
        "3 held in 2 of 2 probes",
    ]


def test_more_messages_than_were_recorded_do_not_make_a_reaction_look_like_a_clock() -> None:
    recorded = ended("0> 1< 2< 30>", 31, OK)
    ticks = [ended("0> 1< 2< 40< 90< 100>", 102, OK), ended("0> 1< 2< 40< 90< 151< 160>", 163, OK)]
    probes = [probed_by(each, {0: 0}, hold_ns, Side.SERVER) for each, hold_ns in zip(ticks, (60, 120), strict=True)]
    assert learn(recorded, probes, Side.SERVER).lane[-1] == Need(2, Ground.HELD, 2)


def test_a_peer_that_gives_up_under_a_hold_makes_the_edge_unknown() -> None:
    recorded = ended("0> 1< 2> 3<", 4, OK)
    given_up = ended("0> 1<", 90, LATE)
    assert server_needs(recorded, given_up) == [
        "1 structural",
        "2 unknown: in a probe the server gave up, with DEADLINE_EXCEEDED",
        "2 unknown: in a probe the server gave up, with DEADLINE_EXCEEDED",
    ]


def test_another_ending_is_another_event() -> None:
    recorded = ended("0> 1< 2>", 4, OK)
    assert server_needs(recorded, ended("0> 1< 100>", 101, BROKEN)) == [
        "1 structural",
        "2 unknown: in a probe the server ended with INTERNAL",
    ]


def test_what_did_not_come_is_unknown_and_so_is_all_without_a_probe() -> None:
    recorded = session("0> 1< 2> 3<")
    assert server_needs(recorded, session("0> 1< 100>")) == ["1 structural", "2 unknown: it did not come in a probe"]
    assert server_needs(recorded) == ["1 structural", "2 unknown: there was no probe"]


def test_messages_are_told_apart_by_what_they_say_and_not_by_their_place() -> None:
    recorded = session("0> 1< 2< 3> 4<")
    other_order = probed_by(session("0> 1< 2< 100> 101<"), {0: 0, 1: 1}, 100, Side.SERVER)
    crossed = probed_by(session("0> 1< 2< 100> 101<"), {0: 1, 1: 0}, 100, Side.SERVER)
    assert [need.count for need in learn(recorded, [other_order], Side.SERVER).lane] == [1, 1, 2]
    assert [need.count for need in learn(recorded, [crossed], Side.SERVER).lane] == [1, 1, 1]


def test_of_an_unknown_event_our_side_waits_as_seen_and_the_peer_is_not_asked() -> None:
    needs = Needs(
        1,
        Side.SERVER,
        (
            Need(1, Ground.STRUCTURAL),
            Need(4, Ground.UNKNOWN, 2, "it did not come in a probe"),
            Need(2, Ground.HELD, 2),
            Need(2, Ground.STRUCTURAL),
        ),
    )
    assert needs.gate == (1, 4, 4, 4)
    assert needs.demand == (1, 1, 2, 2)
    assert [needs.gate_ground(position) for position in range(4)] == [needs.lane[at] for at in (0, 1, 1, 1)]
    assert [needs.demand_ground(position) for position in range(4)] == [needs.lane[at] for at in (0, 0, 2, 2)]


@pytest.mark.parametrize(
    ("ending", "told", "is_given_up"),
    [
        (OK, "1 message and OK", False),
        (LATE, "1 message and DEADLINE_EXCEEDED", True),
        (BROKEN, "1 message and INTERNAL", False),
        (Reset(8), "1 message and a reset (CANCEL)", True),
    ],
)
def test_a_server_that_ends_as_recorded_or_by_its_own_fault_has_not_given_up(
    ending: Event, told: str, is_given_up: bool
) -> None:
    recorded, probe = ended("0> 1< 2<", 3, OK), ended("0> 1< 2<", 3, ending)
    assert shape(recorded, probe, Side.SERVER) == told
    assert gave_up(recorded, probe, Side.SERVER) == is_given_up


def test_a_client_gives_up_by_a_cancel_that_was_not_recorded() -> None:
    recorded, probe = ended("0> 1<", 2, ClientHalfClose()), ended("0> 1<", 2, Cancel(8))
    assert shape(recorded, probe, Side.CLIENT) == "0 messages and a cancel"
    assert gave_up(recorded, probe, Side.CLIENT)
    assert shape(recorded, session("0> 1<"), Side.CLIENT) == "0 messages and no end"
    assert not gave_up(recorded, session("0> 1<"), Side.CLIENT)


def test_more_messages_than_were_recorded_are_not_counted() -> None:
    recorded, probe = session("0> 1< 2<"), session("0> 1< 2< 3< 4<")
    assert shape(recorded, probe, Side.SERVER) == "1 message and no end"
