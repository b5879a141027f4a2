"""Measuring a specialist or a candidate on rows it has not seen, through the interface that requests use.

The module knows the protocol only: no weights, no engine, no training.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from coterie.config.specialists import SpecialistSection
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.candidates import Figure
from coterie.learning.dataset import Dataset, Row
from coterie.learning.evaluation import Evaluation, judge_labels
from coterie.learning.job import Job, TextEncoder
from coterie.learning.metrics import bootstrap_interval, macro_f1, multilabel_f1, score_interval, unseen
from coterie.protocols import Specialist
from coterie.runtime.concurrency import run, side_by_side
from coterie.text.language import base, detect
from coterie.types import SYSTEM, ContextView, Finding, Label, Rung, Task

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
