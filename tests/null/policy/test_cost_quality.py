"""An aim is a quality or a budget."""

from decimal import Decimal

import pytest

from coterie.errors import InputError
from coterie.policy.cost_quality import Aim


@pytest.mark.parametrize(
    "wrong", [{}, {"quality": 0.9, "budget": Decimal(1)}, {"quality": 1.1}, {"budget": Decimal(-1)}]
)
def test_an_aim_is_one_thing_within_bounds(wrong):
    """Neither, both, or out of bounds is refused."""
    with pytest.raises(InputError):
        Aim(**wrong)
