"""How many rows pass before a false alarm of `flywheel.watch`, over the line that its statistic must reach.

    python benchmarks/flywheel/run_length.py

P-values of an exchangeable stream are uniform, whatever the scores are. So uniform ones are drawn for many streams at
once, each begun anew after an alarm, and rows are divided by alarms. Also the product's own `Watch`, on scores.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, arguments
from coterie.flywheel.deployments import _LEAST_P, _POWERS, Watch, line_of

CLAIM = "A watch is wrong as seldom as was asked: after `patience` rows in the mean, at least."
STREAMS = 3_000
ROWS = {100: 6_000, 300: 6_000, 1_000: 8_000, 6_000: 12_000, 20_000: 40_000, 60_000: 60_000}
"""Rows of each stream, by patience."""


def rows_before(patience: float, rows: int, rng: np.random.Generator) -> float:
    """Mean rows before an alarm."""
    powers = np.array(_POWERS)
    logs, alarms = np.zeros((STREAMS, len(powers))), 0
    for _ in range(rows):
        p = np.maximum(rng.random((STREAMS, 1)), _LEAST_P)
        logs = np.maximum(logs, 0) + np.log(powers) + (powers - 1) * np.log(p)
        hit = np.exp(logs).mean(1) >= line_of(patience)
        alarms += int(hit.sum())
        logs[hit] = 0
    return STREAMS * rows / max(alarms, 1)


def rows_of_watch(patience: float, seed: int) -> float:
    """The same of the product's own class, on scores, over 300 watches."""
    lengths = []
    for repetition in range(300):
        draw = random.Random(1_000 * seed + repetition)  # noqa: S311 - draws no secret
        watch = Watch(calibration=[draw.betavariate(8, 1) for _ in range(200)], patience=patience, seed=repetition)
        while watch.see(draw.betavariate(8, 1)) is None:
            pass
        lengths.append(watch.rows)
    return float(np.mean(lengths))


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    mean = {patience: rows_before(patience, rows, rng) for patience, rows in ROWS.items()}
    record = Record(claim=CLAIM, seeds=[given.seed])
    record.figures = {
        "rows_before_a_false_alarm": {str(patience): round(rows) for patience, rows in mean.items()},
        "of_the_product_at_300": rows_of_watch(300, given.seed),
    }
    record.bars = [
        Bar(
            what="mean rows before a false alarm over the patience, the least",
            measured=min(rows / patience for patience, rows in mean.items()),
            limit=1.0,
            at_most=False,
        )
    ]
    record.write(given.out)


if __name__ == "__main__":
    main()
