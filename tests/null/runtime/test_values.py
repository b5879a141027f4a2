"""Copies of frozen values are what `dataclasses.replace` makes."""

import dataclasses
from functools import cached_property

import pytest

from coterie.runtime.values import replace
from coterie.types import Usage


@dataclasses.dataclass(frozen=True)
class Checked:
    size: int

    def __post_init__(self):
        if self.size < 0:
            raise ValueError(self.size)


@dataclasses.dataclass(frozen=True)
class Remembers:
    size: int

    @cached_property
    def double(self):
        """Remembered."""
        return 2 * self.size


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    low: int
    high: int


@pytest.mark.parametrize(
    ("value", "changes"), [(Usage(tokens_in=3), {"cost": None}), (Usage(), {}), (Slotted(1, 2), {"high": 5})]
)
def test_a_copy_is_the_same(value, changes):
    """Of plain classes and of those with slots; the original stays as it was."""
    before = dataclasses.asdict(value)
    assert replace(value, **changes) == dataclasses.replace(value, **changes)
    assert type(replace(value)) is type(value)
    assert dataclasses.asdict(value) == before


def test_what_a_class_checks_is_checked():
    """A class with `__post_init__` is made anew, and one that remembers a value forgets it."""
    with pytest.raises(ValueError, match="-1"):
        replace(Checked(1), size=-1)
    one = Remembers(1)
    assert (one.double, replace(one, size=2).double) == (2, 4)


def test_no_such_field():
    """A misspelt field is an error in both."""
    with pytest.raises(TypeError, match="costs"):
        replace(Usage(), costs=1)
