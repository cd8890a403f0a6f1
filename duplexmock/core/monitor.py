"""The monitor of a recorded session: was what took place a word of the script?

    Entry 7, ClientMessage #3 b'c', is not allowed here: after the client's half-close only b'bye' or status OK may come
    from the server.

Both sides are judged, in the order of the recording. Time is not.
"""

from __future__ import annotations

from duplexmock.core import allowed
from duplexmock.core.events import (
    ClientHeader,
    ClientMessage,
    Event,
    ServerHeader,
    ServerMessage,
    Side,
    side_of,
)
from duplexmock.core.language import Language
from duplexmock.core.matching import Difference, match_metadata
from duplexmock.core.outcome import Mismatch
from duplexmock.core.rows import row_of
from duplexmock.core.session import Session
from duplexmock.core.walk import Walk
from duplexmock.errors import ProtocolError


def monitor(language: Language, session: Session) -> Mismatch | None:
    """Return the first thing in a session that the script does not allow, None where there is none.

    Raises what a function of the script raises.
    """
    codec, walk = language.codec, Walk(language)
    counts = dict.fromkeys(Side, 0)
    messages = dict.fromkeys(Side, 0)
    encodings = dict.fromkeys(Side, "")
    last = "at the beginning"
    for position, entry in enumerate(session.entries):
        event = entry.event
        side = side_of(event)
        what: Event | bytes = event
        match event:
            case ClientHeader(method):
                encodings[side] = _encoding(event)
                differences = _header_differences(language, method, event)
                if differences:
                    sentence = allowed.wrong_header(differences)
                    return Mismatch(sentence, side, 0, 0, entry.at_ns, None, event, differences, position)
                last = allowed.behind(event)
                counts[side] += 1
                continue
            case ServerHeader():
                encodings[side] = _encoding(event)
            case ClientMessage(payload, flags) | ServerMessage(payload, flags):
                try:
                    what = codec.plain(payload, flags, encodings[side]) if flags & 1 else payload
                except ProtocolError:
                    what = payload
        if walk.is_over:
            break  # it crossed the end of the call
        if not walk.take(int(row_of(event, 0)[0]), what):
            plainly = type(event)(what) if isinstance(what, bytes) else event  # type: ignore[arg-type,call-arg]
            named = f"entry {position + 1}, {allowed.event_told(codec, plainly, messages[side])},"
            differences = allowed.differences(walk, codec, plainly)
            sentence = allowed.not_allowed(named, last, allowed.may_come(walk, list(Side)), differences)
            return Mismatch(
                sentence, side, counts[side], messages[side], entry.at_ns, None, event, differences, position
            )
        counts[side] += 1
        messages[side] += isinstance(event, ClientMessage | ServerMessage)
        is_message = isinstance(event, ClientMessage | ServerMessage)
        last = allowed.behind_message(row_of(event, 0)[0], messages[side]) if is_message else allowed.behind(event)
    if walk.is_over:
        return None
    at_ns = session.entries[-1].at_ns
    side = Side.CLIENT if allowed.awaited(walk, Side.CLIENT) else Side.SERVER
    sentence = allowed.unfinished(len(session.entries), session, last, allowed.may_come(walk, list(Side)))
    return Mismatch(sentence, side, counts[side], messages[side], at_ns, None, None, (), len(session.entries))


def _encoding(event: ClientHeader | ServerHeader) -> str:
    text = event.metadata.first("grpc-encoding")
    return text if isinstance(text, str) else ""


def _header_differences(language: Language, method: str, header: ClientHeader) -> tuple[Difference, ...]:
    if method != language.method:
        return (Difference("method", language.method, method),)
    return tuple(match_metadata(language.header.metadata, header.metadata, lambda value: False))
