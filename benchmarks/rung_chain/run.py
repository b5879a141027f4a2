"""A chain of a specialist's rungs against each of its rungs alone: quality, share answered, time and energy.

    COTERIE_DATA=FOLDER python benchmarks/rung_chain/run.py

Training rows of BANKING77 and CLINC150 only: some to train on, the others to measure on. No test file is read.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find
from _record import Bar, Record, arguments, sha256
from _specialists import WATTS_PER_CORE, Steps, champion, held_out, rung_report, write_network
from _training_rows import SETS
from coterie.config.file import load_config
from coterie.config.specialists import SpecialistSection
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.dataset import Row
from coterie.learning.evaluation import bootstrap_mean
from coterie.policy.cost_quality import STOPS, RungOutcomes
from coterie.protocols import Specialist
from coterie.tasks.classify.fit import choose_stop
from coterie.tasks.classify.loading import ChainSpecialist
from coterie.tasks.classify.model import ClassifySpecialist
from coterie.tasks.versions import load_specialist
from coterie.training.train import train
from coterie.types import SYSTEM, ContextView, Finding, Task

CLAIM = "A chain of rungs keeps 0.99 of what its last rung gets right, and holds its risk, at less energy."
NAMES = ("banking77", "clinc150")
TIMED = 1000
"""Rows of which the time is taken, each asked of every rung in turn."""
SPLITS, CALIBRATED = 200, 1000
"""Random splits of the rows measured on: so many rows choose the stop and the threshold, the others check them."""
SLACK = 0.05
"""Share of splits in which a promise may be broken."""


def cut(
    rows: Sequence[tuple[str, str]], per_label: int, seed: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """At most so many rows of each label to train on, and the others to measure on."""
    taken: Counter[str] = Counter()
    parts: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for index in np.random.default_rng(seed).permutation(len(rows)):
        text, label = rows[index]
        parts[taken[label] >= per_label].append((text, label))
        taken[label] += 1
    return parts


def make(folder: Path, name: str, rungs: Sequence[str], *, most: int, seed: int) -> None:
    """A network with the one specialist, trained."""
    every = SETS[name]()
    per_label = most // len({label for _, label in every})
    for part, rows in zip(("train", "rest"), cut(every, per_label, seed), strict=True):
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        (folder / f"{name}.{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    files = {"data": f"{name}.train.jsonl", "test": f"{name}.rest.jsonl"}
    write_network(folder, {name: {"task": "classify", **files, "chain": list(rungs), "seed": seed}})
    train(folder, progress=Steps())


# --- Asking --------------------------------------------------------------------------------------


async def timed(ways: Mapping[str, Specialist], rows: Sequence[Row], vectors: np.ndarray | None) -> dict[str, Any]:
    """Milliseconds and CPU time of each way of answering, each row asked of all of them in turn."""
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for index, row in enumerate((*rows[:20], *rows)):
        vector = None if vectors is None else vectors[max(index - 20, 0)]
        for name, specialist in ways.items():
            start, spent = time.perf_counter(), time.process_time()
            await specialist.consult(Task(text=row.text, vector=vector), ContextView(), call=SYSTEM)
            wall[name].append((time.perf_counter() - start) * 1000)
            cpu[name].append(time.process_time() - spent)
    return {
        name: {
            "ms_p50": float(np.percentile(wall[name][20:], 50)),
            "ms_mean": float(np.mean(wall[name][20:])),
            "joules_per_1000": 1000 * WATTS_PER_CORE * float(np.mean(cpu[name][20:])),
        }
        for name in ways
    }


async def found(specialist: Specialist, rows: Sequence[Row], vectors: np.ndarray) -> list[Finding]:
    """A finding a row."""
    return [
        await specialist.consult(Task(text=row.text, vector=vector), ContextView(), call=SYSTEM)
        for row, vector in zip(rows, vectors, strict=True)
    ]


# --- Figures -------------------------------------------------------------------------------------


def outcomes_of(chain: ChainSpecialist, findings: Mapping[str, Sequence[Finding]], rows: Sequence[Row]) -> RungOutcomes:
    """What each rung said of the rows measured on."""
    least = {rung: link.acceptance.scope_threshold or -np.inf for rung, link in chain.links}
    by_rung = [findings[rung] for rung, _ in chain.links]
    return RungOutcomes(
        confidence=np.array([[finding.confidence for finding in findings] for findings in by_rung]),
        right=np.array(
            [[f.value in row.labels for f, row in zip(findings, rows, strict=True)] for findings in by_rung]
        ),
        in_scope=np.array([[(f.in_scope or 0.0) >= least[rung] for f in findings[rung]] for rung, _ in chain.links]),
        group=np.arange(len(rows)),
    )


def promises(section: SpecialistSection, outcomes: RungOutcomes, seed: int) -> dict[str, Any]:
    """How often what was shown on some of the rows does not hold on the others."""
    random, n = np.random.default_rng(seed), len(outcomes.group)
    risks, kept, stops = [], [], []
    for _ in range(SPLITS):
        order = random.permutation(n)
        seen, other = (_take(outcomes, rows) for rows in (order[:CALIBRATED], order[CALIBRATED:]))
        chosen = choose_stop(section, seen)
        judged, line = other.at(chosen.stop), chosen.shown.threshold.value
        stops.append(chosen.stop)
        if line is not None:
            risks.append(float((~judged.right[judged.confidence >= line]).mean()) - chosen.shown.risk)
        kept.append(float(judged.right.mean()) - section.chain_quality * float(other.right[-1].mean()))
    return {
        "splits": SPLITS,
        "calibrated_on": CALIBRATED,
        "checked_on": n - CALIBRATED,
        "risk_above_target": float((np.array(risks) > 0).sum() / SPLITS),
        "quality_below_promise": float((np.array(kept) < 0).mean()),
        "stops": {str(stop): count for stop, count in Counter(stops).most_common()},
    }


def _take(outcomes: RungOutcomes, rows: np.ndarray) -> RungOutcomes:
    return RungOutcomes(**{name: array[..., rows] for name, array in vars(outcomes).items()})


def measured(folder: Path, name: str, seed: int) -> dict[str, Any]:
    """The chain and its rungs on the rows that were not trained on."""
    section, version, encoder = load_config(folder).specialists[name], champion(folder, name), OnnxEncoder.bundled()
    chain = load_specialist(name, section, version, encoder=encoder, models={})
    assert isinstance(chain, ChainSpecialist)  # noqa: S101
    rows = held_out(folder, section).rows
    vectors = encoder.encode([row.text for row in rows])
    ways: dict[str, ChainSpecialist | ClassifySpecialist] = {**dict(chain.links), "chain": chain}
    findings = {way: asyncio.run(found(specialist, rows, vectors)) for way, specialist in ways.items()}
    names = [rung for rung, _ in chain.links]
    outcomes, last = outcomes_of(chain, findings, rows), names[-1]
    sample = np.random.default_rng(seed).permutation(len(rows))[:TIMED]
    some = [rows[index] for index in sample]
    alone = asyncio.run(timed(ways, some, None))
    routed = asyncio.run(timed(ways, some, vectors[sample]))
    figures: dict[str, Any] = {
        "rows": {"trained_on": version.report["data"]["train"]["rows"], "measured_on": len(rows)},  # type: ignore[index,call-overload]
        "stop": rung_report(version, "chain")["stop"],
        "answered": dict(zip(names, outcomes.answered(chain.stop), strict=True)),
        "asked": dict(zip(names, outcomes.asked(chain.stop), strict=True)),
    }
    for way in ways:
        held = rung_report(version, way)["held_out"]
        whole = {key: held[key] for key in ("accuracy", "coverage", "accepted_accuracy", "ece")}
        figures[way] = whole | {"interval": held["intervals"]["accuracy"]} | alone[way]
        figures[way]["behind_the_router"] = routed[way]
    right = {way: np.array([f.value in r.labels for f, r in zip(findings[way], rows, strict=True)]) for way in ways}
    lost = right["chain"].astype(float) - right[last]
    joules = [{way: times[way]["joules_per_1000"] for way in ways} for times in (alone, routed)]
    figures["against_last"] = {
        "accuracy": float(lost.mean()),
        "interval": list(bootstrap_mean(lost, seed=0)),
        "kept": float(right["chain"].mean() / right[last].mean()),
        "times_less_energy": joules[0][last] / joules[0]["chain"],
        "times_less_energy_behind_the_router": joules[1][last] / joules[1]["chain"],
    }
    figures["curve"] = curve(names, outcomes, alone)
    figures["promises"] = promises(section, outcomes, seed)
    return figures


def curve(names: Sequence[str], outcomes: RungOutcomes, alone: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Quality and energy at each stop, as `coterie rightsize` works it out: the sum of what is asked."""
    points = []
    for stop in (None, *STOPS):
        shares = outcomes.asked(stop)
        joules = sum(share * alone[rung]["joules_per_1000"] for rung, share in zip(names, shares, strict=True))
        points.append({"stop": stop, "accuracy": float(outcomes.at(stop).right.mean()), "joules_per_1000": joules})
    return points


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--rows", type=int, default=3000, help="rows to train on, as many of each label")
    parser.add_argument("--chain", nargs="+", default=["lexical", "embedding", "encoder"], help="rungs, cheapest first")
    parser.add_argument("--sets", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder for the networks; one that is trained already is not again")
    given = parser.parse_args()
    files = [path for name in given.sets for path in find(name)[:1]]
    record = Record(claim=CLAIM, seeds=[given.seed], data={path.name: sha256(path) for path in files})
    with tempfile.TemporaryDirectory() as temporary:
        for name in given.sets:
            folder = (given.work or Path(temporary)).resolve() / name
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "registry").exists():
                make(folder, name, given.chain, most=given.rows, seed=given.seed)
            record.figures[name] = figures = measured(folder, name, given.seed)
            print(json.dumps(figures, indent=1), flush=True)
            record.bars += bars(name, figures)
    record.note_load()
    record.write(given.out)


def bars(name: str, figures: Mapping[str, Any]) -> list[Bar]:
    """What the claim comes to on one set."""
    against, promised = figures["against_last"], figures["promises"]
    return [
        Bar(what=f"{name}: share of the last rung's right answers kept", measured=against["kept"], limit=0.99),
        Bar(what=f"{name}: times less energy than the last rung", measured=against["times_less_energy"], limit=1.0),
        Bar(
            what=f"{name}: splits in which the risk was above the target",
            measured=promised["risk_above_target"],
            limit=SLACK,
            at_most=True,
        ),
        Bar(
            what=f"{name}: splits in which less was kept",
            measured=promised["quality_below_promise"],
            limit=SLACK,
            at_most=True,
        ),
    ]


if __name__ == "__main__":
    main()
