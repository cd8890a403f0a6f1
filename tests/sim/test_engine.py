"""What is chosen, and when: options, schedules, bursts, latency, windows and what may befall a run."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from duplexmock.core.events import Side
from duplexmock.core.schedule import Schedule, Step
from duplexmock.errors import ScriptError
from duplexmock.sim.bounds import Bounds
from duplexmock.sim.simulation import Leaks, Simulation, simulate

ROOT = Path(__file__).resolve().parents[2]


class Chosen:
    """A chooser that takes what a test has written down, then the first; `offered` is what it was asked."""

    def __init__(self, *positions: int) -> None:
        self.offered: list[str] = []
        self._positions = list(positions)

    def __call__(self, options: Sequence[Step]) -> int:
        self.offered.append(" ".join(map(str, options)))
        return self._positions.pop(0) if self._positions else 0


class Chat(grpc.GenericRpcHandler):
    """Serves one method by a handler of raw bytes."""

    def __init__(self, handler: Any) -> None:
        self._handler = grpc.stream_stream_rpc_method_handler(handler)

    def service(self, handler_call_details: Any) -> Any:
        return self._handler


async def echo(requests: Any, context: Any) -> Any:
    async for request in requests:
        yield request


def serve(sim: Simulation, handler: Any) -> grpc.aio.StreamStreamMultiCallable:
    sim.aio_server().add_generic_rpc_handlers((Chat(handler),))
    return sim.aio_channel().stream_stream("/room/Chat")


async def says(chat: Any, *messages: bytes, **terms: Any) -> tuple[list[bytes], str]:
    """Write all, half-close, and read to the end."""
    call = chat(**terms)
    heard = []
    try:
        for message in messages:
            await call.write(message)
        await call.done_writing()
        while (message := await call.read()) is not grpc.aio.EOF:
            heard.append(message)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError):
        pass
    return heard, (await call.code()).name


def words(side: Side, sim: Simulation) -> list[str]:
    return [session.word for session in sim.sessions(side)]


def test_without_a_chooser_the_oldest_comes_first() -> None:
    with simulate() as sim:
        assert sim.run(says(serve(sim, echo), b"a", b"b")) == ([b"a", b"b"], "OK")
    assert str(sim.schedule) == ">w>>w>>w<<>w<<<"


def test_a_chooser_that_takes_the_first_changes_nothing() -> None:
    with simulate() as plain:
        plain.run(says(serve(plain, echo), b"a", b"b"))
    with simulate(choose=Chosen()) as chosen:
        chosen.run(says(serve(chosen, echo), b"a", b"b"))
    assert (chosen.schedule, chosen.log) == (plain.schedule, plain.log)


def test_a_chooser_is_asked_where_there_are_several_options() -> None:
    chooser = Chosen()
    with simulate(choose=chooser) as sim:
        sim.run(says(serve(sim, echo), b"a"))
    assert chooser.offered == ["> w>", "w> >", "> w< <", "w< <"]


def test_a_choice_that_is_not_there_is_refused() -> None:
    with simulate(choose=Chosen(9), leaks=Leaks.ALLOW) as sim, pytest.raises(ScriptError) as caught:
        sim.run(says(serve(sim, echo), b"a"))
    assert str(caught.value).startswith("the chooser chose 9 of ")


def test_a_schedule_repeats_a_run() -> None:
    with simulate(choose=Chosen(1, 0, 1, 1)) as first:
        first.run(says(serve(first, echo), b"a", b"b"))
    text = str(first.schedule)
    with simulate(text) as again:
        again.run(says(serve(again, echo), b"a", b"b"))
    assert (str(again.schedule), again.log) == (text, first.log)
    with simulate() as plain:
        plain.run(says(serve(plain, echo), b"a", b"b"))
    assert str(plain.schedule) != text


def test_behind_its_end_a_schedule_leaves_the_choice_to_the_chooser() -> None:
    chooser = Chosen()
    with simulate(">w>", choose=chooser) as sim:
        sim.run(says(serve(sim, echo), b"a", b"b"))
    assert str(sim.schedule) == ">w>>w>>w<<>w<<<"
    assert chooser.offered


def test_a_schedule_of_another_program_is_refused() -> None:
    with simulate(">w><", leaks=Leaks.ALLOW) as sim, pytest.raises(ScriptError) as caught:
        sim.run(says(serve(sim, echo), b"a", b"b"))
    assert str(caught.value) == (
        "schedule: choice 3 is '<', and what is possible there is > w>; it is of another program, or of other bounds"
    )


PROGRAM = """
import asyncio, sys
sys.path[:0] = [{root!r}, {examples!r}]
from chat_app.client import Talk, chat
from chat_app.server import ChatServicer
from chat_app.chat_pb2_grpc import add_ChatServiceServicer_to_server
import duplexmock
class Turns:
    state = 7
    def __call__(self, options):
        self.state = self.state * 1103515245 + 12345 & 0x7FFFFFFF
        return (self.state >> 8) % len(options)
with duplexmock.simulate(choose=Turns(), bounds=duplexmock.Bounds(bursts=3)) as sim:
    add_ChatServiceServicer_to_server(ChatServicer(1.0, clock=lambda: 1), sim.aio_server())
    async def both():
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(chat(sim.aio_channel(), Talk(clock=lambda: 1, interval_s=1.0)))
    sim.run(both())
print(sim.schedule)
for entry in sim.log: print(*entry)
"""


def test_the_same_schedule_has_the_same_trace_in_any_process() -> None:
    program = PROGRAM.format(root=str(ROOT), examples=str(ROOT / "examples" / "chat_app"))
    traces = set()
    for seed in ("0", "1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = [sys.executable, "-c", program]
        traces.add(subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(traces) == 1
    assert len(traces.pop().splitlines()) > 50


def test_a_timer_may_outrun_what_is_under_way_by_so_much_and_no_more() -> None:
    async def late(sim: Simulation) -> list[str]:
        call = serve(sim, echo)()
        await call.write(b"a")
        await asyncio.sleep(0.9)
        await call.done_writing()
        return []

    chooser = Chosen()
    with simulate(choose=chooser, bounds=Bounds(latency_s=1.0), leaks=Leaks.ALLOW) as near:
        near.run(late(near))
    assert any("t" in offer for offer in chooser.offered)
    chooser = Chosen()
    with simulate(choose=chooser, bounds=Bounds(latency_s=0.5), leaks=Leaks.ALLOW) as far:
        far.run(late(far))
    assert not any("t" in offer for offer in chooser.offered)


def test_a_burst_brings_the_next_event_before_the_first_was_noticed() -> None:
    """A message that arrives together with the end of a wait for it is lost by one who gives the wait up."""

    async def impatient(requests: Any, context: Any) -> None:
        heard = 0
        reading = asyncio.ensure_future(context.read())
        done, _ = await asyncio.wait([reading], timeout=1.0)
        late.append(bool(done))
        heard += 1

    async def client(chat: Any) -> None:
        call = chat()
        await asyncio.sleep(1.0)
        await call.write(b"a")
        await call.done_writing()
        await call.code()

    class First:
        """Takes a burst as soon as there is one."""

        def __call__(self, options: Sequence[Step]) -> int:
            return next((position for position, step in enumerate(options) if step.is_burst), 0)

    late: list[bool] = []
    with simulate(choose=First(), bounds=Bounds(bursts=5), leaks=Leaks.ALLOW) as sim:
        sim.run(client(serve(sim, impatient)))
    assert "+" in str(sim.schedule)
    assert str(sim.schedule).count("+") <= 5
    text = str(sim.schedule)
    with simulate(text, bounds=Bounds(bursts=5), leaks=Leaks.ALLOW) as again:
        again.run(client(serve(again, impatient)))
    assert (late[0], str(again.schedule)) == (late[1], text)


def test_a_window_lets_a_write_wait_for_a_read() -> None:
    async def slow(requests: Any, context: Any) -> None:
        await asyncio.sleep(10)
        async for _ in requests:
            await asyncio.sleep(1)

    async def client(chat: Any) -> list[float]:
        call = chat()
        returned = []
        for _ in range(4):
            await call.write(b"a")
            returned.append(asyncio.get_running_loop().time())
        await call.done_writing()
        await call.code()
        return returned

    with simulate(bounds=Bounds(window=1)) as sim:
        assert sim.run(client(serve(sim, slow))) == [0.0, 10.0, 11.0, 12.0]
    with simulate(bounds=Bounds(window=2)) as sim:
        assert sim.run(client(serve(sim, slow))) == [0.0, 0.0, 10.0, 11.0]
    with simulate() as sim:
        assert sim.run(client(serve(sim, slow))) == [0.0, 0.0, 0.0, 0.0]


def test_windows_are_of_bytes_as_well() -> None:
    async def slow(requests: Any, context: Any) -> None:
        await asyncio.sleep(10)
        async for _ in requests:
            pass

    async def client(chat: Any) -> list[float]:
        call = chat()
        returned = []
        for _ in range(3):
            await call.write(b"a" * 40_000)
            returned.append(asyncio.get_running_loop().time())
        await call.done_writing()
        await call.code()
        return returned

    with simulate() as sim:
        assert sim.run(client(serve(sim, slow))) == [0.0, 10.0, 10.0]


@pytest.mark.parametrize(
    ("bounds", "letter", "codes"),
    [
        (Bounds(cancels=1), "x", {"OK", "CANCELLED"}),
        (Bounds(deadlines=1), "d", {"OK", "DEADLINE_EXCEEDED"}),
        (Bounds(resets=1), "r", {"OK", "INTERNAL"}),
        (Bounds(drains=1, grace_s=0.0), "q", {"OK", "UNAVAILABLE"}),
    ],
)
def test_what_may_befall_a_run_can_befall_it_at_every_choice(bounds: Bounds, letter: str, codes: set[str]) -> None:
    seen = set()
    for at in range(1, 14):
        chooser = _Befalls(letter, at)
        with simulate(choose=chooser, bounds=bounds) as sim:
            seen.add(sim.run(says(serve(sim, echo), b"a", b"b"))[1])
        assert str(sim.schedule).count(letter) <= 1
        assert sim.left() == ()
    assert seen == codes


class _Befalls:
    """Takes the first option, and at its n-th choice what befalls the run."""

    def __init__(self, letter: str, at: int) -> None:
        self._letter = letter
        self._left = at

    def __call__(self, options: Sequence[Step]) -> int:
        self._left -= 1
        letters = [step.kind.value for step in options]
        return letters.index(self._letter) if not self._left and self._letter in letters else 0


def test_the_sessions_of_a_run_are_what_each_side_saw() -> None:
    async def pushes(requests: Any, context: Any) -> None:
        await context.write(b"hello")
        async for _ in requests:
            pass

    with simulate(">w>><") as sim:
        sim.run(says(serve(sim, pushes), b"a"))
    assert {side: words(side, sim) for side in Side} == {Side.CLIENT: [">>><<<"], Side.SERVER: ["><<>><"]}
    for side in Side:
        (session,) = sim.sessions(side)
        assert (session.method, session.ended.value) == ("/room/Chat", "trailer")


def test_calls_of_one_simulation_are_numbered() -> None:
    async def two(chat: Any) -> None:
        await asyncio.gather(says(chat, b"a"), says(chat, b"b"))

    with simulate() as sim:
        sim.run(two(serve(sim, echo)))
    assert [session.number for session in sim.sessions()] == [1, 2]
    assert sim.schedule.word(1) == sim.schedule.word(2) == ">>><<"


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ({"window": 0}, "bounds: a window of 0 messages lets nothing through; the least is 1"),
        ({"latency_s": -1.0}, "bounds: latency_s is -1.0; the least is 0"),
        ({"bursts": -1}, "bounds: bursts is -1; the least is 0"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(terms: dict[str, Any], text: str) -> None:
    with pytest.raises(ScriptError) as caught:
        Bounds(**terms)
    assert str(caught.value) == text


def test_a_text_that_is_no_schedule_is_refused() -> None:
    with pytest.raises(ScriptError):
        simulate("what?")
    with simulate() as sim:
        assert sim.schedule == Schedule()
