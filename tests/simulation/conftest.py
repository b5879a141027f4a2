"""Which seeds are simulated."""

from __future__ import annotations

import os


def pytest_generate_tests(metafunc) -> None:
    """`--seeds N` of them, or the one that COTERIE_SEED names."""
    if "seed" in metafunc.fixturenames:
        one = os.environ.get("COTERIE_SEED")
        seeds = [int(one)] if one else range(metafunc.config.getoption("--seeds"))
        metafunc.parametrize("seed", seeds)
