"""Descriptors: what a serialized FileDescriptorSet says about methods and messages.

    protoc --include_imports --descriptor_set_out=set.pb chat.proto

Each Descriptors builds its files in a DescriptorPool of its own, so that a `chat.proto` here and generated code of
another `chat.proto` in the same process never meet. Files may stand in any order and more than once. Protobuf's own
files (timestamp.proto and its like) are always those of the installed protobuf, whether the set holds them or not: sets
made by two versions of protoc can be merged, and a Timestamp has the fields that tree.py reads. Source:
google/protobuf/descriptor.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from duplexmock.core.events import Side
from duplexmock.errors import ScriptError

_HOW = "make it with: protoc --include_imports --descriptor_set_out=set.pb FILE.proto"


class Descriptors:
    """The methods and messages of one descriptor set.

    `serialized` is the set as it goes into a fixture; `name` stands for it in error texts. ScriptError, with one
    sentence, where the bytes are no set, a file lacks an import, or the files contradict one another.
    """

    def __init__(self, serialized: bytes, name: str = "descriptors") -> None:
        self.name = name
        self._files = _parse(serialized, name)
        self._pool = DescriptorPool()
        self._build()

    @classmethod
    def read(cls, path: Path | str) -> Descriptors:
        """Read a file that `protoc --descriptor_set_out` wrote; ScriptError where that cannot be done."""
        try:
            serialized = Path(path).read_bytes()
        except OSError as exc:
            raise ScriptError(f"{str(path)!r}: the descriptor set cannot be read: {exc.strerror or exc}") from exc
        return cls(serialized, str(path))

    @property
    def serialized(self) -> bytes:
        """Return the set: each file once."""
        return FileDescriptorSet(file=self._files.values()).SerializeToString(deterministic=True)

    def merge(self, other: Descriptors) -> Descriptors:
        """Return one set of the files of both; ScriptError where they hold different files or types of one name."""
        both = self.serialized + other.serialized  # messages merge by concatenation, and a set is one repeated field
        return Descriptors(both, f"{self.name} and {other.name}")

    def input_type(self, method: str) -> Descriptor | None:
        """Return the type of the client's messages on `/package.Service/Method`; None where the set has no such."""
        found = self._method(method)
        return found.input_type if found else None

    def output_type(self, method: str) -> Descriptor | None:
        """Return the type of the server's messages on `/package.Service/Method`; None where the set has no such."""
        found = self._method(method)
        return found.output_type if found else None

    def type_sent(self, method: str, side: Side) -> Descriptor | None:
        """Return the type of the messages that `side` sends on `/package.Service/Method`, or None."""
        return self.input_type(method) if side is Side.CLIENT else self.output_type(method)

    def check_method(self, method: str) -> None:
        """Raise ScriptError where the service of `/package.Service/Method` is known and has no such method."""
        service, _, name = method.removeprefix("/").partition("/")
        try:
            known = self._pool.FindServiceByName(service).methods_by_name
        except (KeyError, ValueError, TypeError):
            return
        if name not in known:
            raise ScriptError(f"method {method!r}: {service} has no such method; it has {', '.join(known)}")

    def message_type(self, name: str) -> Descriptor | None:
        """Return the type of this full name, `package.Message`; None where the set has no such."""
        try:
            return self._pool.FindMessageTypeByName(name)
        except (KeyError, ValueError):
            return None

    @property
    def services(self) -> tuple[str, ...]:
        """Return the full names of all services, in the order of the files."""
        return tuple(
            f"{file.package}.{service.name}".lstrip(".") for file in self._files.values() for service in file.service
        )

    def check(self, method: str) -> None:
        """Raise ScriptError where there is no such method, saying which there are."""
        if self._method(method) is not None:
            return
        service, _, name = method.removeprefix("/").partition("/")
        if service not in self.services:
            known = ", ".join(self.services) or "none"
            raise ScriptError(f"{method}: {self.name} has no service {service}; it has {known}")
        methods = self._pool.FindServiceByName(service).methods_by_name
        raise ScriptError(f"{method}: {service} has no method {name}; it has {', '.join(methods)}")

    def file_named(self, name: str) -> tuple[bytes, ...]:
        """Return a file, serialized, and behind it all that it imports; empty where there is no such."""
        try:
            return _with_imports(self._pool.FindFileByName(name))
        except KeyError:
            return ()

    def file_with(self, symbol: str) -> tuple[bytes, ...]:
        """Return the file that defines a full name, and behind it all that it imports; empty where there is none."""
        try:
            return _with_imports(self._pool.FindFileContainingSymbol(symbol))
        except (KeyError, ValueError):
            return ()

    def _method(self, method: str) -> MethodDescriptor | None:
        service, _, name = method.removeprefix("/").partition("/")
        try:
            return self._pool.FindServiceByName(service).methods_by_name.get(name)
        except (KeyError, ValueError, TypeError):  # not there, or a name that is not even UTF-8
            return None

    def _build(self) -> None:
        for file in _imports_first(self._files, self.name):
            try:
                self._pool.AddSerializedFile(file.SerializeToString())
                _read_names(self._pool.FindFileByName(file.name))  # protobuf looks at some of a file only now
            except (TypeError, KeyError, ValueError) as exc:
                reason = " ".join(str(exc).split())
                raise ScriptError(f"{self.name!r}: protobuf does not accept {file.name!r}: {reason}") from exc


def of_files(files: Iterable[FileDescriptorProto], name: str = "descriptors") -> Descriptors:
    """Return the Descriptors of these files; ScriptError as Descriptors raises it."""
    return Descriptors(FileDescriptorSet(file=files).SerializeToString(), name)


def _with_imports(file: FileDescriptor) -> tuple[bytes, ...]:
    found: dict[str, bytes] = {}
    waiting = [file]
    while waiting:
        each = waiting.pop()
        if each.name not in found:
            found[each.name] = each.serialized_pb
            waiting += each.dependencies
    return tuple(found.values())


def fitting(files: Iterable[FileDescriptorProto], name: str) -> Descriptors | None:
    """Return those of the files that protobuf accepts together, the first of any that contradict one another, or None.

    It does for files of unknown quality what Descriptors, which accepts all or raises, does for a set.
    """
    pool = DescriptorPool()
    for own in _imports_first({own: _of_protobuf(own) for own in PROTOBUFS_OWN}, name):
        pool.AddSerializedFile(own.SerializeToString())
    by_name = {file.name: file for file in files if file.name and file.name not in PROTOBUFS_OWN}
    missing = {file.name: set(file.dependency) - PROTOBUFS_OWN.keys() for file in by_name.values()}
    importers: dict[str, list[str]] = {}
    for file, imports in missing.items():
        for imported in imports:
            importers.setdefault(imported, []).append(file)
    ready = [file for file, imports in missing.items() if not imports]
    accepted = []
    for file in ready:  # it grows as files are accepted
        if not _accepts(pool, by_name[file]):
            continue
        accepted.append(by_name[file])
        for importer in importers.get(file, ()):
            missing[importer].discard(file)
            if not missing[importer]:
                ready.append(importer)
    if not accepted:
        return None
    return Descriptors(FileDescriptorSet(file=accepted).SerializeToString(), name)


def _accepts(pool: DescriptorPool, file: FileDescriptorProto) -> bool:
    try:
        pool.AddSerializedFile(file.SerializeToString())
        pool.FindFileByName(file.name)
    except (TypeError, KeyError, ValueError):
        return False
    return True


def _parse(serialized: bytes, name: str) -> dict[str, FileDescriptorProto]:
    try:
        every = FileDescriptorSet.FromString(serialized).file
    except DecodeError as exc:
        raise ScriptError(f"{name!r} is not a descriptor set; {_HOW}") from exc
    files: dict[str, FileDescriptorProto] = {}
    for file in every:
        if not file.name:
            raise ScriptError(f"{name!r} is not a descriptor set; {_HOW}")
        if file.name in PROTOBUFS_OWN:
            file = _of_protobuf(file.name)
        if files.setdefault(file.name, file) != file:
            raise ScriptError(f"{name!r} holds two different files named {file.name!r}")
    if not files:
        raise ScriptError(f"{name!r} holds no files; {_HOW}")
    return files


def _imports_first(files: Mapping[str, FileDescriptorProto], name: str) -> Iterator[FileDescriptorProto]:
    """Yield every file behind its imports, and protobuf's own where they are imported and not there."""
    done: set[str] = set()
    for root in files:
        # A stack of our own: a chain of imports may be longer than Python's.
        path: list[tuple[FileDescriptorProto, Iterator[str]]] = []
        wanted: str | None = root
        while True:
            if wanted is not None and wanted not in done:
                file = _of_protobuf(wanted) if wanted in PROTOBUFS_OWN else files.get(wanted)
                if file is None:
                    raise ScriptError(f"{name!r}: {path[-1][0].name!r} imports {wanted!r}, which is missing; {_HOW}")
                if any(file.name == above.name for above, _ in path):
                    raise ScriptError(f"{name!r}: {wanted!r} imports itself, over {len(path)} file(s)")
                path.append((file, iter(file.dependency)))
            if not path:
                break
            wanted = next(path[-1][1], None)
            if wanted is None:
                file, _ = path.pop()
                done.add(file.name)
                yield file


def _read_names(file: FileDescriptor) -> None:
    """Look at all names of a file; UnicodeDecodeError where one is not UTF-8, which protobuf tells nobody before."""
    kinds = list(file.message_types_by_name.values())
    enums = list(file.enum_types_by_name.values())
    while kinds:
        kind = kinds.pop()
        kinds += kind.nested_types
        enums += kind.enum_types
        for field in kind.fields:
            _ = field.name
    for enum in enums:
        for value in enum.values:
            _ = value.name


def _of_protobuf(name: str) -> FileDescriptorProto:
    """Return one of the files that come with protobuf; its bytes only, so that nothing is shared with other pools."""
    module = import_module(f"google.protobuf.{PROTOBUFS_OWN[name]}")
    return FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)


PROTOBUFS_OWN = {
    f"google/protobuf/{stem}.proto": f"{stem}_pb2"
    for stem in (
        "any",
        "api",
        "descriptor",
        "duration",
        "empty",
        "field_mask",
        "source_context",
        "struct",
        "timestamp",
        "type",
        "wrappers",
    )
}
