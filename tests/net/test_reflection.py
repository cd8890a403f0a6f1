import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from chat_app import chat_pb2, chat_pb2_grpc
from grpc_reflection.v1alpha import reflection as published

from duplexmock.net.reflection import ask
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.reflection import METHODS, Files, ListServices, Services, read_request, write_answer
from duplexmock.schema.sources import of_modules
from tests.schema.protos import CHAT

V1, _ = METHODS


class _Handlers(grpc.GenericRpcHandler):
    """Serves some methods, bytes in and bytes out."""

    def __init__(self, methods):
        self.methods = methods

    def service(self, details):
        behaviour = self.methods.get(details.method)
        return behaviour and grpc.stream_stream_rpc_method_handler(behaviour)


@contextmanager
def _serving(prepare, address="127.0.0.1:0"):
    server = grpc.server(ThreadPoolExecutor(4))
    prepare(server)
    port = server.add_insecure_port(address)
    server.start()
    try:
        yield address if address.startswith("unix:") else f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def _methods(methods):
    return _serving(lambda server: server.add_generic_rpc_handlers((_Handlers(methods),)))


def _chat(server):
    chat_pb2_grpc.add_ChatServiceServicer_to_server(chat_pb2_grpc.ChatServiceServicer(), server)
    published.enable_server_reflection(("chat.ChatService", published.SERVICE_NAME), server)


def _ask(target, within_s=20.0):
    return asyncio.run(ask(target, within_s))


def test_a_server_tells_its_descriptors():
    with _serving(_chat) as target:
        descriptors = _ask(target)

    assert descriptors.serialized == of_modules([chat_pb2]).serialized
    assert descriptors.name == "server reflection"


def test_a_server_on_a_unix_socket_tells_its_descriptors(tmp_path):
    with _serving(_chat, f"unix:{tmp_path}/server") as target:
        assert _ask(target).input_type(CHAT) is not None


def _telling(requests, context):
    """A handler that says the files of the chat."""
    for request in requests:
        if read_request(request) == ListServices():
            yield write_answer(Services(("chat.ChatService",)), request)
        else:
            yield write_answer(Files((chat_pb2.DESCRIPTOR.serialized_pb,)), request)


@pytest.mark.parametrize("method", METHODS)
def test_either_version_will_do(method):
    with _methods({method: _telling}) as target:
        assert isinstance(_ask(target), Descriptors)


def test_v1_is_asked_first():
    asked = []

    def noting(method):
        def handle(requests, context):
            asked.append(method)
            yield from _telling(requests, context)

        return handle

    with _methods({method: noting(method) for method in METHODS}) as target:
        assert _ask(target) is not None
    assert asked == [V1]


def test_a_server_without_reflection_has_none():
    with _methods({}) as target:
        assert _ask(target) is None


def _garbage(requests, context):
    for _ in requests:
        yield b"\xff"


def _ending(requests, context):
    next(requests)
    yield from ()


def _denying(requests, context):
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")


def _too_long(requests, context):
    for request in requests:
        yield write_answer(Services(("x" * 17_000_000,)), request)


@pytest.mark.parametrize("behaviour", [_garbage, _ending, _denying, _too_long])
def test_a_server_that_answers_badly_has_no_descriptors(behaviour):
    with _methods({V1: behaviour}) as target:
        assert _ask(target) is None


def test_what_came_before_the_server_broke_off_is_kept():
    def breaking_off(requests, context):
        answers = _telling(requests, context)
        next(answers)
        yield write_answer(Services(("chat.ChatService", "no.Such")), b"")
        yield next(answers)
        next(requests)
        context.abort(grpc.StatusCode.INTERNAL, "enough")

    with _methods({V1: breaking_off}) as target:
        assert _ask(target).input_type(CHAT) is not None


def test_a_server_that_does_not_answer_is_given_up():
    def silent(requests, context):
        for _ in requests:
            pass
        yield from ()

    with _methods({V1: silent}) as target:
        assert _ask(target, 0.3) is None


def test_a_port_that_nobody_speaks_http2_on_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert _ask(f"127.0.0.1:{listener.getsockname()[1]}", 0.3) is None


def test_a_port_that_nobody_listens_on_has_no_descriptors():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert _ask(f"127.0.0.1:{port}") is None


def test_the_loop_runs_on_while_the_server_is_asked():
    async def turns():
        asking = asyncio.create_task(ask(target, 20))
        count = 0
        while not asking.done():
            count += 1
            await asyncio.sleep(0)
        return count, await asking

    with _serving(_chat) as target:
        count, descriptors = asyncio.run(turns())
    assert count > 10
    assert descriptors is not None
