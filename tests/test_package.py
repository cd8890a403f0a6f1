"""The package: what the wheel ships, what it is called, and what it offers by name."""

import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

import duplexmock
from duplexmock.version import __version__

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.iterdir()
    return path


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "duplexmock").rglob("*")
        if path.suffix in (".py", ".pb") or path.name == "py.typed"  # descriptors are data
    }
    metadata = f"duplexmock-{__version__}.dist-info"
    assert {name for name in names if not name.startswith(metadata)} == sources
    assert "duplexmock/py.typed" in names
    assert f"{metadata}/licenses/LICENSE" in names
    assert [name for name in names if "_pb2" in name or "test" in name.replace("pytest_plugin", "")] == []


def test_the_wheel_has_the_version_the_command_and_the_plugin(wheel):
    assert wheel.name == f"duplexmock-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        entry_points = archive.read(f"duplexmock-{__version__}.dist-info/entry_points.txt").decode()
    assert entry_points == (
        "[console_scripts]\nduplexmock = duplexmock.__main__:run\n\n"
        "[pytest11]\nduplexmock = duplexmock.pytest_plugin.plugin\n"
    )


def test_the_command_is_installed_and_says_its_version():
    command = Path(sys.executable).with_name("duplexmock")
    done = subprocess.run([command, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"duplexmock {__version__}\n", "")
    assert duplexmock.__version__ == __version__


@pytest.mark.parametrize("name", duplexmock.__all__)
def test_every_public_name_can_be_imported_and_says_what_it_is(name):
    value = getattr(import_module("duplexmock"), name)
    assert name in dir(duplexmock)
    assert isinstance(value, str) or value.__doc__


def test_star_gives_the_public_names_and_no_others():
    names = {}
    exec("from duplexmock import *", names)
    assert set(names) - {"__builtins__"} == set(duplexmock.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError) as caught:
        duplexmock.nothing  # noqa: B018 - the look-up is the test
    assert str(caught.value) == "module 'duplexmock' has no attribute 'nothing'"
