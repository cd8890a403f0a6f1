"""The plan of a play: which sessions of which fixtures, on which terms, with which values filled in."""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from duplexmock.core.events import ClientHeader, ServerHeader, ServerTrailer, Side
from duplexmock.core.lanes import Lanes
from duplexmock.core.metadata import Metadata
from duplexmock.core.method import is_chosen
from duplexmock.core.order import Order
from duplexmock.core.session import Session
from duplexmock.core.terms import FOR_EVER_S, Ordered, Terms
from duplexmock.errors import FixtureError, ScriptError
from duplexmock.play.repertoire import Reading, Source
from duplexmock.store.fixture import Fixture, misfit
from duplexmock.store.header import Expect
from duplexmock.store.redact import is_redacted

if TYPE_CHECKING:
    from duplexmock.core.learned import Needs

DEFAULT_TIMEOUT_S = 10.0
"""For each event of the peer, besides what it took in the recording: its own timers are not ours to hurry."""


@dataclass(frozen=True, slots=True)
class Options:
    """How fixtures are played; what is None or empty is as the fixture says.

    `expect` is what is demanded of the peer. `order` is a word that our own lane waits by, instead of what was seen.
    `metadata` are values for keys that were redacted, and as the client for others. `sessions` and `methods` choose.
    `repeat` passes are made over the fixtures. The peer has `timeout_s` for each of its events; None gives it
    DEFAULT_TIMEOUT_S, and what it took in the recording on top.
    """

    expect: Expect | None = None
    order: str | None = None
    speed: float = math.inf
    metadata: Mapping[str, str] = field(default_factory=dict)
    sessions: Sequence[int] = ()
    methods: Sequence[str] = ()
    repeat: int = 1
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ScriptError(f"speed {self.speed:g}: not more than 0; 1 is as recorded, inf as fast as possible")
        if self.repeat < 1:
            raise ScriptError(f"repeat {self.repeat}: at least 1")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ScriptError(f"timeout {self.timeout_s:g}: not more than 0 seconds")


def find(paths: Sequence[Path | str]) -> list[Path]:
    """Return the fixtures meant: a file is itself, a folder all `*.duplex` below it; FixtureError where none are."""
    if not paths:
        raise ScriptError("no fixtures were given")
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            below = sorted(path.rglob("*.duplex"))
            if not below:
                raise FixtureError(f"{path}: no fixtures (*.duplex) in this folder")
            found += below
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def source(fixture: Fixture, name: str, side: Side, options: Options, reading: Reading) -> Source:
    """Return the sessions of one fixture as they are to be played.

    ScriptError where the options do not fit the fixture: a session that is not there, an order that is not known.
    """
    expect = options.expect or fixture.expectations.expect
    learned = fixture.needs
    chosen = sorted(set(options.sessions))
    for number in chosen:
        fixture.check(number)
    known = fixture.methods
    methods = {number: known[number] for number in chosen or known if is_chosen(known[number], options.methods)}
    unlearned = [number for number in methods if (number, side.other) not in learned]
    if expect == "order" and unlearned:
        raise ScriptError(_not_learned(name, side, unlearned[0]))

    given = {key.lower(): value for key, value in options.metadata.items()}

    def lanes(session: Session) -> Lanes:
        return _filled(Lanes.of(session), name, side, given)

    ordered = Ordered.YES
    if expect == "lanes" or (expect is None and unlearned):
        ordered = Ordered.NOT_ASKED
    elif expect != "strict" and methods and all(learned[number, side.other].is_unknown for number in methods):
        ordered = Ordered.ALL_UNKNOWN
    return Source(
        name,
        lambda: fixture.chosen(chosen, options.methods),
        lanes,
        lambda lanes: terms(lanes, name, side, expect, options, learned),
        reading,
        ordered,
        methods,
    )


def check_chosen(sources: Sequence[Source], options: Options) -> None:
    """Raise ScriptError where nothing is to be played, or a glob chooses nothing: a typo must not be green."""
    there = {method for each in sources for method in (each.methods or {}).values()}
    for glob in options.methods:
        if not any(is_chosen(method, (glob,)) for method in there):
            raise ScriptError(f"method {glob!r}: no session is of such a method")
    if not there:
        raise ScriptError(f"{', '.join(each.name for each in sources)}: no sessions to play")


def terms(
    lanes: Lanes,
    name: str,
    side: Side,
    expect: Expect | None,
    options: Options,
    learned: Mapping[tuple[int, Side], Needs] = MappingProxyType({}),
) -> Terms:
    """Return on which terms lanes are played.

    Our lane waits by the order that is given, for what it needs where that was learned, or else as seen. Where nothing
    is said of `expect`, the order is demanded of the peer as far as it was learned.
    """
    lengths = len(lanes.client), len(lanes.server)
    own = lanes.seen
    own_needs, peer_needs = (_fitting(learned.get((lanes.number, each)), lanes, name) for each in (side, side.other))
    if options.order is not None:
        own = Order.word(options.order)
        if (len(own.client), len(own.server)) != lengths:
            raise ScriptError(
                f"{name}: order {options.order!r} spells {len(own.client)} events of the client and {len(own.server)} "
                f"of the server; session {lanes.number} has {lengths[0]} and {lengths[1]}"
            )
        own_needs = None
    gate = own.of(side)
    demanded = lanes.seen
    if expect != "strict":
        demanded = Order((0,) * lengths[0], (1,) * lengths[1])
    need = demanded.of(side.other)
    if expect in ("lanes", "strict"):
        peer_needs = None
    return Terms(
        gate if own_needs is None else own_needs.gate,
        need if peer_needs is None else peer_needs.demand,
        options.speed,
        round(min(options.timeout_s or DEFAULT_TIMEOUT_S, FOR_EVER_S) * 1e9),
        options.timeout_s is not None,
        own_needs,
        peer_needs,
    )


def _fitting(needs: Needs | None, lanes: Lanes, name: str) -> Needs | None:
    """Return what was learned of a lane; FixtureError where it is of another one."""
    if needs is not None and not needs.fits(len(lanes.lane(needs.side)), len(lanes.lane(needs.side.other))):
        raise FixtureError(f"{name}: session {lanes.number}: {misfit(needs.side)}")
    return needs


def _not_learned(name: str, side: Side, number: int) -> str:
    """Say that the order is not known, and how to learn it."""
    peer = side.other.name.lower()
    how = "--target HOST:PORT" if side is Side.CLIENT else "-- COMMAND"
    return (
        f"{name}: expect 'order' demands what the {peer} needs, which has not been learned of session {number}; learn "
        f"it (duplexmock learn {shlex.quote(name)} {how}), or use 'lanes', or 'strict' for the order that was seen"
    )


def _filled(lanes: Lanes, name: str, side: Side, given: Mapping[str, str]) -> Lanes:
    """Put values in the place of what was redacted in our own metadata, and as the client add what is given."""
    lane = list(lanes.lane(side))
    for position, step in enumerate(lane):
        event = step.event
        if isinstance(event, ClientHeader | ServerHeader | ServerTrailer):
            metadata = _fill(event.metadata, given, f"{name}: session {lanes.number}", side)
            if metadata != event.metadata:
                lane[position] = replace(step, event=replace(event, metadata=metadata))
    return replace(lanes, client=tuple(lane)) if side is Side.CLIENT else replace(lanes, server=tuple(lane))


def _fill(metadata: Metadata, given: Mapping[str, str], where: str, side: Side) -> Metadata:
    pairs: list[tuple[str, str | bytes]] = []
    for key, value in metadata:
        if key in given and (side is Side.CLIENT or is_redacted(value)):
            if key not in dict(pairs):
                pairs.append((key, metadata_value(key, given[key])))
        elif side is Side.CLIENT and is_redacted(value):
            raise ScriptError(f"{where}: the value of {key!r} was redacted; give one: --metadata {key}=VALUE")
        else:
            pairs.append((key, value))
    if side is Side.CLIENT:
        there = {key for key, _ in pairs}
        pairs += [(key, metadata_value(key, value)) for key, value in given.items() if key not in there]
    return Metadata(tuple(pairs))


def metadata_value(key: str, text: str) -> str | bytes:
    """Return a value as metadata has it: for a `-bin` key the bytes that `text` is base64 of, or ScriptError."""
    if not key.endswith("-bin"):
        return text
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as exc:
        raise ScriptError(f"metadata {key}={text}: the value of a -bin key is written in base64") from exc
