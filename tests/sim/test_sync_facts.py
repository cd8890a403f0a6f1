"""What synchronous grpcio does, each fact on real grpc over loopback and in sim."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from duplexmock.sim.simulation import Leaks, simulate
from tests.sim.acting import pairs

METHOD = "/sim.Facts/Call"
Run = Callable[..., Any]


class Served(grpc.GenericRpcHandler):  # type: ignore[misc]
    """One method of any kind, served by one function."""

    def __init__(self, kind: str, handler: Any, **terms: Any) -> None:
        self._handler = getattr(grpc, f"{kind}_rpc_method_handler")(handler, **terms)

    def service(self, details: Any) -> grpc.RpcMethodHandler | None:
        return self._handler if details.method == METHOD else None


def on_loopback(served: Served, interceptors: Sequence[Any], client: Callable[[Any, Any], Any]) -> Any:
    server = grpc.server(ThreadPoolExecutor(4), handlers=(served,), interceptors=interceptors)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            return client(channel, server)
    finally:
        server.stop(None).wait()


def in_sim(served: Served, interceptors: Sequence[Any], client: Callable[[Any, Any], Any]) -> Any:
    with simulate(leaks=Leaks.ALLOW) as sim:
        server = sim.server(handlers=(served,), interceptors=interceptors)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with sim.channel(f"127.0.0.1:{port}") as channel:
            return client(channel, server)


@pytest.fixture(params=[on_loopback, in_sim], ids=["grpcio", "sim"])
def engine(request: pytest.FixtureRequest) -> Run:
    run: Run = request.param
    return run


def told(
    engine: Run, handler: Any, client: Callable[[Any], Any], kind: str = "unary_unary", interceptors: Sequence[Any] = ()
) -> Any:
    """What `client` returns of its conversation with `handler`; it is given the multi-callable."""
    served = Served(kind, handler)
    return engine(served, interceptors, lambda channel, _: client(getattr(channel, kind)(METHOD)))


def status_of(function: Callable[[], Any]) -> tuple[Any, ...]:
    """The status that a function raises: code, details, initial and trailing metadata."""
    with pytest.raises(grpc.RpcError) as error:
        function()
    call: Any = error.value
    return call.code(), call.details(), pairs(call.initial_metadata()), pairs(call.trailing_metadata())


def error_of(function: Callable[[], Any]) -> tuple[str, str]:
    """The type and text of what a function raises."""
    with pytest.raises(Exception) as error:
        function()
    return type(error.value).__name__, str(error.value)


def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
    return b"answer"


def echo(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield from requests


# Calls


def test_a_unary_call_is_made_in_three_ways(engine: Run) -> None:
    def client(stub: Any) -> Any:
        response, call = stub.with_call(b"")
        future = stub.future(b"")
        return stub(b""), response, call.code(), future.result(), future.exception(), future.done(), future.details()

    ok = grpc.StatusCode.OK
    assert told(engine, answer, client) == (b"answer", b"answer", ok, b"answer", None, True, "")


def test_requests_are_iterated_over_and_so_are_responses(engine: Run) -> None:
    def client(stub: Any) -> Any:
        call = stub(iter([b"one", b"two"]))
        return next(call), list(call), call.code(), pairs(call.trailing_metadata())

    assert told(engine, echo, client, "stream_stream") == (b"one", [b"two"], grpc.StatusCode.OK, ())


def test_a_cancelled_call_says_so_at_once(engine: Run) -> None:
    def handler(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"one"
        yield b"two"

    def client(stub: Any) -> Any:
        call = stub(b"")
        first = next(call)
        cancels = call.cancel(), call.cancel()
        state = call.cancelled(), call.done(), call.is_active(), call.code()
        return first, cancels, state, status_of(lambda: next(call)), error_of(call.result)

    cancelled = (grpc.StatusCode.CANCELLED, "Locally cancelled by application!", (), ())
    assert told(engine, handler, client, "unary_stream") == (
        b"one",
        (True, False),
        (True, True, False, grpc.StatusCode.CANCELLED),
        cancelled,
        ("FutureCancelledError", ""),
    )


def test_a_deadline_ends_a_call_that_both_ends_wait_in(engine: Run) -> None:
    def handler(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"".join(requests)

    def client(stub: Any) -> Any:
        calls: list[Any] = []

        def said() -> Iterator[bytes]:
            yield b"one"
            while not calls:
                time.sleep(0.001)  # never in sim, where its first message is not sent before somebody waits
            yield from calls[0]  # what it says next is what it hears

        calls.append(stub(said(), timeout=0.2))
        return calls[0].code(), calls[0].details()

    expected = (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    assert told(engine, handler, client, "stream_stream") == expected


def test_a_result_is_waited_for_no_longer_than_was_asked(engine: Run) -> None:
    released = threading.Event()

    def handler(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"one"
        yield from requests

    def client(stub: Any) -> Any:
        call = stub(iter([b"two"]))
        return error_of(lambda: call.result(timeout=0.05)), released.set()

    assert told(engine, handler, client, "stream_stream") == (("FutureTimeoutError", ""), None)


def test_callbacks_are_called_on_both_sides(engine: Run) -> None:
    seen: list[Any] = []
    ended = threading.Event()

    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(lambda: seen.append("handler"))
        return b"answer"

    def client(stub: Any) -> Any:
        call = stub.future(b"")
        call.add_done_callback(lambda given: (seen.append(given is call), ended.set()))
        call.result()
        if engine is on_loopback:
            ended.wait(20)
        late = call.add_callback(lambda: None)
        call.add_done_callback(lambda given: seen.append("late"))
        return late

    assert told(engine, handler, client) is False
    assert set(seen) == {"handler", True, "late"}


def test_a_channel_that_is_closed_makes_no_calls(engine: Run) -> None:
    def client(channel: Any, server: Any) -> Any:
        stub = channel.unary_unary(METHOD)
        channel.close()
        return error_of(lambda: stub(b"")), error_of(lambda: stub.future(b""))

    assert engine(Served("unary_unary", answer), (), client) == (
        ("ValueError", "Cannot invoke RPC on closed channel!"),
        ("ValueError", "Cannot invoke RPC: Channel closed!"),
    )


def test_client_interceptors_are_put_around_a_channel(engine: Run) -> None:
    class Names(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: bytes) -> Any:
            return continuation(client_call_details, b"named " + request)

    def client(channel: Any, server: Any) -> Any:
        return grpc.intercept_channel(channel, Names()).unary_unary(METHOD)(b"request")

    assert engine(Served("unary_unary", lambda request, context: request), (), client) == b"named request"


# How calls end


def test_an_abort_is_an_error_with_code_details_and_trailing_metadata(engine: Run) -> None:
    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.send_initial_metadata((("greeting", "hello"),))
        context.set_trailing_metadata((("why", "because"), ("raw-bin", b"\x00\xff")))
        context.abort(grpc.StatusCode.DATA_LOSS, "gone")

    assert told(engine, handler, lambda stub: status_of(lambda: stub(b""))) == (
        grpc.StatusCode.DATA_LOSS,
        "gone",
        (("greeting", "hello"),),
        (("why", "because"), ("raw-bin", b"\x00\xff")),
    )


def test_an_abort_with_ok_is_unknown(engine: Run) -> None:
    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.OK, "fine")

    assert told(engine, handler, lambda stub: status_of(lambda: stub(b""))) == (grpc.StatusCode.UNKNOWN, "", (), ())


def raises(request: bytes, context: grpc.ServicerContext) -> Any:
    raise ValueError("no such thing")


def yields_and_raises(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    yield b"one"
    raise ValueError("no such thing")


def sets_and_raises(request: bytes, context: grpc.ServicerContext) -> Any:
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_details("not here")
    raise ValueError("no such thing")


@pytest.mark.parametrize(
    ("kind", "handler", "code", "details"),
    [
        ("unary_unary", raises, "UNKNOWN", "Exception calling application: no such thing"),
        ("unary_stream", raises, "UNKNOWN", "Exception calling application: no such thing"),
        ("unary_stream", yields_and_raises, "UNKNOWN", "Exception iterating responses: no such thing"),
        ("unary_unary", sets_and_raises, "NOT_FOUND", "not here"),
        ("unary_unary", lambda request, context: None, "INTERNAL", "Failed to serialize response!"),
        (
            "unary_stream",
            lambda request, context: [b"one"],
            "UNKNOWN",
            "Exception iterating responses: 'list' object is not an iterator",
        ),
    ],
)
def test_errors_of_handlers_have_their_texts(engine: Run, kind: str, handler: Any, code: str, details: str) -> None:
    def client(stub: Any) -> Any:
        return status_of(lambda: list(stub(b"")))

    assert told(engine, handler, client, kind) == (grpc.StatusCode[code], details, (), ())


def test_a_response_that_is_none_is_the_end(engine: Run) -> None:
    def client(stub: Any) -> Any:
        return list(stub(b""))

    assert told(engine, lambda request, context: iter([b"one", None, b"two"]), client, "unary_stream") == [b"one"]


def test_an_error_of_the_request_iterator_ends_the_call(engine: Run) -> None:
    def said() -> Iterator[bytes]:
        yield b"one"
        raise KeyError("no more")

    def client(stub: Any) -> Any:
        return status_of(lambda: list(stub(said())))[:2]

    expected = (grpc.StatusCode.UNKNOWN, "Exception iterating requests!")
    assert told(engine, lambda requests, context: iter(list(requests)), client, "stream_stream") == expected


def test_a_method_that_nobody_serves_is_unimplemented(engine: Run) -> None:
    def client(channel: Any, server: Any) -> Any:
        return status_of(lambda: channel.unary_unary("/sim.Facts/Nobody")(b""))

    expected = (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", (), ())
    assert engine(Served("unary_unary", answer), (), client) == expected


def test_a_request_that_is_none_is_not_sent(engine: Run) -> None:
    def client(stub: Any) -> Any:
        return status_of(lambda: stub(None))[:2]

    assert told(engine, answer, client) == (grpc.StatusCode.INTERNAL, "Exception serializing request!")


def test_metadata_that_cannot_be_sent_is_an_internal_error(engine: Run) -> None:
    def client(stub: Any) -> Any:
        return status_of(lambda: stub(b"", metadata=(("Upper", "case"),)))[:2]

    assert told(engine, answer, client) == (grpc.StatusCode.INTERNAL, "Invalid metadata")


def test_a_handler_may_cancel_its_call(engine: Run) -> None:
    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.cancel()
        return b"too late"

    assert told(engine, handler, lambda stub: status_of(lambda: stub(b"")))[:2] == (
        grpc.StatusCode.CANCELLED,
        "CANCELLED",
    )


def test_a_stop_ends_open_calls(engine: Run) -> None:
    def handler(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"one"
        yield from requests

    def client(channel: Any, server: Any) -> Any:
        over = threading.Event()

        def said() -> Iterator[bytes]:
            if engine is on_loopback:
                over.wait(20)
            yield b"late"

        call = channel.stream_stream(METHOD)(said())
        first = next(call)
        stopped = server.stop(None)
        ended = stopped.wait(20), stopped.is_set()
        over.set()
        return first, ended, status_of(lambda: list(call))[:2]

    first, ended, status = engine(Served("stream_stream", handler), (), client)
    assert (first, ended) == (b"one", (True, True))
    assert status == (grpc.StatusCode.UNAVAILABLE, "Cancelling all calls")


# The context


def test_the_context_of_a_call_that_nothing_is_set_of(engine: Run) -> None:
    seen: list[Any] = []

    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        seen.append((context.code(), context.details(), context.trailing_metadata(), context.is_active()))
        seen.append((context.peer_identities(), context.peer_identity_key(), context.auth_context()))
        seen.append(context.time_remaining() > 1e9)
        seen.append([pair for pair in context.invocation_metadata() if pair.key != "user-agent"])
        return b""

    told(engine, handler, lambda stub: stub(b"", metadata=(("key", "value"), ("raw-bin", b"\x00"))))
    assert seen == [
        (None, None, None, True),
        (None, None, {"transport_security_type": [b"insecure"], "security_level": [b"TSI_SECURITY_NONE"]}),
        True,
        [("key", "value"), ("raw-bin", b"\x00")],
    ]


def test_the_context_returns_what_was_set(engine: Run) -> None:
    seen: list[Any] = []

    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("not here")
        context.set_trailing_metadata((("some", "thing"),))
        seen.append((context.code(), context.details(), context.trailing_metadata()))
        return b"dropped"

    assert told(engine, handler, lambda stub: status_of(lambda: stub(b""))) == (
        grpc.StatusCode.NOT_FOUND,
        "not here",
        (),
        (("some", "thing"),),
    )
    assert seen == [(grpc.StatusCode.NOT_FOUND, b"not here", (("some", "thing"),))]


def test_initial_metadata_may_not_be_sent_twice(engine: Run) -> None:
    seen: list[Any] = []

    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.send_initial_metadata((("greeting", "hello"),))
        seen.append(error_of(lambda: context.send_initial_metadata(())))
        return b""

    def client(stub: Any) -> Any:
        return pairs(stub.with_call(b"")[1].initial_metadata())

    assert told(engine, handler, client) == (("greeting", "hello"),)
    assert seen == [("ValueError", "Initial metadata no longer allowed!")]


def test_server_interceptors_are_asked_in_their_order(engine: Run) -> None:
    seen: list[str] = []

    class Notes(grpc.ServerInterceptor):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self._name = name

        def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            seen.append(f"{self._name} {handler_call_details.method}")
            return continuation(handler_call_details)

    result = told(engine, answer, lambda stub: stub(b""), interceptors=[Notes("outer"), Notes("inner")])
    assert result == b"answer"
    assert seen == [f"outer {METHOD}", f"inner {METHOD}"]


def test_an_error_of_a_server_interceptor_is_unknown(engine: Run) -> None:
    class Fails(grpc.ServerInterceptor):  # type: ignore[misc]
        def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            raise RuntimeError("not today")

    result = told(engine, answer, lambda stub: status_of(lambda: stub(b"")), interceptors=[Fails()])
    assert result == (grpc.StatusCode.UNKNOWN, "Error in service handler!", (), ())
