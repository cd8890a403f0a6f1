"""What grpc.aio does, each fact on real grpc.aio over loopback and in sim.

The story of a fact is one call between `client` and `handler`, both unchanged grpc.aio programs. Facts that a race
decides are not here but in test_fidelity.py.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc.aio import EOF, AioRpcError, Metadata

from tests.sim.acting import pairs
from tests.sim.engines import in_sim, on_loopback

METHOD = "/sim.Facts/Call"
SOON_S = 0.05

Context = grpc.aio.ServicerContext
Run = Callable[[Any], Any]


@pytest.fixture(params=[on_loopback, in_sim], ids=["grpcio", "sim"])
def engine(request: pytest.FixtureRequest) -> Run:
    run: Run = request.param
    return run


class Served(grpc.GenericRpcHandler):  # type: ignore[misc]
    """One method of any kind, served by one function."""

    def __init__(self, kind: str, handler: Any, **terms: Any) -> None:
        self._handler = getattr(grpc, f"{kind}_rpc_method_handler")(handler, **terms)

    def service(self, details: Any) -> grpc.RpcMethodHandler | None:
        return self._handler if details.method == METHOD else None


def told(
    engine: Run,
    handler: Any,
    client: Callable[[Any], Awaitable[Any]],
    kind: str = "stream_stream",
    client_interceptors: Sequence[Any] = (),
    server_interceptors: Sequence[Any] = (),
) -> Any:
    """What `client` returns of its conversation with `handler`; it is given the multi-callable."""

    async def story(stage: Any) -> Any:
        server = stage.server(server_interceptors)
        server.add_generic_rpc_handlers((Served(kind, handler),))
        await server.start()
        channel = stage.channel(client_interceptors)
        return await asyncio.wait_for(client(getattr(channel, kind)(METHOD)), 20)

    return engine(story)


async def error_of(awaitable: Awaitable[Any]) -> tuple[str, str]:
    """The type and text of what an awaitable raises."""
    try:
        result = await awaitable
    except (Exception, asyncio.CancelledError) as exc:
        return type(exc).__name__, str(exc)
    raise AssertionError(f"returned {result!r}")


async def status_of(awaitable: Awaitable[Any]) -> tuple[Any, ...]:
    """The status that an awaitable raises: code, details, initial and trailing metadata."""
    try:
        result = await awaitable
    except AioRpcError as exc:
        return exc.code(), exc.details(), pairs(exc.initial_metadata()), pairs(exc.trailing_metadata())
    raise AssertionError(f"returned {result!r}")


async def echo(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def read_on(requests: AsyncIterator[bytes], context: Context) -> None:
    async for _ in requests:
        pass


async def all_of(call: Any) -> list[bytes]:
    return [message async for message in call]


# Writes and half-close


def test_a_write_after_the_status_is_refused(engine: Run) -> None:
    async def client(stub: Any) -> Any:
        call = stub()
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK
        return await error_of(call.write(b"late"))

    assert told(engine, echo, client) == ("InvalidStateError", "RPC already finished.")


def test_a_write_after_done_writing_is_refused(engine: Run) -> None:
    async def client(stub: Any) -> Any:
        call = stub()
        await call.write(b"one")
        await call.done_writing()
        refused = await error_of(call.write(b"two"))
        return refused, await call.read(), await call.read(), await call.code()

    assert told(engine, echo, client) == (
        ("InvalidStateError", 'RPC is half closed after calling "done_writing".'),
        b"one",
        EOF,
        grpc.StatusCode.OK,
    )


def test_a_second_done_writing_is_silent_before_and_after_the_status(engine: Run) -> None:
    async def client(stub: Any) -> Any:
        call = stub()
        said = [await call.done_writing(), await call.done_writing(), await call.code(), await call.done_writing()]
        return said

    assert told(engine, echo, client) == [None, None, grpc.StatusCode.OK, None]


def test_a_read_after_the_end_gives_the_end_again(engine: Run) -> None:
    async def client(stub: Any) -> Any:
        call = stub()
        await call.done_writing()
        return [await call.read() for _ in range(3)]

    assert told(engine, echo, client) == [EOF, EOF, EOF]


def test_a_read_after_an_error_raises_it_again(engine: Run) -> None:
    async def handler(requests: Any, context: Context) -> None:
        await context.write(b"one")
        await context.abort(grpc.StatusCode.ABORTED, "enough")

    async def client(stub: Any) -> Any:
        call = stub()
        return await call.read(), [await status_of(call.read()) for _ in range(2)]

    assert told(engine, handler, client) == (b"one", [(grpc.StatusCode.ABORTED, "enough", (), ())] * 2)


def test_unread_messages_hold_the_status_back(engine: Run) -> None:
    async def handler(requests: Any, context: Context) -> None:
        await context.write(b"one")
        await context.write(b"two")

    async def client(stub: Any) -> Any:
        call = stub()
        first = await call.read()
        await asyncio.sleep(SOON_S)
        done = call.done()
        second = await call.read()
        return first, done, second, await call.code()

    assert told(engine, handler, client) == (b"one", False, b"two", grpc.StatusCode.OK)


# Styles


def test_styles_of_reading_may_not_be_mixed(engine: Run) -> None:
    async def client(stub: Any) -> Any:
        call = stub()
        await call.write(b"one")
        await call.read()
        errors = []
        try:
            call.__aiter__()
        except Exception as exc:
            errors.append((type(exc).__name__, str(exc)))
        await call.done_writing()
        return errors

    mixed = "The iterator and read/write APIs may not be mixed on a single RPC."
    assert told(engine, echo, client) == [("UsageError", mixed)]


def test_a_call_with_a_request_iterator_may_not_be_written_to(engine: Run) -> None:
    async def said() -> AsyncIterator[bytes]:
        yield b"one"

    async def client(stub: Any) -> Any:
        call = stub(said())
        return await error_of(call.write(b"two")), await error_of(call.done_writing()), await all_of(call)

    mixed = ("UsageError", "The iterator and read/write APIs may not be mixed on a single RPC.")
    assert told(engine, echo, client) == (mixed, mixed, [b"one"])


def test_a_request_iterator_may_be_synchronous(engine: Run) -> None:
    async def client(stub: Any) -> Any:
        return await all_of(stub(iter([b"one", b"two"])))

    assert told(engine, echo, client) == [b"one", b"two"]


def test_an_error_of_the_request_iterator_cancels_the_call(engine: Run) -> None:
    async def said() -> AsyncIterator[bytes]:
        yield b"one"
        raise KeyError("no more")

    async def client(stub: Any) -> Any:
        call = stub(said())
        return await error_of(all_of(call)), await call.code(), await call.details()

    assert told(engine, read_on, client) == (
        ("CancelledError", ""),
        grpc.StatusCode.CANCELLED,
        "Locally cancelled by application!",
    )


# How calls end


def test_an_abort_is_an_error_with_code_details_and_trailing_metadata(engine: Run) -> None:
    async def handler(requests: Any, context: Context) -> None:
        await context.send_initial_metadata((("greeting", "hello"),))
        await context.abort(grpc.StatusCode.DATA_LOSS, "gone", (("why", "because"), ("raw-bin", b"\x00\xff")))

    async def client(stub: Any) -> Any:
        call = stub()
        await call.initial_metadata()  # an error that overtakes it has none, on grpcio
        return await status_of(call.read())

    assert told(engine, handler, client) == (
        grpc.StatusCode.DATA_LOSS,
        "gone",
        (("greeting", "hello"),),
        (("why", "because"), ("raw-bin", b"\x00\xff")),
    )


def test_an_abort_without_details_takes_those_that_were_set(engine: Run) -> None:
    async def handler(requests: Any, context: Context) -> None:
        context.set_details("set before")
        context.set_trailing_metadata((("set", "before"),))
        await context.abort(grpc.StatusCode.ABORTED)

    async def client(stub: Any) -> Any:
        return await status_of(stub().read())

    assert told(engine, handler, client) == (grpc.StatusCode.ABORTED, "set before", (), (("set", "before"),))


def test_an_abort_raises_in_the_handler_and_cannot_be_taken_back(engine: Run) -> None:
    seen: list[Any] = []

    async def handler(requests: Any, context: Context) -> None:
        seen.append(await error_of(context.abort(grpc.StatusCode.ABORTED, "enough")))
        seen.append(await error_of(context.write(b"more")))
        seen.append(await error_of(context.abort(grpc.StatusCode.ABORTED, "again")))

    async def client(stub: Any) -> Any:
        return await status_of(stub().read())

    assert told(engine, handler, client) == (grpc.StatusCode.ABORTED, "enough", (), ())
    assert seen == [
        ("AbortError", "Locally aborted."),
        ("AbortError", "Locally aborted."),
        ("UsageError", "Abort already called!"),
    ]


def test_an_abort_with_ok_is_a_mistake(engine: Run) -> None:
    seen: list[Any] = []

    async def handler(requests: Any, context: Context) -> None:
        seen.append(await error_of(context.abort(grpc.StatusCode.OK, "fine")))
        raise ValueError("after it")

    async def client(stub: Any) -> Any:
        call = stub(timeout=SOON_S)
        return (await status_of(call.read()))[0]

    assert told(engine, handler, client) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert seen == [("AssertionError", "Expecting non-ok status code.")]


def test_an_exception_is_unknown_with_its_type_and_text(engine: Run) -> None:
    async def handler(requests: Any, context: Context) -> None:
        context.set_trailing_metadata((("set", "before"),))
        raise ValueError("no such thing")

    async def client(stub: Any) -> Any:
        return await status_of(stub().read())

    assert told(engine, handler, client) == (
        grpc.StatusCode.UNKNOWN,
        "Unexpected <class 'ValueError'>: no such thing",
        (),
        (("set", "before"),),
    )


def test_an_exception_keeps_a_code_that_was_set_but_not_the_details(engine: Run) -> None:
    async def handler(request: bytes, context: Context) -> bytes:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("not here")
        raise KeyError("name")

    async def client(stub: Any) -> Any:
        return await status_of(stub(b""))

    assert told(engine, handler, client, "unary_unary") == (
        grpc.StatusCode.NOT_FOUND,
        "Unexpected <class 'KeyError'>: 'name'",
        (),
        (),
    )


@pytest.mark.parametrize("kind", ["unary_unary", "stream_unary"])
def test_a_response_with_a_code_other_than_ok_is_dropped(engine: Run, kind: str) -> None:
    async def handler(request: Any, context: Context) -> bytes:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("not here")
        context.set_trailing_metadata((("some", "thing"),))
        return b"response"

    async def client(stub: Any) -> Any:
        return await status_of(stub(b"" if kind == "unary_unary" else iter(())))

    assert told(engine, handler, client, kind) == (
        grpc.StatusCode.NOT_FOUND,
        "not here",
        (),
        (("some", "thing"),),
    )


def test_details_do_not_go_with_ok(engine: Run) -> None:
    async def handler(requests: Any, context: Context) -> None:
        context.set_details("all is well")

    async def client(stub: Any) -> Any:
        call = stub()
        return await call.read(), await call.code(), await call.details()

    assert told(engine, handler, client) == (EOF, grpc.StatusCode.OK, "")


def test_a_method_that_nobody_serves_is_unimplemented(engine: Run) -> None:
    async def story(stage: Any) -> Any:
        server = stage.server()
        await server.start()
        return await status_of(stage.channel().unary_unary("/sim.Facts/Nobody")(b""))

    assert engine(story) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", (), ())


def test_without_a_server_a_call_is_unavailable(engine: Run) -> None:
    async def story(stage: Any) -> Any:
        call = stage.channel().unary_unary(METHOD)(b"")
        code, details, *_ = await status_of(call)
        return code, details.split(";")[0]

    assert engine(story) == (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses")


def test_a_channel_that_is_closed_makes_no_calls_and_cancels_the_open_ones(engine: Run) -> None:
    async def story(stage: Any) -> Any:
        server = stage.server()
        server.add_generic_rpc_handlers((Served("stream_stream", read_on),))
        await server.start()
        channel = stage.channel()
        stub = channel.stream_stream(METHOD)
        call = stub()
        await call.write(b"one")
        await channel.close()
        cancelled = await error_of(call.read()), await call.code(), await call.details()
        try:
            stub()
        except Exception as exc:
            return *cancelled, type(exc).__name__, str(exc)

    assert engine(story) == (
        ("CancelledError", ""),
        grpc.StatusCode.CANCELLED,
        "Locally cancelled by application!",
        "UsageError",
        "Channel is closed.",
    )


def test_beyond_the_limit_of_calls_the_answer_is_resource_exhausted(engine: Run) -> None:
    async def story(stage: Any) -> Any:
        server = stage.server(maximum_concurrent_rpcs=1)
        server.add_generic_rpc_handlers((Served("stream_stream", echo),))
        await server.start()
        stub = stage.channel().stream_stream(METHOD)
        first = stub()
        await first.write(b"one")
        await first.read()
        second = await status_of(stub().read())
        await first.done_writing()
        return second, await first.code()

    assert engine(story) == (
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!", (), ()),
        grpc.StatusCode.OK,
    )


# Cancels, deadlines, and a server that stops


def test_a_cancelled_call_says_so_at_once(engine: Run) -> None:
    async def client(stub: Any) -> Any:
        call = stub()
        await call.write(b"one")
        cancels = call.cancel(), call.cancel()
        state = call.done(), call.cancelled(), await call.code(), await call.details()
        metadata = pairs(await call.initial_metadata()), pairs(await call.trailing_metadata())
        return cancels, state, metadata, await error_of(call.read()), await error_of(call.write(b"two"))

    assert told(engine, read_on, client) == (
        (True, False),
        (True, True, grpc.StatusCode.CANCELLED, "Locally cancelled by application!"),
        ((), ()),
        ("CancelledError", ""),
        ("InvalidStateError", "RPC already finished."),
    )


def test_cancelling_who_reads_cancels_the_call(engine: Run) -> None:
    async def client(stub: Any) -> Any:
        call = stub()
        await call.write(b"one")
        waited = await error_of(asyncio.wait_for(call.read(), SOON_S))
        return waited, call.cancelled(), await call.code(), await call.details()

    assert told(engine, read_on, client) == (
        ("TimeoutError", ""),
        True,
        grpc.StatusCode.CANCELLED,
        "Locally cancelled by application!",
    )


def test_cancelling_who_waits_for_a_response_cancels_the_call(engine: Run) -> None:
    async def handler(request: bytes, context: Context) -> bytes:
        await asyncio.sleep(10)
        return b""

    async def client(stub: Any) -> Any:
        call = stub(b"")
        waited = await error_of(asyncio.wait_for(call, SOON_S))
        return waited, call.cancelled(), await call.code(), await call.details()

    assert told(engine, handler, client, "unary_unary") == (
        ("TimeoutError", ""),
        True,
        grpc.StatusCode.CANCELLED,
        "Locally cancelled by application!",
    )


def reading(seen: list[Any], ended: asyncio.Event) -> Any:
    """A handler that notes what ends its reading, and what comes then."""

    async def handler(requests: Any, context: Context) -> None:
        context.add_done_callback(lambda _: ended.set())
        while (message := await context.read()) is not EOF:
            seen.append(message)
        seen.append("EOF")
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError as exc:
            seen.append((type(exc).__name__, str(exc)))
            seen.append((context.cancelled(), context.done(), context.code()))
            raise

    return handler


def test_a_cancel_reaches_a_reading_handler_first_as_the_end(engine: Run) -> None:
    seen: list[Any] = []

    async def client(stub: Any) -> None:
        call = stub()
        await call.write(b"one")
        while not seen:
            await asyncio.sleep(0.001)
        call.cancel()
        await ended.wait()

    ended = asyncio.Event()
    told(engine, reading(seen, ended), client)
    assert seen == [b"one", "EOF", ("CancelledError", ""), (False, False, None)]


def test_a_deadline_reaches_a_reading_handler_first_as_the_end(engine: Run) -> None:
    seen: list[Any] = []

    async def client(stub: Any) -> Any:
        call = stub(timeout=SOON_S)
        await call.write(b"one")
        status = await status_of(call.read())
        await ended.wait()
        return status

    ended = asyncio.Event()
    expected = (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", (), ())
    assert told(engine, reading(seen, ended), client) == expected
    assert seen == [b"one", "EOF", ("CancelledError", ""), (False, False, None)]


@pytest.mark.parametrize("grace", [None, SOON_S])
def test_a_stop_reaches_a_reading_handler_first_as_the_end(engine: Run, grace: float | None) -> None:
    seen: list[Any] = []

    async def story(stage: Any) -> Any:
        ended = asyncio.Event()
        server = stage.server()
        server.add_generic_rpc_handlers((Served("stream_stream", reading(seen, ended)),))
        await server.start()
        call = stage.channel().stream_stream(METHOD)()
        await call.write(b"one")
        while not seen:
            await asyncio.sleep(0.001)
        await server.stop(grace)
        status = await status_of(call.read())
        await ended.wait()
        return status

    assert engine(story) == (grpc.StatusCode.UNAVAILABLE, "Cancelling all calls", (), ())
    assert seen == [b"one", "EOF", ("CancelledError", ""), (False, False, None)]


def test_a_stop_with_grace_lets_open_calls_end(engine: Run) -> None:
    async def story(stage: Any) -> Any:
        server = stage.server()
        server.add_generic_rpc_handlers((Served("stream_stream", echo),))
        await server.start()
        stub = stage.channel().stream_stream(METHOD)
        call = stub()
        await call.write(b"one")
        await call.read()
        stopping = asyncio.create_task(server.stop(20))
        await asyncio.sleep(SOON_S)
        await call.write(b"two")
        late = [await call.read()]
        await call.done_writing()
        late.append(await call.read())
        await stopping
        return late, await call.code(), (await status_of(stub().read()))[0]

    assert engine(story) == ([b"two", EOF], grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)


def test_a_handler_may_swallow_its_cancellation(engine: Run) -> None:
    seen: list[Any] = []

    async def handler(requests: Any, context: Context) -> None:
        context.add_done_callback(lambda _: ended.set())
        seen.append("started")
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")
        seen.append(await context.read())
        seen.append(await error_of(context.write(b"late")))

    async def client(stub: Any) -> None:
        call = stub()
        await call.write(b"one")
        while not seen:
            await asyncio.sleep(0.001)
        call.cancel()
        await ended.wait()

    ended = asyncio.Event()
    told(engine, handler, client)
    assert seen[:3] == ["started", "cancelled", EOF]
    assert seen[3][0] == "ExecuteBatchError"


def test_the_time_that_is_left_is_known_on_both_sides(engine: Run) -> None:
    seen: list[Any] = []

    async def handler(requests: Any, context: Context) -> None:
        seen.append(context.time_remaining())

    async def client(stub: Any) -> Any:
        with_deadline = stub(timeout=100)
        remaining = with_deadline.time_remaining()
        await with_deadline.read()
        without = stub()
        await without.read()
        return remaining, without.time_remaining()

    remaining, nothing = told(engine, handler, client)
    assert 0 < remaining <= 100
    assert nothing is None
    assert 0 < seen[0] < 110  # grpcio rounds what it writes into the header up
    assert seen[1] is None


# Metadata


def test_initial_metadata_comes_with_the_first_message_or_by_itself(engine: Run) -> None:
    async def handler(requests: Any, context: Context) -> None:
        if await context.read() == b"by itself":
            await context.send_initial_metadata((("greeting", "hello"),))
            await context.read()
        await context.write(b"one")

    async def client(stub: Any) -> Any:
        alone, along = stub(), stub()
        await alone.write(b"by itself")
        first = await alone.initial_metadata()
        await alone.done_writing()
        await along.write(b"with the message")
        return type(first).__name__, pairs(first), pairs(await along.initial_metadata()), await along.read()

    assert told(engine, handler, client) == ("Metadata", (("greeting", "hello"),), (), b"one")


def test_initial_metadata_may_not_be_sent_twice(engine: Run) -> None:
    seen: list[Any] = []

    async def handler(requests: Any, context: Context) -> None:
        await context.send_initial_metadata((("greeting", "hello"),))
        seen.append(await error_of(context.send_initial_metadata(())))

    async def client(stub: Any) -> Any:
        call = stub()
        return await call.read(), pairs(await call.initial_metadata())

    assert told(engine, handler, client) == (EOF, (("greeting", "hello"),))
    assert seen == [("UsageError", "Send initial metadata failed: already sent")]


def test_trailing_metadata_is_metadata(engine: Run) -> None:
    async def handler(requests: Any, context: Context) -> None:
        context.set_trailing_metadata((("twice", "a"), ("twice", "b"), ("raw-bin", b"\x00\xff")))

    async def client(stub: Any) -> Any:
        metadata = await stub().trailing_metadata()
        return type(metadata).__name__, pairs(metadata), metadata["twice"], metadata.get_all("twice")

    assert told(engine, handler, client) == (
        "Metadata",
        (("twice", "a"), ("twice", "b"), ("raw-bin", b"\x00\xff")),
        "a",
        ["a", "b"],
    )


@pytest.mark.parametrize("how", [tuple, list, lambda given: Metadata(*given)], ids=["tuple", "list", "Metadata"])
def test_a_handler_is_given_the_clients_metadata(engine: Run, how: Any) -> None:
    seen: list[Any] = []
    given = (("key", "a"), ("key", "b"), ("raw-bin", b"\x00\xff"))

    async def handler(requests: Any, context: Context) -> None:
        seen.append(context.invocation_metadata())

    async def client(stub: Any) -> Any:
        return await stub(metadata=how(given)).read()

    assert told(engine, handler, client) is EOF
    (metadata,) = seen
    assert isinstance(metadata, tuple)
    assert [(pair.key, pair.value) for pair in metadata if pair.key != "user-agent"] == list(given)


UNSENDABLE = [("Upper", "case"), ("key", "line\nfeed"), ("key", "\xfc"), (":path", "/")]


@pytest.mark.parametrize("pair", UNSENDABLE, ids=["upper case", "a line feed", "not ASCII", "a pseudo-header"])
def test_metadata_that_cannot_be_sent_is_an_internal_error(engine: Run, pair: Any) -> None:
    async def sends_initial(requests: Any, context: Context) -> None:
        await context.send_initial_metadata((pair,))

    async def sends_trailing(requests: Any, context: Context) -> None:
        context.set_trailing_metadata((pair,))

    async def client(stub: Any) -> Any:
        return await status_of(stub(timeout=20).read())

    async def sends(stub: Any) -> Any:
        return await status_of(stub(metadata=(pair,), timeout=20).read())

    invalid = (grpc.StatusCode.INTERNAL, "Invalid metadata", (), ())
    assert [told(engine, echo, sends), told(engine, sends_initial, client), told(engine, sends_trailing, client)] == [
        invalid,
        invalid,
        invalid,
    ]


def test_metadata_of_wrong_types_is_a_type_error(engine: Run) -> None:
    async def client(stub: Any) -> Any:
        return [await error_of(stub(b"", metadata=(pair,))) for pair in [("raw-bin", "text"), ("key", 5)]]

    assert told(engine, answer, client, "unary_unary") == [
        ("TypeError", "Binary metadata key=\"raw-bin\" expected bytes, got <class 'str'>"),
        ("TypeError", "Expected str, not <class 'int'>"),
    ]


def test_trailing_metadata_of_another_type_loses_the_status(engine: Run) -> None:
    async def handler(requests: Any, context: Context) -> None:
        await context.abort(grpc.StatusCode.ABORTED, "enough", Metadata(("why", "because")))

    async def client(stub: Any) -> Any:
        return await status_of(stub().read())

    wrong = "Argument 'trailing_metadata' has incorrect type (expected tuple, got Metadata)"
    expected = (grpc.StatusCode.UNKNOWN, f"Unexpected <class 'TypeError'>: {wrong}", (), ())
    assert told(engine, handler, client) == expected


# Callbacks, contexts, interceptors


def test_done_callbacks_are_called_on_both_sides(engine: Run) -> None:
    seen: list[Any] = []

    async def handler(requests: Any, context: Context) -> None:
        context.add_done_callback(lambda given: seen.append(("handler", given is context, given.done())))
        await context.read()

    async def client(stub: Any) -> Any:
        call = stub()
        call.add_done_callback(lambda given: seen.append(("call", given is call, given.done())))
        await call.done_writing()
        await call.code()
        call.add_done_callback(lambda given: seen.append(("late", given is call, given.done())))
        await asyncio.sleep(0)

    told(engine, handler, client)
    assert sorted(seen) == [("call", True, True), ("handler", True, True), ("late", True, True)]


def test_contextvars_pass_from_interceptor_to_handler(engine: Run) -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")

    class Authenticates(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            names = [value for key, value in handler_call_details.invocation_metadata if key == "user"]
            if names:
                user.set(names[0])
            return await continuation(handler_call_details)

    async def handler(request: bytes, context: Context) -> bytes:
        return user.get().encode()

    async def client(stub: Any) -> Any:
        return [await stub(b"", metadata=(("user", "ada"),)), await stub(b"")]

    result = told(engine, handler, client, "unary_unary", server_interceptors=[Authenticates()])
    assert result == [b"ada", b"nobody"]


def test_an_interceptor_may_answer_in_the_handlers_place(engine: Run) -> None:
    class Refuses(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            async def refuse(request: Any, context: Context) -> None:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

            return grpc.stream_stream_rpc_method_handler(refuse)

    async def client(stub: Any) -> Any:
        return await status_of(stub().read())

    result = told(engine, echo, client, server_interceptors=[Refuses()])
    assert result == (grpc.StatusCode.UNAUTHENTICATED, "who are you?", (), ())


def test_server_interceptors_are_asked_in_their_order(engine: Run) -> None:
    seen: list[str] = []

    class Notes(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self._name = name

        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            seen.append(f"{self._name} {handler_call_details.method}")
            return await continuation(handler_call_details)

    async def client(stub: Any) -> Any:
        return await stub(iter([b"one"])).read()

    assert told(engine, echo, client, server_interceptors=[Notes("outer"), Notes("inner")]) == b"one"
    assert seen == [f"outer {METHOD}", f"inner {METHOD}"]


def test_an_error_of_a_server_interceptor_is_unknown(engine: Run) -> None:
    class Fails(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            raise RuntimeError("not today")

    async def client(stub: Any) -> Any:
        return await status_of(stub().read())

    result = told(engine, echo, client, server_interceptors=[Fails()])
    assert result == (grpc.StatusCode.UNKNOWN, "Unexpected <class 'RuntimeError'>: not today", (), ())


def test_client_interceptors_see_the_call_and_change_what_it_says(engine: Run) -> None:
    seen: list[Any] = []

    class Names(grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]
        async def intercept_stream_stream(
            self, continuation: Any, client_call_details: Any, request_iterator: Any
        ) -> Any:
            metadata = Metadata(*client_call_details.metadata, ("user", "ada"))
            seen.append((client_call_details.method, client_call_details.timeout))
            details = grpc.aio.ClientCallDetails(
                client_call_details.method,
                client_call_details.timeout,
                metadata,
                client_call_details.credentials,
                client_call_details.wait_for_ready,
            )
            return await continuation(details, request_iterator)

    async def handler(requests: Any, context: Context) -> None:
        metadata = dict(context.invocation_metadata())
        async for request in requests:
            await context.write(metadata["user"].encode() + b" says " + request)

    async def client(stub: Any) -> Any:
        call = stub(timeout=30)
        await call.write(b"hello")
        first = await call.read()
        await call.done_writing()
        return first, await call.read(), await all_of(stub(iter([b"bye"]), timeout=30))

    result = told(engine, handler, client, client_interceptors=[Names()])
    assert result == (b"ada says hello", EOF, [b"ada says bye"])
    assert [(method, timeout) for method, timeout in seen] == [(METHOD.encode(), 30)] * 2


def test_a_unary_client_interceptor_may_answer_without_a_call(engine: Run) -> None:
    class Cached(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            return b"cached"

    async def client(stub: Any) -> Any:
        call = stub(b"")
        return await call, await call.code(), pairs(await call.trailing_metadata())

    async def handler(request: bytes, context: Context) -> bytes:
        raise AssertionError("was asked")

    result = told(engine, handler, client, "unary_unary", client_interceptors=[Cached()])
    assert result == (b"cached", grpc.StatusCode.OK, None)


# Waiting for a server


def test_wait_for_ready_waits_for_the_server_to_start(engine: Run) -> None:
    async def story(stage: Any) -> Any:
        server = stage.server()
        server.add_generic_rpc_handlers((Served("unary_unary", answer),))
        call = stage.channel().unary_unary(METHOD)(b"", wait_for_ready=True, timeout=20)
        await asyncio.sleep(SOON_S)
        done = call.done()
        await server.start()
        return done, await call

    assert engine(story) == (False, b"answer")


async def answer(request: bytes, context: Context) -> bytes:
    return b"answer"


def test_wait_for_ready_waits_no_longer_than_the_deadline(engine: Run) -> None:
    async def story(stage: Any) -> Any:
        return (await status_of(stage.channel().unary_unary(METHOD)(b"", wait_for_ready=True, timeout=SOON_S)))[0]

    assert engine(story) is grpc.StatusCode.DEADLINE_EXCEEDED


# Two at once


def test_a_second_read_at_the_same_time_ends_at_once(engine: Run) -> None:
    async def client(stub: Any) -> Any:
        call = stub()
        await call.write(b"one")
        first = await call.read()
        waiting = asyncio.create_task(call.read())
        await asyncio.sleep(SOON_S)
        second = asyncio.create_task(call.read())
        await asyncio.sleep(SOON_S)
        state = waiting.done(), second.done()
        await call.write(b"two")
        result = await waiting
        await call.done_writing()
        return first, state, result, await second

    assert told(engine, echo, client) == (b"one", (False, False), b"two", EOF)


# What is written and read


def test_a_message_that_cannot_be_deserialized_is_none(engine: Run) -> None:
    def fails(message: bytes) -> Any:
        raise ValueError("not a message")

    async def story(stage: Any) -> Any:
        server = stage.server()
        server.add_generic_rpc_handlers((Served("unary_unary", answer),))
        await server.start()
        call = stage.channel().unary_unary(METHOD, response_deserializer=fails)(b"")
        return await call, await call.code()

    assert engine(story) == (None, grpc.StatusCode.OK)


def test_a_handler_that_writes_what_are_no_bytes_ends_by_a_type_error(engine: Run) -> None:
    async def handler(requests: Any, context: Context) -> None:
        await context.write("text is encoded")
        await context.write(5)

    async def client(stub: Any) -> Any:
        call = stub()
        return await call.read(), await status_of(call.read())

    unexpected = "Unexpected <class 'TypeError'>: Expected bytes, got int"
    assert told(engine, handler, client) == (b"text is encoded", (grpc.StatusCode.UNKNOWN, unexpected, (), ()))


@pytest.mark.parametrize("message", ["text", 5])
def test_a_client_may_write_bytes_only(engine: Run, message: Any) -> None:
    async def client(stub: Any) -> Any:
        call = stub()
        refused = await error_of(call.write(message))
        await call.done_writing()
        return refused, await call.read()

    expected = f"Argument 'message' has incorrect type (expected bytes, got {type(message).__name__})"
    assert told(engine, echo, client) == (("TypeError", expected), EOF)


def test_a_response_of_none_is_empty(engine: Run) -> None:
    async def handler(request: bytes, context: Context) -> None:
        return None

    async def client(stub: Any) -> Any:
        return await stub(b"")

    assert told(engine, handler, client, "unary_unary") == b""
