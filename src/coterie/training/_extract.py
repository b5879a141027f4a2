"""Training an `extract` specialist: rank, tag, weigh. Each stage learns from what the last one says of unseen texts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from coterie.calibration import Threshold, accept_threshold
from coterie.data import Dataset, Row
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
from ._extract_tag import Tagged, tag_fields
from ._extract_weigh import fit_weigher, level
from ._job import Job
from ._measure import encode, measure

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
    found = [_candidate(job, corpus, "lexical", words, spent)]
    if "embedding" in job.measured_rungs:
        start = time.perf_counter()
        ranked = _with_vectors(job, corpus, words)
        found.append(_candidate(job, corpus, "embedding", ranked, spent + time.perf_counter() - start))
    if "encoder" in job.measured_rungs:
        # Imported here: it needs torch, which nothing else does.
        from ._extract_tuned import tune_tags  # noqa: PLC0415

        start = time.perf_counter()
        tuned = tune_tags(job, corpus, words.scores)
        found.append(_candidate(job, corpus, "encoder", words, spent + time.perf_counter() - start, tuned=tuned))
    return found


def _with_vectors(job: Job, corpus: Corpus, words: Ranked) -> Ranked:
    rows = shortlisted(corpus, words.scores)
    every = [d.text[place.start : place.end] for d in corpus.documents for place in d.sentences]
    vectors = encode(job, [every[row] for row in rows], "encode sentences").vectors
    return rank_by_vectors(corpus, words, rows, vectors)


def _candidate(
    job: Job, corpus: Corpus, rung: Rung, ranked: Ranked, spent: float, *, tuned: TunedTags | None = None
) -> Candidate:
    """Tag, weigh, decide from which confidence to accept, measure on held-out texts."""
    start = time.perf_counter()
    job.progress.start(f"{job.name}: read ({rung})", corpus.fields * (len(np.unique(corpus.folds)) + 1))
    tagged = tag_fields(corpus, ranked.scores, job.progress.advance, tuned.tags if tuned else None)
    job.progress.finish("")
    models = field_models(job.train.rows, job.section.fields)
    unseen = _Unseen(job.train, _unseen_models(job, corpus), corpus.folds, tagged)
    weigher = fit_weigher(
        tagged.candidates,
        np.array([[bool(spans) for spans in each] for each in corpus.spans]),
        [model.many for model in models],
        unseen.right,
        np.array(
            [
                [len(spans) if model.many else bool(spans) for spans, model in zip(each, models, strict=True)]
                for each in corpus.spans
            ],
            dtype=np.int64,
        ),
    )
    extractor = Extractor(fields=models, ranker=ranked.ranker, tagger=tagged.tagger, weigher=weigher)
    first = field_cases(job.train.rows, unseen.findings(extractor))
    extractor = replace(extractor, weigher=level(weigher, first, [model.name for model in models]))
    cases = field_cases(job.train.rows, unseen.findings(extractor))
    thresholds = [_threshold(job, model.name, cases) for model in models]
    specialist = ExtractSpecialist(
        card=job.card(rung),
        extractor=extractor,
        acceptances=tuple(_acceptance(each.value, job.section.target_risk) for each in thresholds),
        encoder=tuned.tagger if tuned else job.encoder if rung == "embedding" else None,
    )
    seconds = spent + time.perf_counter() - start
    report = judge_fields(job.train.rows, cases)
    return Candidate(
        rung=rung,
        files=specialist.to_files() | own_encoder_files(tuned.files if tuned else {}),
        validation={name: Figure(report.figures[name], report.intervals[name]) for name in job.measures},
        evaluation=measure(job, rung, specialist),
        seconds=seconds,
        notes={
            **(tuned.notes if tuned else {}),
            "threshold": _thresholds_in_words(models, thresholds),
            "out_of_fold": {name: each.to_json() for name, each in report.fields.items()},
        },
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

    data: Dataset
    models: Mapping[int, Sequence[FieldModel]]
    """By fold, of the other folds' rows."""
    folds: np.ndarray  # (N,)
    tagged: Tagged

    def right(self, number: int, field: int, candidate: Stretch) -> bool:
        """Whether a stretch is right."""
        row, model = self.data.rows[number], self.models[int(self.folds[number])][field]
        (said,) = as_fields([model], [[_found(candidate)]], [_never()], row.text)
        return is_right(said, row.text, spans_of(row, model.name))

    def findings(self, extractor: Extractor) -> list[Finding]:
        """A finding a text, nothing of it accepted."""
        return [self._finding(number, row, extractor) for number, row in enumerate(self.data.rows)]

    def _finding(self, number: int, row: Row, extractor: Extractor) -> Finding:
        models = self.models[int(self.folds[number])]
        decided = [
            extractor.weigher.decide(field, candidates, many=model.many)
            for field, (candidates, model) in enumerate(zip(self.tagged.candidates[number], models, strict=True))
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


def _threshold(job: Job, name: str, cases: Sequence[FieldCase]) -> Threshold:
    """From which confidence a field is accepted; several values of one text are not independent."""
    own = [case for case in cases if case.field.name == name]
    return accept_threshold(
        [case.field.confidence for case in own],
        [case.correct for case in own],
        target_risk=job.section.target_risk,
        groups=[job.train.rows[case.document].group or case.document for case in own],
    )


def _thresholds_in_words(models: Sequence[FieldModel], thresholds: Sequence[Threshold]) -> dict[str, object]:
    covered = float(np.mean([each.coverage for each in thresholds]))
    return {
        "value": {model.name: each.value for model, each in zip(models, thresholds, strict=True)},
        "coverage": covered,
        "reason": " ".join(f"{model.name}: {each.reason}" for model, each in zip(models, thresholds, strict=True)),
    }
