"""The repertoire: what is read of a source, when, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count, islice

import pytest

from duplexmock.core.events import Side
from duplexmock.core.lanes import Lanes
from duplexmock.core.session import Session
from duplexmock.play.repertoire import Repertoire, Source
from tests.play.live import Plain, source
from tests.playbook import ANSWER, HEADER, METHOD, MS, OK, lost_by, recorded, reply, terms


def brief(number: int, at_ms: float, lasts_ms: float = 5) -> Session:
    return recorded((at_ms, HEADER), (at_ms + lasts_ms, OK), number=number, connection=number)


def reading(sessions: Iterable[Session]) -> tuple[Source, list[int]]:
    """Return a source, and the numbers of what has been read of it."""
    read: list[int] = []

    def passing() -> Iterator[Session]:
        for session in sessions:
            read.append(session.number)
            yield session

    return Source("one", passing, Lanes.of, lambda of: terms(of, Side.SERVER), Plain()), read


def test_no_more_is_read_than_what_overlaps() -> None:
    from_file, read = reading(brief(number, 10 * number) for number in count(1))
    parts = iter(Repertoire([from_file], Side.SERVER))

    assert read == []
    assert next(parts).lanes.number == 1
    assert read == [1, 2]
    assert next(parts).lanes.number == 2
    assert read == [1, 2, 3]


def test_a_session_waits_for_what_overlaps_it() -> None:
    from_file, read = reading([brief(1, 0, 25), brief(2, 10), brief(3, 20), brief(4, 30), brief(5, 40)])
    parts = iter(Repertoire([from_file], Side.SERVER))

    assert next(parts).lanes.number == 1
    assert read == [1, 2, 3, 4]
    assert [part.lanes.number for part in parts] == [2, 3, 4, 5]


def test_a_part_is_the_script_and_its_place() -> None:
    [part] = Repertoire([source(brief(7, 0), name="one.duplex")], Side.SERVER)

    assert part.lanes == Lanes.of(brief(7, 0))
    assert part.terms == terms(part.lanes, Side.SERVER)
    assert (part.key, part.connection, part.edges) == (("one.duplex", 0, 7), 7, ())


def test_what_is_played_is_not_given_again_and_the_rest_is() -> None:
    from_file, read = reading(brief(number, 10 * number) for number in range(1, 6))
    repertoire = Repertoire([from_file], Side.SERVER)
    first, second = islice(repertoire, 2)

    repertoire.played(first)

    assert next(iter(repertoire)) is second
    assert read == [1, 2, 3]
    assert [part.lanes.number for part in repertoire] == [2, 3, 4, 5]
    assert len(read) == 5


def test_the_next_is_the_first_that_no_call_holds() -> None:
    def following() -> list[int]:
        return [number for number in (1, 2, 3) if repertoire.is_next(("one", 0, number))]

    from_file, read = reading(brief(number, 10 * number) for number in (1, 2, 3))
    repertoire = Repertoire([from_file], Side.SERVER)
    assert following() == [1]

    first, second = islice(repertoire, 2)
    assert following() == [1]
    first.is_held = True
    assert following() == [2]
    second.is_held = True
    assert following() == [3]
    assert [part.lanes.number for part in repertoire] == [1, 2, 3]
    repertoire.played(first)
    for part in repertoire:
        part.is_held = True
    assert (following(), read) == ([], [1, 2, 3])


def test_a_method_that_no_source_has_is_known_without_reading() -> None:
    known, read = reading([brief(1, 0)])
    known = replace(known, methods={1: "/a.B/C"})
    repertoire = Repertoire([known], Side.SERVER)
    unknown = source(brief(1, 0), name="two")

    assert (repertoire.may_have("/a.B/C"), repertoire.may_have("/a.B/D"), read) == (True, False, [])
    assert Repertoire([known, unknown], Side.SERVER).may_have("/a.B/D")


def test_what_was_not_played_is_named_without_reading() -> None:
    first, read = reading(brief(number, 10 * number) for number in range(1, 6))
    first = replace(first, methods=dict.fromkeys(range(1, 6), METHOD))
    second = replace(source(brief(1, 0), name="two"), methods={1: METHOD})
    repertoire = Repertoire([first, second], Side.SERVER, repeat=2)
    one, two, three = islice(repertoire, 3)
    repertoire.played(one)
    two.is_held = True
    assert not repertoire.is_next(("one", 0, 5))

    left = [("one", 0, number) for number in (3, 4, 5)] + [("two", 0, 1)]
    again = [("one", 1, number) for number in range(1, 6)] + [("two", 1, 1)]
    assert [*repertoire.unplayed()] == [(name, number, METHOD) for name, _, number in left + again]
    assert read == [1, 2, 3, 4]
    assert [part.key for part in repertoire if part not in (two, three)] == left[1:] + again


def test_what_was_not_played_is_read_where_it_is_not_known() -> None:
    unknown, read = reading([brief(1, 0), brief(2, 10), brief(3, 20)])
    repertoire = Repertoire([replace(source(brief(1, 0), name="two"), methods={1: METHOD}), unknown], Side.SERVER)
    next(iter(repertoire)).is_held = True

    assert [*repertoire.unplayed()] == [("one", number, METHOD) for number in (1, 2, 3)]
    assert read == [1, 2, 3]


def test_no_more_is_read_for_a_method_of_which_nothing_is_left() -> None:
    first, read = reading(brief(number, 10 * number) for number in range(1, 6))
    methods = {1: "/a.B/C", 2: METHOD, 3: METHOD, 4: "/a.B/C", 5: "/a.B/C"}
    repertoire = Repertoire([replace(first, methods=methods, lanes=lambda of: named(of, methods))], Side.SERVER)

    assert [part.lanes.number for part in repertoire.of(METHOD)] == [2, 3]
    assert read == [1, 2, 3, 4]
    assert ([*repertoire.of("/a.B/D")], read) == ([], [1, 2, 3, 4])
    assert [part.lanes.number for part in repertoire.of("/a.B/C")] == [1, 4, 5]
    assert [part.lanes.number for part in repertoire] == [1, 2, 3, 4, 5]


def test_a_method_is_left_in_the_passes_that_are_to_come() -> None:
    only = replace(source(brief(1, 0)), methods={1: METHOD})
    repertoire = Repertoire([only], Side.SERVER, repeat=3)

    assert [part.turn for part in repertoire.of(METHOD)] == [0, 1, 2]


def named(session: Session, methods: Mapping[int, str]) -> Lanes:
    return replace(Lanes.of(session), method=methods[session.number])


def test_a_session_waits_for_those_that_its_connection_had_when_it_was_lost() -> None:
    closed = lost_by(Side.SERVER, 30)
    lost = recorded((0, HEADER), (1, ANSWER), number=1, closed=closed)
    late = recorded((20, HEADER), (21, ANSWER), number=2, closed=closed)
    from_file, read = reading([lost, late, brief(3, 30), brief(4, 40)])

    part = next(iter(Repertoire([from_file], Side.SERVER)))

    assert (part.lanes.number, read) == (1, [1, 2, 3, 4])
    assert [*part.fellows] == [(0, 1), (20 * MS, 2)]
    assert part.again(1).fellows == part.fellows


class Counted(int):
    """A time that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return int(self) == other

    def __lt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) < int(other)

    def __gt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) > int(other)

    def __le__(self, other: int) -> bool:
        return not self > other

    def __ge__(self, other: int) -> bool:
        return not self < other

    __hash__ = int.__hash__


@pytest.mark.parametrize("side", Side)
def test_a_long_watch_over_many_short_calls_takes_no_more_than_n_log_n(side: Side) -> None:
    def counted(session: Session) -> Session:
        return replace(session, entries=tuple(replace(each, at_ns=Counted(each.at_ns)) for each in session.entries))

    def compared(calls: int) -> int:
        told = [(10 * number + 9, reply("put")) for number in range(calls)]
        watch = recorded((0, HEADER), (1, ANSWER), *told, (10 * calls + 20, OK), number=1)
        sessions = [counted(watch), *(counted(brief(number + 2, 10 * number + 2)) for number in range(calls))]
        Counted.compared = 0
        parts = [*Repertoire([source(*sessions, side=side)], side)]
        assert sum(len(part.edges) for part in parts) >= calls
        return Counted.compared

    assert compared(1_600) < 2.5 * compared(800) < 6.5 * compared(400)


def test_sources_follow_each_other_and_all_of_it_is_repeated() -> None:
    one, two = source(brief(1, 0), name="one"), source(brief(1, 0), brief(2, 1), name="two")

    keys = [part.key for part in Repertoire([one, two], Side.SERVER, repeat=2)]

    assert keys == [("one", 0, 1), ("two", 0, 1), ("two", 0, 2), ("one", 1, 1), ("two", 1, 1), ("two", 1, 2)]


def test_a_part_that_is_repeated_is_free_again() -> None:
    parts = iter(Repertoire([source(brief(1, 0))], Side.SERVER, repeat=2))
    next(parts).is_held = True

    assert not next(parts).is_held


def test_a_session_that_ended_long_ago_can_be_what_a_header_waits_for() -> None:
    from_file = source(brief(1, 0), brief(2, 10), brief(3, 500), side=Side.CLIENT)

    waits = [[str(edge) for edge in part.edges] for part in Repertoire([from_file], Side.CLIENT)]

    assert waits == [[], ["ServerTrailer of session 1"], ["ServerTrailer of session 2"]]


def test_edges_stay_in_their_source() -> None:
    push = recorded((20, HEADER), (21, ANSWER), (40, reply("a")), (41, OK), number=1)

    parts = [*Repertoire([source(brief(1, 30), name="one"), source(push, name="two")], Side.SERVER)]

    assert [part.edges for part in parts] == [(), ()]
