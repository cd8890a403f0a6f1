"""Where field paths lead in the messages of one method and side: a graph that is walked along with a message.

A Spot stands for one message: the fields of it that are selected, and the Spots of those that hold such fields further
down. A type that holds itself leads back to its own Spot. What leads nowhere is not in the graph, so that a walk looks
only into messages where there is something to find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from duplexmock.core.events import Side
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.fieldpath import MethodPath, Route, TypePath, is_map

Suffixes = frozenset[tuple[int, ...]]


@dataclass(slots=True, eq=False)
class Spot:
    """What is selected in one message, by field number; the descriptor is None where none knows the field.

    `maps` are the numbers of fields that are maps. `packed` is there in a google.protobuf.Any: it gives the Spot of the
    value by the `type_url`.
    """

    selected: dict[int, FieldDescriptor | None] = field(default_factory=dict)
    into: dict[int, Spot] = field(default_factory=dict)
    maps: set[int] = field(default_factory=set)
    packed: Callable[[str], Spot | None] | None = None


ANY_URL, ANY_VALUE = 1, 2
"""The fields of google.protobuf.Any."""


class Selection:
    """The fields that some routes lead to, for every method."""

    def __init__(self, routes: Iterable[Route], descriptors: Descriptors | None) -> None:
        self._descriptors = descriptors
        self._of_methods: dict[tuple[str, Side], set[tuple[int, ...]]] = {}
        self._of_types: dict[str, set[tuple[int, ...]]] = {}
        for route in routes:
            match route.path:
                case MethodPath(method, side):
                    self._of_methods.setdefault((method, side), set()).add(route.numbers)
                case TypePath():
                    assert route.kind is not None
                    self._of_types.setdefault(route.kind.full_name, set()).add(route.numbers)
        self._spots: dict[tuple[str, Side], Spot | None] = {}
        self._packed: dict[tuple[str, Suffixes], Spot | None] = {}

    def of(self, method: str, side: Side) -> Spot | None:
        """Return where the selected fields are in the messages that `side` sends; None where there can be none."""
        key = method, side
        if key not in self._spots:
            kind = self._descriptors.type_sent(method, side) if self._descriptors is not None else None
            self._spots[key] = self._graph(kind, frozenset(self._of_methods.get(key, ())))
        return self._spots[key]

    def _graph(self, kind: Descriptor | None, suffixes: Suffixes) -> Spot | None:
        """Build the Spots that can be reached; a list of what is to be done, as a chain of types may be long."""
        made: dict[tuple[str, Suffixes], Spot] = {}
        todo: list[tuple[Spot, Descriptor | None, Suffixes]] = []

        def spot(kind: Descriptor | None, suffixes: Suffixes) -> Spot:
            key = kind.full_name if kind is not None else "", suffixes
            if key not in made:
                made[key] = Spot()
                todo.append((made[key], kind, suffixes))
            return made[key]

        root = spot(kind, suffixes)
        while todo:
            here, kind, suffixes = todo.pop()
            self._fill(here, kind, suffixes, spot)
        live = _live(made.values())
        for here in made.values():
            here.into = {number: deeper for number, deeper in here.into.items() if deeper in live}
        return root if root in live else None

    def _fill(
        self,
        here: Spot,
        kind: Descriptor | None,
        suffixes: Suffixes,
        spot: Callable[[Descriptor | None, Suffixes], Spot],
    ) -> None:
        fields = kind.fields_by_number if kind is not None else {}
        every = suffixes | self._of_types.get(kind.full_name, set()) if kind is not None else suffixes
        for number in sorted({suffix[0] for suffix in every} | set(fields)):
            known = fields.get(number)
            below = known.message_type if known is not None else None
            rest = frozenset(suffix[1:] for suffix in every if suffix[0] == number)
            if () in rest:
                here.selected[number] = known
            deeper = rest - {()}
            if deeper or (below is not None and self._of_types):
                here.into[number] = spot(below, deeper)
            if known is not None and is_map(known):
                here.maps.add(number)
        if kind is not None and kind.full_name == "google.protobuf.Any" and self._of_types:
            in_value = frozenset(suffix[1:] for suffix in every if suffix[0] == ANY_VALUE) - {()}
            here.packed = lambda url: self._in_any(url, in_value)

    def _in_any(self, url: str, suffixes: Suffixes) -> Spot | None:
        key = url.rpartition("/")[2], suffixes
        if key not in self._packed:
            assert self._descriptors is not None
            self._packed[key] = self._graph(self._descriptors.message_type(key[0]), suffixes)
        return self._packed[key]


def _live(spots: Iterable[Spot]) -> set[Spot]:
    """Return the spots from which something selected can be reached."""
    above: dict[Spot, list[Spot]] = {}
    found = []
    for spot in spots:
        for deeper in spot.into.values():
            above.setdefault(deeper, []).append(spot)
        if spot.selected or spot.packed is not None:
            found.append(spot)
    live = set(found)
    while found:
        for spot in above.get(found.pop(), ()):
            if spot not in live:
                live.add(spot)
                found.append(spot)
    return live
