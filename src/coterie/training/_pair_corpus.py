"""What a classifier of pairs is trained on: documents cut into clauses, each one once, and rows that refer to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coterie.data import Dataset, Row
from coterie.engines import normal_form
from coterie.specialists import Span, split_clauses

from ._examples import deal_folds

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
