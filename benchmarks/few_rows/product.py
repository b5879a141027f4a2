"""What a user gets from few rows a label, from training to the answer: today's code beside that of another day.

    git worktree add FOLDER COMMIT
    COTERIE_DATA=FOLDER python benchmarks/few_rows/product.py --before FOLDER/src [--splits 8]

Both train on the same rows with the same `target_risk` and are asked the same texts, all of them in scope. Nothing of
theirs is replaced: the choice of the rung, held-out rows, the threshold and what counts as out of scope are theirs. The
other day's code runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from run import GAIN, SETS, SHOTS, TARGET, Corpus, draw, interval, read_corpus

import coterie
from _record import Bar, Record, arguments

CLAIM = "With 8 or 10 rows a label a user gets at least ten points more answered and right than on 28 November."
_HERE = Path(__file__).resolve().parent
_OPTIONS = {"rungs": ["lexical", "embedding"], "target_risk": TARGET, "seed": 0}


class Ways:
    """The code of both days, each in a process that trains and is asked, one split after the other."""

    def __init__(self, sources: Mapping[str, Path], cache: Path) -> None:
        self._sources, self._cache = sources, cache
        self._running: dict[str, subprocess.Popen[str]] = {}

    def ask(self, way: str, name: str, corpus: Corpus, rows: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
        """What one, trained on some rows, says of others; from the cache where it is there."""
        kept = self._cache / f"product-{way}-{name}.json"
        if not kept.exists():
            train, test = rows
            given = {
                "texts": [corpus.rows[i][1] for i in train],
                "labels": [corpus.rows[i][2] for i in train],
                "asked": [corpus.rows[i][1] for i in test],
                "options": _OPTIONS,
            }
            kept.write_text(self._said(way, json.dumps(given)), encoding="utf-8")
        return dict(json.loads(kept.read_text(encoding="utf-8")))

    def _said(self, way: str, line: str) -> str:
        if way not in self._running:
            environment = os.environ | {"PYTHONPATH": str(self._sources[way]), "OMP_NUM_THREADS": "1"}
            self._running[way] = subprocess.Popen(  # noqa: S603 - our own
                [sys.executable, str(_HERE / "product_ask.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
        process = self._running[way]
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - they are pipes
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        if reply := process.stdout.readline():
            return reply
        raise SystemExit(f"The code {way} ended with {process.wait()}.")


def judged(answers: dict[str, Any], truth: Sequence[str]) -> dict[str, float]:
    """Shares of the texts asked, all in scope, and the share of wrong ones among those answered."""
    accepted = np.array(answers["accepted"])
    right = np.array(answers["labels"]) == np.array(truth)
    return {
        "answered": float(accepted.mean()),
        "answered and right": float((accepted & right).mean()),
        "realised risk": float((accepted & ~right).sum() / max(1, accepted.sum())),
        "right": float(right.mean()),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--before", type=Path, required=True, help="src of a checkout of another day")
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--asked", type=int, default=500, help="texts a split")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "coterie-few-rows")
    given = parser.parse_args(words)
    given.cache.mkdir(parents=True, exist_ok=True)
    sources = {"before": given.before, "now": Path(coterie.__file__).parents[1]}
    ways = Ways(sources, given.cache)
    record = Record(claim=CLAIM, seeds=range(given.splits))
    for name in given.sets:
        corpus = read_corpus(SETS[name][0], given.cache)
        for shots in SHOTS:
            results: dict[str, list[dict[str, float]]] = {way: [] for way in sources}
            codes: dict[str, Counter[str]] = {way: Counter() for way in sources}
            for seed in range(given.splits):
                train, test = draw(corpus, SETS[name][1], shots, seed)
                test = np.random.default_rng(seed).permutation(test)[: given.asked]
                for way in sources:
                    answers = ways.ask(way, f"{name}-{shots}-{seed}", corpus, (train, test))
                    results[way].append(judged(answers, [corpus.rows[i][2] for i in test]))
                    codes[way] += Counter({f"rung {answers['rung']}": 1}) + Counter(answers["codes"])
            figures: dict[str, Any] = {
                way: {key: interval([split[key] for split in splits]) for key in splits[0]}
                | {"codes": dict(codes[way])}
                for way, splits in results.items()
            }
            gains = [
                now["answered and right"] - then["answered and right"]
                for then, now in zip(results["before"], results["now"], strict=True)
            ]
            figures["gain"] = interval(gains)
            record.figures[f"{name}, {shots} a label"] = figures
            record.bars.append(
                Bar(what=f"{name}, {shots}: answered and right, gain", measured=figures["gain"][0], limit=GAIN)
            )
            risk = max(0.0, *(split["realised risk"] for split in results["now"]))
            print(name, shots, f"largest risk now {risk:.3f}", json.dumps(figures, indent=1), flush=True)
    record.write(given.out)


if __name__ == "__main__":
    main()
