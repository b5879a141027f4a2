"""Reads a case per row (columns, a text where there is one, the outcome), and evaluates probabilities by outcomes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from coterie.learning.dataset import (
    Dataset,
    ParsedRows,
    Problem,
    Row,
    count,
    few_to_calibrate,
    label_counts,
    lines,
    listing,
    nearest,
    one_label,
    quote,
    repeated,
    single_examples,
    too_few,
    ungrouped,
)
from coterie.learning.evaluation import (
    Case,
    Evaluation,
    Figures,
    Measured,
    Value,
    area_under,
    bootstrap_mean,
    brier,
    judge_labels,
    label_cases,
    label_of,
)
from coterie.learning.reading import TEXT, Lines, Record, RowReader, RowsRead, parse_columns, parse_outcomes
from coterie.tasks.score.section import ScoreSection
from coterie.types import Finding


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
        return (too_few, _without_outcome, self._outcomes, one_label, single_examples)

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """Checks for rows that work but deserve a warning."""
        return (repeated, _textless, self._telling, few_to_calibrate, ungrouped)

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
            shown = {nearest(self.positive or "", counts)} - {None} or sorted(counts)
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


# --- Evaluates probabilities against outcomes.


def judge(rows: Sequence[Row], findings: Sequence[Finding], *, seed: int = 0) -> Evaluation:
    """Return figures over the rows; the predicted label is `1` from a probability of one half."""
    more = _score_figures(rows, findings, seed)
    return judge_labels(rows, findings, seed=seed, value_of=outcome_of, more=more, by_label=False)


def cases(rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
    """Return a case for every row, with the predicted outcome."""
    return label_cases(rows, findings, value_of=outcome_of)


def outcome_of(finding: Finding) -> Value:
    """Return the outcome that a probability predicts."""
    if isinstance(finding.value, int | float):
        return "1" if finding.value >= 0.5 else "0"
    return label_of(finding)


def _score_figures(rows: Sequence[Row], findings: Sequence[Finding], seed: int) -> Figures:
    """Return how well a probability ranks and predicts outcomes."""
    pairs = [
        (float(finding.value), row.labels == ("1",))
        for row, finding in zip(rows, findings, strict=True)
        if row.labels and isinstance(finding.value, int | float)
    ]
    probability = np.array([pair[0] for pair in pairs], dtype=float)
    outcome = np.array([pair[1] for pair in pairs], dtype=bool)
    interval = bootstrap_mean((probability - outcome) ** 2, seed=seed)
    return {"auc": area_under(probability, outcome, seed), "brier": Measured(brier(probability, outcome), interval)}
