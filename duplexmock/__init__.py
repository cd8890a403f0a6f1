"""Record, replay, script and explore duplex gRPC calls.

    with duplexmock.record("127.0.0.1:50051", out="chat.duplex") as proxy:
        run_client(proxy.target)

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module

from duplexmock.version import __version__ as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:  # type checkers take it for that of typing, which takes longer to load than all else here
    from typing import Any

    from duplexmock.core.given import anything as anything
    from duplexmock.core.given import like as like
    from duplexmock.core.outcome import Mismatch as Mismatch
    from duplexmock.core.outcome import Outcome as Outcome
    from duplexmock.core.schedule import Schedule as Schedule
    from duplexmock.core.session import Session as Session
    from duplexmock.core.status import Code as Code
    from duplexmock.core.words import after as after
    from duplexmock.core.words import any_order as any_order
    from duplexmock.core.words import cancel as cancel
    from duplexmock.core.words import client as client
    from duplexmock.core.words import every as every
    from duplexmock.core.words import half_close as half_close
    from duplexmock.core.words import header as header
    from duplexmock.core.words import one_of as one_of
    from duplexmock.core.words import optional as optional
    from duplexmock.core.words import repeat as repeat
    from duplexmock.core.words import reset as reset
    from duplexmock.core.words import sequence as sequence
    from duplexmock.core.words import server as server
    from duplexmock.core.words import status as status
    from duplexmock.core.words import turn as turn
    from duplexmock.errors import DuplexmockError as DuplexmockError
    from duplexmock.errors import FixtureError as FixtureError
    from duplexmock.errors import MismatchError as MismatchError
    from duplexmock.errors import ProtocolError as ProtocolError
    from duplexmock.errors import ScriptError as ScriptError
    from duplexmock.learn.learning import Lesson as Lesson
    from duplexmock.learn.learning import learn_client as learn_client
    from duplexmock.learn.learning import learn_server as learn_server
    from duplexmock.net.playing import play_client as play_client
    from duplexmock.net.playing import play_client_async as play_client_async
    from duplexmock.net.record import record as record
    from duplexmock.net.replay import replay as replay
    from duplexmock.net.replay import replay_client as replay_client
    from duplexmock.net.replay import replay_client_async as replay_client_async
    from duplexmock.net.serve import serve as serve
    from duplexmock.play.call import Call as Call
    from duplexmock.play.handler import handler as handler
    from duplexmock.schema.descriptors import Descriptors as Descriptors
    from duplexmock.schema.script import Script as Script
    from duplexmock.sim.bounds import Bounds as Bounds
    from duplexmock.sim.simulation import simulate as simulate
    from duplexmock.store.fixture import Fixture as Fixture

_HOMES = {
    "Bounds": "sim.bounds",
    "Call": "play.call",
    "Code": "core.status",
    "Descriptors": "schema.descriptors",
    "DuplexmockError": "errors",
    "Fixture": "store.fixture",
    "FixtureError": "errors",
    "Lesson": "learn.learning",
    "Mismatch": "core.outcome",
    "MismatchError": "errors",
    "Outcome": "core.outcome",
    "ProtocolError": "errors",
    "Schedule": "core.schedule",
    "Script": "schema.script",
    "ScriptError": "errors",
    "Session": "core.session",
    "after": "core.words",
    "any_order": "core.words",
    "anything": "core.given",
    "cancel": "core.words",
    "client": "core.words",
    "every": "core.words",
    "half_close": "core.words",
    "handler": "play.handler",
    "header": "core.words",
    "learn_client": "learn.learning",
    "learn_server": "learn.learning",
    "like": "core.given",
    "one_of": "core.words",
    "optional": "core.words",
    "play_client": "net.playing",
    "play_client_async": "net.playing",
    "record": "net.record",
    "repeat": "core.words",
    "replay": "net.replay",
    "replay_client": "net.replay",
    "replay_client_async": "net.replay",
    "reset": "core.words",
    "sequence": "core.words",
    "serve": "net.serve",
    "server": "core.words",
    "simulate": "sim.simulation",
    "status": "core.words",
    "turn": "core.words",
}
"""Where each public name lives."""

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'duplexmock' has no attribute {name!r}")
    value = getattr(import_module(f"duplexmock.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
