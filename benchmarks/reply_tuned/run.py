"""The lender's `reply`, tuned on pairs of message and reply, beside the same model prompted with examples.

    python benchmarks/reply_tuned/run.py                 # 77 customers' messages, one an intent; trains for minutes
    python benchmarks/reply_tuned/run.py --n 20 --pairs 60

The pairs are made of public data (BANKING77's training messages and the example's help texts) by
`scripts/lender_replies.py`. Both specialists are made by `coterie.training.train` and asked about the same
BANKING77 test messages with their true intents; every sentence of either is checked against the help text. Needs the
extras `llama` and `train` and the model: `coterie models pull smollm2`.
"""

from __future__ import annotations

import asyncio
import csv
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import LENDER
from _record import Bar, Record, arguments, sha256
from _replies import HELP, MESSAGES, PAIRS, Reply, figures, holds_all, make, measure
from _specialists import Steps, champion
from coterie.learning.evaluation import bootstrap_mean

CLAIM = (
    "A small model tuned on 462 replies drafts what may be said as often as with examples in its prompt, and sooner."
)
KINDS = ("untuned", "tuned")


def some_pairs(folder: Path, n: int | None) -> Path:
    """The example's pairs, or so many of them, evenly over the file."""
    path = LENDER / PAIRS
    if n is None:
        return path
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[index * len(rows) // n] for index in range(min(n, len(rows))))
    return folder / "pairs.csv"


def ask(kind: str, *, seed: int, n: int, pairs: int | None, quiet: float) -> tuple[list[Reply], dict[str, Any]]:
    """Make one of the two and ask it."""
    with tempfile.TemporaryDirectory() as name:
        folder, start = Path(name), time.perf_counter()
        given = some_pairs(folder, pairs) if kind == "tuned" else None
        section, model = make(folder, pairs=given, progress=Steps())
        made = time.perf_counter() - start
        report = champion(folder, "reply").report
        replies, engine = asyncio.run(measure(folder, section, model, seed=seed, n=n, spare=quiet))
        held_back = {"held_back_pairs": report["metrics"], "tuning": report["tuning"]} if kind == "tuned" else {}
        return replies, {"seconds_to_make": made, "engine": engine, **held_back, **figures(replies)}


def gain(tuned: Sequence[bool], untuned: Sequence[bool]) -> dict[str, Any]:
    """The paired difference on messages that both were asked."""
    difference = np.array(tuned, dtype=float) - np.array(untuned, dtype=float)
    return {"difference": float(difference.mean()), "interval": list(bootstrap_mean(difference, seed=0))}


def main() -> None:
    """Measure and write the result."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--n", type=int, default=77, help="messages (default: 77, one an intent)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default: 0)")
    parser.add_argument("--pairs", type=int, help="pairs to tune on (default: all 462)")
    parser.add_argument("--quiet", type=float, default=0.0, metavar="SECONDS", help="wait so long in all for quiet")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed])
    record.data = {file: sha256(LENDER / file) for file in (MESSAGES, HELP, PAIRS)}
    results = {kind: ask(kind, seed=given.seed, n=given.n, pairs=given.pairs, quiet=given.quiet) for kind in KINDS}
    record.figures = {kind: kind_figures for kind, (_, kind_figures) in results.items()}
    tuned, untuned = (results[kind][0][: given.n] for kind in ("tuned", "untuned"))
    stands = gain([reply.fate == "stands" for reply in tuned], [reply.fate == "stands" for reply in untuned])
    full = gain([holds_all(reply) for reply in tuned], [holds_all(reply) for reply in untuned])
    record.figures["gain"] = {"drafts_that_stand": stands, "stated_in_full": full}
    whole = given.pairs is None
    record.bars = [
        Bar(
            what="drafts that stand, tuned less untuned",
            measured=stands["difference"] if whole else None,
            limit=0.0,
        )
    ]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
