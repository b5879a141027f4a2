"""`coterie plan` against fresh loads: predicted p95 at .3, .6 and .8 of the knee, between the points, and replicas.

    python benchmarks/plan/run.py [--network FOLDER] [--seconds 4] [--rounds 3]

A gateway with a classifier of the bundled encoder is measured as `coterie plan --measure` does. After each round of the
curve fresh loads with other arrivals and texts are run at the rates that are to be predicted, so that curve and check
meet the same machine. Then for several rates of many gateways: one gateway is given its share when there are as many as
planned, and its share when there is one less.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import LENDER, TRIAGE
from _record import Bar, Record, arguments, load_average, sha256
from coterie.config.file import load_config
from coterie.learning.job import Silent
from coterie.scale.planning import (
    Curve,
    LoadStep,
    Measurement,
    draw_texts,
    expected,
    kept_up,
    network_of,
    quantile,
    replicas_for,
    serving,
)
from coterie.training.train import train

CLAIM = "Latency read from measured open loops is that of fresh ones, and as many gateways are planned as are needed."
DATA = "data/triage.train.csv"
NETWORK = '[network]\nname = "bank"' + TRIAGE
ROWS = 1500
BARS, BETWEEN = (0.3, 0.6, 0.8), (0.37, 0.65, 0.75)
PLANNED = (1.5, 2.5, 3.5)
"""Rates of all gateways, in knees of one."""


async def measured(folder: Path, seconds: float, rounds: int) -> tuple[Curve, dict[float, list[LoadStep]], list[dict]]:
    """The curve, fresh loads by share of the knee, and what became of planned replicas."""
    config = load_config(folder)
    texts, mix = draw_texts(config, folder, None, seed=0)
    others, _ = draw_texts(config, folder, None, seed=1)
    before = load_average()
    with serving(folder, config, workers=1) as replica:
        work = Measurement(replica, texts, seconds=seconds, rounds=rounds, say=lambda line: print(line, flush=True))
        check = Measurement(replica, others, seconds=seconds)
        # Other arrivals and other texts, with numbers at their end of nearly as many digits as those of the curve.
        check._number, check._asked = 10_000, 500_000  # noqa: SLF001
        fresh: dict[float, list[LoadStep]] = {share: [] for share in (*BARS, *BETWEEN)}

        async def after_round(knee: float) -> None:
            for share, loads in fresh.items():
                loads.append(await check.load(share * knee))

        knee, points, cost, warnings = await work.run(after_round)
        curve = Curve(
            workers=1, knee=knee, points=points, cost=cost, memory_mb=replica.memory_mb(), mix=mix,
            network=network_of(config, folder), date="", machine="", load=(before, load_average()), warnings=warnings,
        )  # fmt: skip
        shares = []
        for knees in PLANNED:
            count = replicas_for(curve, knees * knee)
            steps = [await check.load(knees * knee / workers) for workers in (count, count - 1)]
            shares.append(
                {"rate, in knees": knees, "replicas": count, "kept up": [kept_up(step, work.alone) for step in steps]}
            )
    return curve, fresh, shares


def make(folder: Path) -> None:
    """Train a network of one classifier."""
    folder.mkdir(exist_ok=True)
    lines = (LENDER / DATA).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "triage.csv").write_text("".join(lines[: ROWS + 1]), encoding="utf-8")
    (folder / "coterie.toml").write_text(NETWORK, encoding="utf-8")
    train(folder, progress=Silent())
    shutil.rmtree(folder / "state", ignore_errors=True)


def main() -> None:
    """Run it."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--network", type=Path, help="folder of a trained network, made if it is not there")
    parser.add_argument("--make", action="store_true", help="make the network and stop")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[0, 1])
    with tempfile.TemporaryDirectory() as name:
        folder = given.network or Path(name)
        if not (folder / "coterie.toml").exists():
            make(folder)
        if given.make:
            return
        record.data = {DATA: sha256(LENDER / DATA)}
        curve, fresh, shares = asyncio.run(measured(folder, given.seconds, given.rounds))
    predicted = {}
    for share, steps in fresh.items():
        of_rounds = {
            name: [quantile(step.latencies, at) for step in steps] for name, at in (("p50", 0.5), ("p95", 0.95))
        }
        forecast, came = expected(curve, share * curve.knee, "p95"), median(of_rounds["p95"])
        predicted[f"{share:g}"] = {
            "rate": share * curve.knee,
            "predicted p95 ms": forecast.value,
            "range": [forecast.low, forecast.high],
            "measured p95 ms": came,
            "of rounds": of_rounds["p95"],
            "error": forecast.value / came - 1,
            "p50": [expected(curve, share * curve.knee, "p50").value, median(of_rounds["p50"])],
        }
    record.figures = {
        "knee, requests a second": curve.knee,
        "curve": [
            {"rate": point.rate, **{name: point.typical(name) for name in point.pooled}} for point in curve.points
        ],
        "cost of a request": {"cpu seconds": curve.cost.cpu_seconds, "joules, estimated": curve.cost.joules},
        "memory MB": curve.memory_mb,
        "load": curve.load,
        "by share of the knee": predicted,
        "planned replicas": shares,
        "median error": median(abs(point["error"]) for point in predicted.values()),
    }
    record.bars = [
        Bar(
            what=f"error of p95 at {share:g} of the knee",
            measured=abs(predicted[f"{share:g}"]["error"]),
            limit=0.25,
            at_most=True,
        )
        for share in BARS
    ]
    exact = all(share["kept up"] == [True, False] for share in shares)
    record.bars.append(Bar(what="planned replicas exact", measured=float(exact), limit=1.0))
    record.notes += curve.warnings
    record.note_load()
    for bar in record.bars:
        print(bar)
    record.write(given.out)


if __name__ == "__main__":
    main()
