"""Messages of a method from dicts: what cannot be one is told by its field."""

import pytest

from duplexmock.core.events import Side
from duplexmock.errors import ScriptError
from duplexmock.schema.typed import Typed
from duplexmock.scripts.chat import CHAT


def test_a_value_of_another_type_is_told_by_its_field():
    with pytest.raises(ScriptError) as raised:
        Typed("/chat.ChatService/Chat", CHAT).write(Side.SERVER, {"sender": "Server", "message": 3})
    assert str(raised.value).startswith(
        "/chat.ChatService/Chat: {'sender': 'Server', 'message': 3} is no chat.ChatMessage: "
        "its field message cannot be 3: "  # protobuf's own words follow, which differ by its version
    )
