"""JUnit XML: what CI systems read. A suite a fixture, a test case a session; one that was not played failed.

The elements and attributes are those that Jenkins' and GitLab's readers share: testsuites, testsuite, testcase with
classname, name and time, failure with a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from xml.etree import ElementTree

from duplexmock.core.outcome import Outcome
from duplexmock.report.outcomes import mismatch_lines
from duplexmock.schema.reader import Reader


def junit(
    outcomes: Iterable[tuple[str, Outcome]],
    unplayed: Sequence[tuple[str, int, str]],
    reader: Callable[[str], Reader],
    unfired: Sequence[str] = (),
) -> str:
    """Return the document.

    `outcomes` have the name of their fixture, `unplayed` are fixture, session and method; `reader(fixture)` reads its
    payloads. `unfired` are sentences on faults that were not done.
    """
    cases: dict[str, list[ElementTree.Element]] = {}
    for name, outcome in outcomes:
        cases.setdefault(name, []).append(_case(name, outcome, reader(name)))
    for name, number, method in unplayed:
        case = ElementTree.Element("testcase", classname=_text(method), name=f"session {number}", time="0")
        ElementTree.SubElement(case, "failure", message="not played: no call took this session")
        cases.setdefault(name, []).append(case)
    for sentence in unfired:
        case = ElementTree.Element("testcase", classname="duplexmock", name="faults", time="0")
        ElementTree.SubElement(case, "failure", message=_text(sentence))
        cases.setdefault("", []).append(case)
    root = ElementTree.Element("testsuites", name="duplexmock")
    for name, elements in cases.items():
        failures = sum(element.find("failure") is not None for element in elements)
        suite = ElementTree.SubElement(
            root, "testsuite", name=_text(name or "no fixture"), tests=str(len(elements)), failures=str(failures)
        )
        suite.extend(elements)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(name: str, outcome: Outcome, reader: Reader) -> ElementTree.Element:
    session = outcome.session
    lasted_ns = session.entries[-1].at_ns - session.entries[0].at_ns if session else 0
    number = f"session {outcome.number}" if outcome.number else "a call without a session"
    case = ElementTree.Element("testcase", classname=_text(outcome.method), name=number, time=f"{lasted_ns / 1e9:.6f}")
    if outcome.mismatch is not None:
        failure = ElementTree.SubElement(case, "failure", message=_text(outcome.mismatch.sentence))
        failure.text = _text("\n".join(mismatch_lines(name, outcome, reader)))
    if outcome.notes:
        ElementTree.SubElement(case, "system-out").text = _text("\n".join(outcome.notes))
    return case


def _text(text: str) -> str:
    """Return the text without the characters that XML 1.0 does not have, section 2.2."""
    return _NOT_XML.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
