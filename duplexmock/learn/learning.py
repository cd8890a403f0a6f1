"""Learning: a fixture and a live peer in; what the peer needs, and which fields change, out, and into the fixture.

What is written is what all probes agree on. A peer that is lost, or says one thing in one probe and another in the
next, is no peer to learn from: MismatchError says so, and the fixture stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from duplexmock.core.events import Side
from duplexmock.core.learned import Needs, Probed, gave_up, learn, shape
from duplexmock.core.method import is_chosen
from duplexmock.core.session import Ended, Session
from duplexmock.errors import FixtureError, MismatchError, ScriptError
from duplexmock.learn.alignment import Proposals, propose, same_messages
from duplexmock.learn.probes import Held, Run, hold_ns_for, probe, probes_for
from duplexmock.net import address
from duplexmock.net.background import Background
from duplexmock.net.replay import perform
from duplexmock.net.server import Server
from duplexmock.play.plan import Options
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.sources import Source, given
from duplexmock.store.amend import amend
from duplexmock.store.fixture import Fixture
from duplexmock.store.header import Expectations

if TYPE_CHECKING:
    from duplexmock.net.address import Address
    from duplexmock.net.stage import Stage


Client = Callable[[str, Server], Awaitable[None]]
"""Makes the client's calls at the address that it is given, of the server that is given as well."""


class Lesson(NamedTuple):
    """What was learned of a fixture: what each session's `side` needs, by probes that held at least `hold_ns`.

    `recorded` are the sessions, in the same order. `proposals` are the fields that change from play to play.
    """

    side: Side
    recorded: tuple[Session, ...]
    needs: tuple[Needs, ...]
    proposals: Proposals
    hold_ns: int
    probes: int


class Experiment:
    """What is to be learned: the needs of `side` in the sessions of the fixture at `path`.

    `hold_s` and `probes` None choose by the recording. ScriptError and FixtureError where the fixture cannot be learned
    from: before anything is said to anybody.
    """

    def __init__(
        self,
        path: Path | str,
        side: Side,
        *,
        hold_s: float | None = None,
        probes: int | None = None,
        metadata: Mapping[str, str] | None = None,
        sessions: Sequence[int] = (),
        methods: Sequence[str] = (),
        timeout_s: float = 10.0,
        descriptors: Descriptors | None = None,
    ) -> None:
        if hold_s is not None and not 0 < hold_s < _FOR_EVER_S:
            raise ScriptError(f"hold {hold_s:g}: more than 0 seconds")
        if probes is not None and probes < 1:
            raise ScriptError(f"runs {probes}: at least 1")
        self.path = path
        self.side = side
        self._options = Options(
            "lanes", None, metadata=metadata or {}, sessions=sessions, methods=methods, timeout_s=timeout_s
        )
        self.recorded, self._descriptors = _read(path, self._options)
        if descriptors is not None:
            self._descriptors = descriptors if self._descriptors is None else descriptors.merge(self._descriptors)
        self.hold_ns = hold_ns_for(self.recorded, side) if hold_s is None else round(hold_s * 1e9)
        self.probes = probes_for(self.recorded) if probes is None else probes

    async def learn(self, run: Run, done: Callable[[int], None] = lambda probe: None) -> Lesson:
        """Make all probes; `done` is told of each. MismatchError where nothing can be learned from them."""
        held: list[Held] = []
        for turn in range(self.probes):
            held.append(await probe(self.path, self.recorded, self.side, self.hold_ns, turn, self._options, run))
            _check(held, self.recorded, self.side)
            done(turn + 1)
        needs = [learn(session, self._probed(session, held), self.side) for session in self.recorded]
        runs = [self.recorded, *([each.sessions[session.number] for session in self.recorded] for each in held)]
        proposals = propose(runs, self._descriptors)
        return Lesson(self.side, self.recorded, tuple(needs), proposals, self.hold_ns, self.probes)

    def keep(self, lesson: Lesson, write_proposals: bool = False) -> None:
        """Write what was learned into the fixture, and on demand the proposals into its expectations."""
        amend(self.path, lesson.needs, self._extended(lesson.proposals) if write_proposals else None)

    def _probed(self, recorded: Session, held: Sequence[Held]) -> list[Probed]:
        """Return what took place in each probe of one session."""
        sessions = [each.sessions[recorded.number] for each in held]
        return [Probed(each, same_messages(recorded, each, self.side, self._descriptors)) for each in sessions]

    def _extended(self, proposals: Proposals) -> Expectations:
        with Fixture.open(self.path) as fixture:
            there = fixture.expectations
        return Expectations(
            tuple(dict.fromkeys((*there.ignore, *proposals.ignore))),
            tuple(dict.fromkeys((*there.bind, *proposals.bind))),
            there.expect,
        )


def against(target: Address) -> Run:
    """Return what plays the client against a live server."""

    async def run(stage: Stage) -> None:
        await perform(stage, target)

    return run


def serving(listen: Address, client: Client) -> Run:
    """Return what plays the server to `client`, which returns when it is through."""

    async def run(stage: Stage) -> None:
        server = Server(stage.play, stage.clock)
        target = await server.start(listen)
        try:
            await client(str(target), server)
        finally:
            await server.stop(_GRACE_S)

    return run


def learn_server(
    path: Path | str,
    target: str,
    *,
    hold_s: float | None = None,
    probes: int | None = None,
    metadata: Mapping[str, str] | None = None,
    sessions: Sequence[int] = (),
    methods: Sequence[str] = (),
    timeout_s: float = 10.0,
    descriptors: Source | None = None,
    write: bool = False,
) -> Lesson:
    """Learn what the server at `target` needs, and write it into the fixture at `path`.

        duplexmock.learn_server("chat.duplex", "127.0.0.1:50051")

    The recorded requests are repeated on that server, once for each probe, one event at a time and with longer
    deadlines. Each is held back until nothing has come for `hold_s` seconds; None is twice the slowest reaction of the
    recording, and at least 0.1. `probes` None is 2, or 3 where calls overlapped. `metadata` has values for keys that
    were redacted, `sessions` and `methods` (globs) choose. When all has been said the server has `timeout_s` for the
    rest. `write` puts the proposals into the fixture's expectations as well.

    Blocks until it is done. Raises ScriptError where nobody answers at `target`, FixtureError where the fixture cannot
    be read or written, and MismatchError where the server is lost or the probes disagree: then the fixture is as it
    was.
    """
    experiment = Experiment(
        path,
        Side.SERVER,
        hold_s=hold_s,
        probes=probes,
        metadata=metadata,
        sessions=sessions,
        methods=methods,
        timeout_s=timeout_s,
        descriptors=given(descriptors),
    )
    return _learned(experiment, against(address.parse_target(target, "target")), write)


def learn_client(
    path: Path | str,
    client: Callable[[str], object],
    *,
    listen: str = "127.0.0.1:0",
    hold_s: float | None = None,
    probes: int | None = None,
    metadata: Mapping[str, str] | None = None,
    sessions: Sequence[int] = (),
    methods: Sequence[str] = (),
    timeout_s: float = 10.0,
    descriptors: Source | None = None,
    write: bool = False,
) -> Lesson:
    """Learn what a client needs, and write it into the fixture at `path`.

        duplexmock.learn_client("chat.duplex", run_client)

    `client` is called once for each probe, on a thread, with the address of a server that plays the recorded one and
    holds each of its events back; it returns when it is through. What it raises is raised here, unless the client did
    what the recording has of it. The other arguments, and what is raised, are as in `learn_server`.
    """
    experiment = Experiment(
        path,
        Side.CLIENT,
        hold_s=hold_s,
        probes=probes,
        metadata=metadata,
        sessions=sessions,
        methods=methods,
        timeout_s=timeout_s,
        descriptors=given(descriptors),
    )

    async def play(target: str, server: Server) -> None:
        await asyncio.to_thread(client, target)

    return _learned(experiment, serving(address.parse(listen, "listen"), play), write)


def _learned(experiment: Experiment, run: Run, write: bool) -> Lesson:
    background = Background("duplexmock-learn")
    try:
        lesson = background.run(experiment.learn(run))
    finally:
        background.close()
    experiment.keep(lesson, write)
    return lesson


def _read(path: Path | str, options: Options) -> tuple[tuple[Session, ...], Descriptors | None]:
    """Read the sessions that are to be learned; FixtureError where what is learned could not be kept."""
    with Fixture.open(path) as fixture:
        if fixture.why_incomplete:
            raise FixtureError(f"{path}: {fixture.why_incomplete}; only a whole recording can be learned from")
        for number in options.sessions:
            fixture.check(number)
        recorded = tuple(
            session
            for session in fixture.sessions()
            if (not options.sessions or session.number in options.sessions)
            and is_chosen(session.method, options.methods)
        )
        serialized = fixture.descriptors
    if not recorded:
        raise ScriptError(f"{path}: no sessions to learn from")
    return recorded, Descriptors(serialized, f"{path}: descriptors") if serialized else None


def _check(held: Sequence[Held], recorded: Sequence[Session], side: Side) -> None:
    """Raise MismatchError where the latest probe cannot be believed."""
    number, latest, peer = len(held), held[-1], side.name.lower()
    if latest.strangers:
        raise MismatchError(
            f"probe {number}: the client opened a call of {latest.strangers[0]} that was not recorded; {_NOTHING}"
        )
    for session in recorded:
        there = f"session {session.number} ({session.method})"
        played = latest.sessions.get(session.number)
        if played is None:
            raise MismatchError(f"probe {number}: the client did not open {there}; {_NOTHING}")
        if played.ended in (Ended.CONNECTION_LOST, Ended.DAMAGED) and session.ended is not played.ended:
            why = f" ({played.reason})" if played.reason else ""
            raise MismatchError(f"probe {number}: the {peer} was lost in {there}{why}; {_NOTHING}")
        said = [shape(session, each.sessions[session.number], side) for each in held]
        if said[-1] != said[0] and not gave_up(session, played, side):
            raise MismatchError(
                f"the probes disagree on {there}: in probe 1 the {peer} sent {said[0]}, in probe {number} {said[-1]}; "
                f"{_NOTHING}"
            )


_NOTHING = "nothing was learned, and the fixture is as it was"
_FOR_EVER_S = 1e6
_GRACE_S = 1.0
"""How long calls that are open when the client is through may take to end."""
