"""Reads a case per row: columns, a text where there is one, and the outcome."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from coterie.learning import checks
from coterie.learning.checks import ParsedRows, Problem, count, label_counts, lines, listing, quote
from coterie.learning.dataset import Dataset, Row
from coterie.learning.files import Lines, Record
from coterie.learning.reading import TEXT, RowReader, RowsRead, parse_columns, parse_outcomes
from coterie.tasks.score.section import ScoreSection


@dataclass(frozen=True, kw_only=True)
class CaseReader(RowReader):
    """Reads a case per row: every column except text, label and group is a feature.

    The label is 1 or 0, true or false, yes or no, or two words of which one is `positive`.
    """

    positive: str | None = None
    exclude: tuple[str, ...] = ()
    """Columns that are not used, and that cause no warnings."""

    @property
    def problems(self) -> tuple[Callable[[ParsedRows], Iterator[Problem]], ...]:
        """Checks for rows that would teach the specialist something wrong."""
        return (checks.too_few, _without_outcome, self._outcomes, checks.one_label, checks.single_examples)

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """Checks for rows that work but deserve a warning."""
        return (checks.repeated, _textless, self._telling, checks.few_to_calibrate, checks.ungrouped)

    def written_labels(self, record: Record, lines: Lines) -> list[str]:
        """Return the outcome of a record, as the only label."""
        cell = record.cells.get(self.label or "")
        if isinstance(cell, list):
            raise lines.error(f"has a list as its outcome: {quote(cell)}", line=record.line)
        return super().written_labels(record, lines)

    def finish(self, read: RowsRead) -> tuple[list[Row], Sequence[str]]:
        """Return the rows with one type for each column, and outcomes as `1` and `0`."""
        columns, warnings = parse_columns(read.cells, [row.line for row in read.rows], unused=self.exclude)
        outcomes = parse_outcomes([row.labels for row in read.rows], self.positive)
        rows = [
            replace(row, columns=cells, labels=labels)
            for row, cells, labels in zip(read.rows, columns, outcomes, strict=True)
        ]
        return rows, warnings

    def _outcomes(self, parsed: ParsedRows) -> Iterator[Problem]:
        counts = label_counts(parsed.rows)
        if counts.keys() <= {"0", "1"}:
            return
        seen = listing((f"{quote(label)} ({count(n, 'row')})" for label, n in counts.most_common()), shown=5)
        positive_note = "" if self.positive is None else f", where positive = {self.positive!r}"
        hint = "A score is the probability of one of two outcomes: write 1 and 0, true and false or yes and no"
        if len(counts) == 2:
            shown = {checks.nearest(self.positive or "", counts)} - {None} or sorted(counts)
            hint = f"Say which of the two is predicted: {' or '.join(f'positive = {label!r}' for label in shown)}"
        yield Problem(f"outcomes that are not 1 and 0: {seen}{positive_note}", f"{hint}.")

    def _telling(self, parsed: ParsedRows) -> Iterator[str]:
        """Yield warnings on columns that reveal the outcome: often values written after the decision."""
        names = dict.fromkeys(name for row in parsed.rows for name in row.columns if name not in self.exclude)
        for name in names:
            outcomes: dict[object, set[tuple[str, ...]]] = defaultdict(set)
            for row in parsed.rows:
                outcomes[row.columns.get(name)].add(row.labels)
            few = 1 < len(outcomes) <= len(parsed.rows) / 5
            if few and all(len(labels) == 1 for labels in outcomes.values()):
                yield f"column {name!r} gives the label away: is it known before the decision? If not, exclude it"


def read_rows(section: ScoreSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
    """Read and check the rows of a section's file. Raises `DataError`."""
    reader = CaseReader(
        text=section.text_column or TEXT,
        text_required=section.text_column is not None,
        label=section.label_column,
        group=section.group_column,
        keeps_cells=True,
        positive=section.positive,
        exclude=(*section.exclude, *(section.protected or ())),
    )
    return reader.read(path, for_evaluation=for_evaluation)


def _without_outcome(parsed: ParsedRows) -> Iterator[Problem]:
    bare = [row.line for row in parsed.rows if not row.labels]
    if bare:
        yield Problem(f"{count(len(bare), 'row')} without a label: {lines(bare)}", "Every row needs its outcome.")


def _textless(parsed: ParsedRows) -> Iterator[str]:
    empty = [row.line for row in parsed.rows if not row.text.strip()]
    if 0 < len(empty) < len(parsed.rows):
        yield f"{count(len(empty), 'row')} with an empty text: {lines(empty)}"
