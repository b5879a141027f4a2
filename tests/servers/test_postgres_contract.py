"""The index in PostgreSQL does what every index must."""

import pytest

from coterie.testing import check_index


@pytest.mark.slow
async def test_contract(open_index):
    """It keeps every clause of the contract of indexes."""
    await check_index(open_index, dimension=8)
