"""Training a `classify` specialist: every rung, calibrated on rows it has not seen, measured on held-out rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from coterie.engines.linear import LinearEngine, dump_head
from coterie.learning.calibration import (
    fit_confidence,
    fit_sigmoid_temperature,
    fit_temperature,
    raise_confidence,
    sigmoid,
    softmax,
)
from coterie.learning.candidates import Answered, Candidate
from coterie.learning.evaluation import Evaluation
from coterie.learning.examples import FOLDS, TextExamples, cut_folds, deal_folds, text_examples
from coterie.learning.job import Job
from coterie.learning.kernel import UNSAID
from coterie.learning.measure import (
    Encoded,
    ask_held_out,
    foreign_languages,
    held_out_vectors,
    held_out_warnings,
    rated,
    window_warnings,
)
from coterie.learning.scope import ScopeScore
from coterie.learning.scope_fitting import ScopeLine, draw_line
from coterie.learning.threshold import provable
from coterie.policy.acceptance import CalibrationOutcomes
from coterie.specialists.acceptance import Acceptance, ConfidenceLine
from coterie.specialists.artefacts import own_encoder_files
from coterie.tasks.classify.fit_chain import Calibrated, Made, train_rung_chain
from coterie.tasks.classify.fit_prompted import train_prompted
from coterie.tasks.classify.heads import TextFit, fit_text
from coterie.tasks.classify.metrics import judge
from coterie.tasks.classify.model import ClassifySpecialist
from coterie.tasks.classify.section import ClassifySection
from coterie.types import Task

if TYPE_CHECKING:
    from coterie.tasks.classify.fit_slm import SlmFit


def train_classify(job: Job[ClassifySection], encoded: Encoded) -> list[Candidate]:
    """A candidate a rung, cheapest first.

    Args:
        job: What to train.
        encoded: The training texts' encodings; the router's profile needs them on every rung.
    """
    folds = deal_folds(job.train, FOLDS, job.section.seed, in_order=not job.section.multi_label)
    examples = text_examples(
        job.train, job.train.label_names, folds, seed=job.section.seed, several=job.section.multi_label
    )
    examples = replace(examples, pieces=cut_folds(job.train, folds, job.section.seed))
    # First, though it is the dearest rung: a model that cannot be asked costs no training time.
    prompted = [train_prompted(job, examples, encoded)] if "llm" in job.measured_rungs else []
    made = [_make(job, fit, examples.take(fit.rows)) for fit in fit_text(job, examples, encoded)]
    candidates = [each.candidate for each in made]
    if job.section.chain:
        candidates.append(train_rung_chain(job, made))
    if "slm" in job.measured_rungs:
        # Imported here: it needs torch, which nothing else does.
        from coterie.tasks.classify.fit_slm import fit_slm  # noqa: PLC0415

        with fit_slm(job, examples) as fit:
            candidates.append(_make(job, fit, examples.take(fit.rows)).candidate)
    return [*candidates, *prompted]


def _make(job: Job[ClassifySection], fit: TextFit | SlmFit, examples: TextExamples) -> Made:
    """Calibrate, decide from which confidence to accept, measure on held-out rows.

    Args:
        job: What is trained.
        fit: A rung.
        examples: The rows of its out-of-fold logits.
    """
    several, targets = examples.several, examples.targets(fit.logits)
    apart = fit.apart if isinstance(fit, TextFit) else None
    # Rungs differ in what they make of other words, not in what they make of copies; and so do confidences.
    logits = fit.logits if apart is None else apart.logits
    temperature = (fit_sigmoid_temperature if several else fit_temperature)(logits, targets)
    said, predicted, right = _confidence(logits / temperature, examples)
    fitted = fit_confidence(said, right)
    if fitted and isinstance(fit, TextFit) and fit.gain:
        fitted = raise_confidence(fitted, said, UNSAID * fit.gain)
    line = ConfidenceLine(**asdict(fitted)) if fitted else ConfidenceLine()
    confidence = line.believe(said)
    with_copies = apart is not None and apart.logits is not fit.logits
    copies = _copies_warning(_confidence(fit.logits, examples)[2], right) if with_copies else None
    # The prior is of what people write, each text by itself, on the rung that it was measured on.
    usual = job.section.risk_prior and fit.rung == "embedding" and apart is None and not several
    groups = [job.train.rows[row].group for row in fit.rows]
    shown = provable(job.section, confidence, right, groups, said=said if usual else None)
    threshold = shown.threshold
    scope_line = _scope(fit, temperature, examples)
    acceptance = Acceptance(
        temperature=temperature,
        threshold=threshold.value,
        target_risk=shown.risk,
        scope_threshold=scope_line.least if scope_line else None,
    )
    specialist, files = _built(job, fit, acceptance, line, scope_line.scope if scope_line else None)
    # What the cost-quality policy derives its accept thresholds from.
    judged = CalibrationOutcomes(confidence=confidence, right=right, group=job.group_numbers(fit.rows))
    if job.cross_validated:
        vectors, measured = None, job.train.take(fit.rows.tolist())
        scores = scope_line.scores if scope_line else logits.max(axis=1) / temperature
        findings = [
            specialist.decide(Task(text=row.text), scaled, float(score))
            for row, scaled, score in zip(measured.rows, logits / temperature, scores, strict=True)
        ]
    else:
        vectors, measured = held_out_vectors(job, fit.rung), job.held_out
        findings = ask_held_out(job, fit.rung, specialist, vectors)
    evaluation = judge(measured.rows, findings)
    unread = tuple(_warnings(job, fit, evaluation))
    candidate = Candidate(
        rung=fit.rung,
        files={**files, **judged.to_files()},
        validation={name: rated(name, right, predicted, targets) for name in job.measures},
        evaluation=evaluation,
        seconds=fit.seconds,
        measured=measured if job.cross_validated else None,
        answered=Answered(round(threshold.coverage * threshold.n), threshold.n, shown.risk),
        right=_in_order(right, fit.rows, len(job.train)),
        usual=fit.rung != "embedding" or not foreign_languages(job),
        notes={
            **({"measured": f"{len(np.unique(examples.folds))}-fold cross-validation"} if job.cross_validated else {}),
            "temperature": temperature,
            "line": [line.slope, line.intercept],
            **({"expected_gain": fit.gain} if isinstance(fit, TextFit) and fit.gain else {}),
            **({"pool": [float(share) for share in fit.shares]} if isinstance(fit, TextFit) else {}),
            **fit.notes,
            "threshold": {"value": threshold.value, "coverage": threshold.coverage, **threshold.reason.described()},
        },
        warnings=tuple(filter(None, [shown.warning, copies, *unread])),
    )
    in_scope = scope_line.scores >= scope_line.least if scope_line else np.ones(len(right), dtype=bool)
    calibrated = Calibrated(
        rows=fit.rows, confidence=confidence, right=right, in_scope=in_scope, predicted=predicted, targets=targets
    )
    return Made(candidate, specialist, files, calibrated, findings, vectors, unread)


def _in_order(right: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray | None:  # (R,), (R,) -> (count,)
    """Which of all rows are named right, in their order; None where some were not asked about."""
    return right[np.argsort(rows)] if len(rows) == count else None


def _copies_warning(with_copies: np.ndarray, without: np.ndarray) -> str:
    """That the figures are of near copies; both are whether each row is named right out of fold, (N,)."""
    return (
        f"the training texts are near copies of each other: {with_copies.mean():.0%} are named right out of fold, "
        f"{without.mean():.0%} without a text's near copies. That is nearer to what to expect of texts in other words: "
        "add some as people write them"
    )


def _warnings(job: Job[ClassifySection], fit: TextFit | SlmFit, evaluation: Evaluation) -> Iterator[str]:
    if isinstance(fit, TextFit):
        return window_warnings(job, fit.rung, evaluation, fit.encoder, fit.tuned_on)
    return held_out_warnings(job, fit.rung, evaluation)


def _built(
    job: Job[ClassifySection],
    fit: TextFit | SlmFit,
    acceptance: Acceptance,
    line: ConfidenceLine,
    scope: ScopeScore | None,
) -> tuple[ClassifySpecialist, Mapping[str, bytes]]:
    if not isinstance(fit, TextFit):
        specialist = ClassifySpecialist(
            card=job.card(fit.rung),
            head=fit.head,
            labels=job.train.label_names,
            acceptance=acceptance,
            line=line,
            record=job.section.record,
        )
        return specialist, fit.files_of(specialist)
    specialist = ClassifySpecialist(
        card=job.card(fit.rung),
        head=LinearEngine(fit.head),
        labels=job.train.label_names,
        acceptance=acceptance,
        line=line,
        encoder=fit.encoder or (job.encoder if fit.rung == "embedding" else None),
        multi_label=job.section.multi_label,
        scope=scope,
        record=job.section.record,
    )
    scope_files = scope.to_files() if scope else {}
    return specialist, dump_head(fit.head, specialist.describe()) | scope_files | own_encoder_files(fit.files)


def _scope(fit: TextFit | SlmFit, temperature: float, examples: TextExamples) -> ScopeLine | None:
    """From where a text counts as in scope; None where "none of the labels" is an answer, so nothing is out of it."""
    if examples.several:
        return None
    if not isinstance(fit, TextFit):
        return draw_line(None, None, fit.logits / temperature, None)
    apart = fit.apart and fit.apart._replace(logits=fit.apart.logits / temperature)
    return draw_line(fit.compared, fit.nearest, fit.logits / temperature, apart)


def _confidence(logits: np.ndarray, examples: TextExamples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability (N,) of what is predicted (N,) or (N, L), and whether it is right (N,); as the specialist decides."""
    if not examples.several:
        probabilities = softmax(logits)
        predicted = probabilities.argmax(axis=1)
        return probabilities.max(axis=1), predicted, examples.hot[np.arange(len(logits)), predicted] > 0
    probabilities = sigmoid(logits)
    predicted = probabilities >= 0.5  # (N, L)
    confidence = np.maximum(probabilities, 1.0 - probabilities).prod(axis=1)
    return confidence, predicted, (predicted == (examples.hot > 0)).all(axis=1)
