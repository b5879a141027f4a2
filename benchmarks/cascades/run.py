"""Recorded cascades: chains of models with thresholds from the train files, against doing without.

    COTERIE_DATA=FOLDER python benchmarks/cascades/run.py

Five tasks, two sets of models. Each policy is a row of scores and a row of costs on the test prompts; what is compared
is the error, averaged over all costs from the cheapest model's to the largest one's.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find
from _record import Bar, Record, arguments, sha256
from coterie.policy.cost_quality import Attempt, RecordedOutcome
from labs.outcomes.chain import Chains
from labs.outcomes.frontier import frontier
from labs.outcomes.table import OutcomeTable

CLAIM = "A chain of models with calibrated stopping is better than any single one of them at the same money."
TASKS = ("mmlu", "medmcqa", "triviaqa", "truthfulqa", "gsm8k")
CHAINS = ("llama", "qwen_oai")
FOLDS = 4
"""GSM8K has no test file: its train file is cross-validated."""
COSTS = 400
DRAWS = 300
_ANSWER = re.compile(r"####\s*\$?([-\d.,]+)")


class Policy(NamedTuple):
    """What one policy gave on each test row."""

    scores: np.ndarray  # (N,)
    costs: np.ndarray  # (N,)


class Curves(NamedTuple):
    """Policies of each way to decide, in the order of their cost on the train rows."""

    chain: list[Policy]
    """The frontier of chains and single models."""
    chains_alone: list[Policy]
    """The chains' own curve, without single models: what this benchmark measured before."""
    fixed: list[Policy]
    largest: list[Policy]
    """The cheapest and the largest model: a coin between them."""
    single: list[tuple[float, Policy]]
    """Single models, each better on the train rows than those before it; with its cost there."""


def read(path: Path) -> OutcomeTable:
    """The outcomes of one file; of a worked solution the answer is the number at its end."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        attempts = {
            name: Attempt(
                score=float(result["correct"]),
                cost=result["cost_usd"],
                confidence=math.exp(min(0.0, result["conf_log"])),
                answer=_said(result["answer"]),
            )
            for name, result in record["models"].items()
        }
        rows.append(RecordedOutcome(prompt=record["prompt"], attempts=attempts))
    return OutcomeTable(rows=tuple(rows), models=tuple(rows[0].attempts))


def _said(answer: str | None) -> str:
    match = _ANSWER.search(answer or "")
    return match.group(1).rstrip(".").replace(",", "") if match else answer or ""


def curves(train: OutcomeTable, test: OutcomeTable, models: Sequence[str] | None = None) -> Curves:
    """Every policy, decided on the train rows and played on the test rows."""
    policies = [policy.walk(test) for policy in frontier(train, models=models)]
    alone = [chain.walk(test) for chain in Chains(train).curve()]
    return Curves(
        chain=[Policy(policy.scores, policy.costs) for policy in policies],
        chains_alone=[Policy(policy.scores, policy.costs) for policy in alone],
        fixed=_fixed(train, test),
        largest=[Policy(test.scores[:, column], test.costs[:, column]) for column in (0, len(test.models) - 1)],
        single=_single(train, test),
    )


def _fixed(train: OutcomeTable, test: OutcomeTable) -> list[Policy]:
    """All models in order, one threshold for the confidence of each as it was recorded."""
    policies = []
    for threshold in [0.0, *np.quantile(train.confidences, np.linspace(0, 1, 60)), 1.01]:
        still_asked, scores, costs = np.ones(len(test), dtype=bool), np.zeros(len(test)), np.zeros(len(test))
        for column in range(len(test.models)):
            costs[still_asked] += test.costs[still_asked, column]
            stops = still_asked & ((test.confidences[:, column] >= threshold) | (column == len(test.models) - 1))
            scores[stops] = test.scores[stops, column]
            still_asked &= ~stops
        policies.append(Policy(scores, costs))
    return policies


def _single(train: OutcomeTable, test: OutcomeTable) -> list[tuple[float, Policy]]:
    prices = train.costs.mean(axis=0)
    return [
        (float(prices[column]), Policy(test.scores[:, column], test.costs[:, column])) for column in train.undominated()
    ]


def errors(policies: Sequence[Policy], rows: np.ndarray, grid: np.ndarray) -> np.ndarray:  # (G,)
    """Error at each cost, where a policy between two is a coin between them."""
    points = sorted((float(policy.costs[rows].mean()), 1 - float(policy.scores[rows].mean())) for policy in policies)
    return np.interp(grid, [cost for cost, _ in points], [error for _, error in points])


def step_errors(single: Sequence[tuple[float, Policy]], rows: np.ndarray, grid: np.ndarray) -> np.ndarray:  # (G,)
    """Error at each cost of the best single model that it pays for."""
    prices = np.array([float(policy.costs[rows].mean()) for _, policy in single])
    wrong = np.array([1 - float(policy.scores[rows].mean()) for _, policy in single])
    positions = np.maximum((grid[:, None] >= prices - 1e-15).cumsum(axis=1).argmax(axis=1), 0)
    return np.asarray(wrong[positions])


def compare(measured: Curves, rows: np.ndarray) -> dict[str, float]:
    """Areas, and by how much the chain is worse than the best single model where it is worst, and where that is."""
    low, high = (float(policy.costs[rows].mean()) for policy in measured.largest)
    low = min(low, *(float(policy.costs[rows].mean()) for _, policy in measured.single))
    grid = np.linspace(low, high, COSTS)
    chain, single = errors(measured.chain, rows, grid), step_errors(measured.single, rows, grid)
    alone = errors(measured.chains_alone, rows, grid)
    mixed = [policy for _, policy in measured.single]
    return {
        "chain": float(chain.mean()),
        "chains alone": float(alone.mean()),
        "largest": float(errors(measured.largest, rows, grid).mean()),
        "fixed threshold": float(errors(measured.fixed, rows, grid).mean()),
        "best single": float(single.mean()),
        "single models mixed": float(errors(mixed, rows, grid).mean()),
        "worst excess over best single": float((chain - single).max()),
        "at this share of the way from the lowest cost to the highest": float((chain - single).argmax() / (COSTS - 1)),
        "worst excess of chains alone": float((alone - single).max()),
    }


def measure(train: OutcomeTable, test: OutcomeTable | None, seed: int) -> dict[str, Any]:
    """One task and set of models: areas with intervals of what the chain gains."""
    measured = curves(train, test) if test is not None else _cross_validated(train, seed)
    n = len(measured.largest[0].scores)
    areas = compare(measured, np.arange(n))
    random = np.random.default_rng(seed)
    draws = [compare(measured, random.integers(n, size=n)) for _ in range(DRAWS)]
    gains = {}
    for other in ("largest", "fixed threshold", "best single", "single models mixed", "chains alone"):
        drawn = [draw[other] - draw["chain"] for draw in draws]
        gains[other] = {
            "gain": areas[other] - areas["chain"],
            "interval": [float(x) for x in np.quantile(drawn, [0.025, 0.975])],
        }
    last = measured.largest[1]
    return {
        "rows": n,
        "area": areas,
        "gain over": gains,
        "cheapest: accuracy": float(measured.largest[0].scores.mean()),
        "largest: accuracy, per 1,000": [float(last.scores.mean()), 1000 * float(last.costs.mean())],
        "dearest of the frontier: accuracy, per 1,000": _top(measured.chain),
    }


def _top(policies: Sequence[Policy]) -> list[float]:
    dearest = policies[-1]
    return [float(dearest.scores.mean()), 1000 * float(dearest.costs.mean())]


def _cross_validated(outcomes: OutcomeTable, seed: int) -> Curves:
    """Each fold played by policies of the others; the k-th policies of all folds are one."""
    folds = np.random.default_rng(seed).permutation(len(outcomes)) % FOLDS
    # Prices alone are looked at over all rows, so that the k-th policies of all folds belong together.
    models = [outcomes.models[column] for column in np.argsort(outcomes.costs.mean(axis=0), kind="stable")]
    parts = [
        curves(outcomes.take(np.flatnonzero(folds != fold)), outcomes.take(np.flatnonzero(folds == fold)), models)
        for fold in range(FOLDS)
    ]
    # Single models are chosen on the whole file: that flatters them, not the chain.
    order = np.concatenate([np.flatnonzero(folds == fold) for fold in range(FOLDS)])
    whole = outcomes.take(order)
    return Curves(
        chain=[_joined(policies) for policies in zip(*(part.chain for part in parts), strict=True)],
        chains_alone=[_joined(policies) for policies in zip(*(part.chains_alone for part in parts), strict=True)],
        fixed=[_joined(policies) for policies in zip(*(part.fixed for part in parts), strict=True)],
        largest=[_joined(policies) for policies in zip(*(part.largest for part in parts), strict=True)],
        single=_single(whole, whole),
    )


def _joined(policies: Sequence[Policy]) -> Policy:
    return Policy(*(np.concatenate(column) for column in zip(*policies, strict=True)))


def run(record: Record) -> None:
    """Every task and set of models, the test files read once."""
    paths = {path.stem: path for path in find("cascades_zellinger")}
    record.data |= {f"cascades_zellinger/{path.name}": sha256(path) for path in paths.values()}
    for name in CHAINS:
        by_task = {}
        for task in TASKS:
            test = paths.get(f"{task}_{name}_test")
            train = read(paths[f"{task}_{name}_train"])
            by_task[task] = measure(train, None if test is None else read(test), record.seeds[0])
        record.figures[name] = by_task
    better = min(CHAINS, key=lambda name: _worst_excess(record.figures[name]))  # both bars on one set of models
    record.bars += [
        Bar(
            what=f"smallest gain in area over all three, five tasks, {better}",
            measured=_least_gain(record.figures[better]),
            limit=0.0,
        ),
        Bar(
            what=f"worst excess over the best single model at equal cost, five tasks, {better}",
            measured=_worst_excess(record.figures[better]),
            limit=0.005,
            at_most=True,
        ),
    ]


def _worst_excess(figures: Mapping[str, Any]) -> float:
    return max(figure["area"]["worst excess over best single"] for figure in figures.values())


def _least_gain(figures: Mapping[str, Any]) -> float:
    compared = ("largest", "fixed threshold", "best single")
    return min(figure["gain over"][other]["gain"] for figure in figures.values() for other in compared)


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--seed", type=int, default=0, help="of folds and of the bootstrap")
    record = Record(claim=CLAIM, seeds=[(given := parser.parse_args()).seed])
    record.notes += [
        "at less than its price the largest alone is a coin between the cheapest and the largest model",
        "the best single model at a cost is the one that the train rows say, with nothing between two models",
        "gsm8k has no test file: cross-validated in four folds, with the single models chosen on all rows",
        "the test files were asked three times: with chains alone, and with two frontiers; none of it chose anything",
        "the outcomes are those of arXiv 2501.09345, whose areas are defined otherwise and not comparable",
    ]
    run(record)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
