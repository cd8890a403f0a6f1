"""The Language of a script: what may come next, and what is left of the script when it has (Brzozowski, 1964).

A script stands for a set of words over events. A Term is what is left of it. `options(term)` are its partial
derivatives (Antimirov, 1996): the steps that may come first, each with the term that is left then; `is_done` tells
whether nothing needs to come any more.

    then(a, b)     the steps of a, and those of b where a is done
    either(a, b)   the steps of both
    both(a, b)     the steps of both, each leaving the other as it is
    repeat(a)      the steps of a, and a repeat behind them

Terms and nodes are made once and kept, so that a call which goes round in circles looks things up and makes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from duplexmock.core import parts as written
from duplexmock.core.call import LaneState
from duplexmock.core.events import (
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Event,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.given import Fields, Like, Pattern, Protobuf, told
from duplexmock.core.metadata import Metadata
from duplexmock.core.node import Mark, Node
from duplexmock.core.parts import Part, Said, split_header
from duplexmock.core.rows import RowKind
from duplexmock.core.status import Code, Status
from duplexmock.core.steps import EVENTS, Codec, Step, event_step
from duplexmock.errors import ScriptError


class Option(NamedTuple):
    """A step that may come first, and what is left then.

    Where the step has answers or owes some, `rest` is left while there are (more of) them, and `last` when not.
    """

    step: Step
    rest: Term
    last: Term
    delay_ns: int = 0
    mark: Mark = Mark.WRITTEN
    branch: tuple[int, ...] = ()
    """Which side of each `both` it comes from: what comes from another one does not wait for it, nor it for that."""


class Term:
    """What is left of a script. Made by a Language, once for equal ones."""

    __slots__ = ("args", "closed", "is_done", "kinds", "op", "options", "pause_branch", "pause_ns")

    def __init__(
        self,
        op: str,
        args: tuple[Any, ...],
        is_done: bool,
        kinds: frozenset[int],
        pause_ns: int = 0,
        pause_branch: tuple[int, ...] = (),
    ) -> None:
        self.op = op
        self.args = args
        self.is_done = is_done
        self.kinds = kinds
        self.pause_ns = pause_ns
        self.pause_branch = pause_branch
        self.options: tuple[Option, ...] | None = None
        self.closed: Term | None = None


class Language:
    """The words of a script's `parts`, for calls of `method`; messages are read and written by `codec`.

    `start` is the node where the client's header has come. `header` is that one as it is expected, and said.
    """

    def __init__(self, method: str, parts: tuple[Part, ...], codec: Codec) -> None:
        self.method = method
        self.codec = codec
        self._made: dict[tuple[Any, ...], Term] = {}
        self._nodes: dict[tuple[Term, LaneState, LaneState], Node] = {}
        self.nothing = Term("nothing", (), True, frozenset())
        self.never = Term("never", (), False, frozenset())
        self.nothing.options = self.never.options = ()
        self.nothing.closed, self.never.closed = self.nothing, self.never
        self.header_step = event_step(Side.SERVER, ServerHeader())
        self.half_close_step = event_step(Side.CLIENT, ClientHalfClose())
        self.status_step = event_step(Side.SERVER, ServerTrailer(Status(Code.OK)))
        self.steps: list[Step] = []
        first, rest = split_header(parts)
        self.header = ClientHeader(method, first.metadata if first else Metadata())
        self.start = self.node(self._line(rest), LaneState.OPEN, LaneState.IDLE)

    def node(self, term: Term, client: LaneState, server: LaneState) -> Node:
        """Return the node of this term and these lanes."""
        node = self._nodes.get((term, client, server))
        if node is None:
            if len(self._nodes) >= _KEPT:
                # They are made again when they are needed: what counts its rounds would fill the memory.
                self._nodes.clear()
                self._made.clear()
            node = self._nodes[term, client, server] = Node(self, term, client, server)
        return node

    def options(self, term: Term) -> tuple[Option, ...]:
        """Return the steps that may come first, in the order in which they are written."""
        if term.options is None:
            term.options = tuple(self._options(term))
        return term.options

    def closed(self, term: Term) -> Term:
        """Return what is left of a term when the client has half-closed: the words without what it cannot say."""
        # A line may be longer than Python's stack.
        line: list[Term] = []
        at = term
        while at.closed is None and at.op == "then":
            line.append(at)
            at = at.args[1]
        closed = at.closed = at.closed or self._closed(at)
        for at in reversed(line):
            closed = at.closed = self._then(self.closed(at.args[0]), closed)
        return closed

    # Terms

    def _options(self, term: Term) -> Iterator[Option]:
        match term.op, term.args:
            case "one", (step,):
                rest = self.nothing if step.answers is None else self._owed(step)
                yield Option(step, rest, self.nothing)
            case "owed", (step,):
                yield Option(step, term, self.nothing)
            case "then", (first, behind):
                for option in self.options(first):
                    yield self._onto(option, lambda left: self._then(left, behind))
                if first.is_done:
                    for option in self.options(behind):
                        yield (
                            option
                            if not first.pause_ns
                            else option._replace(
                                delay_ns=option.delay_ns + first.pause_ns, branch=first.pause_branch or option.branch
                            )
                        )
            case "either", every:
                for each in every:
                    yield from self.options(each)
            case "both", (left, right):
                for option in self.options(left):
                    onto = self._onto(option, lambda rest: self._both(rest, right))
                    yield onto._replace(branch=(0, *option.branch))
                for option in self.options(right):
                    onto = self._onto(option, lambda rest: self._both(left, rest))
                    yield onto._replace(branch=(1, *option.branch))
            case "repeat", (part, least, most, has_begun):
                again = self._repeat(part, max(least - 1, 0), most and most - 1, True)
                for option in self.options(part):
                    onto = self._onto(option, lambda rest: self._then(rest, again))
                    yield onto._replace(mark=Mark.AGAIN) if has_begun and not least and most is None else onto
            case "every", (part, ns):
                for option in self.options(part):
                    onto = self._onto(option, lambda rest: self._then(rest, term))
                    yield onto._replace(mark=Mark.EVERY, delay_ns=ns + option.delay_ns)

    def _closed(self, term: Term) -> Term:
        match term.op, term.args:
            case "one", (step,):
                return self.never if step.side is Side.CLIENT and step.kind != _CANCEL else term
            case "either", every:
                return self._either([self.closed(each) for each in every])
            case "both", (left, right):
                return self._both(self.closed(left), self.closed(right))
            case "repeat", (part, least, most, has_begun):
                closed = self.closed(part)
                if closed is self.never:
                    return self.never if least else self.nothing
                return self._repeat(closed, least, most, has_begun)
            case "every", (part, ns):
                closed = self.closed(part)
                return self.nothing if closed is self.never else self._every(closed, ns)
            case _:
                return term

    @staticmethod
    def _onto(option: Option, more: Callable[[Term], Term]) -> Option:
        rest = more(option.rest)
        last = rest if option.last is option.rest else more(option.last)
        return option._replace(rest=rest, last=last)

    def _term(
        self,
        op: str,
        args: tuple[Any, ...],
        is_done: bool,
        kinds: frozenset[int],
        pause_ns: int = 0,
        pause_branch: tuple[int, ...] = (),
    ) -> Term:
        key = (op, *args)
        term = self._made.get(key)
        if term is None:
            term = self._made[key] = Term(op, args, is_done, kinds, pause_ns, pause_branch)
        return term

    def _one(self, step: Step) -> Term:
        kinds = {step.kind} if step.answers is None else {step.kind, _SERVER_MESSAGE}
        return self._term("one", (step,), False, frozenset(kinds))

    def _owed(self, asked: Step) -> Term:
        key = ("owed", asked)
        term = self._made.get(key)
        if term is None:
            step = Step(Side.SERVER, _SERVER_MESSAGE, None, "its answer", None, None, owes=asked)
            term = self._made[key] = Term("owed", (step,), False, frozenset((_SERVER_MESSAGE,)))
        return term

    def _then(self, first: Term, behind: Term) -> Term:
        if first is self.never or behind is self.never:
            return self.never
        if first is self.nothing:
            return behind
        if behind is self.nothing:
            return first
        is_done = first.is_done and behind.is_done
        pause_ns, branch = first.pause_ns + behind.pause_ns, first.pause_branch or behind.pause_branch
        return self._term("then", (first, behind), is_done, first.kinds | behind.kinds, pause_ns, branch)

    def _either(self, every: Sequence[Term]) -> Term:
        left = tuple(dict.fromkeys(term for term in every if term is not self.never))
        if len(left) < 2:
            return left[0] if left else self.never
        kinds = frozenset().union(*(term.kinds for term in left))
        return self._term("either", left, any(term.is_done for term in left), kinds)

    def _both(self, left: Term, right: Term) -> Term:
        if left is self.never or right is self.never:
            return self.never
        if left is self.nothing:
            return right
        if right is self.nothing:
            return left
        kinds = left.kinds | right.kinds
        pause_ns = max(left.pause_ns, right.pause_ns)
        side, longer = (0, left) if left.pause_ns == pause_ns else (1, right)
        branch = (side, *longer.pause_branch) if pause_ns else ()
        return self._term("both", (left, right), left.is_done and right.is_done, kinds, pause_ns, branch)

    def _repeat(self, part: Term, least: int, most: int | None, has_begun: bool = False) -> Term:
        if most == 0 or part is self.nothing:
            return self.nothing
        has_begun = has_begun and most is None
        return self._term("repeat", (part, least, most, has_begun), not least or part.is_done, part.kinds)

    def _every(self, part: Term, ns: int) -> Term:
        return self._term("every", (part, ns), True, part.kinds)

    # Parts

    def _line(self, parts: Sequence[Part]) -> Term:
        term = self.nothing
        for part in reversed(parts):
            term = self._then(self._compiled(part), term)
        return term

    def _compiled(self, part: Part) -> Term:
        match part:
            case written.Line(side, said):
                term = self.nothing
                for each in reversed(said):
                    term = self._then(self._one(self._said_step(side, each)), term)
                return term
            case written.Turn(match, tuple() as reply):
                answer = self._compiled(written.Line(Side.SERVER, reply)) if reply else self.nothing
                return self._then(self._one(self._said_step(Side.CLIENT, match)), answer)
            case written.Turn(match, reply):
                assert not isinstance(reply, tuple)
                asked = self._said_step(Side.CLIENT, match)
                asked.answers = self.codec.answers(match, reply)
                return self._one(asked)
            case written.Sequence(parts):
                return self._line(parts)
            case written.AnyOrder(parts):
                term = self.nothing
                for branch in reversed(parts):
                    term = self._both(self._compiled(branch), term)
                return term
            case written.Repeat(inner, least, most):
                return self._repeat(self._compiled(inner), least, most)
            case written.Every(ns, inner):
                return self._every(self._compiled(inner), ns)
            case written.Pause(ns):
                return self._term("pause", (ns,), True, frozenset(), ns)
            case written.After(ns, inner):
                return self._then(self._term("pause", (ns,), True, frozenset(), ns), self._compiled(inner))
            case written.Optional(inner):
                return self._either([self._compiled(inner), self.nothing])
            case written.OneOf(parts):
                return self._either([self._compiled(branch) for branch in parts])
            case _:
                raise TypeError(f"{part!r} is no part")

    def _said_step(self, side: Side, said: Said) -> Step:
        if isinstance(said, EVENTS):
            step = event_step(side, said)
        else:
            kind = _CLIENT_MESSAGE if side is Side.CLIENT else _SERVER_MESSAGE
            try:
                step = Step(side, kind, said, told(said), self.codec.fits(side, said), self._example(side, said))
            except ScriptError as exc:
                reason = str(exc).removeprefix(f"{self.method}: ")
                raise ScriptError(f"{self.method}: {side.name.lower()}({told(said)}): {reason}") from exc
        self.steps.append(step)
        return step

    def _example(self, side: Side, said: Pattern) -> Event | None:
        message = said.example if isinstance(said, Like) else said
        if not isinstance(message, bytes | Fields | Protobuf):
            return None
        payload = self.codec.write(side, message)
        return ClientMessage(payload) if side is Side.CLIENT else ServerMessage(payload)


_CLIENT_MESSAGE, _SERVER_MESSAGE = int(RowKind.CLIENT_MESSAGE), int(RowKind.SERVER_MESSAGE)
_CANCEL = int(RowKind.CANCEL)

_KEPT = 100_000
"""Nodes that are kept: some tens of MB, and more than any script has that does not count."""
