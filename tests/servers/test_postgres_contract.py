"""The shelf in PostgreSQL does what every shelf must."""

import pytest

from coterie.testing import check_shelf


@pytest.mark.slow
async def test_contract(open_shelf):
    """It keeps every clause of the contract of shelves."""
    await check_shelf(open_shelf, dimension=8)
