"""Fitting scorecards: boosted trees over pairs of columns, turned exactly into tables.

Bags of gradient-boosted trees, each tree limited to two columns (`interaction_cst="pairwise"`), are a model of order two
(Lou et al. 2013, "Accurate intelligible models with pairwise interactions"). Such a model is determined by its values
on one- and two-column changes from any row, so reading those off gives tables that equal the trees; the tables are
then centred by the training rows' marginals (Lengerich et al. 2020, "Purifying interaction effects").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedShuffleSplit

from coterie.engines import ColumnBins, TableHead, as_category, as_number
from coterie.errors import DataError
from coterie.types import Columns, Scalar

# Fixed a priori, none tuned on the rows a report is about; docs/log.md has what else was tried.
BAGS = 8
OUT_OF_BAG = 0.2
STEP, STAGES = 10, 30  # up to 300 trees, their number chosen out of bag in steps of ten
MOST_BINS = 16
MOST_VALUES = 60
FEWEST_ROWS = 5  # of a category's value that gets its own bin
MOST_PAIRED = 40  # columns that may form pairs, the strongest ones


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
        raise DataError(f"No column is left to score with: {left_out}.", hint="Give a CSV with feature columns.")
    return ColumnPlan(columns=tuple(columns), left_out=left_out)


def _plan_column(name: str, values: Sequence[Scalar]) -> ColumnBins | str:
    """The bins of a column, or why it cannot be used."""
    present = [value for value in values if as_category(value) is not None]
    counts = Counter(str(as_category(value)) for value in present)
    if len(counts) < 2:
        return "it has one value only"
    numbers = [number for value in present if (number := as_number(value)) is not None]
    if len(numbers) == len(present):
        return ColumnBins(name=name, kind="number", edges=_edges(np.array(numbers)))
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_VALUES]
    kept = sorted(value for value, n in common if n >= FEWEST_ROWS)
    if len(kept) < 2:
        return f"it looks like an identifier or free text ({len(counts)} values in {len(present)} rows)"
    return ColumnBins(name=name, kind="category", values=tuple(kept))


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
    return np.array([[column.place(row.get(column.name)).bin for column in columns] for row in rows]).reshape(len(rows), -1)


def fit_scorecard(columns: tuple[ColumnBins, ...], bins: np.ndarray, targets: np.ndarray, *, seed: int) -> TableHead:
    """A scorecard of binned rows (N, C) and targets (N,) of 0 and 1."""
    paired = _paired(columns, bins, targets)
    trees = _count_trees(columns, bins, targets, paired, seed)
    models = [
        _booster(columns, paired, trees, seed + bag).fit(_with_gaps(bins[rows]), targets[rows])
        for bag, (rows, _) in enumerate(_bags(bins, targets, seed))
    ]
    return _tabulate(columns, models, bins, paired)


def _bags(bins: np.ndarray, targets: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    split = StratifiedShuffleSplit(BAGS, test_size=OUT_OF_BAG, random_state=seed)
    return list(split.split(bins, targets))


def _paired(columns: Sequence[ColumnBins], bins: np.ndarray, targets: np.ndarray) -> Collection[int]:
    """Columns that may form pairs: all, or those whose bins tell most about the target."""
    if len(columns) <= MOST_PAIRED:
        return range(len(columns))
    overall = targets.mean()
    strength = []
    for j, column in enumerate(columns):
        n = np.bincount(bins[:, j], minlength=column.size)
        hits = np.bincount(bins[:, j], weights=targets, minlength=column.size)
        strength.append(float((n * (hits / np.maximum(n, 1) - overall) ** 2).sum()))
    return sorted(np.argsort(strength)[::-1][:MOST_PAIRED].tolist())


def _booster(columns: Sequence[ColumnBins], paired: Collection[int], trees: int, seed: int) -> HistGradientBoostingClassifier:
    alone = [{j} for j in range(len(columns)) if j not in paired]
    together = [set(pair) for pair in combinations(paired, 2)] or [{j} for j in paired]
    return HistGradientBoostingClassifier(
        max_iter=trees,
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


def _count_trees(
    columns: Sequence[ColumnBins], bins: np.ndarray, targets: np.ndarray, paired: Collection[int], seed: int
) -> int:
    """The number of trees with the least mean log loss out of bag."""
    loss = np.zeros(STAGES)
    for bag, (rows, out) in enumerate(_bags(bins, targets, seed)):
        model = _booster(columns, paired, STEP * STAGES, seed + bag).fit(_with_gaps(bins[rows]), targets[rows])
        for trees, logits in enumerate(model.staged_decision_function(_with_gaps(bins[out])), start=1):
            if trees % STEP == 0:
                z = logits.ravel()
                loss[trees // STEP - 1] += float(np.mean(np.logaddexp(0, z) - targets[out] * z))
    return STEP * (int(loss.argmin()) + 1)


def _tabulate(
    columns: tuple[ColumnBins, ...], models: Sequence[HistGradientBoostingClassifier], bins: np.ndarray, paired: Collection[int]
) -> TableHead:
    """Read the bag's mean log-odds off cell by cell, then centre."""
    sizes = [column.size for column in columns]
    anchor = np.array([np.bincount(bins[:, j]).argmax() for j in range(len(sizes))])
    pairs = list(combinations(sorted(paired), 2))
    grids = [anchor[None], *(_grid(anchor, sizes, (j,)) for j in range(len(sizes))), *(_grid(anchor, sizes, p) for p in pairs)]
    values = np.mean([model.decision_function(_with_gaps(np.vstack(grids))) for model in models], axis=0)
    base, *rest = np.split(values, np.cumsum([len(grid) for grid in grids])[:-1])
    main = [part - base[0] for part in rest[: len(sizes)]]
    tables = {
        (j, k): part.reshape(sizes[j], sizes[k]) - base[0] - main[j][:, None] - main[k][None]
        for (j, k), part in zip(pairs, rest[len(sizes) :], strict=True)
    }
    return _centred(columns, float(base[0]), main, tables, bins)


def _grid(anchor: np.ndarray, sizes: Sequence[int], changed: Sequence[int]) -> np.ndarray:  # (cells, C)
    """The anchor row with every combination of bins in the changed columns."""
    cells = np.indices([sizes[j] for j in changed]).reshape(len(changed), -1)
    grid = np.repeat(anchor[None], cells.shape[1], axis=0)
    grid[:, list(changed)] = cells.T
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
