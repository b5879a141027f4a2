"""Reads pairs of a text and a second one: many pairs of one document per record, and the spans that decide a pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from coterie.learning.dataset import Dataset, ParsedRows, Problem, Row, count, lines, quote
from coterie.learning.reading import TEXT, Lines, Record, RowsRead, as_text
from coterie.runtime.codec import parse_json
from coterie.tasks.classify.rows import LabelReader
from coterie.tasks.pairs.section import PairsSection

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class PairReader(LabelReader):
    """Reads a text, a second one and their label per row; a JSONL record may hold many pairs of one text."""

    pair: str = "hypothesis"
    """Column with the second text."""
    evidence: str = "evidence"
    """Column with the deciding spans, if there is one."""
    learn_only: str | None = None
    """Column with `true` where a row is used for training only."""

    @property
    def problems(self) -> tuple[Callable[[ParsedRows], Iterator[Problem]], ...]:
        """Checks for rows that would teach something wrong, also for a missing second text."""
        few, empty, *others = super().problems
        return (few, empty, self._empty_pairs, *others)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The required columns, with that of the second text."""
        return (*super().wanted, self.pair, *([self.learn_only] if self.learn_only else []))

    @property
    def settings(self) -> Mapping[str | None, tuple[str, str]]:
        """The settings that name columns, with that of the second text."""
        return {**super().settings, self.pair: ("pair_column", "")}

    def records(self, record: Record, lines: Lines) -> Iterator[Record]:
        """Yield the pairs of a record."""
        if "pairs" in record.cells and self.pair not in record.cells:
            return flatten_pairs(record, lines)
        return super().records(record, lines)

    def row(self, record: Record, lines: Lines, read: RowsRead) -> Row:
        """Return a row whose only column is the second text."""
        row = super().row(record, lines, read)
        second = as_text(record.cells.get(self.pair), self.pair, record, lines).strip()
        return replace(
            row,
            columns={self.pair: second or None},
            evidence=read_evidence(record, self.evidence, row.text, lines),
            learn_only=self._learn_only(record, lines),
        )

    def _empty_pairs(self, parsed: ParsedRows) -> Iterator[Problem]:
        name = self.pair
        empty = [row.line for row in parsed.rows if row.columns.get(name) is None]
        if empty:
            yield Problem(
                f"{count(len(empty), 'row')} with nothing in {name!r}: {lines(empty)}", "A pair needs its second text."
            )

    def _learn_only(self, record: Record, lines: Lines) -> bool:
        if self.learn_only is None:
            return False
        written = as_text(record.cells.get(self.learn_only), self.learn_only, record, lines).strip().casefold()
        if written not in {"", "true", "false", "1", "0"}:
            raise lines.error(
                f"has {quote(written)} in {self.learn_only!r}",
                "Write true or 1, false or 0, or nothing.",
                line=record.line,
            )
        return written in {"true", "1"}


def read_rows(section: PairsSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
    """Read and check the rows of a section's file. Raises `DataError`."""
    reader = PairReader(
        text=section.text_column or TEXT,
        label=section.label_column,
        group=section.group_column,
        pair=section.pair_column,
        evidence=section.evidence_column,
        learn_only=section.learn_only_column,
    )
    return reader.read(path, for_evaluation=for_evaluation)


def flatten_pairs(record: Record, lines: Lines) -> Iterator[Record]:
    """Yield a record per pair, from a JSONL record that holds a text once and a list of its `pairs`.

    `{"text": ..., "pairs": [{"hypothesis": ..., "label": ...}, ...]}`; every other cell is copied to every pair.
    """
    pairs = record.cells["pairs"]
    if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
        raise lines.error(
            f"has pairs that are no list of objects: {quote(pairs)}",
            'Write "pairs": [{"hypothesis": "...", "label": "..."}, ...].',
            line=record.line,
        )
    shared = {name: cell for name, cell in record.cells.items() if name != "pairs"}
    for pair in pairs:
        yield Record(record.line, {**shared, **pair})


def read_evidence(record: Record, column: str, text: str, lines: Lines) -> tuple[Span, ...]:
    """Return the spans of the text that a record's evidence names, in its order.

    Evidence is a list of quotes or `[start, end]`, written as JSON also in a CSV cell; a single quote needs no list.

    Raises:
        DataError: a span is outside the text, or a quote does not occur in it.
    """
    cell = record.cells.get(column)
    if isinstance(cell, str):
        cell = _from_text(cell)
    if cell is None or cell == "":
        return ()
    items = cell if isinstance(cell, list) else [cell]
    return tuple(_span(item, column, text, record, lines) for item in items)


def _from_text(cell: str) -> object:
    """Return a list written as JSON, or the quote itself."""
    if cell.lstrip().startswith("["):
        try:
            return parse_json(cell)
        except ValueError:
            return cell
    return cell.strip()


def _span(item: object, column: str, text: str, record: Record, lines: Lines) -> Span:
    if isinstance(item, str) and item.strip():
        start = text.find(item.strip())
        if start < 0:
            raise lines.error(
                f"quotes {quote(item)} in {column!r}, which its text does not have",
                "A quote is copied from the text, to the letter.",
                line=record.line,
            )
        return start, start + len(item.strip())
    match item:
        case [int(start), int(end)] if 0 <= start < end <= len(text):
            return start, end
    raise lines.error(
        f"has {quote(item)} in {column!r}: neither a quote nor [start, end] inside its {len(text):,} characters",
        "Evidence is a list of quotes, or of [start, end] in characters.",
        line=record.line,
    )
