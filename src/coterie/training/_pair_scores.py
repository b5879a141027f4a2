"""Fitting what scores clauses: is this a clause that decides for this label of this hypothesis?

One linear support vector machine on TF-IDF a column, and one kernel ridge regression on the encodings for all of
them: clauses are the same for every hypothesis, only what they are evidence of differs. Where a row's evidence is not
given, the clauses most like the hypothesis are taken for it. Choosing them anew by the scores they led to (Andrews,
Tsochantaridis and Hofmann 2003, "Support Vector Machines for Multiple-Instance Learning") helps a little, but then what
is said of a document has seen its label through the others' evidence, and no figure out of fold is true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.svm import LinearSVC

from coterie.engines import NEVER, KernelBlock, NgramFeatures, fit_ngrams

from ._examples import TextExamples
from ._kernel import fit_kernel
from ._pair_corpus import PairCorpus

# Chosen by cross-validation on ContractNLI's training documents; see docs/log.md.
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
