"""The report as a page: what is drawn."""

import pytest

from coterie.accounting.html import _chart, _known, _Series

COST = _Series("cost", "c0", lambda row: row["cost"])
OTHER = _Series("other", "c1", lambda row: row["other"])


@pytest.mark.parametrize(
    ("rows", "drawn"),
    [
        ([{"cost": None, "other": None}], []),
        ([{"cost": 0.0, "other": None}], ["cost"]),
        ([{"cost": 0.0, "other": 2.0}], ["other"]),
        ([{"cost": None, "other": 2.0}, {"cost": 1.0, "other": None}], ["cost", "other"]),
    ],
)
def test_what_is_known_is_drawn(rows, drawn):
    """A figure that no row has is not drawn; one that is 0 throughout is where there is no other."""
    assert [each.name for each in _known([COST, OTHER], rows)] == drawn


def test_a_share_of_none_is_a_point():
    """Of answers that were all wrong, 0% is drawn and not left out."""
    assert "today: cost 0" in _chart("Right", "", [{"key": "today", "cost": 0.0}], [COST], times=True)
