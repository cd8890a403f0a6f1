"""How long a command may keep silent: the timeout, what it took in the recording, for ever when all was played."""

import asyncio
from pathlib import Path

import pytest

from duplexmock.cli.silence import recorded_silence_s, too_long
from duplexmock.core.events import Side
from duplexmock.net.stage import Stage
from duplexmock.play.plan import Options
from tests.net.ends import ANSWER, REQUEST, request, written
from tests.play.live import Call
from tests.playbook import HALF_CLOSE, OK, ask, recorded, reply

OTHER = request(method="/a.B/C")


def session(number: int, begin_ms: int, end_ms: int, header=REQUEST):
    events = (header, ask("a"), HALF_CLOSE, ANSWER, reply("A"))
    return recorded(*((begin_ms, event) for event in events), (end_ms, OK), number=number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(
        tmp_path / "x.duplex",
        session(1, 2000, 9000),
        session(2, 2500, 3000, OTHER),
        session(3, 12_000, 12_100, OTHER),
        session(4, 12_500, 12_600),
    )


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 3.0),  # from the end of the first, in which the second lies, to the third
        ({"sessions": [4]}, 12.5),
        ({"sessions": [4, 1]}, 3.5),
        ({"methods": ["*/C"]}, 9.0),
        ({"methods": ["*/C"], "sessions": [2]}, 2.5),
    ],
)
def test_the_longest_silence_of_a_recording(path, options, seconds):
    assert recorded_silence_s([path], Options(**options)) == seconds


def test_the_longest_silence_of_several_recordings(tmp_path, path):
    written(tmp_path / "y.duplex", session(1, 7000, 8000))
    assert recorded_silence_s([tmp_path], Options()) == 7.0


class Idle:
    """Is told for how long there has to be no call, and finds that there was none."""

    def __init__(self):
        self.asked = []

    async def __call__(self, for_s):
        self.asked.append(for_s)


@pytest.mark.parametrize(("timeout_s", "asked"), [(None, [10.0, 13.0]), (0.5, [0.5])])
def test_what_is_too_long(path, timeout_s, asked):
    idle, options = Idle(), Options(timeout_s=timeout_s)
    with Stage([path], Side.SERVER, options) as stage:
        assert asyncio.run(too_long(idle, stage, [path], options)) == asked[-1]
    assert idle.asked == asked


async def played(stage, *headers):
    for header in headers:
        call = Call()
        call.says(header, ask("a"), HALF_CLOSE)
        await stage.play.answer(call)


def test_it_is_too_long_as_long_as_there_is_more_to_play(path):
    idle, options = Idle(), Options(timeout_s=0.5, sessions=[1, 4])

    async def main(stage):
        await played(stage, REQUEST)
        return await too_long(idle, stage, [path], options)

    with Stage([path], Side.SERVER, options) as stage:
        assert asyncio.run(main(stage)) == 0.5


def test_nothing_is_too_long_when_all_was_played(path):
    idle, options = Idle(), Options(timeout_s=0.5, sessions=[1, 2])

    async def main(stage):
        await played(stage, REQUEST, OTHER)
        waiting = asyncio.ensure_future(too_long(idle, stage, [path], options))
        while not idle.asked:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()

    with Stage([path], Side.SERVER, options) as stage:
        asyncio.run(main(stage))
    assert idle.asked == [0.5]
