"""Alarms of a trained specialist when new intents come in, by the monitors of a running server.

    COTERIE_DATA=... python benchmarks/flywheel/served_drift.py

A specialist is trained on 60 of BANKING77's intents (training split); its findings on rows that it did not see, and on
the 17 intents that nobody told it of, are computed once. Streams are drawn from them: 5,000 known rows for false
alarms, and 2,000 known rows followed by 3,000 of which 10% or 20% are new. `DeploymentWatch` sees confidence and scope
of each, as in a server, with a patience of 20,000 calls for all monitors together. How often a watch that nothing
happens to is wrong is counted in streams of 20,000 known rows, begun anew after each alarm. Beside it,
windows of 200 under a
Kolmogorov-Smirnov test at 5%.
"""

from __future__ import annotations

import asyncio
import csv
import random
import sys
from pathlib import Path

import numpy as np
from scipy.stats import ks_2samp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _site import train_site
from _vectors import RememberingEncoder

from _data import find
from _record import Bar, Record, arguments, sha256
from coterie.engines.onnx import OnnxEncoder
from coterie.flywheel.deployments import DeploymentWatch
from coterie.types import ComparedAnswer

CLAIM = "A served specialist raises an alarm soon after new intents come in, and seldom without."
KNOWN, CHANGE, LONG, PATIENCE = 60, 2_000, 5_000, 20_000
Score = tuple[float, float | None]


async def findings(
    rows: list[tuple[str, str]], others: list[str], seed: int, encoder: OnnxEncoder
) -> tuple[list[Score], list[Score]]:
    """Confidence and scope of unseen known rows and of new ones."""
    cut = len(rows) // 2
    site = train_site(rows[:cut], encoder, seed=seed)
    known_findings, new = await site.ask([text for text, _ in rows[cut:]]), await site.ask(others)
    return [(finding.confidence, finding.in_scope) for finding in known_findings], [
        (finding.confidence, finding.in_scope) for finding in new
    ]


def alarm_at(before: list[Score], stream: list[Score]) -> tuple[int | None, str]:
    """The row at which a monitor raises an alarm, and which."""
    rows = [
        ComparedAnswer(deployment="d", example=str(i), time=float(i), confidence=c, in_scope=s)
        for i, (c, s) in enumerate(before)
    ]
    watch = DeploymentWatch(rows, PATIENCE)
    for row, (confidence, scope) in enumerate(stream, 1):
        drift = watch.answered(confidence, scope)
        if drift is not None:
            return row, drift.kind
    return None, ""


def alarms_in(before: list[Score], stream: list[Score]) -> int:
    """How many alarms a stream raises, watched anew after each."""
    count, at = 0, 0
    while True:
        row, _ = alarm_at(before, stream[at:])
        if row is None:
            return count
        count, at = count + 1, at + row


def windows(before: list[Score], stream: list[Score]) -> bool:
    """Whether any window of 200 differs under a Kolmogorov-Smirnov test."""
    confidences = [confidence for confidence, _ in before]
    values = [confidence for confidence, _ in stream]
    return any(ks_2samp(confidences, values[at : at + 200]).pvalue < 0.05 for at in range(0, len(values) - 199, 200))


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--streams", type=int, default=60)
    parser.add_argument("--long", type=int, default=200, help="streams of 20,000 rows without a change")
    parser.add_argument("--vectors", type=Path, help="file that keeps the vectors of texts")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed])
    path = find("banking77")[0]
    record.data[f"{path.parent.name}/{path.name}"] = sha256(path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    draw = random.Random(given.seed)  # noqa: S311 - draws no secret
    names = sorted({label for _, label in rows})
    known_labels = set(draw.sample(names, KNOWN))
    draw.shuffle(rows)
    mine = [row for row in rows if row[1] in known_labels][:6_000]
    others = [text for text, label in rows if label not in known_labels][:1_500]
    encoder = RememberingEncoder(given.vectors)
    seen, new = asyncio.run(findings(mine, others, given.seed, encoder))
    encoder.save()
    half = len(seen) // 2
    before, pool = seen[:half], seen[half:]
    stable = [alarm_at(before, draw.choices(pool, k=LONG)) for _ in range(given.streams)]
    alarms = [alarms_in(before, draw.choices(pool, k=PATIENCE)) for _ in range(given.long)]
    delays: dict[str, list[float]] = {}
    for share in (0.1, 0.2):
        waits = []
        for _ in range(given.streams // 2):
            after = [draw.choice(new) if draw.random() < share else draw.choice(pool) for _ in range(3_000)]
            row, _ = alarm_at(before, draw.choices(pool, k=CHANGE) + after)
            waits.append(float(LONG if row is None else row) - CHANGE)
        delays[f"{share:.0%}"] = waits
    control = float(np.mean([windows(before, draw.choices(pool, k=LONG)) for _ in range(given.streams)]))
    false = float(np.mean([row is not None for row, _ in stable]))
    record.figures = {
        "false_alarms_in_20000": float(np.mean(alarms)),
        "streams_of_20000": given.long,
        "stable_streams_with_an_alarm": false,
        "median_delay": {
            share: float(np.median([d for d in some if d > 0] or [3_000])) for share, some in delays.items()
        },
        "missed": {share: float(np.mean([d >= LONG - CHANGE for d in some])) for share, some in delays.items()},
        "windows_of_ks_stable_streams_with_an_alarm": control,
        "rows": {"before": len(before), "known": len(pool), "new": len(new)},
    }
    medians = record.figures["median_delay"]
    record.bars = [
        Bar(
            what="false alarms in 20,000 calls",
            measured=record.figures["false_alarms_in_20000"],
            limit=1.0,
            at_most=True,
        ),
        Bar(what="stable streams of 5,000 with an alarm", measured=false, limit=0.25, at_most=True),
        Bar(what="median rows to the alarm, 10% new", measured=medians["10%"], limit=500, at_most=True),  # type: ignore[index]
        Bar(what="median rows to the alarm, 20% new", measured=medians["20%"], limit=200, at_most=True),  # type: ignore[index]
    ]
    record.write(given.out)


if __name__ == "__main__":
    main()
