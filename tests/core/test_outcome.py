"""Outcomes are values; agreed is what has no mismatch."""

from dataclasses import replace

from duplexmock.core.events import Side
from duplexmock.core.outcome import Mismatch, Outcome
from tests.playbook import METHOD


def test_an_outcome_agrees_unless_it_has_a_mismatch() -> None:
    outcome = Outcome(1, METHOD, Side.SERVER, None)

    assert outcome.agreed
    assert not replace(outcome, mismatch=Mismatch("It was wrong.", Side.CLIENT, 0, 0, 0)).agreed
    assert replace(outcome, notes=("noted",)).agreed
