"""Evaluation of a router on texts with known specialists, with examples that would improve it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from coterie.errors import DataError
from coterie.learning.reading import Lines, Record, open_lines, read_records
from coterie.routing.matching import Explanation

NOBODY = "nobody"
"""Name for no specialist, in files and in confusions."""
MOST_FIXES = 20
"""Most examples that are proposed."""


@dataclass(frozen=True, kw_only=True)
class ExpectedRoute:
    """A text with its expected specialists: several for a compound request, none if it is out of scope."""

    text: str
    specialists: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How the texts of one specialist were routed."""

    rows: int
    """Number of texts that the specialist should be asked about."""
    asked: int
    """Number of texts that the specialist was asked about."""
    right: int
    """Number of texts in both sets."""

    @property
    def recall(self) -> float | None:
        """Share of its texts that the specialist was asked about."""
        return self.right / self.rows if self.rows else None

    @property
    def precision(self) -> float | None:
        """Share of its own texts among those that the specialist was asked about."""
        return self.right / self.asked if self.asked else None


@dataclass(frozen=True, kw_only=True)
class Mistaken:
    """Texts for one specialist that were routed to another."""

    expected: str
    asked: str
    count: int
    like: str
    """The example of the asked specialist that most of these texts are nearest to."""


@dataclass(frozen=True, kw_only=True)
class Fix:
    """A misrouted text that would be a good example of the specialist it was for."""

    specialist: str
    text: str
    mends: int
    """Misrouted texts, this one included, that are more similar to it than to any example of the asked specialist."""
    asked: str
    like: str
    """The nearest example of the asked specialist: it may be wrong or too broad."""


@dataclass(frozen=True, kw_only=True)
class RouteEvaluation:
    """The figures of a file of expected routes."""

    rows: int
    accuracy: float
    """Share of texts for which exactly the expected specialists were asked."""
    single_accuracy: float | None
    """Accuracy on texts for one specialist."""
    compound_accuracy: float | None
    """Accuracy on texts for several specialists."""
    out_of_scope_recall: float | None
    """Share of out-of-scope texts for which no specialist was asked."""
    false_rejection: float | None
    """Share of in-scope texts for which no specialist was asked."""
    false_split: float | None
    """Share of texts for one specialist for which several were asked."""
    specialists: Mapping[str, Tally]
    confusions: tuple[Mistaken, ...]
    """Confusions, the most frequent first."""
    fixes: tuple[Fix, ...]
    """Proposed examples, those that mend most texts first."""
    unknown: tuple[str, ...] = field(default=())
    """Specialists in the file that the network does not have."""


def judge_routes(
    expected: Sequence[ExpectedRoute], explanations: Sequence[Explanation], known_names: Sequence[str]
) -> RouteEvaluation:
    """Compare routes with the expected ones; `known_names` are the network's specialists."""
    routed = [frozenset(explanation.asked) for explanation in explanations]
    wanted = [frozenset(route.specialists) for route in expected]
    right = np.array([a == w for a, w in zip(routed, wanted, strict=True)])
    sizes = np.array([len(names) for names in wanted])
    given = np.array([len(names) for names in routed])
    names = sorted({name for names in (*routed, *wanted) for name in names})
    return RouteEvaluation(
        rows=len(expected),
        accuracy=float(right.mean()),
        single_accuracy=_share(right, sizes == 1),
        compound_accuracy=_share(right, sizes > 1),
        out_of_scope_recall=_share(given == 0, sizes == 0),
        false_rejection=_share(given == 0, sizes > 0),
        false_split=_share(given > 1, sizes == 1),
        specialists={
            name: Tally(
                rows=sum(name in names for names in wanted),
                asked=sum(name in names for names in routed),
                right=sum(name in a and name in w for a, w in zip(routed, wanted, strict=True)),
            )
            for name in names
        },
        confusions=_confusions(expected, explanations),
        fixes=_fixes(expected, explanations, frozenset(known_names)),
        unknown=tuple(name for name in names if name not in known_names),
    )


def _share(of: np.ndarray, among: np.ndarray) -> float | None:
    return float(of[among].mean()) if among.any() else None


def _pairs(expected: ExpectedRoute, explanation: Explanation) -> list[tuple[str, str]]:
    """Return the expected specialists that were not asked, each with those asked instead."""
    missing = [name for name in expected.specialists if name not in explanation.asked]
    extra = [name for name in explanation.asked if name not in expected.specialists]
    if not missing and not extra:
        return []
    return [(one, other) for one in missing or [NOBODY] for other in extra or [NOBODY]]


def _confusions(expected: Sequence[ExpectedRoute], explanations: Sequence[Explanation]) -> tuple[Mistaken, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    likes: dict[tuple[str, str], Counter[str]] = {}
    for row, made in zip(expected, explanations, strict=True):
        for pair in _pairs(row, made):
            counts[pair] += 1
            likes.setdefault(pair, Counter())[_nearest(made, pair[1])] += 1
    return tuple(
        Mistaken(expected=one, asked=other, count=count, like=likes[one, other].most_common(1)[0][0])
        for (one, other), count in counts.most_common()
    )


def _nearest(explanation: Explanation, name: str) -> str:
    """Return the nearest example of a specialist, or of the specialist nearest to the whole if none was asked."""
    for considered in explanation.considered:
        for candidate in considered.candidates:
            if candidate.nearest and name in {candidate.specialist, NOBODY}:
                return candidate.nearest[0].example
    return ""


def _fixes(
    expected: Sequence[ExpectedRoute], explanations: Sequence[Explanation], known_names: frozenset[str]
) -> tuple[Fix, ...]:
    """Return misrouted texts as examples, first those that would correct most of the others."""
    wrong = [
        (row.specialists[0], row.text, made)
        for row, made in zip(expected, explanations, strict=True)
        if len(row.specialists) == 1
        and row.specialists[0] in known_names
        and row.specialists[0] not in made.asked
        and made.considered
    ]
    if not wrong:
        return ()
    vectors = np.stack([made.considered[0].vector for _, _, made in wrong])  # (W, D)
    rivals = np.array([made.considered[0].candidates[0].similarity for _, _, made in wrong])
    alike = np.array([[one == other for other, _, _ in wrong] for one, _, _ in wrong])
    mends = ((vectors @ vectors.T > rivals[None, :]) & alike).sum(axis=1)
    fixes = [
        Fix(
            specialist=name,
            text=text,
            mends=max(int(count), 1),
            asked=made.asked[0] if made.asked else NOBODY,
            like=_nearest(made, made.asked[0] if made.asked else NOBODY),
        )
        for (name, text, made), count in zip(wrong, mends, strict=True)
    ]
    return tuple(sorted(fixes, key=lambda fix: -fix.mends)[:MOST_FIXES])


# --- Files of texts with the specialists they are for: what `coterie route --eval` reads.

TEXT, SPECIALIST = "text", "specialist"
_NOBODY = frozenset({"", "none", "null", NOBODY})
_HINT = f"A row is a {TEXT!r} and the {SPECIALIST!r} it is for, empty for nobody, several with | between them."


def read_expected(path: Path, *, text_column: str = TEXT, specialist_column: str = SPECIALIST) -> list[ExpectedRoute]:
    """Read a CSV or JSONL file of texts with the specialists they are for.

    Raises:
        DataError: the file cannot be used; the message names the line.
    """
    wanted = (text_column, specialist_column)
    with open_lines(path) as lines:
        records = read_records(lines, wanted=wanted, check_names=lambda names: _check(lines.name, names, wanted))
        rows = [_row(record, text_column, specialist_column, lines) for record in records]
    if not rows:
        raise DataError(f"{lines.name} has no rows.", hint=_HINT)
    return rows


def _check(name: str, names: Sequence[str], wanted: Sequence[str]) -> None:
    if missing := [column for column in wanted if column not in names]:
        raise DataError(
            f"{name} has no column {' or '.join(map(repr, missing))}; its columns are {list(names)}.", hint=_HINT
        )


def _row(record: Record, text_column: str, specialist_column: str, lines: Lines) -> ExpectedRoute:
    text = record.cells.get(text_column)
    if not isinstance(text, str) or not text.strip():
        raise lines.error(f"has no text in {text_column!r}", _HINT, line=record.line)
    if specialist_column not in record.cells:
        raise lines.error(f"has no {specialist_column!r}", _HINT, line=record.line)
    cell = record.cells[specialist_column]
    names = cell if isinstance(cell, list) else str("" if cell is None else cell).split("|")
    if not all(isinstance(name, str) for name in names):
        raise lines.error(f"has {cell!r} in {specialist_column!r}", _HINT, line=record.line)
    stripped = (name.strip() for name in names)
    return ExpectedRoute(
        text=text, specialists=tuple(dict.fromkeys(n for n in stripped if n.casefold() not in _NOBODY))
    )
