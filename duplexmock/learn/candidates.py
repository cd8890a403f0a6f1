"""What may have to be bound in a probe: values of the side that is learned from which come back on ours.

In a probe our side says what was recorded. A client that takes only the answers to the ids it has just chosen, or a
server that knows only the lease it has just granted, would go no further; and as our side never changes, nothing would
show that it should. So what the recording alone suggests is tried: a value that first appeared on the live side, and
that ours said later. Whether it varies at all, the probes show, and only then it is proposed (proposals.py).

A single recording proves less than two. A value that could be many others by chance, an empty text, a boolean, an enum,
a small number, comes back on every other call and means nothing: all that comes back from one field in another must
have MIN_BITS together, and times of day that two clocks could have read have next to none (relations.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from duplexmock.core.events import Side
from duplexmock.core.session import Session
from duplexmock.learn.fields import LaneField
from duplexmock.learn.relations import Appearance, Appearances, returning
from duplexmock.learn.runs import read_runs
from duplexmock.learn.said import leaves
from duplexmock.schema.descriptors import Descriptors


def candidates(
    recorded: Sequence[Session], live: Side, descriptors: Descriptors | None = None
) -> tuple[tuple[str, str], ...]:
    """Return the binds that are worth a try where `live` is learned from: pairs FROM and TO, as `--bind` takes them."""
    (calls,) = read_runs([recorded], descriptors)
    appearances = Appearances()
    came: dict[LaneField, list[Appearance]] = {}
    for call in calls:
        for side, lane in call.lanes.items():
            for message in lane:
                for here, value in leaves(message.said) if message.said is not None else ():
                    if here.may_be_bound and value:
                        appearance = Appearance(message.moment, value)
                        appearances.add(here, appearance)
                        if side is not live:
                            came.setdefault(here, []).append(appearance)
    found = {
        (str(source.path), str(target.path))
        for target, values in came.items()
        for source in returning(target, values, appearances)
    }
    return tuple(sorted(found))
