"""The folds that calibration looks at, where rows are few."""

import numpy as np
import pytest

from coterie.learning.dataset import Dataset, Row
from coterie.learning.examples import FOLDS, cut_folds, deal_folds


def dataset(labels: int, per_label: int, *, groups: int = 0) -> Dataset:
    """Rows that have nothing in common, `groups` of them in all if any."""
    rows = [
        Row(
            text=f"{label} {i} {label * 1_000 + i:b}",
            labels=(f"l{label:03}",),
            group=f"g{i % groups}" if groups else None,
        )
        for label in range(labels)
        for i in range(per_label)
    ]
    return Dataset(name="rows", rows=tuple(rows), sha256="")


@pytest.mark.parametrize(("labels", "each", "pieces"), [(20, 5, 20), (20, 10, 20), (150, 8, 15), (150, 10, 10)])
def test_few_rows_a_label_are_cut_into_more_folds(labels, each, pieces):
    """Every fold becomes up to four, of one size, and no piece has rows of two folds."""
    data = dataset(labels, each)
    folds = deal_folds(data, FOLDS, 0)
    cut = cut_folds(data, folds, 0)

    sizes = np.unique(cut, return_counts=True)[1]
    assert len(sizes) == pieces
    assert sizes.max() - sizes.min() <= labels // FOLDS
    assert all(len(set(folds[cut == piece])) == 1 for piece in np.unique(cut))


@pytest.mark.parametrize(("labels", "each"), [(20, 11), (400, 6)])
def test_many_rows_are_left_as_they_were(labels, each):
    """Many rows a label, or many in all: there is nothing to gain, or it would take long."""
    data = dataset(labels, each)

    assert cut_folds(data, deal_folds(data, FOLDS, 0), 0) is None


def test_groups_are_not_cut():
    """Rows of one group are in one piece; a fold of one group stays whole."""
    data = dataset(20, 8, groups=6)
    cut = cut_folds(data, deal_folds(data, FOLDS, 0), 0)

    assert len(np.unique(cut)) == 6
    assert all(len({row.group for row, piece in zip(data.rows, cut, strict=True) if piece == one}) == 1 for one in cut)
