"""RouteLLM's recorded outcomes replayed: which prompts are worth GPT-4, learned from 1,530 of them.

    COTERIE_DATA=FOLDER python benchmarks/routellm/run.py

MMLU: an outcome profile learns from 1,530 prompts and orders all the others; five draws. GSM8K: cross-validated.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find
from _record import Bar, Record, arguments, sha256
from coterie.engines.onnx import OnnxEncoder
from coterie.policy.cost_quality import Attempt, RecordedOutcome
from labs.outcomes.curve import recovery
from labs.outcomes.features import PromptFeatures, fit_features
from labs.outcomes.profile import profile_of_rows
from labs.outcomes.replay import replay
from labs.outcomes.table import OutcomeTable

CLAIM = (
    "From 1,530 recorded outcomes the policy learns which prompts are worth a large model, better than published "
    "routers."
)
LABELS = 1_530
MODELS = ("mixtral-8x7b", "gpt-4-1106")
SET_ASIDE = 5_000
"""Prompts by which the method was chosen while it was made; figures without them stand beside."""
SET_ASIDE_SEED = 20261125
DRAWS = 300
PUBLISHED = {"APGR": 0.603, "CPT50": 0.354, "CPT80": 0.703, "strong for 95%": 0.55}
"""The best of RouteLLM's routers on MMLU (arXiv 2406.18665), second-hand."""


class Recorded(NamedTuple):
    """A benchmark's prompts with both models' outcomes."""

    prompts: list[str]
    subjects: np.ndarray  # (N,)
    weak: np.ndarray  # (N,) 0 or 1
    strong: np.ndarray  # (N,)

    def outcomes(self, rows: Sequence[int] | np.ndarray) -> OutcomeTable:
        """Some rows as recorded outcomes. No money is on record: a call of the strong model is the unit."""
        made = [
            RecordedOutcome(
                prompt=self.prompts[row],
                attempts={
                    MODELS[0]: Attempt(score=float(self.weak[row]), cost=0.0),
                    MODELS[1]: Attempt(score=float(self.strong[row]), cost=1.0),
                },
            )
            for row in rows
        ]
        return OutcomeTable(rows=tuple(made), models=MODELS)


def read(paths: Sequence[Path]) -> Recorded:
    """The rows of RouteLLM's files, one file a subject."""
    rows, subjects = [], []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            file_rows = list(csv.reader(file))[1:]
        rows += file_rows
        subjects += [path.stem] * len(file_rows)
    weak, strong = (np.array([row[column] == "True" for row in rows], dtype=float) for column in (1, 2))
    return Recorded([row[0] for row in rows], np.array(subjects), weak, strong)


def encoded(prompts: Sequence[str], cache: Path | None, key: str) -> np.ndarray:
    """The prompts' encodings; kept in a file where one is named."""
    if cache is not None and cache.is_file():
        kept = np.load(cache)
        if key in kept:
            return np.asarray(kept[key])
    vectors = OnnxEncoder.bundled(threads=2).encode(prompts)
    if cache is not None:
        others = dict(np.load(cache)) if cache.is_file() else {}
        np.savez(cache, **{**others, key: vectors})
    return vectors


def figures_of(gain: np.ndarray, data: Recorded, rows: np.ndarray) -> dict[str, float]:
    """APGR, CPT50, CPT80 and the strong calls for 95% of GPT-4, when `gain` orders the rows."""
    return asdict(recovery(gain, data.weak[rows], data.strong[rows]))


def one_draw(
    seed: int, data: Recorded, features: PromptFeatures, rows: np.ndarray, aside: np.ndarray
) -> dict[str, Any]:
    """One draw of labelled prompts, every other prompt ordered once."""
    drawn = np.random.default_rng(seed).permutation(len(data.prompts))
    labelled, unlabelled = np.sort(drawn[:LABELS]), np.sort(drawn[LABELS:])
    profile = profile_of_rows(data.outcomes(labelled), rows[labelled], features)
    predicted = profile.predict_rows(rows[unlabelled], clipped=False)
    gain = predicted[:, 1] - predicted[:, 0]
    fresh = ~np.isin(unlabelled, aside)
    return {
        "profile": figures_of(gain, data, unlabelled),
        "profile, without the prompts set aside": figures_of(gain[fresh], data, unlabelled[fresh]),
        "interval": _interval(gain, data, unlabelled, seed),
        "penalty": profile.penalty,
        "baselines": {
            "random": figures_of(np.random.default_rng(seed + 100).random(len(unlabelled)), data, unlabelled),
            "prompt length": figures_of(
                np.array([len(data.prompts[row]) for row in unlabelled], dtype=float), data, unlabelled
            ),
            "true subject, the same labels": figures_of(_by_subject(data, labelled, unlabelled), data, unlabelled),
            "oracle": figures_of((data.strong - data.weak)[unlabelled], data, unlabelled),
            "cheapest: accuracy": float(data.weak[unlabelled].mean()),
            "largest: accuracy": float(data.strong[unlabelled].mean()),
        },
    }


def _by_subject(data: Recorded, labelled: np.ndarray, unlabelled: np.ndarray, strength: float = 15.0) -> np.ndarray:
    """The mean gain of the prompt's true subject, drawn to the mean of all: what a perfect domain router would know."""
    gain = data.strong - data.weak
    mean = gain[labelled].mean()
    of = {
        name: (gain[labelled][here].sum() + strength * mean) / (here.sum() + strength)
        for name in np.unique(data.subjects)
        for here in [data.subjects[labelled] == name]
    }
    return np.array([of[name] for name in data.subjects[unlabelled]])


def _interval(gain: np.ndarray, data: Recorded, rows: np.ndarray, seed: int) -> list[float]:
    """95% bootstrap interval of APGR over the prompts asked."""
    random = np.random.default_rng(seed)
    values = []
    for _ in range(DRAWS):
        drawn = random.integers(len(rows), size=len(rows))
        values.append(recovery(gain[drawn], data.weak[rows[drawn]], data.strong[rows[drawn]]).apgr)
    return [float(x) for x in np.quantile(values, [0.025, 0.975])]


def mean_of(draws: Sequence[Mapping[str, Any]], *keys: str) -> dict[str, float]:
    """The mean over draws of figures below some keys."""
    parts: list[Any] = list(draws)
    for key in keys:
        parts = [part[key] for part in parts]
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def run(record: Record, cache: Path | None) -> None:
    """MMLU for every seed, GSM8K once."""
    first, gsm = find("routellm")
    paths = sorted(first.parent.glob("mmlu_*.csv"))
    record.data |= {f"routellm/{'mmlu/' * (path in paths)}{path.name}": sha256(path) for path in [*paths, gsm]}
    data = read(paths)
    vectors = encoded(data.prompts, cache, "mmlu")
    features = fit_features(data.prompts, vectors, seed=0)
    rows = features.of(data.prompts, vectors)
    aside = np.random.default_rng(SET_ASIDE_SEED).permutation(len(data.prompts))[:SET_ASIDE]
    draws = [one_draw(seed, data, features, rows, aside) for seed in record.seeds]
    mean = mean_of(draws, "profile")
    record.figures["mmlu"] = {
        "prompts": len(data.prompts),
        "labelled": LABELS,
        "mean": mean,
        "mean, without the prompts set aside": mean_of(draws, "profile, without the prompts set aside"),
        "baselines": {
            name: mean_of(draws, "baselines", name)
            for name in ("random", "prompt length", "true subject, the same labels", "oracle")
        },
        "draws": draws,
        "published, not run here": PUBLISHED,
    }
    record.figures["gsm8k"] = gsm8k = _gsm8k(read([gsm]), cache)
    record.bars += [
        Bar(what="MMLU APGR", measured=mean["apgr"], limit=0.65),
        Bar(what="MMLU CPT50", measured=mean["cpt50"], limit=0.31, at_most=True),
        Bar(
            what="MMLU share of strong calls for 95% of GPT-4", measured=mean["strong_for_95"], limit=0.49, at_most=True
        ),
        Bar(what="GSM8K APGR, lower end of 95%", measured=gsm8k["interval"][0], limit=0.5),
    ]


def _gsm8k(data: Recorded, cache: Path | None) -> dict[str, Any]:
    """Five-fold cross-validated: each prompt ordered by a profile of the other folds."""
    result = replay(data.outcomes(range(len(data.prompts))), encoded(data.prompts, cache, "gsm8k"), seed=0)
    assert result.recovery is not None, "two models, asked everywhere"  # noqa: S101
    return {
        "prompts": len(data.prompts),
        **asdict(result.recovery),
        "interval": list(result.recovery_interval or ()),
        "cheapest: accuracy": float(data.weak.mean()),
        "largest: accuracy": float(data.strong.mean()),
    }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--vectors", type=Path, help="keep the encodings in this .npz: encoding takes most of the time")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=given.seeds)
    record.notes += [
        "comparable with RouteLLM: models, outcomes, figures, and the prompts but five (14,037 there, 14,042 here)",
        "not comparable: it learned from Chatbot Arena and GPT-4's judgements, this from 1,530 of MMLU's outcomes",
        "what prompts look like is learned from all 14,042, without any outcome",
        "asked twice: first with penalties by leave-one-out alone (APGR 0.6506); their floor is of those set aside",
        f"the method was chosen on {SET_ASIDE:,} prompts set aside; figures on prompts outside them stand beside",
    ]
    run(record, given.vectors)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
