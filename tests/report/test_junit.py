"""JUnit XML: whole documents, and what XML does not have."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.events import ClientHeader, Side
from duplexmock.core.lanes import Lanes
from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.report.junit import junit
from tests.playbook import ANSWER, HALF_CLOSE, HEADER, OK, After, Playbook, ask, lanes, recorded, reply
from tests.report.calls import BY_NUMBER
from tests.wire.talk import examples

AGREED = (Playbook(lanes(HEADER, OK), Side.SERVER) >> HEADER >> After(0) << OK).done()
FAILED = (
    Playbook(
        Lanes.of(
            recorded((0, HEADER), (1, ANSWER), (2, ask("a")), (3, reply("a")), (4, HALF_CLOSE), (5, OK), number=2)
        ),
        Side.SERVER,
    )
    >> HEADER
    << ANSWER
    >> After(1.5)
    >> HALF_CLOSE
).mismatch()


def document(*outcomes: tuple[str, Outcome], unplayed: list[tuple[str, int, str]] | None = None) -> str:
    return junit(outcomes, unplayed or [], lambda name: BY_NUMBER)


def test_a_fault_that_never_fired_is_a_test_case_that_failed() -> None:
    root = ElementTree.fromstring(junit([("x.duplex", AGREED)], [], lambda name: BY_NUMBER, ["fault drop never fired"]))

    assert [dict(suite.attrib) for suite in root] == [
        {"name": "x.duplex", "tests": "1", "failures": "0"},
        {"name": "no fixture", "tests": "1", "failures": "1"},
    ]
    assert [dict(failure.attrib) for failure in root.iter("failure")] == [{"message": "fault drop never fired"}]


def test_a_document() -> None:
    noted = replace(AGREED, notes=("this & that", "and <more>"))
    text = document(("one.duplex", noted), ("one.duplex", FAILED), unplayed=[("two.duplex", 4, "/a.B/C")])

    assert (
        text
        == """\
<?xml version='1.0' encoding='utf-8'?>
<testsuites name="duplexmock">
  <testsuite name="one.duplex" tests="2" failures="1">
    <testcase classname="/chat.ChatService/Chat" name="session 1" time="0.000000">
      <system-out>this &amp; that
and &lt;more&gt;</system-out>
    </testcase>
    <testcase classname="/chat.ChatService/Chat" name="session 2" time="0.001500">
      <failure message="The client half-closed before its first message.">\
one.duplex   session 2   /chat.ChatService/Chat   the mock played the server
        0.000 ms  &gt;  ClientHeader
        0.000 ms  &lt;  ServerHeader
      ! 1.500 ms  &gt;  ClientHalfClose  expected ClientMessage #1  'a'
             –    &lt;  ServerMessage #1  not reached: waited for ClientMessage #1 (seen, not learned)
             –    &lt;  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)
The client half-closed before its first message.</failure>
    </testcase>
  </testsuite>
  <testsuite name="two.duplex" tests="1" failures="1">
    <testcase classname="/a.B/C" name="session 4" time="0">
      <failure message="not played: no call took this session" />
    </testcase>
  </testsuite>
</testsuites>
"""
    )


def test_nothing_played_is_a_document_as_well() -> None:
    assert document() == "<?xml version='1.0' encoding='utf-8'?>\n<testsuites name=\"duplexmock\" />\n"


def test_a_call_without_a_session_is_a_case_of_no_fixture() -> None:
    outcome = Outcome(0, "/a.B/C", Side.SERVER, None, Mismatch("There is none.", Side.CLIENT, 0, 0, 0))

    [suite] = ElementTree.fromstring(document(("", outcome)))

    assert suite.attrib == {"name": "no fixture", "tests": "1", "failures": "1"}
    assert suite[0].attrib == {"classname": "/a.B/C", "name": "a call without a session", "time": "0.000000"}


@pytest.mark.parametrize(
    "text", ["\x00", "\x1b[31m", "\ufffe", "\udc80", "]]>", "\r\n\t", "<&\"'", "\u202e", "\U0001f600"]
)
def test_any_text_makes_a_document(text: str) -> None:
    check(text)


@examples(100)
@given(st.text(st.characters(codec=None), min_size=1, max_size=20))
def test_every_text_makes_a_document(text: str) -> None:
    check(text)


def check(text: str) -> None:
    """Put a text wherever a peer or a file has one."""
    outcome = replace(
        FAILED, method=text, notes=(text,), mismatch=Mismatch(text, Side.CLIENT, 0, 0, 0, None, ClientHeader(text))
    )
    written = document((text, outcome), unplayed=[(text, 1, text)])

    assert re.search("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", written) is None
    [suite] = ElementTree.fromstring(written.encode())
    assert suite.attrib["tests"] == suite.attrib["failures"] == "2"
    legible = "".join(
        f"\\x{ord(char):02x}" if re.match("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", char) else char
        for char in text
    )
    assert suite[0].attrib["classname"] == legible
    failure = suite[0].find("failure")
    assert failure is not None
    assert failure.attrib["message"] == legible
