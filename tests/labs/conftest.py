"""Outcomes of a made-up world: two domains, told apart by vector and words, and models that are good at one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from coterie.policy.cost_quality import Attempt, RecordedOutcome
from labs.outcomes.table import OutcomeTable

DIMENSION = 16


class World(NamedTuple):
    """Recorded outcomes, and the encodings of their prompts."""

    outcomes: OutcomeTable
    vectors: np.ndarray


def make_world(
    n: int,
    *,
    seed: int = 0,
    small: Sequence[float] = (0.95, 0.2),
    large: Sequence[float] = (0.95, 0.95),
    costs: Mapping[str, float | None] | None = None,
) -> World:
    """`small` and `large` are how often each model is right in the two domains."""
    random = np.random.default_rng(seed)
    domain = random.integers(2, size=n)
    vectors = random.normal(size=(n, DIMENSION)) * 0.3
    vectors[np.arange(n), domain] += 1.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    prices = {"small": 0.001, "large": 0.1} | dict(costs or {})
    rows = []
    for i, which in enumerate(domain):
        words = ("capital of country", "integral of function")[which]
        right = {"small": random.random() < small[which], "large": random.random() < large[which]}
        attempts = {
            name: Attempt(score=float(good), cost=prices[name], confidence=0.9 if good else 0.4)
            for name, good in right.items()
        }
        rows.append(RecordedOutcome(prompt=f"{words} number {i}", attempts=attempts))
    return World(OutcomeTable(rows=tuple(rows), models=("small", "large")), vectors)


@pytest.fixture
def world() -> World:
    """Two domains, of which the small model knows one."""
    return make_world(400)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Sequence[object]], Path]:
    """Writes records, or raw lines, as a JSONL file."""

    def written(records: Sequence[object], name: str = "outcomes.jsonl") -> Path:
        path = tmp_path / name
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return written
