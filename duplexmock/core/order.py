"""Who waited for whom: the order between the two lanes of a call.

A call is two FIFO lanes. Inside a lane the order is given, so all that can be said across lanes is, for each event, how
many events of the other lane come before it:

    order.client[k] = how many server events come before client event k
    order.server[k] = how many client events come before server event k

Both tuples only grow, because lanes are FIFO. Nothing else is needed. The state of a call is a cut (i, j): i client
events and j server events have happened. A run is a path of cuts from (0, 0) to (m, n), one step right or up at a time,
and the two tuples are staircases that the path stays between:

    server                                     word  > < > < < > <
      4 ┌───┬───┬───●                          client lane  c0 c1 c2
      3 ├───┼───●───●                          server lane  s0 s1 s2 s3
      2 ├───┼───●───┤
      1 ├───●───●───┤                          client = (0, 1, 3): c1 waited for s0, c2 for s2
      0 ●───●───┴───┘                          server = (1, 2, 2, 3): s1 and s2 waited for c1
        0   1   2   3 client

Written out, a path is a word: `>` for a client event, `<` for a server event. An order admits a word, or it does not;
how many words it admits is counted by dynamic programming over the cuts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import gt

from duplexmock.core.events import Side, side_of
from duplexmock.core.session import Session
from duplexmock.core.value import value
from duplexmock.errors import ScriptError


@value
class Order:
    """What each event waits for; ScriptError where the numbers contradict one another.

    The lanes are as long as the tuples. An event that waits for nothing has 0, and so has the ClientHeader, which is
    the client's first: every server event waits for at least 1.
    """

    client: tuple[int, ...]
    server: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_lane("client", self.client, len(self.server))
        _check_lane("server", self.server, len(self.client))
        if self.client and self.client[0] != 0:
            raise ScriptError("order: ClientHeader comes first, it cannot wait for a server event")
        if self.server and self.server[0] == 0:
            raise ScriptError("order: a server event before ClientHeader")
        self._check_that_it_can_be_walked()

    @classmethod
    def recorded(cls, session: Session, slack_ns: int = 0) -> Order:
        """Infer the order from one recording.

        An event waits for every event of the other lane that was seen at least `slack_ns` before it; 0 keeps the
        recorded total order, ties by position. ClientHeader stays first.
        """
        client: list[int] = []
        server: list[int] = []
        client_ns: list[int] = []
        server_ns: list[int] = []
        for entry in session.entries:
            until_ns = entry.at_ns - slack_ns
            if side_of(entry.event) is Side.CLIENT:
                client.append(bisect_right(server_ns, until_ns) if slack_ns else len(server_ns))
                client_ns.append(entry.at_ns)
            else:
                earlier = bisect_right(client_ns, until_ns) if slack_ns else len(client_ns)
                server.append(max(earlier, 1))
                server_ns.append(entry.at_ns)
        return cls(tuple(client), tuple(server))

    @classmethod
    def lanes(cls, session: Session) -> Order:
        """Demand nothing across lanes but that ClientHeader comes first."""
        return cls((0,) * len(session.lane(Side.CLIENT)), (1,) * len(session.lane(Side.SERVER)))

    @classmethod
    def common(cls, orders: Iterable[Order]) -> Order:
        """Keep what all orders demand; ScriptError where there are none or their lanes differ in length."""
        every = tuple(orders)
        if len({(len(order.client), len(order.server)) for order in every}) != 1:
            raise ScriptError("order: only orders of lanes of the same length have something in common")
        return cls(
            tuple(min(waits) for waits in zip(*(order.client for order in every), strict=True)),
            tuple(min(waits) for waits in zip(*(order.server for order in every), strict=True)),
        )

    @classmethod
    def word(cls, word: str) -> Order:
        """Demand exactly this interleaving: `><>><<` spells every event of both lanes, headers and endings included."""
        client: list[int] = []
        server: list[int] = []
        for side in _spelled(word):
            if side is Side.CLIENT:
                client.append(len(server))
            else:
                server.append(len(client))
        return cls(tuple(client), tuple(server))

    def of(self, side: Side) -> tuple[int, ...]:
        """Return what each event of one side waits for."""
        return self.client if side is Side.CLIENT else self.server

    def allows(self, side: Side, client: int, server: int) -> bool:
        """Tell whether `side` may take its next step at the cut (`client`, `server`)."""
        if side is Side.CLIENT:
            return client < len(self.client) and self.client[client] <= server
        return server < len(self.server) and self.server[server] <= client

    def admits(self, word: str) -> bool:
        """Tell whether this interleaving, from the first event to the last, keeps the order."""
        client = server = 0
        for side in _spelled(word):
            if not self.allows(side, client, server):
                return False
            client += side is Side.CLIENT
            server += side is Side.SERVER
        return (client, server) == (len(self.client), len(self.server))

    def count(self) -> int:
        """Count the words that this order admits, in len(client) x len(server) steps."""
        # paths[j] is the number of paths to the cut (i, j); the row of i is made from that of i - 1.
        paths = [1] + [0] * len(self.server)
        for j in range(1, len(paths)):
            paths[j] = paths[j - 1] if self.allows(Side.SERVER, 0, j - 1) else 0
        for i in range(1, len(self.client) + 1):
            for j in range(len(paths)):
                by_client = paths[j] if self.allows(Side.CLIENT, i - 1, j) else 0
                by_server = paths[j - 1] if j and self.allows(Side.SERVER, i, j - 1) else 0
                paths[j] = by_client + by_server
        return paths[-1]

    def _check_that_it_can_be_walked(self) -> None:
        """Walk greedily: a step once possible stays so, so getting stuck means that two events wait for each other."""
        client = server = before = 0
        clients, servers = len(self.client), len(self.server)
        while client + server < clients + servers:
            while client < clients and self.client[client] <= server:
                client += 1
            while server < servers and self.server[server] <= client:
                server += 1
            if client + server == before:
                raise ScriptError(f"order: client event {client + 1} and server event {server + 1} wait for each other")
            before = client + server


def _spelled(word: str) -> tuple[Side, ...]:
    for position, letter in enumerate(word, start=1):
        if letter not in _SIDES:
            raise ScriptError(f"word {word!r}: letter {position} is {letter!r}; a word is spelled with > and <")
    return tuple(_SIDES[letter] for letter in word)


def _check_lane(name: str, waits: Sequence[int], others: int) -> None:
    if any(map(gt, waits, waits[1:])):
        position = next(position for position in range(1, len(waits)) if waits[position] < waits[position - 1])
        raise ScriptError(
            f"order: {name} event {position + 1} waits for {waits[position]}, the one before it for "
            f"{waits[position - 1]}; a lane is FIFO, its numbers only grow"
        )
    if waits and waits[0] < 0:
        raise ScriptError(f"order: {name} event 1 waits for {waits[0]}; what waits for nothing has 0")
    if waits and waits[-1] > others:
        raise ScriptError(f"order: {name} event {len(waits)} waits for {waits[-1]} of {others} events")


_SIDES = {side.value: side for side in Side}
