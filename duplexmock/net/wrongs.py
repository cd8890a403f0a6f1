"""Wrongs: what no gRPC library does on a connection, and a fault has done (core/acts.py).

All of it goes out behind what was said before, but for what waits for the peer's windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duplexmock.core.acts import Anyway, Cut, GoAway, Octets, Sever, Wrong
from duplexmock.core.events import ClientMessage, ServerMessage
from duplexmock.wire import framing
from duplexmock.wire.framed import Framed

if TYPE_CHECKING:
    from duplexmock.net.driver import Driver


def do(what: Wrong, driver: Driver, stream_id: int) -> None:
    """Do this on a call; nothing where its connection is gone."""
    if driver.lost is not None:
        return
    match what:
        case Octets(body):
            if driver.endpoint.is_open(stream_id):
                driver.endpoint.send(stream_id, [Framed.octets(body)])
        case Anyway(event):
            driver.endpoint.say_anyway(stream_id, event)
        case Cut(event, octets):
            assert isinstance(event, ClientMessage | ServerMessage)
            frame = framing.data(stream_id, framing.message(event.payload, event.flags))
            driver.endpoint.inject(frame[: len(frame) // 2 if octets is None else octets])
            driver.lose(False, _BY_A_FAULT)
            return
        case GoAway(code, last_stream_id):
            driver.part(code, b"", last_stream_id)
        case Sever(by_reset):
            driver.lose(by_reset, _BY_A_FAULT)
            return
    driver.flush_soon()


_BY_A_FAULT = "by a fault"
