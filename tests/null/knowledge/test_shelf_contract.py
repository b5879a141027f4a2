"""The shelf in a folder does what every shelf must."""

import pytest

from coterie.knowledge.local import LocalShelf
from coterie.testing import EchoEngine, check_shelf


class Encoder(EchoEngine):
    """An encoder without weights: equal texts have equal vectors."""

    sha256 = "a" * 64


@pytest.mark.slow
async def test_contract(tmp_path):
    """It keeps every clause of the contract of shelves."""

    async def open_shelf():
        return LocalShelf(tmp_path, name="help", encoder=Encoder(), mode="hybrid")

    await check_shelf(open_shelf, dimension=8)
