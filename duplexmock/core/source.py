"""Writing a script as the source that makes it: it evaluates to an equal one, with the public names imported.

Functions are written by module and qualified name. A lambda, or a function in a function, has no such name: `repr` says
what it is, and `script_source` refuses it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from duplexmock.core import parts as written
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    Reset,
    ServerHeader,
    ServerTrailer,
)
from duplexmock.core.given import Anything, Fields, Like, Protobuf, function_name, literal, told
from duplexmock.core.metadata import Metadata
from duplexmock.core.parts import Part, Said, code_text
from duplexmock.core.span import span_text
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.errors import ScriptError


def script_text(method: str, parts: Sequence[Part], more: Sequence[str] = ()) -> str:
    """Write a script in one line."""
    return f"Script({', '.join((literal(method), *map(part_text, parts), *more))})"


def script_source(method: str, parts: Sequence[Part], more: Sequence[str] = ()) -> str:
    """Write a script as people do: what is too long for a line is written one below the other.

    ScriptError where a function in it cannot be named.
    """
    for function in _functions(parts):
        _check_has_name(function)
    arguments = [literal(method), *(_lines(part, _INDENT) for part in parts), *more]
    return f"Script(\n{''.join(f'{_INDENT}{each},{chr(10)}' for each in arguments)})"


def imports(parts: Iterable[Part]) -> str:
    """Return the line, or lines, that import the public names which scripts of these parts are written with."""
    texts = [part_text(part) for part in parts]
    names = ["Script", *(word for word in _WORDS if any(f"{word}(" in text for text in texts))]
    if any("anything" in text for text in texts):
        names.append("anything")
    line = f"from duplexmock import {', '.join(sorted(names))}\n"
    if len(line) <= _WIDTH:
        return line
    return f"from duplexmock import (\n{''.join(f'{_INDENT}{name},{chr(10)}' for name in sorted(names))})\n"


def part_text(part: Part) -> str:
    """Write a part in one line."""
    name, arguments = _call(part)
    return f"{name}({', '.join(each if isinstance(each, str) else part_text(each) for each in arguments)})"


def said_text(said: Said) -> str:
    """Write one event as it stands in client() or server()."""
    match said:
        case ClientHalfClose():
            return "half_close()"
        case Cancel(ErrorCode.CANCEL):
            return "cancel()"
        case Cancel(code):
            return f"cancel({literal(code_text(code, ErrorCode))})"
        case Reset(ErrorCode.CANCEL):
            return "reset()"
        case Reset(code):
            return f"reset({literal(code_text(code, ErrorCode))})"
        case ServerTrailer(Status() as status, metadata):
            return _status_text(status, metadata)
        case ClientHeader(_, metadata) | ServerHeader(metadata):
            return f"header({_metadata_text(metadata)})"
        case ServerTrailer(metadata=metadata):
            return f'status(None, "", {_metadata_text(metadata)})' if metadata.pairs else "status(None)"
        case _:
            return told(said)


def _call(part: Part) -> tuple[str, list[str | Part]]:
    """Return the word that makes a part, and what it is given."""
    match part:
        case written.Line(side, said):
            return side.name.lower(), [said_text(each) for each in said]
        case written.Turn(match, reply):
            if not isinstance(reply, tuple):
                text = told(reply)
            elif len(reply) == 1:
                text = said_text(reply[0])
            else:
                text = f"[{', '.join(map(said_text, reply))}]"
            return "turn", [said_text(match), f"reply={text}"]
        case written.Sequence(parts):
            return "sequence", list(parts)
        case written.AnyOrder(parts):
            return "any_order", list(parts)
        case written.OneOf(parts):
            return "one_of", list(parts)
        case written.Repeat(inner, least, most):
            counts = [str(least)] if least or most is not None else []
            return "repeat", [inner, *counts, *([str(most)] if most is not None else [])]
        case written.Every(ns, inner):
            return "every", [literal(span_text(ns)), inner]
        case written.Pause(ns):
            return "after", [literal(span_text(ns))]
        case written.After(ns, inner):
            return "after", [literal(span_text(ns)), inner]
        case written.Optional(inner):
            return "optional", [inner]
        case _:
            raise TypeError(f"{part!r} is no part")


def _lines(part: Part, indent: str) -> str:
    text = part_text(part)
    if len(indent) + len(text) + 1 <= _WIDTH:
        return text
    name, arguments = _call(part)
    if len(arguments) == 1 and isinstance(arguments[0], str):
        return text
    deeper = indent + _INDENT
    written_out = (each if isinstance(each, str) else _lines(each, deeper) for each in arguments)
    return f"{name}(\n{''.join(f'{deeper}{each},{chr(10)}' for each in written_out)}{indent})"


def _status_text(status: Status, metadata: Metadata) -> str:
    arguments = [literal(code_text(status.code, Code))]
    if status.message or metadata.pairs:
        arguments.append(literal(status.message))
    if metadata.pairs:
        arguments.append(_metadata_text(metadata))
    if status.details is not None:
        arguments.append(f"details={literal(status.details)}")
    return f"status({', '.join(arguments)})"


def _metadata_text(metadata: Metadata) -> str:
    if not metadata.pairs:
        return ""
    if len(dict(metadata.pairs)) == len(metadata.pairs):
        return f"{{{', '.join(f'{literal(key)}: {literal(text)}' for key, text in metadata)}}}"
    return f"[{', '.join(f'({literal(key)}, {literal(text)})' for key, text in metadata)}]"


def _functions(parts: Iterable[Part]) -> Iterator[Any]:
    for part in parts:
        match part:
            case written.Line(_, said):
                yield from _functions_said(said)
            case written.Turn(match, reply):
                yield from _functions_said((match,))
                yield from _functions_said(reply if isinstance(reply, tuple) else (reply,))
            case written.Sequence(inner) | written.AnyOrder(inner) | written.OneOf(inner):
                yield from _functions(inner)
            case written.Pause():
                pass
            case written.Repeat(inner) | written.Optional(inner) | written.Every(_, inner) | written.After(_, inner):
                yield from _functions((inner,))


def _functions_said(said: Iterable[object]) -> Iterator[Any]:
    for each in said:
        match each:
            case Like(match):
                yield from _functions_said((match,))
            case bytes() | Fields() | Protobuf() | Anything():
                pass
            case _ if callable(each):
                yield each


def _check_has_name(function: Any) -> None:
    name = function_name(function)
    module, qualified = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    try:
        found = attrgetter(qualified)(sys.modules[module]) if qualified else None
    except (AttributeError, KeyError):
        found = None
    if found != function:
        what = "a lambda" if "<lambda>" in name else "a function that no module has by this name"
        raise ScriptError(f"{name} is {what}: a script prints as source if its functions stand in a module by name")


_WORDS = (
    "after",
    "any_order",
    "cancel",
    "client",
    "every",
    "half_close",
    "header",
    "like",
    "one_of",
    "optional",
    "repeat",
    "reset",
    "sequence",
    "server",
    "status",
    "turn",
)
_INDENT = "    "
_WIDTH = 100
