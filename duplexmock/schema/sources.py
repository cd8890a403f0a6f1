"""Where descriptors come from: a descriptor set, .proto files, or generated modules.

set.pb                   what protoc --include_imports --descriptor_set_out wrote
proto/chat.proto         compiled here, by grpcio-tools: pip install 'duplexmock[proto]'
chat_app.chat_pb2        a generated module, by its name
my_app.protos:chat_pb2   anything in a module that knows its file: a generated module, a FileDescriptor, Descriptors
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from types import ModuleType

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from duplexmock.errors import ScriptError
from duplexmock.schema.descriptors import Descriptors


def load(source: str) -> Descriptors:
    """Read descriptors from what the source is, as the module's table says; ScriptError where that cannot be done."""
    if source.endswith(".proto"):
        return compiled([source])
    if _MODULE.fullmatch(source) and not Path(source).exists():
        return of_modules([source])
    return Descriptors.read(source)


def given(source: Source | None) -> Descriptors | None:
    """Return what a caller gave for descriptors; ScriptError as in `load`."""
    match source:
        case None | Descriptors():
            return source
        case ModuleType():
            return of_modules([source])
        case _:
            return load(str(source))


def compiled(paths: Sequence[Path | str], include: Sequence[Path | str] = ()) -> Descriptors:
    """Compile .proto files, and what they import.

    Imports are looked for in the folders of `include`; without them in each file's own folder, and then in the current
    one. ScriptError where grpcio-tools is not installed, or with the compiler's words where it refuses a file.
    """
    name = ", ".join(map(str, paths))
    for path in paths:
        if not Path(path).is_file():
            raise ScriptError(f"{str(path)!r}: there is no such file")
    if find_spec("grpc_tools") is None:
        raise ScriptError(f"{name!r}: to read .proto files: pip install 'duplexmock[proto]'")
    folders = dict.fromkeys(map(str, include or (*(Path(path).parent for path in paths), Path())))
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "set.pb"
        # In a process of its own: the compiler writes its complaints to the process's error output.
        options = [f"-I{folder}" for folder in folders]
        options += ["--include_imports", f"--descriptor_set_out={written}"]
        command = [sys.executable, "-m", "grpc_tools.protoc", *options, *map(str, paths)]
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if run.returncode or not written.exists():
            raise ScriptError(f"{name!r}: {_complaint(run.stderr, folders)}")
        return Descriptors(written.read_bytes(), name)


def of_modules(modules: Iterable[ModuleType | str]) -> Descriptors:
    """Return the files of generated modules, and what these import.

    A module is given itself or by its name; `module:name` is something in it that knows its file. A `_pb2_grpc` module
    stands for the messages that it imports. ScriptError where a module cannot be imported or knows no file.
    """
    files: dict[str, bytes] = {}
    names = []
    for module in modules:
        name = module if isinstance(module, str) else module.__name__
        names.append(name)
        found = _found(module) if isinstance(module, str) else module
        for serialized in _files(found, name):
            file = FileDescriptorProto.FromString(serialized).name
            if files.setdefault(file, serialized) != serialized:
                raise ScriptError(f"{name!r}: another module has a different {file!r}")
    serialized_set = FileDescriptorSet(file=map(FileDescriptorProto.FromString, files.values()))
    return Descriptors(serialized_set.SerializeToString(), ", ".join(names))


def _found(name: str) -> object:
    module, _, attribute = name.partition(":")
    try:
        found: object = import_module(module)
    except Exception as exc:  # the module's own code runs
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise ScriptError(f"{name!r}: cannot be imported: {reason}; is its folder on PYTHONPATH?") from exc
    try:
        return attrgetter(attribute)(found) if attribute else found
    except AttributeError as exc:
        raise ScriptError(f"{name!r}: the module has no {attribute!r}") from exc


def _files(found: object, name: str) -> Iterator[bytes]:
    """Yield the serialized files that something stands for, and what they import."""
    if isinstance(found, Descriptors):
        yield from (file.SerializeToString() for file in FileDescriptorSet.FromString(found.serialized).file)
        return
    file = _file(found)
    if file is None and isinstance(found, ModuleType):
        imported = [_file(part) for part in vars(found).values() if isinstance(part, ModuleType)]
        roots = [part for part in imported if part is not None]
    else:
        roots = [file] if file is not None else []
    if not roots:
        raise ScriptError(f"{name!r}: neither a generated module nor anything else that knows its .proto file")
    done: dict[str, FileDescriptor] = {}
    while roots:
        root = roots.pop()
        if root.name not in done:
            done[root.name] = root
            roots += root.dependencies
    yield from (file.serialized_pb for file in done.values())


def _file(found: object) -> FileDescriptor | None:
    """Return the file of a FileDescriptor, of a generated module, or of one of its messages."""
    known = found if isinstance(found, FileDescriptor) else getattr(found, "DESCRIPTOR", None)
    known = getattr(known, "file", known)
    return known if isinstance(known, FileDescriptor) else None


def _complaint(text: str, folders: Iterable[str]) -> str:
    """Return the compiler's words; some versions name a file by its path, others as imports do."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for folder in folders:
        lines = [line.removeprefix(f"{folder}{os.sep}") for line in lines]
    more = f"; and {len(lines) - _TOLD} more" if len(lines) > _TOLD else ""
    return "; ".join(lines[:_TOLD]) + more if lines else "the compiler refuses it and does not say why"


Source = Descriptors | ModuleType | Path | str
"""Descriptors, a generated module, or what `load` takes."""

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*|(?<=_pb2)|(?<=_pb2_grpc))")
_TOLD = 3
"""Lines of the compiler's that an error text holds: the first says what is wrong."""
