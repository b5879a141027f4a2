"""Small jobs with something to learn, an encoder without weights, and a probe that measures nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coterie.config.operation import AccountingSection
from coterie.config.specialists import make_section
from coterie.rightsizing.probe import Probed
from coterie.rightsizing.result import Conditions, RightSizing
from coterie.rightsizing.rightsize import Rows, read_rows, rightsize
from coterie.testing import EchoEngine
from coterie.types import Prompt

WORDS = {"card": ["card", "pin", "chip"], "parcel": ["parcel", "courier", "tracking"], "refund": ["refund", "money"]}
FILLER = ["please", "today", "again", "my", "the", "why", "where", "tell", "me", "now"]


class HashEncoder(EchoEngine):
    """Vectors drawn from each text's hash: equal texts have equal ones, and they tell nothing else."""

    languages: frozenset[str] = frozenset()

    sha256 = "e" * 64

    def __init__(self) -> None:
        super().__init__("onnx", dimension=16)

    max_tokens = 64

    def exceeds(self, texts):
        return np.array([len(text.split()) > self.max_tokens for text in texts], dtype=bool)

    def encode(self, texts, *, progress=None):
        vectors = [self._echo(Prompt(text=text)).vector for text in texts]
        return np.array(vectors, dtype=np.float32).reshape(-1, self.dimension)


def make_texts(*, each: int = 20, noise: float = 0.0, seed: int = 0) -> list[dict[str, Any]]:
    """Texts of which two words tell the label, but for a share of them."""
    random = np.random.default_rng(seed)
    rows = []
    for label, words in WORDS.items():
        for _ in range(each):
            keywords = [] if random.random() < noise else random.choice(words, 2).tolist()
            rows.append({"text": " ".join([*keywords, *random.choice(FILLER, 5)]), "label": label})
    return rows


def make_applicants(n: int = 200, *, seed: int = 0) -> list[dict[str, Any]]:
    """Applicants whose default depends on their income."""
    random = np.random.default_rng(seed)
    incomes = random.normal(30, 10, n)
    return [
        {"income": round(float(x), 2), "label": int(random.random() < 1 / (1 + np.exp(0.3 * (x - 30))))}
        for x in incomes
    ]


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


CONDITIONS = Conditions(
    date="2026-11-24T20:00:00+00:00",
    machine={"processor": "abacus", "cores": 1},
    versions={"coterie": "0"},
    watts_per_core=10.0,
    price_per_cpu_hour=None,
    currency="USD",
)


def still(root, rung, version, section, rows) -> Probed:
    """A millisecond a request, more the higher the rung stands in the alphabet; the files are where they should be."""
    assert (root / rung / version / "model.json").exists()
    taken = 1.0 if rung == "lexical" else 3.0
    return Probed(
        milliseconds=[taken] * len(rows), cpu_seconds=[taken / 1000] * len(rows), resident_bytes=70, bare_bytes=20
    )


@pytest.fixture
def job(tmp_path) -> Callable[..., Rows]:
    """Writes rows and reads them as a job: `job(train, test, bar={"accuracy": 0.9})`."""

    def read(train, test=None, **section: Any) -> Rows:
        files = {"data": str(write_rows(tmp_path / "train.jsonl", train))}
        if test is not None:
            files["test"] = str(write_rows(tmp_path / "test.jsonl", test))
        return read_rows(make_section(**{"task": "classify", **files, **section}))

    return read


@pytest.fixture
def size() -> Callable[..., RightSizing]:
    """Right-sizes a job with stand-ins: `size(job(...))`."""

    def run(rows: Rows, **more: Any) -> RightSizing:
        given = {"encoder": HashEncoder(), "accounting": AccountingSection(), "conditions": CONDITIONS, "probe": still}
        return rightsize(rows, **{**given, **more})

    return run


@pytest.fixture
def texts() -> Callable[..., list[dict[str, Any]]]:
    """Makes rows of `text` and `label`: `texts(each=20, noise=0.2)`."""
    return make_texts


@pytest.fixture
def applicants() -> Callable[..., list[dict[str, Any]]]:
    """Makes rows with an income and a label of 0 or 1."""
    return make_applicants
