"""The usual way to build a proxy for gRPC: a generic relay on grpc.aio.

`python -m bench.relay UPSTREAM` prints `listening on ADDRESS`. Any method is taken as a duplex one and called on the
upstream server; both directions run at the same time, and metadata, deadline, trailers and status are handed on.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc
import grpc.aio

OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
OF_THE_LIBRARY = ("user-agent",)  # grpc.aio sends its own


class Relay(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Hands every call to the channel; messages stay bytes."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return the handler of one call."""
        method = self.channel.stream_stream(handler_call_details.method)

        async def relay(
            requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
        ) -> AsyncIterator[bytes]:
            metadata = [(key, value) for key, value in context.invocation_metadata() or () if key not in OF_THE_LIBRARY]
            call = method(requests, timeout=context.time_remaining(), metadata=metadata)
            await context.send_initial_metadata(tuple(await call.initial_metadata()))
            try:
                async for response in call:
                    yield response
            except grpc.aio.AioRpcError:
                pass  # the status is handed on below
            context.set_trailing_metadata(tuple(await call.trailing_metadata()))
            context.set_details(await call.details())
            context.set_code(await call.code())

        return grpc.stream_stream_rpc_method_handler(relay)


async def serve(upstream: str) -> None:
    """Relay between a free port of the loopback and `upstream`, HOST:PORT, until the process ends."""
    async with grpc.aio.insecure_channel(upstream, options=OPTIONS) as channel:
        server = grpc.aio.server(handlers=[Relay(channel)], options=OPTIONS)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(f"listening on 127.0.0.1:{port}", flush=True)
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
