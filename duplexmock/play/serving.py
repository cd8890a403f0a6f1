"""A Serving: one mock of several scripts, by the method that a call names; and what it knows of its calls.

Several of one method are played in turn, a call each, and the last one goes on answering. `own` are services that the
mock has beside its scripts (reflection, health): where a script has such a method, the script's is meant. Their calls
are nobody's business: they are in no list and no fixture.

    call ── Witness (what took place) ── faults ── Held (hold, release, push) ── Player, or Call and handler
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from duplexmock.core.events import ClientHeader, ClientMessage, ServerMessage, Side
from duplexmock.core.history import Arrived, History, Said
from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.core.scriptplayer import Expect, ScriptPlayer
from duplexmock.core.status import Code, Status
from duplexmock.core.value import value
from duplexmock.errors import MismatchError, ScriptError
from duplexmock.play.call import Call, answered
from duplexmock.play.ending import Pairs, ending
from duplexmock.play.handler import Handler
from duplexmock.play.held import Held
from duplexmock.play.running import Speaking, run
from duplexmock.play.witness import Witness
from duplexmock.schema.script import Script

if TYPE_CHECKING:
    from duplexmock.core.connection import Connection
    from duplexmock.core.metadata import Metadata
    from duplexmock.core.rows import Row
    from duplexmock.core.session import Session
    from duplexmock.play.faulty import Faults, Faulty
    from duplexmock.play.stream import Clock, Stream
    from duplexmock.schema.descriptors import Descriptors
    from duplexmock.schema.typed import Typed

KEPT_CALLS = 1_000
"""Past calls that are kept; the oldest goes first."""

KEPT_BYTES = 64 * 1024 * 1024
"""The most that the past calls take together."""

KEPT_FAILURES = 10
"""Calls that went wrong and are told in full."""


@value
class ScriptTerms:
    """How Scripts are played.

    `expect` is what is demanded of the client: "lanes", the right messages, or "order", and none before it may come.
    The client has `timeout_ns` for each of its events, while nothing of ours is due.
    """

    expect: Expect = "lanes"
    timeout_ns: int = 10_000_000_000


DEFAULT_TERMS = ScriptTerms()


class Serving:
    """Answers calls by `scripts`, whose messages `descriptors` say; by these `terms`, where they are Scripts.

    `faults` are put around each call. `changed` is called when anything has happened on a call, `heard` with the rows
    of all calls as they are seen, and `ended` when a call is over.
    """

    def __init__(
        self,
        scripts: Sequence[Handler | Script],
        clock: Clock,
        *,
        descriptors: Descriptors | None = None,
        terms: ScriptTerms = DEFAULT_TERMS,
        own: Mapping[str, Handler] | None = None,
        faults: Faults | None = None,
        changed: Callable[[], None] = lambda: None,
        heard: Callable[[ServedCall, int, Sequence[Row]], None] = lambda call, at_ns, rows: None,
        ended: Callable[[ServedCall], None] = lambda call: None,
    ) -> None:
        self.past: deque[ServedCall] = deque()
        self.live: dict[int, ServedCall] = {}
        self.failures: list[ServedCall] = []
        self.mismatched: list[ServedCall] = []
        self.agreed = self.disagreed = self.raised = 0
        self.dropped = 0
        self.is_held = False
        self._scripts: dict[str, deque[Handler | Script]] = {}
        for script in scripts:
            if isinstance(script, Script):
                script.prepared(Side.SERVER, descriptors)  # what cannot be played is told before anybody calls
            self._scripts.setdefault(script.method, deque()).append(script)
        self._own = {method: handler for method, handler in (own or {}).items() if method not in self._scripts}
        self._own_calls: set[Held] = set()
        self._clock = clock
        self._descriptors = descriptors
        self._typed: dict[str, Typed] = {}
        self._terms = terms
        self._faults = faults
        self._changed = changed
        self._heard = heard
        self._ended = ended
        self._numbers = 0
        self._weight = 0

    async def answer(self, stream: Stream) -> None:
        """Answer a call that has come in, to its end."""
        rows = await stream.receive(self._clock.now_ns() + _LISTEN_NS)
        while not rows:
            if stream.lost is not None:
                return
            rows = await stream.receive(self._clock.now_ns() + _LISTEN_NS)
        header = rows[0][2]
        assert isinstance(header, ClientHeader)
        if header.method in self._own:
            await self._answer_own(self._own[header.method], header, stream, rows)
            return
        served = self._opened(header, stream, rows)
        try:
            scripts = self._scripts.get(header.method)
            if scripts is None:
                await self._refuse(served)
            else:
                script = scripts[0] if len(scripts) == 1 else scripts.popleft()
                served.name = script.name
                if isinstance(script, Script):
                    await self._play(served, script)
                else:
                    await self._handle(served, script)
                await self._until_said(served)
            if served.faulty is not None:
                await served.faulty.ended()
        finally:
            served.held.close()
            self._conclude(served)

    def messages(self, method: str) -> Typed:
        """Return what writes and reads the messages of a method."""
        typed = self._typed.get(method)
        if typed is None:
            from duplexmock.schema.typed import Typed  # here: reading messages takes longer to load than all else

            typed = self._typed[method] = Typed(method, self._descriptors)
        return typed

    async def end_own(self) -> None:
        """End the calls of the mock's own services: nobody waits for their end."""
        for held in tuple(self._own_calls):
            await held.end(Status(Code.UNAVAILABLE, "the mock is going away"))

    async def hold(self) -> None:
        """Say nothing on any call, those that come later among them, until `release`."""
        self.is_held = True
        for served in self.live.values():
            served.held.keep()

    async def release(self, messages: int | None = None) -> None:
        """Say what was held on all calls; or so many messages on each, and go on holding."""
        if messages is None:
            self.is_held = False
        for served in tuple(self.live.values()):
            await served.held.let_go(messages)

    @property
    def calls(self) -> list[ServedCall]:
        """Return the calls that are kept, past and live, in the order in which they were opened."""
        # Another thread may ask. The live ones first: a call that ends meanwhile is among the past ones then.
        kept = {call.number: call for some in (tuple(self.live.values()), tuple(self.past)) for call in some}
        return sorted(kept.values(), key=attrgetter("number"))

    # One call

    def _opened(self, header: ClientHeader, stream: Stream, rows: Sequence[Row]) -> ServedCall:
        self._numbers += 1
        number = self._numbers
        served = ServedCall(number, header, self.messages)

        def told(at_ns: int, rows: Sequence[Row]) -> None:
            self._heard(served, at_ns, rows)
            self._changed()

        served.connection, served.stream_id = stream.connection, stream.stream_id
        served.witness = Witness(stream, self._clock, number, rows, told)
        served.faulty = None if self._faults is None else self._faults.around(served.witness, number)
        served.held = Held(served.faulty or served.witness, self.is_held)
        self.live[number] = served
        self._changed()
        return served

    async def _handle(self, served: ServedCall, handler: Handler) -> None:
        """Answer a call by a handler, whatever becomes of that."""
        header = served.header if served.faulty is None else served.faulty.shown(served.header)
        call = Call(served.held, self._clock, header, partial(self.messages, served.method))
        raised = await answered(handler, call)
        if isinstance(raised, MismatchError):
            heard = served.witness.heard_messages
            mismatch = Mismatch(str(raised), Side.CLIENT, heard, heard, self._clock.now_ns())
            served.outcome = self._outcome(served, mismatch)
        elif raised is not None:
            self._raised(served, raised)

    async def _play(self, served: ServedCall, script: Script) -> None:
        """Answer a call by a Script; what its functions raise is a handler's failure as well."""
        terms, held = self._terms, served.held
        player = ScriptPlayer(
            script.prepared(Side.SERVER, self._descriptors),
            Side.SERVER,
            expect=terms.expect,
            timeout_ns=terms.timeout_ns,
            start_ns=self._clock.now_ns(),
            number=served.number,
            history=_KeptElsewhere(),
        )
        found_at = 0

        def noticed() -> None:
            nonlocal found_at
            found_at = served.witness.entries
            if served.faulty is not None:
                served.faulty.left()

        try:
            clock = None if served.faulty is None else self._clock
            await run(Speaking(held, player, noticed, clock), self._clock)
        except Exception as exc:  # a function of the script
            await held.end(Status(Code.INTERNAL, f"the script raised {type(exc).__name__}: {exc}"))
            self._raised(served, exc)
            return
        outcome = player.outcome(held.connection, held.stream_id)
        mismatch = outcome.mismatch
        if held.was_ended:
            mismatch = None  # by the test: whether the script would have been kept to cannot be told
        elif mismatch is not None:
            mismatch = replace(mismatch, entries=served.witness.entries_before(mismatch, found_at))
        served.outcome = self._outcome(served, mismatch, outcome.notes)

    def _raised(self, served: ServedCall, exc: BaseException) -> None:
        served.failed = exc
        self.raised += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(served)

    async def _refuse(self, served: ServedCall) -> None:
        """End a call that no script is for."""
        sentence = self._no_script(served.method)
        await served.held.end(Status(Code.UNIMPLEMENTED, sentence))
        served.outcome = self._outcome(served, Mismatch(sentence, Side.CLIENT, 0, 0, self._clock.now_ns()))

    async def _until_said(self, served: ServedCall) -> None:
        """Wait until what is held back of a call that its script is through with has been let go."""
        while served.held.kept and not served.witness.has_ended and served.held.lost is None:
            await served.held.receive(self._clock.now_ns() + _LISTEN_NS)

    async def _answer_own(self, handler: Handler, header: ClientHeader, stream: Stream, rows: Sequence[Row]) -> None:
        held = Held(Witness(stream, self._clock, 0, rows, lambda at_ns, rows: None))
        call = Call(held, self._clock, header, partial(self.messages, header.method))
        self._own_calls.add(held)
        try:
            await answered(handler, call)
        finally:
            self._own_calls.discard(held)
            held.close()

    def _conclude(self, served: ServedCall) -> None:
        if served.failed is None:
            outcome = served.outcome or self._outcome(served, None)
            if served.faulty is not None:
                outcome = replace(served.faulty.judged(outcome), session=served.witness.session)
            if left_out := served.witness.left_out:
                notes = (*outcome.notes, f"{left_out} events in between were not kept")
                outcome = self._outcome(served, outcome.mismatch, notes)
            served.outcome = outcome
            if served.outcome.agreed:
                self.agreed += 1
            else:
                self.disagreed += 1
                if len(self.mismatched) < KEPT_FAILURES:
                    self.mismatched.append(served)
        served.is_over = True
        self.past.append(served)
        del self.live[served.number]
        self._weight += served.witness.weight
        while len(self.past) > KEPT_CALLS or (self._weight > KEPT_BYTES and len(self.past) > 1):
            self._weight -= self.past.popleft().witness.weight
            self.dropped += 1
        self._ended(served)
        self._changed()

    def _outcome(self, served: ServedCall, mismatch: Mismatch | None, notes: tuple[str, ...] = ()) -> Outcome:
        # Made anew and not replaced: that would make the session, which takes longer than all else and few look at.
        session = served.witness.session
        return Outcome(served.number, served.method, Side.SERVER, session, mismatch, notes=notes)

    def _no_script(self, method: str) -> str:
        return f"No script answers {method}; this mock answers {', '.join(sorted(self._scripts)) or 'nothing'}."


class _KeptElsewhere(History):
    """A History that keeps nothing: the call's Witness does, and within bounds."""

    __slots__ = ()

    def add(self, happened: Arrived | Said) -> None:
        """Take the next thing."""


class ServedCall:
    """One call that is answered, or was.

    `failed` is what its handler has raised; `outcome` is there when it is over, unless its handler has raised.
    """

    connection: Connection
    witness: Witness
    faulty: Faulty | None
    held: Held

    def __init__(self, number: int, header: ClientHeader, messages: Callable[[str], Typed]) -> None:
        self.number = number
        self.header = header
        self.name = ""
        self.outcome: Outcome | None = None
        self.failed: BaseException | None = None
        self.is_over = False
        self.stream_id = 0
        self._messages = messages

    @property
    def method(self) -> str:
        """Return the full method name."""
        return self.header.method

    @property
    def metadata(self) -> Metadata:
        """Return what the client's header said."""
        return self.header.metadata

    @property
    def session(self) -> Session:
        """Return what has taken place so far."""
        return self.witness.session()

    def messages(self, side: Side) -> Iterator[Any]:
        """Yield the messages of a side so far, read by the descriptors, or as bytes."""
        from duplexmock.schema.payload import encoding, plain

        typed = self._messages(self.method)
        kind = ClientMessage if side is Side.CLIENT else ServerMessage
        used = encoding(self.metadata) if side is Side.CLIENT else ""
        for event in self.session.lane(side):
            if isinstance(event, kind):
                yield typed.read(side, plain(event.payload, event.flags, used))

    async def push(self, message: Any) -> None:
        """Say a message now, past what is held; ScriptError where the call has ended."""
        self._check_open("pushed")
        payload = message if type(message) is bytes else self._messages(self.method).write(Side.SERVER, message)
        await self.held.push(ServerMessage(payload))

    async def hold(self) -> None:
        """Say nothing until what is held is let go."""
        self.held.keep()

    async def finish(self, code: Any, details: str, trailing: Pairs) -> None:
        """End the call with a status now, past what is held; ScriptError where it has ended."""
        self._check_open("finished")
        await self.held.end(*ending(code, details, trailing))

    def _check_open(self, what: str) -> None:
        if self.is_over or self.witness.has_ended:
            raise ScriptError(f"call {self.number}, {self.method}, has ended: nothing more can be {what}")


_LISTEN_NS = 3_600_000_000_000
