"""The fixture `duplex_sim`: grpc.aio and grpc programs in memory and in virtual time, for tests without sockets.

A test that is a plain function calls `duplex_sim.run(...)`. One that is a coroutine runs on the simulation's loop as a
whole, whether or not another plugin would have run it: its `asyncio.sleep` is virtual as well. Fixtures of its own that
are coroutines do not: plugins run those on real loops, before the simulation begins.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from duplexmock.sim.simulation import Simulation

SIM = pytest.StashKey["Simulation"]()
"""The fixture's value, while a test has one."""


@pytest.fixture
def duplex_sim(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """Run grpc.aio and grpc programs in memory, in virtual time: `duplexmock.simulate()`, for the time of the test.

    `.aio_channel()`, `.aio_server()`, `.channel()` and `.server()` are given to stubs and servicers; `.run(coroutine)`
    runs what a plain function has to run. An async test runs on its loop by itself. Tasks and timers that are left at
    the end are told in a warning.
    """
    from duplexmock.sim.simulation import simulate

    with simulate() as sim:
        request.node.stash[SIM] = sim
        try:
            yield sim
        finally:
            del request.node.stash[SIM]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test on the loop of its simulation."""
    sim = pyfuncitem.stash.get(SIM, None)
    function = _coroutine_function(pyfuncitem)
    if sim is None or function is None:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    sim.run(function(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


def _coroutine_function(item: pytest.Function) -> Any:
    """Return the async test itself, also where pytest-asyncio has put a function around it that is none."""
    function = item.obj
    if type(item).__module__.startswith("pytest_asyncio"):
        function = getattr(function, "__wrapped__", function)
    return function if inspect.iscoroutinefunction(function) else None
