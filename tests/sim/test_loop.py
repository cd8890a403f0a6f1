"""The virtual loop by itself: time, order, and what is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from duplexmock.errors import ScriptError
from duplexmock.sim.simulation import Leaks, Simulation, simulate


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with simulate(leaks=Leaks.ALLOW) as sim:
        return sim.run(main())


def test_waiting_costs_nothing() -> None:
    async def main() -> tuple[float, float]:
        await asyncio.sleep(86_400)
        begun = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return begun, asyncio.get_running_loop().time()

    assert run(main) == (86_400.0, 90_000.0)


def test_timers_go_off_in_the_order_of_their_times_and_then_of_their_making() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        heard: list[str] = []
        for at_s, name in ((2, "c"), (1, "a"), (2, "d"), (1, "b")):
            loop.call_at(at_s, heard.append, name)
        loop.call_at(1.5, heard.append, "cancelled").cancel()
        await asyncio.sleep(3)
        return heard

    assert run(main) == ["a", "b", "c", "d"]


def test_what_is_to_be_called_soon_can_be_cancelled() -> None:
    async def main() -> list[str]:
        heard: list[str] = []
        asyncio.get_running_loop().call_soon(heard.append, "cancelled").cancel()
        asyncio.get_running_loop().call_soon(heard.append, "called")
        await asyncio.sleep(0)
        return heard

    assert run(main) == ["called"]


def test_a_callback_that_raises_is_told_to_the_exception_handler() -> None:
    async def main() -> list[str]:
        told: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(repr(context["exception"])))
        loop.call_soon(lambda: 1 // 0)
        await asyncio.sleep(0)
        return told

    assert run(main) == ["ZeroDivisionError('integer division or modulo by zero')"]


def test_a_task_that_polls_lets_time_go_on() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        sleeping = loop.create_task(asyncio.sleep(5))
        while not sleeping.done():
            await asyncio.sleep(0)
        return loop.time() - begun

    assert run(main) == 5.0


def test_tasks_are_cancelled_in_the_order_of_their_making() -> None:
    """A TaskGroup has its tasks in a set, which is ordered by their hashes."""

    async def main() -> list[int]:
        ended: list[int] = []

        async def waits(number: int) -> None:
            try:
                await asyncio.sleep(100)
            finally:
                ended.append(number)

        async def fails() -> None:
            await asyncio.sleep(1)
            raise ValueError

        async def all_of_them() -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(40):
                    group.create_task(waits(number))
                group.create_task(fails())

        with pytest.raises(ExceptionGroup):
            await all_of_them()
        return ended

    assert sorted(run(main)) == list(range(40))
    assert run(main) == run(main)


def test_clocks_of_the_machine_pass_through() -> None:
    async def main() -> float:
        begun = time.time()
        await asyncio.sleep(1000)
        return time.time() - begun

    assert run(main) < 1000


REFUSED: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
    "run_in_executor reaches outside of the simulation, where time is not virtual; "
    "call the function itself, or make it a coroutine": lambda: asyncio.to_thread(print),
    "create_connection reaches outside of the simulation, where time is not virtual; use sim.aio_channel() and "
    "sim.aio_server(), and a stand-in for what is no gRPC": lambda: asyncio.open_connection("127.0.0.1", 1),
    "create_server reaches outside of the simulation, where time is not virtual; use sim.aio_channel() and "
    "sim.aio_server(), and a stand-in for what is no gRPC": lambda: asyncio.start_server(print, "127.0.0.1", 0),
    "subprocess_exec reaches outside of the simulation, where time is not virtual; use a stand-in for what the process "
    "does": lambda: asyncio.create_subprocess_exec("true"),
    "subprocess_shell reaches outside of the simulation, where time is not virtual; use a stand-in for what the "
    "process does": lambda: asyncio.create_subprocess_shell("true"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_reaches_outside_is_refused(text: str) -> None:
    with pytest.raises(ScriptError) as caught:
        run(REFUSED[text])
    assert str(caught.value) == text


def test_a_signal_handler_is_refused() -> None:
    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(2, print)

    with pytest.raises(ScriptError) as caught:
        run(main)
    assert str(caught.value) == (
        "add_signal_handler reaches outside of the simulation, where time is not virtual; call what the handler would "
        "have called"
    )


def test_another_thread_may_not_call_into_the_loop() -> None:
    async def main() -> str:
        told: list[str] = []

        def calls(loop: asyncio.AbstractEventLoop) -> None:
            with pytest.raises(ScriptError) as caught:
                loop.call_soon_threadsafe(print)
            told.append(str(caught.value))

        thread = threading.Thread(target=calls, args=(asyncio.get_running_loop(),))
        thread.start()
        thread.join()
        asyncio.get_running_loop().call_soon_threadsafe(told.append, "from its own thread")
        await asyncio.sleep(0)
        return "\n".join(told)

    assert run(main) == (
        "call_soon_threadsafe from another thread reaches outside of the simulation, where time is not virtual; a "
        "coroutine on the loop: threads have no virtual time\nfrom its own thread"
    )


def test_run_inside_of_another_loop_says_what_to_do() -> None:
    async def main(sim: Simulation) -> None:
        sim.run(asyncio.sleep(1))

    with simulate() as sim, pytest.raises(ScriptError) as caught:
        asyncio.run(main(sim))
    assert str(caught.value) == (
        "sim.run was called in a coroutine; await it, on the simulation's loop: this one's time is not virtual (make "
        "the test a plain function)"
    )
    with simulate() as sim, pytest.raises(ScriptError) as caught:
        sim.run(main(sim))
    assert str(caught.value) == "sim.run was called in a coroutine; await it"


def test_a_simulation_does_not_start_the_core_of_grpcio() -> None:
    """grpcio's core has threads; here there are none."""
    program = (
        "import asyncio, threading, duplexmock\n"
        "with duplexmock.simulate() as sim:\n"
        "    sim.aio_server(); sim.aio_channel()\n"
        "    sim.run(asyncio.sleep(1))\n"
        "print(threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
