"""Splitting rows so that what is measured was not learned.

The rows are first bound into units that stay together: the rows of a group, and texts that are duplicates
of each other. Units are then dealt out so that every part has each label's share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from coterie.errors import DataError
from coterie.learning.checks import count, fold_label, listing, nearest, quote
from coterie.learning.dataset import Dataset, Row
from coterie.learning.duplicates import Duplicate, duplicate_groups, near_duplicates

if TYPE_CHECKING:
    from scipy import sparse


Ints = np.ndarray
Floats = np.ndarray

_SORTED = 0.8
"""Share of neighbours in alphabetical order from which a label's rows count as sorted; in no order it is a half."""
_LARGEST_UNIT = 0.1
"""Share of the rows that duplicates may bind together; text links beyond it say more of the data than of copies."""


def split_dataset(dataset: Dataset, *, held_out: float, seed: int, by_label: bool = True) -> tuple[Dataset, Dataset]:
    """Split into rows to train on and rows held out, both in the file's order.

    Each label gives its share, groups stay whole, and no held-out row is a duplicate of a training row:
    duplicates go to one side, or, where they bind groups together that should be apart, the held-out ones
    are left out with a warning. A label always keeps a unit to train on.

    Args:
        dataset: The rows.
        held_out: Share of the rows to hold out, between 0 and 1.
        seed: Decides which.
        by_label: Each label gives its share; not where labels are replies, of which each is its own.

    Raises:
        DataError: the rows cannot be split, because they are all duplicates or of one group.
    """
    units, leaky = bind_rows(dataset.rows)
    table = _Table.of(dataset.rows if by_label else [replace(row, labels=()) for row in dataset.rows], units)
    if table.units < 2:
        raise DataError(
            f"{dataset.name} cannot be split: its {count(len(dataset), 'row')} are one group or repeat one text.",
            hint="Give held-out data of its own: test = FILE",
        )
    random = np.random.default_rng(seed)
    tries = [_choose(table, held_out, random) for _ in range(_tries(table))]
    chosen = min(tries, key=lambda units: table.distance(units, held_out))[units]
    train, test = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    if not leaky:
        return dataset.take(train.tolist()), dataset.take(test.tolist())
    return dataset.take(train.tolist()), _without_copies(dataset, train, test)


def folds(dataset: Dataset, k: int, seed: int, *, in_order: bool = False) -> Ints:
    """The fold of each row, 0 to k - 1, for cross-validation: (N,).

    Stratified by label; groups and duplicates share a fold (where duplicates would bind most of the groups
    together, only groups do). No fold is empty. Where each row has one label, a label of two units or more is
    never in one fold only, so it can always be trained.

    Args:
        dataset: The rows.
        k: How many folds.
        seed: Decides what is dealt at random.
        in_order: Rows of one label that stand near each other in the file often have one source (a writer, a day), so
            each label is cut into runs of the file's order instead of being dealt row by row: what is held out is
            then as far from the rest as new rows are (blocks; Roberts et al. 2017, "Cross-validation strategies for
            data with temporal, spatial, hierarchical, or phylogenetic structure"). Not where rows have groups, which
            say more, nor where texts are sorted, which puts like beside like whoever wrote them.

    Raises:
        DataError: there are fewer than k units to deal out.
    """
    units, _ = bind_rows(dataset.rows)
    table = _Table.of(dataset.rows, units)
    if not 2 <= k <= table.units:
        raise DataError(
            f"{dataset.name} cannot be dealt into {k} folds: {count(len(dataset), 'row')} make "
            f"{count(table.units, 'unit')} of groups and duplicates.",
            hint="Add rows, or groups.",
        )
    random = np.random.default_rng(seed)
    if in_order and _order_tells(dataset.rows):
        runs = _runs(dataset.rows, units, k, random)
        if len(np.unique(runs)) == k:
            _spread(table, runs, k)
            return np.asarray(runs[units])
    tries = [_deal(table, k, random) for _ in range(_tries(table))]
    dealt = min(tries, key=lambda dealt: sum(table.distance(dealt == fold, 1 / k) for fold in range(k)))
    _spread(table, dealt, k)
    return np.asarray(dealt[units])


def compare_datasets(train: Dataset, test: Dataset) -> tuple[str, ...]:
    """What makes figures on `test` doubtful: rows that occur in `train`, and labels that do not."""
    return (*shared_rows(train, test), *describe_unknown(test, train.label_names, train.name))


def find_copies(train: Sequence[Row], test: Sequence[Row]) -> list[Duplicate]:
    """Rows of `test` that occur in `train`: nearly the same text, or the same columns where there is no text."""
    by_text = near_duplicates([row.text for row in train], [row.text for row in test])
    known: dict[object, int] = {}
    for i, row in enumerate(train):
        known.setdefault(_columns_key(row), i)
    by_columns = [
        Duplicate(known[key], j, 1.0)
        for j, row in enumerate(test)
        if (key := _columns_key(row)) is not None and key in known
    ]
    return sorted([*by_text, *by_columns], key=lambda pair: pair.b)


# --- Units ---------------------------------------------------------------------------------------


def bind_rows(rows: Sequence[Row]) -> tuple[Ints, bool]:
    """The unit of each row (N,), and whether duplicates may still be in different units.

    Duplicates bind only while no unit grows past a tenth of the rows: boilerplate that recurs in every
    contract would otherwise make one unit of all.
    """
    groups = _group_numbers(rows)
    largest = max(_LARGEST_UNIT * len(rows), 1.0, float(np.bincount(groups).max(initial=0)))
    for nearly in (True, False):
        units = _merge(groups, _copy_numbers(rows, nearly=nearly))
        if np.bincount(units).max(initial=0) <= largest:
            return units, not nearly
    # Without groups every text is its own group, and the same text is never on two sides.
    return (groups, True) if any(row.group is not None for row in rows) else (units, True)


def _group_numbers(rows: Sequence[Row]) -> Ints:
    """A number a group; a row without one is its own group."""
    numbers: dict[object, int] = {}
    keys = (row.group if row.group is not None else i for i, row in enumerate(rows))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _copy_numbers(rows: Sequence[Row], *, nearly: bool) -> Ints:
    """A number a set of duplicates; rows without a text are compared by their columns."""
    by_text = duplicate_groups([row.text for row in rows], nearly=nearly)
    numbers: dict[object, int] = {}
    keys = (_columns_key(row) or ("text", int(n)) for row, n in zip(rows, by_text, strict=True))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _columns_key(row: Row) -> tuple[object, ...] | None:
    """What makes a row without a text the same as another one; None for a row with a text."""
    return None if row.text.strip() else ("columns", *sorted(row.columns.items()))


def _merge(a: Ints, b: Ints) -> Ints:
    """Numbers of the finest units that neither `a` nor `b` cuts."""
    from scipy import sparse  # noqa: PLC0415 - training alone needs it
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 - training alone needs it

    n = int(a.max(initial=-1)) + 1
    size = n + int(b.max(initial=-1)) + 1
    links = sparse.coo_array((np.ones(len(a), bool), (a, b + n)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    _, units = np.unique(component[a], return_inverse=True)
    return np.asarray(units, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """How many rows of which label are in each unit."""

    counts: sparse.csr_array  # (U, L)
    sizes: Ints  # (U,)
    totals: Ints  # (L,) rows of each label

    @property
    def units(self) -> int:
        return len(self.sizes)

    @classmethod
    def of(cls, rows: Sequence[Row], units: Ints) -> _Table:
        """Count labels by unit. Rows without a label count as a label of their own."""
        from scipy import sparse  # noqa: PLC0415 - training alone needs it

        names: dict[str | None, int] = {}
        pairs = [
            (int(unit), names.setdefault(label, len(names)))
            for row, unit in zip(rows, units, strict=True)
            for label in (row.labels or (None,))
        ]
        unit, label = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        shape = (int(units.max(initial=-1)) + 1, len(names))
        counts = sparse.coo_array((np.ones(len(unit), np.int64), (unit, label)), shape=shape).tocsr()
        return cls(counts=counts, sizes=np.bincount(units), totals=np.asarray(counts.sum(axis=0)).ravel())

    def of_unit(self, unit: int) -> tuple[Ints, Ints]:
        inside = slice(self.counts.indptr[unit], self.counts.indptr[unit + 1])
        return self.counts.indices[inside], self.counts.data[inside]

    def distance(self, chosen: Ints, share: float) -> float:
        """How far the labels' counts in the chosen units are from their share, squared, each by its own scale."""
        held = self.counts.T @ chosen.astype(np.int64)
        return float(((held - share * self.totals) ** 2 / self.totals).sum())

    def shuffled(self, random: np.random.Generator) -> Ints:
        """Units in random order, larger ones first: what is hard to place is placed while there is room."""
        order = random.permutation(self.units)
        return order[np.argsort(-self.sizes[order], kind="stable")]


# --- Dealing -------------------------------------------------------------------------------------


def _tries(table: _Table) -> int:
    """Random tries of which the best is kept: a few where units are few and large, one where they are many."""
    return max(1, min(20, 10_000 // table.units))


def _choose(table: _Table, share: float, random: np.random.Generator) -> Ints:
    """Which units are held out (U,): those that bring the labels' held-out counts nearest to their share."""
    chosen = np.zeros(table.units, dtype=bool)
    wanted = _whole_targets(table.totals, share, random)
    room = share * table.sizes.sum()
    left = table.totals.copy()
    for unit in random.permutation(table.units):
        labels, rows = table.of_unit(unit)
        # Change of the squared distance to the targets, each label by its own scale.
        change = float((rows * (rows - 2 * wanted[labels]) / np.maximum(1, table.totals[labels])).sum())
        if change < 0 and table.sizes[unit] <= 2 * room and (left[labels] > rows).all():
            chosen[unit] = True
            wanted[labels] -= rows
            left[labels] -= rows
            room -= table.sizes[unit]
    if not chosen.any():
        chosen[np.argmin(table.sizes)] = True
    return chosen


def _whole_targets(totals: Ints, share: float, random: np.random.Generator) -> Floats:
    """Rows to hold out of each label, rounded so that their sum keeps its share too (L,)."""
    exact = share * totals
    whole = np.floor(exact)
    missing = round(float(exact.sum() - whole.sum()))
    order = np.lexsort((random.permutation(len(totals)), -(exact - whole)))
    whole[order[:missing]] += 1
    return np.asarray(whole)


def _deal(table: _Table, k: int, random: np.random.Generator) -> Ints:
    """The fold of each unit (U,): each goes where its labels are rarest, then where there are fewest rows."""
    dealt = np.zeros(table.units, dtype=np.int64)
    held = np.zeros((k, len(table.totals)))
    sizes = np.zeros(k)
    rows_in_all = float(table.sizes.sum())
    for unit in table.shuffled(random):
        labels, rows = table.of_unit(unit)
        crowding = (held[:, labels] * (rows / table.totals[labels])).sum(axis=1) + sizes / rows_in_all / 1000
        fold = int(crowding.argmin())
        dealt[unit] = fold
        held[fold, labels] += rows
        sizes[fold] += table.sizes[unit]
    return dealt


def _order_tells(rows: Sequence[Row]) -> bool:
    """Whether rows that stand together may have one source: without groups, and in no order of the alphabet."""
    if any(row.group is not None for row in rows):
        return False
    last: dict[tuple[str, ...], str] = {}
    rising = pairs = 0
    for row in rows:
        before = last.get(row.labels)
        if before is not None:
            pairs += 1
            rising += before <= row.text
        last[row.labels] = row.text
    return pairs == 0 or 1 - _SORTED < rising / pairs < _SORTED


def _runs(rows: Sequence[Row], units: Ints, k: int, random: np.random.Generator) -> Ints:
    """The fold of each unit (U,): its label's rows in the file's order, cut into k runs of one length."""
    first = np.full(int(units.max()) + 1, -1, dtype=np.int64)
    for row in range(len(rows) - 1, -1, -1):
        first[units[row]] = row
    sizes = np.bincount(units)
    of_label: dict[tuple[str, ...], list[int]] = {}
    for unit in np.argsort(first, kind="stable"):
        of_label.setdefault(rows[first[unit]].labels[:1], []).append(int(unit))
    dealt = np.zeros(len(first), dtype=np.int64)
    for members in of_label.values():
        before = np.cumsum(sizes[members]) - sizes[members]
        # From another fold on for each label: labels of few rows would all begin with the first.
        dealt[members] = (before * k // sizes[members].sum() + random.integers(k)) % k
    return dealt


def _spread(table: _Table, dealt: Ints, k: int) -> None:
    """Move one unit of each label that has several and all in one fold; changes `dealt`."""
    by_label = table.counts.tocsc()
    for label in range(len(table.totals)):
        units = by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]
        if len(units) > 1 and len(set(dealt[units])) == 1:
            smallest = units[np.argmin(table.sizes[units])]
            dealt[smallest] = (dealt[smallest] + 1) % k


# --- Comparing -----------------------------------------------------------------------------------


def _without_copies(dataset: Dataset, train: Ints, test: Ints) -> Dataset:
    """The held-out rows that do not occur in training."""
    copies = {pair.b for pair in find_copies([dataset.rows[i] for i in train], [dataset.rows[i] for i in test])}
    kept = [int(i) for place, i in enumerate(test) if place not in copies]
    if not copies or not kept:
        return dataset.take(test.tolist())
    warning = f"{count(len(copies), 'held-out row')} left out because the text also occurs in a training row"
    return dataset.take(kept, warnings=[warning])


def shared_rows(train: Dataset, test: Dataset) -> list[str]:
    """What is wrong with figures on `test` rows that are also in `train`; nothing where none is."""
    copies = find_copies(train.rows, test.rows)
    if not copies:
        return []
    pair = next((pair for pair in copies if pair.similarity < 1), copies[0])
    same = sum(pair.similarity == 1 for pair in copies)
    found = f"{len(copies):,} of {count(len(test), 'row')} of {test.name} also in {train.name}"
    example = f"such as {_show(test.rows[pair.b])} and {_show(train.rows[pair.a])}"
    return [f"{found} ({same:,} word for word), {example}: figures on them flatter"]


def _show(row: Row) -> str:
    return f"{quote(row.text or dict(row.columns))} at line {row.line}"


def unknown_labels(test: Dataset, known: Collection[str]) -> dict[str, int]:
    """Labels of `test` that are not among those known, and on how many rows, the most frequent first."""
    found = Counter({label: n for label, n in test.label_counts.items() if label not in set(known)})
    return dict(found.most_common())


def describe_unknown(test: Dataset, known: Collection[str], place: str) -> list[str]:
    """`unknown_labels` in a sentence, with the label that was probably meant; none where all are known.

    Args:
        test: The rows.
        known: Labels that may be right.
        place: Where those come from.
    """
    unknown = unknown_labels(test, known)
    if not unknown:
        return []
    named = [f"{quote(label)} ({count(n, 'row')}{_meant(label, set(known))})" for label, n in unknown.items()]
    return [f"{count(len(unknown), 'label')} of {test.name} not in {place}: {listing(named)}"]


def _meant(label: str, known: set[str]) -> str:
    same = next((other for other in sorted(known) if fold_label(other) == fold_label(label)), None)
    near = same or nearest(label, sorted(known))
    return f", did you mean {near!r}?" if near else ""
