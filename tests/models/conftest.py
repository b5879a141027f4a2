"""What the tests of real models learn from."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

MESSAGES = Path(__file__).parents[2] / "examples" / "lender" / "data" / "triage.train.csv"


@pytest.fixture(scope="session")
def messages() -> Callable[[Collection[str]], list[dict[str, str]]]:
    """The messages of some intents of BANKING77."""

    def of(intents: Collection[str]) -> list[dict[str, str]]:
        with MESSAGES.open(encoding="utf-8", newline="") as lines:
            return [row for row in csv.DictReader(lines) if row["label"] in intents]

    return of
