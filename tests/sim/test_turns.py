"""Threads that take turns: in which order, what they may wait for, and what is said where they cannot go on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from duplexmock.errors import ScriptError
from duplexmock.sim import turns
from duplexmock.sim.deadlock import Deadlock
from duplexmock.sim.simulation import Leaks, Simulation, simulate

METHOD = "/sim.Turns/Call"


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]
    def service(self, details: Any) -> grpc.RpcMethodHandler:
        return grpc.stream_stream_rpc_method_handler(lambda requests, context: requests)


class Joins(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers when it has heard everything."""

    def service(self, details: Any) -> grpc.RpcMethodHandler:
        return grpc.stream_unary_rpc_method_handler(lambda requests, context: b"".join(requests))


def echoed(sim: Simulation, said: list[bytes]) -> list[bytes]:
    return list(sim.channel().stream_stream(METHOD)(iter(said)))


def test_two_threads_call_in_turns_and_alike_each_time() -> None:
    def run() -> tuple[list[bytes], list[bytes], str]:
        with simulate() as sim:
            sim.server(handlers=(Echo(),))
            one, two = sim.thread(echoed, sim, [b"a", b"b"]), sim.thread(echoed, sim, [b"c"])
            return one.join(), two.join(), str(sim.schedule)

    first = run()
    assert first[:2] == ([b"a", b"b"], [b"c"])
    assert [run() for _ in range(5)] == [first] * 5


def test_what_a_thread_raises_is_raised_where_it_is_joined() -> None:
    def fails() -> None:
        raise LookupError("nothing here")

    with simulate() as sim:
        thread = sim.thread(fails)
        with pytest.raises(LookupError, match="nothing here"):
            thread.join()


def test_a_deadlock_names_the_threads_their_lines_and_what_they_wait_for() -> None:
    def said(calls: list[Any]) -> Iterator[bytes]:
        yield b"one"
        yield calls[0].result()

    with simulate() as sim:
        sim.server(handlers=(Joins(),))
        calls: list[Any] = []
        calls.append(sim.channel().stream_unary(METHOD).future(said(calls)))
        with pytest.raises(Deadlock) as error:
            calls[0].result()
        calls[0].cancel()

    lines = sorted(line.partition("   at ")[::2] for line in error.value.waiting)
    assert [what for what, _ in lines] == [
        "  call 1 waits for the ServerHeader of call 1 (/sim.Turns/Call)",
        "  handler of call 1 (/sim.Turns/Call) waits for the client's next event of call 1 (/sim.Turns/Call)",
        "  requests of call 1 waits for the end of call 1",
        "  the main thread waits for the end of call 1",
    ]
    assert [where.split(" in ")[1].rpartition(".")[2] for _, where in lines[1:]] == ["<lambda>", "said", NAME]
    assert all(where.startswith("tests/sim/test_turns.py:") for _, where in lines[1:])


NAME = "test_a_deadlock_names_the_threads_their_lines_and_what_they_wait_for"


def test_a_thread_of_somebody_elses_is_refused() -> None:
    errors: list[BaseException] = []

    def call(sim: Simulation) -> None:
        try:
            echoed(sim, [b"one"])
        except ScriptError as error:
            errors.append(error)

    with simulate() as sim:
        sim.server(handlers=(Echo(),))
        thread = threading.Thread(target=call, args=(sim,))
        thread.start()
        thread.join()

    sentence = "a thread that the simulation did not start waits for one of its calls; start it by sim.thread()"
    assert [str(error) for error in errors] == [sentence]


def test_a_synchronous_call_in_a_coroutine_is_refused() -> None:
    async def calls(sim: Simulation) -> None:
        echoed(sim, [b"one"])

    with simulate() as sim:
        sim.server(handlers=(Echo(),))
        with pytest.raises(ScriptError) as error:
            sim.run(calls(sim))

    sentence = "a synchronous call in a coroutine blocks the loop that it waits for; use sim.aio_channel() there"
    assert str(error.value) == sentence


def test_a_thread_that_blocks_elsewhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BLOCKED_S", 1.0)  # not less: on a busy machine a thread may be late
    waiting: queue.Queue[bytes] = queue.Queue()
    try:
        with simulate(leaks=Leaks.ALLOW) as sim:
            sim.server(handlers=(Echo(),))
            call = sim.channel().stream_stream(METHOD)(iter(waiting.get, b""))
            with pytest.raises(ScriptError) as error:
                next(call)
            call.cancel()
    finally:
        waiting.put(b"")

    text = str(error.value)
    assert text.startswith("a thread of the simulation blocks, at ")
    assert text.endswith(
        "it has not given way for 10 s: locks, queues and time.sleep stop everything else, and nothing is left that "
        "could wake it; wait by the channel and its calls only"
    )


def test_threads_end_with_the_simulation() -> None:
    before = threading.active_count()
    with simulate() as sim:
        sim.server(handlers=(Echo(),))
        assert echoed(sim, [b"one", b"two"]) == [b"one", b"two"]
        assert threading.active_count() > before

    assert threading.active_count() == before


def test_synchronous_code_talks_to_coroutines() -> None:
    class AioEcho(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> grpc.RpcMethodHandler:
            async def echo(requests: Any, context: Any) -> Any:
                async for request in requests:
                    yield request

            return grpc.stream_stream_rpc_method_handler(echo)

    with simulate() as sim:
        sim.aio_server().add_generic_rpc_handlers((AioEcho(),))
        assert echoed(sim, [b"one"]) == [b"one"]

    async def aio_client(sim: Simulation) -> list[bytes]:
        return [message async for message in sim.aio_channel().stream_stream(METHOD)(iter([b"one"]))]

    with simulate() as sim:
        sim.server(handlers=(Echo(),))
        assert sim.run(aio_client(sim)) == [b"one"]
