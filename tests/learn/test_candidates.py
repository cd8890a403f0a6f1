"""What the recording alone suggests to bind: what came back, and could not have by chance."""

from __future__ import annotations

import pytest

from duplexmock.core.events import Side
from duplexmock.core.session import Session
from duplexmock.learn.candidates import candidates
from duplexmock.schema.descriptors import Descriptors
from tests.learn.runs import DESCRIPTORS, TALK, call
from tests.schema.protos import everything, kinds_file, set_of

CLIENT, SERVER = Side.CLIENT, Side.SERVER
ID, OTHER_ID, TOKEN = "3f29c81d0b6a47e5", "90d1e2f3a4b5c6d7", "f00dfeedcafe1234"
A_SECOND = 1_795_348_807
MS = 1_000_000

OTHER = "/desk.Desk/Mirror"


def test_an_id_that_the_client_chose_is_tried_where_the_client_is_learned_from() -> None:
    recorded = [call(">", {1: ID}, "<", {2: ID}, ">", {1: OTHER_ID}, "<", {2: OTHER_ID})]
    assert candidates(recorded, CLIENT) == ((f"{TALK}>1", f"{TALK}<2"),)
    assert candidates(recorded, SERVER) == ()


def test_a_token_that_the_server_gave_out_is_tried_where_the_server_is_learned_from() -> None:
    """The server's own repetition of it is none of the client's doing."""
    recorded = [call(">", {2: "hello"}, "<", {1: TOKEN}, ">", {1: TOKEN}, "<", {4: TOKEN})]
    assert candidates(recorded, SERVER) == ((f"{TALK}<1", f"{TALK}>1"),)
    assert candidates(recorded, CLIENT) == ()


def test_fields_have_names_where_descriptors_know_them() -> None:
    recorded = [call(">", {1: ID, 2: "hello"}, "<", {1: ID, 2: "heard"})]
    assert candidates(recorded, CLIENT, DESCRIPTORS) == ((f"{TALK}>id", f"{TALK}<id"),)


def test_what_comes_from_elsewhere_in_the_same_field_does_not_matter() -> None:
    recorded = [call("<", {1: TOKEN}, ">", {1: ID}, "<", {1: ID}, "<", {1: OTHER_ID})]
    assert candidates(recorded, CLIENT) == ((f"{TALK}>1", f"{TALK}<1"),)


def test_it_may_come_back_in_another_call() -> None:
    first = call(">", {2: "hello"}, "<", {4: TOKEN})
    second = call(">", {1: TOKEN}, "<", {2: "heard"}, method=OTHER, start_ns=MS)
    assert candidates([first, second], SERVER) == ((f"{TALK}<4", f"{OTHER}>1"),)
    assert candidates([first, second], CLIENT) == ()


@pytest.mark.parametrize(
    ("said", "repeated"),
    [
        ({1: 7}, {1: 7}),
        ({1: 1}, {1: 1}),
        ({1: 86_400_000}, {1: 86_400_000}),
        ({1: ""}, {1: ""}),
        ({1: "hello"}, {1: "hello"}),
        ({1: 0.5}, {1: 0.5}),
        ({1: A_SECOND}, {1: A_SECOND}),
        ({1: A_SECOND * 1000 + 123}, {1: A_SECOND * 1000 + 123}),
        ({1: "2026-11-22T12:00:00Z"}, {1: "2026-11-22T12:00:00Z"}),
        ({1: 0x3F29C81D0B6A}, {1: "3f29c81d0b6a"}),
    ],
    ids=[
        "small",
        "boolean",
        "round",
        "empty",
        "short",
        "half",
        "second",
        "millisecond",
        "time as text",
        "another type",
    ],
)
def test_what_comes_back_by_chance_is_not_tried(said: dict[int, object], repeated: dict[int, object]) -> None:
    """Clocks that are read at the same time agree; two values of other types are other values."""
    assert candidates([call(">", said, "<", repeated)], CLIENT) == ()


def test_a_time_that_comes_back_much_later_is_tried() -> None:
    assert candidates([call(">", {1: A_SECOND}, "<", {1: A_SECOND}, step_ns=2_000 * MS)], CLIENT) == (
        (f"{TALK}>1", f"{TALK}<1"),
    )


def test_a_time_that_comes_back_before_a_busy_machine_may_have_said_it_is_not_tried() -> None:
    """Two clocks were read in the same millisecond, and the second time was said some milliseconds later."""
    said = (">", {1: A_SECOND * 1000 + 123}, "<", {1: A_SECOND * 1000 + 123})
    assert candidates([call(*said, step_ns=99 * MS)], CLIENT) == ()
    assert candidates([call(*said, step_ns=102 * MS)], CLIENT) == ((f"{TALK}>1", f"{TALK}<1"),)


@pytest.mark.parametrize(
    ("nanos", "step_ns", "is_tried"),
    [
        (123_000_000, 20 * MS, False),
        (123_000_000, 102 * MS, True),
        (0, 900 * MS, False),
        (0, 1_100 * MS, True),
        (123_456_789, MS, True),
    ],
)
def test_a_timestamp_proves_as_much_as_its_clock_is_fine(nanos: int, step_ns: int, is_tried: bool) -> None:
    file = kinds_file()
    file.service[0].method.add(name="Taste", input_type=".kinds.Everything", output_type=".kinds.Everything")
    method = "/kinds.Kitchen/Taste"
    message = everything()
    message.timestamp.FromNanoseconds(A_SECOND * 10**9 + nanos)
    said = message.SerializeToString()
    bind = ((f"{method}>timestamp", f"{method}<timestamp"),)
    recorded = [call(">", said, "<", said, method=method, step_ns=step_ns)]
    assert candidates(recorded, CLIENT, Descriptors(set_of(file))) == (bind if is_tried else ())


def test_values_that_prove_little_prove_something_together() -> None:
    """Port numbers: one is no proof, two are."""
    one: tuple[object, ...] = (">", {1: 50_051}, "<", {1: 50_051})
    two: tuple[object, ...] = (">", {1: 43_217}, "<", {1: 43_217})
    assert candidates([call(*one)], CLIENT) == ()
    assert candidates([call(*one, *two)], CLIENT) == ((f"{TALK}>1", f"{TALK}<1"),)


def test_of_enums_and_booleans_nothing_is_tried() -> None:
    recorded: list[Session] = [call(">", {5: 1}, "<", {5: 1}) for _ in range(40)]
    assert candidates(recorded, CLIENT, DESCRIPTORS) == ()


def test_what_comes_before_is_no_answer() -> None:
    assert candidates([call("<", {1: ID}, ">", {1: ID})], CLIENT) == ()


def test_where_nothing_was_said_nothing_is_tried() -> None:
    assert candidates([call()], CLIENT) == ()
