"""A block on a loop of its own: what runs there when it is entered and left, and that nothing of it stays."""

import math
import threading

import pytest

from duplexmock.errors import ScriptError
from duplexmock.net.block import Block, check_grace


class Steps:
    """What a block runs, and where; each step raises what it is told to."""

    def __init__(self, **raises):
        self.ran = []
        self._raises = raises
        self.block = Block("test-block", self._start, self._stop)

    async def _start(self):
        self._run("start")

    async def _stop(self):
        self._run("stop")

    def _run(self, step):
        self.ran.append((step, threading.current_thread().name))
        if step in self._raises:
            raise self._raises[step]


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name == "test-block"]


def test_it_starts_when_it_is_entered_and_stops_when_it_is_left():
    steps = Steps()
    assert not steps.block.is_entered
    steps.block.enter()
    assert (steps.ran, steps.block.is_entered, threads()) == ([("start", "test-block")], True, ["test-block"])
    steps.block.leave()
    assert (steps.ran[1:], steps.block.is_entered, threads()) == ([("stop", "test-block")], False, [])


def test_leaving_it_again_or_without_entering_it_does_nothing():
    steps = Steps()
    steps.block.leave()
    steps.block.enter()
    steps.block.leave()
    steps.block.leave()
    assert [step for step, _ in steps.ran] == ["start", "stop"]


def test_a_start_that_fails_leaves_nothing():
    steps = Steps(start=ScriptError("no address"))
    with pytest.raises(ScriptError, match="no address"):
        steps.block.enter()
    assert (steps.block.is_entered, threads()) == (False, [])
    steps.block.leave()
    assert [step for step, _ in steps.ran] == ["start"]


def test_a_stop_that_fails_leaves_nothing():
    steps = Steps(stop=ScriptError("no end"))
    steps.block.enter()
    with pytest.raises(ScriptError, match="no end"):
        steps.block.leave()
    assert (steps.block.is_entered, threads()) == (False, [])


@pytest.mark.parametrize(
    ("grace_s", "text"), [(-1, "-1"), (-0.5, "-0.5"), (math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")]
)
def test_a_grace_that_makes_no_sense(grace_s, text):
    with pytest.raises(ScriptError) as caught:
        check_grace(grace_s)
    assert str(caught.value) == f"grace {text}: not a number of seconds, 0 or more"


@pytest.mark.parametrize("grace_s", [0, 0.5, 1e9])
def test_a_grace(grace_s):
    check_grace(grace_s)
