"""Training a `classify` specialist: every rung, calibrated on rows it has not seen, measured on held-out rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from coterie.calibration import (
    accept_threshold,
    fit_pool,
    fit_sigmoid_temperature,
    fit_temperature,
    max_logit,
    scope_threshold,
    sigmoid,
    softmax,
)
from coterie.data import folds
from coterie.engines import LinearEngine, TextHead, dump_head
from coterie.evaluation import Interval, bootstrap_interval, macro_f1, multilabel_f1
from coterie.specialists import Acceptance, ClassifySpecialist
from coterie.types import Rung

from ._candidates import Candidate
from ._examples import TextExamples
from ._job import Job
from ._kernel import KernelFit, fit_kernel
from ._measure import measure
from ._text import build_head, fit_lexical, lexical_out_of_fold, ngram_features, ngram_matrix

FOLDS = 5
RUNGS: tuple[Rung, ...] = ("lexical", "embedding")
FALSE_REJECTION = 0.02  # share of in-scope rows that the out-of-scope score may reject


def train_classify(job: Job, vectors: np.ndarray) -> list[Candidate]:
    """A candidate a rung, cheapest first.

    Args:
        job: What to train.
        vectors: (N, D) encodings of the training texts; the router's profile needs them on every rung.
    """
    labels = job.train.label_names
    examples = text_examples(job, labels)
    wanted = job.section.rungs or RUNGS
    start = time.perf_counter()
    job.progress.start(f"{job.name}: lexical", FOLDS + 1)
    features = ngram_features(examples.texts)
    matrix = ngram_matrix(features, examples.texts)
    held = lexical_out_of_fold(matrix, examples, job.progress)
    lexical = fit_lexical(matrix, examples, np.arange(len(examples.texts)))
    job.progress.advance(1)
    job.progress.finish("")
    candidates = []
    for rung in RUNGS:
        if rung not in wanted and rung != "lexical":  # the floor is always measured
            continue
        kernel = _fit_kernel(job, examples, vectors) if rung == "embedding" else None
        logits = [held] if kernel is None else [held, kernel.out_of_fold]
        shares = fit_pool(logits, examples.targets(np.mean(logits, axis=0)))
        fit = RungFit(
            rung=rung,
            head=build_head(lexical, kernel, shares, features),
            labels=labels,
            examples=examples,
            logits=np.tensordot(shares, np.stack(logits), axes=1),
            shares=shares,
            seconds=time.perf_counter() - start,
        )
        candidates.append(_candidate(job, fit))
    return candidates


def text_examples(job: Job, labels: Sequence[str]) -> TextExamples:
    """The training rows as texts, targets and folds."""
    position = {label: index for index, label in enumerate(labels)}
    hot = np.zeros((len(job.train), len(labels)))
    for index, row in enumerate(job.train.rows):
        hot[index, [position[label] for label in row.labels]] = 1.0
    return TextExamples(
        texts=job.train.texts,
        hot=hot,
        several=job.section.multi_label,
        folds=folds(job.train, FOLDS, job.section.seed),
        seed=job.section.seed,
    )


def _fit_kernel(job: Job, examples: TextExamples, vectors: np.ndarray) -> KernelFit:
    job.progress.start(f"{job.name}: embedding", FOLDS)
    fitted = fit_kernel(vectors, examples, job.progress)
    job.progress.finish("")
    return fitted


@dataclass(frozen=True, kw_only=True)
class RungFit:
    """What fitting a rung gave, before it is calibrated and measured."""

    rung: Rung
    head: TextHead
    labels: tuple[str, ...]
    examples: TextExamples
    logits: np.ndarray  # (N, L), out of fold
    shares: np.ndarray  # (models,) of the pool
    seconds: float


def _candidate(job: Job, fit: RungFit) -> Candidate:
    """Calibrate, decide from which confidence to accept, measure on held-out rows."""
    several, targets = fit.examples.several, fit.examples.targets(fit.logits)
    temperature = (fit_sigmoid_temperature if several else fit_temperature)(fit.logits, targets)
    scaled = fit.logits / temperature
    confidence, predicted, right = _confidence(scaled, fit.examples)
    threshold = accept_threshold(confidence, right, target_risk=job.section.target_risk)
    acceptance = Acceptance(
        temperature=temperature,
        threshold=threshold.value,
        target_risk=job.section.target_risk,
        # Several labels or none: "none" is an answer there, so low logits do not mean out of scope.
        scope_threshold=None if several else scope_threshold(max_logit(scaled), false_rejection=FALSE_REJECTION),
    )
    specialist = ClassifySpecialist(
        card=job.card(fit.rung),
        head=LinearEngine(fit.head),
        labels=fit.labels,
        acceptance=acceptance,
        encoder=job.encoder if fit.rung == "embedding" else None,
        multi_label=several,
    )
    quality, interval = _validation(job.quality, right, predicted, targets)
    return Candidate(
        rung=fit.rung,
        files=dump_head(fit.head, specialist.describe()),
        quality=job.quality,
        validation=quality,
        validation_interval=interval,
        evaluation=measure(job, fit.rung, specialist),
        seconds=fit.seconds,
        notes={
            "pool": [float(share) for share in fit.shares],
            "temperature": temperature,
            "threshold": {"value": threshold.value, "coverage": threshold.coverage, "reason": threshold.reason},
        },
    )


def _confidence(logits: np.ndarray, examples: TextExamples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence (N,), what is predicted (N,) or (N, L), and whether it is right (N,); as the specialist decides."""
    if not examples.several:
        probabilities = softmax(logits)
        predicted = probabilities.argmax(axis=1)
        return probabilities.max(axis=1), predicted, examples.hot[np.arange(len(logits)), predicted] > 0
    probabilities = sigmoid(logits)
    predicted = probabilities >= 0.5  # (N, L)
    confidence = np.maximum(probabilities, 1.0 - probabilities).prod(axis=1)
    return confidence, predicted, (predicted == (examples.hot > 0)).all(axis=1)


def _validation(quality: str, right: np.ndarray, predicted: np.ndarray, targets: np.ndarray) -> tuple[float, Interval]:
    """The deciding measure on out-of-fold rows, with its interval."""
    if quality == "macro_f1":
        measure_f1 = partial(_macro_f1, several=targets.ndim == 2)
        return measure_f1(targets, predicted), bootstrap_interval(measure_f1, targets, predicted, seed=0, n=200)
    return float(right.mean()), bootstrap_interval(np.mean, right.astype(float), seed=0)


def _macro_f1(targets: np.ndarray, predicted: np.ndarray, *, several: bool) -> float:
    return multilabel_f1(targets, predicted, macro=True) if several else macro_f1(targets, predicted)
