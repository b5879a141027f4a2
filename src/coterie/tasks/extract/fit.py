"""Training an `extract` specialist: rank, tag, weigh. Each stage learns from the last one's results on unseen texts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from coterie.errors import DataError
from coterie.learning.calibration import Provable, Threshold, provable, scope_threshold
from coterie.learning.dataset import Row
from coterie.learning.fitting import (
    AXES,
    FALSE_REJECTION,
    REJECTED_APART,
    ScopeLine,
    TextExamples,
    deal_folds,
    fit_scope,
    hold_out_copies,
    nearest_out_of_fold,
    principal_axes,
)
from coterie.learning.job import Job
from coterie.learning.measure import Candidate, Encoded, Figure, encode, held_out_warnings, measure
from coterie.learning.scope import Neighbours
from coterie.runtime.codec import to_json
from coterie.specialists.parts import Acceptance, own_encoder_files
from coterie.tasks.extract.extractor import FieldExtractor, FieldModel
from coterie.tasks.extract.fit_tagging import (
    Corpus,
    FieldReader,
    Ranked,
    Unseen,
    calibrate,
    field_models,
    rank_by_vectors,
    rank_by_words,
    shortlisted,
    tag_fields,
)
from coterie.tasks.extract.model import ExtractScope, ExtractSpecialist, likeliest
from coterie.tasks.extract.rows import FieldCase, field_cases, judge_fields
from coterie.tasks.extract.section import ExtractSection
from coterie.types import Rung

if TYPE_CHECKING:
    from coterie.tasks.extract.fit_tuned import TunedTags


def fit_extract_scope(
    signs: np.ndarray, vectors: np.ndarray, folds: np.ndarray, groups: np.ndarray, *, seed: int
) -> ScopeLine:
    """Return the line that rejects few of the training texts, as if each were new.

    Texts of one kind have much in common: the axes are those of the texts themselves, not of their differences.

    Args:
        signs: (N,) `likeliest` of each, by a ranker that did not see it.
        vectors: (N, D) encodings of the texts.
        folds: (N,) parts of the texts.
        groups: (N,) a number for the group of each.
        seed: Seed of the copies' folds.
    """
    axes = principal_axes(vectors.T @ vectors)[:, :AXES].astype(np.float16)
    neighbours = Neighbours(axes=axes, rows=(vectors @ axes.astype(np.float32)).astype(np.float16))
    hot = np.ones((len(signs), 1))
    examples = TextExamples(texts=[""] * len(signs), hot=hot, several=False, folds=folds, seed=seed)
    apart = hold_out_copies(examples, vectors, groups)
    fitted = fit_scope(neighbours, nearest_out_of_fold(neighbours, vectors, apart or examples), signs[:, None])
    false_rejection = FALSE_REJECTION if apart is None else REJECTED_APART
    least = scope_threshold(fitted.scores, false_rejection=false_rejection)
    return ScopeLine(fitted.scope, least, fitted.scores)


FOLDS = 3
"""Number of parts of the texts; each is read by models of the others."""
PARTS = 5
"""Number of parts of the results on unseen texts; each is weighed and calibrated by models of the others."""


def train_extract(job: Job[ExtractSection], encoded: Encoded | None = None) -> list[Candidate]:
    """Return a candidate per rung, cheapest first; with encodings it recognises texts of another kind."""
    folds = deal_folds(job.train, FOLDS, job.section.seed)
    corpus = Corpus.of(job.train, list(job.section.fields), folds, job.section.seed)
    start = time.perf_counter()
    job.progress.start(f"{job.name}: rank sentences", len(np.unique(folds)) + 1)
    words = rank_by_words(corpus, job.progress.advance)
    line = None if encoded is None else _scope_line(job, corpus, words, encoded)
    job.progress.finish("")
    spent = time.perf_counter() - start
    candidates = [_tagged(job, corpus, "lexical", words, spent, line=line)]
    if "embedding" in job.measured_rungs:
        start = time.perf_counter()
        ranked = _with_vectors(job, corpus, words)
        candidates.append(_tagged(job, corpus, "embedding", ranked, spent + time.perf_counter() - start, line=line))
    # Imported here: they need torch, which nothing else does.
    if "encoder" in job.measured_rungs:
        from coterie.tasks.extract.fit_tuned import tune_tags  # noqa: PLC0415

        start = time.perf_counter()
        tuned = tune_tags(job, corpus, words.scores)
        took = spent + time.perf_counter() - start
        candidates.append(_tagged(job, corpus, "encoder", words, took, tuned=tuned, line=line))
    if "slm" in job.measured_rungs:
        from coterie.tasks.extract.fit_tuned import tune_quotes  # noqa: PLC0415

        start = time.perf_counter()
        with tune_quotes(job, corpus, words) as reader:
            candidates.append(_candidate(job, corpus, reader, spent + time.perf_counter() - start, line))
    return candidates


def _scope_line(job: Job[ExtractSection], corpus: Corpus, words: Ranked, encoded: Encoded) -> ScopeLine | None:
    """Return the line from which a text is in scope; None where a training text has no sentence."""
    pieces = np.split(words.scores, corpus.ends[1:-1])
    if not all(map(len, pieces)):
        return None
    return fit_extract_scope(
        np.array([likeliest(piece) for piece in pieces]),
        encoded.vectors,
        corpus.folds,
        job.group_numbers(np.arange(len(pieces))),
        seed=job.section.seed,
    )


def _with_vectors(job: Job[ExtractSection], corpus: Corpus, words: Ranked) -> Ranked:
    rows = shortlisted(corpus, words.scores)
    every = [d.text[sentence.start : sentence.end] for d in corpus.documents for sentence in d.sentences]
    vectors = encode(job, [every[row] for row in rows], "encode sentences").vectors
    return rank_by_vectors(corpus, words, rows, vectors)


def _tagged(
    job: Job[ExtractSection],
    corpus: Corpus,
    rung: Rung,
    ranked: Ranked,
    spent: float,
    *,
    tuned: TunedTags | None = None,
    line: ScopeLine | None = None,
) -> Candidate:
    start = time.perf_counter()
    job.progress.start(f"{job.name}: read ({rung})", corpus.fields * (len(np.unique(corpus.folds)) + 1))
    tagged = tag_fields(corpus, ranked.scores, job.progress.advance, tuned.tags if tuned else None)
    job.progress.finish("")
    reader = FieldReader(
        rung=rung,
        ranker=ranked.ranker,
        candidates=dict(enumerate(tagged.candidates)),
        tagger=tagged.tagger,
        encoder=tuned.tagger if tuned else job.encoder if rung == "embedding" else None,
        files=own_encoder_files(tuned.files) if tuned else {},
        notes=tuned.notes if tuned else {},
    )
    return _candidate(job, corpus, reader, spent + time.perf_counter() - start, line)


def _candidate(
    job: Job[ExtractSection], corpus: Corpus, reader: FieldReader, spent: float, line: ScopeLine | None
) -> Candidate:
    """Weigh candidates, set the threshold, and measure on held-out texts."""
    start = time.perf_counter()
    numbers = sorted(reader.candidates)
    models = field_models(job.train.rows, job.section.fields)
    unseen = Unseen(
        [job.train.rows[number] for number in numbers],
        [reader.candidates[number] for number in numbers],
        _unseen_models(job, corpus),
        corpus.folds[numbers],
    )
    believed = calibrate(unseen, _parts(job, numbers))
    extractor = FieldExtractor(
        fields=models,
        ranker=reader.ranker,
        tagger=reader.tagger,
        weigher=unseen.fit_weigher(),
        calibrator=believed.calibrator,
        quoting=reader.quoting,
    )
    cases = field_cases(unseen.rows, believed.findings)
    shown = [_shown(job, model.name, unseen.rows, cases) for model in models]
    specialist = ExtractSpecialist(
        card=job.card(reader.rung),
        extractor=extractor,
        acceptances=tuple(
            _acceptance(threshold.threshold.value, threshold.risk, line.least if line else None) for threshold in shown
        ),
        scope=ExtractScope(score=line.scope, encoder=job.encoder) if line and line.scope else None,
        encoder=reader.encoder,
        model=reader.model,
    )
    seconds = spent + time.perf_counter() - start
    report, evaluation = judge_fields(unseen.rows, cases), measure(job, reader.rung, specialist)
    return Candidate(
        rung=reader.rung,
        files={**specialist.to_files(**reader.about), **reader.files},
        validation={name: Figure(report.figures[name], report.intervals[name]) for name in job.measures},
        evaluation=evaluation,
        seconds=seconds,
        notes={
            **reader.notes,
            "threshold": _thresholds_in_words(models, [threshold.threshold for threshold in shown]),
            "out_of_fold": to_json(report.fields),
        },
        warnings=(
            *(
                f"{model.name}: {threshold.warning}"
                for model, threshold in zip(models, shown, strict=True)
                if threshold.warning
            ),
            *held_out_warnings(job, reader.rung, evaluation),
        ),
    )


def _parts(job: Job[ExtractSection], numbers: Sequence[int]) -> np.ndarray:  # (N,)
    """Return the part of each of these texts; one part for all where they are of one group."""
    try:
        return deal_folds(job.train.take(numbers), PARTS, job.section.seed)
    except DataError:
        return np.zeros(len(numbers), dtype=np.int64)


def _unseen_models(job: Job[ExtractSection], corpus: Corpus) -> dict[int, tuple[FieldModel, ...]]:
    rows = np.array(job.train.rows, dtype=object)
    return {
        int(fold): field_models(rows[corpus.folds != fold].tolist(), job.section.fields)
        for fold in np.unique(corpus.folds)
    }


def _acceptance(threshold: float | None, target_risk: float, least: float | None) -> Acceptance:
    return Acceptance(temperature=1.0, threshold=threshold, target_risk=target_risk, scope_threshold=least)


def _shown(job: Job[ExtractSection], name: str, rows: Sequence[Row], cases: Sequence[FieldCase]) -> Provable:
    """Return the threshold of a field; several values of one text are not independent."""
    own = [case for case in cases if case.field.name == name]
    return provable(
        job.section,
        np.array([case.field.confidence for case in own], dtype=float),
        np.array([case.correct for case in own], dtype=bool),
        [rows[case.document].group or case.document for case in own],
    )


def _thresholds_in_words(models: Sequence[FieldModel], thresholds: Sequence[Threshold]) -> dict[str, object]:
    covered = float(np.mean([threshold.coverage for threshold in thresholds]))
    return {
        "value": {model.name: threshold.value for model, threshold in zip(models, thresholds, strict=True)},
        "coverage": covered,
        "reason": "; ".join(
            f"{model.name}: {threshold.reason}" for model, threshold in zip(models, thresholds, strict=True)
        ),
    }
