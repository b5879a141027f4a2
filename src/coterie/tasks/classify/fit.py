"""Training a `classify` specialist: every rung, calibrated on rows it has not seen, measured on held-out rows.

Two guarantees hold, each with 95% confidence. The chain keeps `chain_quality` of what its last rung gets right
(`coterie.policy.cost_quality`). And of what the chain accepts, at most `target_risk` is wrong: for a given stop a
chain is one classifier with one confidence, so its threshold is tested as any classifier's, except that all
possible stops share the level (Bonferroni); choosing among them costs no confidence then. Most of the level goes
to the stop that the confidences predict: as in `coterie.learning`, they alone choose it, not what was right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coterie.engines.linear import LinearEngine, dump_head
from coterie.learning.calibration import (
    DELTA,
    Provable,
    fit_confidence,
    fit_sigmoid_temperature,
    fit_temperature,
    provable,
    raise_confidence,
    sigmoid,
    softmax,
)
from coterie.learning.evaluation import Evaluation, bootstrap_mean, judge_labels, label_cases
from coterie.learning.fitting import (
    FOLDS,
    UNSAID,
    ScopeLine,
    TextExamples,
    cut_folds,
    deal_folds,
    draw_line,
    text_examples,
)
from coterie.learning.job import Job
from coterie.learning.measure import (
    Answered,
    Candidate,
    Encoded,
    ask_held_out,
    foreign_languages,
    held_out_vectors,
    held_out_warnings,
    rated,
    window_warnings,
)
from coterie.learning.scope import ScopeScore
from coterie.policy.cost_quality import STOPS, CalibrationOutcomes, RungOutcomes, promised_stop, shown_stops
from coterie.specialists.parts import Acceptance, ConfidenceLine, own_encoder_files
from coterie.tasks.classify.fit_prompted import train_prompted
from coterie.tasks.classify.heads import TextFit, fit_text
from coterie.tasks.classify.loading import ChainRung, ChainSpecialist, chain_files, make_chain
from coterie.tasks.classify.model import ClassifySpecialist
from coterie.tasks.classify.section import ClassifySection
from coterie.types import Finding, Reason, Task

if TYPE_CHECKING:
    from coterie.tasks.classify.fit_tuned import SlmFit

_PROMISED, _NONE = 0.7, 0.1
"""Shares of the level for the predicted stop, and for no stop; stricter stops share the rest."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibrated:
    """A rung's predictions for training rows that it had not seen."""

    rows: np.ndarray  # (R,) their numbers
    confidence: np.ndarray  # (R,)
    right: np.ndarray  # (R,) bool
    in_scope: np.ndarray  # (R,) bool
    predicted: np.ndarray  # (R,) labels by number, or (R, L)
    targets: np.ndarray  # of the same shape

    def take(self, rows: np.ndarray) -> Calibrated:  # (M,) of N
        """Return some of the training rows, all of which it has."""
        at = np.searchsorted(self.rows, rows, sorter=(order := np.argsort(self.rows)))
        return Calibrated(**{name: array[order[at]] for name, array in vars(self).items()})


class Made(NamedTuple):
    """A rung, trained and measured."""

    candidate: Candidate
    specialist: ClassifySpecialist
    files: Mapping[str, bytes]
    """The rung's own files, without the description of the version beside them."""
    calibrated: Calibrated
    findings: Sequence[Finding]
    """Findings on the held-out rows."""
    vectors: np.ndarray | None
    """Encodings of the held-out texts, if the rung uses them; (N, D)."""
    unread: tuple[str, ...] = ()
    """Notes on the parts of texts that it did not read."""


class ChosenStop(NamedTuple):
    """The stop of a chain, and the threshold of its acceptance."""

    stop: float | None
    """Confidence from which a rung before the last answers; None: the last rung answers alone."""
    shown: Provable
    """The threshold of the chain, never above the stop, and the risk that it holds."""
    reason: Reason


def train_rung_chain(job: Job[ClassifySection], made: Sequence[Made]) -> Candidate:
    """Return the candidate of a job's chain, from its separately trained rungs.

    Args:
        job: Its section names the chain.
        made: The rungs, cheapest first; with the lexical floor, which the chain may lack.
    """
    kept = [rung for rung in made if rung.candidate.rung in (job.section.chain or ())]
    rows = _common(kept)
    calibrated = [rung.calibrated.take(rows) for rung in kept]
    outcomes = RungOutcomes(
        confidence=np.stack([outcomes.confidence for outcomes in calibrated]),
        right=np.stack([outcomes.right for outcomes in calibrated]),
        in_scope=np.stack([outcomes.in_scope for outcomes in calibrated]),
        group=job.group_numbers(rows),
    )
    chosen = choose_stop(job.section, outcomes)
    specialist = _specialist(job, kept, chosen)
    vectors = next((rung.vectors for rung in kept if rung.vectors is not None), None)
    findings = ask_held_out(job, "chain", specialist, vectors)
    evaluation = judge_labels(job.held_out.rows, findings)
    predicted, targets = _chain_predictions(calibrated, outcomes.answering(chosen.stop))
    judged, threshold = outcomes.at(chosen.stop), chosen.shown.threshold
    return Candidate(
        rung="chain",
        files={
            **chain_files(specialist, {rung.candidate.rung: rung.files for rung in kept}),
            **judged.to_files(),
        },
        validation={name: rated(name, judged.right, predicted, targets) for name in job.measures},
        evaluation=evaluation,
        seconds=_seconds(made),
        notes={
            "chain": [rung.candidate.rung for rung in kept],
            "stop": {"value": chosen.stop, "quality": job.section.chain_quality, **chosen.reason.described()},
            "asked": list(outcomes.asked(chosen.stop)),
            "curve": list(_curve(job, kept)),
            "threshold": {"value": threshold.value, "coverage": threshold.coverage, **threshold.reason.described()},
        },
        warnings=tuple(_chain_warnings(kept, chosen)),
    )


def _common(made: Sequence[Made]) -> np.ndarray:
    """Return the rows with a prediction of every rung: a fine-tuned one has predictions for rows held back from it."""
    rows = made[0].calibrated.rows
    for rung in made[1:]:
        rows = np.intersect1d(rows, rung.calibrated.rows)
    return rows


def choose_stop(section: ClassifySection, outcomes: RungOutcomes) -> ChosenStop:
    """Return the lowest stop that keeps the quality and has a threshold below it that holds the smallest provable risk.

    Args:
        section: The section of the specialist, with its `chain`, `chain_quality` and `target_risk`.
        outcomes: Outcomes of its rungs on rows that their weights were not fitted on.
    """
    quality, last, n = section.chain_quality, (section.chain or ("the last rung",))[-1], len(outcomes.group)
    levels, groups = _levels(promised_stop(outcomes, quality=quality)), outcomes.group.tolist()

    def shown_at(stop: float | None) -> ChosenStop:
        judged = outcomes.at(stop)
        shown = provable(section, judged.confidence, judged.right, groups, delta=levels[stop])
        return ChosenStop(stop, shown, Reason("chain.stop", rows=n, stop=stop, quality=quality, last=last))

    alone = shown_at(None)
    keeping = [shown_at(stop) for stop in shown_stops(outcomes, quality=quality) if stop in levels]
    possible = [stop for stop in keeping if _accepts_below(stop)]
    least = min((stop.shown.risk for stop in (alone, *possible) if stop.shown.threshold.value is not None), default=0.0)
    fitting = [stop for stop in possible if stop.shown.risk <= least]
    if fitting:
        return fitting[-1]
    code = "chain.no_stop_within_risk" if keeping else "chain.no_stop"
    return alone._replace(reason=Reason(code, rows=n, quality=quality, last=last))


def _levels(promised: float | None) -> dict[float | None, float]:
    """Return the level at which each stop's threshold is tested; they add up to the whole level.

    No stop below the predicted one gets a share.
    """
    if promised is None:
        return {None: DELTA}
    stricter = [stop for stop in STOPS if stop > promised]
    rest = 1.0 - _PROMISED - _NONE
    share = {promised: _PROMISED if stricter else 1.0 - _NONE, None: _NONE}
    share |= dict.fromkeys(stricter, rest / max(len(stricter), 1))
    return {stop: DELTA * part for stop, part in share.items()}


def _accepts_below(chosen: ChosenStop) -> bool:
    value = chosen.shown.threshold.value
    return value is not None and chosen.stop is not None and value <= chosen.stop


def _specialist(job: Job[ClassifySection], made: Sequence[Made], chosen: ChosenStop) -> ChainSpecialist:
    acceptance = Acceptance(
        temperature=1.0,
        threshold=chosen.shown.threshold.value,
        target_risk=chosen.shown.risk,
        scope_threshold=None,
    )
    links = [ChainRung(rung.candidate.rung, rung.specialist) for rung in made]
    return make_chain(job.card("chain"), links, stop=chosen.stop, acceptance=acceptance)


def _chain_predictions(calibrated: Sequence[Calibrated], answering: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the chain predicted for each row, and what it should have predicted."""
    rows = np.arange(len(answering))
    predicted, targets = (
        np.stack([getattr(outcomes, what) for outcomes in calibrated]) for what in ("predicted", "targets")
    )
    return predicted[answering, rows], targets[answering, rows]


def _seconds(made: Sequence[Made]) -> float:
    """Return the training time of the chain. Each rung's own time includes the lexical rung that it builds on."""
    floor = made[0].candidate.seconds
    return floor + sum(rung.candidate.seconds - floor for rung in made[1:])


def _curve(job: Job[ClassifySection], made: Sequence[Made]) -> Iterator[dict[str, object]]:
    """Yield the chain's figures on held-out rows at each stop, from none on: they choose nothing."""
    rows = job.held_out.rows
    cases = [label_cases(rows, rung.findings) for rung in made]
    held = RungOutcomes(
        confidence=np.array([[case.confidence for case in case_list] for case_list in cases]),
        right=np.array([[case.correct for case in case_list] for case_list in cases]),
        in_scope=np.array([[_in_scope(rung, index) for index, row in enumerate(rows) if row.labels] for rung in made]),
        group=np.arange(len(cases[0])),
    )
    for stop in (None, *STOPS):
        right = held.at(stop).right
        yield {
            "stop": stop,
            "accuracy": float(right.mean()),
            "interval": list(bootstrap_mean(right, seed=0)),
            "asked": list(held.asked(stop)),
            "answered": list(held.answered(stop)),
        }


def _in_scope(made: Made, number: int) -> bool:
    """Return whether a held-out row is in a rung's scope."""
    score, least = made.findings[number].in_scope, made.specialist.acceptance.scope_threshold
    return score is None or least is None or score >= least


def _chain_warnings(made: Sequence[Made], chosen: ChosenStop) -> Iterator[str]:
    """Yield warnings: parts of texts were not read, a rung is of no use, the risk is not the target."""
    if chosen.stop is None:
        yield f"the chain asks its last rung only: {chosen.reason}"
    if chosen.shown.warning:
        yield chosen.shown.warning
    for rung in made:
        yield from rung.unread


# --- Training a `classify` specialist: every rung, calibrated on rows it has not seen, measured on held-out rows.


def train_classify(job: Job[ClassifySection], encoded: Encoded) -> list[Candidate]:
    """Return a candidate per rung, cheapest first.

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
    candidates = [rung.candidate for rung in made]
    if job.section.chain:
        candidates.append(train_rung_chain(job, made))
    if "slm" in job.measured_rungs:
        # Imported here: it needs torch, which nothing else does.
        from coterie.tasks.classify.fit_tuned import fit_slm  # noqa: PLC0415

        with fit_slm(job, examples) as fit:
            candidates.append(_make(job, fit, examples.take(fit.rows)).candidate)
    return [*candidates, *prompted]


def _make(job: Job[ClassifySection], fit: TextFit | SlmFit, examples: TextExamples) -> Made:
    """Calibrate a rung, set its threshold, and measure it on held-out rows.

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
    raw_confidence, predicted, right = _confidence(logits / temperature, examples)
    fitted = fit_confidence(raw_confidence, right)
    if fitted and isinstance(fit, TextFit) and fit.gain:
        fitted = raise_confidence(fitted, raw_confidence, UNSAID * fit.gain)
    line = ConfidenceLine(**asdict(fitted)) if fitted else ConfidenceLine()
    confidence = line.believe(raw_confidence)
    with_copies = apart is not None and apart.logits is not fit.logits
    copies = _copies_warning(_confidence(fit.logits, examples)[2], right) if with_copies else None
    # The prior is of what people write, each text by itself, on the rung that it was measured on.
    usual = job.section.risk_prior and fit.rung == "embedding" and apart is None and not several
    groups = [job.train.rows[row].group for row in fit.rows]
    shown = provable(job.section, confidence, right, groups, probabilities=raw_confidence if usual else None)
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
    evaluation = judge_labels(measured.rows, findings)
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
    """Return which of all rows are predicted correctly, in their order; None if some rows have no prediction."""
    return right[np.argsort(rows)] if len(rows) == count else None


def _copies_warning(with_copies: np.ndarray, without: np.ndarray) -> str:
    """Return a warning that figures may rest on near copies.

    Both arguments say whether each row is predicted correctly out of fold, (N,).
    """
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
    """Return the line from which a text is in scope; None where "none of the labels" is an answer."""
    if examples.several:
        return None
    if not isinstance(fit, TextFit):
        return draw_line(None, None, fit.logits / temperature, None)
    apart = fit.apart and fit.apart._replace(logits=fit.apart.logits / temperature)
    return draw_line(fit.compared, fit.nearest, fit.logits / temperature, apart)


def _confidence(logits: np.ndarray, examples: TextExamples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the probability (N,) of the prediction (N,) or (N, L), and its correctness (N,).

    They are computed in the same way as the specialist decides.
    """
    if not examples.several:
        probabilities = softmax(logits.astype(float))
        predicted = probabilities.argmax(axis=1)
        return probabilities.max(axis=1), predicted, examples.hot[np.arange(len(logits)), predicted] > 0
    probabilities = sigmoid(logits)
    predicted = probabilities >= 0.5  # (N, L)
    confidence = np.maximum(probabilities, 1.0 - probabilities).prod(axis=1)
    return confidence, predicted, (predicted == (examples.hot > 0)).all(axis=1)
