"""Training a `score` specialist: a scorecard of columns, and of a text through a text model's log-odds.

Out-of-fold log-odds of the text model are one more column, cut into bins like any number (stacking; Wolpert 1992).
The same folds serve both models, so no row is ever scored by a text model that saw it.

Bags of gradient-boosted trees, each branch limited to two columns (`interaction_cst`), are a model of order two (Lou
et al. 2013, "Accurate intelligible models with pairwise interactions"). Such a model is determined by its values
on one- and two-column changes from any row, so tables of these values equal the trees; the tables are then centred by
the training rows' marginals (Lengerich et al. 2020, "Purifying interaction effects").
"""

from __future__ import annotations

import json
import math
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from pathlib import Path

import numpy as np
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit

from coterie.engines.linear import (
    ColumnBins,
    LinearEngine,
    TableHead,
    TextHead,
    as_category,
    as_number,
    dump_head,
    quoted,
)
from coterie.errors import ConfigError, DataError
from coterie.learning.calibration import Threshold, accept_threshold, fit_platt, showable, warn_silent
from coterie.learning.dataset import Dataset
from coterie.learning.evaluation import Evaluation, auc_interval, auroc
from coterie.learning.fairness import Fairness, Proxies, fairness, find_proxies, group_names
from coterie.learning.fitting import deal_folds, text_examples
from coterie.learning.job import Job
from coterie.learning.measure import Candidate, Encoded, Figure, measure, window_warnings
from coterie.runtime.codec import to_json
from coterie.specialists.parts import Acceptance
from coterie.tasks.classify.heads import fit_text
from coterie.tasks.score.model import ScoreSpecialist, TextModel, text_files
from coterie.tasks.score.rows import judge
from coterie.tasks.score.section import ScoreSection
from coterie.types import Columns, Finding, Rung, Scalar

# Fixed a priori, none tuned on the rows a report is about; docs/history/log.md has what else was tried.
BAGS = 8
OUT_OF_BAG = 0.2
STEP, STAGES = 10, 30  # up to 300 trees, their number chosen out of bag in steps of ten
MOST_BINS = 16
MOST_VALUES = 60
FEWEST_ROWS = 5  # of a category's value that gets its own bin
MOST_PAIRED = 40  # columns that may form pairs, the strongest ones
MOST_CELLS = 150_000  # of all pairs' tables together: each is a row to ask the trees about
_AT_ONCE = 20_000  # such rows asked at once; bounds the memory


@dataclass(frozen=True, kw_only=True)
class ColumnPlan:
    """The columns that a scorecard uses, and the reasons against the others."""

    columns: tuple[ColumnBins, ...]
    left_out: Mapping[str, str]


def plan_columns(rows: Sequence[Columns], excluded: Mapping[str, str]) -> ColumnPlan:
    """Return bins for each usable column.

    Args:
        rows: Training rows.
        excluded: Columns that must not be used, each with the reason.

    Raises:
        DataError: no column is left.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    left_out = {name: reason for name, reason in excluded.items() if name in names}
    columns = []
    for name in names:
        if name in left_out:
            continue
        planned = _plan_column(name, [row.get(name) for row in rows])
        if isinstance(planned, str):
            left_out[name] = planned
        else:
            columns.append(planned)
    if not columns:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "the rows have no other columns"
        raise DataError(f"No column is left to score with ({why}).", hint="Give a file with feature columns or a text.")
    return ColumnPlan(columns=tuple(columns), left_out=left_out)


def _plan_column(name: str, values: Sequence[Scalar]) -> ColumnBins | str:
    present = [value for value in values if as_category(value) is not None]
    counts = Counter(str(as_category(value)) for value in present)
    if len(counts) < 2:
        return "it has one value only" if counts else "it is empty"
    numbers = [number for value in present if (number := as_number(value)) is not None]
    if len(numbers) == len(present):
        edges, gaps = _edges(np.array(numbers)), len(present) < len(values)
        return ColumnBins(name=name, kind="number", edges=edges, gaps=gaps, low=min(numbers), high=max(numbers))
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_VALUES]
    kept = sorted(value for value, n in common if n >= FEWEST_ROWS)
    if len(kept) < 2:
        return f"it looks like an identifier or free text ({len(counts)} values in {len(present)} rows)"
    gaps = sum(counts[value] for value in kept) < len(values)
    return ColumnBins(name=name, kind="category", values=tuple(kept), gaps=gaps)


def _edges(numbers: np.ndarray) -> tuple[float, ...]:
    """Return cuts between few distinct numbers, at quantiles of many."""
    distinct = np.unique(numbers)
    if len(distinct) <= MOST_BINS:
        cuts = (distinct[1:] + distinct[:-1]) / 2
    else:
        cuts = np.quantile(numbers, np.linspace(0, 1, MOST_BINS + 1)[1:-1])
    return tuple(float(cut) for cut in np.unique(cuts))


def bin_rows(columns: Sequence[ColumnBins], rows: Sequence[Columns]) -> np.ndarray:  # (N, C)
    """Return the bin of every value."""
    placed = [[column.place(row.get(column.name)).bin for column in columns] for row in rows]
    return np.array(placed, dtype=np.int64).reshape(len(rows), len(columns))


def fit_scorecard(columns: tuple[ColumnBins, ...], bins: np.ndarray, targets: np.ndarray, *, seed: int) -> TableHead:
    """Fit a scorecard on binned rows (N, C) and targets (N,) of 0 and 1; constant if all targets are equal."""
    if len(set(targets.tolist())) < 2:
        return _constant(columns, targets)
    paired = _paired(columns, bins, targets)
    bags = _bags(bins, targets, seed)
    models = [
        _booster(columns, paired, seed + bag).fit(_learnable(bins[rows]), targets[rows])
        for bag, (rows, _) in enumerate(bags)
    ]
    trees = _count_trees(models, bags, bins, targets)
    return _tabulate(columns, _Bagged(models, trees), bins, paired)


def _constant(columns: tuple[ColumnBins, ...], targets: np.ndarray) -> TableHead:
    """Return the smoothed log-odds of the targets, whatever the columns contain."""
    base = float(np.log((targets.sum() + 1) / (len(targets) - targets.sum() + 1)))
    return TableHead(columns=columns, base=base, main=tuple(np.zeros(column.size) for column in columns), pairs={})


def _bags(bins: np.ndarray, targets: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows in each bag and those out of it; all rows for both where a target is too rare to split."""
    if np.bincount(targets, minlength=2).min() < 2:
        return [(np.arange(len(targets)), np.arange(len(targets)))] * BAGS
    split = StratifiedShuffleSplit(BAGS, test_size=OUT_OF_BAG, random_state=seed)
    return list(split.split(bins, targets))


def _paired(columns: Sequence[ColumnBins], bins: np.ndarray, targets: np.ndarray) -> Collection[int]:
    """Return columns that may form pairs: the most predictive ones, while there is room for their tables."""
    overall = targets.mean()
    strength = []
    for j, column in enumerate(columns):
        n = np.bincount(bins[:, j], minlength=column.size)
        hits = np.bincount(bins[:, j], weights=targets, minlength=column.size)
        strength.append(float((n * (hits / np.maximum(n, 1) - overall) ** 2).sum()))
    chosen: list[int] = []
    width = cells = 0
    for j in np.argsort(strength, kind="stable")[::-1].tolist():
        more = width * columns[j].size
        if len(chosen) < MOST_PAIRED and cells + more <= MOST_CELLS:
            chosen.append(j)
            width, cells = width + columns[j].size, cells + more
    return sorted(chosen)


def _booster(columns: Sequence[ColumnBins], paired: Collection[int], seed: int) -> HistGradientBoostingClassifier:
    alone = [{j} for j in range(len(columns)) if j not in paired]
    together = [set(pair) for pair in combinations(paired, 2)] or [{j} for j in paired]
    return HistGradientBoostingClassifier(
        max_iter=STEP * STAGES,
        learning_rate=0.1,
        max_depth=3,
        interaction_cst=together + alone,
        min_samples_leaf=10,
        l2_regularization=1.0,
        max_features=0.3,
        early_stopping=False,
        categorical_features=[j for j, column in enumerate(columns) if column.kind == "category"] or None,
        random_state=seed,
    )


def _with_gaps(bins: np.ndarray) -> np.ndarray:
    """Return bins in the booster's form: a missing value is NaN, and gets a branch of its own."""
    return np.where(bins == 0, np.nan, bins)


def _learnable(bins: np.ndarray) -> np.ndarray:
    """Return bins for fitting; a column with only missing values is constant, so that the booster can bin it."""
    return np.where((bins == 0).all(axis=0), 0.0, _with_gaps(bins))


def _count_trees(
    models: Sequence[HistGradientBoostingClassifier],
    bags: Sequence[tuple[np.ndarray, np.ndarray]],
    bins: np.ndarray,
    targets: np.ndarray,
) -> int:
    """Return the number of trees with the least mean log loss out of bag."""
    loss = np.zeros(STAGES)
    for model, (_, out) in zip(models, bags, strict=True):
        for trees, logits in enumerate(model.staged_decision_function(_with_gaps(bins[out])), start=1):
            if trees % STEP == 0:
                z = logits.ravel()
                loss[trees // STEP - 1] += float(np.mean(np.logaddexp(0, z) - targets[out] * z))
    return STEP * (int(loss.argmin()) + 1)


@dataclass(frozen=True)
class _Bagged:
    """The mean of the models, each truncated to its first trees, as if they had been fitted with so many."""

    models: Sequence[HistGradientBoostingClassifier]
    trees: int

    def log_odds(self, bins: np.ndarray) -> np.ndarray:  # (N, C) -> (N,)
        return np.asarray(np.mean([self._one(model, bins) for model in self.models], axis=0))

    def _one(self, model: HistGradientBoostingClassifier, bins: np.ndarray) -> np.ndarray:
        stages = model.staged_decision_function(_with_gaps(bins))
        return np.asarray(next(islice(stages, self.trees - 1, None))).ravel()


def _tabulate(columns: tuple[ColumnBins, ...], bagged: _Bagged, bins: np.ndarray, paired: Collection[int]) -> TableHead:
    """Tabulate the mean log-odds cell by cell, then centre them."""
    sizes = [column.size for column in columns]
    anchor = np.array([np.bincount(bins[:, j]).argmax() for j in range(len(sizes))])
    pairs = list(combinations(paired, 2))
    changes = [(), *((j,) for j in range(len(sizes))), *pairs]
    values = np.concatenate(
        [bagged.log_odds(rows) for rows in _batches(_grid(anchor, sizes, change) for change in changes)]
    )
    cells = [math.prod(sizes[j] for j in change) for change in changes]
    (base,), *parts = np.split(values, np.cumsum(cells)[:-1])
    main = [part - base for part in parts[: len(sizes)]]
    tables = {
        (j, k): part.reshape(sizes[j], sizes[k]) - (base + main[j][:, None] + main[k][None])
        for (j, k), part in zip(pairs, parts[len(sizes) :], strict=True)
    }
    return _centred(columns, float(base), main, tables, bins)


def _batches(grids: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the grids stacked in batches of enough rows, never split within a grid."""
    batch: list[np.ndarray] = []
    for grid in grids:
        batch.append(grid)
        if sum(map(len, batch)) >= _AT_ONCE:
            yield np.vstack(batch)
            batch = []
    if batch:
        yield np.vstack(batch)


def _grid(anchor: np.ndarray, sizes: Sequence[int], changed: Sequence[int]) -> np.ndarray:  # (cells, C)
    """Return the anchor row with every combination of bins in the changed columns, the last column fastest."""
    cells = np.array(list(np.ndindex(*(sizes[j] for j in changed))), dtype=np.int64)
    grid = np.repeat(anchor[None], len(cells), axis=0)
    grid[:, list(changed)] = cells
    return grid


def _centred(
    columns: tuple[ColumnBins, ...],
    base: float,
    main: list[np.ndarray],
    pairs: dict[tuple[int, int], np.ndarray],
    bins: np.ndarray,
) -> TableHead:
    """Move averages from pairs into columns and from columns into the base; cells keep their sums."""
    shares = [np.bincount(bins[:, j], minlength=column.size) / len(bins) for j, column in enumerate(columns)]
    for (j, k), table in pairs.items():
        rows, cols = table @ shares[k], shares[j] @ table
        mean = float(shares[j] @ rows)
        main[j], main[k] = main[j] + rows, main[k] + cols
        pairs[j, k] = table - rows[:, None] - cols[None] + mean
        base -= mean
    for j, share in enumerate(shares):
        mean = float(share @ main[j])
        main[j] = main[j] - mean
        base += mean
        if not share[0]:  # never missing in training: missing says nothing, and counts as the average
            _silence(j, main, pairs)
    kept = {pair: table for pair, table in pairs.items() if np.abs(table).max() > 1e-9}
    return TableHead(columns=columns, base=base, main=tuple(main), pairs=kept)


def _silence(j: int, main: list[np.ndarray], pairs: Mapping[tuple[int, int], np.ndarray]) -> None:
    """Set the values of bin 0 of column j to 0."""
    main[j][0] = 0.0
    for (a, b), table in pairs.items():
        if a == j:
            table[0] = 0.0
        if b == j:
            table[:, 0] = 0.0


# --- Which columns a score must not rest on.
#
# Attributes on which a decision about a person may not rest in most places (sex, age, origin, religion, ...) are left
# out by default, by the words of a column's name. The rule is blunt on purpose: `average_age_of_accounts` is left out
# too, because leaving out a harmless column costs little and is said aloud, while using a protected one is not seen.
# Only whole words count, so `mortgage` and `page` stay; they are of eight languages. Naming the protected columns
# (`protected = [...]`) replaces the rule.

# --- Training a `score` specialist: a scorecard of columns, and of a text through a text model's log-odds.

PROTECTED_WORDS = frozenset(
    word
    for words in json.loads(Path(__file__).with_name("protected.json").read_text(encoding="utf-8")).values()
    for word in words.split()
)
"""Words that mark a protected column.

They are in lower case and without accents, except where a word would equal another one without them.
"""


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Columns that must not be used, with reasons and warnings."""

    reasons: Mapping[str, str]
    """Reasons by column."""
    warnings: tuple[str, ...] = ()
    """Warnings about columns that are left out because of their names alone."""


def exclusion(job: Job[ScoreSection], names: Sequence[str]) -> Exclusion:
    """Return the columns among these that the job must not use.

    Raises:
        ConfigError: its section names a column that the data does not have.
    """
    section = job.section
    named = (*section.exclude, *(section.protected or ()))
    if absent := [name for name in named if name not in names]:
        raise ConfigError(
            f"specialists.{job.name} excludes {absent}, but {job.train.name} has the columns {list(names)}.",
            hint="Name columns of the file in `exclude` and `protected`.",
        )
    excluded = dict.fromkeys(section.exclude, "excluded by coterie.toml")
    if section.protected is not None:
        return Exclusion(reasons=excluded | dict.fromkeys(section.protected, "protected attribute"))
    telling = {name: word for name in names if name not in excluded and (word := protected_word(name))}
    return Exclusion(
        reasons=excluded | {name: f"protected attribute, by the word {word!r}" for name, word in telling.items()},
        warnings=tuple(
            f"column {name!r} is taken for a protected attribute by the word {word!r} in its name, and not used; if "
            "it is none, name those that are: protected = [...]"
            for name, word in telling.items()
        ),
    )


def protected_word(name: str) -> str | None:
    """Return the word of a column's name that marks it as protected, as in `foreignWorker`, `AGE_2`, `Age (years)`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", unicodedata.normalize("NFC", name))
    words = re.findall(r"[^\W\d_]+", spaced.lower())
    return next((word for word in words if not PROTECTED_WORDS.isdisjoint({word, _plain(word)})), None)


def _plain(word: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", word) if not unicodedata.combining(sign))


# --- How a score that is being trained treats the groups of the protected attributes, which it does not use.
#
# All figures are of training rows scored by models that had not seen them.

PROTECTED = "protected attribute"
"""Beginning of the reason for leaving out a protected column."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Every protected attribute of the data: the figures of its groups, and the columns that reveal it."""

    fairness: tuple[Fairness, ...]
    proxies: tuple[Proxies, ...]

    def notes(self) -> dict[str, object]:
        """Return notes for the report."""
        return {
            "fairness": {group.column: group.to_json() for group in self.fairness},
            "proxies": {proxy.attribute: to_json(proxy) for proxy in self.proxies},
        }

    def warnings(self) -> tuple[str, ...]:
        """Warnings that deserve a look."""
        below = [
            f"groups of {group.column!r} that are approved less than four fifths as often as the group approved most: "
            f"{', '.join(group.below)}"
            for group in self.fairness
            if group.below
        ]
        telling = [
            f"columns that tell {proxies.attribute!r} although it is not used: "
            + ", ".join(f"{proxy.column} ({proxy.group}: AUC {proxy.auc:.2f})" for proxy in proxies.telling)
            for proxies in self.proxies
            if proxies.telling
        ]
        return (*below, *telling)


def look_at_groups(
    data: Dataset,
    plan: ColumnPlan,
    bins: np.ndarray,
    *,
    probabilities: np.ndarray,
    targets: Sequence[int],
    alone: Sequence[bool],
) -> Groups:
    """Examine each protected attribute.

    Args:
        data: The training rows.
        plan: Which columns are used, and why others are not.
        bins: (N, C) of the columns that are used.
        probabilities: (N,) out of fold.
        targets: (N,) the outcome of each row.
        alone: (N,) whether it would be decided without a person.
    """
    attributes = [name for name, reason in plan.left_out.items() if reason.startswith(PROTECTED)]
    used: Mapping[str, np.ndarray] = {column.name: bins[:, j] for j, column in enumerate(plan.columns)}
    groups = {name: group_names([row.columns.get(name) for row in data.rows]) for name in attributes}
    return Groups(
        fairness=tuple(fairness(name, of, probabilities, targets, alone) for name, of in groups.items()),
        proxies=tuple(find_proxies(name, of, used, probabilities) for name, of in groups.items()),
    )


FOLDS = 10
TEXT_COLUMN = "text"
_OUTCOMES = ("0", "1")
_FEWEST_TEXTS = 10  # rows with a text below which it is left out


@dataclass(frozen=True, kw_only=True)
class TextColumn:
    """A text model's log-odds as a column of the scorecard."""

    rung: Rung
    name: str
    head: TextHead
    log_odds: Sequence[float | None]  # (N,), out of fold; None without a text
    seconds: float


@dataclass(frozen=True, kw_only=True)
class FittedScorecard:
    """A scorecard of all rows, and cross-fitted predictions of each row."""

    head: TableHead
    bins: np.ndarray  # (N, C)
    out_of_fold: np.ndarray  # (N,) calibrated log-odds
    floor: np.ndarray  # (N,) out-of-fold log-odds of a plain logistic regression
    plan: ColumnPlan
    warnings: tuple[str, ...]
    seconds: float

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        return [column.name for column in self.plan.columns]


def train_score(job: Job[ScoreSection], encoded: Encoded | None) -> list[Candidate]:
    """Return a candidate per rung, cheapest first. Without a test file the figures are cross-validated.

    Args:
        job: What to train.
        encoded: Encodings of the texts; None where there are only columns.

    Raises:
        ConfigError: the section names a column that the data does not have.
        DataError: no column is left, or the rows cannot be dealt into folds.
    """
    names = job.train.column_names + ((text_source(job),) if job.has_texts else ())
    excluded = exclusion(job, names)
    fold_of = deal_folds(_cases(job.train), FOLDS, job.section.seed)
    texts: Sequence[TextColumn | None] = ()
    if encoded is not None and text_source(job) not in excluded.reasons:
        texts = _text_columns(job, encoded, fold_of)
    return [_candidate(job, _fit(job, text, fold_of, excluded), text, fold_of) for text in texts or (None,)]


def _cases(data: Dataset) -> Dataset:
    """Return the rows in the form that folds distinguish: by their columns, or by the text where there are none.

    Two cases with the same remark ("none", "paid in full") are two cases; kept in one fold, a frequent remark would
    always be scored by models that never saw it.
    """
    rows = (
        replace(row, text="") if any(value is not None for value in row.columns.values()) else row for row in data.rows
    )
    return replace(data, rows=tuple(rows))


# --- The text ------------------------------------------------------------------------------------


def _text_columns(job: Job[ScoreSection], encoded: Encoded, fold_of: np.ndarray) -> list[TextColumn]:
    """Return a text column for each rung; none where hardly any row has a text."""
    rows = np.array([index for index, row in enumerate(job.train.rows) if row.text.strip()], dtype=np.int64)
    if len(rows) < _FEWEST_TEXTS:
        return []
    chosen = job.train.take(rows.tolist())
    examples = text_examples(chosen, _OUTCOMES, fold_of[rows], seed=job.section.seed, named=False)
    fits = fit_text(job, examples, Encoded(encoded.vectors[rows], encoded.seconds))
    columns = []
    for fit in fits:
        log_odds: list[float | None] = [None] * len(job.train)
        for row, logits in zip(rows.tolist(), fit.logits, strict=True):
            log_odds[row] = float(logits[1] - logits[0])
        name = _free_name(job.train.column_names)
        columns.append(TextColumn(rung=fit.rung, name=name, head=fit.head, log_odds=log_odds, seconds=fit.seconds))
    return columns


def text_source(job: Job[ScoreSection]) -> str:
    """Return the column of the data that holds the text."""
    return job.section.text_column or TEXT_COLUMN


def _free_name(taken: Sequence[str]) -> str:
    """Return `text`, with as many underscores after it as needed to differ from the data's columns."""
    name = TEXT_COLUMN
    while name in taken:
        name += "_"
    return name


def _with_text(rows: Sequence[Columns], text: TextColumn | None) -> list[Columns]:
    if text is None:
        return list(rows)
    return [{**row, text.name: value} for row, value in zip(rows, text.log_odds, strict=True)]


# --- The scorecard -------------------------------------------------------------------------------


def _fit(job: Job[ScoreSection], text: TextColumn | None, fold_of: np.ndarray, excluded: Exclusion) -> FittedScorecard:
    """Return out-of-fold predictions of the whole procedure, and one fit of all rows."""
    start = time.perf_counter()
    rows, targets = _with_text(job.train.columns, text), _targets(job.train)
    plan = plan_columns(rows, excluded.reasons)
    if text is not None:  # log-odds may be any
        columns = (
            replace(column, low=None, high=None) if column.name == text.name else column for column in plan.columns
        )
        plan = replace(plan, columns=tuple(columns))
    bins = bin_rows(plan.columns, rows)
    held, floor = np.zeros(len(targets)), np.zeros(len(targets))
    job.progress.start(f"{job.name}: scorecard{' with text' if text else ''}", len(np.unique(fold_of)) + 1)
    for fold in np.unique(fold_of):
        out = fold_of == fold
        card = fit_scorecard(plan.columns, bins[~out], targets[~out], seed=job.section.seed)
        held[out] = [card.base + card.parts(row).sum() for row in bins[out].tolist()]
        floor[out] = _floor(plan, bins, targets, out)
        job.progress.advance(1)
    line = fit_platt(held, targets)
    card = fit_scorecard(plan.columns, bins, targets, seed=job.section.seed)
    job.progress.advance(1)
    job.progress.finish("")
    return FittedScorecard(
        head=card.rescaled(line.slope, line.intercept),
        bins=bins,
        out_of_fold=line.slope * held + line.intercept,
        floor=floor,
        plan=plan,
        warnings=(*excluded.warnings, *_unused(plan, excluded, rows)),
        seconds=time.perf_counter() - start + (text.seconds if text else 0.0),
    )


_SEPARATED = re.compile(r"\W*\d[\d.,'\s]*\W*")  # a number as people write it: 8.442,00 € or 1,200 %


def _unused(plan: ColumnPlan, excluded: Exclusion, rows: Sequence[Columns]) -> Iterator[str]:
    """Yield warnings on columns that do not affect the score, although they are not excluded."""
    for name, reason in plan.left_out.items():
        if name in excluded.reasons:
            continue
        values = [str(value) for row in rows if as_category(value := row.get(name)) is not None]
        hint = "; write its numbers as 1234.5" if values and all(map(_SEPARATED.fullmatch, values)) else ""
        first = f", such as {quoted(values[0])}" if values else ""
        yield f"column {name!r} is not used: {reason}{first}{hint}"


def _targets(data: Dataset) -> np.ndarray:  # (N,) of 0 and 1
    return np.array([int(row.labels[0]) for row in data.rows])


def _floor(plan: ColumnPlan, bins: np.ndarray, targets: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return held-out log-odds of a plain logistic regression on one-hot bins, the baseline of every score."""
    hot = np.hstack([np.eye(column.size)[bins[:, j]] for j, column in enumerate(plan.columns)])
    if len(np.unique(targets[~out])) < 2:
        return np.zeros(int(out.sum()))
    model = LogisticRegression(C=0.1, max_iter=500).fit(hot[~out], targets[~out])
    return np.asarray(model.decision_function(hot[out]))


# --- The candidate -------------------------------------------------------------------------------


def _candidate(
    job: Job[ScoreSection], fitted: FittedScorecard, text: TextColumn | None, fold_of: np.ndarray
) -> Candidate:
    """Set the threshold, and measure."""
    rung: Rung = text.rung if text else "lexical"
    if text and text.name not in fitted.names:
        text = None  # it says the same of every row
    targets = _targets(job.train)
    confidence = expit(np.abs(fitted.out_of_fold))
    right = (fitted.out_of_fold >= 0) == (targets == 1)
    grouped, risk = [row.group for row in job.train.rows], job.section.target_risk
    threshold = accept_threshold(confidence, right, target_risk=risk, groups=grouped)
    # A score decides about people: which share of wrong decisions is right is said by somebody, and never by the rows.
    shown = None if threshold.value is not None else showable(confidence, right, grouped, above=risk)
    specialist = _specialist(job, rung, fitted, text, threshold)
    validation = _cross_validated(job.train, fitted, specialist)
    evaluation = validation if job.cross_validated else measure(job, rung, specialist)
    files = dump_head(fitted.head, specialist.describe())
    alone = [specialist.acceptance.judge(float(confidence_), None)[0] for confidence_ in confidence]
    groups = look_at_groups(
        job.train,
        fitted.plan,
        fitted.bins,
        probabilities=expit(fitted.out_of_fold),
        targets=targets.tolist(),
        alone=alone,
    )
    return Candidate(
        rung=rung,
        files=files | (text_files(dump_head(text.head, {})) if text else {}),
        validation={measure_: _figure(validation, measure_) for measure_ in job.measures},
        evaluation=evaluation,
        seconds=fitted.seconds,
        notes=_notes(job, fitted, threshold, targets, fold_of) | groups.notes(),
        warnings=tuple(
            filter(
                None,
                [
                    *fitted.warnings,
                    warn_silent(threshold, risk, shown[0] if shown else None),
                    *groups.warnings(),
                    *(window_warnings(job, rung, evaluation) if text else ()),
                ],
            )
        ),
    )


def _specialist(
    job: Job[ScoreSection], rung: Rung, fitted: FittedScorecard, text: TextColumn | None, threshold: Threshold
) -> ScoreSpecialist:
    names = fitted.names
    parts = np.abs([fitted.head.parts(row) for row in fitted.bins.tolist()]).mean(axis=0)  # (C,)
    sent = tuple(text_source(job) if text and name == text.name else name for name in names)
    return ScoreSpecialist(
        card=job.card(rung, sent),
        head=LinearEngine(fitted.head),
        bins=fitted.plan.columns,
        importance={name: round(float(part), 4) for name, part in zip(names, parts, strict=True)},
        left_out=fitted.plan.left_out,
        positive=_predicted(job.section),
        acceptance=Acceptance(
            temperature=1.0, threshold=threshold.value, target_risk=job.section.target_risk, scope_threshold=None
        ),
        text=_text_model(job, text) if text else None,
    )


def _predicted(section: ScoreSection) -> str:
    return section.label_column if section.positive is None else f"{section.label_column} = {section.positive}"


def _text_model(job: Job[ScoreSection], text: TextColumn) -> TextModel:
    return TextModel(
        head=LinearEngine(text.head),
        encoder=job.encoder if text.rung == "embedding" else None,
        column=text.name,
        source=text_source(job),
    )


def _cross_validated(data: Dataset, fitted: FittedScorecard, specialist: ScoreSpecialist) -> Evaluation:
    """Return the figures of the out-of-fold predictions, evaluated like a specialist's findings."""
    findings = []
    for probability in expit(fitted.out_of_fold).tolist():
        confidence = max(probability, 1.0 - probability)
        accepted, reason = specialist.acceptance.judge(confidence, None)
        findings.append(
            Finding(
                specialist=specialist.card.name,
                value=probability,
                text="",
                confidence=confidence,
                accepted=accepted,
                reason=reason,
            )
        )
    return judge(data.rows, findings)


def _figure(evaluation: Evaluation, measure: str) -> Figure:
    values = {"auc": evaluation.auc, "accuracy": evaluation.accuracy, "macro_f1": evaluation.macro_f1}
    return Figure(values[measure] or 0.0, evaluation.intervals[measure])


def _notes(
    job: Job[ScoreSection], fitted: FittedScorecard, threshold: Threshold, targets: np.ndarray, fold_of: np.ndarray
) -> dict[str, object]:
    """Return the report's notes beside the figures."""
    by_fold = [
        auroc(fitted.out_of_fold[out], targets[out]) for fold in np.unique(fold_of) if (out := fold_of == fold).any()
    ]
    areas = [area for area in by_fold if not np.isnan(area)] or [0.0]  # a fold of one outcome has none
    folds = f"{len(np.unique(fold_of))}-fold cross-validation"
    return {
        "positive": _predicted(job.section),
        "measured": folds if job.cross_validated else "held-out file",
        "auc_by_fold": {"mean": float(np.mean(areas)), "sd": float(np.std(areas))},
        "floor": {
            "model": "logistic regression on one-hot bins",
            "auc": auroc(fitted.floor, targets),
            "interval": list(auc_interval(fitted.floor, targets, seed=0)),
        },
        "left_out": dict(fitted.plan.left_out),
        "threshold": {"value": threshold.value, "coverage": threshold.coverage, **threshold.reason.described()},
    }
