"""Candidates that are planted, through the gates of the product: how often each is promoted, and with how many labels.

    python benchmarks/flywheel/promotions.py --runs 200

A run is a stream of calls that a model answered and a candidate too. Both gates judge it as `coterie flywheel run`
does: the e-process, looked at after each row, where each difference costs a label (with 3% slips) and other rows are
ties, and `judge_frozen` over 100 rows of the audit slice. Beside them, on the same streams, what is usual: a
z-test that is looked at each 100 rows, and "agrees in 95% of calls".

The student of a wrong teacher agrees with the model in 87% of calls and is right in 69% where that is in 75%: the
figures that were measured with a systematically wrong teacher.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, arguments
from coterie.flywheel.gates import first_decision, judge_frozen

CLAIM = "Candidates that are worse are not promoted, however they are worse; equal ones are, with few labels."
ROWS, EVERY, FROZEN, SLIPS, MARGIN, ALPHA = 2_500, 100, 100, 0.03, 0.02, 0.05
LABELS = [f"label {n}" for n in range(10)]
CANDIDATES = {
    "equal": (0.90, 0.03, 0.03, 0.02, None),
    "two points worse": (0.90, 0.03, 0.05, 0.02, None),
    "one slice 20 points worse": (0.90, 0.03, 0.03, 0.02, (0, 0.2)),
    "memoriser": (0.90, 0.01, 0.12, 0.05, None),
    "overconfident": (0.90, 0.02, 0.08, 0.04, None),
    "student of a wrong teacher": (0.752, 0.02, 0.081, 0.026, None),
}
"""Model's accuracy; shares of rows that the candidate alone, the model alone, has right; that both have wrong in
different ways; and a label on which the candidate loses a share more."""


def stream(name: str, rows: int, rng: np.random.Generator) -> tuple[list[str], list[str], list[str]]:
    """What is right, what the model says and what the candidate says."""
    accuracy, wins, losses, other, weak = CANDIDATES[name]
    truth = rng.integers(0, len(LABELS), rows)
    kind = rng.choice(4, rows, p=[wins, losses, other, 1 - wins - losses - other])
    shared = rng.random(rows) < (accuracy - losses) / (1 - wins - losses - other)
    model, candidate = truth.copy(), truth.copy()
    off = (truth + rng.integers(1, 5, rows)) % len(LABELS)
    further = (truth + rng.integers(5, 10, rows)) % len(LABELS)
    model[(kind == 0) | (kind == 2)] = off[(kind == 0) | (kind == 2)]
    candidate[kind == 1] = off[kind == 1]
    candidate[kind == 2] = further[kind == 2]
    both = (kind == 3) & ~shared
    model[both] = candidate[both] = off[both]
    if weak is not None:
        fall = (truth == weak[0]) & (rng.random(rows) < weak[1])
        candidate[fall] = further[fall]
    return [[LABELS[i] for i in indices] for indices in (truth, model, candidate)]  # type: ignore[return-value]


def judged(name: str, rng: np.random.Generator) -> dict[str, float]:
    """One run: whether each gate promotes the candidate, after how many rows, with how many labels."""
    truth, model, candidate = stream(name, ROWS, rng)
    slipped = [t if rng.random() >= SLIPS else LABELS[int(rng.integers(len(LABELS)))] for t in truth]
    differs = np.asarray([m != c for m, c in zip(model, candidate, strict=True)])
    rows = np.asarray([int(c == t) - int(m == t) for t, m, c in zip(slipped, model, candidate, strict=True)])
    decision, seen = first_decision(np.where(differs, rows, 0), margin=MARGIN, alpha=ALPHA)
    frozen_truth, frozen_model, frozen_candidate = stream(name, FROZEN, rng)
    frozen = judge_frozen(*(dict(enumerate_ids(answers)) for answers in (frozen_truth, frozen_model, frozen_candidate)))
    figures = {
        "promoted": float(decision == "better" and frozen.passed),
        "rows": float(seen),
        "labels": float(differs[:seen].sum()),
    }
    right = np.asarray([c == t for c, t in zip(candidate, truth, strict=True)], dtype=float)
    before = np.asarray([m == t for m, t in zip(model, truth, strict=True)], dtype=float)
    figures["z_test"] = float(peeked(right - before))
    figures["agrees_95"] = float(1 - differs.mean() >= 0.95)
    return figures


def enumerate_ids(values: Sequence[str]) -> list[tuple[str, str]]:
    """Values by a number."""
    return [(f"{i:05d}", value) for i, value in enumerate(values)]


def peeked(differences: np.ndarray) -> bool:
    """Whether a one-sided z-test against "worse by the margin" passes at any look."""
    for end in range(EVERY, len(differences) + 1, EVERY):
        some = differences[:end]
        spread = some.std() / math.sqrt(end)
        if spread and (some.mean() + MARGIN) / spread > 1.645:
            return True
    return False


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed])
    bars = []
    for name in CANDIDATES:
        rng = np.random.default_rng([given.seed, len(name)])
        runs = [judged(name, rng) for _ in range(given.runs)]
        figures = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
        record.figures[name] = figures | {"median_labels": float(np.median([run["labels"] for run in runs]))}
        print(name, record.figures[name], flush=True)
        if name == "equal":
            bars += [Bar(what="equal candidates promoted by 2,500 rows", measured=figures["promoted"], limit=0.85)]
            bars += [Bar(what="labels for it, mean", measured=figures["labels"], limit=200, at_most=True)]
        else:
            limit = 0.0 if "student" in name else 0.05
            bars += [Bar(what=f"promoted: {name}", measured=figures["promoted"], limit=limit, at_most=True)]
    record.bars = bars
    record.write(given.out)


if __name__ == "__main__":
    main()
