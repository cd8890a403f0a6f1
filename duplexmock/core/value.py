"""Values: a class of annotated fields, made frozen and slotted, compared, hashed and shown by its fields.

`@value` is `@dataclass(frozen=True, slots=True)`, and `dataclasses.replace` and `match` take what it makes for one. But
a dataclass writes and compiles the source of six methods, which takes up to a millisecond for each class, and a start
loads dozens of classes (bench: `cold start`). Here `__init__` alone is compiled; the others are plain functions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make a value of a class; fields have no `default_factory`."""
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    every = fields(made)
    is_set_later = hasattr(cls, "__post_init__")
    if any(each.default_factory is not MISSING or each.kw_only or not (each.init or is_set_later) for each in every):
        raise TypeError(f"{cls.__qualname__}: fields of a value have plain defaults and are given in their order")
    taken = [each for each in every if each.init]
    shown = [each.name for each in every if each.repr]
    compared = _reader([each.name for each in every if each.compare])
    names = [each.name for each in taken]

    def __eq__(self: object, other: object) -> bool:
        return compared(self) == compared(other) if type(other) is type(self) else NotImplemented

    def __hash__(self: object) -> int:
        return hash(compared(self))

    def __repr__(self: object) -> str:
        told = ", ".join([f"{name}={getattr(self, name)!r}" for name in shown])
        return f"{type(self).__qualname__}({told})"

    def __reduce__(self: object) -> tuple[type, Any]:
        return type(self), tuple([getattr(self, name) for name in names])

    made.__init__ = _init(made, taken)
    for method in (__eq__, __hash__, __repr__, __reduce__, __setattr__, __delattr__):
        setattr(made, method.__name__, method)
    return made  # type: ignore[no-any-return]


def __setattr__(self: object, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def __delattr__(self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _reader(names: list[str]) -> Callable[[object], Any]:
    """Return what reads these attributes, to be compared and hashed together."""
    return attrgetter(*names) if names else lambda self: ()


def _init(cls: Any, taken: list[Field[Any]]) -> Callable[..., None]:
    """Compile `__init__`: it writes the slots themselves, because nobody may set an attribute."""
    names = [each.name for each in taken]
    source = [f"def make({', '.join(f'set_{name}' for name in names)}):"]
    source += [f" def __init__({', '.join(('self', *names))}):", "  pass"]
    source += [f"  set_{name}(self, {name})" for name in names]
    source += ["  self.__post_init__()"] if hasattr(cls, "__post_init__") else []
    compiled: dict[str, Any] = {}
    exec("\n".join([*source, " return __init__"]), vars(sys.modules[cls.__module__]), compiled)
    init: Any = compiled["make"](*[getattr(cls, name).__set__ for name in names])
    init.__defaults__ = tuple([each.default for each in taken if each.default is not MISSING])
    init.__annotations__ = {**{each.name: each.type for each in taken}, "return": None}
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init  # type: ignore[no-any-return]
