"""What can go wrong, by culprit: the caller's script, the peer, the file.

A type says who has to act. Texts say what was expected, what came, where, and what to do.
"""

from __future__ import annotations


class DuplexmockError(Exception):
    """Anything that duplexmock refuses or gives up on."""


class ScriptError(DuplexmockError):
    """The caller asked for what cannot be: an argument, an order or a script that makes no sense."""


class ProtocolError(DuplexmockError):
    """The peer sent what HTTP/2 or gRPC does not allow."""


class FixtureError(DuplexmockError):
    """A fixture cannot be read or written; the text names the file, the entry and the reason."""


class MismatchError(DuplexmockError, AssertionError):
    """The peer did not do what the fixture or script says."""
