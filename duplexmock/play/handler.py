"""Handlers: imperative scripts, a coroutine function for each method.

    @duplexmock.handler("/chat.ChatService/Chat")
    async def moody(call):
        async for message in call:
            await call.send({"sender": "Server", "message": message.message.upper()})

The decorator returns a value and registers nothing: give it to `duplexmock.serve`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from duplexmock.core.matching import shown
from duplexmock.core.value import value
from duplexmock.errors import ScriptError

if TYPE_CHECKING:
    from duplexmock.play.call import Call
    from duplexmock.schema.sources import Source

Answers = Callable[["Call"], Awaitable[object]]
"""Answers one call; what it returns, if anything, is said as the last message."""


@value
class Handler:
    """Answers the calls of `method` by calling `function` with each; `descriptors` are those of its messages, if given.

    Made by `handler`.
    """

    method: str
    function: Answers
    descriptors: Source | None = None

    @property
    def name(self) -> str:
        """Return what the function is called, for people."""
        name: str = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return name.rpartition("<locals>.")[2]


def handler(method: str, *, descriptors: Source | None = None) -> Callable[[Answers], Handler]:
    """Make a Handler of a coroutine function that answers the calls of `method`, `/package.Service/Method`.

    `descriptors` say what its messages are: a generated module, a descriptor set of protoc's, a .proto file. Without
    them, and without those of `serve`, messages are bytes unless `call.receive` is given a type. Raises ScriptError
    where the method is not written so, or the function is no coroutine function.
    """
    if callable(method):
        raise ScriptError('write @duplexmock.handler("/package.Service/Method"): a handler has a method')
    if not _METHOD.fullmatch(method):
        raise ScriptError(f"method {shown(method)}: a method is written /package.Service/Method")

    def decorate(function: Answers) -> Handler:
        name = getattr(function, "__name__", shown(function))
        if inspect.isasyncgenfunction(function):
            raise ScriptError(f"{name}: a handler says messages by `await call.send(message)`, and not by yield")
        if not _is_coroutine_function(function):
            raise ScriptError(f"{name}: a handler is a coroutine function: async def {name}(call)")
        if not _takes_one(function):
            raise ScriptError(f"{name}: a handler takes one argument, the call: async def {name}(call)")
        return Handler(method, function, descriptors)

    return decorate


def _is_coroutine_function(function: Any) -> bool:
    if not callable(function):
        return False
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _takes_one(function: Answers) -> bool:
    try:
        inspect.signature(function).bind(object())
    except TypeError:
        return False
    except ValueError:  # one that has no signature
        return True
    return True


_METHOD = re.compile(r"/[^/\s]+/[^/\s]+")
