"""Reads the fields of an `extract` row as offsets in its text, and evaluates findings against them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coterie.errors import DataError
from coterie.learning.dataset import (
    CALIBRATED_ROWS,
    Dataset,
    FieldSpan,
    ParsedRows,
    Problem,
    Row,
    Stated,
    count,
    empty_texts,
    label_counts,
    lines,
    listing,
    nearest,
    quote,
    repeated,
    too_few,
    ungrouped,
)
from coterie.learning.evaluation import (
    Case,
    Evaluation,
    FieldFigures,
    Interval,
    Measured,
    count_words,
    counted_f1,
    ece,
    evaluation_of,
    share,
    unseen,
)
from coterie.learning.reading import TEXT as TEXT_COLUMN
from coterie.learning.reading import Lines, Record, RowReader, RowsRead
from coterie.runtime.codec import parse_json
from coterie.tasks.extract.section import ExtractSection
from coterie.text.language import language_of
from coterie.text.numerals import as_plain
from coterie.text.segmentation import plain
from coterie.text.values import CHOICE, MANY, TEXT, is_typed, normalise_value
from coterie.types import Field, Finding, Scalar

_FIELDS = "fields"
"""Usual name of the column with all of a row's fields."""

_HINT = (
    'A field is null (not stated), a quote from the text, {"start": 3, "end": 9} with "value" if it has one, or a list '
    "of these."
)
_KEYS = {"start", "end", "text", "value"}


@dataclass(frozen=True, kw_only=True)
class StatedReader(RowReader):
    """Reads a text and its fields per row: one object under `fields`, in CSV as JSON, or a column for each field."""

    fields: Mapping[str, str] = field(default_factory=dict)
    """The type of each field to look for; other fields in the file are ignored."""

    @property
    def problems(self) -> tuple[Callable[[ParsedRows], Iterator[Problem]], ...]:
        """Checks for rows that would teach the specialist something wrong."""
        return (too_few, empty_texts, self._unstated)

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """Checks for rows that work but deserve a warning."""
        return (repeated, _not_looked_for, self._without_value, _few_documents, ungrouped)

    def names(self, names: Sequence[str]) -> Collection[str]:
        """Return the column names; a column for each field counts as one with all of them."""
        return [*names, _FIELDS] if self._one_each(names) else names

    def usual(self) -> str:
        """Return a description of how fields are written."""
        return f"Beside the text each field has a column, or `fields` holds them all: {', '.join(self.fields)}."

    def records(self, record: Record, lines: Lines) -> Iterator[Record]:
        """Yield a record with a column for each field as one with all of them; an empty cell is not stated."""
        if not self._one_each(record.cells):
            yield from super().records(record, lines)
            return
        cells = {name: cell or None for name, cell in record.cells.items() if name in self.fields}
        rest = {name: cell for name, cell in record.cells.items() if name not in self.fields}
        yield Record(record.line, {**rest, _FIELDS: cells})

    def row(self, record: Record, lines: Lines, read: RowsRead) -> Row:
        """Return a text with the spans of the fields to look for; the fields' names are its labels."""
        text = self.text_of(record, lines)
        cell = record.cells.get(self.label or "")
        stated, others = read_fields(cell, self.fields, text=text, line=record.line, lines=lines)
        read.others |= dict.fromkeys(others)
        group = self.group_of(record, lines)
        return Row(text=text, labels=tuple(sorted(stated)), fields=stated, group=group, line=record.line)

    def _one_each(self, names: Collection[str]) -> bool:
        """Return whether each field has its own column, in place of one for all."""
        return self.label == _FIELDS not in names and not self.fields.keys().isdisjoint(names)

    def _unstated(self, parsed: ParsedRows) -> Iterator[Problem]:
        """Yield fields that hardly any row states: they can be learned or measured, but not both."""
        counts = label_counts(parsed.rows)
        rare = [name for name in self.fields if counts[name] < 2]
        if rare and not parsed.for_evaluation and parsed.rows:
            near = {name: nearest(name, parsed.others) for name in rare}
            meant = [
                f"{quote(name)} (did you mean {other!r}?)" if other else quote(name) for name, other in near.items()
            ]
            yield Problem(
                f"fields that fewer than two rows state: {listing(meant)}",
                "Name fields as the file does, and give each at least two rows (50 are a good start).",
            )

    def _without_value(self, parsed: ParsedRows) -> Iterator[str]:
        """Fields of a type whose quotes mostly have no such value: another type may be meant; values that are none."""
        for name, kind in ((name, kind.removesuffix(MANY)) for name, kind in self.fields.items() if is_typed(kind)):
            spans = [(row, span) for row in parsed.rows if name in row.fields for span in row.fields[name].spans]
            valueless = [(row, row.text[span.start : span.end]) for row, span in spans if span.value is None]
            bare = [words for row, words in valueless if _read(kind, words, row.text) is None]
            if odd := [row.line for row, words in valueless if _read(kind, words, row.text) is not None]:
                yield (
                    f"field {name!r}: {count(len(odd), 'value')} beside quotes are read as no {kind}: "
                    f"{lines(odd)}. Nothing is in their place, though the quotes can be read: correct them"
                )
            if len(bare) > len(spans) / 2:
                yield (
                    f"field {name!r}: {len(bare):,} of {count(len(spans), 'quote')} can be read as no {kind}, such as "
                    f"{quote(bare[0])}: they are found, and their value stays empty"
                )


def read_rows(section: ExtractSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
    """Read and check the rows of a section's file. Raises `DataError`."""
    reader = StatedReader(
        text=section.text_column or TEXT_COLUMN,
        label=_FIELDS if section.label_column == "label" else section.label_column,
        group=section.group_column,
        fields=section.fields,
    )
    return reader.read(path, for_evaluation=for_evaluation)


def _not_looked_for(parsed: ParsedRows) -> Iterator[str]:
    if parsed.others:
        yield f"fields in the file that are not looked for: {listing(map(quote, parsed.others))}"


def _few_documents(parsed: ParsedRows) -> Iterator[str]:
    if not parsed.for_evaluation and len(parsed.rows) < CALIBRATED_ROWS:
        yield (
            f"only {count(len(parsed.rows), 'text')}: fewer than {CALIBRATED_ROWS} cannot show a low risk with "
            "confidence, so expect abstentions"
        )


def read_fields(
    cell: object, types: Mapping[str, str], *, text: str, line: int, lines: Lines
) -> tuple[dict[str, Stated], list[str]]:
    """Return the fields that a row states, and the names of other stated fields that are not looked for.

    Args:
        cell: The file's value for the fields: an object, or its JSON.
        types: The type of each field that is looked for.
        text: The row's text.
        line: The row's line.
        lines: The file.

    Raises:
        DataError: the cell is no object of fields, a quote is not in the text, or offsets do not fit it.
    """
    if isinstance(cell, str):
        try:
            cell = parse_json(cell) if cell.strip() else {}
        except ValueError:
            raise lines.error(f"has fields that are not JSON: {quote(cell)}", _HINT, line=line) from None
    if cell is None:
        return {}, []
    if not isinstance(cell, dict):
        raise lines.error(f"has {quote(cell)} where an object of fields belongs", _HINT, line=line)
    reader = _Place(text=text, line=line, lines=lines)
    spans = {name: reader.spans(name, types[name], cell[name]) for name in types if name in cell}
    stated = {name: Stated(spans=spans_, many=types[name].endswith(MANY)) for name, spans_ in spans.items() if spans_}
    return stated, [str(name) for name in cell if name not in types]


class _Place:
    """Locates spans in one row's text, and reports the row's line where a span does not fit."""

    def __init__(self, *, text: str, line: int, lines: Lines) -> None:
        self.text, self.line, self.lines = text, line, lines

    def spans(self, name: str, kind: str, stated: object) -> tuple[FieldSpan, ...]:
        if stated is None:
            return ()
        items = stated if isinstance(stated, list) else [stated]
        spans = {self._span(name, kind, item) for item in items if item is not None}
        return tuple(sorted(spans, key=lambda span: (span.start, span.end, str(span.value))))

    def _span(self, name: str, kind: str, item: object) -> FieldSpan:
        if isinstance(item, str):
            item = {"text": item}
        if not isinstance(item, Mapping) or not item.keys() <= _KEYS or not item.keys() & {"start", "text"}:
            raise self._error(f"states field {name!r} as {quote(item)}")
        start, end = self._offsets(name, item) if "start" in item else self._located(name, str(item["text"]))
        return FieldSpan(start=start, end=end, value=self._value(kind, item.get("value"), self.text[start:end]))

    def _value(self, kind: str, written: object, words: str) -> Scalar:
        """Return the value of a span in the form of its type: from the data, else from its words."""
        kind = kind.removesuffix(MANY)
        if kind in {TEXT, CHOICE}:
            return None if written is None else " ".join(str(written).split()) or None
        if kind == "number" and type(written) in {int, float}:
            return as_plain(Decimal(str(written)))
        return _read(kind, words if written is None else str(written), self.text)

    def _offsets(self, name: str, item: Mapping[str, object]) -> tuple[int, int]:
        """Return given offsets after checking them against the text and the quote beside them."""
        start, end, wanted = item["start"], item.get("end"), item.get("text")
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(self.text):
            raise self._error(
                f"states field {name!r} from {start!r} to {end!r}, but its text has {len(self.text):,} characters"
            )
        if wanted is not None and str(wanted).split() != self.text[start:end].split():
            raise self._error(
                f"states field {name!r} as {quote(wanted)}, but from {start} to {end} its text has "
                f"{quote(self.text[start:end])}",
                "Offsets count characters (not bytes) from 0, the end excluded. Without offsets the quote is searched.",
            )
        return start, end

    def _located(self, name: str, words: str) -> tuple[int, int]:
        """Return the first place of a quote, whatever white space is between its words."""
        span = locate_quote(self.text, words)
        if span is None:
            raise self._error(
                f"states field {name!r} as {quote(words)}, which is not in its text",
                "A quote repeats the text word for word; white space may differ. A value in other words goes into "
                '"value".',
            )
        return span

    def _error(self, problem: str, hint: str = _HINT) -> DataError:
        return self.lines.error(problem, hint, line=self.line)


def _read(kind: str, words: str, text: str) -> Scalar:
    return normalise_value(kind, words, language=language_of(text, "en"))


def locate_quote(text: str, words: str) -> tuple[int, int] | None:
    """Return where these words first occur in a text, as whole words with any white space between; None if nowhere."""
    parts = [re.escape(part) for part in words.split()]
    if not parts:
        return None
    before = r"(?<!\w)" if words.split(maxsplit=1)[0][0].isalnum() else ""
    after = r"(?!\w)" if words.rsplit(maxsplit=1)[-1][-1].isalnum() else ""
    match = re.search(before + r"\s+".join(parts) + after, text)
    return match.span() if match else None


# --- Evaluates findings against the fields that texts state: per field and over all of them.

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
        for part in finding.fields:
            if part.stated and row.text[part.start : part.end] != part.text:
                raise ValueError(f"{finding.specialist} quotes {part.text!r}, which is not at {part.start}")
            spans = row.fields[part.name].spans if part.name in row.fields else ()
            cases.append(FieldCase(number, part, is_right(part, row.text, spans), bool(spans)))
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
        for name in dict.fromkeys(part.name for part in finding.fields):
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
