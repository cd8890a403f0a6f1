"""Interceptors that pass calls on with something of their own, so that it shows that they were asked."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio


class Passes(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Passes every call on, after it has looked at it."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        assert handler_call_details.method.startswith("/sim.Programs/")
        return await continuation(handler_call_details)


class _Named:
    async def _intercept(self, continuation: Any, details: grpc.aio.ClientCallDetails, request: Any) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        metadata.add("intercepted", "yes")
        named = grpc.aio.ClientCallDetails(
            details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
        )
        return await continuation(named, request)


class NamesUnaryUnary(_Named, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._intercept(continuation, client_call_details, request)


class NamesUnaryStream(_Named, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._intercept(continuation, client_call_details, request)


class NamesStreamUnary(_Named, grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[misc]
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._intercept(continuation, client_call_details, request_iterator)


class NamesStreamStream(_Named, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._intercept(continuation, client_call_details, request_iterator)


def client_interceptors() -> list[Any]:
    """Return one for each kind of call."""
    return [NamesUnaryUnary(), NamesUnaryStream(), NamesStreamUnary(), NamesStreamStream()]


def server_interceptors() -> list[Any]:
    """Return one that passes on."""
    return [Passes()]
