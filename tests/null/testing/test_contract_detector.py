"""The detector's contract check fails a detector that breaks a clause."""

import pytest

from coterie.privacy.detection import PersonalData
from coterie.testing import check_detector


class Finds:
    """A detector that finds the same in every text."""

    def __init__(self, *spans):
        self.found = spans

    def find(self, text):
        """The same, but nothing in nothing."""
        return self.found if text else ()


def data(start, end, score=1.0, kind="PERSON"):
    return PersonalData(kind=kind, start=start, end=end, score=score)


async def test_one_that_finds_nothing_passes():
    """Nothing is a fair answer."""
    await check_detector(Finds())


@pytest.mark.parametrize(
    ("found", "clause"),
    [
        ((data(0, 9_000),), "in the text"),
        ((data(1, 1),), "in the text"),
        ((data(0, 2), data(1, 3)), "apart"),
        ((data(2, 3), data(0, 1)), "apart"),
        ((data(0, 1, score=2.0),), "chance"),
        ((data(0, 1, kind=""),), "kind"),
    ],
)
async def test_a_broken_clause_is_named(found, clause):
    """Each clause is checked."""
    with pytest.raises(AssertionError, match=clause):
        await check_detector(Finds(*found))
