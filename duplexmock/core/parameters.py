"""Parameters of faults: how their arguments are read from text, and written so that they are read again.

A parameter without a default has to be given. Arguments stand in the order of the parameters, or behind their names:
`status(UNAVAILABLE, message="gone")`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from duplexmock.core.span import span_ns, span_text
from duplexmock.core.status import Code, ErrorCode
from duplexmock.errors import ScriptError

Argument = int | str | bool | None


class Parameter(NamedTuple):
    """One parameter: `read` makes a value of a text, or raises ScriptError, and `write` a text of a value."""

    name: str
    read: Callable[[str], Argument]
    write: Callable[[Any], str]
    default: Any = ...

    @property
    def is_required(self) -> bool:
        """Tell whether it has no default."""
        return self.default is ...


def span(name: str, default: Any = ...) -> Parameter:
    """Return a parameter in time, in nanoseconds: `5ms`."""
    return Parameter(name, lambda text: span_ns(text, name), span_text, default)


def number(name: str, default: Any = ...) -> Parameter:
    """Return a parameter that is a whole number, which may be negative."""
    return Parameter(name, lambda text: _number(name, text), str, default)


def count(name: str, least: int, default: Any = ...) -> Parameter:
    """Return a parameter that is a whole number, `least` or more."""
    return Parameter(name, lambda text: _at_least(name, least, text), str, default)


def status_code(name: str, default: Any = ...) -> Parameter:
    """Return a parameter that is one of gRPC's status codes, by name or by number, also one that has no name."""
    return Parameter(
        name, lambda text: _code(text, Code, "a status code of gRPC"), lambda code: _named(Code, code), default
    )


def error_code(name: str, default: Any = ...) -> Parameter:
    """Return a parameter that is one of HTTP/2's error codes, by name or by number, also one that has no name."""
    return Parameter(
        name,
        lambda text: _code(text, ErrorCode, "an error code of HTTP/2"),
        lambda code: _named(ErrorCode, code),
        default,
    )


def text(name: str, default: Any = ...) -> Parameter:
    """Return a parameter that is a text, in quotes where it has commas, brackets or quotes in it."""
    return Parameter(name, lambda written: written, _quoted, default)


def word(name: str, choices: Sequence[str], default: Any = ...) -> Parameter:
    """Return a parameter that is one of these words."""
    return Parameter(name, lambda written: _word(name, choices, written), str, default)


def read(parameters: Sequence[Parameter], written: str) -> tuple[Argument, ...]:
    """Read what stands between the brackets; one value for each parameter. ScriptError for what does not fit."""
    given: dict[str, Argument] = {}
    for position, (name, part) in enumerate(_parts(written)):
        if name is None:
            if position >= len(parameters):
                raise ScriptError(_too_many(parameters))
            parameter = parameters[position]
        else:
            found = [each for each in parameters if each.name == name]
            if not found:
                raise ScriptError(f"there is no argument {name!r}; {_there(parameters)}")
            parameter = found[0]
        if parameter.name in given:
            raise ScriptError(f"argument {parameter.name!r} is given twice")
        given[parameter.name] = parameter.read(part)
    for parameter in parameters:
        if parameter.is_required and parameter.name not in given:
            raise ScriptError(f"argument {parameter.name!r} is missing; {_there(parameters)}")
    return tuple(given.get(parameter.name, parameter.default) for parameter in parameters)


def write(parameters: Sequence[Parameter], values: Sequence[Argument]) -> str:
    """Write arguments, without those that are their defaults; with the brackets, or nothing."""
    parts: list[str] = []
    is_gap = False
    for parameter, value in zip(parameters, values, strict=True):
        if not parameter.is_required and value == parameter.default:
            is_gap = True
        else:
            parts.append(f"{parameter.name}={parameter.write(value)}" if is_gap else parameter.write(value))
    return f"({', '.join(parts)})" if parts else ""


def _parts(written: str) -> list[tuple[str | None, str]]:
    """Split at the commas outside of quotes; return name, where there is one, and text of each."""
    if not written.strip():
        return []
    parts: list[tuple[str | None, str]] = []
    at = 0
    while True:
        found = _PART.match(written, at)
        if found is None:
            raise ScriptError("its arguments cannot be read: a text with commas, brackets or quotes stands in quotes")
        name, single, double, plain = found.groups()
        quoted = single if single is not None else double
        parts.append((name, plain.strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted)))
        at = found.end()
        if at == len(written):
            return parts
        at += 1


def _number(name: str, written: str) -> int:
    try:
        return int(written)
    except ValueError:
        raise ScriptError(f"{name} {written!r}: a whole number") from None


def _at_least(name: str, least: int, written: str) -> int:
    value = _number(name, written)
    if value < least:
        raise ScriptError(f"{name} {written}: at least {least}")
    return value


def _code(written: str, codes: type[IntEnum], what: str) -> int:
    if written.upper() in codes.__members__:
        return int(codes[written.upper()])
    if re.fullmatch(r"\d+|0x[0-9a-fA-F]+", written):
        return int(written, 0)
    raise ScriptError(f"{written!r} is not {what}: one of {', '.join(codes.__members__)}, or a number")


def _named(codes: type[IntEnum], code: int) -> str:
    return codes(code).name if code in codes._value2member_map_ else str(code)


def _word(name: str, choices: Sequence[str], written: str) -> str:
    if written not in choices:
        raise ScriptError(f"{name} {written!r}: {' or '.join(choices)}")
    return written


def _quoted(value: str) -> str:
    if re.fullmatch(r"[^,()'\"=\\#@\s]+( [^,()'\"=\\#@\s]+)*", value):
        return value
    return "'" + re.sub(r"([\\'])", r"\\\1", value) + "'"


def _too_many(parameters: Sequence[Parameter]) -> str:
    if not parameters:
        return "it has no arguments"
    return f"too many arguments; {_there(parameters)}"


def _there(parameters: Sequence[Parameter]) -> str:
    if not parameters:
        return "it has none"
    return f"it has {', '.join(each.name for each in parameters)}"


_PART = re.compile(
    r"\s*(?:([a-z]+)\s*=\s*)?(?:'((?:[^'\\]|\\.)*)'\s*|\"((?:[^\"\\]|\\.)*)\"\s*|([^,'\"()]*))(?=,|$)", re.DOTALL
)
