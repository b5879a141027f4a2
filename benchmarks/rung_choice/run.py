"""Which of the quick rungs is taken with few, uneven rows, and which is better on other rows.

    COTERIE_DATA=... python benchmarks/rung_choice/run.py

Eight public sets, of each the part to train on. A draw takes labels at random, as many as the table says, and rows of
them so unevenly that the k-th label has 1/k of the first one's; the rows that are left are asked. Both rungs are
trained and the choice is made as `coterie train` does. `before` is the rule without a comparison of the same rows. What
each draw's rungs said lies in `--cache`, so that another look takes seconds.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flywheel"))

from _vectors import RememberingEncoder

from _data import find, headline_rows
from _record import Bar, Record, arguments, sha256
from coterie.config.specialists import make_section
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.dataset import Dataset, Row
from coterie.learning.evaluation import judge_labels
from coterie.learning.measure import Answered, Candidate, choose, rated
from coterie.training.train import train_rungs
from coterie.types import Rung

CLAIM = "With few uneven rows the rung is taken that is better on other rows; with many rows as before."
TEST, LARGE, TWO = 300, 2_000, 0.02
_LEAST = 8
"""Rows of a label that is drawn."""
RUNGS: tuple[Rung, ...] = ("lexical", "embedding")
NOTHING = judge_labels([], [])
Rows = list[tuple[str, str]]
Draws = dict[tuple[str, int], list[dict[str, Any]]]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _reading(*names: str) -> Path:
    return find("clinc150")[0].parents[1].joinpath("reading", *names)


def banking(record: Record) -> Rows:
    """BANKING77."""
    path = _noted(find("banking77")[0], record)
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def clinc(record: Record) -> Rows:
    """CLINC150, in scope."""
    return [(text, label) for text, label in json.loads(_noted(find("clinc150")[0], record).read_text())["train"]]


def headlines(record: Record) -> Rows:
    """Headlines of the gold market."""
    return list(headline_rows(_noted(find("frugalgpt")[0], record)))


def clauses(record: Record) -> Rows:
    """Clauses of contracts."""
    lines = _noted(find("cuad")[0].with_name("clauses.jsonl"), record).read_text(encoding="utf-8").splitlines()
    return [(row["text"][:400], row["category"]) for row in map(json.loads, lines) if len(row["text"]) > 60]


def small_talk(record: Record) -> Rows:
    """84 intents of small talk."""
    path = _noted(next(_reading("smalltalk", "smalltalk_intents").glob("*.gz")), record)
    return [(row["text"], row["intent"]) for row in _lines(path)]


def medicine(record: Record) -> Rows:
    """What kind of question a medical text answers, by its beginning."""
    return [(row["answer"][:300], row["qtype"]) for row in _lines(_noted(find("medquad")[0], record)) if row["answer"]]


def german(record: Record) -> Rows:
    """Intents in German, which the encoder does not know."""
    path = _noted(_reading("intents", "xsid", "xsid.jsonl.gz"), record)
    return [(row["text"], row["intent"]) for row in _lines(path) if row["lang"] == "de"]


def injections(record: Record) -> Rows:
    """Prompt injections and harmless requests."""
    folder = find("clinc150")[0].parents[1] / "prompt_injection"
    rows: Rows = []
    for path in (folder / "dataset.csv", folder / "safe.csv"):
        with _noted(path, record).open(encoding="utf-8", newline="") as file:
            rows += [(row["text"], row["label"]) for row in csv.DictReader(file)]
    return rows


SETS: dict[str, tuple[Callable[[Record], Rows], int, bool]] = {
    "banking77": (banking, 12, True),
    "clinc150": (clinc, 15, True),
    "headlines": (headlines, 4, True),
    "clauses": (clauses, 12, False),
    "small talk": (small_talk, 10, False),
    "medicine": (medicine, 8, False),
    "german": (german, 10, False),
    "injections": (injections, 2, False),
}
"""How a set is read, how many of its labels a draw has, and whether the rule was chosen on it."""


def _noted(path: Path, record: Record) -> Path:
    record.data[f"{path.parent.name}/{path.name}"] = sha256(path)
    return path


def draw(rows: Rows, labels: int, size: int, seed: int) -> tuple[Rows, Rows]:
    """Rows to train on, uneven, and others of the same labels; of `LARGE` ones as they come, with all labels."""
    random = np.random.default_rng(seed)
    unique = list(dict(rows).items())
    mixed = [unique[i] for i in random.permutation(len(unique))]
    if size >= LARGE:
        counts = Counter(label for _, label in mixed[:size])
        kept = [row for row in mixed if counts[row[1]] >= 2]
        return kept[:size], kept[size : size + TEST]
    homes: dict[str, Rows] = defaultdict(list)
    for row in mixed:
        homes[row[1]].append(row)
    names = sorted(name for name, some in homes.items() if len(some) >= _LEAST)
    chosen = random.permutation(names)[:labels].tolist()
    weights = 1 / np.arange(1, len(chosen) + 1)
    train, rest = [], []
    for name, weight in zip(chosen, weights / weights.sum(), strict=True):
        some = homes[name]
        n = min(max(2, round(size * weight)), len(some) * 2 // 3)
        train += some[:n]
        rest += some[n:]
    return [train[i] for i in random.permutation(len(train))], [rest[i] for i in random.permutation(len(rest))[:TEST]]


def _dataset(name: str, rows: Rows) -> Dataset:
    return Dataset(
        name=name,
        rows=tuple(Row(text=text, labels=(label,), line=n + 2) for n, (text, label) in enumerate(rows)),
        sha256=hashlib.sha256(repr(rows).encode()).hexdigest(),
    )


def measure(rows: Rows, held: Rows, seed: int, encoder: OnnxEncoder) -> dict[str, Any]:
    """What both rungs of one draw say: right out of fold, answered out of fold, and accuracy on other rows."""
    section = make_section(task="classify", data="rows.csv", seed=seed)
    train = _dataset("rows.csv", rows)
    fitted = train_rungs("x", section, train=train, held_out=_dataset("held.csv", held), encoder=encoder)
    document: dict[str, Any] = {"rows": len(rows)}
    for candidate in fitted.candidates:
        assert candidate.right is not None  # noqa: S101 - of these rungs it is there
        assert candidate.answered is not None  # noqa: S101
        document[candidate.rung] = {
            "right": "".join("01"[int(row)] for row in candidate.right),
            "accuracy": candidate.evaluation.accuracy,
            "answered": list(candidate.answered),
        }
    return document


def candidates(drawn: dict[str, Any]) -> list[Candidate]:
    """What the choice looks at, cheapest first."""
    made = []
    for rung in RUNGS:
        right = np.array([mark == "1" for mark in drawn[rung]["right"]])
        figure = rated("accuracy", right, np.zeros(0), np.zeros(0))
        made.append(
            Candidate(
                rung=rung,
                files={},
                validation={"accuracy": figure},
                evaluation=NOTHING,
                seconds=0.0,
                answered=Answered(*drawn[rung]["answered"]),
                right=right,
            )
        )
    return made


def chosen(drawn: dict[str, Any], rule: str) -> str:
    """The rung that is taken."""
    some = candidates(drawn)
    return choose(some if rule == "now" else [replace(candidate, right=None) for candidate in some], {}).candidate.rung


def judged(draws: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy on other rows of the rung taken, by both rules, of each rung, and of the better one of each draw."""
    test = np.array([[drawn[rung]["accuracy"] for rung in RUNGS] for drawn in draws])  # (D, 2)
    figures: dict[str, Any] = {"draws": len(draws), "rows": float(np.mean([drawn["rows"] for drawn in draws]))}
    figures |= {rung: float(test[:, at].mean()) for at, rung in enumerate(RUNGS)}
    figures["better one"] = float(test.max(axis=1).mean())
    for rule in ("before", "now"):
        at = np.array([RUNGS.index(chosen(drawn, rule)) for drawn in draws])
        got = test[np.arange(len(at)), at]
        figures[rule] = {
            "accuracy": float(got.mean()),
            "lexical": float((at == 0).mean()),
            "worst loss": float((test.max(axis=1) - got).max()),
            "takes the worse by 2 points": float((test.max(axis=1) - got > TWO).mean()),
        }
    return figures


def look(given: argparse.Namespace, record: Record) -> Draws:
    """All draws, from the cache where they are there; the figures of each set and size go into the record."""
    by_size: Draws = {}
    for name in given.sets:
        read, labels, _ = SETS[name]
        rows, encoder = read(record), None
        for size in given.sizes:
            if size >= LARGE and len(dict(rows)) < size + TEST:
                continue
            for seed in range(given.seeds if size < LARGE else 1):
                kept = given.cache / f"{name.replace(' ', '-')}-{size}-{seed}.json"
                if not kept.exists():
                    encoder = encoder or RememberingEncoder(given.cache / f"{name.replace(' ', '-')}.npz")
                    kept.write_text(json.dumps(measure(*draw(rows, labels, size, seed), seed, encoder)))
                by_size.setdefault((name, size), []).append(json.loads(kept.read_text()))
            record.figures[f"{name}, {size} rows"] = judged(by_size[name, size])
            print(name, size, json.dumps(record.figures[f"{name}, {size} rows"]), flush=True)
        if encoder is not None:
            encoder.save()
    return by_size


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 120, 400, 3000])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "coterie-rung-choice")
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    record = Record(claim=CLAIM, seeds=range(given.seeds))
    by_size = look(given, record)
    small = {key: some for key, some in by_size.items() if key[1] < LARGE}
    parts = {
        "sets that the rule was chosen on": [drawn for (n, _), some in small.items() if SETS[n][2] for drawn in some],
        "other sets": [drawn for (n, _), some in small.items() if not SETS[n][2] for drawn in some],
        "large": [drawn for (_, size), some in by_size.items() if size >= LARGE for drawn in some],
    }
    for part, draws in parts.items():
        if not draws:
            continue
        figures = record.figures[part] = judged(draws)
        print(part, json.dumps(figures, indent=1), flush=True)
        if part == "large":
            same = [chosen(drawn, "now") == chosen(drawn, "before") for drawn in draws]
            record.bars.append(Bar(what="large sets chosen as before", measured=float(np.mean(same)), limit=1.0))
        else:
            lost = figures["better one"] - figures["now"]["accuracy"]
            record.bars.append(
                Bar(what=f"{part}: accuracy lost by the choice", measured=lost, limit=0.005, at_most=True)
            )
    record.write(given.out)


if __name__ == "__main__":
    main()
