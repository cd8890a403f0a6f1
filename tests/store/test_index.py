"""Lines of sessions: counted from rows, added up over blocks, there and back through the file's form."""

import pytest

from duplexmock.core.rows import RowKind
from duplexmock.core.session import Ended
from duplexmock.store.index import Index, SessionLine, Tally, ending_of, flat_lines, lines_from
from tests.schema.protos import CHAT
from tests.store.fixtures import RICH


def tallied(*batches):
    tally = Tally()
    for rows in batches:
        tally.add(rows)
    return tally


def test_a_tally_counts_what_its_rows_say_of_each_session():
    tally = tallied(*(rows for _, rows in RICH))
    other = "/other.Service/Method"
    assert tally.lines() == {
        1: SessionLine(CHAT, 1, 1, 1, RowKind.SERVER_TRAILER),
        2: SessionLine(other, 2, 0, 0, RowKind.SERVER_TRAILER),
        3: SessionLine(other, 2, 1, 0, RowKind.CANCEL),
        4: SessionLine(CHAT, 1, 0, 0, RowKind.RESET),
        5: SessionLine(other, 1, 0, 1, 0),
        6: SessionLine(other, 2, 0, 0, RowKind.DAMAGED),
        7: SessionLine(other, 2, 0, 0, 0),
    }
    assert tally.connections() == (1, 0, 2)


def test_a_part_alone_makes_a_line_and_no_message():
    assert tallied([(RowKind.CLIENT_PART, 4, b"x")]).lines() == {4: SessionLine()}


def test_the_first_ending_counts_within_a_tally_and_across_blocks():
    cancel, trailer = (RowKind.CANCEL, 1, None), (RowKind.SERVER_TRAILER, 1, None)
    assert tallied([cancel, trailer]).lines()[1].ending == RowKind.CANCEL
    index = Index()
    for offset, row in ((10, trailer), (20, cancel)):
        index.add_block(offset, tallied([row]).lines(), ())
    assert ending_of(index.sessions[1]) is Ended.TRAILER


def test_blocks_add_up_in_an_index():
    index = Index()
    index.add_block(100, {1: SessionLine("/a", 1, 2, 3), 2: SessionLine("/b", 2, 1, 0)}, (1, 2))
    index.add_block(200, {1: SessionLine(None, 0, 5, 0, 8)}, (2,))
    assert index.sessions == {1: SessionLine("/a", 1, 7, 3, 8, 100, 200), 2: SessionLine("/b", 2, 1, 0, 0, 100, 100)}
    assert index.connections == {1: [100], 2: [100, 200]}
    assert len(index) == 5


def test_indexes_add_up_as_blocks_do():
    whole = Index()
    whole.add_index({1: SessionLine("/a", 1, 2, 3, 0, 100, 300)}, {1: [100]})
    whole.add_index(
        {1: SessionLine(None, 0, 1, 1, 9, 400, 500), 2: SessionLine("/b", 1, 0, 0, 0, 500, 500)}, {1: [500]}
    )
    assert whole.sessions == {1: SessionLine("/a", 1, 3, 4, 9, 100, 500), 2: SessionLine("/b", 1, 0, 0, 0, 500, 500)}
    assert whole.connections == {1: [100, 500]}


def test_lines_come_back_with_their_methods_named_once():
    lines = {
        1: SessionLine("/a", 1, 2, 3, 8, 10, 20),
        2: SessionLine(None, 0, 1, 0, 0, 20, 20),
        3: SessionLine("/a", 2, 0, 0, 0, 20, 30),
        4: SessionLine("/b", 2, 0, 0, 0, 20, 30),
    }
    methods, flat = flat_lines(lines)
    assert methods == ["/a", "/b"]
    assert flat == [
        [1, 2, 3, 8, 0, 1, 10, 20],
        [2, 1, 0, 0, None, 0, 20, 20],
        [3, 0, 0, 0, 0, 2, 20, 30],
        [4, 0, 0, 0, 1, 2, 20, 30],
    ]
    assert lines_from(methods, flat) == lines
    without_offsets = lines_from(methods, [line[:-2] for line in flat])
    assert without_offsets[1] == SessionLine("/a", 1, 2, 3, 8, 0, 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (5, "a session's line that is not one"),
        ([False, 0, 0, 0, 0, 1], "a session's line that is not one"),
        ([1, 0, 0, 0, 0], "a session's line that is not one"),
        ([1, 0, 0, 0, "a", 1], "a session's line that is not one"),
        ([1, 0, 0, 0, 0, 1, 10], "a session's line that is not one"),
        ([1, 0, 0, 0, 0, 1, 10, 20, 30], "a session's line that is not one"),
        ([1, 0, 0, 0, 0, 1, 20, 10], "a session's line that is not one"),
        ([1, 0, 0, 0, 0, 1, None, 10], "a session's line that is not one"),
        ([1, 0, 0, 0, 2, 1], "a session's line that names no method"),
        ([1, 0, 0, 0, -1, 1], "a session's line that names no method"),
        ([1, 0, 0, 0, 1, 1], "a session's line that names no method"),
    ],
    ids=str,
)
def test_a_line_that_is_none_is_refused(line, reason):
    with pytest.raises(ValueError) as caught:
        lines_from(["/a", 5], [line])
    assert str(caught.value) == reason
