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

from duplexmock.core.events import ClientHeader, Event, ServerHeader, ServerTrailer, Side
from duplexmock.core.matching import match_metadata
from duplexmock.core.session import Session
from duplexmock.errors import ScriptError
from duplexmock.learn.alignment import compared, messages_together
from duplexmock.learn.fields import LaneField
from duplexmock.learn.relations import Appearance, Appearances, sources
from duplexmock.learn.runs import Call, Message, read_runs
from duplexmock.learn.said import differences, leaves
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.fieldpath import parse
from duplexmock.store.redact import is_redacted


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
    read = read_runs(runs, descriptors)
    found = _Found()
    for call in (call for calls in read for call in calls):
        for message in (*call.lanes[Side.CLIENT], *call.lanes[Side.SERVER]):
            found.know(message)
    for ours, theirs in compared(read):
        found.compare(ours, theirs)
    return found.proposals()


@dataclass(slots=True)
class _Found:
    """What was found to differ: fields with the values that did, fields that no value explains, metadata keys."""

    appearances: Appearances = field(default_factory=Appearances)
    fields: dict[LaneField, None] = field(default_factory=dict)
    by_type: dict[str, set[LaneField]] = field(default_factory=dict)
    differing: dict[LaneField, set[Appearance]] = field(default_factory=dict)
    unexplained: set[LaneField] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)

    def know(self, message: Message) -> None:
        """Note what a message says."""
        for here, value in leaves(message.said) if message.said is not None else ():
            if here.type_path is not None:
                self.by_type.setdefault(str(here.type_path), set()).add(here)
            if here.may_be_bound and value:
                self.appearances.add(here, Appearance(message.moment, value))

    def compare(self, ours: Call, theirs: Call) -> None:
        """Note how two calls that belong together differ."""
        for our_event, their_event in _said_once(ours.session, theirs.session):
            self.keys |= _keys(our_event, their_event)
        for our, their in messages_together(ours, theirs):
            self._messages(our, their)

    def _messages(self, our: Message, their: Message) -> None:
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
