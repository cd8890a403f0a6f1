"""The order, against brute force: every word of two short lanes, checked letter by letter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.events import Side
from duplexmock.core.order import Order
from duplexmock.errors import ScriptError
from tests.core.calls import session
from tests.wire.talk import examples

# Brute force


def words(client: int, server: int) -> Iterator[str]:
    """Yield every interleaving of so many client events with so many server events."""
    for places in combinations(range(client + server), client):
        yield "".join(">" if place in places else "<" for place in range(client + server))


def keeps(word: str, client: tuple[int, ...], server: tuple[int, ...]) -> bool:
    """Tell whether each event of the word comes behind as many events of the other lane as it waits for."""
    happened = {">": 0, "<": 0}
    for arrow in word:
        waits, other = (client, "<") if arrow == ">" else (server, ">")
        if happened[other] < waits[happened[arrow]]:
            return False
        happened[arrow] += 1
    return True


def lane_lengths() -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(1, 5), st.integers(0, 5))


@st.composite
def some_words(draw: st.DrawFn, least: int = 1) -> list[str]:
    """Draw words of the same two lanes, each beginning with the ClientHeader."""
    client, server = draw(lane_lengths())
    one = st.permutations(">" * (client - 1) + "<" * server).map(lambda rest: ">" + "".join(rest))
    return draw(st.lists(one, min_size=least, max_size=4))


def echoes(count: int) -> Order:
    """Return the order of so many requests, each answered once: ServerHeader directly after ClientHeader, trailer last.

    The half-close is free: it waits for no reply, and only the trailer waits for it.
    """
    requests, replies = (1,) * count, range(2, count + 2)
    half_close, trailer = 1, count + 2
    return Order((0, *requests, half_close), (1, *replies, trailer))


def messages_of_echoes(count: int) -> Order:
    """Return the same of the messages alone; the ClientHeader, which an order begins with, is the only other event."""
    return Order((0,) * (count + 1), tuple(range(2, count + 2)))


# What it admits


def test_the_picture_of_the_module_is_right() -> None:
    order = Order((0, 1, 3), (1, 2, 2, 3))
    assert order == Order.word("><><<><")
    assert order.admits("><><<><")
    assert order.count() == 1


@pytest.mark.parametrize(
    ("client", "server", "words"),
    [
        ((), (), [""]),
        ((0,), (), [">"]),
        ((0, 0), (1,), [">><", "><>"]),
        ((0, 1), (1,), ["><>"]),
        ((0, 0), (2,), [">><"]),
        ((0, 0, 1), (1, 2), [">><><", ">><<>", "><>><", "><><>"]),
    ],
)
def test_an_order_admits_these_words(client: tuple[int, ...], server: tuple[int, ...], words: list[str]) -> None:
    order = Order(client, server)
    assert [word for word in every_word(len(client) + len(server)) if order.admits(word)] == sorted(words, reverse=True)


def every_word(length: int) -> list[str]:
    return ["".join(letters) for letters in product("><", repeat=length)]


@examples(200)
@given(some_words())
def test_what_is_admitted_and_counted_is_what_brute_force_finds(drawn: list[str]) -> None:
    order = Order.common(Order.word(word) for word in drawn)
    kept = [word for word in words(len(order.client), len(order.server)) if keeps(word, order.client, order.server)]
    assert [word for word in words(len(order.client), len(order.server)) if order.admits(word)] == kept
    assert order.count() == len(kept)
    assert set(drawn) <= set(kept)


@examples(200)
@given(some_words(), st.data())
def test_a_step_once_allowed_stays_allowed(drawn: list[str], data: st.DataObject) -> None:
    order = Order.common(Order.word(word) for word in drawn)
    client = data.draw(st.integers(0, len(order.client)))
    server = data.draw(st.integers(0, len(order.server)))
    for side, later in ((Side.CLIENT, (client, server + 1)), (Side.SERVER, (client + 1, server))):
        if order.allows(side, client, server):
            assert order.allows(side, *later)


def test_each_side_has_what_its_own_events_wait_for() -> None:
    order = Order.word("><><<")
    assert (order.of(Side.CLIENT), order.of(Side.SERVER)) == ((0, 1), (1, 2, 2))


def test_beyond_its_lane_a_side_has_no_step() -> None:
    order = Order((0, 0), (1,))
    assert [order.allows(Side.CLIENT, client, 0) for client in range(4)] == [True, True, False, False]
    assert [order.allows(Side.SERVER, 1, server) for server in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    ("word", "admitted"),
    [("><", True), (">", False), ("><<", False), ("><>", False), ("<>", False), ("", False)],
)
def test_a_word_is_of_the_whole_call(word: str, admitted: bool) -> None:
    assert Order.word("><").admits(word) is admitted


# Counting


@pytest.mark.parametrize(("count", "expected"), [(0, 1), (1, 2), (2, 5), (3, 14), (5, 132), (10, 58_786)])
def test_echoes_with_a_free_half_close(count: int, expected: int) -> None:
    assert echoes(count).count() == expected


@pytest.mark.parametrize(("count", "expected"), [(0, 1), (1, 1), (2, 2), (3, 5), (10, 16_796)])
def test_the_messages_of_echoes_alone(count: int, expected: int) -> None:
    assert messages_of_echoes(count).count() == expected


def test_the_words_of_one_echo_differ_in_where_the_half_close_is() -> None:
    order = echoes(1)
    assert [word for word in words(3, 3) if order.admits(word)] == ["><>><<", "><><><"]


def test_lanes_that_wait_for_nothing_have_a_binomial_of_words() -> None:
    order = Order((0,) * 11, (1,) * 10)
    assert order.count() == 184_756


def test_a_long_call_is_counted() -> None:
    order = Order((0,) * 301, (1,) * 300)
    assert len(str(order.count())) == 180


# Contradictions


@pytest.mark.parametrize(
    ("client", "server", "text"),
    [
        ((1,), (1,), "order: ClientHeader comes first, it cannot wait for a server event"),
        ((0,), (0,), "order: a server event before ClientHeader"),
        ((), (0,), "order: a server event before ClientHeader"),
        (
            (0, 2, 1),
            (1, 1),
            "order: client event 3 waits for 1, the one before it for 2; a lane is FIFO, its numbers only grow",
        ),
        (
            (0, 0),
            (2, 1),
            "order: server event 2 waits for 1, the one before it for 2; a lane is FIFO, its numbers only grow",
        ),
        ((0, 3), (1, 1), "order: client event 2 waits for 3 of 2 events"),
        ((0,), (1, 2), "order: server event 2 waits for 2 of 1 events"),
        ((-1, 0), (1,), "order: client event 1 waits for -1; what waits for nothing has 0"),
        ((0,), (-1, 1), "order: server event 1 waits for -1; what waits for nothing has 0"),
        ((0, 1), (2,), "order: client event 2 and server event 1 wait for each other"),
        ((0, 0, 2), (1, 3), "order: client event 3 and server event 2 wait for each other"),
    ],
)
def test_contradictions_are_refused(client: tuple[int, ...], server: tuple[int, ...], text: str) -> None:
    with pytest.raises(ScriptError) as caught:
        Order(client, server)
    assert str(caught.value) == text


@examples(400)
@given(st.lists(st.integers(-1, 4), max_size=4).map(tuple), st.lists(st.integers(-1, 4), max_size=4).map(tuple))
def test_numbers_are_refused_exactly_where_they_say_what_cannot_be(
    client: tuple[int, ...], server: tuple[int, ...]
) -> None:
    grow = all(sorted(lane) == list(lane) and min(lane, default=0) >= 0 for lane in (client, server))
    header_first = client[:1] in ((), (0,)) and server[:1] != (0,)
    possible = any(keeps(word, client, server) for word in words(len(client), len(server)))
    try:
        Order(client, server)
    except ScriptError:
        assert not (grow and header_first and possible)
    else:
        assert grow and header_first and possible  # noqa: PT018


# Words


@examples(200)
@given(some_words())
def test_the_order_of_a_word_admits_no_other(drawn: list[str]) -> None:
    word = drawn[0]
    order = Order.word(word)
    assert [other for other in words(word.count(">"), word.count("<")) if order.admits(other)] == [word]


def test_a_word_is_spelled_with_two_letters() -> None:
    with pytest.raises(ScriptError) as ordered:
        Order.word("><-<")
    with pytest.raises(ScriptError) as asked:
        Order.word("><").admits("<><x")
    assert str(ordered.value) == "word '><-<': letter 3 is '-'; a word is spelled with > and <"
    assert str(asked.value) == "word '<><x': letter 4 is 'x'; a word is spelled with > and <"


def test_a_word_that_the_server_begins_is_refused() -> None:
    with pytest.raises(ScriptError) as caught:
        Order.word("<>")
    assert str(caught.value) == "order: ClientHeader comes first, it cannot wait for a server event"


# Recordings


@pytest.mark.parametrize(
    ("timed_word", "slack_ns", "client", "server"),
    [
        ("0> 1< 2> 3> 4< 5<", 0, (0, 1, 1), (1, 3, 3)),
        ("0> 0< 0> 0> 0< 0<", 0, (0, 1, 1), (1, 3, 3)),  # one read: ties go by position
        ("0> 1< 2> 3> 4< 5<", 1, (0, 1, 1), (1, 3, 3)),
        ("0> 1< 2> 3> 4< 5<", 2, (0, 0, 1), (1, 2, 3)),  # what came less than 2 ns before is not waited for
        ("0> 1< 2> 3> 4< 5<", 3, (0, 0, 0), (1, 1, 2)),
        ("0> 1< 2> 3> 4< 5<", 99, (0, 0, 0), (1, 1, 1)),
        ("0> 0< 0> 0>", 1, (0, 0, 0), (1,)),
        ("7>", 0, (0,), ()),
    ],
)
def test_an_event_waits_for_what_was_seen_slack_before_it(
    timed_word: str, slack_ns: int, client: tuple[int, ...], server: tuple[int, ...]
) -> None:
    assert Order.recorded(session(timed_word), slack_ns) == Order(client, server)


@examples(200)
@given(some_words(), st.data())
def test_a_recorded_order_admits_what_was_recorded_and_slack_only_adds(drawn: list[str], data: st.DataObject) -> None:
    word = drawn[0]
    times = sorted(data.draw(st.lists(st.integers(0, 20), min_size=len(word), max_size=len(word))))
    recorded = session(" ".join(f"{at_ns}{arrow}" for at_ns, arrow in zip(times, word, strict=True)))
    assert Order.recorded(recorded) == Order.word(word)
    counts = []
    for slack_ns in range(22):
        order = Order.recorded(recorded, slack_ns)
        assert order.admits(word)
        counts.append(order.count())
    assert counts == sorted(counts)
    assert Order.recorded(recorded, 21) == Order.lanes(recorded)


def test_a_recording_of_many_events_is_read_in_a_time_in_proportion() -> None:
    pairs = 50_000
    recorded = session("0> 0< " + "1> 2< " * pairs)
    order = Order.recorded(recorded, 1)
    assert (order.client[-1], order.server[-1]) == (1, pairs + 1)


def test_lanes_alone_demand_that_the_client_header_comes_first() -> None:
    order = Order.lanes(session("0> 1< 2> 3<"))
    assert order == Order((0, 0), (1, 1))
    assert [word for word in words(2, 2) if order.admits(word)] == [">><<", "><><", "><<>"]


# What several have in common


@examples(200)
@given(some_words())
def test_common_is_the_strictest_order_that_admits_all(drawn: list[str]) -> None:
    common = Order.common(Order.word(word) for word in drawn)
    assert all(common.admits(word) for word in drawn)
    for lane in ("client", "server"):
        for position, waits in enumerate(getattr(common, lane)):
            lanes = {"client": list(common.client), "server": list(common.server)}
            lanes[lane][position] = waits + 1
            assert not all(keeps(word, tuple(lanes["client"]), tuple(lanes["server"])) for word in drawn)


def test_the_common_order_of_one_is_itself() -> None:
    order = echoes(3)
    assert Order.common([order]) == order


@pytest.mark.parametrize("words", [[], ["><", "><<"], [">><", ">"]])
def test_only_orders_of_the_same_lanes_have_something_in_common(words: list[str]) -> None:
    with pytest.raises(ScriptError) as caught:
        Order.common(Order.word(word) for word in words)
    assert str(caught.value) == "order: only orders of lanes of the same length have something in common"
