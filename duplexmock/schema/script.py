"""A Script: what may happen on the calls of one method, written down. It has no side.

    chat = Script(
        "/chat.ChatService/Chat",
        any_order(
            repeat(turn({"sender": "Client"}, reply=greet)),
            every("5s", server({"message": "still here"})),
        ),
        descriptors="chat_pb2",
    )

The same value plays the server (`duplexmock.serve`), plays the client, checks a recorded Session (`check`), and prints
as the source that makes it (`repr`, `source`). What it is written with is in core/words.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from duplexmock.core import parts as written
from duplexmock.core.events import Side
from duplexmock.core.given import Fields, Like, Protobuf, literal
from duplexmock.core.language import Language
from duplexmock.core.legal import check_method, check_parts
from duplexmock.core.monitor import monitor
from duplexmock.core.parts import Part
from duplexmock.core.source import imports, said_text, script_source, script_text
from duplexmock.core.steps import PlainCodec
from duplexmock.core.words import check_are_parts, client, server
from duplexmock.errors import MismatchError, ScriptError
from duplexmock.schema.given import given
from duplexmock.schema.payload import plain

if TYPE_CHECKING:
    from duplexmock.core.outcome import Mismatch
    from duplexmock.core.session import Session
    from duplexmock.schema.descriptors import Descriptors
    from duplexmock.schema.sources import Source


class Script:
    """What may happen on a call of `method`: the parts, one after another.

    `descriptors` say what its messages are: a generated module, a descriptor set of protoc's, a .proto file. They may
    be given where it is played instead; dicts need some, protobuf messages know their own. ScriptError, which names the
    step, for what could never be played. Two scripts are equal where methods and parts are.
    """

    __slots__ = ("_languages", "descriptors", "method", "parts")

    method: str
    parts: tuple[Part, ...]
    descriptors: Source | None

    def __init__(self, method: str, *parts: Part, descriptors: Source | None = None) -> None:
        check_method(method)
        check_are_parts(parts, method)
        check_parts(method, parts)
        for name, each in (("method", method), ("parts", parts), ("descriptors", descriptors), ("_languages", {})):
            object.__setattr__(self, name, each)
        if descriptors is not None or any(isinstance(each, Protobuf) for each in _messages(parts)):
            self.language()

    def __rshift__(self, said: object) -> Script:
        """Go on with what the client says: an event, or a tuple of them."""
        line = client(*said) if isinstance(said, tuple) else client(said)
        return Script(self.method, *self.parts, line, descriptors=self.descriptors)

    def __lshift__(self, said: object) -> Script:
        """Go on with what the server says: an event, or a tuple of them."""
        line = server(*said) if isinstance(said, tuple) else server(said)
        return Script(self.method, *self.parts, line, descriptors=self.descriptors)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Script is a value: its {name} cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Script):
            return NotImplemented
        return (self.method, self.parts) == (other.method, other.parts)

    def __hash__(self) -> int:
        return hash((self.method, self.parts))

    def __repr__(self) -> str:
        return script_text(self.method, self.parts, self._descriptors_text())

    @property
    def name(self) -> str:
        """Return what it is called, for people: its method."""
        return self.method

    def source(self) -> str:
        """Return it as people write it, in several lines; ScriptError where a function in it cannot be named."""
        return script_source(self.method, self.parts, self._descriptors_text())

    def module(self, name: str = "script") -> str:
        """Return the source of a module that makes it and calls it `name`."""
        return f"{imports(self.parts)}\n{name} = {self.source()}\n"

    @classmethod
    def of(cls, session: Session, descriptors: Source | None = None) -> Script:
        """Turn what was recorded into a script, to be generalised: dicts of fields with descriptors, else bytes."""
        from duplexmock.schema.recorded import parts_of

        return cls(session.method, *parts_of(session, given(descriptors)), descriptors=descriptors)

    def language(self, descriptors: Descriptors | None = None) -> Language:
        """Return what it allows; `descriptors` count where it has none. ScriptError for messages that cannot be."""
        languages: dict[int, tuple[Any, Language]] = self._languages  # type: ignore[attr-defined]
        known = languages.get(id(descriptors))
        if known is None:
            known = languages[id(descriptors)] = descriptors, self._language(descriptors)
        return known[1]

    def prepared(self, side: Side, descriptors: Descriptors | None = None) -> Language:
        """Return what `ScriptPlayer` plays as `side`; ScriptError where that side has to say what has no example."""
        language = self.language(descriptors)
        for step in language.steps:
            if step.side is side and step.event is None and step.said is not None:
                text = f"{side.name.lower()}({said_text(step.said)})"
                raise ScriptError(
                    f"{self.method}: {text} matches and does not say what is to be said; "
                    f"the {side.name.lower()} can be played with like({said_text(step.said)}, example)"
                )
        return language

    def mismatch(self, session: Session, descriptors: Source | None = None) -> Mismatch | None:
        """Return the first thing in a session that the script does not allow, None where it is one of its words."""
        language = self.language() if descriptors is None else self._language(descriptors)
        return monitor(language, session)

    def check(self, session: Session, descriptors: Source | None = None) -> None:
        """Raise MismatchError, with one sentence, where a session is not as the script says; both sides are judged."""
        mismatch = self.mismatch(session, descriptors)
        if mismatch is not None:
            raise MismatchError(f"session {session.number}, {session.method}: {mismatch.sentence}")

    def _language(self, descriptors: Source | None) -> Language:
        own = self.descriptors if self.descriptors is not None else descriptors
        if own is None and not any(isinstance(each, Fields | Protobuf) for each in _messages(self.parts)):
            # Functions may still return dicts; then they are told that descriptors are missing.
            return Language(self.method, self.parts, PlainCodec(plain))
        from duplexmock.schema.messages import Messages

        known = given(own)
        if known is None:
            known = _of_messages(self.parts)
        if known is not None:
            known.check_method(self.method)
        return Language(self.method, self.parts, Messages(self.method, known))

    def _descriptors_text(self) -> tuple[str, ...]:
        match self.descriptors:
            case None:
                return ()
            case ModuleType(__name__=name):
                return (f"descriptors={literal(name)}",)
            case str():
                return (f"descriptors={literal(self.descriptors)}",)
            case _ if hasattr(self.descriptors, "__fspath__"):
                return (f"descriptors={literal(str(self.descriptors))}",)
            case _:
                return ()


def _of_messages(parts: Sequence[Part]) -> Descriptors | None:
    """Return the descriptors that protobuf messages in a script bring with them."""
    from duplexmock.schema.sources import of_modules

    kinds: list[Any] = [each.kind for each in _messages(parts) if isinstance(each, Protobuf)]
    return of_modules(dict.fromkeys(kinds)) if kinds else None


def _messages(parts: Sequence[Part]) -> Iterator[object]:
    """Yield all that stands for a message in a script."""
    for part in parts:
        match part:
            case written.Line(_, said):
                yield from _whole(said)
            case written.Turn(match, reply):
                yield from _whole((match,))
                yield from _whole(reply if isinstance(reply, tuple) else ())
            case written.Sequence(inner) | written.AnyOrder(inner) | written.OneOf(inner):
                yield from _messages(inner)
            case written.Pause():
                pass
            case written.Repeat(inner) | written.Optional(inner) | written.Every(_, inner) | written.After(_, inner):
                yield from _messages((inner,))


def _whole(said: Sequence[object]) -> Iterator[object]:
    for each in said:
        if isinstance(each, Like):
            yield from (each.match, each.example)
        else:
            yield each
