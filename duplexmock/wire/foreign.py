"""The answer to a request that is not gRPC's: of a browser, a health check, a client with the wrong content-type.

PROTOCOL-HTTP2 asks for 415 where the content-type is not `application/grpc`; for other methods than POST, 405 is what
grpc-go says. The text is for the person who reads it in a browser. The request's body is read to its end and dropped.
"""

from __future__ import annotations

from duplexmock.core.call import LaneState
from duplexmock.core.events import ServerHeader
from duplexmock.core.metadata import Metadata
from duplexmock.wire.framed import Framed
from duplexmock.wire.sender import Sender
from duplexmock.wire.streams import LastWords, Stream


def refuse(stream: Stream, http_status: int, sender: Sender) -> None:
    """Answer the request on a stream with `http_status` and a line of text."""
    text = _TEXTS[http_status]
    pairs: tuple[tuple[str, str], ...] = (("content-type", "text/plain"), ("content-length", str(len(text))))
    if http_status == 405:
        pairs += (("allow", "POST"),)
    sender.initial_metadata(stream, ServerHeader(Metadata(pairs), http_status))
    stream.ours = LaneState.ENDED
    stream.outbox.put(Framed.octets(text))
    stream.last_words = LastWords()
    stream.last_words.ends = True
    sender.flush(stream)


_TEXTS = {
    405: b"This is a gRPC server: it takes POST only.\n",
    415: b"This is a gRPC server: it takes the content-type application/grpc only.\n",
}
