"""A server as one writes it with grpc.aio: `python -m bench.answer_aio` prints `listening on ADDRESS`.

It answers what bench/load/answering.go answers. Messages stay bytes, so that nothing but the library is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from bench.messages import CHAT, PUSH, chat_message


async def chat(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
    """Send back what comes."""
    await context.send_initial_metadata(())
    async for message in requests:
        await context.write(message)


async def push(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
    """Send as many messages as are asked for."""
    await context.send_initial_metadata(())
    message = chat_message(0)
    async for wanted in requests:
        for _ in range(int.from_bytes(wanted, "big")):
            await context.write(message)


class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Both methods."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return the handler of one call."""
        return grpc.stream_stream_rpc_method_handler({CHAT: chat, PUSH: push}[handler_call_details.method])


async def started() -> tuple[grpc.aio.Server, str]:
    """Start a server on a free port of the loopback; return it and its address."""
    server = grpc.aio.server(handlers=[Methods()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


async def serve() -> None:
    """Answer until the process ends."""
    server, target = await started()
    print(f"listening on {target}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
