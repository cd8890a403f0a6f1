import copy
import pickle
from dataclasses import FrozenInstanceError, field, replace

import pytest

from duplexmock.core.value import value


@value
class Plain:
    number: int
    text: str = "x"


@value
class Derived:
    number: int
    double: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.number)


@value
class Bare:
    pass


def test_a_value_is_shown_and_compared_by_its_fields():
    assert repr(Plain(1)) == "Plain(number=1, text='x')"
    assert Plain(1) == Plain(1, "x") != Plain(1, "y")
    assert Plain(1) != (1, "x")
    assert hash(Plain(1)) == hash(Plain(1))
    assert (repr(Bare()), Bare() == Bare(), len({Bare(), Bare()})) == ("Bare()", True, 1)


def test_nothing_of_a_value_can_be_changed_or_added():
    made = Plain(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'number'"):
        made.number = 2
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'other'"):
        made.other = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'text'"):
        del made.text
    assert not hasattr(made, "__dict__")


def test_arguments_are_those_of_a_function():
    assert Plain(text="y", number=1) == Plain(1, "y")
    with pytest.raises(TypeError, match=r"Plain.__init__\(\) missing 1 required positional argument: 'number'"):
        Plain()


def test_a_value_is_replaced_and_matched_as_a_dataclass_is():
    assert replace(Plain(1), text="y") == Plain(1, "y")
    match Plain(1, "y"):
        case Plain(number, text):
            assert (number, text) == (1, "y")


def test_what_is_derived_is_neither_given_nor_compared_nor_shown():
    assert (Derived(2).double, repr(Derived(2)), Derived.__match_args__) == (4, "Derived(number=2)", ("number",))
    assert replace(Derived(2), number=3).double == 6
    assert Derived(2) == Derived(2)


@pytest.mark.parametrize("made", [Plain(1, "y"), Derived(2), Bare()])
def test_a_value_can_be_copied_and_pickled(made):
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made
