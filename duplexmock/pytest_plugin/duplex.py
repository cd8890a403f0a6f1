"""The value of the fixture `duplex`: what a test dials in place of its server, by the record mode of the run.

    def test_chat(duplex):
        stub = ChatServiceStub(duplex.channel())    # the fixture of this test, or that of its marker

    async def test_two(duplex):
        async with duplex.replay("chat/three.duplex") as chat, duplex.replay("bot.duplex") as bot:
            ...

What is not left by `with` is settled when the test is over.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import pytest

from duplexmock.errors import DuplexmockError, FixtureError, ScriptError
from duplexmock.net.background import Background
from duplexmock.net.capture import Capture
from duplexmock.net.record import record
from duplexmock.net.replay import Unplayed, replay, replay_client_async
from duplexmock.net.serve import serve
from duplexmock.play.reading import check_paths
from duplexmock.pytest_plugin.keeping import keep_first, keep_last, locked, replace
from duplexmock.pytest_plugin.marker import Asked, Upstream
from duplexmock.pytest_plugin.naming import fixture_of, given
from duplexmock.pytest_plugin.run import Run
from duplexmock.pytest_plugin.served import Served
from duplexmock.pytest_plugin.stand_in import Recorded, Replayed, StandIn
from duplexmock.pytest_plugin.upstreams import running
from duplexmock.schema.sources import given as of_source
from duplexmock.store.fixture import Fixture
from duplexmock.store.join import join

if TYPE_CHECKING:
    from duplexmock.core.faults import Fault
    from duplexmock.core.outcome import Outcome
    from duplexmock.core.session import Session
    from duplexmock.net.mocking import Services
    from duplexmock.play.handler import Handler
    from duplexmock.schema.script import Script
    from duplexmock.schema.sources import Source
    from duplexmock.store.header import Expect


class Duplex:
    """Stands in for the servers that one test talks to.

    `replay` and `record` return a StandIn, `serve` a mock; both work in `with`, in `async with`, and without either.
    `target`, `channel`, `aio_channel`, `sessions` and `outcomes` are those of the latest one, and of `replay()` where
    there is none yet. Arguments that are not given are those of the marker.
    """

    def __init__(self, item: pytest.Item, run: Run, asked: Asked, fixture: Callable[[str], Any]) -> None:
        self._item = item
        self._run = run
        self._asked = asked
        self._fixture = fixture
        self._stand_ins: list[StandIn] = []
        self._failures: list[Exception] = []
        self._to_keep: list[Callable[[], None]] = []
        self._is_over = False
        self._stack = ExitStack()

    @property
    def target(self) -> str:
        """Return what the client dials: HOST:PORT."""
        __tracebackhide__ = True
        return self._latest().target

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what the replayed calls that have ended led to."""
        __tracebackhide__ = True
        return self._latest().outcomes

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Return the calls that have ended, as they took place."""
        __tracebackhide__ = True
        return self._latest().sessions

    def channel(self) -> Any:
        """Return a channel of grpc to `target`, which is closed at the end."""
        __tracebackhide__ = True
        return self._latest().channel()

    def aio_channel(self) -> Any:
        """Return a channel of grpc.aio to `target`, which is closed at the end; where an event loop runs."""
        __tracebackhide__ = True
        return self._latest().aio_channel()

    def replay(
        self,
        path: Path | str | None = None,
        *,
        upstream: Upstream | None = None,
        expect: Expect | None = None,
        ignore: Sequence[str] | None = None,
        bind: Sequence[tuple[str, str]] | None = None,
        speed: float | None = None,
        unplayed: Unplayed | None = None,
        metadata: Mapping[str, str] | None = None,
        sessions: Sequence[int] | None = None,
        methods: Sequence[str] | None = None,
        timeout_s: float | None = None,
        descriptors: Source | None = None,
        redact: Sequence[str] | None = None,
        faults: Sequence[str | Fault] | None = None,
    ) -> StandIn:
        """Play the server of a fixture, or record it from `upstream` where the run's mode says so.

        `path` is one below the folder of fixtures, by default the file of this test. `unplayed` says what is done about
        sessions that the test did not play: "fail" (the default), "warn" or "ignore". The other arguments are those of
        `duplexmock.replay` and `duplexmock.record`.

        Raises FixtureError where there is no such fixture, and ScriptError where it cannot be recorded.
        """
        __tracebackhide__ = True
        asked = Asked(
            path=path,
            upstream=upstream,
            expect=expect,
            ignore=ignore,
            bind=bind,
            speed=speed,
            unplayed=unplayed,
            metadata=metadata,
            sessions=sessions,
            methods=methods,
            timeout_s=timeout_s,
            descriptors=descriptors,
            redact=redact,
            faults=faults,
        )
        return self._replay(asked.over(self._asked))

    def record(
        self,
        upstream: Upstream,
        path: Path | str | None = None,
        *,
        expect: Expect | None = None,
        ignore: Sequence[str] | None = None,
        bind: Sequence[tuple[str, str]] | None = None,
        descriptors: Source | None = None,
        redact: Sequence[str] | None = None,
    ) -> StandIn:
        """Stand between the client and a live server, whatever the run's mode, to see what is said: `sessions`.

        The mode decides what becomes of the recording: `once` and `new` keep it where there is none yet, `rewrite` in
        any case, `none` and `verify` do not. Arguments are those of `replay`.
        """
        __tracebackhide__ = True
        asked = Asked(
            path=path,
            upstream=upstream,
            expect=expect,
            ignore=ignore,
            bind=bind,
            descriptors=descriptors,
            redact=redact,
        ).over(self._asked)
        return self._record(asked, self._path(asked))

    def serve(
        self,
        *scripts: Script | Handler,
        descriptors: Source | None = None,
        expect: Literal["lanes", "order"] = "lanes",
        timeout_s: float = 10.0,
        faults: Sequence[str | Fault] = (),
        services: Services = "served",
        redact: Sequence[str] = (),
    ) -> Served:
        """Serve what is written, Scripts and handlers; arguments are those of `duplexmock.serve`.

        It works in `with`, in `async with`, and without either; then it is settled when the test is over. What a
        handler has raised is raised then, and so is MismatchError for a client that did not keep to a Script.
        """
        __tracebackhide__ = True
        mock = serve(
            *scripts,
            descriptors=descriptors,
            expect=expect,
            timeout_s=timeout_s,
            faults=faults,
            services=services,
            redact=redact,
        )
        served = Served(mock)
        self._stand_ins.append(served)
        return served

    # For the plugin

    def prepare(self) -> None:
        """Set up the fixture that the marker names as upstream, where it will be needed: before an event loop runs."""
        name = self._asked.upstream
        if isinstance(name, str) and name.isidentifier() and self._needs_upstream(self._path(self._asked)):
            self._fixture(name)

    async def settle_async(self, exc: BaseException | None) -> None:
        """Settle what the test has left open, on its own event loop where that is one of asyncio."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return  # it is settled later
        for each in reversed(self._stand_ins):
            try:
                await each.settle_async(exc)
            except Exception as failure:
                self._failures.append(failure)

    def settle(self, exc: BaseException | None) -> None:
        """Settle what the test has left open.

        Raises the first failure, with the others in its notes; none where `exc` is given, which has them as notes.
        """
        if exc is None and not self._stand_ins and self._asked.path is not None:
            self._latest()  # a test that takes a fixture and does not play it has left its sessions
        for each in reversed(self._stand_ins):
            try:
                each.settle(exc)
            except Exception as failure:
                self._failures.append(failure)
        self._is_over = True
        failures, self._failures = self._failures, []
        for each_failure in failures:
            if exc is not None:
                exc.add_note(f"duplexmock: {each_failure}")
            elif each_failure is not failures[0]:
                failures[0].add_note(str(each_failure))
        if failures and exc is None:
            raise failures[0]

    def keep(self) -> None:
        """Keep what the test has recorded, which has passed; FixtureError where that cannot be done."""
        for keep in self._to_keep:
            keep()

    def close(self) -> None:
        """End what still runs, without a verdict."""
        self._is_over = True
        for each in self._stand_ins:
            self._stack.callback(each.settle, _Aside())
        self._stack.close()

    # What stands

    def _latest(self) -> StandIn:
        __tracebackhide__ = True
        return self._stand_ins[-1] if self._stand_ins else self._replay(self._asked)

    def _path(self, asked: Asked) -> Path:
        if asked.path is None:
            return fixture_of(self._item, self._run.folder)
        return given(asked.path, self._run.folder)

    def _needs_upstream(self, path: Path) -> bool:
        return self._run.mode in ("new", "rewrite", "verify") or (self._run.mode == "once" and not path.exists())

    def _replay(self, asked: Asked) -> StandIn:
        __tracebackhide__ = True
        self._check_test_runs()
        path, mode = self._path(asked), self._run.mode
        is_there = path.exists()
        if asked.upstream is None:
            if not is_there:
                self._raise_missing(path, asked)
            if self._needs_upstream(path):
                self._run.without_upstream.add(str(path))
            return self._played(asked, path, None)
        self._run.with_upstream.add(str(path))
        if not is_there and mode in ("none", "verify"):
            self._raise_missing(path, asked)
        if not is_there or (mode == "rewrite" and path.is_file() and str(path) not in self._run.written):
            return self._record(asked, path)
        return self._played(asked, path, self._running(asked) if mode in ("new", "verify") else None)

    def _played(self, asked: Asked, path: Path, upstream: str | None) -> StandIn:
        """Play a fixture; with an upstream, have what the mode says to do with it."""
        __tracebackhide__ = True
        self._run.used.update(map(str, path.rglob("*.duplex") if path.is_dir() else (path,)))
        mode = self._run.mode
        name = shown(path)
        capture = None
        if upstream is not None and mode == "new" and path.is_file():
            capture = self._capture(asked, path, upstream)
        mock = replay(
            name,
            expect=asked.expect,
            speed=float("inf") if asked.speed is None else asked.speed,
            ignore=asked.ignore or (),
            bind=asked.bind or (),
            metadata=asked.metadata,
            sessions=asked.sessions or (),
            methods=asked.methods or (),
            timeout_s=asked.timeout_s,
            descriptors=asked.descriptors,
            faults=asked.faults or (),
            unplayed=asked.unplayed or "fail",
            capture=capture,
        )
        drift = None
        if upstream is not None and mode == "verify":
            drift = lambda: self._drift(asked, path, upstream)  # noqa: E731 - a name for each would say no more
        try:
            return self._stand(Replayed(mock, advice=self._advice(asked, name), drift=drift, capture=capture))
        except DuplexmockError as exc:
            raise exc.with_traceback(None) from None  # its text is all there is to know

    def _record(self, asked: Asked, path: Path) -> StandIn:
        """Record, and keep it as the mode says when the test has passed."""
        __tracebackhide__ = True
        self._check_test_runs()
        if asked.descriptors is not None:  # a path that a replay would refuse is not to be recorded
            check_paths([of_source(asked.descriptors)], asked.ignore or (), asked.bind or ())
        upstream = self._running(asked)
        recorded = self._elsewhere() / path.name
        proxy = record(
            upstream,
            out=recorded,
            redact=asked.redact or (),
            descriptors=asked.descriptors,
            ignore=asked.ignore or (),
            bind=asked.bind or (),
            expect=asked.expect,
            notes={"test": self._item.nodeid},
        )
        stand_in = self._stand(Recorded(proxy))
        if self._run.mode in ("once", "new", "rewrite"):
            self._run.used.add(str(path))
            self._to_keep.append(lambda: self._keep(recorded, path))
        elif path.exists():
            self._run.used.add(str(path))
        return stand_in

    def _keep(self, recorded: Path, path: Path) -> None:
        if self._run.mode == "rewrite":
            keep_last(recorded, path)
        elif not keep_first(recorded, path):
            return
        self._run.written.add(str(path))

    def _capture(self, asked: Asked, path: Path, upstream: str) -> Capture:
        """Make what records the calls that no session fits, to be added to the fixture when the test has passed."""
        with Fixture.open(path) as fixture:
            redacted = fixture.header.redacted_keys
        capture = Capture(upstream, self._elsewhere() / path.name, (*redacted, *(asked.redact or ())))

        def add() -> None:
            for text in capture.warnings:
                warnings.warn(text, RuntimeWarning, stacklevel=1)
            if capture.count:
                with locked(path):
                    joined = self._elsewhere() / path.name
                    join(path, capture.out, joined)
                    replace(joined, path)
                self._run.written.add(str(path))

        self._to_keep.append(add)
        return capture

    def _drift(self, asked: Asked, path: Path, upstream: str) -> str:
        """Repeat the recorded requests on the live server; say what differs, or nothing."""
        background = Background("duplexmock-verify")
        try:
            name = shown(path)
            outcomes = background.run(
                replay_client_async(
                    name,
                    upstream,
                    expect="lanes",
                    ignore=asked.ignore or (),
                    bind=asked.bind or (),
                    metadata=asked.metadata,
                    sessions=asked.sessions or (),
                    methods=asked.methods or (),
                    timeout_s=asked.timeout_s,
                    descriptors=asked.descriptors,
                )
            )
        finally:
            background.close()
        if outcomes.agreed:
            return ""
        return (
            f"{name} agrees with the client, and the live server at {upstream} has drifted from it:\n"
            f"{outcomes}\nRecord it afresh: {self._again('rewrite')}"
        )

    def _running(self, asked: Asked) -> str:
        __tracebackhide__ = True
        try:
            return self._stack.enter_context(running(asked.upstream, self._fixture))
        except DuplexmockError as exc:
            raise exc.with_traceback(None) from None  # its text is all there is to know

    def _elsewhere(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="duplexmock-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _check_test_runs(self) -> None:
        __tracebackhide__ = True
        if self._is_over:
            raise ScriptError(f"the `duplex` of {self._item.nodeid}, which is over: nothing stands in for a server now")

    def _stand(self, standing: Replayed | Recorded) -> StandIn:
        stand_in = StandIn(standing)
        self._stand_ins.append(stand_in)
        return stand_in

    # What is said

    def _raise_missing(self, path: Path, asked: Asked) -> NoReturn:
        __tracebackhide__ = True
        if asked.upstream is not None:
            raise FixtureError(f"{shown(path)}: no such fixture; record it: {self._again('once')}")
        text = f"{shown(path)}: no such fixture, and no live server to record it from is given (upstream=...)"
        raise (FixtureError if self._run.mode in ("none", "verify") else ScriptError)(text)

    def _advice(self, asked: Asked, name: str) -> str:
        lines = []
        if asked.upstream is not None:
            lines.append(f"Recorded from another client? {self._again('rewrite')}")
        alone = shlex.join(["duplexmock", "replay", name])
        lines.append(f"Again: {self._again()}   (or: {alone} -- COMMAND)")
        return "\n".join(lines)

    def _again(self, mode: str = "") -> str:
        config = self._item.config
        path, *names = str(self._item.nodeid).split("::")  # a path below the root directory: people may be elsewhere
        words = ["pytest", "::".join((os.path.relpath(config.rootpath / path, config.invocation_params.dir), *names))]
        return shlex.join([*words, f"--duplexmock-record={mode}"] if mode else words)


def shown(path: Path) -> str:
    """Return a path as people read it: from where they are, where it is below."""
    here = os.getcwd() + os.sep
    text = str(path)
    return text.removeprefix(here)


class _Aside(Exception):
    """Stands for what a test has raised where nobody wants to know what became of its servers."""
