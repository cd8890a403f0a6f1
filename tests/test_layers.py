"""Who may import what, read from the sources: imports point down, and heavy libraries are known where they belong.

The table is that of ARCHITECTURE.md ("The rooms"). An import counts wherever it stands: in a function, under
TYPE_CHECKING, or as a name given to import_module.
"""

from __future__ import annotations

import ast
import gc
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "duplexmock"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("wire",),
    ("schema",),
    ("store", "report"),
    ("play",),
    ("net", "sim"),
    ("search", "learn"),
    ("cli", "pytest_plugin"),
)
"""From the ground up; a room may import itself and those of lower floors, never its neighbours."""

FOR_ALL = ("errors", "version")
"""Modules that every room may import, and that import no room."""

FRONT = ("__init__", "__main__", "scripts")
"""What stands before the house: the public names, the command, and examples that use only the public names."""

WHERE: dict[str, tuple[str, ...]] = {
    "msgpack": ("store",),
    "google.protobuf": ("schema",),
    "grpc": ("sim", "net/reflection", "pytest_plugin"),
    "hypothesis": ("search",),
    "pytest": ("pytest_plugin",),
    "_pytest": ("pytest_plugin",),
    "click": ("cli",),
    "rich": ("cli",),
    "hpack": ("wire",),
    "asyncio": ("play", "net", "sim", "search", "learn", "cli", "pytest_plugin", "scripts"),
    "socket": ("net", "pytest_plugin"),
    "time": ("net", "sim", "search", "learn", "cli", "pytest_plugin", "scripts"),
    "?": ("schema/sources", "cli/scripts"),
}
"""Which rooms or modules may import a library that not all may; `?` is one that only running the program tells."""

HEAVY = ("grpc", "google.protobuf", "hypothesis", "pytest", "msgpack", "click", "rich", "hpack", "asyncio")
"""What `import duplexmock` alone does not load."""


@dataclass(frozen=True)
class Import:
    """`module` imports `name`; `for_types` tells whether only a type checker sees it."""

    module: str
    name: str
    line: int
    for_types: bool = False

    def __str__(self) -> str:
        return f"duplexmock/{self.module}.py:{self.line}: imports {self.name}"


# The sources


def test_imports_point_down() -> None:
    wrong = [str(found) for found in every_import() if not points_down(found)]
    assert wrong == []


def test_libraries_are_known_only_where_they_belong() -> None:
    wrong = [str(found) for found in every_import() if not is_at_home(found)]
    assert wrong == []


def test_every_room_has_its_floor() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms - {room for floor in FLOORS for room in floor} - set(FRONT) == set()
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert modules - set(FOR_ALL) - set(FRONT) == set()


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import sys, duplexmock; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "duplexmock" in loaded
    assert [name for name in loaded if name in HEAVY] == []
    assert [name for name in loaded if name.startswith("duplexmock.")] == ["duplexmock.version"]


def test_a_replay_that_listens_has_loaded_nothing_that_reads_messages() -> None:
    fixture = next(PACKAGE.parent.glob("fixtures/chat/*.duplex"))
    program = (
        "import sys, duplexmock, duplexmock.cli.replay\n"
        "duplexmock.replay(sys.argv[1]).__enter__()\n"
        "print(*sys.modules, sep='\\n')"
    )
    running = subprocess.run([sys.executable, "-c", program, fixture], capture_output=True, text=True, check=True)
    loaded = running.stdout.split()
    assert "duplexmock.play.reading" in loaded
    assert [name for name in loaded if name in ("google.protobuf", "grpc", "rich", "duplexmock.schema.reader")] == []


def every_import() -> list[Import]:
    found = [
        each
        for path in sorted(PACKAGE.rglob("*.py"))
        for each in imports(path.read_text(), path.relative_to(PACKAGE).with_suffix("").as_posix())
    ]
    assert len(found) > 100, "the sources are not where this test looks for them"
    return found


# The rules


def points_down(found: Import) -> bool:
    """Tell whether a room may import what it imports of duplexmock itself."""
    package, _, rest = found.name.partition(".")
    if package != "duplexmock":
        return True
    target, room = rest.partition(".")[0], room_of(found.module)
    if target in FOR_ALL:
        return True
    if room == "scripts":
        return target == "scripts" or floor_of(target) == len(FLOORS)
    if room in FRONT:
        return True
    if room in FOR_ALL:
        return False
    if (room, target) == ("report", "store"):
        return found.for_types
    return target == room or floor_of(target) < floor_of(room)


def is_at_home(found: Import) -> bool:
    """Tell whether a module may import a library."""
    for library, homes in WHERE.items():
        if found.name == library or found.name.startswith(f"{library}."):
            return any(found.module == home or found.module.startswith(f"{home}/") for home in homes)
    return True


def room_of(module: str) -> str:
    return module.partition("/")[0]


def floor_of(room: str) -> int:
    """Return the floor of a room; what is none, a public name for one, is above all, so that no room may import it."""
    return next((number for number, floor in enumerate(FLOORS) if room in floor), len(FLOORS))


# Reading imports


def imports(source: str, module: str) -> list[Import]:
    """Return every import of a module, in functions and under conditions too; `from a import b` imports `a.b`."""
    gc.disable()  # a finalizer that logs a traceback parses too, and CPython 3.11 minds that (python/cpython#106905)
    try:
        return list(_imports(ast.parse(source), module, for_types=False))
    finally:
        gc.enable()


def _imports(node: ast.AST, module: str, *, for_types: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield Import(module, alias.name, node.lineno, for_types)
        case ast.ImportFrom(module=name, names=names, level=level):
            start = ".".join(part for part in (_package(module, level), name) if part)
            for alias in names:
                yield Import(module, f"{start}.{alias.name}", node.lineno, for_types)
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"), args=[name, *_]
        ):
            yield Import(module, _beginning(name), node.lineno, for_types)
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
            for child in node.body:
                yield from _imports(child, module, for_types=True)
            for child in node.orelse:
                yield from _imports(child, module, for_types=for_types)
            return
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, module, for_types=for_types)


def _package(module: str, level: int) -> str:
    """Return the package that a relative import starts from; empty where the import is absolute."""
    parts = ["duplexmock", *module.split("/")[:-1]]
    return ".".join(parts[: len(parts) - level + 1]) if level else ""


def _beginning(name: ast.expr) -> str:
    """Return what is known of a module's name before the program runs: `google.protobuf` of f"google.protobuf.{x}"."""
    match name:
        case ast.Constant(value=str(text)) | ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return text.rstrip(".")
        case _:
            return "?"


# The test of the test


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import grpc, a.b as c", ["grpc", "a.b"]),
        ("from google import protobuf", ["google.protobuf"]),
        (
            "from duplexmock.core.events import Side, Event",
            ["duplexmock.core.events.Side", "duplexmock.core.events.Event"],
        ),
        ("from . import frames", ["duplexmock.wire.frames"]),
        ("from .. import net", ["duplexmock.net"]),
        ("from ..net.proxy import Proxy", ["duplexmock.net.proxy.Proxy"]),
        ("def f():\n    if x:\n        import grpc", ["grpc"]),
        ("class A:\n    async def f(self):\n        from grpc import aio", ["grpc.aio"]),
        ("try:\n    import grpc\nexcept ImportError:\n    import msgpack", ["grpc", "msgpack"]),
        ("x = lambda: __import__('grpc')", ["grpc"]),
        ("import_module('grpc.aio')", ["grpc.aio"]),
        ("importlib.import_module(f'duplexmock.net.{x}', y)", ["duplexmock.net"]),
        ("importlib.import_module(x)", ["?"]),
        ("import_module(f'{x}.y')", ["?"]),
    ],
)
def test_an_import_is_found_wherever_it_stands(source: str, names: list[str]) -> None:
    assert [found.name for found in imports(source, "wire/tap")] == names


def test_an_import_for_types_is_told_from_one_that_runs() -> None:
    source = (
        "if TYPE_CHECKING:\n    import a\nelse:\n    import b\nif typing.TYPE_CHECKING:\n    from c import d\nimport e"
    )
    assert [(found.name, found.for_types) for found in imports(source, "net/proxy")] == [
        ("a", True), ("b", False), ("c.d", True), ("e", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "name", "allowed"),
    [
        ("core/order", "duplexmock.core.events.Side", True),
        ("core/order", "duplexmock.errors.ScriptError", True),
        ("core/order", "duplexmock.wire.tap", False),
        ("core/__init__", "duplexmock.wire", False),
        ("core/order", "duplexmock", False),
        ("core/order", "duplexmock.record", False),
        ("wire/tap", "duplexmock.core.rows", True),
        ("wire/tap", "duplexmock.schema.reader", False),
        ("store/fixture", "duplexmock.schema.reader", True),
        ("store/fixture", "duplexmock.report.timeline", False),
        ("report/timeline", "duplexmock.store.fixture", False),
        ("play/play", "duplexmock.store.fixture", True),
        ("play/play", "duplexmock.net.clock", False),
        ("net/proxy", "duplexmock.wire.tap", True),
        ("net/proxy", "duplexmock.sim.loop", False),
        ("sim/loop", "duplexmock.net.clock", False),
        ("net/proxy", "duplexmock.cli.main", False),
        ("learn/probes", "duplexmock.net.proxy", True),
        ("search/checks", "duplexmock.learn.probes", False),
        ("cli/main", "duplexmock.learn.probes", True),
        ("cli/main", "duplexmock.pytest_plugin.plugin", False),
        ("errors", "duplexmock.core.events", False),
        ("errors", "duplexmock.version", True),
        ("__init__", "duplexmock.net.record", True),
        ("__main__", "duplexmock.cli.main", True),
        ("scripts/echo", "duplexmock.handler", True),
        ("scripts/echo", "duplexmock", True),
        ("scripts/echo", "duplexmock.net.server", False),
        ("attic/old", "duplexmock.core.events", True),
        ("core/order", "duplexmock.attic.old", False),
        ("core/order", "dataclasses.dataclass", True),
        ("core/order", "duplexmocked.net", True),
    ],
)
def test_a_room_may_import_what_is_below_it(module: str, name: str, allowed: bool) -> None:
    assert points_down(Import(module, name, 1)) is allowed


def test_report_may_name_the_types_of_store_and_no_more() -> None:
    assert points_down(Import("report/jsonlines", "duplexmock.store.header.Header", 1, for_types=True))
    assert not points_down(Import("report/jsonlines", "duplexmock.net.proxy.Proxy", 1, for_types=True))
    assert not points_down(Import("wire/tap", "duplexmock.store.header.Header", 1, for_types=True))


@pytest.mark.parametrize("library", sorted(WHERE))
def test_a_library_is_at_home_in_its_rooms_only(library: str) -> None:
    rooms = [room for floor in FLOORS for room in floor]
    at_home = [room for room in rooms if is_at_home(Import(f"{room}/module", library, 1))]
    assert at_home == [room for room in rooms if room in WHERE[library]]
    assert not is_at_home(Import("core/order", f"{library}.inside", 1))
    assert not is_at_home(Import("__init__", library, 1))


def test_one_module_of_a_room_may_be_a_home() -> None:
    assert is_at_home(Import("net/reflection", "grpc.aio", 1))
    assert not is_at_home(Import("net/reflections", "grpc.aio", 1))
    assert not is_at_home(Import("net/proxy", "grpc", 1))
    assert is_at_home(Import("net/proxy", "grpclib", 1))


def test_core_and_wire_know_none_of_what_is_not_pure() -> None:
    impure = ("asyncio", "socket", "time", "grpc", "msgpack", "google.protobuf", "hypothesis", "pytest")
    for room in ("core", "wire"):
        assert [library for library in impure if is_at_home(Import(f"{room}/module", library, 1))] == []
