"""Two endpoints joined by a fake wire, and what each of them is told, as arrows.

pair = joined()
stream = pair.client.open(REQUEST)
assert pair.flow() == [(1, "> ClientHeader")]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from duplexmock.core.events import ClientHeader, Event, ServerHeader, ServerTrailer, Side
from duplexmock.core.rows import Row, RowKind, event_of
from duplexmock.core.status import Code, Status
from duplexmock.wire.endpoint import Endpoint, Group
from duplexmock.wire.fields import GRPC_ANSWER, GRPC_REQUEST
from duplexmock.wire.happenings import Happening, SettingsAcknowledged, SettingsReceived
from duplexmock.wire.limits import Config

REQUEST = ClientHeader("/chat.ChatService/Chat", GRPC_REQUEST, "localhost:1")
HEADER = ServerHeader(GRPC_ANSWER)
TRAILER = ServerTrailer(Status(Code.OK))

Told = tuple[int, Event | Happening | str]


class Pair:
    """A client and a server; `cut` is how many bytes the wire carries at once."""

    def __init__(self, client: Endpoint, server: Endpoint, cut: int = 65_536) -> None:
        self.client = client
        self.server = server
        self._cut = cut

    def flow(self) -> list[Told]:
        """Carry bytes until both are silent; return what the endpoints were told, but for SETTINGS."""
        told: list[Told] = []
        while self.client.wants_write or self.server.wants_write:
            for sender, receiver in ((self.client, self.server), (self.server, self.client)):
                octets = sender.take()
                for start in range(0, len(octets), self._cut):
                    told += said(receiver.receive(octets[start : start + self._cut]))
        return [each for each in told if not isinstance(each[1], SettingsReceived | SettingsAcknowledged)]

    def lanes(self, stream_id: int, told: Iterable[Told]) -> tuple[list[Event | str], list[Event | str]]:
        """Return what was told of a call: the client's lane and the server's."""
        mine = [what for number, what in told if number == stream_id]
        client = [what for what in mine if type(what).__name__.startswith(("Client", "Cancel"))]
        return client, [what for what in mine if what not in client]  # type: ignore[return-value]


def said(groups: Sequence[Group]) -> list[Told]:
    """Return the events and happenings of groups, one by one; what is no event as text."""
    return [(stream_id, _value(what) if stream_id else what) for stream_id, group in groups for what in group]  # type: ignore[arg-type, misc]


def joined(client: Config | None = None, server: Config | None = None, cut: int = 65_536) -> Pair:
    """Return a pair that has exchanged SETTINGS."""
    pair = Pair(Endpoint(Side.CLIENT, client), Endpoint(Side.SERVER, server), cut)
    assert pair.flow() == []
    return pair


def _value(row: Row) -> Event | str:
    event = event_of(row)
    if event is not None:
        return event
    return f"{RowKind(row[0]).name.lower()}: {row[2]}"
