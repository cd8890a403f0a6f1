"""The one loop: a player at the live end of a call, asked what is to be done until it is done.

Everything that is played goes through it, in either seat: fixtures (play.py) and scripts (serving.py). What differs is
what a Turns does when the player speaks and when it has heard something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from duplexmock.core.lanes import Loss, Parting
from duplexmock.core.moves import Do, Done, Send, Wait
from duplexmock.core.rows import Row
from duplexmock.play.stream import Clock, Stream

if TYPE_CHECKING:
    from duplexmock.core.scriptplayer import ScriptPlayer


class Playing(Protocol):
    """Plays one side of a call; a Seat (seat.py), or a ScriptPlayer."""

    def next(self, now_ns: int) -> Send | Do | Wait | Done:
        """Say what is to be done now."""

    def received(self, rows: Sequence[Row], now_ns: int) -> None:
        """Take what the peer said."""

    def lost(self, reason: str, now_ns: int) -> None:
        """Take the loss of the connection."""


class Turns(Protocol):
    """One call, while it is played; its player may be another one from one turn to the next."""

    @property
    def stream(self) -> Stream:
        """Return the live end of the call."""

    @property
    def player(self) -> Playing:
        """Return who plays it now."""

    async def say(self, send: Send) -> None:
        """Say what the player has to say."""

    async def do(self, what: Any) -> None:
        """Do to the connection what the player has to do."""

    def listens_until(self, until_ns: int) -> int:
        """Return until when to wait for what the player waits for until this time: no later."""

    def heard(self) -> bool:
        """Look at what has come of what the player was given; tell whether it goes on."""


class Speaking:
    """The Turns of a script's player; `noticed` is called once, when it has found a mismatch, before that is said.

    `clock` is given where faults may take their time while something is said.
    """

    def __init__(
        self, stream: Stream, player: ScriptPlayer, noticed: Callable[[], None], clock: Clock | None = None
    ) -> None:
        self.stream = stream
        self.player = player
        self._noticed = noticed
        self._clock = clock
        self._has_noticed = False

    async def say(self, send: Send) -> None:
        """Say it."""
        self._look()
        await self.stream.send([step.event for step in send.steps])
        await self.stream.drained()
        if self._clock is not None:
            self.player.rested(self._clock.now_ns())

    async def do(self, what: Loss | Parting) -> None:
        """Do it."""
        await self.stream.do(what)

    def listens_until(self, until_ns: int) -> int:
        """Listen as long as the player would."""
        return until_ns

    def heard(self) -> bool:
        """Go on, whatever came."""
        self._look()
        return True

    def _look(self) -> None:
        if not self._has_noticed and self.player.mismatch is not None:
            self._has_noticed = True
            self._noticed()


async def run(turns: Turns, clock: Clock) -> None:
    """Play one call to its end."""
    while True:
        match turns.player.next(clock.now_ns()):
            case Send() as send:
                await turns.say(send)
            case Do(what):
                await turns.do(what)
            case Wait(until_ns):
                stream = turns.stream
                rows = await stream.receive(turns.listens_until(until_ns))
                if rows:
                    turns.player.received(rows, clock.now_ns())
                    if not turns.heard():
                        return
                elif stream.lost is not None:
                    turns.player.lost(stream.lost, clock.now_ns())
            case Done():
                return
