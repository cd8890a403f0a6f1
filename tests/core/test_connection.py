from __future__ import annotations

import pytest

from duplexmock.core.connection import Closed, Closing, Connection, GoAway, Settings, told
from duplexmock.core.events import Side

OPENED = Connection(3, "127.0.0.1:1", "unix:/run/chat", 5)


def test_what_is_told_of_a_connection_is_kept_in_order() -> None:
    said = (
        Settings(6, Side.CLIENT, ((3, 100),)),
        GoAway(8, Side.SERVER, 5, 0, b"bye"),
        Settings(7, Side.SERVER, ()),
        GoAway(9, Side.SERVER, 1, 11),
        Closed(10, Closing.RESET, Side.CLIENT, "reset by peer"),
    )
    connection = OPENED
    for what in said:
        connection = told(connection, what)
    assert connection == Connection(
        3, "127.0.0.1:1", "unix:/run/chat", 5, (said[0], said[2]), (said[1], said[3]), said[4]
    )
    assert Connection(3, "127.0.0.1:1", "unix:/run/chat", 5) == OPENED


def test_what_is_not_said_of_a_connection_is_our_own_mistake() -> None:
    with pytest.raises(TypeError) as caught:
        told(OPENED, 7)  # type: ignore[arg-type]
    assert str(caught.value) == "7 is not said of a connection"
