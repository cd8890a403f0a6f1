"""Learning: a fixture and a live peer in; what the peer needs, and which fields change, out, and into the fixture.

What is written is what all probes agree on. A peer that is lost, or says one thing in one probe and another in the
next, is no peer to learn from: MismatchError says so, and the fixture stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from duplexmock.core.events import ClientMessage, ServerMessage, Side
from duplexmock.core.learned import Needs, Probed, ending_of, gave_up, learn, shape
from duplexmock.core.matching import named
from duplexmock.core.session import Ended, Session
from duplexmock.errors import FixtureError, MismatchError, ScriptError
from duplexmock.learn.alignment import same_messages
from duplexmock.learn.candidates import candidates
from duplexmock.learn.probes import Held, Run, hold_ns_for, probe, probes_for, stretch
from duplexmock.learn.proposals import Proposals, propose
from duplexmock.net import address
from duplexmock.net.background import Background, check_may_block
from duplexmock.net.replay import perform
from duplexmock.net.server import Server
from duplexmock.net.stage import Stage
from duplexmock.play.plan import DEFAULT_TIMEOUT_S, Options
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.sources import Source, given
from duplexmock.store.amend import amend
from duplexmock.store.fixture import Fixture
from duplexmock.store.header import Expectations

if TYPE_CHECKING:
    from duplexmock.net.address import Address


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

    `hold_s` and `runs`, how many probes are made, are chosen by the recording where they are None. `ignore` and `bind`
    are added to what the fixture carries. ScriptError and FixtureError where the fixture cannot be learned from: before
    anything is said to anybody.
    """

    def __init__(
        self,
        path: Path | str,
        side: Side,
        *,
        hold_s: float | None = None,
        runs: int | None = None,
        ignore: Sequence[str] = (),
        bind: Sequence[tuple[str, str]] = (),
        metadata: Mapping[str, str] | None = None,
        sessions: Sequence[int] = (),
        methods: Sequence[str] = (),
        timeout_s: float = DEFAULT_TIMEOUT_S,
        descriptors: Descriptors | None = None,
    ) -> None:
        if hold_s is not None and not 0 < hold_s < _FOR_EVER_S:
            raise ScriptError(f"hold {hold_s:g}: not a number of seconds more than 0 and less than {_FOR_EVER_S:,.0f}")
        if runs is not None and runs < 2:
            raise ScriptError(f"runs {runs}: at least 2; one probe cannot tell a reaction from a clock")
        self.path = path
        self.side = side
        self._options = Options(
            "lanes", None, metadata=metadata or {}, sessions=sessions, methods=methods, timeout_s=timeout_s
        )
        self.recorded, self._started_at_ns, self._descriptors = _read(path, self._options)
        if descriptors is not None:
            self._descriptors = descriptors if self._descriptors is None else descriptors.merge(self._descriptors)
        self._stage = partial(
            Stage, [path], side.other, self._options, descriptors=descriptors, ignore=ignore, bind=bind
        )
        self._stage().close()  # what does not fit is refused now
        self.hold_ns = hold_ns_for(self.recorded, side) if hold_s is None else round(hold_s * 1e9)
        self.probes = probes_for(self.recorded) if runs is None else runs
        self._may_go_on = runs is None
        self._overlap = probes_for(self.recorded) > 2

    @property
    def lasts_ns(self) -> int:
        """Return how long it takes, at the most and about, when the peer is as slow as it was recorded."""
        events = sum(len(session.lane(self.side.other)) for session in self.recorded)
        times_ns = [entry.at_ns for session in self.recorded for entry in session.entries]
        recorded_ns = max(times_ns) - min(times_ns)
        return sum(round(self.hold_ns * stretch(turn)) * events + recorded_ns for turn in range(self.probes))

    async def learn(self, run: Run, done: Callable[[int], None] = lambda probe: None) -> Lesson:
        """Make all probes; `done` is told of each. MismatchError where nothing can be learned from them.

        One more is made where something came late in one of two: it may have been the machine that was slow. What came
        back in the recording is bound (candidates.py), unless the peer goes on as recorded only without. Raises
        what the peer's own code has raised, unless it did what the recording has of it, or gave up.
        """
        held: list[Held] = []
        needs: tuple[Needs, ...] = ()
        tried = await asyncio.to_thread(candidates, self.recorded, self.side, self._descriptors)
        takes_turns = True
        while len(held) < self.probes:
            turn = len(held)
            latest = await self._probe(turn, takes_turns, run, tried)
            if tried and not turn and self._has_said_others(latest) and not self._is_as_recorded(latest):
                without = await self._probe(turn, takes_turns, run, ())
                if self._is_as_recorded(without):
                    latest, tried = without, ()  # what came back in the recording was not meant to
            if takes_turns and turn and self._overlap and not self._is_like(held[0], latest):
                takes_turns = False  # the calls need one another's order, and this probe has changed it
                continue
            held.append(latest)
            if latest.raised is not None and not self._has_played(latest):
                raise latest.raised
            _check(held, self.recorded, self.side)
            done(turn + 1)
            if len(held) == self.probes:
                needs = await asyncio.to_thread(self._needs, held)
                is_late = any(need.is_late for each in needs for need in each.lane)
                if is_late and self._may_go_on and self.probes < MOST_PROBES:
                    self.probes += 1
        _check_against_the_recording(held, self.recorded, self.side)
        runs = [self.recorded, *([each.sessions[session.number] for session in self.recorded] for each in held)]
        proposals = await asyncio.to_thread(propose, runs, self._descriptors)
        return Lesson(self.side, self.recorded, needs, proposals, self.hold_ns, len(held))

    def keep(self, *lessons: Lesson, write_proposals: bool = False) -> None:
        """Write what was learned into the fixture, and on demand the proposals into its expectations.

        What is unknown now and was known before stays known.
        """
        with Fixture.open(self.path) as fixture:
            known, there = fixture.needs, fixture.expectations
        needs = [each.with_known(known.get((each.number, each.side))) for lesson in lessons for each in lesson.needs]
        expectations = None
        if write_proposals:
            proposals = [lesson.proposals for lesson in lessons]
            expectations = Expectations(
                tuple(dict.fromkeys((*there.ignore, *(path for each in proposals for path in each.ignore)))),
                tuple(dict.fromkeys((*there.bind, *(pair for each in proposals for pair in each.bind)))),
                there.expect,
            )
        amend(self.path, needs, expectations, started_at_ns=self._started_at_ns)

    def _needs(self, held: Sequence[Held]) -> tuple[Needs, ...]:
        return tuple(learn(session, self._probed(session, held), self.side) for session in self.recorded)

    async def _probe(self, turn: int, takes_turns: bool, run: Run, tried: Sequence[tuple[str, str]]) -> Held:
        make_stage = partial(self._stage, tried=tried)
        return await probe(make_stage, self.recorded, self.side, self.hold_ns, turn, takes_turns, run)

    def _has_said_others(self, held: Held) -> bool:
        """Tell whether we said messages that were not recorded: what was tried has replaced a value."""
        side = self.side.other
        return any(
            ours.payload != as_recorded.payload
            for session in self.recorded
            if (played := held.sessions.get(session.number)) is not None
            for ours, as_recorded in zip(_messages(played, side), _messages(session, side), strict=False)
        )

    def _is_as_recorded(self, held: Held) -> bool:
        """Tell whether the peer said as much as recorded, and ended as recorded."""
        return not held.strangers and all(
            (played := held.sessions.get(session.number)) is not None
            and shape(session, played, self.side) == shape(session, session, self.side)
            for session in self.recorded
        )

    def _is_like(self, first: Held, other: Held) -> bool:
        """Tell whether the peer said as much in one probe as in another."""
        return not other.strangers and all(
            number in other.sessions
            and shape(session, played, self.side) == shape(session, other.sessions[number], self.side)
            for session in self.recorded
            if (played := first.sessions.get(number := session.number)) is not None
        )

    def _has_played(self, held: Held) -> bool:
        """Tell whether the peer did all that the recording has of it, or gave up under a hold."""
        return all(
            (played := held.sessions.get(session.number)) is not None
            and (
                shape(session, played, self.side) == shape(session, session, self.side)
                or gave_up(session, played, self.side)
            )
            for session in self.recorded
        )

    def _probed(self, recorded: Session, held: Sequence[Held]) -> list[Probed]:
        """Return what took place in each probe of one session."""
        return [
            Probed(
                played := each.sessions[recorded.number],
                same_messages(recorded, played, self.side, self._descriptors),
                each.hold_ns,
                each.said_ns,
            )
            for each in held
        ]


def against(target: Address) -> Run:
    """Return what plays the client against a live server."""

    async def run(stage: Stage) -> None:
        await perform(stage, target)

    return run


def serving(listen: Address, client: Client) -> Run:
    """Return what plays the server to `client`, which returns when it is through."""

    async def run(stage: Stage) -> Exception | None:
        server = Server(stage.play, stage.clock)
        target = await server.start(listen)
        try:
            await client(str(target), server)
        except Exception as exc:  # of somebody else's code
            return exc
        finally:
            await server.stop(_GRACE_S)
        return None

    return run


def learn_server(
    path: Path | str,
    target: str,
    *,
    hold_s: float | None = None,
    runs: int | None = None,
    ignore: Sequence[str] = (),
    bind: Sequence[tuple[str, str]] = (),
    metadata: Mapping[str, str] | None = None,
    sessions: Sequence[int] = (),
    methods: Sequence[str] = (),
    timeout_s: float = DEFAULT_TIMEOUT_S,
    descriptors: Source | None = None,
    write: bool = False,
) -> Lesson:
    """Learn what the server at `target` needs, and write it into the fixture at `path`.

        duplexmock.learn_server("chat.duplex", "127.0.0.1:50051")

    The recorded requests are repeated on that server, once for each probe, one event at a time and with longer
    deadlines. It has to begin each of them as it began the recorded one: what it remembers of the one before looks like
    something that it does not need. Each event is held back until nothing has come for `hold_s` seconds, and longer in
    later probes; None is twice the slowest reaction of the recording, and at least 0.1. `runs` is how many probes are
    made, None chooses: 2, or 3 where calls overlapped or something came late. `ignore` and `bind` are as in `replay`,
    and are added to those of the fixture. What came back in the recording is bound unasked, if it could not by chance;
    where the server does not go on with it, the first probe is made once more without. `metadata` has values for keys
    that were redacted, `sessions` and `methods` (globs) choose. When all has been said the server has `timeout_s` for
    the rest. `write` puts the proposals into the fixture's expectations as well.

    Blocks until it is done. Raises ScriptError where nobody answers at `target`, FixtureError where the fixture cannot
    be read or written, and MismatchError where the server is lost or the probes disagree: then the fixture is as it
    was.
    """
    check_may_block("learn_server", "asyncio.to_thread(learn_server, ...)")
    experiment = Experiment(
        path,
        Side.SERVER,
        hold_s=hold_s,
        runs=runs,
        ignore=ignore,
        bind=bind,
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
    runs: int | None = None,
    ignore: Sequence[str] = (),
    bind: Sequence[tuple[str, str]] = (),
    metadata: Mapping[str, str] | None = None,
    sessions: Sequence[int] = (),
    methods: Sequence[str] = (),
    timeout_s: float = DEFAULT_TIMEOUT_S,
    descriptors: Source | None = None,
    write: bool = False,
) -> Lesson:
    """Learn what a client needs, and write it into the fixture at `path`.

        duplexmock.learn_client("chat.duplex", run_client)

    `client` is called once for each probe, on a thread, with the address of a server that plays the recorded one and
    holds each of its events back; it has to return when it is through, or this does not. What it raises is raised here,
    unless the client did what the recording has of it, or gave up under a hold. The other arguments, and what else is
    raised, are as in `learn_server`.
    """
    check_may_block("learn_client", "asyncio.to_thread(learn_client, ...)")
    experiment = Experiment(
        path,
        Side.CLIENT,
        hold_s=hold_s,
        runs=runs,
        ignore=ignore,
        bind=bind,
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
    experiment.keep(lesson, write_proposals=write)
    return lesson


def _messages(session: Session, side: Side) -> list[ClientMessage | ServerMessage]:
    return [event for event in session.lane(side) if isinstance(event, ClientMessage | ServerMessage)]


def _read(path: Path | str, options: Options) -> tuple[tuple[Session, ...], int, Descriptors | None]:
    """Read the sessions that are to be learned, and when their recording began.

    FixtureError where what is learned could not be kept.
    """
    with Fixture.open(path) as fixture:
        if fixture.why_incomplete:
            raise FixtureError(f"{path}: {fixture.why_incomplete}; only a whole recording can be learned from")
        recorded = tuple(fixture.chosen(sorted(set(options.sessions)), options.methods))
        serialized, started_at_ns = fixture.descriptors, fixture.header.started_at_ns
    if not recorded:
        raise ScriptError(f"{path}: no sessions to learn from")
    return recorded, started_at_ns, Descriptors(serialized, f"{path}: descriptors") if serialized else None


def _check(held: Sequence[Held], recorded: Sequence[Session], side: Side) -> None:
    """Raise MismatchError where the latest probe cannot be believed."""
    number, latest, peer = len(held), held[-1], side.name.lower()
    if latest.strangers:
        method = latest.strangers[0]
        if any(session.method == method for session in recorded):
            raise MismatchError(
                f"probe {number}: the client opened more calls of {method} than were recorded; {_NOTHING}"
            )
        raise MismatchError(f"probe {number}: the client opened a call of {method}, which was not recorded; {_NOTHING}")
    for session in recorded:
        there = f"session {session.number} ({session.method})"
        played = latest.sessions.get(session.number)
        if played is None:
            raise MismatchError(f"probe {number}: the client did not open {there}; {_NOTHING}")
        if played.ended in _FALLEN and session.ended is not played.ended:
            why = f" ({named(played.reason)})" if played.reason else ""
            raise MismatchError(f"probe {number}: the {peer} {_FALLEN[played.ended]} in {there}{why}; {_NOTHING}")
        _check_that_they_agree(session, [each.sessions[session.number] for each in held], side)


def _check_that_they_agree(recorded: Session, probes: Sequence[Session], side: Side) -> None:
    """Raise MismatchError where the latest probe ended as none before it did, but by giving up.

    How many messages there were may differ: a timer brings more of them in a longer probe. What is missing is unknown,
    an end included: on a busy machine a client may be told the status before it could say all.
    """
    ended = [
        (number, played)
        for number, played in enumerate(probes, start=1)
        if ending_of(played.lane(side)) and not gave_up(recorded, played, side)
    ]
    if not ended or ended[-1][1] is not probes[-1]:
        return
    (first, before), (latest, played) = ended[0], ended[-1]
    if ending_of(before.lane(side)) != ending_of(played.lane(side)):
        peer = side.name.lower()
        raise MismatchError(
            f"the probes disagree on session {recorded.number} ({recorded.method}): in probe {first} the {peer} sent "
            f"{shape(recorded, before, side)}, in probe {latest} {shape(recorded, played, side)}; {_NOTHING}"
        )


def _check_against_the_recording(held: Sequence[Held], recorded: Sequence[Session], side: Side) -> None:
    """Raise MismatchError where a peer said less than recorded or ended otherwise in every probe, but by giving up."""
    peer = side.name.lower()
    for session in recorded:
        played = [each.sessions[session.number] for each in held]
        if not ending_of(session.lane(side)) or any(gave_up(session, each, side) for each in played):
            continue
        was, said = shape(session, session, side), [shape(session, each, side) for each in played]
        if was not in said:
            raise MismatchError(
                f"session {session.number} ({session.method}): the {peer} sent {said[-1]} in every probe, and {was} in "
                f"the recording; {_NOTHING}"
            )


MOST_PROBES = 3
"""That are made unasked."""

_FALLEN = {Ended.CONNECTION_LOST: "was lost", Ended.DAMAGED: "broke the protocol"}
_NOTHING = "nothing was learned, and the fixture is as it was"
_FOR_EVER_S = 1e6
_GRACE_S = 1.0
"""How long calls that are open when the client is through may take to end."""
