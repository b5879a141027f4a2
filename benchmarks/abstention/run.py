"""Does the accept threshold keep its promise on real data? 200 random splits of out-of-fold answers, three targets.

    COTERIE_DATA=FOLDER python benchmarks/abstention/run.py

Training rows only: each row is answered by a model that has not seen its fold. Half of these answers, drawn at random,
choose the threshold, the other half says what it does. For CLINC150 also its validation rows, which are really new.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find, thin
from _folds import Fitted, fit_embedding
from _record import Bar, Record, arguments, sha256
from _training_rows import FOLDERS, SETS, Rows, clinc
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.calibration import accept_threshold, softmax

CLAIM = "Accepted answers are wrong at most as often as was asked for, whichever rows the threshold was chosen on."
TARGETS = (0.01, 0.02, 0.05)
SPLITS = 200
ABOVE = 0.05
"""Share of splits that may be above the target."""


def splits(confidence: np.ndarray, right: np.ndarray, target: float, *, seed: int = 0) -> dict[str, Any]:
    """What thresholds from random halves do on the other halves, and on all rows when drawn from them anew.

    Halves of one pool are not independent: if one has few errors, the other has many, so `above` of halves overstates.
    `population` draws calibration rows with replacement from all rows, whose risk is then exactly known.
    """
    random, n = np.random.default_rng(seed), len(right)
    halves, whole = [], []
    for _ in range(SPLITS):
        order = random.permutation(n)
        halves.append(_once(confidence, right, (order[: n // 2], order[n // 2 :]), target))
        whole.append(_once(confidence, right, (random.integers(0, n, n // 2), np.arange(n)), target))
    return {"halves": _summed(halves, target), "population": _summed(whole, target)}


def _once(
    confidence: np.ndarray, right: np.ndarray, parts: tuple[np.ndarray, np.ndarray], target: float
) -> tuple[float, float]:
    """Coverage and risk of one threshold."""
    chosen, others = parts
    value = accept_threshold(confidence[chosen], right[chosen], target_risk=target).value
    kept = others[confidence[others] >= (2.0 if value is None else value)]
    return len(kept) / len(others), float((~right[kept]).mean()) if len(kept) else 0.0


def _summed(pairs: list[tuple[float, float]], target: float) -> dict[str, float]:
    coverage, risk = np.array(pairs).T
    return {
        "above": float((risk > target).mean()),
        "coverage": float(coverage.mean()),
        "risk": float(risk.mean()),
        "worst_risk": float(risk.max()),
    }


def on_new_rows(fitted: Fitted, encoder: OnnxEncoder, rows: Rows) -> dict[str, Any]:
    """Thresholds from all out-of-fold answers, asked about rows that are not among them."""
    texts = [text for text, _ in rows]
    logits = fitted.logits(texts, encoder.encode(texts))
    confidence, predicted = softmax(logits).max(axis=1), logits.argmax(axis=1)
    right = np.array([fitted.labels[at] == label for at, (_, label) in zip(predicted, rows, strict=True)])
    figures: dict[str, Any] = {"accuracy": float(right.mean()), "out_of_fold": float(fitted.right.mean())}
    for target in TARGETS:
        value = accept_threshold(fitted.confidence, fitted.right, target_risk=target).value
        kept = confidence >= (2.0 if value is None else value)
        risk = float((~right[kept]).mean()) if kept.any() else None
        figures[f"{target:g}"] = {"coverage": float(kept.mean()), "risk": risk}
    return figures


def run_set(record: Record, name: str, rows: int | None) -> None:
    """One data set."""
    folder = FOLDERS.get(name, name)
    record.data |= {f"{folder}/{path.name}": sha256(path) for path in find(folder)[:1]}
    encoder, train = OnnxEncoder.bundled(), thin(SETS[name](), rows)
    fitted = fit_embedding(train, encoder.encode([text for text, _ in train]), encoder)
    figures: dict[str, Any] = {f"{t:g}": splits(fitted.confidence, fitted.right, t) for t in TARGETS}
    if name == "clinc150":
        figures["validation"] = on_new_rows(fitted, encoder, clinc("val"))
    for target in TARGETS:
        entry = figures[f"{target:g}"]
        print(f"{name} {target:g}: halves {entry['halves']}, population {entry['population']}", flush=True)
        above = entry["population"]["above"]
        record.bars.append(Bar(what=f"{name}, splits above {target:g}", measured=above, limit=ABOVE, at_most=True))
    record.figures[name] = figures


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--rows", type=int, help="use so many rows only, to try the script")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[0])
    for name in given.sets:
        run_set(record, name, given.rows)
    record.write(given.out)


if __name__ == "__main__":
    main()
