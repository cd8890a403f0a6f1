"""Finding scripts by what people call them: a ready-made one, a file, or a name in a module.

chat            one of duplexmock/scripts/
moody.py        the Scripts and handlers at the top level of a file, in their order
my_app.mocks:moody   one in a module
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from duplexmock.errors import DuplexmockError, ScriptError
from duplexmock.net.mocking import is_script

READY_MADE = Path(__file__).resolve().parents[1] / "scripts"


def ready_made() -> Iterator[tuple[str, str]]:
    """Yield the names of the ready-made scripts, each with the first line that it says of itself."""
    for path in sorted(READY_MADE.glob("*.py")):
        if path.stem != "__init__":
            said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            yield path.stem, said.partition("\n")[0]


def found(text: str) -> list[Any]:
    """Return the scripts that are meant; ScriptError, with one sentence, where there are none."""
    if text.endswith(".py"):
        path = Path(text)
        if not path.is_file():
            raise ScriptError(f"{text}: there is no such file")
        sys.path.insert(0, str(path.resolve().parent))  # so that it finds what lies beside it, as with python FILE
        return _at_top_level(_module_of_file(path, path.stem), text)
    module, colon, name = text.partition(":")
    if colon:
        if "" not in sys.path:
            sys.path.insert(0, "")  # where people are, as with python -m
        return [_named(_imported(module, text), name, text)]
    names = [each for each, _ in ready_made()]
    if text not in names:
        raise ScriptError(
            f"{text!r}: no ready-made script; they are {', '.join(names)}. A file ends in .py; in a module it is "
            "written module:name"
        )
    return _at_top_level(_module_of_file(READY_MADE / f"{text}.py", f"duplexmock.scripts.{text}"), text)


def _module_of_file(path: Path, name: str) -> ModuleType:
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules.setdefault(name, module)  # where functions are looked for that are told by their module and name
    try:
        spec.loader.exec_module(module)
    except Exception as exc:  # its own code runs
        raise _not_imported(str(path), exc) from exc
    return module


def _imported(module: str, text: str) -> ModuleType:
    try:
        return import_module(module)
    except Exception as exc:  # its own code runs
        raise _not_imported(text, exc) from exc


def _not_imported(text: str, exc: Exception) -> ScriptError:
    reason = " ".join(str(exc).split()) or type(exc).__name__
    kind = "" if isinstance(exc, DuplexmockError) else f"{type(exc).__name__}: "
    return ScriptError(f"{text}: cannot be imported: {kind}{reason}")


def _named(module: ModuleType, name: str, text: str) -> Any:
    try:
        script = attrgetter(name)(module)
    except AttributeError as exc:
        raise ScriptError(f"{text}: the module has no {name!r}") from exc
    if not is_script(script):
        raise ScriptError(f"{text}: neither a Script nor a handler: is @duplexmock.handler(METHOD) missing above it?")
    return script


def _at_top_level(module: ModuleType, text: str) -> list[Any]:
    scripts = [each for each in vars(module).values() if is_script(each)]
    if not scripts:
        raise ScriptError(f"{text}: there is no Script and no handler at its top level")
    return [each for place, each in enumerate(scripts) if all(each is not other for other in scripts[:place])]
