"""What a play led to, in a line: a session that agreed, and how many did.

A play in which all agrees says no more, and loads nothing that reads messages (bench: `cold start`).
"""

from __future__ import annotations

from collections.abc import Iterable

from duplexmock.core.events import Side
from duplexmock.core.outcome import Outcome
from duplexmock.core.terms import Ordered
from duplexmock.core.value import value
from duplexmock.report.escaping import escaped


@value
class Tally:
    """How many sessions agreed and did not, and which were not played: `name session N method`.

    `unfired` are sentences on faults that were not done.
    `ordered` tells whether a peer's event that came too early would have been a mismatch.
    """

    agreed: int
    mismatched: int
    unplayed: tuple[str, ...] = ()
    unfired: tuple[str, ...] = ()
    ordered: Ordered = Ordered.YES

    @property
    def is_green(self) -> bool:
        """Tell whether all agreed and nothing was left."""
        return not self.mismatched and not self.unplayed and not self.unfired

    def __str__(self) -> str:
        parts = [f"{self.agreed} agreed"]
        if self.mismatched:
            parts.append(f"{self.mismatched} did not")
        if self.unplayed:
            parts.append(f"{len(self.unplayed)} not played")
        sessions = self.agreed + self.mismatched + len(self.unplayed)
        if self.unfired:
            parts.append(f"{len(self.unfired)} fault{'' if len(self.unfired) == 1 else 's'} never fired")
        told = f"{sessions} session{'' if sessions == 1 else 's'}: {', '.join(parts)}"
        return f"{told}; {self.ordered.value}" if self.ordered.value and self.agreed else told


def tally(
    outcomes: Iterable[Outcome],
    unplayed: Iterable[str] = (),
    unfired: Iterable[str] = (),
    *,
    ordered: Ordered = Ordered.YES,
) -> Tally:
    """Count."""
    verdicts = [outcome.agreed for outcome in outcomes]
    return Tally(verdicts.count(True), verdicts.count(False), tuple(unplayed), tuple(unfired), ordered)


def heading(name: str, outcome: Outcome) -> str:
    """Return the line above a play's timeline; `name` is what its fixture is called."""
    seat = "the mock played the server" if outcome.side is Side.SERVER else "the replay played the client"
    number = f"session {outcome.number}" if outcome.number else "no session"
    return "   ".join(filter(None, (escaped(name), number, escaped(outcome.method), seat)))


def agreed_line(name: str, outcome: Outcome) -> str:
    """Say in one line that a session agreed, with its notes."""
    return "   ".join((heading(name, outcome), "agreed", *map(escaped, outcome.notes)))
