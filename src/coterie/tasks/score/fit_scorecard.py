"""Fitting scorecards: boosted trees over pairs of columns, turned exactly into tables.

Bags of gradient-boosted trees, each branch limited to two columns (`interaction_cst`), are a model of order two (Lou
et al. 2013, "Accurate intelligible models with pairwise interactions"). Such a model is determined by its values
on one- and two-column changes from any row, so reading those off gives tables that equal the trees; the tables are
then centred by the training rows' marginals (Lengerich et al. 2020, "Purifying interaction effects").
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedShuffleSplit

from coterie.engines.features import ColumnBins, TableHead, as_category, as_number
from coterie.errors import DataError
from coterie.types import Columns, Scalar

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
    """Which columns a scorecard looks at, and why not the others."""

    columns: tuple[ColumnBins, ...]
    left_out: Mapping[str, str]


def plan_columns(rows: Sequence[Columns], excluded: Mapping[str, str]) -> ColumnPlan:
    """Bins for each usable column.

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
    """Cuts between few distinct numbers, at quantiles of many."""
    distinct = np.unique(numbers)
    if len(distinct) <= MOST_BINS:
        cuts = (distinct[1:] + distinct[:-1]) / 2
    else:
        cuts = np.quantile(numbers, np.linspace(0, 1, MOST_BINS + 1)[1:-1])
    return tuple(float(cut) for cut in np.unique(cuts))


def bin_rows(columns: Sequence[ColumnBins], rows: Sequence[Columns]) -> np.ndarray:  # (N, C)
    """The bin of every value."""
    placed = [[column.place(row.get(column.name)).bin for column in columns] for row in rows]
    return np.array(placed, dtype=np.int64).reshape(len(rows), len(columns))


def fit_scorecard(columns: tuple[ColumnBins, ...], bins: np.ndarray, targets: np.ndarray, *, seed: int) -> TableHead:
    """A scorecard of binned rows (N, C) and targets (N,) of 0 and 1. Where all targets are alike, it is constant."""
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
    """The smoothed log-odds of the targets, whatever the columns say."""
    base = float(np.log((targets.sum() + 1) / (len(targets) - targets.sum() + 1)))
    return TableHead(columns=columns, base=base, main=tuple(np.zeros(column.size) for column in columns), pairs={})


def _bags(bins: np.ndarray, targets: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows in each bag and those out of it; all rows for both where a target is too rare to be divided."""
    if np.bincount(targets, minlength=2).min() < 2:
        return [(np.arange(len(targets)), np.arange(len(targets)))] * BAGS
    split = StratifiedShuffleSplit(BAGS, test_size=OUT_OF_BAG, random_state=seed)
    return list(split.split(bins, targets))


def _paired(columns: Sequence[ColumnBins], bins: np.ndarray, targets: np.ndarray) -> Collection[int]:
    """Columns that may form pairs: those whose bins tell most of the target, while there is room for their tables."""
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
    """Bins as the booster takes them: what is missing is NaN, and gets a side of its own."""
    return np.where(bins == 0, np.nan, bins)


def _learnable(bins: np.ndarray) -> np.ndarray:
    """The same for fitting; a column with nothing but gaps is constant instead, which the booster can bin."""
    return np.where((bins == 0).all(axis=0), 0.0, _with_gaps(bins))


def _count_trees(
    models: Sequence[HistGradientBoostingClassifier],
    bags: Sequence[tuple[np.ndarray, np.ndarray]],
    bins: np.ndarray,
    targets: np.ndarray,
) -> int:
    """The number of trees with the least mean log loss out of bag."""
    loss = np.zeros(STAGES)
    for model, (_, out) in zip(models, bags, strict=True):
        for trees, logits in enumerate(model.staged_decision_function(_with_gaps(bins[out])), start=1):
            if trees % STEP == 0:
                z = logits.ravel()
                loss[trees // STEP - 1] += float(np.mean(np.logaddexp(0, z) - targets[out] * z))
    return STEP * (int(loss.argmin()) + 1)


@dataclass(frozen=True)
class _Bagged:
    """The mean of the models, each cut after its first trees: what fitting so many in the first place would give."""

    models: Sequence[HistGradientBoostingClassifier]
    trees: int

    def log_odds(self, bins: np.ndarray) -> np.ndarray:  # (N, C) -> (N,)
        return np.asarray(np.mean([self._one(model, bins) for model in self.models], axis=0))

    def _one(self, model: HistGradientBoostingClassifier, bins: np.ndarray) -> np.ndarray:
        stages = model.staged_decision_function(_with_gaps(bins))
        return np.asarray(next(islice(stages, self.trees - 1, None))).ravel()


def _tabulate(columns: tuple[ColumnBins, ...], bagged: _Bagged, bins: np.ndarray, paired: Collection[int]) -> TableHead:
    """Read the mean log-odds off cell by cell, then centre."""
    sizes = [column.size for column in columns]
    anchor = np.array([np.bincount(bins[:, j]).argmax() for j in range(len(sizes))])
    pairs = list(combinations(paired, 2))
    changes = [(), *((j,) for j in range(len(sizes))), *pairs]
    values = np.concatenate(
        [bagged.log_odds(rows) for rows in _batches(_grid(anchor, sizes, each) for each in changes)]
    )
    cells = [math.prod(sizes[j] for j in each) for each in changes]
    (base,), *parts = np.split(values, np.cumsum(cells)[:-1])
    main = [part - base for part in parts[: len(sizes)]]
    tables = {
        (j, k): part.reshape(sizes[j], sizes[k]) - (base + main[j][:, None] + main[k][None])
        for (j, k), part in zip(pairs, parts[len(sizes) :], strict=True)
    }
    return _centred(columns, float(base), main, tables, bins)


def _batches(grids: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The grids one below the other, cut between grids where enough rows are together."""
    batch: list[np.ndarray] = []
    for grid in grids:
        batch.append(grid)
        if sum(map(len, batch)) >= _AT_ONCE:
            yield np.vstack(batch)
            batch = []
    if batch:
        yield np.vstack(batch)


def _grid(anchor: np.ndarray, sizes: Sequence[int], changed: Sequence[int]) -> np.ndarray:  # (cells, C)
    """The anchor row with every combination of bins in the changed columns, the last column fastest."""
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
    """Bin 0 of column j adds nothing."""
    main[j][0] = 0.0
    for (a, b), table in pairs.items():
        if a == j:
            table[0] = 0.0
        if b == j:
            table[:, 0] = 0.0
