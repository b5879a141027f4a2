"""Evaluates findings against the fields that texts state: per field and over all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from coterie.learning.dataset import FieldSpan, Row
from coterie.learning.evaluation import Case, Evaluation, FieldFigures, Measured, evaluation_of, share
from coterie.learning.metrics import Interval, count_words, counted_f1, ece, unseen
from coterie.text.words import plain
from coterie.types import Field, Finding, Scalar

_DRAWS = 1000
SAME = 0.5
"""Jaccard similarity of words from which a quote counts as the right one (Hendrycks et al. 2021, "CUAD")."""

Floats = np.ndarray


class FieldCase(NamedTuple):
    """One value that was found, or that none was found, and whether that is right."""

    document: int
    field: Field
    correct: bool
    stated: bool
    """Whether the document states the field."""


def is_right(field: Field, text: str, spans: Sequence[FieldSpan]) -> bool:
    """Return whether a finding about a field is right.

    No value was found: right if none is stated. A value was found: right if it is a stated value, where one is known,
    and else if its quote shares at least half of its words with a place where the field is stated.
    """
    if not field.stated or not spans:
        return not field.stated and not spans
    values = {_folded(span.value) for span in spans if span.value is not None}
    if field.value is not None and values:
        return _folded(field.value) in values
    return any(_jaccard(count_words(field.text), count_words(text[span.start : span.end])) >= SAME for span in spans)


def field_cases(rows: Sequence[Row], findings: Sequence[Finding]) -> list[FieldCase]:
    """Return all values found, row by row. Raises `ValueError` if a quote is not where its offsets say."""
    cases = []
    for number, (row, finding) in enumerate(zip(rows, findings, strict=True)):
        for field in finding.fields:
            if field.stated and row.text[field.start : field.end] != field.text:
                raise ValueError(f"{finding.specialist} quotes {field.text!r}, which is not at {field.start}")
            spans = row.fields[field.name].spans if field.name in row.fields else ()
            cases.append(FieldCase(number, field, is_right(field, row.text, spans), bool(spans)))
    return cases


@dataclass(frozen=True)
class _Tally:
    """Sums per text, of one field: the terms of both F1."""

    found: Floats  # (N,) values found
    stated: Floats  # (N,) values stated
    exact: Floats  # (N,) values found that are exact
    said: Floats  # (N,) 1 where it is stated or said to be
    overlap: Floats  # (N,) F1 of the words

    def exact_f1(self, weights: Floats) -> Floats:  # (K, N) -> (K,)
        return _ratio(2 * weights @ self.exact, weights @ (self.found + self.stated))

    def token_f1(self, weights: Floats) -> Floats:  # (K, N) -> (K,)
        return _ratio(weights @ self.overlap, weights @ self.said)


class FieldReport(NamedTuple):
    """The figures of all fields, and their means."""

    fields: Mapping[str, FieldFigures]
    figures: Mapping[str, float]
    """`token_f1` and `exact_f1`: means over fields, each counting the same."""
    intervals: Mapping[str, Interval]


def judge_fields(rows: Sequence[Row], cases: Sequence[FieldCase], *, seed: int = 0) -> FieldReport:
    """Return figures of each field and over all, with intervals over resampled texts."""
    names = list(dict.fromkeys(case.field.name for case in cases))
    random = np.random.default_rng(seed)
    draws = random.multinomial(len(rows), np.full(len(rows), 1 / max(len(rows), 1)), size=_DRAWS) if rows else None
    once = np.ones((1, len(rows)))
    by_name = {name: [case for case in cases if case.field.name == name] for name in names}
    tallies = {name: _tally(name, rows, by_name[name]) for name in names}
    measures = {
        "exact_f1": {name: tally.exact_f1 for name, tally in tallies.items()},
        "token_f1": {name: tally.token_f1 for name, tally in tallies.items()},
    }
    figures: dict[str, float] = {}
    overall: dict[str, Interval] = {}
    alone: dict[str, dict[str, Interval]] = {name: {} for name in names}
    stated_fields = sum((tally.said for tally in tallies.values()), np.zeros(len(rows))).astype(bool).sum()
    for measure, of in measures.items():
        if draws is None or not names:
            continue
        drawn = np.stack([of[name](draws) for name in names])  # (F, K)
        for name, row in zip(names, drawn, strict=True):
            alone[name][measure] = unseen(_middle(row), int(tallies[name].said.sum()))
        figures[measure] = _mean(np.array([of[name](once)[0] for name in names]))
        is_known = ~np.isnan(drawn)
        middle = _middle(np.where(is_known, drawn, 0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1))
        overall[measure] = unseen(middle, int(stated_fields))
    fields = {name: _figures(name, rows, by_name[name], tallies[name], alone[name]) for name in names}
    return FieldReport(fields, figures, overall)


def _tally(name: str, rows: Sequence[Row], cases: Sequence[FieldCase]) -> _Tally:
    counts, stated, exact, is_stated, overlap = (np.zeros(len(rows)) for _ in range(5))
    quotes: dict[int, list[str]] = {}
    for case in cases:
        if case.field.stated:
            quotes.setdefault(case.document, []).append(case.field.text)
    for number, row in enumerate(rows):
        there = row.fields.get(name)
        right = [row.text[span.start : span.end] for span in there.spans] if there else []
        got = quotes.get(number, [])
        counts[number] = len(got)
        stated[number] = 0 if there is None else (len({plain(text) for text in right}) if there.many else 1)
        exact[number] = len({plain(text) for text in got} & {plain(text) for text in right})
        is_stated[number] = bool(got or right)
        overlap[number] = _word_f1(got, right, many=bool(there and there.many))
    return _Tally(counts, stated, np.minimum(exact, np.minimum(counts, stated)), is_stated, overlap)


def _word_f1(got: Sequence[str], right: Sequence[str], *, many: bool) -> float:
    """Return the F1 of the words, all values together; where any place is right, of the best one."""
    if not got or not right:
        return 0.0
    mine = Counter(word for text in got for word in count_words(text).elements())
    options = [right] if many else [[text] for text in right]
    return max(
        counted_f1(mine, Counter(word for text in texts for word in count_words(text).elements())) for texts in options
    )


def _figures(
    name: str, rows: Sequence[Row], cases: Sequence[FieldCase], tally: _Tally, intervals: Mapping[str, Interval]
) -> FieldFigures:
    right = np.array([case.correct for case in cases], dtype=bool)
    accepted = np.array([case.field.accepted for case in cases], dtype=bool)
    silent = [case for case in cases if not case.field.stated]
    unstated = sum(name not in row.fields for row in rows)
    once = np.ones((1, len(rows)))
    return FieldFigures(
        stated=len(rows) - unstated,
        exact_f1=_unless_nan(tally.exact_f1(once)[0]),
        token_f1=_unless_nan(tally.token_f1(once)[0]),
        value_accuracy=_values_right(name, rows, cases),
        not_stated_precision=_share([not case.stated for case in silent]),
        not_stated_recall=sum(not case.stated for case in silent) / unstated if unstated else None,
        located=_share([_overlaps(name, rows[case.document], case.field) for case in cases if case.field.stated]),
        accuracy=_share(right),
        coverage=_share(accepted),
        accepted_accuracy=_share(right[accepted]),
        ece=_unless_nan(ece([case.field.confidence for case in cases], right)),
        intervals={measure: interval for measure, interval in intervals.items() if not np.isnan(interval.low)},
    )


def _values_right(name: str, rows: Sequence[Row], cases: Sequence[FieldCase]) -> float | None:
    """Return the share of texts with a known value in which that value was found."""
    values_by_document: dict[int, set[Scalar]] = {}
    for case in cases:
        if case.field.value is not None:
            values_by_document.setdefault(case.document, set()).add(_folded(case.field.value))
    hits = []
    for number, row in enumerate(rows):
        spans = row.fields[name].spans if name in row.fields else ()
        values = {_folded(span.value) for span in spans if span.value is not None}
        if values:
            hits.append(bool(values & values_by_document.get(number, set())))
    return _share(hits)


def _overlaps(name: str, row: Row, field: Field) -> bool:
    spans = row.fields[name].spans if name in row.fields else ()
    return any(span.start < (field.end or 0) and (field.start or 0) < span.end for span in spans)


def _jaccard(a: Counter[str], b: Counter[str]) -> float:
    union = (a | b).total()
    return (a & b).total() / union if union else 0.0


def _folded(value: Scalar) -> Scalar:
    return plain(value) if isinstance(value, str) else value


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.where(below > 0, above / np.maximum(below, 1e-12), np.nan)


def _middle(drawn: Floats) -> Interval:
    numbers = drawn[~np.isnan(drawn)]
    if not len(numbers):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(numbers, [0.025, 0.975])
    return Interval(float(low), float(high))


def _mean(values: Floats) -> float:
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if len(numbers) else float("nan")


def _share(hits: Sequence[bool] | Floats) -> float | None:
    return float(np.mean(np.asarray(hits, dtype=float))) if len(hits) else None


def _unless_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def judge(rows: Sequence[Row], findings: Sequence[Finding], *, seed: int = 0) -> Evaluation:
    """Return figures over all statements about fields; both F1 are means over fields."""
    judged_cases = field_cases(rows, findings)
    report = judge_fields(rows, judged_cases, seed=seed)
    right = np.array([case.correct for case in judged_cases], dtype=bool)
    accepted = np.array([case.field.accepted for case in judged_cases], dtype=bool)
    shares = {
        "accuracy": share(right, seed),
        "coverage": share(accepted, seed),
        "accepted_accuracy": share(right[accepted], seed),
        "ece": Measured(ece([case.field.confidence for case in judged_cases], right)),
        **{name: Measured(value, report.intervals[name]) for name, value in report.figures.items()},
    }
    labelled = sum(bool(row.labels) for row in rows)
    return replace(evaluation_of(shares, n=len(rows), labelled=labelled), fields=report.fields)


def cases(rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
    """Return a case per text and field, whatever the number of values found: right if all of them are."""
    cases_ = []
    for row, finding in zip(rows, findings, strict=True):
        for name in dict.fromkeys(field.name for field in finding.fields):
            own = [case for case in field_cases([row], [finding]) if case.field.name == name]
            cases_.append(
                Case(
                    row,
                    None,
                    min(case.field.confidence for case in own),
                    all(case.field.accepted for case in own),
                    all(case.correct for case in own),
                )
            )
    return cases_
