"""A service and programs in the manner of grpcio's route guide: the four types of call, aio and synchronous.

Messages are the chat's, because these stubs are there; the methods are a generic service's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import grpc
import grpc.aio
from chat_app.chat_pb2 import ChatMessage

SERVICE = "routes.RouteGuide"
FEATURES = ("Berkshire Valley", "Patriots Path", "Unnamed Road")


def note(text: str) -> ChatMessage:
    return ChatMessage(sender="route", message=text)


class AioRoutes:
    """Looks up, lists, sums up, and chats: one message for each that was said at that place before."""

    def __init__(self) -> None:
        self._notes: dict[str, list[ChatMessage]] = {}

    async def GetFeature(self, request: ChatMessage, context: Any) -> ChatMessage:
        number = request.timestamp
        if number >= len(FEATURES):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no feature {number}")
        return note(FEATURES[number])

    async def ListFeatures(self, request: ChatMessage, context: Any) -> AsyncIterator[ChatMessage]:
        for feature in FEATURES:
            if request.message in feature:
                yield note(feature)

    async def RecordRoute(self, request_iterator: AsyncIterator[ChatMessage], context: Any) -> ChatMessage:
        points, started = 0, asyncio.get_running_loop().time()
        async for _ in request_iterator:
            points += 1
        elapsed_s = asyncio.get_running_loop().time() - started
        return ChatMessage(sender="route", message=f"{points} points", timestamp=round(elapsed_s))

    async def RouteChat(self, request_iterator: AsyncIterator[ChatMessage], context: Any) -> AsyncIterator[ChatMessage]:
        async for new in request_iterator:
            said = self._notes.setdefault(new.sender, [])
            for old in said:
                yield old
            said.append(new)


class SyncRoutes:
    """Does the same, synchronously."""

    def __init__(self) -> None:
        self._notes: dict[str, list[ChatMessage]] = {}

    def GetFeature(self, request: ChatMessage, context: Any) -> ChatMessage:
        number = request.timestamp
        if number >= len(FEATURES):
            context.abort(grpc.StatusCode.NOT_FOUND, f"no feature {number}")
        return note(FEATURES[number])

    def ListFeatures(self, request: ChatMessage, context: Any) -> Iterator[ChatMessage]:
        for feature in FEATURES:
            if request.message in feature:
                yield note(feature)

    def RecordRoute(self, request_iterator: Iterable[ChatMessage], context: Any) -> ChatMessage:
        return note(f"{len(list(request_iterator))} points")

    def RouteChat(self, request_iterator: Iterable[ChatMessage], context: Any) -> Iterator[ChatMessage]:
        for new in request_iterator:
            said = self._notes.setdefault(new.sender, [])
            yield from said
            said.append(new)


def add_to_server(servicer: AioRoutes | SyncRoutes, server: Any) -> None:
    """Register a servicer, as generated code does."""
    kinds = {
        "GetFeature": grpc.unary_unary_rpc_method_handler,
        "ListFeatures": grpc.unary_stream_rpc_method_handler,
        "RecordRoute": grpc.stream_unary_rpc_method_handler,
        "RouteChat": grpc.stream_stream_rpc_method_handler,
    }
    handlers = {
        name: kind(
            getattr(servicer, name),
            request_deserializer=ChatMessage.FromString,
            response_serializer=ChatMessage.SerializeToString,
        )
        for name, kind in kinds.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


class Stub:
    """The methods of a channel of either kind, as generated code makes them."""

    def __init__(self, channel: Any) -> None:
        terms = (ChatMessage.SerializeToString, ChatMessage.FromString)
        self.GetFeature = channel.unary_unary(f"/{SERVICE}/GetFeature", *terms)
        self.ListFeatures = channel.unary_stream(f"/{SERVICE}/ListFeatures", *terms)
        self.RecordRoute = channel.stream_unary(f"/{SERVICE}/RecordRoute", *terms)
        self.RouteChat = channel.stream_stream(f"/{SERVICE}/RouteChat", *terms)


NOTES = (("here", "First"), ("there", "Second"), ("here", "Third"), ("here", "Fourth"))


async def guide(channel: Any, pause_s: float) -> list[str]:
    """Make one call of each type; return what was heard. Points are `pause_s` apart."""
    stub, heard = Stub(channel), []
    heard.append((await stub.GetFeature(ChatMessage(timestamp=1))).message)
    try:
        await stub.GetFeature(ChatMessage(timestamp=7))
    except grpc.aio.AioRpcError as error:
        heard.append(f"{error.code().name}: {error.details()}")
    heard.extend([feature.message async for feature in stub.ListFeatures(ChatMessage(message="Pat"))])

    async def points() -> AsyncIterator[ChatMessage]:
        for _ in range(3):
            yield note("a point")
            await asyncio.sleep(pause_s)

    summary = await stub.RecordRoute(points())
    heard.append(f"{summary.message} in {summary.timestamp} s")
    call = stub.RouteChat()
    for place, text in NOTES:
        await call.write(ChatMessage(sender=place, message=text))
    await call.done_writing()
    heard.extend([f"{said.sender}: {said.message}" async for said in call])
    return heard


def guide_sync(channel: Any) -> list[str]:
    """Do the same, synchronously and without pauses."""
    stub = Stub(channel)
    heard = [stub.GetFeature(ChatMessage(timestamp=1)).message]
    try:
        stub.GetFeature(ChatMessage(timestamp=7))
    except grpc.RpcError as error:
        heard.append(f"{error.code().name}: {error.details()}")
    heard.extend(feature.message for feature in stub.ListFeatures(ChatMessage(message="Pat")))
    heard.append(stub.RecordRoute(note("a point") for _ in range(3)).message)
    notes = (ChatMessage(sender=place, message=text) for place, text in NOTES)
    heard.extend(f"{said.sender}: {said.message}" for said in stub.RouteChat(notes))
    return heard
