"""Copies of frozen values are what `dataclasses.replace` makes."""

import dataclasses
import os
from functools import cached_property

import pytest

from coterie.network.network import RandomIds
from coterie.runtime.codec import replace
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


def test_ids_are_new():
    """Each id is another, of one block and of many, also in a forked process."""
    ids = RandomIds()
    new_ids = {ids.new() for _ in range(1_000)}
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, ids.new().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 64).decode()
    assert len(new_ids | {theirs, ids.new()}) == 1_002
    assert {len(new_id) for new_id in new_ids} == {32}


def test_ids_are_in_the_order_of_time():
    """An id of a later moment comes behind those of earlier ones, whatever the clock says."""
    new_ids = [RandomIds(clock=lambda now=now: now).new() for now in (0.0, 0.001, 1.5, 1_796_000_000.0, 2.0**47 / 1000)]
    assert new_ids == sorted(new_ids)
    assert {len(RandomIds(clock=lambda now=now: now).new()) for now in (-1.0, 0.0, 1e15)} == {32}
