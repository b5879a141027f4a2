"""What a field is, learnt from what the data says of it: the choices it has, and which value of a quote is meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from coterie.data import CHOICE, MANY, TEXT, Row, Span
from coterie.extraction import FieldModel, options

_C = 1.0
_FEWEST = 10  # values in quotes from which a chooser is learnt; with less, the first one is taken


def field_models(rows: Sequence[Row], types: Mapping[str, str]) -> tuple[FieldModel, ...]:
    """The fields of these types, as the rows state them."""
    return tuple(_model(rows, name, kind) for name, kind in types.items())


def spans_of(row: Row, name: str) -> tuple[Span, ...]:
    """Where a row states a field; nothing where it does not."""
    return row.fields[name].spans if name in row.fields else ()


def _model(rows: Sequence[Row], name: str, kind: str) -> FieldModel:
    plain = kind.removesuffix(MANY)
    if plain == TEXT:
        return FieldModel(name=name, type=kind)
    if plain == CHOICE:
        return FieldModel(name=name, type=kind, choices=_choices(rows, name))
    return FieldModel(name=name, type=kind, chooser=_chooser(rows, name, plain))


def _choices(rows: Iterable[Row], name: str) -> tuple[str, ...]:
    """Every value that a field has in the data, the most frequent first."""
    counts = Counter(str(span.value) for row in rows for span in spans_of(row, name) if span.value is not None)
    return tuple(sorted(counts, key=lambda value: (-counts[value], value)))


def _chooser(rows: Iterable[Row], name: str, kind: str) -> dict[str, float] | None:
    """Weights of what stands around the value that is meant; None if there is too little to learn from."""
    seen = [
        (option.features, option.value == span.value)
        for row in rows
        for span in spans_of(row, name)
        if span.value is not None
        for option in options(kind, row.text[span.start : span.end])
    ]
    meant = np.array([each[1] for each in seen], dtype=bool)
    if len(seen) < _FEWEST or meant.all() or not meant.any():
        return None
    counts = Counter(name for features, _ in seen for name in features)
    terms = {term: number for number, term in enumerate(sorted(t for t, n in counts.items() if n > 1))}
    known = [sorted({terms[term] for term in features if term in terms}) for features, _ in seen]
    starts = np.concatenate([[0], np.cumsum([len(each) for each in known])])
    indices = np.array([number for each in known for number in each], dtype=np.int64)
    matrix = csr_matrix((np.ones(len(indices)), indices, starts), shape=(len(seen), len(terms)))
    model = LogisticRegression(C=_C, solver="liblinear", fit_intercept=False, random_state=0).fit(matrix, meant)
    return {term: round(float(model.coef_[0][number]), 4) for term, number in terms.items()}
