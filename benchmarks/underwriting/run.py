"""Credit default: the scorecard beside logistic regression, by ten-fold cross-validation on several fold seeds.

    python benchmarks/underwriting/run.py                  # trains from examples/lender's applicants
    python benchmarks/underwriting/run.py --network demo   # the report of a trained lender network

Each fold is predicted by a scorecard that did not see it. With the protected columns let in, for comparison, and for
each target risk: how many applicants may be decided without a person when 1,000 applicants must prove it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import LENDER
from _lender import add_network, ready
from _record import Bar, Record, arguments, sha256
from _specialists import Steps, apart, champion, rung_report, write_network
from coterie.config.file import load_config
from coterie.registry.version import Version
from coterie.training.train import train

CLAIM = (
    "The underwriting score ranks applicants without the protected attributes, and knows how few it may decide alone."
)
FILE = "data/underwriting.csv"
BAR = 0.78
RISKS = (0.05, 0.10, 0.15)
PROTECTED = "protected_included"


def measure(seed: int, risks: Sequence[float]) -> dict[str, Any]:
    """One fold seed: the scorecard for each target risk, and once with the protected columns."""
    section = load_config(LENDER).specialists["underwriting"]
    wanted = {
        **section.model_dump(include={"task", "label_column", "protected"}),
        "data": str(LENDER / str(section.data)),
        "seed": seed,
    }
    sections = {_name(risk): {**wanted, "target_risk": risk} for risk in risks}
    sections[PROTECTED] = {**wanted, "protected": [], "target_risk": max(risks)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_network(folder, sections)
        trained = train(folder, progress=Steps()).specialists
        versions = {section: champion(folder, section) for section in sections}
    return {**_of_seed(versions, risks), "seconds": trained[_name(risks[0])].seconds["lexical"]}


def _name(risk: float) -> str:
    return f"risk_{round(100 * risk)}"


def _of_seed(versions: Mapping[str, Version], risks: Sequence[float]) -> dict[str, Any]:
    first = figures(versions[_name(risks[0])])
    by_risk = {f"{risk:g}": selective_figures(versions[_name(risk)]) for risk in risks}
    shared = {name: value for name, value in first.items() if name not in {"coverage", "accepted_accuracy"}}
    included = figures(versions[PROTECTED])
    return {
        **shared,
        "by_target_risk": by_risk,
        "protected_included": {"auc": included["auc"], "brier": included["brier"]},
    }


def selective_figures(version: Version) -> dict[str, Any]:
    """What may be decided at the version's target risk."""
    measured = figures(version)
    row = rung_report(version, "lexical")
    return {
        "coverage": measured["coverage"],
        "accepted_accuracy": measured["accepted_accuracy"],
        "reason": row["threshold"]["reason"],
    }


def figures(version: Version) -> dict[str, Any]:
    """The cross-validated figures of a version's report, with the floor's."""
    row = rung_report(version, "lexical")
    held = row["held_out"]
    names = ("n", "auc", "accuracy", "brier", "ece", "coverage", "accepted_accuracy")
    return {
        **{name: held[name] for name in names},
        "intervals": held["intervals"],
        "auc_by_fold": row["auc_by_fold"],
        "floor": row["floor"],
        "bytes": row["bytes"],
    }


def summary(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the fold seeds, with the lowest and the highest."""
    picks = {
        "auc": [run["auc"] for run in runs.values()],
        "floor_auc": [run["floor"]["auc"] for run in runs.values()],
        "protected_included_auc": [run["protected_included"]["auc"] for run in runs.values()],
        "mean_auc_of_folds": [run["auc_by_fold"]["mean"] for run in runs.values()],
        "brier": [run["brier"] for run in runs.values()],
    }
    risks = next(iter(runs.values()))["by_target_risk"]
    for risk in risks:
        picks[f"coverage at {risk}"] = [run["by_target_risk"][risk]["coverage"] for run in runs.values()]
    return {
        name: {"mean": float(np.mean(values)), "lowest": min(values), "highest": max(values)}
        for name, values in picks.items()
    }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    add_network(parser, default=None)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the folds")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=() if given.network else given.seeds, data={FILE: sha256(LENDER / FILE)})
    if given.network:
        record.figures = figures(champion(ready(given.network), "underwriting"))
        worst = record.figures["auc"]
    else:
        runs = {seed: apart(measure, seed, RISKS) for seed in given.seeds}
        record.figures = {"summary": summary(runs), "by_seed": runs}
        worst = min(run["auc"] for run in runs.values())
    record.bars.append(Bar(what="10-fold AUC (lowest fold seed)", measured=worst, limit=BAR))
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
