"""The result of a rung: a candidate, measured on rows it has not seen through the interface that requests use.

What measures knows the protocol only: no weights, no engine, no training.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from coterie.config.specialists import SpecialistSection
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.dataset import Dataset, Row
from coterie.learning.evaluation import (
    Evaluation,
    Interval,
    bootstrap_interval,
    exact_interval,
    judge_labels,
    macro_f1,
    multilabel_f1,
    score_interval,
    unseen,
)
from coterie.learning.job import Job, TextEncoder
from coterie.protocols import Specialist
from coterie.runtime.concurrency import run, side_by_side
from coterie.text.language import base, detect
from coterie.types import SYSTEM, ContextView, Finding, Label, Reason, Rung, Task


class Figure(NamedTuple):
    """A measure's value and its 95% interval."""

    value: float
    interval: Interval


class Answered(NamedTuple):
    """How many out-of-fold rows are answered, and at which risk."""

    accepted: int
    rows: int
    risk: float
    """Highest share of wrong answers that the threshold guarantees."""

    def reaches(self, other: Answered) -> bool:
        """Return whether the coverage may equal the other's at its risk: the 95% interval reaches that share."""
        high = exact_interval(self.accepted, self.rows).high
        return self.risk <= other.risk and high >= other.accepted / other.rows


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One rung's trained specialist, not yet stored."""

    rung: Rung
    files: Mapping[str, bytes]
    """Model and arrays that the version will hold beside report and card."""
    validation: Mapping[str, Figure]
    """Each deciding measure on out-of-fold rows, from which the rung is chosen. The first one ranks."""
    evaluation: Evaluation
    """Figures on the held-out rows, which do not influence the choice."""
    seconds: float
    """Training time in seconds. It differs from run to run, so it is not part of the version."""
    measured: Dataset | None = None
    """The held-out rows of `evaluation`, if they are not all of them."""
    answered: Answered | None = None
    """Out-of-fold rows that the candidate answers, if a threshold decides on that."""
    right: np.ndarray | None = None  # (N,) bool
    """Which out-of-fold rows are right, if every rung has the same ones in the same order."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """Parameters of the rung: pool weights, temperature, threshold, floor."""
    warnings: tuple[str, ...] = ()
    """Warnings for the person who trains it."""

    usual: bool = True
    """Whether the usual gain between two rungs counts: not in a language that the encoder does not know."""

    @property
    def quality(self) -> str:
        """Name of the measure that ranks."""
        return next(iter(self.validation))

    @property
    def figure(self) -> Figure:
        """Value of the measure that ranks."""
        return self.validation[self.quality]

    def row(self) -> dict[str, object]:
        """Return the candidate as one row of the report."""
        value, interval = self.figure
        return {
            "rung": self.rung,
            "validation": {self.quality: value, "interval": [interval.low, interval.high]},
            "held_out": self.evaluation.to_json(),
            "bytes": sum(len(content) for content in self.files.values()),
            **self.notes,
        }


@dataclass(frozen=True, kw_only=True)
class RungChoice:
    """The chosen rung and the reason."""

    candidate: Candidate
    reason: Reason


def choose(candidates: Sequence[Candidate], bar: Mapping[str, float]) -> RungChoice:
    """Choose the cheapest rung that meets the bar with 95% confidence on out-of-fold rows, else the best one.

    Without a bar: choose the cheapest rung whose interval reaches the best rung's value, or whose value the best
    rung's interval reaches, unless another such rung answers measurably more at the lowest risk held. The second
    condition counts for a rung that was tried on few rows, such as one with a price a question: a cheaper one is
    not rejected because of what may be luck. Between the rungs that cost next to nothing the opposite holds: few
    rows hide the gain of a richer one, so a cheaper one is taken only if the same rows, with the usual gain,
    promise no more than a point.

    Args:
        candidates: Cheapest first, at least one.
        bar: The value that each measure must reach, if any.
    """
    best = max(candidates, key=lambda candidate: candidate.figure.value)
    enough = [candidate for candidate in candidates if _suffices(candidate, best, bar)] or [best]
    if not bar and (richer := _richer(enough[0], candidates)) is not None:
        return RungChoice(candidate=richer, reason=_why_richer(richer, enough[0]))
    taken, most = enough[0], max(enough, key=_covers)
    if not bar and taken.answered and most.answered and not taken.answered.reaches(most.answered):
        alike = (candidate for candidate in enough if candidate.answered and candidate.answered.reaches(most.answered))
        return RungChoice(candidate=(chosen := next(alike)), reason=_why_covering(chosen, taken))
    return RungChoice(candidate=taken, reason=_why(taken, best, bar, alone=len(candidates) == 1))


_USUAL_GAIN, _USUAL_ROWS = 5.0, 50.0
"""Prior of how many more rows `embedding` names right than `lexical`, and of how many rows.

On draws of 40, 120 and 400 rows of three public sets it was .19, .12 and .05 more accurate, .08, .04 and .03
apart (`benchmarks/rung_choice`).
"""
_TOLERATED = 0.01
"""Expected loss of accuracy that is accepted for a cheaper rung."""


def expected_gain(richer: Candidate, cheaper: Candidate) -> float | None:
    """Return the expected gain in accuracy of `embedding` over `lexical`, whose n-grams it includes.

    The gain is the difference on the same out-of-fold rows, where rows that both get right or wrong cancel. If
    the encoder knows the texts' language, the usual gain is added as if it had been seen on some more rows. None
    for other rungs, and if the rungs were not tried on the same rows.
    """
    if (cheaper.rung, richer.rung) != ("lexical", "embedding") or cheaper.right is None or richer.right is None:
        return None
    more = int(richer.right.sum()) - int(cheaper.right.sum())
    return (more + _USUAL_GAIN * richer.usual) / (len(richer.right) + _USUAL_ROWS)


def _richer(taken: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the rung whose expected gain over the chosen one exceeds the tolerance; None if there is none."""
    gains = (
        (expected_gain(candidate, taken), candidate) for candidate in candidates if candidate.quality == "accuracy"
    )
    return next((candidate for gain, candidate in gains if gain is not None and gain > _TOLERATED), None)


def _why_richer(richer: Candidate, cheaper: Candidate) -> Reason:
    assert richer.right is not None and cheaper.right is not None, "they were compared"  # noqa: S101, PT018
    return Reason(
        "rung.richer",
        cheaper=cheaper.rung,
        rows=len(richer.right),
        gain=expected_gain(richer, cheaper) or 0.0,
        value=richer.figure.value,
        at=cheaper.figure.value,
    )


def choose_chain(candidates: Sequence[Candidate]) -> RungChoice | None:
    """Choose the chain of rungs if it was requested: its rungs by themselves are only for comparison."""
    chain = next((candidate for candidate in candidates if candidate.rung == "chain"), None)
    if chain is None:
        return None
    rungs = chain.notes.get("chain")
    named = " > ".join(map(str, rungs)) if isinstance(rungs, Sequence) else ""
    reason = Reason("rung.chain", rungs=named, measure=chain.quality, value=chain.figure.value)
    return RungChoice(candidate=chain, reason=reason)


def floor_of(candidates: Sequence[Candidate], taken: Candidate) -> Candidate | None:
    """Return the lexical floor if the chosen rung is measurably worse than it."""
    floor = next(
        (candidate for candidate in candidates if candidate.rung == "lexical" and candidate is not taken), None
    )
    if floor is None or floor.quality != taken.quality or taken.figure.interval.high >= floor.figure.value:
        return None
    return floor


def why_floor(floor: Candidate, worse: Candidate) -> Reason:
    """Return the reason for taking the floor instead of the chosen rung."""
    return Reason(
        "rung.floor", worse=worse.rung, measure=floor.quality, value=floor.figure.value, at=worse.figure.value
    )


def _covers(candidate: Candidate) -> tuple[float, float]:
    """Return the key that ranks rungs of similar accuracy: the risk held, then the share answered."""
    if candidate.answered is None or not candidate.answered.accepted:
        return (-1.0, 0.0)
    return (-candidate.answered.risk, candidate.answered.accepted / candidate.answered.rows)


def _why_covering(taken: Candidate, cheaper: Candidate) -> Reason:
    shares = [
        candidate.answered.accepted / candidate.answered.rows if candidate.answered else 0.0
        for candidate in (taken, cheaper)
    ]
    risks = [candidate.answered.risk if candidate.answered else 1.0 for candidate in (taken, cheaper)]
    return Reason("rung.covers", share=shares[0], risk=risks[0], cheaper=cheaper.rung, covers=shares[1], at=risks[1])


def _suffices(candidate: Candidate, best: Candidate, bar: Mapping[str, float]) -> bool:
    if not bar:
        figure, most = candidate.figure, best.figure
        return figure.interval.high >= most.value or figure.value >= most.interval.low
    return all(candidate.validation[measure].interval.low >= least for measure, least in bar.items())


def _why(taken: Candidate, best: Candidate, bar: Mapping[str, float], *, alone: bool) -> Reason:
    measure, value = taken.quality, taken.figure.value
    if bar:
        wanted = " and ".join(f"{measure} {least:g}" for measure, least in bar.items())
        reached = " and ".join(f"{taken.validation[measure].value:.3f}" for measure in bar)
        code = "rung.meets_bar" if _suffices(taken, best, bar) else "rung.none_meets_bar"
        return Reason(code, bar=wanted, reached=reached)
    if alone:
        return Reason("rung.only", measure=measure, value=value)
    if taken is best:
        return Reason("rung.best", measure=measure, value=value)
    return Reason("rung.cheapest", measure=measure, value=value, best=best.figure.value)


def bar_met(bar: Mapping[str, float], metrics: Mapping[str, object]) -> bool | None:
    """Return whether every measure of the bar is reached on held-out rows; None without a bar."""
    if not bar:
        return None
    return all(_number(metrics.get(measure)) >= least for measure, least in bar.items())


def _number(figure: object) -> float:
    return float(figure) if isinstance(figure, int | float) else -1.0


# --- Measuring a specialist or a candidate on rows it has not seen, through the interface that requests use.

LookUp = Callable[[Task], Awaitable[ContextView]]
"""A function that returns the view that a specialist gets for a task."""
Judge = Callable[[Sequence[Row], Sequence[Finding]], Evaluation]
"""A function that turns findings, one a row, into figures; each task has its own."""
AT_ONCE = 64
"""Rows processed side by side: enough to fill an encoder's batches, below its queue."""


async def evaluate(
    specialist: Specialist,
    rows: Sequence[Row],
    *,
    vectors: np.ndarray | None = None,
    truncated: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
    label: Label = Label.INTERNAL,
    judge: Judge = judge_labels,
    look_up: LookUp | None = None,
    at_once: int = AT_ONCE,
) -> Evaluation:
    """Ask a specialist about every row and judge its findings.

    Args:
        specialist: Asked `at_once` rows side by side.
        rows: The rows; the specialist should abstain on a row without labels.
        vectors: (N, D) encodings of the rows' texts, if they are known already.
        truncated: (N,) whether each encoding covers only the text's beginning; none by default.
        progress: Called with the number of rows just done.
        label: Sensitivity of the rows.
        judge: Computes the figures; those of labels by default.
        look_up: Returns the view for a task; nothing by default.
        at_once: More than one is faster where an engine works in batches, whose make-up is chance: a confidence
            may differ in its eighth digit from run to run.

    Raises:
        CoterieError: the specialist raised it; the waiting rows are skipped.
    """
    findings = await consult_rows(
        specialist,
        rows,
        vectors=vectors,
        truncated=truncated,
        progress=progress,
        label=label,
        look_up=look_up,
        at_once=at_once,
    )
    return judge(rows, findings)


async def consult_rows(
    specialist: Specialist,
    rows: Sequence[Row],
    *,
    vectors: np.ndarray | None = None,
    truncated: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
    label: Label = Label.INTERNAL,
    look_up: LookUp | None = None,
    at_once: int = AT_ONCE,
) -> list[Finding]:
    """Return the finding of each row, in order, asked as in `evaluate`. The first error stops the others."""
    advance = progress or (lambda _: None)
    findings: dict[int, Finding] = {}
    waiting = iter(enumerate(rows))

    async def work() -> None:
        for i, row in waiting:  # shared by the workers: each row is taken by one of them
            vector = None if vectors is None else vectors[i]
            cut = truncated is not None and bool(truncated[i])
            task = Task(text=row.text, columns=row.columns or None, label=label, vector=vector, truncated=cut)
            findings[i] = await specialist.consult(task, await look_up(task) if look_up else ContextView(), call=SYSTEM)
            advance(1)

    await side_by_side(work() for _ in range(min(at_once, len(rows))))
    return [findings[i] for i in range(len(rows))]


_DRAWS = 200  # of the bootstrap of a measure that is no mean


class Encoded(NamedTuple):
    """Encodings of the training texts, and the seconds they took."""

    vectors: np.ndarray  # (N, D)
    seconds: float


def measure(job: Job[SpecialistSection], rung: Rung, specialist: Specialist) -> Evaluation:
    """Measure the specialist on the job's held-out rows, with progress."""
    findings = ask_held_out(job, rung, specialist, held_out_vectors(job, rung))
    return job.task.judge(job.held_out.rows, findings, section=job.section)


def held_out_vectors(job: Job[SpecialistSection], rung: Rung) -> np.ndarray | None:  # (N, D)
    """Encode the held-out texts, if the rung uses whole texts, with progress."""
    return encode(job, job.held_out.texts, "encode held-out rows").vectors if _encodes_whole(job, rung) else None


def ask_held_out(
    job: Job[SpecialistSection], rung: Rung, specialist: Specialist, vectors: np.ndarray | None
) -> list[Finding]:
    """Return the specialist's findings on the job's held-out rows, in order, with progress.

    The texts are encoded all at once, sorted by length, which gives the same vectors as one by one. The rows are
    then processed one after the other, so that the same version has the same figures, to the last digit of the
    report that it is named by.
    """
    truncated = None if vectors is None else job.encoder.exceeds(job.held_out.texts)
    job.progress.start(f"{job.name}: measure {rung}", len(job.held_out))
    advance = job.progress.advance
    rows = job.held_out.rows
    consulting = consult_rows(specialist, rows, vectors=vectors, truncated=truncated, progress=advance, at_once=1)
    findings = run(consulting)
    job.progress.finish("")
    return findings


def _encodes_whole(job: Job[SpecialistSection], rung: Rung) -> bool:
    """Return whether a rung uses the encoding of a whole text; for documents it encodes sentences."""
    return rung == "embedding" and job.task.encodes_texts


def encode(job: Job[SpecialistSection], texts: Sequence[str], what: str) -> Encoded:
    """Encode many texts, with progress."""
    start = time.perf_counter()
    job.progress.start(f"{job.name}: {what}", len(texts))
    vectors = job.encoder.encode(texts, progress=job.progress.advance)
    job.progress.finish("")
    return Encoded(vectors.reshape(len(texts), job.encoder.dimension), time.perf_counter() - start)


def rated(measure: str, right: np.ndarray, predicted: np.ndarray, targets: np.ndarray) -> Figure:
    """Return a measure on out-of-fold rows, with its interval.

    Args:
        measure: `accuracy` or `macro_f1`.
        right: (N,) whether each is right.
        predicted: (N,) labels by number, -1 for none; or (N, L) for rows of several labels.
        targets: Likewise.
    """
    if measure == "macro_f1":
        score = partial(_macro_f1, several=targets.ndim == 2)
        drawn = bootstrap_interval(score, targets, predicted, seed=0, n=_DRAWS)
        return Figure(score(targets, predicted), unseen(drawn, len(targets)))
    return Figure(float(right.mean()), score_interval(right, seed=0))


def _macro_f1(targets: np.ndarray, predicted: np.ndarray, *, several: bool) -> float:
    return multilabel_f1(targets, predicted, macro=True) if several else macro_f1(targets, predicted)


# --- Texts that are longer than what a rung reads: counted and named, never cut in silence.


def window_warnings(
    job: Job[SpecialistSection],
    rung: Rung,
    evaluation: Evaluation,
    own: OnnxEncoder | None = None,
    tuned_on: int | None = None,
) -> Iterator[str]:
    """Yield warnings about text that a rung did not read: one for training rows and one for held-out rows.

    Args:
        job: The trained job.
        rung: `lexical` reads every text to its end.
        evaluation: Its figures on held-out rows.
        own: The rung's own encoder; the network's by default.
        tuned_on: Tokens that its fine-tuning read, if it was fine-tuned on fewer than it reads now.
    """
    if rung == "lexical":
        return
    encoder: TextEncoder | OnnxEncoder = own or job.encoder
    yield from _cut(job.train, encoder.exceeds(job.train.texts), f"the {encoder.max_tokens} tokens that {rung!r} reads")
    if tuned_on is not None and own is not None and tuned_on < own.max_tokens:
        longer = np.array([own.count_tokens(text) > tuned_on for text in job.train.texts])
        yield from _cut(job.train, longer, f"the {tuned_on} tokens that fine-tuning reads")
    yield from held_out_warnings(job, rung, evaluation)


_ASKED_OF = 500
"""Most texts whose language is detected."""
_FOREIGN = 0.1
"""Share of texts in a foreign language from which a warning says that the encoder does not know it."""


def foreign_languages(job: Job[SpecialistSection]) -> dict[str, float]:
    """Return the shares of training texts in languages that the encoder does not know; empty if they are few."""
    encoder_languages = {base(language) for language in job.encoder.languages}
    if not job.has_texts or not encoder_languages or "all" in encoder_languages:
        return {}
    texts = job.train.texts[:: max(len(job.train) // _ASKED_OF, 1)]
    counts = Counter(language for text in texts if (language := detect(text)) is not None)
    shares = {
        language: count / counts.total() for language, count in counts.items() if language not in encoder_languages
    }
    return shares if sum(shares.values()) >= _FOREIGN else {}


def language_warnings(job: Job[SpecialistSection]) -> Iterator[str]:
    """Yield a warning that names the languages of training texts that the encoder does not know."""
    foreign = foreign_languages(job)
    if not foreign:
        return
    encoder_languages = {base(language) for language in job.encoder.languages}
    most = max(foreign, key=lambda language: (foreign[language], language))
    name = job.encoder.about.get("name")
    yield (
        f"{foreign[most]:.0%} of the texts are in {most!r}, which the encoder {name!r} does not know "
        f"({', '.join(sorted(encoder_languages))}): rungs and routes that use it are worse there; "
        f"coterie models pull multilingual-e5-small --languages {most}, then name it as [network] encoder"
    )


def held_out_warnings(job: Job[SpecialistSection], rung: Rung, evaluation: Evaluation) -> Iterator[str]:
    """Yield a warning about held-out text that a rung did not read."""
    if evaluation.truncated and not job.cross_validated:
        rows = f"{evaluation.truncated:,} of {evaluation.n:,} held-out texts"
        yield f"{rows} are longer than what {rung!r} reads: only their beginning was judged"


def _cut(data: Dataset, longer: np.ndarray, window: str) -> Iterator[str]:
    if not longer.any():
        return
    first = data.rows[int(longer.argmax())].line
    where = f", the first on line {first}" if first else ""
    yield (
        f"{int(longer.sum()):,} of {len(data):,} texts of {data.name} are longer than {window}{where}: "
        "only their beginning counts"
    )
