"""Sessions written by hand: `session("0> 3< 5>")` is three events, when each was seen and by whom it was sent."""

from __future__ import annotations

from duplexmock.core.connection import Connection
from duplexmock.core.events import ClientHeader, ClientMessage, Event, ServerHeader, ServerMessage, Side
from duplexmock.core.session import Ended, Entry, Session

CONNECTION = Connection(number=1, client="127.0.0.1:1", server="127.0.0.1:2", opened_at_ns=0)


def session(timed_word: str) -> Session:
    """Return a session that is still open: headers first, then messages."""
    begun: set[Side] = set()
    entries: list[Entry] = []
    for timed in timed_word.split():
        at_ns, side = int(timed[:-1]), Side(timed[-1])
        entries.append(Entry(at_ns, MESSAGES[side] if side in begun else HEADERS[side]))
        begun.add(side)
    return Session(1, CONNECTION, 1, tuple(entries), Ended.INCOMPLETE)


HEADERS: dict[Side, Event] = {Side.CLIENT: ClientHeader("/chat.ChatService/Chat"), Side.SERVER: ServerHeader()}
MESSAGES: dict[Side, Event] = {Side.CLIENT: ClientMessage(b""), Side.SERVER: ServerMessage(b"")}
