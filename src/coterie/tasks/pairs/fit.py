"""Training a `pairs` specialist: scores of clauses, decisions on documents, calibrated on both counts.

Known hypotheses are calibrated on documents that their model did not see. Unknown hypotheses are calibrated on
hypotheses that the model did not see, and their accept threshold counts each hypothesis as one group.

There is one linear support vector machine on TF-IDF per column, and one kernel ridge regression on the encodings
for all of them: clauses are the same for every hypothesis, only what they are evidence of differs. Where a row's
evidence is not given, the clauses most similar to the hypothesis replace it. Choosing them anew by the scores
they led to (Andrews, Tsochantaridis and Hofmann 2003, "Support Vector Machines for Multiple-Instance Learning")
helps a little, but then the predictions for a document have seen its label through the others' evidence, and no
out-of-fold figure is unbiased.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from scipy.sparse import csr_matrix, hstack
from scipy.special import logsumexp
from sklearn.svm import LinearSVC

from coterie.engines.linear import KernelBlock, NgramFeatures, dump_head, fit_ngrams
from coterie.learning.calibration import Threshold, accept_threshold, fit_temperature, multinomial, provable, softmax
from coterie.learning.dataset import Dataset, Row
from coterie.learning.evaluation import bootstrap_interval, macro_f1, score_interval, unseen
from coterie.learning.fitting import TextExamples, deal_folds, fit_kernel
from coterie.learning.job import Job
from coterie.learning.measure import Candidate, Encoded, Figure, encode, measure
from coterie.specialists.parts import Acceptance
from coterie.tasks.classify.heads import ngram_matrix
from coterie.tasks.pairs.model import (
    COUNT_IN_OPEN,
    COUNT_IN_SUMMARY,
    NEVER,
    Clauses,
    OpenQuestion,
    PairHead,
    PairSpecialist,
    denying_words,
    likeness,
    normal_form,
    open_features,
    split_clauses,
    spread,
    summarise,
)
from coterie.tasks.pairs.section import PairsSection
from coterie.text.segmentation import Span
from coterie.types import Rung

# --- What a classifier of pairs is trained on: documents cut into clauses, each one once, and rows that refer to
# them.

FOLDS = 5
FEWEST_ROWS = 20
"""Rows, each of another document, from which a hypothesis is known: it gets its own scores and decision."""
_OVERLAP = 0.5  # of the shorter of clause and evidence, from which the clause is evidence
_EVIDENT = 0.5  # share of a label's rows with evidence, from which evidence speaks for it


@dataclass(frozen=True, kw_only=True, eq=False)
class PairCorpus:
    """S clauses of D documents, and R rows: a document, a hypothesis, a label, and clauses that are its evidence."""

    clauses: Sequence[str]  # S
    starts: np.ndarray  # (D + 1,) where each document's clauses begin
    folds: np.ndarray  # (D,)
    hypotheses: tuple[str, ...]
    """Distinct hypotheses as they are written, the known ones first."""
    known: int
    document: np.ndarray  # (R,)
    hypothesis: np.ndarray  # (R,)
    label: np.ndarray  # (R,)
    labels: tuple[str, ...]
    measured: np.ndarray  # (R,) whether to calibrate and measure on it
    evidence: Sequence[np.ndarray]  # R, clause numbers; empty where none is given
    evident: tuple[int, ...]
    """Labels that evidence supports: those whose rows mostly have some; all of them where no row has any."""

    @property
    def clause_folds(self) -> np.ndarray:  # (S,)
        """The fold of each clause's document."""
        return np.repeat(self.folds, np.diff(self.starts))

    @property
    def row_folds(self) -> np.ndarray:  # (R,)
        """The fold of each row's document."""
        return np.asarray(self.folds[self.document])

    def of(self, document: int) -> slice:
        """Return the slice of a document's clauses."""
        return slice(int(self.starts[document]), int(self.starts[document + 1]))


def pair_corpus(data: Dataset, pair_column: str, seed: int) -> PairCorpus:
    """Cut each distinct document once, and deal the documents into folds.

    Raises:
        DataError: there are fewer than two distinct documents.
    """
    texts = list(dict.fromkeys(row.text for row in data.rows))
    number = {text: index for index, text in enumerate(texts)}
    spans = [split_clauses(text) for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(span) for span in spans])])
    document = np.array([number[row.text] for row in data.rows])
    labels = data.label_names
    label = np.array([labels.index(row.labels[0]) for row in data.rows])
    evidence = [
        starts[at] + _overlapping(row.evidence, spans[at]) for row, at in zip(data.rows, document.tolist(), strict=True)
    ]
    folds = np.zeros(len(texts), dtype=np.int64)
    folds[document[::-1]] = deal_folds(data, FOLDS, seed)[::-1]  # the first row decides, should groups cut a document
    hypotheses, hypothesis, known_pairs = _hypotheses(data.rows, pair_column, document)
    return PairCorpus(
        clauses=[text[span.start : span.end] for text, own in zip(texts, spans, strict=True) for span in own],
        starts=starts,
        folds=folds,
        hypotheses=hypotheses,
        known=known_pairs,
        document=document,
        hypothesis=hypothesis,
        label=label,
        labels=labels,
        measured=np.array([not row.learn_only for row in data.rows]),
        evidence=evidence,
        evident=_evident(evidence, label, len(labels)),
    )


def _overlapping(evidence: Sequence[tuple[int, int]], spans: Sequence[Span]) -> np.ndarray:
    """Return numbers of the clauses that contain a good part of some evidence."""
    pairs = {
        index
        for start, end in evidence
        for index, span in enumerate(spans)
        if min(end, span.end) - max(start, span.start) >= _OVERLAP * min(end - start, span.end - span.start)
    }
    return np.array(sorted(pairs), dtype=np.int64)


def _hypotheses(rows: Sequence[Row], column: str, document: np.ndarray) -> tuple[tuple[str, ...], np.ndarray, int]:
    """Return distinct hypotheses, those of many documents first; each row's hypothesis; the number of known ones."""
    written: dict[str, str] = {}
    documents: dict[str, set[int]] = defaultdict(set)
    keys = []
    for row, at in zip(rows, document.tolist(), strict=True):
        text = str(row.columns[column])
        key = normal_form(text)
        keys.append(key)
        written.setdefault(key, text)
        documents[key].add(at)
    order = sorted(written, key=lambda key: (len(documents[key]) < FEWEST_ROWS, key))
    number = {key: index for index, key in enumerate(order)}
    often_seen = sum(len(own) >= FEWEST_ROWS for own in documents.values())
    return tuple(written[key] for key in order), np.array([number[key] for key in keys]), often_seen


def _evident(evidence: Sequence[np.ndarray], label: np.ndarray, labels: int) -> tuple[int, ...]:
    given = np.array([len(spans) > 0 for spans in evidence])
    shares = [given[label == number].mean() for number in range(labels)]
    return tuple(number for number in range(labels) if shares[number] >= _EVIDENT) or tuple(range(labels))


# Chosen by cross-validation on ContractNLI's training documents; see docs/history/log.md.
_LONGEST_GRAM, _MOST_GRAMS = 3, 60_000
_SVM_C, _SVM_TOLERANCE = 0.5, 1e-2
_RARE = {0: 1.0, 1: 3.0}  # a clause that is evidence weighs as much as three that are not
_FEWEST = 3  # clauses of a column below which it is not learnt
_MOST_PLAIN = 30_000  # clauses that are evidence of nothing, to fit on
_LANDMARKS = (1_000, 500)  # clauses that are evidence, and that are none
_INFERRED = 2  # clauses taken for the evidence of a row that gives none


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What clauses are evidence of: K columns, each a known hypothesis and a label with evidence."""

    columns: np.ndarray  # (K, 2)
    hot: np.ndarray  # (S, K) bool


@dataclass(frozen=True, kw_only=True, eq=False)
class LexicalScores:
    """Fitted weights, and cross-fitted scores of each clause."""

    weights: np.ndarray  # (F, K)
    bias: np.ndarray  # (K,)
    held: np.ndarray  # (S, K)


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelScores:
    """Fitted weights on encodings, and cross-fitted scores of each clause."""

    block: KernelBlock
    bias: float
    held: np.ndarray  # (S, K)


Advance = Callable[[int], None]


def clause_features(corpus: PairCorpus) -> NgramFeatures:
    """Return word n-grams of the clauses; n-grams that occur once are kept only if there is little text."""
    distinct = list(dict.fromkeys(corpus.clauses))
    at_least = 2 if len(distinct) >= 500 else 1
    return fit_ngrams(distinct, unit="word", shortest=1, longest=_LONGEST_GRAM, at_least=at_least, at_most=_MOST_GRAMS)


# --- What is to be learnt ------------------------------------------------------------------------


def fit_lexical_scores(
    corpus: PairCorpus, matrix: csr_matrix, alike: np.ndarray, seed: int, advance: Advance
) -> tuple[Targets, LexicalScores]:
    """Return targets, with evidence inferred where it is not given, and the machines that learn them.

    Args:
        corpus: Rows and clauses.
        matrix: (S, F) n-grams of the clauses.
        alike: (S, known) similarity of each clause to each known hypothesis.
        seed: Seed of the machines.
        advance: Called after each fold.
    """
    missing = _missing(corpus)
    first = np.stack([alike] * len(corpus.evident), axis=2) if len(missing) else None  # (S, H, E)
    targets = _targets(corpus, missing, first)
    return targets, _fit(matrix, targets, corpus, seed, advance)


def _missing(corpus: PairCorpus) -> np.ndarray:
    """Return rows of known hypotheses whose label has evidence that is not given."""
    bare = np.array([len(spans) == 0 for spans in corpus.evidence])
    return np.flatnonzero(bare & (corpus.hypothesis < corpus.known) & np.isin(corpus.label, corpus.evident))


def _targets(corpus: PairCorpus, missing: np.ndarray, scores: np.ndarray | None) -> Targets:
    """Return columns with enough clauses. `scores` (S, H, E) choose the clauses for evidence that is not given."""
    index_of = {label: index for index, label in enumerate(corpus.evident)}
    hot = np.zeros((len(corpus.clauses), corpus.known, len(corpus.evident)), dtype=bool)
    for row in np.flatnonzero((corpus.hypothesis < corpus.known) & np.isin(corpus.label, corpus.evident)).tolist():
        hot[corpus.evidence[row], corpus.hypothesis[row], index_of[int(corpus.label[row])]] = True
    for row in missing if scores is not None else ():
        own, at, label = corpus.of(corpus.document[row]), corpus.hypothesis[row], index_of[int(corpus.label[row])]
        best = np.argsort(-scores[own, at, label], kind="stable")[:_INFERRED]  # type: ignore[index]
        hot[own.start + best, at, label] = True
    columns = np.argwhere(hot.sum(axis=0) >= _FEWEST)
    return Targets(columns=columns, hot=hot[:, columns[:, 0], columns[:, 1]])


def _chosen(targets: Targets, seed: int) -> np.ndarray:
    """Return clauses to fit on: all that are evidence, and a limited number of the others."""
    plain = np.flatnonzero(~targets.hot.any(axis=1))
    drawn = np.random.default_rng(seed).permutation(plain)[:_MOST_PLAIN]
    return np.sort(np.concatenate([np.flatnonzero(targets.hot.any(axis=1)), drawn]))


# --- N-grams -------------------------------------------------------------------------------------


def _fit(matrix: csr_matrix, targets: Targets, corpus: PairCorpus, seed: int, advance: Advance) -> LexicalScores:
    folds, chosen = corpus.clause_folds, _chosen(targets, seed)
    weights, bias = _machines(matrix, targets.hot, chosen, seed)
    held = np.asarray(matrix @ weights + bias, dtype=np.float32)  # of clauses not fitted on, this will do
    for fold in np.unique(folds):
        own = chosen[folds[chosen] == fold]
        fitted, constant = _machines(matrix, targets.hot, chosen[folds[chosen] != fold], seed)
        held[own] = matrix[own] @ fitted + constant
        advance(1)
    return LexicalScores(weights=weights, bias=bias, held=held)


def _machines(matrix: csr_matrix, hot: np.ndarray, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (F, K) and bias (K,) of one machine per column; a column without examples is never likely."""
    weights = np.zeros((matrix.shape[1], hot.shape[1]), dtype=np.float32)
    bias = np.full(hot.shape[1], NEVER, dtype=np.float32)
    some, truth = matrix[rows], hot[rows]
    for column in np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0)):
        model = LinearSVC(C=_SVM_C, tol=_SVM_TOLERANCE, class_weight=_RARE, random_state=seed)
        model.fit(some, truth[:, column])
        weights[:, column], bias[column] = model.coef_[0], model.intercept_[0]
    return weights, bias


# --- Encodings -----------------------------------------------------------------------------------


def fit_kernel_scores(
    corpus: PairCorpus, vectors: np.ndarray, targets: Targets, seed: int, advance: Advance
) -> KernelScores:
    """Fit a kernel ridge regression of every column on the clauses' encodings (S, D)."""
    if not len(targets.columns):
        return _nothing(vectors)
    chosen = _chosen(targets, seed)
    examples = TextExamples(
        texts=[corpus.clauses[row] for row in chosen],
        hot=targets.hot[chosen].astype(np.float64),
        several=True,
        folds=corpus.clause_folds[chosen],
        seed=seed,
    )
    fit = fit_kernel(vectors[chosen], examples, advance, landmarks=_landmarks(examples))
    block = replace(fit.block, weights=fit.block.weights.astype(np.float16))
    held = (block.logits(vectors) + fit.bias).astype(np.float32)
    held[chosen] = fit.out_of_fold
    return KernelScores(block=block, bias=fit.bias, held=held)


def _nothing(vectors: np.ndarray) -> KernelScores:
    """Return scores without columns: there is no known hypothesis; the encodings still measure similarity."""
    block = KernelBlock(landmarks=vectors[:1].astype(np.float16), weights=np.zeros((1, 0), dtype=np.float16), gamma=1.0)
    return KernelScores(block=block, bias=0.0, held=np.zeros((len(vectors), 0), dtype=np.float32))


def _landmarks(examples: TextExamples) -> np.ndarray:
    """Return landmarks: mostly clauses that are evidence, as the others have nothing in common."""
    random = np.random.default_rng(examples.seed)
    evidence = examples.hot.any(axis=1)
    parts = [np.flatnonzero(evidence), np.flatnonzero(~evidence)]
    drawn = [random.permutation(part)[:most] for part, most in zip(parts, _LANDMARKS, strict=True)]
    return np.sort(np.concatenate(drawn))


# --- Fitting decisions: from what the clauses of a document scored to the label of a pair.
#
# A multinomial logistic regression on the summaries of out-of-fold scores (stacking; Wolpert 1992). Its weights are a
# part that all hypotheses share and a part of each one's own, both regularised (Daumé 2007, "Frustratingly Easy
# Domain Adaptation"): a hypothesis with few rows decides like the others.

_STRENGTHS = (0.01, 0.03, 0.1, 0.5)  # inverse regularisation; the one with the least out-of-fold log loss is taken
_OWN_BIAS = 2.0  # a hypothesis's own constant is regularised less than its weights
_ABSENT = -6.0  # logit of a label that the rows do not have
_LEAST_SPREAD, _LEAST_COUNT_SPREAD = 0.02, 0.5
"""Least spread by which features are scaled, of scores and of the logarithm of the number of clauses.

Documents of one length must not make a longer one look unusual.
"""
_MOST_OPEN = 20_000  # rows to fit the open decision on


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionFit:
    """Weights per hypothesis, and cross-fitted predictions of each row."""

    weights: np.ndarray  # (H, P, L)
    bias: np.ndarray  # (H, L)
    held: np.ndarray  # (R, L)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Standardised features with a part shared by all hypotheses and a part of each."""

    mean: np.ndarray  # (P,)
    spread: np.ndarray  # (P,)
    design: csr_matrix  # (R, P + H (P + 1)); without own parts (R, P)


def fit_decision(
    summaries: np.ndarray, hypothesis: np.ndarray, label: np.ndarray, folds: np.ndarray, sizes: tuple[int, int]
) -> DecisionFit:
    """Fit the decision of each known hypothesis.

    Args:
        summaries: (R, P) of out-of-fold scores.
        hypothesis: (R,) number of each row's hypothesis.
        label: (R,) the right one.
        folds: (R,) by document.
        sizes: Numbers of known hypotheses and labels.
    """
    hypotheses, labels = sizes
    width = summaries.shape[1]
    if not len(summaries):
        return DecisionFit(weights=np.zeros((0, width, labels)), bias=np.zeros((0, labels)), held=np.zeros((0, labels)))
    rows = _rows(summaries, COUNT_IN_SUMMARY, hypothesis, hypotheses)
    strength, held = _held_out(rows.design, label, folds, labels)
    coefficients, intercept = _multinomial(rows.design, label, labels, strength)
    shared, own = coefficients[:width], coefficients[width:].reshape(hypotheses, width + 1, labels)
    weights = (shared + own[:, :width]) / rows.spread[:, None]
    bias = intercept + _OWN_BIAS * own[:, width] - np.einsum("p,hpl->hl", rows.mean, weights)
    return DecisionFit(weights=weights, bias=bias, held=held)


def fit_open(features: np.ndarray, label: np.ndarray, folds: np.ndarray, labels: int, seed: int) -> DecisionFit:
    """Fit the decision of any unknown hypothesis: one for all, evaluated on unseen hypotheses.

    Args:
        features: (R, Q)
        label: (R,)
        folds: (R,) by hypothesis.
        labels: Number of labels.
        seed: Seed of the choice of rows where there are very many.
    """
    kept = np.random.default_rng(seed).permutation(len(features))[:_MOST_OPEN]
    rows = _rows(features, COUNT_IN_OPEN, None, 0)
    design, truth = rows.design, label
    coefficients, intercept = _multinomial(design[kept], truth[kept], labels, _STRENGTHS[-1])
    held = np.tile(intercept, (len(label), 1))
    for fold in np.unique(folds) if len(np.unique(folds)) > 1 else ():
        seen, own = kept[folds[kept] != fold], folds == fold
        fitted, constant = _multinomial(design[seen], truth[seen], labels, _STRENGTHS[-1])
        held[own] = design[own] @ fitted + constant
    weights = coefficients / rows.spread[:, None]
    return DecisionFit(weights=weights[None], bias=(intercept - rows.mean @ weights)[None], held=held)


def _rows(features: np.ndarray, count: int, hypothesis: np.ndarray | None, hypotheses: int) -> _Rows:
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), _LEAST_SPREAD)
    spread[count] = max(spread[count], _LEAST_COUNT_SPREAD)
    scaled = (features - mean) / spread
    if hypothesis is None:
        return _Rows(mean=mean, spread=spread, design=csr_matrix(scaled))
    n, width = scaled.shape
    own = np.hstack([scaled, np.full((n, 1), _OWN_BIAS)])
    columns = hypothesis[:, None] * (width + 1) + np.arange(width + 1)
    starts = np.arange(0, n * (width + 1) + 1, width + 1)
    crossed = csr_matrix((own.ravel(), columns.ravel(), starts), shape=(n, hypotheses * (width + 1)))
    return _Rows(mean=mean, spread=spread, design=hstack([csr_matrix(scaled), crossed]).tocsr())


def _held_out(
    design: csr_matrix, label: np.ndarray, folds: np.ndarray, labels: int
) -> tuple[float, np.ndarray]:  # and (R, L)
    """Return the strength with the least log loss on unseen rows, and its logits of them."""
    tried = {}
    for strength in _STRENGTHS:
        logits = np.zeros((len(label), labels))
        for fold in np.unique(folds):
            own = folds == fold
            coefficients, intercept = _multinomial(design[~own], label[~own], labels, strength)
            logits[own] = design[own] @ coefficients + intercept
        loss = float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(label)), label]))
        tried[strength] = loss, logits
    best = min(tried, key=lambda strength: tried[strength][0])
    return best, tried[best][1]


def _multinomial(
    design: csr_matrix, label: np.ndarray, labels: int, strength: float
) -> tuple[np.ndarray, np.ndarray]:  # (columns, L), (L,)
    return multinomial(design, label, labels, strength=strength, absent=_ABSENT, rounds=300)


# --- Training a `classify` specialist of pairs: scores of clauses, decisions on documents, calibrated on both counts.

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
    """Return a candidate per rung, cheapest first.

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
    """Return the distinct second texts of the training rows."""
    column = job.section.pair_column
    return list({normal_form(str(row.columns[column])): str(row.columns[column]) for row in job.train.rows}.values())


def _in_order(job: Job[PairsSection], corpus: PairCorpus, hypotheses: Encoded) -> np.ndarray:  # (hypotheses, D)
    index_of = {normal_form(text): index for index, text in enumerate(pair_hypotheses(job))}
    return hypotheses.vectors[[index_of[normal_form(text)] for text in corpus.hypotheses]]


def _fit_lexical(job: Job[PairsSection], corpus: PairCorpus, start: float) -> _Fitted:
    job.progress.start(f"{job.name}: lexical", FOLDS)
    features = clause_features(corpus)
    matrix = ngram_matrix([features], corpus.clauses)
    known_matrix = ngram_matrix([features], corpus.hypotheses)[: corpus.known]
    alike = np.asarray((matrix @ known_matrix.T).todense())
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


def _fit_embedding(
    job: Job[PairsSection], corpus: PairCorpus, lexical: _Fitted, hypothesis_vectors: np.ndarray
) -> _Fitted:
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
        asked=hypothesis_vectors,
        seconds=time.perf_counter() - start + lexical.seconds,
    )


# --- From scores to a candidate ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judgement:
    """The calibration of out-of-fold logits, and the threshold for accepting them."""

    temperature: float
    threshold: Threshold
    risk: float
    """The risk that the threshold provably holds."""
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
    known_rows = np.flatnonzero(corpus.hypothesis < corpus.known)
    decision = _decide(corpus, fitted, known_rows)
    other = _decide_open(corpus, fitted, job.section.seed)
    documents = [job.train.rows[row].group or f"\0{corpus.document[row]}" for row in known_rows]
    measured = corpus.measured[known_rows]
    ours = _judge(job, decision.held[measured], corpus.label[known_rows[measured]], list(compress(documents, measured)))
    theirs = _judge(job, other.held, corpus.label, [f"\0{number}" for number in corpus.hypothesis], strict=True)
    head = _head(corpus, fitted, decision, other)
    specialist = PairSpecialist(
        card=job.card(fitted.rung, (job.section.pair_column,)),
        head=head,
        acceptance=ours.acceptance(),
        open_acceptance=theirs.acceptance(),
        encoder=job.encoder if fitted.rung == "embedding" else None,
    )
    logits = other.held / theirs.temperature
    logits[known_rows] = decision.held / ours.temperature
    return Candidate(
        rung=fitted.rung,
        files=dump_head(head, specialist.describe()),
        validation={measure_: _figure(measure_, logits.argmax(axis=1), corpus) for measure_ in job.measures},
        seconds=fitted.seconds + time.perf_counter() - start,
        evaluation=measure(job, fitted.rung, specialist),
        notes=_notes(corpus, ours, theirs),
        warnings=tuple(filter(None, [ours.warning if corpus.known else _unknown(corpus)])),
    )


def _decide(corpus: PairCorpus, fitted: _Fitted, known_rows: np.ndarray) -> DecisionFit:
    """Fit the decision on known hypotheses from documents' scores."""
    table = spread(fitted.scores, fitted.targets.columns, corpus.known, len(corpus.evident))  # (S, models, H, E)
    summaries = [summarise(table[corpus.of(corpus.document[row]), :, corpus.hypothesis[row]]) for row in known_rows]
    return fit_decision(
        np.array(summaries).reshape(len(known_rows), -1) if len(known_rows) else np.zeros((0, _width(corpus, fitted))),
        corpus.hypothesis[known_rows],
        corpus.label[known_rows],
        corpus.row_folds[known_rows],
        (corpus.known, len(corpus.labels)),
    )


def _width(corpus: PairCorpus, fitted: _Fitted) -> int:
    return len(summarise(np.zeros((1, fitted.scores.shape[1], len(corpus.evident)))))


def _decide_open(corpus: PairCorpus, fitted: _Fitted, seed: int) -> DecisionFit:
    """Fit the decision from similarity alone; every row counts, as this decision knows no hypothesis."""
    grams = [fitted.features.encode(text) for text in corpus.clauses]
    words = [
        word for document in range(len(corpus.folds)) for word in denying_words(corpus.clauses[corpus.of(document)])
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
    """Calibrate, and return the threshold of the target or the smallest provable risk; strict keeps the target."""
    temperature = fit_temperature(logits, label) if len(label) else 1.0
    probabilities = softmax(logits.astype(float) / temperature)
    confidence = probabilities.max(axis=1) if len(label) else np.empty(0)
    right = probabilities.argmax(axis=1) == label if len(label) else np.empty(0, dtype=bool)
    if strict:
        target = job.section.target_risk
        threshold = accept_threshold(confidence, right, target_risk=target, groups=groups)
        return _Judgement(temperature=temperature, threshold=threshold, risk=target)
    shown = provable(job.section, confidence, right, groups)
    return _Judgement(temperature=temperature, threshold=shown.threshold, risk=shown.risk, warning=shown.warning)


def _unknown(corpus: PairCorpus) -> str:
    """Return a warning that no hypothesis has enough documents to be known."""
    pairs_seen = set(zip(corpus.hypothesis.tolist(), corpus.document.tolist(), strict=True))
    most = max(Counter(hypothesis for hypothesis, _ in pairs_seen).values())
    return (
        f"no hypothesis is known: that takes {FEWEST_ROWS} documents, and the most frequent one has {most}. "
        "What it says of one that is not known rests on likeness, and is mostly an abstention"
    )


def _head(corpus: PairCorpus, fitted: _Fitted, decision: DecisionFit, other: DecisionFit) -> PairHead:
    """Return the head, with weights in half precision, which is below the noise of a fit."""
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
    given = sum(len(spans) > 0 for spans in corpus.evidence)
    return {
        "documents": len(corpus.folds),
        "learnt_only": int((~corpus.measured).sum()),
        "clauses": len(corpus.clauses),
        "hypotheses": {"known": corpus.known, "other": len(corpus.hypotheses) - corpus.known},
        "evidence": {"rows": given, "labels": [corpus.labels[number] for number in corpus.evident]},
        "temperature": ours.temperature,
        "threshold": ours.note(),
        "open_threshold": theirs.note(),
    }


def _figure(name: str, predicted: np.ndarray, corpus: PairCorpus) -> Figure:
    """Return a measure on out-of-fold rows, with its interval."""
    label, predicted = corpus.label[corpus.measured], predicted[corpus.measured]
    if name == "macro_f1":
        drawn = bootstrap_interval(macro_f1, label, predicted, seed=0, n=_DRAWS)
        return Figure(macro_f1(label, predicted), unseen(drawn, len(label)))
    right = predicted == label
    return Figure(float(right.mean()), score_interval(right, seed=0))
