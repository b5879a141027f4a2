"""Putting the rungs of one `classify` specialist into a chain: its stop, its threshold, and what both came to.

Two promises, each with 95% confidence. The whole keeps `chain_quality` of what its last rung gets right
(`coterie.policy.acceptance`). And of what the whole accepts, at most `target_risk` is wrong: for a given stop a chain
is one classifier with one confidence, so its threshold is tested as any classifier's, only that the level is shared by
all stops that might be taken (Bonferroni); which one is taken costs no confidence then. Most of it goes to the stop
that the confidences promise: as in `coterie.learning`, they alone choose it, not what was right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from coterie.learning.candidates import Candidate
from coterie.learning.evaluation import label_cases
from coterie.learning.job import Job
from coterie.learning.measure import ask_held_out, rated
from coterie.learning.metrics import bootstrap_mean
from coterie.learning.threshold import DELTA, Provable, provable
from coterie.policy.acceptance import STOPS, RungOutcomes, promised_stop, shown_stops
from coterie.specialists.acceptance import Acceptance
from coterie.tasks.classify.chain import ChainRung, ChainSpecialist, chain_files, make_chain
from coterie.tasks.classify.metrics import judge
from coterie.tasks.classify.model import ClassifySpecialist
from coterie.tasks.classify.section import ClassifySection
from coterie.types import Finding, Reason

_PROMISED, _NONE = 0.7, 0.1
"""Shares of the level for the stop that is promised, and for none; stricter stops share the rest."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibrated:
    """What a rung said of training rows that it had not seen."""

    rows: np.ndarray  # (R,) their numbers
    confidence: np.ndarray  # (R,)
    right: np.ndarray  # (R,) bool
    in_scope: np.ndarray  # (R,) bool
    predicted: np.ndarray  # (R,) labels by number, or (R, L)
    targets: np.ndarray  # of the same shape

    def take(self, rows: np.ndarray) -> Calibrated:  # (M,) of N
        """Some of the training rows, all of which it has."""
        at = np.searchsorted(self.rows, rows, sorter=(order := np.argsort(self.rows)))
        return Calibrated(**{name: array[order[at]] for name, array in vars(self).items()})


class Made(NamedTuple):
    """A rung, trained and measured."""

    candidate: Candidate
    specialist: ClassifySpecialist
    files: Mapping[str, bytes]
    """Its own, without what the version says beside them."""
    calibrated: Calibrated
    findings: Sequence[Finding]
    """On the held-out rows."""
    vectors: np.ndarray | None
    """Of the held-out texts, if the rung looks at them; (N, D)."""
    unread: tuple[str, ...] = ()
    """What of the texts it did not read."""


class ChosenStop(NamedTuple):
    """From which confidence a rung before the last answers, and what is accepted of the whole."""

    stop: float | None
    """None: the last rung answers alone."""
    shown: Provable
    """The threshold of the whole, never above the stop, and the risk that it holds."""
    reason: Reason


def train_rung_chain(job: Job[ClassifySection], made: Sequence[Made]) -> Candidate:
    """The candidate of a job's chain, from its rungs as they were trained by themselves.

    Args:
        job: Its section names the chain.
        made: A rung each, cheapest first; with the lexical floor, which the chain may do without.
    """
    kept = [each for each in made if each.candidate.rung in (job.section.chain or ())]
    rows = _common(kept)
    calibrated = [each.calibrated.take(rows) for each in kept]
    outcomes = RungOutcomes(
        confidence=np.stack([each.confidence for each in calibrated]),
        right=np.stack([each.right for each in calibrated]),
        in_scope=np.stack([each.in_scope for each in calibrated]),
        group=job.group_numbers(rows),
    )
    chosen = choose_stop(job.section, outcomes)
    specialist = _specialist(job, kept, chosen)
    vectors = next((each.vectors for each in kept if each.vectors is not None), None)
    findings = ask_held_out(job, "chain", specialist, vectors)
    evaluation = judge(job.held_out.rows, findings)
    predicted, targets = _said(calibrated, outcomes.answering(chosen.stop))
    judged, threshold = outcomes.at(chosen.stop), chosen.shown.threshold
    return Candidate(
        rung="chain",
        files={
            **chain_files(specialist, {each.candidate.rung: each.files for each in kept}),
            **judged.to_files(),
        },
        validation={name: rated(name, judged.right, predicted, targets) for name in job.measures},
        evaluation=evaluation,
        seconds=_seconds(made),
        notes={
            "chain": [each.candidate.rung for each in kept],
            "stop": {"value": chosen.stop, "quality": job.section.chain_quality, **chosen.reason.described()},
            "asked": list(outcomes.asked(chosen.stop)),
            "curve": list(_curve(job, kept)),
            "threshold": {"value": threshold.value, "coverage": threshold.coverage, **threshold.reason.described()},
        },
        warnings=tuple(_warnings(kept, chosen)),
    )


def _common(made: Sequence[Made]) -> np.ndarray:
    """The rows of which every rung has said something: a fine-tuned one speaks of those held back from it."""
    rows = made[0].calibrated.rows
    for each in made[1:]:
        rows = np.intersect1d(rows, each.calibrated.rows)
    return rows


def choose_stop(section: ClassifySection, outcomes: RungOutcomes) -> ChosenStop:
    """The lowest stop that keeps the quality and has a threshold below it that holds the smallest risk shown.

    Args:
        section: Of the specialist, with its `chain`, `chain_quality` and `target_risk`.
        outcomes: Of its rungs on rows that their weights were not fitted on.
    """
    quality, last, n = section.chain_quality, (section.chain or ("the last rung",))[-1], len(outcomes.group)
    levels, groups = _levels(promised_stop(outcomes, quality=quality)), outcomes.group.tolist()

    def shown_at(stop: float | None) -> ChosenStop:
        judged = outcomes.at(stop)
        shown = provable(section, judged.confidence, judged.right, groups, delta=levels[stop])
        return ChosenStop(stop, shown, Reason("chain.stop", rows=n, stop=stop, quality=quality, last=last))

    alone = shown_at(None)
    keeping = [shown_at(stop) for stop in shown_stops(outcomes, quality=quality) if stop in levels]
    possible = [each for each in keeping if _accepts_below(each)]
    least = min((each.shown.risk for each in (alone, *possible) if each.shown.threshold.value is not None), default=0.0)
    fitting = [each for each in possible if each.shown.risk <= least]
    if fitting:
        return fitting[-1]
    code = "chain.no_stop_within_risk" if keeping else "chain.no_stop"
    return alone._replace(reason=Reason(code, rows=n, quality=quality, last=last))


def _levels(promised: float | None) -> dict[float | None, float]:
    """The level at which each stop's threshold is tested, which add up to the whole; none below the promised one is."""
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
    links = [ChainRung(each.candidate.rung, each.specialist) for each in made]
    return make_chain(job.card("chain"), links, stop=chosen.stop, acceptance=acceptance)


def _said(calibrated: Sequence[Calibrated], answering: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the chain predicted of each row, and what it should have."""
    rows = np.arange(len(answering))
    predicted, targets = (np.stack([getattr(each, what) for each in calibrated]) for what in ("predicted", "targets"))
    return predicted[answering, rows], targets[answering, rows]


def _seconds(made: Sequence[Made]) -> float:
    """Training time of the whole. Each rung's own counts the lexical one that it builds on."""
    floor = made[0].candidate.seconds
    return floor + sum(each.candidate.seconds - floor for each in made[1:])


def _curve(job: Job[ClassifySection], made: Sequence[Made]) -> Iterator[dict[str, object]]:
    """What the chain comes to on held-out rows at each stop, from none on: they choose nothing."""
    rows = job.held_out.rows
    cases = [label_cases(rows, each.findings) for each in made]
    held = RungOutcomes(
        confidence=np.array([[case.confidence for case in each] for each in cases]),
        right=np.array([[case.correct for case in each] for each in cases]),
        in_scope=np.array([[_in_scope(each, place) for place, row in enumerate(rows) if row.labels] for each in made]),
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


def _in_scope(made: Made, place: int) -> bool:
    """Whether a rung finds a held-out row like what it was trained on."""
    score, least = made.findings[place].in_scope, made.specialist.acceptance.scope_threshold
    return score is None or least is None or score >= least


def _warnings(made: Sequence[Made], chosen: ChosenStop) -> Iterator[str]:
    """What of the texts was not read, that a rung is of no use, that the risk is not the target."""
    if chosen.stop is None:
        yield f"the chain asks its last rung only: {chosen.reason}"
    if chosen.shown.warning:
        yield chosen.shown.warning
    for each in made:
        yield from each.unread
