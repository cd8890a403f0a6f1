"""What probes show: whole needs, from sessions written by hand. Recorded and probes are words with times."""

from dataclasses import replace

import pytest

from duplexmock.core.events import Cancel, ClientHalfClose, Event, Reset, ServerMessage, ServerTrailer, Side
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


def probed(played: Session) -> Probed:
    """Return a probe whose n-th message of the server is the recorded n-th."""
    count = sum(isinstance(entry.event, ServerMessage) for entry in played.entries)
    return Probed(played, {place: place for place in range(count)})


def server_needs(recorded: Session, *probes: Session) -> list[str]:
    needs = learn(recorded, [probed(each) for each in probes], Side.SERVER)
    return [f"{need.count} {need}" for need in needs.lane]


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
        "3 unknown: it comes by a clock, later than the probes held",
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
    held = Probed(session("0> 100< 101> 200< 201>"), {0: 0, 1: 1})
    free = Probed(session("0> 1> 100< 200< 201>"), {0: 0, 1: 1})
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
        "3 unknown: it comes by a clock, later than the probes held",
    ]


def test_a_reaction_that_takes_its_time_is_one() -> None:
    recorded = session("0> 1< 100> 200> 230<")
    assert server_needs(recorded, session("0> 1< 120> 240> 272<"), session("0> 1< 190> 380> 409<")) == [
        "1 structural",
        "3 held in 2 of 2 probes",
    ]


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
    other_order = Probed(session("0> 1< 2< 100> 101<"), {0: 0, 1: 1})
    crossed = Probed(session("0> 1< 2< 100> 101<"), {0: 1, 1: 0})
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
    assert [str(needs.ground_of(position)) for position in range(4)] == [
        "structural",
        "unknown: it did not come in a probe",
        "held in 2 of 2 probes",
        "held in 2 of 2 probes",
    ]


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
