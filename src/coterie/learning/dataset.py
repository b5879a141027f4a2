"""Rows and datasets as plain values, and the checks of a file's rows, explained with lines and values.

A problem means that training would learn, or a figure would state, something untrue: the file is refused. A
warning means that the file works and that the user should know.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from coterie.errors import DataError
from coterie.text.segmentation import plain
from coterie.types import Columns, Scalar

_NO_COLUMNS: Columns = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldSpan:
    """The place where a text states a field, and the stated value."""

    start: int
    end: int
    value: Scalar = None
    """Value in the form of the field's type; None if the words have no such form, or the field is plain text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """Every place where a text states a field."""

    spans: tuple[FieldSpan, ...]
    """At least one, in the text's order."""
    many: bool
    """Whether each span is a value of its own; otherwise all state the same value, and any of them is right."""


_NO_FIELDS: Mapping[str, Stated] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One example: the input of a specialist and the right answer."""

    text: str
    labels: tuple[str, ...] = ()
    """The right label or labels; empty when the row has none or is out of scope. A `score` row has `1` or `0`.

    An `extract` row has the names of the fields that its text states."""
    columns: Columns = field(default_factory=lambda: _NO_COLUMNS)
    """Structured input; for a pair, its second text."""
    evidence: tuple[tuple[int, int], ...] = ()
    """For a pair: the spans `(start, end)` of the text that decide it, as far as they are known."""
    learn_only: bool = False
    """Whether the row is unlike real input: it is for training, not for calibration or measurement."""
    fields: Mapping[str, Stated] = field(default_factory=lambda: _NO_FIELDS)
    """For an `extract` row: what its text states, by field; a field that it does not state is missing."""
    group: str | None = None
    """Group of the row: rows of one group are never on two sides of a split; None belongs to no group."""
    line: int = field(default=0, compare=False)
    """Line of the file on which the row starts, counted from 1; 0 if it comes from no file."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The rows of one file, in its order, with the warnings about them."""

    name: str
    """The file's name, as messages and reports show it."""
    rows: tuple[Row, ...]
    sha256: str
    """Checksum of the whole file, also when `rows` is only a part of it."""
    warnings: tuple[str, ...] = ()
    of_records: bool = False
    """Whether most texts were made of records, which share their fields' names and few values."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def texts(self) -> list[str]:
        """The text of each row."""
        return [row.text for row in self.rows]

    @property
    def has_texts(self) -> bool:
        """Whether any row has a text."""
        return any(row.text.strip() for row in self.rows)

    @property
    def labels(self) -> list[tuple[str, ...]]:
        """The labels of each row."""
        return [row.labels for row in self.rows]

    @property
    def columns(self) -> list[Columns]:
        """The structured input of each row."""
        return [row.columns for row in self.rows]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Every label that occurs, sorted."""
        return tuple(sorted({label for row in self.rows for label in row.labels}))

    @property
    def column_names(self) -> tuple[str, ...]:
        """Every column that occurs, in the file's order."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.columns))

    @property
    def label_counts(self) -> Mapping[str, int]:
        """Number of rows of each label, by label name."""
        counts = dict.fromkeys(self.label_names, 0)
        for row in self.rows:
            for label in row.labels:
                counts[label] += 1
        return counts

    def measured(self) -> Dataset:
        """Return the rows on which figures may be measured."""
        if not any(row.learn_only for row in self.rows):
            return self
        return self.take([index for index, row in enumerate(self.rows) if not row.learn_only])

    def take(self, indices: Sequence[int], *, warnings: Sequence[str] = ()) -> Dataset:
        """Return the rows at these positions, in this order, with these warnings added."""
        rows = tuple(self.rows[i] for i in indices)
        return replace(self, rows=rows, warnings=self.warnings + tuple(warnings))


# --- When two texts are the same: by their words, whatever their case and punctuation.

_NO_WORD = re.compile(r"[\W_]+")


@lru_cache(maxsize=64)  # the pairs of one document follow each other
def normalise(text: str) -> str:
    """Return a text without case, punctuation and repeated spaces; the text itself if nothing else is in it."""
    return _NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip() or text.strip()


# --- How data problems are put into words: lines, values and counts.

# --- Checks of a file's rows for errors and oddities, explained with lines and values.

_SHOWN = 3


class Problem(NamedTuple):
    """An error in a file, and how to correct it."""

    what: str
    advice: str = ""


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def quote(value: object, *, longest: int = 60) -> str:
    """Return a value as Python would write it, cut when it is long."""
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 4] + "..." + text[-1]


def lines(numbers: Sequence[int]) -> str:
    """Return line numbers as text: `line 3`, `lines 3 and 7`, `lines 3, 7, 9 and 40 more`."""
    return f"line{'s' if len(numbers) > 1 else ''} {listing(f'{n}' for n in numbers)}"


def listing(names: Iterable[str], *, shown: int = _SHOWN) -> str:
    """Return names as text: `a`, `a and b`, `a, b, c and 4 more`."""
    every = list(names)
    head, rest = every[:shown], len(every) - shown
    if rest > 0:
        return f"{', '.join(head)} and {rest:,} more"
    return " and ".join([", ".join(head[:-1]), head[-1]]) if len(head) > 1 else "".join(head)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that was probably meant: equal but for case and spaces, or the most similar; else None."""
    folded = {other.casefold().strip(): other for other in names}
    close = difflib.get_close_matches(name.casefold().strip(), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None


FEWEST_ROWS = 10
"""Fewest rows that can be trained and held out."""
CALIBRATED_ROWS = 59
"""Fewest rows on which a specialist without a mistake shows a risk of 5% with 95% confidence: 0.95^59 < 0.05."""


@dataclass(frozen=True, kw_only=True)
class ParsedRows:
    """The rows that were read, and their purpose."""

    rows: Sequence[Row]
    raw_labels: Mapping[str, Counter[str]]
    """For each label, how often each spelling occurs, spaces included."""
    multi_label: bool
    for_evaluation: bool
    fewest: int = 1
    """Fewest rows with which the file is of use."""
    group_column: str | None = None
    others: Sequence[str] = ()
    """Fields of the file that no option uses."""


def check(
    name: str,
    parsed: ParsedRows,
    problems: Sequence[Callable[[ParsedRows], Iterator[Problem]]],
    warnings: Sequence[Callable[[ParsedRows], Iterator[str]]],
) -> list[str]:
    """Return the warnings about a file's rows from a task's checks.

    Raises:
        DataError: the rows cannot be used; every problem is listed.
    """
    wrong = [problem for examine in problems for problem in examine(parsed)]
    if wrong:
        raise _explain(name, wrong, parsed)
    return [warning for warn in warnings for warning in warn(parsed)]


def _explain(name: str, problems: Sequence[Problem], parsed: ParsedRows) -> DataError:
    purpose = "measure" if parsed.for_evaluation else "train"
    listed = "".join(f"\n  - {problem.what}" for problem in problems)
    hint = " ".join(dict.fromkeys(problem.advice for problem in problems if problem.advice))
    return DataError(f"{name} cannot be used to {purpose}:{listed}", hint=hint)


# --- Problems ------------------------------------------------------------------------------------


def too_few(parsed: ParsedRows) -> Iterator[Problem]:
    """Check for too few rows."""
    if len(parsed.rows) < parsed.fewest:
        yield Problem(
            f"it has {count(len(parsed.rows), 'row')}; at least {parsed.fewest} are needed",
            "About 20 examples a label are a good start." if parsed.fewest > 1 else "",
        )


def empty_texts(parsed: ParsedRows) -> Iterator[Problem]:
    """Check for rows without a text."""
    empty = [row.line for row in parsed.rows if not row.text.strip()]
    if empty:
        yield Problem(
            f"{count(len(empty), 'row')} with an empty text: {lines(empty)}", "Remove these rows or fill them."
        )


def unlabelled(parsed: ParsedRows) -> Iterator[Problem]:
    """Check for training rows without a label."""
    bare = [row.line for row in parsed.rows if not row.labels]
    if bare and not parsed.multi_label and not parsed.for_evaluation:
        yield Problem(
            f"{count(len(bare), 'row')} without a label: {lines(bare)}",
            "Training learns from labelled rows only; rows out of scope belong into evaluation data.",
        )


def spelled_in_several_ways(parsed: ParsedRows) -> Iterator[Problem]:
    """Check for labels that differ only in case or spaces."""
    ways: dict[str, Counter[str]] = defaultdict(Counter)
    for label, raw in parsed.raw_labels.items():
        ways[fold_label(label)].update(raw)
    several = [written for written in ways.values() if len(written) > 1]
    if several and not any(free_text_labels(parsed)):
        seen = [listing(f"{quote(raw)} ({count(n, 'row')})" for raw, n in way.most_common()) for way in several]
        yield Problem(
            f"labels that differ only by case or spaces: {'; '.join(seen[:3])}"
            + (f"; and {len(seen) - 3:,} more" if len(seen) > 3 else ""),
            "Write each label in one way.",
        )


def fold_label(label: str) -> str:
    """Return a label without differences that are hard to see: case, kinds of spaces, spaces around it."""
    return plain(unicodedata.normalize("NFKC", label))


def free_text_labels(parsed: ParsedRows) -> Iterator[Problem]:
    """Check for labels of which most occur once."""
    counts = label_counts(parsed.rows)
    if parsed.for_evaluation or len(parsed.rows) < FEWEST_ROWS:
        return
    single = [label for label, n in counts.items() if n == 1]
    if len(single) > len(parsed.rows) / 2:
        yield Problem(
            f"{len(counts):,} different labels on {count(len(parsed.rows), 'row')}, "
            f"such as {listing(map(quote, single))}: this looks like free text or a key, not like labels",
            "Name the column with the labels: label_column.",
        )


def single_examples(parsed: ParsedRows) -> Iterator[Problem]:
    """Check for labels that occur once: they can be learned or measured, but not both."""
    if parsed.for_evaluation or any(free_text_labels(parsed)):
        return
    counts = label_counts(parsed.rows)
    single = {label for label, n in counts.items() if n == 1}
    where = [f"{quote(label)} (line {row.line})" for row in parsed.rows for label in row.labels if label in single]
    if where:
        noun = "label" if len(where) == 1 else "labels"
        yield Problem(
            f"{len(where):,} {noun} with only one example: {listing(where)}",
            "Give each label at least two examples (20 are a good start), or remove it.",
        )


def one_label(parsed: ParsedRows) -> Iterator[Problem]:
    """Check for rows that all have the same label, or none."""
    counts = label_counts(parsed.rows)
    bare = any(not row.labels for row in parsed.rows)
    if not counts and parsed.multi_label and not parsed.for_evaluation and parsed.rows:
        yield Problem("no row has a label", "Name the column with the labels: label_column.")
    if len(counts) == 1 and not parsed.for_evaluation and not (parsed.multi_label and bare):
        yield Problem(f"every row has the same label: {quote(next(iter(counts)))}", "At least two are needed.")


def contradictions(parsed: ParsedRows) -> Iterator[Problem]:
    """Check whether most rows have a text that occurs with several labels."""
    conflicts = _conflicts(parsed)
    rows = sum(map(len, conflicts))
    if rows > len(parsed.rows) / 2 and not parsed.for_evaluation:
        yield Problem(
            f"{rows:,} of {count(len(parsed.rows), 'row')} have a text that occurs with several labels, "
            f"such as {_conflict(conflicts[0])}",
            "Is this the column with the text? If a text may have several labels, set multi_label = true.",
        )


# --- Warnings ------------------------------------------------------------------------------------


def repeated(parsed: ParsedRows) -> Iterator[str]:
    """Check for rows that repeat an earlier one."""
    seen: set[object] = set()
    again = []
    for row in parsed.rows:
        key = (normalise(row.text), row.labels, tuple(row.columns.items()))
        if key in seen:
            again.append(row.line)
        seen.add(key)
    if again:
        yield f"{count(len(again), 'row')} repeating an earlier one, case and punctuation aside: {lines(again)}"


def contradicting(parsed: ParsedRows) -> Iterator[str]:
    """Check for texts that occur with several labels."""
    conflicts = _conflicts(parsed)
    if conflicts:
        rows = sum(map(len, conflicts))
        yield f"{count(rows, 'row')} have a text that occurs with several labels, such as {_conflict(conflicts[0])}"


def bars_in_labels(parsed: ParsedRows) -> Iterator[str]:
    """Check for a bar in a label where one label is expected."""
    odd = [label for label in label_counts(parsed.rows) if "|" in label]
    if odd and not parsed.multi_label:
        yield f"{quote(odd[0])} is read as one label; if it means several, set multi_label = true"


def any_of_several(parsed: ParsedRows) -> Iterator[str]:
    """Check for lists of labels where one label is expected."""
    several = sum(len(row.labels) > 1 for row in parsed.rows)
    if several and not parsed.multi_label:
        yield (
            f"{count(several, 'row')} with a list of labels: any one of them counts as right; if they hold together, "
            "set multi_label = true"
        )


def few_to_calibrate(parsed: ParsedRows) -> Iterator[str]:
    """Check for too few rows to show a low risk."""
    if not parsed.for_evaluation and len(parsed.rows) < CALIBRATED_ROWS:
        yield (
            f"only {count(len(parsed.rows), 'row')}: fewer than {CALIBRATED_ROWS} cannot show a low risk with "
            "confidence, so expect abstentions; about 20 examples a label are a good start"
        )


def ungrouped(parsed: ParsedRows) -> Iterator[str]:
    """Check for rows without a group in a file with groups."""
    bare = [row.line for row in parsed.rows if row.group is None]
    if parsed.group_column is not None and bare:
        yield f"{count(len(bare), 'row')} without a {parsed.group_column!r}: each counts as a group of its own"


def out_of_scope(parsed: ParsedRows) -> Iterator[str]:
    """Check for rows without a label, which are out of scope."""
    bare = sum(not row.labels for row in parsed.rows)
    if bare and parsed.for_evaluation and not parsed.multi_label:
        yield f"{count(bare, 'row')} without a label: taken for out of scope, where an abstention is right"


# --- Shared --------------------------------------------------------------------------------------


def label_counts(rows: Sequence[Row]) -> Counter[str]:
    """Return the number of rows of each label."""
    return Counter(label for row in rows for label in row.labels)


def _conflicts(parsed: ParsedRows) -> list[list[Row]]:
    """Return groups of rows with one text that no label fits; none if a text may have several labels."""
    if parsed.multi_label:
        return []
    by_text: dict[object, list[Row]] = defaultdict(list)
    for row in parsed.rows:
        if row.labels:
            by_text[normalise(row.text), tuple(row.columns.items())].append(row)
    return [rows for rows in by_text.values() if not set.intersection(*(set(row.labels) for row in rows))]


def _conflict(rows: Sequence[Row]) -> str:
    labels = dict.fromkeys(label for row in rows for label in row.labels)
    return f"{quote(rows[0].text)} with {listing(map(quote, labels))} ({lines([row.line for row in rows])})"
