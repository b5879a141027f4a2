"""Reads source texts by a column that selects them, or texts and the replies to them; judges texts by replies."""

from __future__ import annotations

import itertools
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
    empty_texts,
    few_to_calibrate,
    lines,
    quote,
    repeated,
    too_few,
    ungrouped,
)
from coterie.learning.evaluation import (
    DRAWS,
    Evaluation,
    Measured,
    best_f1,
    bootstrap_interval,
    ece,
    evaluation_of,
    share,
)
from coterie.learning.reading import TEXT, RowReader, RowsRead, strings
from coterie.tasks.generate.section import ALIKE, GenerateSection
from coterie.text.segmentation import plain
from coterie.types import Finding

_REPLY = "reply"


@dataclass(frozen=True, kw_only=True)
class SourceReader(RowReader):
    """Reads a source text per row, and the columns that select it, as strings."""

    label: str | None = None
    keeps_cells: bool = True
    messages: bool = False
    """Whether the texts are messages, not source texts; one row per key is enough for source texts."""

    @property
    def problems(self) -> tuple[Callable[[ParsedRows], Iterator[Problem]], ...]:
        """Checks for rows that cannot be drafted from."""
        return (too_few, empty_texts, _no_key, *(() if self.messages else (_same_key,)))

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """Checks for rows that work but deserve a warning."""
        return (repeated,)

    def fewest(self, *, for_evaluation: bool) -> int:  # noqa: ARG002 - one text can be drafted from
        """Return 1, the fewest rows."""
        return 1

    def finish(self, read: RowsRead) -> tuple[list[Row], Sequence[str]]:
        """Return the rows with their columns as strings."""
        pairs = zip(read.rows, strings(read.cells), strict=True)
        return [replace(row, columns=columns) for row, columns in pairs], ()


class ReplyReader(RowReader):
    """Reads a text and the reply to it per row; a list in JSONL holds several, any of which is right."""

    @property
    def problems(self) -> tuple[Callable[[ParsedRows], Iterator[Problem]], ...]:
        """Checks for rows that cannot be learned from."""
        return (too_few, empty_texts, _unanswered)

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """Checks for rows that work but deserve a warning."""
        return (repeated, few_to_calibrate, ungrouped)


def read_rows(section: GenerateSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
    """Read and check the rows of a section's file. Raises `DataError`."""
    text, group = section.text_column or TEXT, section.group_column
    if not section.writes_freely:
        return SourceReader(text=text, group=group).read(path, for_evaluation=for_evaluation)
    label = _REPLY if section.label_column == "label" else section.label_column
    return ReplyReader(text=text, group=group, label=label).read(path, for_evaluation=for_evaluation)


def read_messages(path: Path | str) -> Dataset:
    """Read messages, each with the value that selects its source text and the right reply, as columns."""
    return SourceReader(messages=True).read(path)


def _unanswered(parsed: ParsedRows) -> Iterator[Problem]:
    bare = [row.line for row in parsed.rows if not row.labels]
    if bare and not parsed.for_evaluation:
        yield Problem(f"{count(len(bare), 'row')} without a reply: {lines(bare)}", "Write one, or drop the row.")


def _no_key(parsed: ParsedRows) -> Iterator[Problem]:
    if parsed.rows and not any(row.columns for row in parsed.rows):
        yield Problem("it has no column beside the text", "A source text is selected by a column, such as `intent`.")


def _same_key(parsed: ParsedRows) -> Iterator[Problem]:
    rows: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in parsed.rows:
        rows[tuple(row.columns.values())].append(row)
    for key, same in itertools.islice(((key, same) for key, same in rows.items() if key and len(same) > 1), 3):
        where = lines([row.line for row in same])
        yield Problem(f"{count(len(same), 'source text')} for {quote(key)}: {where}", "Keep one text a key.")


# --- Evaluates written texts against the replies of the data.


def judge(rows: Sequence[Row], findings: Sequence[Finding], *, alike: float = ALIKE, seed: int = 0) -> Evaluation:
    """Return the similarity of written texts to the replies of the data, and whether their confidence is calibrated."""
    replied = [(row.labels, finding) for row, finding in zip(rows, findings, strict=True) if row.labels]
    likeness = np.array([best_f1(finding.text, labels) for labels, finding in replied])
    same = np.array([plain(finding.text) in map(plain, labels) for labels, finding in replied], dtype=bool)
    right = likeness >= alike
    accepted = np.array([finding.accepted for _, finding in replied], dtype=bool)
    confidence = np.array([finding.confidence for _, finding in replied], dtype=float)
    figures = {
        "accuracy": share(right, seed),
        "coverage": share(accepted, seed),
        "accepted_accuracy": share(right[accepted], seed),
        "ece": Measured(ece(confidence, right), bootstrap_interval(ece, confidence, right, seed=seed, n=DRAWS)),
        "token_f1": share(likeness, seed),
        "exact_match": share(same, seed),
    }
    return replace(evaluation_of(figures, n=len(rows), labelled=len(replied)), right=tuple(right.tolist()))
