import random

import pytest

from duplexmock.learn.likeness import Features, align


def _lane(*messages):
    """Each message is its values; what stands before the colon is the field."""
    return [
        Features(
            frozenset(value.partition(":")[0] for value in message.split()),
            tuple(value.partition(":")[::2] for value in message.split()),
        )
        for message in messages
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "pairs"),
    [
        ([], [], []),
        (["t:a"], [], []),
        ([], ["t:a"], []),
        (["t:a", "t:b"], ["t:a", "t:b"], [(0, 0), (1, 1)]),
        (["t:a", "t:b"], ["t:x", "t:a", "t:b"], [(0, 1), (1, 2)]),
        (["t:a", "t:b", "t:c"], ["t:a", "t:c"], [(0, 0), (2, 1)]),
        (["t:a", "t:b", "t:c"], ["t:a", "t:x", "t:c"], [(0, 0), (1, 1), (2, 2)]),
        (["n:1", "n:2"], ["n:8", "n:9"], [(0, 0), (1, 1)]),
        (["r:r t:a", "r:r t:b"], ["r:r t:b", "r:r t:a"], [(0, 1)]),
        (["t:a"], ["u:a"], []),
        (["t:a", ""], ["t:a", "t:b"], [(0, 0), (1, 1)]),
    ],
)
def test_what_agrees_belongs_together(ours, theirs, pairs):
    found = align(_lane(*ours), _lane(*theirs))

    assert found == pairs or (len(pairs) == 1 and [found[0][::-1]] == pairs and len(found) == 1)


def test_messages_of_two_kinds_never_belong_together():
    one, other = (Features(frozenset("t"), (("t", "a"),), kind) for kind in "xy")

    assert align([one, other], [other]) == [(1, 0)]
    assert align([one], [other]) == []


def test_a_clock_that_went_on_says_nothing():
    def lane(start):
        return [Features(frozenset(("at", "t")), (("at", start + n), ("t", "tick"))) for n in range(10)]

    assert align(lane(100), lane(101)) == [(n, n) for n in range(10)]


@pytest.mark.parametrize("length", [50, 3000])
def test_one_message_more_here_and_there_shifts_nothing(length):
    draw = random.Random(length)
    words = [f"t:{n} n:{draw.random()}" for n in range(length)]
    others = [f"t:{n} n:{draw.random()}" for n in range(length)]
    more = sorted(draw.sample(range(length), 10), reverse=True)
    expected = [(n, n + sum(position <= n for position in more)) for n in range(length)]
    for position in more:
        others.insert(position, "t:more")

    assert align(_lane(*words), _lane(*others)) == expected


@pytest.mark.parametrize(("length", "more"), [(49, 11), (5, 1), (5, -2)])
def test_of_messages_that_are_alike_the_first_belong_to_the_first(length, more):
    """Pushes of a timer, of which a longer run brings more behind those that were recorded."""
    ours, theirs = (
        [f"t:tick at:{start + n}" for n in range(count)] for start, count in ((0, length), (900, length + more))
    )

    assert align(_lane(*ours), _lane(*theirs)) == [(n, n) for n in range(min(length, length + more))]
