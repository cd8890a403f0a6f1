"""Plays the server of every case by grpclib: a JSON line for each call when it ends.

`grpclib_cases_server.py --cases FILE --listen HOST:PORT`; grpclib knows no compression.
"""

import argparse
import asyncio
import signal
from typing import Any

from cases import PREFIX, Inbox, Saw, pairs, payload, print_saw, read_cases, shown, shown_metadata
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import StreamTerminatedError
from grpclib.server import Server
from grpclib_codec import Raw


class Cases:
    """One handler for each of the four kinds of call; all of them `play`."""

    def __init__(self, cases: dict[str, dict[str, Any]]) -> None:
        self._cases = cases

    def __mapping__(self) -> dict[str, Handler]:
        return {PREFIX + name: Handler(self._play, kind, bytes, bytes) for name, kind in _CARDINALITIES.items()}

    async def _play(self, stream: Any) -> None:
        case = self._cases[stream.metadata["case"]]
        inbox = Inbox()
        reading = asyncio.create_task(read(stream, inbox))
        ending: Saw = []
        try:
            for step in case["server"]:
                await do(step, stream, inbox, ending)
        except asyncio.CancelledError:
            ending.append(["cancel"])
            raise
        finally:
            reading.cancel()
            saw: Saw = [["message", shown(message)] for message in inbox.messages]
            if header := shown_metadata(stream.metadata.items()):
                saw.insert(0, ["header", header])
            print_saw(case["case"], "server", [*saw, *ending])


async def read(stream: Any, inbox: Inbox) -> None:
    try:
        async for message in stream:
            await inbox.put(message)
        await inbox.end()
    except StreamTerminatedError:
        pass  # grpclib cancels the handler


async def do(step: list[Any], stream: Any, inbox: Inbox, ending: Saw) -> None:
    match step:
        case ["header", metadata]:
            await stream.send_initial_metadata(metadata=pairs(metadata))
        case ["send", written, *times]:
            for _ in range(*(times or [1])):
                await stream.send_message(payload(written))
        case ["await", count]:
            await inbox.wait_count(count)
        case ["await-half-close"]:
            await inbox.wait_end()
            ending.append(["half-close"])
        case ["await-cancel"]:
            await asyncio.Event().wait()  # grpclib cancels the handler
        case ["status", name, *rest]:
            await stream.send_trailing_metadata(
                status=Status[name],
                status_message=(rest[0] or None) if rest else None,
                metadata=pairs(rest[1] if len(rest) > 1 else []),
            )
        case _:
            raise ValueError(f"no such step of a server: {step}")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", required=True)
    parser.add_argument("--listen", default="127.0.0.1:0")
    options = parser.parse_args()
    server = Server([Cases(read_cases(options.cases))], codec=Raw())
    host, _, port = options.listen.rpartition(":")
    await server.start(host, int(port))
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    assert server._server is not None  # grpclib tells its port nowhere else
    print(f"listening on {host}:{server._server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()
    server.close()
    await server.wait_closed()


_CARDINALITIES = {
    "Bidi": Cardinality.STREAM_STREAM,
    "ClientStream": Cardinality.STREAM_UNARY,
    "ServerStream": Cardinality.UNARY_STREAM,
    "Unary": Cardinality.UNARY_UNARY,
}

if __name__ == "__main__":
    asyncio.run(main())
