"""What is true of every script: it agrees with itself, its sessions are its words, and it prints as what makes it."""

from __future__ import annotations

import re
from itertools import count

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from duplexmock.core import words
from duplexmock.core.events import Side
from duplexmock.core.given import anything, like
from duplexmock.core.monitor import monitor
from duplexmock.core.words import (
    after,
    any_order,
    cancel,
    client,
    every,
    half_close,
    header,
    one_of,
    optional,
    repeat,
    reset,
    sequence,
    server,
    status,
    turn,
)
from duplexmock.errors import ScriptError
from duplexmock.schema.script import Script
from tests.core import scripts
from tests.core.scripts import joined
from tests.playbook import METHOD

SAID = st.just(b"?")
"""A message that no other one is like, so that who hears it knows which one it is: it gets a number later."""

REPLIES = st.one_of(
    SAID,
    st.lists(SAID, min_size=2, max_size=3),
    st.sampled_from([scripts.echo, scripts.twice, scripts.no_answer]),
)
LEAVES = st.one_of(
    SAID.map(client),
    SAID.map(server),
    st.tuples(SAID, SAID).map(lambda said: client(*said)),
    st.builds(lambda match, reply: turn(match, reply=reply), SAID, REPLIES),
)
MATCHES = st.sampled_from([b"a", b"b", b"long", like(anything, b"a"), like(scripts.is_short, b"b")])
LIKE_ONE_ANOTHER = st.one_of(
    LEAVES,
    MATCHES.map(client),
    MATCHES.map(server),
    st.builds(lambda match, reply: turn(match, reply=reply), MATCHES, REPLIES),
)
ENDINGS = st.sampled_from(
    [
        (),
        (client(half_close()),),
        (server(status("NOT_FOUND", "gone")),),
        (client(half_close()), server(status())),
        (client(cancel()),),
        (server(reset()),),
        (client(half_close()), server(b"bye")),
    ]
)


TWO = st.tuples(LEAVES, LEAVES)
ROUNDS = st.one_of(
    LEAVES,
    TWO.map(lambda each: sequence(*each)),
    TWO.map(lambda each: any_order(*each)),
)
"""What is repeated. Where either side may begin a round, or rounds are made of rounds, nothing tells whose it is."""


def larger(parts):
    two = st.tuples(parts, parts)
    return st.one_of(
        two.map(lambda each: sequence(*each)),
        two.map(lambda each: any_order(*each)),
        two.map(lambda each: one_of(*each)),
        parts.map(optional),
        st.builds(lambda part, least, more: repeat(part, least, more and least + more), ROUNDS, st.integers(0, 2),
                  st.sampled_from([None, 1, 2])),
        st.builds(lambda part, first: any_order(every("5s", server(b"?")), sequence(part, first)), parts,
                  st.sampled_from([after("12s"), client(b"a")])),
        parts.map(lambda part: after("100ms", part)),
    )  # fmt: skip


NAMES = {
    **{name: getattr(words, name) for name in dir(words) if not name.startswith("_")},
    "anything": anything,
    "like": like,
    "Script": Script,
    "tests": __import__("tests"),
}


@st.composite
def every_script(draw, leaves=LEAVES):
    parts = draw(st.lists(st.recursive(leaves, larger, max_leaves=6), min_size=1, max_size=3))
    if draw(st.booleans()):
        parts.insert(0, client(header({"x-room": "42"})))
    if draw(st.integers(0, 3)) == 0:
        parts.append(server(header({"x-mood": "good"})))
    try:
        script = Script(METHOD, *parts, *draw(ENDINGS))
    except ScriptError:
        assume(False)
    number = count(1)
    return eval(re.sub(r'b"\?"', lambda found: f'b"{next(number)}"', repr(script)), dict(NAMES))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(script=every_script(), seed=st.integers(0, 1000), choices=st.lists(st.integers(0, 3), max_size=12))
def test_a_script_agrees_with_itself_and_its_sessions_are_its_words(script, seed, choices):
    left = list(choices)

    def choose(moves):
        return min(left.pop(0), len(moves) - 1) if left else 0

    outcomes = joined(script.language(), choose=choose, seed=seed)
    for side, outcome in outcomes.items():
        assert outcome.mismatch is None, f"{side}: {outcome.mismatch.sentence}"
        mismatch = monitor(script.language(), outcome.session)
        assert mismatch is None, f"{side}: {mismatch.sentence}"
    event(f"{min(len(outcomes[Side.CLIENT].session.entries) // 5, 5) * 5} entries and more")


@given(script=every_script(LIKE_ONE_ANOTHER), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_a_script_whose_messages_are_like_one_another_comes_to_an_end(script, seed):
    outcomes = joined(script.language(), seed=seed).values()
    if all(outcome.agreed for outcome in outcomes):
        for outcome in outcomes:
            script.check(outcome.session)


@given(script=every_script(LIKE_ONE_ANOTHER))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_a_script_prints_as_the_source_of_an_equal_one(script):
    assert eval(repr(script), dict(NAMES)) == script
    assert eval(script.source(), dict(NAMES)) == script


@pytest.mark.parametrize("number", range(3))
def test_a_script_is_equal_to_one_that_is_made_alike(number):
    made = [Script(METHOD, repeat(turn({"n": number}, reply=scripts.echo))) for _ in range(2)]
    assert made[0] == made[1]
    assert hash(made[0]) == hash(made[1])
    assert made[0] != Script(METHOD, repeat(turn({"n": number + 1}, reply=scripts.echo)))
