"""Training an `extract` specialist: rank, tag, weigh. Each stage learns from what the last one says of unseen texts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from coterie.calibration import Threshold, accept_threshold
from coterie.data import Row
from coterie.evaluation import FieldCase, field_cases, is_right, judge_fields
from coterie.extraction import Candidate as Stretch
from coterie.extraction import Extractor, FieldModel, Found
from coterie.specialists import Acceptance, ExtractSpecialist, as_fields, own_encoder_files
from coterie.types import Finding, Rung

from ._candidates import Candidate, Figure
from ._corpus import Corpus
from ._examples import deal_folds
from ._extract_fields import field_models, spans_of
from ._extract_rank import Ranked, rank_by_vectors, rank_by_words, shortlisted
from ._extract_reader import Reader
from ._extract_tag import tag_fields
from ._extract_weigh import fit_weigher, level
from ._job import Job
from ._measure import encode, measure
from ._window import held_out_warnings

if TYPE_CHECKING:
    from ._extract_tuned import TunedTags

FOLDS = 3


def train_extract(job: Job) -> list[Candidate]:
    """A candidate a rung, cheapest first."""
    folds = deal_folds(job.train, FOLDS, job.section.seed)
    corpus = Corpus.of(job.train, list(job.section.fields), folds, job.section.seed)
    start = time.perf_counter()
    job.progress.start(f"{job.name}: rank sentences", len(np.unique(folds)) + 1)
    words = rank_by_words(corpus, job.progress.advance)
    job.progress.finish("")
    spent = time.perf_counter() - start
    found = [_tagged(job, corpus, "lexical", words, spent)]
    if "embedding" in job.measured_rungs:
        start = time.perf_counter()
        ranked = _with_vectors(job, corpus, words)
        found.append(_tagged(job, corpus, "embedding", ranked, spent + time.perf_counter() - start))
    # Imported here: they need torch, which nothing else does.
    if "encoder" in job.measured_rungs:
        from ._extract_tuned import tune_tags  # noqa: PLC0415

        start = time.perf_counter()
        tuned = tune_tags(job, corpus, words.scores)
        found.append(_tagged(job, corpus, "encoder", words, spent + time.perf_counter() - start, tuned=tuned))
    if "slm" in job.measured_rungs:
        from ._extract_slm import tune_quotes  # noqa: PLC0415

        start = time.perf_counter()
        with tune_quotes(job, corpus, words) as reader:
            found.append(_candidate(job, corpus, reader, spent + time.perf_counter() - start))
    return found


def _with_vectors(job: Job, corpus: Corpus, words: Ranked) -> Ranked:
    rows = shortlisted(corpus, words.scores)
    every = [d.text[place.start : place.end] for d in corpus.documents for place in d.sentences]
    vectors = encode(job, [every[row] for row in rows], "encode sentences").vectors
    return rank_by_vectors(corpus, words, rows, vectors)


def _tagged(
    job: Job, corpus: Corpus, rung: Rung, ranked: Ranked, spent: float, *, tuned: TunedTags | None = None
) -> Candidate:
    """The candidate of a rung whose chains read."""
    start = time.perf_counter()
    job.progress.start(f"{job.name}: read ({rung})", corpus.fields * (len(np.unique(corpus.folds)) + 1))
    tagged = tag_fields(corpus, ranked.scores, job.progress.advance, tuned.tags if tuned else None)
    job.progress.finish("")
    reader = Reader(
        rung=rung,
        ranker=ranked.ranker,
        candidates=dict(enumerate(tagged.candidates)),
        tagger=tagged.tagger,
        encoder=tuned.tagger if tuned else job.encoder if rung == "embedding" else None,
        files=own_encoder_files(tuned.files) if tuned else {},
        notes=tuned.notes if tuned else {},
    )
    return _candidate(job, corpus, reader, spent + time.perf_counter() - start)


def _candidate(job: Job, corpus: Corpus, reader: Reader, spent: float) -> Candidate:
    """Weigh, decide from which confidence to accept, measure on held-out texts."""
    start = time.perf_counter()
    numbers = sorted(reader.candidates)
    models = field_models(job.train.rows, job.section.fields)
    unseen = _Unseen(
        [job.train.rows[number] for number in numbers],
        [reader.candidates[number] for number in numbers],
        _unseen_models(job, corpus),
        corpus.folds[numbers],
    )
    spans = [corpus.spans[number] for number in numbers]
    counts = np.array([[len(own) for own in each] for each in spans], dtype=np.int64)
    many = np.array([model.many for model in models])
    wanted = np.where(many, counts, np.minimum(counts, 1))
    weigher = fit_weigher(unseen.candidates, counts > 0, many.tolist(), unseen.right, wanted)
    extractor = Extractor(
        fields=models, ranker=reader.ranker, tagger=reader.tagger, weigher=weigher, quoting=reader.quoting
    )
    first = field_cases(unseen.rows, unseen.findings(extractor))
    extractor = replace(extractor, weigher=level(weigher, first, [model.name for model in models]))
    cases = field_cases(unseen.rows, unseen.findings(extractor))
    thresholds = [_threshold(job, model.name, unseen.rows, cases) for model in models]
    specialist = ExtractSpecialist(
        card=job.card(reader.rung),
        extractor=extractor,
        acceptances=tuple(_acceptance(each.value, job.section.target_risk) for each in thresholds),
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
            "threshold": _thresholds_in_words(models, thresholds),
            "out_of_fold": {name: each.to_json() for name, each in report.fields.items()},
        },
        warnings=tuple(held_out_warnings(job, reader.rung, evaluation)),
    )


def _unseen_models(job: Job, corpus: Corpus) -> dict[int, tuple[FieldModel, ...]]:
    rows = np.array(job.train.rows, dtype=object)
    return {
        int(fold): field_models(rows[corpus.folds != fold].tolist(), job.section.fields)
        for fold in np.unique(corpus.folds)
    }


@dataclass(frozen=True)
class _Unseen:
    """What models that did not see a text say of it."""

    rows: Sequence[Row]
    candidates: Sequence[Sequence[Sequence[Stretch]]]
    """By row and field."""
    models: Mapping[int, Sequence[FieldModel]]
    """By fold, of the other folds' rows."""
    folds: np.ndarray  # (N,)

    def right(self, number: int, field: int, candidate: Stretch) -> bool:
        """Whether a stretch is right."""
        row, model = self.rows[number], self.models[int(self.folds[number])][field]
        (said,) = as_fields([model], [[_found(candidate)]], [_never()], row.text)
        return is_right(said, row.text, spans_of(row, model.name))

    def findings(self, extractor: Extractor) -> list[Finding]:
        """A finding a text, nothing of it accepted."""
        return [self._finding(number, row, extractor) for number, row in enumerate(self.rows)]

    def _finding(self, number: int, row: Row, extractor: Extractor) -> Finding:
        models = self.models[int(self.folds[number])]
        decided = [
            extractor.weigher.decide(field, candidates, many=model.many)
            for field, (candidates, model) in enumerate(zip(self.candidates[number], models, strict=True))
        ]
        fields = as_fields(models, decided, [_never()] * len(models), row.text)
        return Finding(
            specialist="", value=None, text="", confidence=0.0, accepted=False, reason="", task="extract", fields=fields
        )


def _found(candidate: Stretch) -> Found:
    return Found(candidate.start, candidate.end, 0.0)


def _never() -> Acceptance:
    return _acceptance(None, 0.5)


def _acceptance(threshold: float | None, target_risk: float) -> Acceptance:
    return Acceptance(temperature=1.0, threshold=threshold, target_risk=target_risk, scope_threshold=None)


def _threshold(job: Job, name: str, rows: Sequence[Row], cases: Sequence[FieldCase]) -> Threshold:
    """From which confidence a field is accepted; several values of one text are not independent."""
    own = [case for case in cases if case.field.name == name]
    return accept_threshold(
        [case.field.confidence for case in own],
        [case.correct for case in own],
        target_risk=job.section.target_risk,
        groups=[rows[case.document].group or case.document for case in own],
    )


def _thresholds_in_words(models: Sequence[FieldModel], thresholds: Sequence[Threshold]) -> dict[str, object]:
    covered = float(np.mean([each.coverage for each in thresholds]))
    return {
        "value": {model.name: each.value for model, each in zip(models, thresholds, strict=True)},
        "coverage": covered,
        "reason": " ".join(f"{model.name}: {each.reason}" for model, each in zip(models, thresholds, strict=True)),
    }
