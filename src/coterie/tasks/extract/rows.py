"""Reads the fields of an `extract` row: turns a file's values into offsets in the row's text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from coterie.errors import DataError
from coterie.learning import checks
from coterie.learning.checks import CALIBRATED_ROWS, ParsedRows, Problem, count, label_counts, listing, nearest, quote
from coterie.learning.dataset import Dataset, FieldSpan, Row, Stated
from coterie.learning.files import Lines, Record
from coterie.learning.reading import TEXT as TEXT_COLUMN
from coterie.learning.reading import RowReader, RowsRead
from coterie.learning.values import CHOICE, MANY, TEXT, is_typed, normalise_value
from coterie.runtime.codec import parse_json
from coterie.tasks.extract.section import ExtractSection
from coterie.text.language import language_of
from coterie.text.numerals import as_plain
from coterie.types import Scalar

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
        return (checks.too_few, checks.empty_texts, self._unstated)

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """Checks for rows that work but deserve a warning."""
        return (checks.repeated, _not_looked_for, self._without_value, _few_documents, checks.ungrouped)

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
                    f"{checks.lines(odd)}. Nothing is in their place, though the quotes can be read: correct them"
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
