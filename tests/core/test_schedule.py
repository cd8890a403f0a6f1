from __future__ import annotations

import pytest

from duplexmock.core.events import Side
from duplexmock.core.schedule import Kind, Schedule, Step
from duplexmock.errors import ScriptError

CLIENT, SERVER = Side.CLIENT, Side.SERVER


def test_a_schedule_is_written_with_a_letter_or_two_for_each_choice() -> None:
    steps = (
        Step(Kind.DELIVER, 1, CLIENT),
        Step(Kind.ACCEPT, 1, CLIENT, is_burst=True),
        Step(Kind.DELIVER, 12, SERVER),
        Step(Kind.REFUSE, 2, CLIENT),
        Step(Kind.TIMER),
        Step(Kind.CANCEL, 1),
        Step(Kind.DEADLINE, 2),
        Step(Kind.RESET, 3),
        Step(Kind.DRAIN),
        Step(Kind.TIMER, is_burst=True),
    )
    assert str(Schedule(steps)) == ">w>+12<2f>tx2d3rqt+"
    assert Schedule.parse(">w>+12<2f>tx2d3rqt+") == Schedule(steps)


def test_spaces_are_ignored_and_nothing_is_a_schedule_of_no_steps() -> None:
    assert Schedule.parse(" > w>\n< ") == Schedule.parse(">w><")
    assert Schedule.parse("") == Schedule()
    assert (str(Schedule()), len(Schedule()), len(Schedule.parse(">>2<"))) == ("", 0, 3)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [(">>z<", "'z<'"), ("2t", "'2t'"), ("0>", "'0>'"), ("w", "'w'"), ("++", "'++'"), (">3", "'3'"), ("wt", "'wt'")],
)
def test_what_is_no_schedule_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(ScriptError) as caught:
        Schedule.parse(text)
    assert str(caught.value) == f"schedule {text!r}: {wrong} is no choice; one is like > 2< w> t or x"


def test_the_word_of_a_call_is_what_was_delivered_of_it() -> None:
    schedule = Schedule.parse(">w>2>>w<<t+2<x<")
    assert (schedule.word(), schedule.word(2), schedule.word(3)) == (">><<", "><", "")
