"""Fitting what scores clauses: is this a clause that decides for this label of this hypothesis?

One linear support vector machine on TF-IDF a column, and one kernel ridge regression on the encodings for all of
them: clauses are the same for every hypothesis, only what they are evidence of differs. Where a row's evidence is not
given, the clauses most like the hypothesis are taken for it. Choosing them anew by the scores they led to (Andrews,
Tsochantaridis and Hofmann 2003, "Support Vector Machines for Multiple-Instance Learning") helps a little, but then what
is said of a document has seen its label through the others' evidence, and no figure out of fold is true.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix, hstack
from scipy.special import logsumexp
from sklearn.svm import LinearSVC

from coterie.engines.features import NgramFeatures, fit_ngrams
from coterie.engines.linear import KernelBlock
from coterie.learning.dataset import Dataset, Row
from coterie.learning.examples import TextExamples, deal_folds
from coterie.learning.kernel import fit_kernel
from coterie.learning.numerics import multinomial
from coterie.tasks.pairs.heads import COUNT_IN_OPEN, COUNT_IN_SUMMARY, NEVER, normal_form
from coterie.tasks.pairs.model import split_clauses
from coterie.text.segmentation import Span

# --- What a classifier of pairs is trained on: documents cut into clauses, each one once, and rows that refer to
# them.

FOLDS = 5
FEWEST_ROWS = 20
"""Rows of a hypothesis, each of another document, from which it is known: it gets scores and a decision of its own."""
_OVERLAP = 0.5  # of the shorter of clause and evidence, from which the clause is evidence
_EVIDENT = 0.5  # share of a label's rows with evidence, from which evidence speaks for it


@dataclass(frozen=True, kw_only=True, eq=False)
class PairCorpus:
    """S clauses of D documents, and R rows: a document, a hypothesis, a label, and clauses that are its evidence."""

    clauses: Sequence[str]  # S
    starts: np.ndarray  # (D + 1,) where each document's clauses begin
    folds: np.ndarray  # (D,)
    hypotheses: tuple[str, ...]
    """Distinct ones as they are written, those that are known first."""
    known: int
    document: np.ndarray  # (R,)
    hypothesis: np.ndarray  # (R,)
    label: np.ndarray  # (R,)
    labels: tuple[str, ...]
    measured: np.ndarray  # (R,) whether to calibrate and measure on it
    evidence: Sequence[np.ndarray]  # R, clause numbers; empty where none is given
    evident: tuple[int, ...]
    """Labels that evidence speaks for: those whose rows mostly have some; all of them where no row has any."""

    @property
    def clause_folds(self) -> np.ndarray:  # (S,)
        """The fold of each clause's document."""
        return np.repeat(self.folds, np.diff(self.starts))

    @property
    def row_folds(self) -> np.ndarray:  # (R,)
        """The fold of each row's document."""
        return np.asarray(self.folds[self.document])

    def of(self, document: int) -> slice:
        """Where a document's clauses are."""
        return slice(int(self.starts[document]), int(self.starts[document + 1]))


def pair_corpus(data: Dataset, pair_column: str, seed: int) -> PairCorpus:
    """Cut each distinct document once, and deal the documents into folds.

    Raises:
        DataError: there are not two documents that could be told apart.
    """
    texts = list(dict.fromkeys(row.text for row in data.rows))
    number = {text: index for index, text in enumerate(texts)}
    spans = [split_clauses(text) for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(each) for each in spans])])
    document = np.array([number[row.text] for row in data.rows])
    labels = data.label_names
    label = np.array([labels.index(row.labels[0]) for row in data.rows])
    evidence = [
        starts[at] + _overlapping(row.evidence, spans[at]) for row, at in zip(data.rows, document.tolist(), strict=True)
    ]
    folds = np.zeros(len(texts), dtype=np.int64)
    folds[document[::-1]] = deal_folds(data, FOLDS, seed)[::-1]  # the first row decides, should groups cut a document
    hypotheses, hypothesis, known = _hypotheses(data.rows, pair_column, document)
    return PairCorpus(
        clauses=[text[span.start : span.end] for text, own in zip(texts, spans, strict=True) for span in own],
        starts=starts,
        folds=folds,
        hypotheses=hypotheses,
        known=known,
        document=document,
        hypothesis=hypothesis,
        label=label,
        labels=labels,
        measured=np.array([not row.learn_only for row in data.rows]),
        evidence=evidence,
        evident=_evident(evidence, label, len(labels)),
    )


def _overlapping(evidence: Sequence[tuple[int, int]], spans: Sequence[Span]) -> np.ndarray:
    """Numbers of the clauses that a good part of some evidence lies in."""
    found = {
        index
        for start, end in evidence
        for index, span in enumerate(spans)
        if min(end, span.end) - max(start, span.start) >= _OVERLAP * min(end - start, span.end - span.start)
    }
    return np.array(sorted(found), dtype=np.int64)


def _hypotheses(rows: Sequence[Row], column: str, document: np.ndarray) -> tuple[tuple[str, ...], np.ndarray, int]:
    """Distinct hypotheses, those of many documents first; which one each row has; how many are known."""
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
    known = sum(len(own) >= FEWEST_ROWS for own in documents.values())
    return tuple(written[key] for key in order), np.array([number[key] for key in keys]), known


def _evident(evidence: Sequence[np.ndarray], label: np.ndarray, labels: int) -> tuple[int, ...]:
    given = np.array([len(each) > 0 for each in evidence])
    shares = [given[label == each].mean() for each in range(labels)]
    return tuple(each for each in range(labels) if shares[each] >= _EVIDENT) or tuple(range(labels))


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
    """What clauses are evidence of: K columns, each a known hypothesis and an evident label."""

    columns: np.ndarray  # (K, 2)
    hot: np.ndarray  # (S, K) bool


@dataclass(frozen=True, kw_only=True, eq=False)
class LexicalScores:
    """Fitted weights, and what weights like them said of documents they had not seen."""

    weights: np.ndarray  # (F, K)
    bias: np.ndarray  # (K,)
    held: np.ndarray  # (S, K)


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelScores:
    """The same of encodings."""

    block: KernelBlock
    bias: float
    held: np.ndarray  # (S, K)


Advance = Callable[[int], None]


def clause_features(corpus: PairCorpus) -> NgramFeatures:
    """Word n-grams of the clauses; those that occur once are kept only when there is little text."""
    distinct = list(dict.fromkeys(corpus.clauses))
    at_least = 2 if len(distinct) >= 500 else 1
    return fit_ngrams(distinct, unit="word", shortest=1, longest=_LONGEST_GRAM, at_least=at_least, at_most=_MOST_GRAMS)


# --- What is to be learnt ------------------------------------------------------------------------


def fit_lexical_scores(
    corpus: PairCorpus, matrix: csr_matrix, alike: np.ndarray, seed: int, advance: Advance
) -> tuple[Targets, LexicalScores]:
    """Targets, with evidence inferred where it is not given, and the machines that learn them.

    Args:
        corpus: Rows and clauses.
        matrix: (S, F) n-grams of the clauses.
        alike: (S, known) how like each known hypothesis a clause is.
        seed: Of the machines.
        advance: Told of each fold.
    """
    missing = _missing(corpus)
    first = np.stack([alike] * len(corpus.evident), axis=2) if len(missing) else None  # (S, H, E)
    targets = _targets(corpus, missing, first)
    return targets, _fit(matrix, targets, corpus, seed, advance)


def _missing(corpus: PairCorpus) -> np.ndarray:
    """Rows of known hypotheses whose label has evidence that is not given."""
    bare = np.array([len(each) == 0 for each in corpus.evidence])
    return np.flatnonzero(bare & (corpus.hypothesis < corpus.known) & np.isin(corpus.label, corpus.evident))


def _targets(corpus: PairCorpus, missing: np.ndarray, scores: np.ndarray | None) -> Targets:
    """Columns with enough clauses. `scores` (S, H, E) say which clauses are taken for evidence that is not given."""
    place = {label: index for index, label in enumerate(corpus.evident)}
    hot = np.zeros((len(corpus.clauses), corpus.known, len(corpus.evident)), dtype=bool)
    for row in np.flatnonzero((corpus.hypothesis < corpus.known) & np.isin(corpus.label, corpus.evident)).tolist():
        hot[corpus.evidence[row], corpus.hypothesis[row], place[int(corpus.label[row])]] = True
    for row in missing if scores is not None else ():
        own, at, label = corpus.of(corpus.document[row]), corpus.hypothesis[row], place[int(corpus.label[row])]
        best = np.argsort(-scores[own, at, label], kind="stable")[:_INFERRED]  # type: ignore[index]
        hot[own.start + best, at, label] = True
    columns = np.argwhere(hot.sum(axis=0) >= _FEWEST)
    return Targets(columns=columns, hot=hot[:, columns[:, 0], columns[:, 1]])


def _chosen(targets: Targets, seed: int) -> np.ndarray:
    """Clauses to fit on: all that are evidence, and not too many of the others."""
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
    """Weights (F, K) and bias (K,) of one machine a column; a column without examples is never likely."""
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
    """Kernel ridge regression of every column on the clauses' encodings (S, D)."""
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
    """Without a known hypothesis there is nothing to score; the encodings still tell what is alike."""
    block = KernelBlock(landmarks=vectors[:1].astype(np.float16), weights=np.zeros((1, 0), dtype=np.float16), gamma=1.0)
    return KernelScores(block=block, bias=0.0, held=np.zeros((len(vectors), 0), dtype=np.float32))


def _landmarks(examples: TextExamples) -> np.ndarray:
    """Mostly clauses that are evidence: what is none is like nothing in particular."""
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
"""Features are scaled by their spread, of scores and of the logarithm of the number of clauses: documents of one length
must not make a longer one look strange."""
_MOST_OPEN = 20_000  # rows to fit the open decision on


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionFit:
    """Weights a hypothesis, and what weights like them said of rows they had not seen."""

    weights: np.ndarray  # (H, P, L)
    bias: np.ndarray  # (H, L)
    held: np.ndarray  # (R, L)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Standardised features with the part that hypotheses share and the part of each."""

    mean: np.ndarray  # (P,)
    spread: np.ndarray  # (P,)
    design: csr_matrix  # (R, P + H (P + 1)); without own parts (R, P)


def fit_decision(
    summaries: np.ndarray, hypothesis: np.ndarray, label: np.ndarray, folds: np.ndarray, sizes: tuple[int, int]
) -> DecisionFit:
    """The decision of each known hypothesis.

    Args:
        summaries: (R, P) of out-of-fold scores.
        hypothesis: (R,) which one.
        label: (R,) the right one.
        folds: (R,) by document.
        sizes: Known hypotheses and labels.
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
    """The decision of any other hypothesis: one for all, judged on hypotheses that it has not seen.

    Args:
        features: (R, Q)
        label: (R,)
        folds: (R,) by hypothesis.
        labels: How many.
        seed: Decides which of very many rows are fitted on.
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
    """The strength with the least log loss on rows not seen, and its logits of them."""
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
