"""What to ignore and what to bind, from several runs of the same program.

    propose(runs)       Proposals(ignore=('/chat.Chat/Join<3', 'metadata:x-request-id'),
                                  bind=(('/chat.Chat/Join>1', '/chat.Chat/Join<2'),))

The runs are aligned, calls by their method and messages by what agrees, and what differs in messages that belong
together is new each time. Where such a value first appeared on the other lane, in every run, it is bound; else it is
ignored. Where a bind learns a value it is not compared anyway, and is not proposed to be ignored as well; a value that
its own side said before, in another field, is one that only that side knows, and is ignored.

A field is proposed for its message type, `chat.Message.id`, where all that was said in such messages agrees with it;
else, or where no descriptors are known, for its method and side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from duplexmock.core.events import (
    ClientHeader,
    ClientMessage,
    Event,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
    side_of,
)
from duplexmock.core.matching import TRANSPORT_KEYS, match_metadata
from duplexmock.core.session import Session
from duplexmock.errors import ProtocolError, ScriptError
from duplexmock.learn.fields import LaneField, Said, Shape, differences, leaves, said, shape_of
from duplexmock.learn.likeness import Features, align
from duplexmock.learn.relations import Appearance, Appearances, Moment, sources
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.fieldpath import parse
from duplexmock.schema.payload import codec, encoding, plain
from duplexmock.schema.scalars import Scalar
from duplexmock.store.redact import is_redacted

MAX_VALUES = 64
"""Values of a message that it is recognised by; those of a call are four times as many."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """What the runs of one program suggest: paths as `--ignore` takes them, pairs FROM and TO as `--bind` does.

    FROM is where the value first appears, TO the later field on the other lane that repeats it. Both are sorted.
    """

    ignore: tuple[str, ...] = ()
    bind: tuple[tuple[str, str], ...] = ()


def propose(runs: Sequence[Sequence[Session]], descriptors: Descriptors | None = None) -> Proposals:
    """Return what differs between the runs, each given as its sessions; ScriptError for fewer than two runs."""
    if len(runs) < 2:
        raise ScriptError(
            f"{'one run was' if runs else 'no runs were'} given; what differs each time is seen in two or more of them"
        )
    read = _read(runs, descriptors)
    found = _Found()
    for call in (call for calls in read for call in calls):
        for message in (*call.lanes[Side.CLIENT], *call.lanes[Side.SERVER]):
            found.know(message)
    for ours, theirs in _pairs(read):
        for our, their in _aligned(ours, theirs):
            found.compare(our, their)
    return found.proposals()


def same_messages(
    recorded: Session, other: Session, side: Side, descriptors: Descriptors | None = None
) -> dict[int, int]:
    """Return which message of `side` in another session is which of the recorded ones: places in the lane, from 0.

    Those that are equal byte for byte are the same, the first with the first, in whatever order they came: what other
    calls did may have put one before another. The rest are aligned by what agrees.
    """
    ours, theirs = (
        [event.payload for event in session.lane(side) if isinstance(event, ClientMessage | ServerMessage)]
        for session in (recorded, other)
    )
    places: dict[bytes, list[int]] = {}
    for place in range(len(theirs) - 1, -1, -1):
        places.setdefault(theirs[place], []).append(place)
    same = {place: places[payload].pop() for place, payload in enumerate(ours) if places.get(payload)}
    if len(same) == len(ours):
        return same
    taken = set(same.values())
    our_left = [place for place in range(len(ours)) if place not in same]
    their_left = [place for place in range(len(theirs)) if place not in taken]
    our_call, their_call = (calls[0] for calls in _read([[recorded], [other]], descriptors))
    pairs = align(
        [our_call.lanes[side][place].features for place in our_left],
        [their_call.lanes[side][place].features for place in their_left],
    )
    return same | {our_left[our]: their_left[their] for our, their in pairs}


@dataclass(frozen=True, slots=True, eq=False)
class _Message:
    """A message as it was read, None where it cannot be, and what it is recognised by."""

    moment: Moment
    said: Said | None
    features: Features


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """A session, and its messages by side."""

    session: Session
    lanes: dict[Side, list[_Message]]

    @property
    def features(self) -> Features:
        """Return what the call is recognised by."""
        keys = [
            (key, value)
            for key, value in self.session.header.metadata
            if key not in TRANSPORT_KEYS and not is_redacted(value)
        ]
        values = [value for lane in self.lanes.values() for each in lane for value in each.features.values]
        return Features(frozenset(), (*keys, *values[: 4 * MAX_VALUES]))


@dataclass(slots=True)
class _Found:
    """What was found to differ: fields with the values that did, fields that no value explains, metadata keys."""

    appearances: Appearances = field(default_factory=Appearances)
    fields: dict[LaneField, None] = field(default_factory=dict)
    by_type: dict[str, set[LaneField]] = field(default_factory=dict)
    differing: dict[LaneField, set[Appearance]] = field(default_factory=dict)
    unexplained: set[LaneField] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)

    def know(self, message: _Message) -> None:
        """Note what a message says."""
        for here, value in leaves(message.said) if message.said is not None else ():
            if here.type_path is not None:
                self.by_type.setdefault(str(here.type_path), set()).add(here)
            if here.may_be_bound and value:
                self.appearances.add(here, Appearance(message.moment, value))

    def compare(self, ours: _Call, theirs: _Call) -> None:
        """Note how two calls that belong together differ."""
        for our_event, their_event in _said_once(ours.session, theirs.session):
            self.keys |= _keys(our_event, their_event)
        for side in Side:
            our_lane, their_lane = ours.lanes[side], theirs.lanes[side]
            pairs = align([each.features for each in our_lane], [each.features for each in their_lane])
            for our, their in pairs:
                self._messages(our_lane[our], their_lane[their])

    def _messages(self, our: _Message, their: _Message) -> None:
        if our.said is None or their.said is None:
            return
        for here, our_value, their_value in differences(our.said, their.said):
            came = self.differing.setdefault(here, set())
            if our_value is None or their_value is None:
                self.unexplained.add(here)
            else:
                came |= {Appearance(our.moment, our_value), Appearance(their.moment, their_value)}

    def proposals(self) -> Proposals:
        """Return what all of it suggests."""
        binds = [
            (source, target)
            for target, came in self.differing.items()
            if target.may_be_bound and target not in self.unexplained
            for source in sources(target, came, self.appearances)
        ]
        learned, repeated = {source for source, _ in binds}, {target for _, target in binds}
        differing = self.differing.keys() - repeated - learned
        ignored = {each for each in differing if differing.isdisjoint(each.all_above())}
        bound = sorted(
            {
                (
                    self._text(source, _on_side(source.side, learned | differing)),
                    self._text(target, _on_side(target.side, repeated)),
                )
                for source, target in binds
            }
        )
        paths = {self._text(each, differing | learned) for each in ignored} - {source for source, _ in bound}
        paths |= {f"metadata:{key}" for key in self.keys}
        return Proposals(tuple(sorted(paths)), tuple(bound))

    def _text(self, here: LaneField, alike: set[LaneField]) -> str:
        """Write a field by its type where all fields of that path are `alike`."""
        if here.type_path is not None and self.by_type.get(str(here.type_path), set()) <= alike:
            return str(here.type_path)
        return str(here.path)


def _read(runs: Sequence[Sequence[Session]], descriptors: Descriptors | None) -> list[list[_Call]]:
    """Read all messages; a lane of a method has one Shape for all runs."""
    plains = [[_plain(session) for session in run] for run in runs]
    payloads: dict[tuple[str, Side], list[bytes]] = {}
    for run, of_run in zip(runs, plains, strict=True):
        for session, of_session in zip(run, of_run, strict=True):
            for position, payload in of_session.items():
                key = session.method, side_of(session.entries[position].event)
                payloads.setdefault(key, []).append(payload)
    shapes = {key: shape_of(*key, of_lane, descriptors) for key, of_lane in payloads.items()}
    read = []
    for number, (run, of_run) in enumerate(zip(runs, plains, strict=True)):
        calls = [_Call(session, {side: [] for side in Side}) for session in run]
        in_order = sorted(
            (entry.at_ns, call, position)
            for call, session in enumerate(run)
            for position, entry in enumerate(session.entries)
            if isinstance(entry.event, ClientMessage | ServerMessage)
        )
        for nth, (at_ns, call, position) in enumerate(in_order):
            event = run[call].entries[position].event
            shape = shapes.get((run[call].method, side_of(event)))
            message = _message(Moment(number, call, nth, at_ns), event, of_run[call].get(position), shape)
            calls[call].lanes[side_of(event)].append(message)
        read.append(calls)
    return read


def _plain(session: Session) -> dict[int, bytes]:
    """Return the decompressed payloads of what is protobuf in a session, by the position of the entry."""
    headers: dict[Side, Event] = {}
    found = {}
    for position, entry in enumerate(session.entries):
        event = entry.event
        match event:
            case ClientHeader() | ServerHeader():
                headers[side_of(event)] = event
            case ClientMessage(payload, flags) | ServerMessage(payload, flags):
                header = headers.get(side_of(event))
                used = ""
                if isinstance(header, ClientHeader | ServerHeader):
                    if codec(header.metadata) != "proto":
                        continue
                    used = encoding(header.metadata)
                try:
                    found[position] = plain(payload, flags, used)
                except ProtocolError:
                    continue  # as replay does: it is compared as it came, and no field of it can be meant
    return found


def _message(moment: Moment, event: Event, payload: bytes | None, shape: Shape | None) -> _Message:
    message = said(payload, shape) if payload is not None and shape is not None else None
    if message is None:
        assert isinstance(event, ClientMessage | ServerMessage)
        return _Message(moment, None, Features(frozenset(), ((None, event.payload),), "unread"))
    fields: list[LaneField] = []
    values: list[tuple[LaneField, Scalar]] = []
    for here, value in leaves(message):
        fields.append(here)
        if value is not None and len(values) < MAX_VALUES:
            values.append((here, value))
    kind = frozenset(message.values).intersection(message.shape.choices)
    return _Message(moment, message, Features(frozenset(fields), tuple(values), kind))


def _pairs(read: Sequence[list[_Call]]) -> Iterator[tuple[list[_Call], list[_Call]]]:
    """Yield the runs to be compared: each with the first, and with the one before."""
    yield from ((read[0], other) for other in read[1:])
    yield from pairwise(read[1:])


def _aligned(ours: Sequence[_Call], theirs: Sequence[_Call]) -> Iterator[tuple[_Call, _Call]]:
    """Yield the calls that belong together: of a method the first with the first, if there are as many."""
    for method in dict.fromkeys(call.session.method for call in ours):
        of_ours, of_theirs = ([call for call in run if call.session.method == method] for run in (ours, theirs))
        if len(of_ours) == len(of_theirs):
            yield from zip(of_ours, of_theirs, strict=True)
        else:
            pairs = align([call.features for call in of_ours], [call.features for call in of_theirs])
            yield from ((of_ours[our], of_theirs[their]) for our, their in pairs)


def _said_once(ours: Session, theirs: Session) -> Iterator[tuple[Event, Event]]:
    """Yield the headers and the trailers of two calls."""
    for kind in (ClientHeader, ServerHeader, ServerTrailer):
        our, their = (
            [entry.event for entry in each.entries if isinstance(entry.event, kind)] for each in (ours, theirs)
        )
        yield from zip(our, their, strict=False)


def _keys(our: Event, their: Event) -> set[str]:
    """Return the metadata keys, as `--ignore` takes them, under which two headers or trailers differ."""
    assert isinstance(our, ClientHeader | ServerHeader | ServerTrailer)
    assert isinstance(their, ClientHeader | ServerHeader | ServerTrailer)
    found: set[str] = set()
    if isinstance(our, ServerTrailer) and isinstance(their, ServerTrailer):
        our_status, their_status = our.status, their.status
        if (our_status and our_status.code) != (their_status and their_status.code):
            return found  # the calls came to different ends, and what else differs follows from that
        if our_status is None or their_status is None:
            return found
        if our_status.message != their_status.message and not is_redacted(our_status.message):
            found.add("grpc-message")
        details = our_status.details, their_status.details
        if details[0] != details[1] and not any(each is not None and is_redacted(each) for each in details):
            found.add("grpc-status-details-bin")
    redacted = {key for each in (our, their) for key, value in each.metadata if is_redacted(value)}
    for one, other in ((our, their), (their, our)):
        for difference in match_metadata(one.metadata, other.metadata, is_redacted):
            found.add(difference.path.removeprefix("metadata."))
    found -= redacted
    return {key for key in found if _can_be_ignored(key)}


def _on_side(side: Side, fields: Iterable[LaneField]) -> set[LaneField]:
    return {each for each in fields if each.side is side}


def _can_be_ignored(key: str) -> bool:
    try:
        parse(f"metadata:{key}")
    except ScriptError:
        return False
    return True
