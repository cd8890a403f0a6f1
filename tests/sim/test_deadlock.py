"""Who waits for what, when nothing can happen any more; and what is left at the end."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
from typing import Any

import grpc
import grpc.aio
import pytest
from chat_app.chat_pb2_grpc import add_ChatServiceServicer_to_server
from chat_app.client import Talk, chat
from chat_app.server import ChatServicer

from duplexmock.errors import MismatchError
from duplexmock.sim.bounds import Bounds
from duplexmock.sim.deadlock import Deadlock
from duplexmock.sim.simulation import Leaks, LeakWarning, Simulation, simulate
from tests.sim.test_engine import Chat

HERE = "tests/sim/test_deadlock.py"


def serve(sim: Simulation, handler: Any) -> Any:
    sim.aio_server().add_generic_rpc_handlers((Chat(handler),))
    return sim.aio_channel().stream_stream("/room/Chat")


def line_of(function: Any, text: str) -> int:
    """Return the number of the function's line that has this text."""
    lines, first = inspect.getsourcelines(function)
    return first + next(position for position, line in enumerate(lines) if text in line)


async def waits_for_a_message(requests: Any, context: Any) -> None:
    async for _ in requests:
        pass


async def reads_without_half_closing(chat: Any) -> None:
    call = chat()
    await call.write(b"a")
    await call.read()


async def writes_and_never_reads(requests: Any, context: Any) -> None:
    while True:
        await context.write(b"a")


async def waits_for_the_status(chat: Any) -> None:
    call = chat()
    await call.done_writing()
    await call.code()


def test_a_deadlock_says_who_waits_for_what_and_where() -> None:
    with simulate(leaks=Leaks.ALLOW) as sim, pytest.raises(Deadlock) as caught:
        sim.run(reads_without_half_closing(serve(sim, waits_for_a_message)))
    assert str(caught.value) == "\n".join(
        (
            "deadlock: nothing is under way, and every task waits",
            "  task 1 waits for the ServerHeader of call 1 (/room/Chat)   at "
            f"{HERE}:{line_of(reads_without_half_closing, 'call.read')} in reads_without_half_closing",
            "  handler of call 1 (/room/Chat) waits for the client's next event of call 1 (/room/Chat)   at "
            f"{HERE}:{line_of(waits_for_a_message, 'async for')} in waits_for_a_message",
        )
    )


def test_a_deadlock_by_full_windows_says_so() -> None:
    with simulate(bounds=Bounds(window=2), leaks=Leaks.ALLOW) as sim, pytest.raises(Deadlock) as caught:
        sim.run(waits_for_the_status(serve(sim, writes_and_never_reads)))
    assert caught.value.waiting == (
        "  task 1 waits for the status of call 1 (/room/Chat)   at "
        f"{HERE}:{line_of(waits_for_the_status, 'call.code')} in waits_for_the_status",
        "  handler of call 1 (/room/Chat) waits for room for its write to the client of call 1 (/room/Chat)   at "
        f"{HERE}:{line_of(writes_and_never_reads, 'context.write')} in writes_and_never_reads",
    )


def test_a_deadlock_among_asyncios_own_names_them() -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.get(), name="the reader")
            group.create_task(asyncio.Lock().acquire(), name="one that gets what it wants")

    with simulate(leaks=Leaks.ALLOW) as sim, pytest.raises(Deadlock) as caught:
        sim.run(main())
    assert [text.partition("   at ")[0] for text in caught.value.waiting] == [
        "  task 1 waits for TaskGroup.__aexit__",
        "  the reader waits for Queue.get",
    ]


def test_what_is_left_is_told_at_the_end() -> None:
    kept: list[Any] = []

    async def forgets() -> None:
        loop = asyncio.get_running_loop()
        kept.append(loop.create_task(asyncio.Event().wait(), name="forgotten"))
        loop.call_later(1000, print)
        await asyncio.sleep(1)

    with pytest.warns(LeakWarning) as told, simulate() as sim:
        sim.run(forgets())
    assert [str(warning.message).splitlines()[:2] for warning in told] == [
        ["left at the end of the simulation:", "  forgotten waits for Event.wait"]
    ]
    assert len(sim.left()) == 2
    assert sim.left()[1].startswith("  a timer at 1000 s: ")
    with pytest.raises(MismatchError, match=r"^left at the end of the simulation:\n  forgotten waits for Event.wait"):
        with simulate(leaks=Leaks.FAIL) as failing:
            failing.run(forgets())
    with warnings.catch_warnings(), simulate(leaks=Leaks.ALLOW) as allowing:
        warnings.simplefilter("error")
        allowing.run(forgets())


def test_what_ends_by_itself_is_not_left() -> None:
    """The client goes by its deadline; the servicer of the chat pushes for ever, and is cancelled behind it."""
    with warnings.catch_warnings(), simulate() as sim:
        warnings.simplefilter("error")
        add_ChatServiceServicer_to_server(ChatServicer(), sim.aio_server())
        heard = sim.run(chat(sim.aio_channel(), Talk()))
    assert heard.status is grpc.StatusCode.DEADLINE_EXCEEDED
    assert sim.left() == ()


def test_a_simulation_leaves_nothing_that_python_complains_of() -> None:
    """Tasks that are pending and generators that are suspended would be told when they are collected."""

    async def many(requests: Any, context: Any) -> Any:
        async for request in requests:
            yield request

    async def abandons(chat: Any) -> None:
        calls = [chat() for _ in range(3)]
        for call in calls:
            await call.write(b"a")
            await call.read()
        await asyncio.sleep(1)
        raise ValueError("and goes")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError), simulate() as sim:
            sim.run(abandons(serve(sim, many)))
        del sim
        gc.collect()


def test_an_error_of_the_program_is_not_hidden_by_what_is_left() -> None:
    kept: list[Any] = []

    async def fails() -> None:
        kept.append(asyncio.get_running_loop().create_task(asyncio.Event().wait()))
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"), simulate(leaks=Leaks.FAIL) as sim:
        sim.run(fails())
