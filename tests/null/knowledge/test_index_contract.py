"""The index in a folder does what every index must."""

import pytest

from coterie.knowledge.local import LocalIndex
from coterie.testing import EchoEngine, check_index


class Encoder(EchoEngine):
    """An encoder without weights: equal texts have equal vectors."""

    sha256 = "a" * 64


@pytest.mark.slow
async def test_contract(tmp_path):
    """It keeps every clause of the contract of indexes."""

    async def open_index():
        return LocalIndex(tmp_path, name="help", encoder=Encoder(), mode="hybrid")

    await check_index(open_index, dimension=8)
