"""Which call and which message of one run is which of another."""

from __future__ import annotations

from duplexmock.core.events import Side
from duplexmock.learn.alignment import compared, same_messages
from duplexmock.learn.proposals import Proposals, propose
from duplexmock.learn.runs import read_runs
from tests.learn.runs import TALK, call


def test_equal_messages_are_the_same_in_whatever_order_they_came() -> None:
    one, other = call("<", {2: "a"}, "<", {2: "b"}), call("<", {2: "b"}, "<", {2: "x"}, "<", {2: "a"})
    assert same_messages(one, other, Side.SERVER) == {0: 2, 1: 0}


def test_of_a_timers_pushes_the_first_are_those_that_were_recorded() -> None:
    """A probe that holds for longer than the call took hears more of them: none of them waited for the probe's end."""
    one, other = (
        call(*(part for n in range(count) for part in ("<", {2: "tick", 3: start + n})))
        for start, count in ((1_795_519_222, 6), (1_795_530_000, 9))
    )
    assert same_messages(one, other, Side.SERVER) == {n: n for n in range(6)}


def test_calls_that_found_one_anothers_sessions_are_compared_with_their_own() -> None:
    """Three calls at a time, told apart by their second message only: what they do is nothing that changes."""

    def run(seed: int, *names: str) -> list:
        return [call(">", {2: "open", 3: 10**9 + seed + n}, ">", {2: name}) for n, name in enumerate(names)]

    one, other = run(0, "work", "rest", "play"), run(70, "play", "work", "rest")
    pairs = [(ours.session, theirs.session) for ours, theirs in compared(read_runs([one, other], None))]
    assert pairs == [(one[0], other[1]), (one[1], other[2]), (one[2], other[0])]
    assert propose([one, other]) == Proposals((f"{TALK}>3",))


def test_calls_that_are_alike_are_compared_in_their_order() -> None:
    one, other = ([call(">", {3: 10**9 + seed + n}) for n in range(4)] for seed in (0, 70))
    pairs = [(ours.session, theirs.session) for ours, theirs in compared(read_runs([one, other], None))]
    assert pairs == list(zip(one, other, strict=True))
