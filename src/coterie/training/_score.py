"""Training a `score` specialist: a scorecard of columns, and of a text through a text model's log-odds."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from coterie.calibration import Threshold, accept_threshold, fit_platt
from coterie.data import Dataset, folds
from coterie.engines import ColumnBins, LinearEngine, TableHead, dump_head
from coterie.evaluation import Evaluation, auroc, bootstrap_interval, judge
from coterie.errors import ConfigError
from coterie.specialists import Acceptance, ScoreSpecialist
from coterie.types import ContextView, Finding, Task

from ._candidates import Candidate
from ._job import Job
from ._measure import measure
from ._scorecard import ColumnPlan, bin_rows, fit_scorecard, plan_columns

FOLDS = 10

# Attributes on which a decision about a person may not rest in most places; matched against the words of a name.
_PROTECTED_WORDS = frozenset(
    "sex gender age birth birthday born race ethnicity ethnic religion religious nationality citizenship foreign foreigner "
    "marital married disability disabled pregnant pregnancy orientation".split()
)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A scorecard of all rows, and what its like said of rows they had not seen."""

    head: TableHead
    out_of_fold: np.ndarray  # (N,) calibrated log-odds
    targets: np.ndarray  # (N,)
    folds: np.ndarray  # (N,)
    plan: ColumnPlan
    floor: np.ndarray  # (N,) out-of-fold log-odds of a plain logistic regression
    seconds: float


def train_score(job: Job) -> list[Candidate]:
    """The candidate of the `lexical` rung. Without a test file its figures are cross-validated.

    Raises:
        ConfigError: the section names a column that the data does not have.
    """
    fitted = _fit(job)
    confidence = np.maximum(expit(fitted.out_of_fold), expit(-fitted.out_of_fold))
    right = (fitted.out_of_fold > 0) == (fitted.targets == 1)
    threshold = accept_threshold(confidence, right, target_risk=job.section.target_risk)
    specialist = _specialist(job, fitted, threshold)
    if job.section.test is None:
        evaluation = _cross_validated(job.train, fitted, specialist)
    else:
        evaluation = measure(job, "lexical", specialist)
    return [_candidate(job, fitted, threshold, specialist, evaluation)]


def _fit(job: Job) -> Fitted:
    """Ten-fold out-of-fold predictions of the whole procedure, then one fit of all rows."""
    start = time.perf_counter()
    plan = plan_columns(job.train.columns, _excluded(job))
    targets = np.array([int(row.labels[0]) for row in job.train.rows])
    bins = bin_rows(plan.columns, job.train.columns)
    fold_of = folds(job.train, FOLDS, job.section.seed)
    held, floor = np.zeros(len(targets)), np.zeros(len(targets))
    job.progress.start(f"{job.name}: scorecard", FOLDS + 1)
    for fold in range(FOLDS):
        out = fold_of == fold
        card = fit_scorecard(plan.columns, bins[~out], targets[~out], seed=job.section.seed)
        held[out] = [card.base + card.parts(row).sum() for row in bins[out].tolist()]
        floor[out] = _floor(plan.columns, bins, targets, out)
        job.progress.advance(1)
    line = fit_platt(held, targets)
    card = fit_scorecard(plan.columns, bins, targets, seed=job.section.seed)
    job.progress.advance(1)
    job.progress.finish("")
    return Fitted(
        head=card.rescaled(line.slope, line.intercept),
        out_of_fold=line.slope * held + line.intercept,
        targets=targets,
        folds=fold_of,
        plan=plan,
        floor=floor,
        seconds=time.perf_counter() - start,
    )


def _excluded(job: Job) -> dict[str, str]:
    """Columns that must not be used, each with the reason."""
    names = job.train.column_names
    named = (*job.section.exclude, *(job.section.protected or ()))
    if absent := [name for name in named if name not in names]:
        raise ConfigError(
            f"specialists.{job.name} excludes {absent}, but {job.train.name} has the columns {list(names)}.",
            hint="Correct `exclude` or `protected` in coterie.toml.",
        )
    if job.section.protected is None:
        protected = [name for name in names if _words(name) & _PROTECTED_WORDS]
    else:
        protected = list(job.section.protected)
    return dict.fromkeys(protected, "protected attribute") | dict.fromkeys(job.section.exclude, "excluded by coterie.toml")


def _words(name: str) -> set[str]:
    """The words of a column's name: `foreignWorker` and `foreign_worker` have the same."""
    return set(re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower().replace("_", " ").replace("-", " ").split())


def _floor(columns: Sequence[ColumnBins], bins: np.ndarray, targets: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Log-odds of the held-out rows by a plain logistic regression on one-hot bins: what every score is held against."""
    hot = np.hstack([np.eye(column.size)[bins[:, j]] for j, column in enumerate(columns)])
    model = LogisticRegression(C=0.1, max_iter=500).fit(hot[~out], targets[~out])
    return np.asarray(model.decision_function(hot[out]))


def _specialist(job: Job, fitted: Fitted, threshold: Threshold) -> ScoreSpecialist:
    bins = bin_rows(fitted.plan.columns, job.train.columns).tolist()
    parts = np.abs([fitted.head.parts(row) for row in bins]).mean(axis=0)  # (C,)
    names = [column.name for column in fitted.plan.columns]
    return ScoreSpecialist(
        card=job.card("lexical", tuple(names)),
        head=LinearEngine(fitted.head),
        bins=fitted.plan.columns,
        importance={name: round(float(part), 4) for name, part in zip(names, parts, strict=True)},
        left_out=fitted.plan.left_out,
        positive=job.section.label_column,
        acceptance=Acceptance(
            temperature=1.0, threshold=threshold.value, target_risk=job.section.target_risk, scope_threshold=None
        ),
    )


def _cross_validated(data: Dataset, fitted: Fitted, specialist: ScoreSpecialist) -> Evaluation:
    """The figures of the out-of-fold predictions, judged like a specialist's findings."""
    findings = []
    for log_odds in fitted.out_of_fold:
        probability = float(expit(log_odds))
        confidence = max(probability, 1.0 - probability)
        accepted, reason = specialist.acceptance.judge(confidence, None)
        findings.append(
            Finding(
                specialist=specialist.card.name,
                value=probability,
                text="",
                confidence=confidence,
                accepted=accepted,
                reason=reason,
            )
        )
    return judge(data.rows, findings, task="score", seed=0)


def _candidate(
    job: Job, fitted: Fitted, threshold: Threshold, specialist: ScoreSpecialist, evaluation: Evaluation
) -> Candidate:
    by_fold = [
        auroc(fitted.out_of_fold[out], fitted.targets[out])
        for fold in range(FOLDS)
        if (out := fitted.folds == fold).any()
    ]
    quality = {"auc": evaluation.auc, "accuracy": evaluation.accuracy, "macro_f1": evaluation.macro_f1}[job.quality]
    interval = evaluation.intervals.get(job.quality)
    assert quality is not None, "a score has these figures"
    assert interval is not None, "and their intervals"
    return Candidate(
        rung="lexical",
        files=dump_head(fitted.head, specialist.describe()),
        quality=job.quality,
        validation=quality,
        validation_interval=interval,
        evaluation=evaluation,
        seconds=fitted.seconds,
        notes={
            "measured": "10-fold cross-validation" if job.section.test is None else "held-out file",
            "auc_by_fold": {"mean": float(np.mean(by_fold)), "sd": float(np.std(by_fold))},
            "floor": {
                "model": "logistic regression on one-hot bins",
                "auc": auroc(fitted.floor, fitted.targets),
                "interval": list(bootstrap_interval(auroc, fitted.floor, fitted.targets, seed=0)),
            },
            "left_out": dict(fitted.plan.left_out),
            "threshold": {"value": threshold.value, "coverage": threshold.coverage, "reason": threshold.reason},
        },
    )
