"""Intents from a handful of examples each: BANKING77 with 5 and 10, beside SetFit and a plain TF-IDF model.

    COTERIE_DATA=FOLDER python benchmarks/fewshot/run.py [--setfit PYTHON --encoder FOLDER]

`PYTHON` is an interpreter with SetFit installed (its requirements are not ours), `FOLDER` all-MiniLM-L6-v2 in the
sentence-transformers layout: the weights that the rung `encoder` is fine-tuned from. Every run trains on the same rows.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from _classify import Rows, measure
from _data import find, write_rows
from _record import Bar, Record, arguments, sha256
from _specialists import apart
from coterie.types import Rung

CLAIM = "With five or ten examples an intent, the ladder beats SetFit on the same encoder and a plain TF-IDF model."
BARS = {5: 0.79, 10: 0.86}
ECE_BAR = 0.03
RUNGS: tuple[Rung, ...] = ("lexical", "embedding", "encoder")
PEER = Path(__file__).with_name("peer_setfit.py")


def read_rows(path: Path) -> Rows:
    """(text, label) rows."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def draw(rows: Rows, shots: int, seed: int) -> Rows:
    """So many rows of each label, at random."""
    labels = np.array([label for _, label in rows])
    random = np.random.default_rng(seed)
    chosen = [random.permutation(np.flatnonzero(labels == label))[:shots] for label in np.unique(labels)]
    return [rows[index] for index in np.concatenate(chosen)]


def plain_tfidf(train: Rows, test: Rows) -> dict[str, Any]:
    """What everybody would try first: TF-IDF of words and logistic regression, with scikit-learn's defaults."""
    start = time.perf_counter()
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit([text for text, _ in train], [label for _, label in train])
    seconds = time.perf_counter() - start
    predicted = model.predict([text for text, _ in test])
    return {"accuracy": float(np.mean(predicted == np.array([label for _, label in test]))), "seconds": seconds}


def setfit(given: argparse.Namespace, train: Rows, test: Rows, seed: int) -> dict[str, Any]:
    """SetFit's own recipe, in its own interpreter."""
    with tempfile.TemporaryDirectory() as name:
        files = [str(write_rows(Path(name) / f"{part}.csv", rows)) for part, rows in (("train", train), ("test", test))]
        words = [str(given.setfit), str(PEER), *files, str(given.encoder), str(seed), str(given.setfit_iterations)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603 - the caller's interpreter
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_draw(drawn: Rows, test: Rows, seed: int) -> dict[str, Any]:
    """The ladder and the plain model on one draw."""
    run = apart(measure, drawn, test, seed, RUNGS)
    run["plain TF-IDF"] = plain_tfidf(drawn, test)
    return run


def run_again(run: dict[str, Any], drawn: Rows, test: Rows, seed: int, rungs: Sequence[Rung]) -> None:
    """Some rungs of a draw anew; what it has of others stays, and with it what they gain over an unchanged floor."""
    rungs = [rung for rung in RUNGS if rung in ("lexical", *rungs)]  # the floor is what the others are measured against
    figures = apart(measure, drawn, test, seed, rungs)
    run["gain_over_floor"] |= figures.pop("gain_over_floor")
    run |= {rung: figures[rung] | {"again": datetime.now(UTC).date().isoformat()} for rung in rungs}


def run_shots(record: Record, shots: int, given: argparse.Namespace) -> None:
    """Every model on every draw of so many rows a label; each draw is written down as soon as it is measured."""
    train, test = (read_rows(path) for path in find("banking77"))
    figures: dict[str, Any] = record.figures.setdefault(f"{shots} a label", {"by_draw": {}})
    runs: dict[str, dict[str, Any]] = figures["by_draw"]
    for seed in record.seeds:
        drawn = draw(train, shots, seed)
        if str(seed) not in runs:
            print(f"{shots} a label, draw {seed}")
            runs[str(seed)] = run_draw(drawn, test, seed)
            keep(record, given.out)
        elif given.again:
            run_again(runs[str(seed)], drawn, test, seed, given.again)
            keep(record, given.out)
        # SetFit takes longer than all else, so it is asked on the first draw only.
        if given.setfit and seed == record.seeds[0] and shots in given.setfit_shots and "SetFit" not in runs[str(seed)]:
            runs[str(seed)]["SetFit"] = setfit(given, drawn, test, seed)
            keep(record, given.out)


def keep(record: Record, out: Path) -> None:
    """Write what was measured so far, with means and bars."""
    record.bars = []
    for shots, bar in BARS.items():
        figures: Any = record.figures.get(f"{shots} a label", {"by_draw": {}})
        if not figures["by_draw"]:
            continue
        figures["mean"] = mean_accuracies(figures["by_draw"])
        best = max(figures["mean"][rung]["mean"] for rung in RUNGS[1:])
        record.bars.append(Bar(what=f"BANKING77, {shots} a label", measured=best, limit=bar))
        for rung in RUNGS[1:]:
            error = float(np.mean([run[rung]["ece"] for run in figures["by_draw"].values()]))
            what = f"BANKING77, {shots} a label, {rung} ECE, mean of draws"
            record.bars.append(Bar(what=what, measured=error, limit=ECE_BAR, at_most=True))
    record.write(out)


def kept(out: Path, data: dict[str, str]) -> dict[str, Any]:
    """The figures of an earlier run on the same data, if there was one."""
    if not out.exists():
        return {}
    earlier = json.loads(out.read_text(encoding="utf-8"))
    return dict(earlier["figures"]) if earlier["data"] == data else {}


def mean_accuracies(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Of each model over the draws, with the least and the greatest."""
    first = next(iter(runs.values()))
    names = [name for name, figures in first.items() if isinstance(figures, dict) and "accuracy" in figures]
    by_name = {name: [run[name]["accuracy"] for run in runs.values() if name in run] for name in names}
    return {
        name: {"mean": float(np.mean(accuracies)), "least": min(accuracies), "greatest": max(accuracies)}
        for name, accuracies in by_name.items()
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--shots", nargs="+", type=int, choices=BARS, default=list(BARS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the draws")
    parser.add_argument("--setfit", type=Path, help="an interpreter with SetFit")
    parser.add_argument("--setfit-shots", nargs="+", type=int, default=list(BARS), help="where SetFit stands beside")
    parser.add_argument("--setfit-iterations", type=int, default=20, help="of its pair sampling; 20 in its paper")
    parser.add_argument("--again", nargs="+", choices=RUNGS, help="measure these rungs of draws that are there anew")
    parser.add_argument("--anew", action="store_true", help="measure again what the result file has already")
    parser.add_argument("--encoder", type=Path, help="all-MiniLM-L6-v2 for SetFit, a folder")
    given = parser.parse_args(words)
    if given.setfit and not given.encoder:
        parser.error("--setfit needs --encoder FOLDER")
    record = Record(claim=CLAIM, seeds=given.seeds)
    record.data |= {f"banking77/{path.name}": sha256(path) for path in find("banking77")}
    record.figures |= {} if given.anew else kept(given.out, record.data)
    record.note_load()
    for shots in given.shots:
        run_shots(record, shots, given)
    keep(record, given.out)


if __name__ == "__main__":
    main()
