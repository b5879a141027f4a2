"""Training a `classify` specialist of pairs: scores of clauses, decisions on documents, calibrated on both counts.

Known hypotheses are calibrated on documents that their model did not see; hypotheses that training does not have on
hypotheses that it did not see, and their accept threshold counts each hypothesis as one group.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from itertools import compress

import numpy as np

from coterie.engines.features import NgramFeatures
from coterie.engines.linear import dump_head
from coterie.learning.calibration import fit_temperature, softmax
from coterie.learning.candidates import Candidate, Figure
from coterie.learning.job import Job
from coterie.learning.measure import Encoded, encode, measure
from coterie.learning.metrics import bootstrap_interval, macro_f1, score_interval, unseen
from coterie.learning.threshold import Threshold, accept_threshold, provable
from coterie.specialists.acceptance import Acceptance
from coterie.tasks.classify.heads import ngram_matrix
from coterie.tasks.pairs.fit_heads import (
    FEWEST_ROWS,
    FOLDS,
    DecisionFit,
    KernelScores,
    LexicalScores,
    PairCorpus,
    Targets,
    clause_features,
    fit_decision,
    fit_kernel_scores,
    fit_lexical_scores,
    fit_open,
    pair_corpus,
)
from coterie.tasks.pairs.heads import (
    Clauses,
    OpenQuestion,
    PairHead,
    denying_words,
    likeness,
    normal_form,
    open_features,
    spread,
    summarise,
)
from coterie.tasks.pairs.model import PairSpecialist
from coterie.tasks.pairs.section import PairsSection
from coterie.types import Rung

_DRAWS = 200  # of the bootstrap of a measure that is no mean


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fitted:
    rung: Rung
    features: NgramFeatures
    targets: Targets
    lexical: LexicalScores
    kernel: KernelScores | None
    vectors: np.ndarray | None  # (S, D)
    asked: np.ndarray | None  # (hypotheses, D)
    seconds: float

    @property
    def scores(self) -> np.ndarray:  # (S, models, K)
        models = [self.lexical.held] if self.kernel is None else [self.lexical.held, self.kernel.held]
        return np.stack(models, axis=1)


def train_pairs(job: Job[PairsSection], hypotheses: Encoded) -> list[Candidate]:
    """A candidate a rung, cheapest first.

    Args:
        job: What to train.
        hypotheses: Encodings of `pair_hypotheses`; the router's profile needs them on every rung.
    """
    start = time.perf_counter()
    corpus = pair_corpus(job.train, job.section.pair_column, job.section.seed)
    lexical = _fit_lexical(job, corpus, start)
    fits = [lexical]
    if "embedding" in job.measured_rungs:
        fits.append(_fit_embedding(job, corpus, lexical, _in_order(job, corpus, hypotheses)))
    return [_candidate(job, corpus, fit) for fit in fits]


def pair_hypotheses(job: Job[PairsSection]) -> list[str]:
    """The distinct second texts of the training rows."""
    column = job.section.pair_column
    return list({normal_form(str(row.columns[column])): str(row.columns[column]) for row in job.train.rows}.values())


def _in_order(job: Job[PairsSection], corpus: PairCorpus, hypotheses: Encoded) -> np.ndarray:  # (hypotheses, D)
    place = {normal_form(text): index for index, text in enumerate(pair_hypotheses(job))}
    return hypotheses.vectors[[place[normal_form(text)] for text in corpus.hypotheses]]


def _fit_lexical(job: Job[PairsSection], corpus: PairCorpus, start: float) -> _Fitted:
    job.progress.start(f"{job.name}: lexical", FOLDS)
    features = clause_features(corpus)
    matrix = ngram_matrix([features], corpus.clauses)
    asked = ngram_matrix([features], corpus.hypotheses)[: corpus.known]
    alike = np.asarray((matrix @ asked.T).todense())
    targets, lexical = fit_lexical_scores(corpus, matrix, alike, job.section.seed, job.progress.advance)
    job.progress.finish("")
    return _Fitted(
        rung="lexical",
        features=features,
        targets=targets,
        lexical=lexical,
        kernel=None,
        vectors=None,
        asked=None,
        seconds=time.perf_counter() - start,
    )


def _fit_embedding(job: Job[PairsSection], corpus: PairCorpus, lexical: _Fitted, asked: np.ndarray) -> _Fitted:
    start = time.perf_counter()
    distinct = {text: index for index, text in enumerate(dict.fromkeys(corpus.clauses))}
    encoded = encode(job, list(distinct), "encode clauses").vectors
    vectors = encoded[[distinct[text] for text in corpus.clauses]]
    job.progress.start(f"{job.name}: embedding", FOLDS)
    kernel = fit_kernel_scores(corpus, vectors, lexical.targets, job.section.seed, job.progress.advance)
    job.progress.finish("")
    return _Fitted(
        rung="embedding",
        features=lexical.features,
        targets=lexical.targets,
        lexical=lexical.lexical,
        kernel=kernel,
        vectors=vectors,
        asked=asked,
        seconds=time.perf_counter() - start + lexical.seconds,
    )


# --- From scores to a candidate ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judgement:
    """How out-of-fold logits are calibrated, and from which confidence they are accepted."""

    temperature: float
    threshold: Threshold
    risk: float
    """What the threshold was shown to hold."""
    warning: str = ""

    def acceptance(self) -> Acceptance:
        return Acceptance(
            temperature=self.temperature,
            threshold=self.threshold.value,
            target_risk=self.risk,
            scope_threshold=None,
        )

    def note(self) -> dict[str, object]:
        return {"value": self.threshold.value, "coverage": self.threshold.coverage, **self.threshold.reason.described()}


def _candidate(job: Job[PairsSection], corpus: PairCorpus, fitted: _Fitted) -> Candidate:
    """Decide, calibrate, and measure on held-out rows."""
    start = time.perf_counter()
    known = np.flatnonzero(corpus.hypothesis < corpus.known)
    decision = _decide(corpus, fitted, known)
    other = _decide_open(corpus, fitted, job.section.seed)
    documents = [job.train.rows[row].group or f"\0{corpus.document[row]}" for row in known]
    measured = corpus.measured[known]
    ours = _judge(job, decision.held[measured], corpus.label[known[measured]], list(compress(documents, measured)))
    theirs = _judge(job, other.held, corpus.label, [f"\0{each}" for each in corpus.hypothesis], strict=True)
    head = _head(corpus, fitted, decision, other)
    specialist = PairSpecialist(
        card=job.card(fitted.rung, (job.section.pair_column,)),
        head=head,
        acceptance=ours.acceptance(),
        open_acceptance=theirs.acceptance(),
        encoder=job.encoder if fitted.rung == "embedding" else None,
    )
    logits = other.held / theirs.temperature
    logits[known] = decision.held / ours.temperature
    return Candidate(
        rung=fitted.rung,
        files=dump_head(head, specialist.describe()),
        validation={each: _figure(each, logits.argmax(axis=1), corpus) for each in job.measures},
        seconds=fitted.seconds + time.perf_counter() - start,
        evaluation=measure(job, fitted.rung, specialist),
        notes=_notes(corpus, ours, theirs),
        warnings=tuple(filter(None, [ours.warning if corpus.known else _unknown(corpus)])),
    )


def _decide(corpus: PairCorpus, fitted: _Fitted, known: np.ndarray) -> DecisionFit:
    """What documents' scores say of known hypotheses."""
    table = spread(fitted.scores, fitted.targets.columns, corpus.known, len(corpus.evident))  # (S, models, H, E)
    summaries = [summarise(table[corpus.of(corpus.document[row]), :, corpus.hypothesis[row]]) for row in known]
    return fit_decision(
        np.array(summaries).reshape(len(known), -1) if len(known) else np.zeros((0, _width(corpus, fitted))),
        corpus.hypothesis[known],
        corpus.label[known],
        corpus.row_folds[known],
        (corpus.known, len(corpus.labels)),
    )


def _width(corpus: PairCorpus, fitted: _Fitted) -> int:
    return len(summarise(np.zeros((1, fitted.scores.shape[1], len(corpus.evident)))))


def _decide_open(corpus: PairCorpus, fitted: _Fitted, seed: int) -> DecisionFit:
    """What likeness alone says; every row counts, for to this decision no hypothesis is known."""
    grams = [fitted.features.encode(text) for text in corpus.clauses]
    words = [
        each for document in range(len(corpus.folds)) for each in denying_words(corpus.clauses[corpus.of(document)])
    ]
    questions = [
        OpenQuestion(
            fitted.features.encode(text),
            denying_words([text])[0],
            None if fitted.asked is None else fitted.asked[index],
        )
        for index, text in enumerate(corpus.hypotheses)
    ]
    rows = []
    for document, hypothesis in zip(corpus.document.tolist(), corpus.hypothesis.tolist(), strict=True):
        own = corpus.of(document)
        vectors = None if fitted.vectors is None else fitted.vectors[own]
        clauses = Clauses(grams[own], words[own], vectors, np.empty(0))
        alike = likeness(clauses, questions[hypothesis], len(fitted.features.terms))
        rows.append(open_features(clauses, questions[hypothesis], alike))
    return fit_open(np.array(rows), corpus.label, corpus.hypothesis % FOLDS, len(corpus.labels), seed)


def _judge(
    job: Job[PairsSection], logits: np.ndarray, label: np.ndarray, groups: list[str], *, strict: bool = False
) -> _Judgement:
    """Calibrated, with the threshold of the target or the smallest risk that can be shown; strict keeps the target."""
    temperature = fit_temperature(logits, label) if len(label) else 1.0
    probabilities = softmax(logits, temperature=temperature)
    confidence = probabilities.max(axis=1) if len(label) else np.empty(0)
    right = probabilities.argmax(axis=1) == label if len(label) else np.empty(0, dtype=bool)
    if strict:
        target = job.section.target_risk
        threshold = accept_threshold(confidence, right, target_risk=target, groups=groups)
        return _Judgement(temperature=temperature, threshold=threshold, risk=target)
    shown = provable(job.section, confidence, right, groups)
    return _Judgement(temperature=temperature, threshold=shown.threshold, risk=shown.risk, warning=shown.warning)


def _unknown(corpus: PairCorpus) -> str:
    """That no hypothesis has the documents that it takes to be known."""
    asked = set(zip(corpus.hypothesis.tolist(), corpus.document.tolist(), strict=True))
    most = max(Counter(hypothesis for hypothesis, _ in asked).values())
    return (
        f"no hypothesis is known: that takes {FEWEST_ROWS} documents, and the most frequent one has {most}. "
        "What it says of one that is not known rests on likeness, and is mostly an abstention"
    )


def _head(corpus: PairCorpus, fitted: _Fitted, decision: DecisionFit, other: DecisionFit) -> PairHead:
    """Weights are stored in half precision, of which a fit's noise leaves no digit to lose."""
    kernel = fitted.kernel
    return PairHead(
        labels=corpus.labels,
        hypotheses=tuple(normal_form(text) for text in corpus.hypotheses[: corpus.known]),
        evident=corpus.evident,
        columns=fitted.targets.columns,
        features=fitted.features,
        weights=fitted.lexical.weights.astype(np.float16),
        bias=fitted.lexical.bias.astype(np.float32),
        kernel=None if kernel is None else kernel.block,
        kernel_bias=0.0 if kernel is None else kernel.bias,
        decision=decision.weights.astype(np.float32),
        decision_bias=decision.bias.astype(np.float32),
        open_decision=other.weights[0].astype(np.float32),
        open_bias=other.bias[0].astype(np.float32),
    )


def _notes(corpus: PairCorpus, ours: _Judgement, theirs: _Judgement) -> dict[str, object]:
    given = sum(len(each) > 0 for each in corpus.evidence)
    return {
        "documents": len(corpus.folds),
        "learnt_only": int((~corpus.measured).sum()),
        "clauses": len(corpus.clauses),
        "hypotheses": {"known": corpus.known, "other": len(corpus.hypotheses) - corpus.known},
        "evidence": {"rows": given, "labels": [corpus.labels[each] for each in corpus.evident]},
        "temperature": ours.temperature,
        "threshold": ours.note(),
        "open_threshold": theirs.note(),
    }


def _figure(name: str, predicted: np.ndarray, corpus: PairCorpus) -> Figure:
    """A measure on out-of-fold rows, with its interval."""
    label, predicted = corpus.label[corpus.measured], predicted[corpus.measured]
    if name == "macro_f1":
        drawn = bootstrap_interval(macro_f1, label, predicted, seed=0, n=_DRAWS)
        return Figure(macro_f1(label, predicted), unseen(drawn, len(label)))
    right = predicted == label
    return Figure(float(right.mean()), score_interval(right, seed=0))
