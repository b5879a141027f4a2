"""Which seeds are simulated."""

from __future__ import annotations

import os

import pytest

from coterie.store import statements


def pytest_generate_tests(metafunc) -> None:
    """`--seeds N` of them, or the one that COTERIE_SEED names."""
    if "seed" in metafunc.fixturenames:
        one = os.environ.get("COTERIE_SEED")
        seeds = [int(one)] if one else range(metafunc.config.getoption("--seeds"))
        metafunc.parametrize("seed", seeds)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch) -> None:
    """The store's thread does nothing in its pauses: how long they are is no part of a simulation."""
    monkeypatch.setattr(statements, "_PAUSE", 600.0)
