from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.errors import DataError
from coterie.learning.dataset import Dataset, Row
from coterie.learning.splits import compare_datasets, folds, near_duplicates, split_dataset


def dataset(rows, name="train.csv"):
    return Dataset(name=name, rows=tuple(rows), sha256="0" * 64)


def word(n):
    """A text like no other: its number spelled in letters, three times over."""
    letters = "".join(chr(97 + int(digit)) for digit in str(n))
    return " ".join(f"{first}{letters}{last}" for first, last in ("xy", "qz", "wv"))


def plain(n=200, labels=4):
    """Distinct texts with labels in turn."""
    return dataset(Row(text=word(i), labels=(f"l{i % labels}",), line=i + 2) for i in range(n))


def grouped(n=300, groups=30, labels=5):
    """Distinct texts with random labels in random groups."""
    rng = np.random.default_rng(0)
    return dataset(
        Row(text=word(i), labels=(f"l{rng.integers(labels)}",), group=f"g{rng.integers(groups)}") for i in range(n)
    )


def test_split_keeps_every_row_and_each_labels_share():
    """Together the two sides are the file, and each label is held out at its share, in the file's order."""
    data = plain()
    train, held = split_dataset(data, held_out=0.2, seed=3)

    assert sorted(row.line for row in (*train.rows, *held.rows)) == [row.line for row in data.rows]
    assert held.label_counts == dict.fromkeys(data.label_names, 10)
    assert [row.line for row in held.rows] == sorted(row.line for row in held.rows)
    assert held.sha256 == data.sha256


def test_split_depends_on_the_seed_and_on_nothing_else():
    """The same seed gives the same rows, another one others."""
    first, again, other = (split_dataset(plain(), held_out=0.2, seed=seed)[1] for seed in (1, 1, 2))

    assert first == again
    assert first.rows != other.rows


def test_duplicates_are_on_one_side():
    """No held-out text occurs in training, verbatim or nearly."""
    texts = [
        f"{word(i // 3)} and a long tail that all of these texts have {word(i // 3)}" + "!" * (i % 3)
        for i in range(300)
    ]
    data = dataset(Row(text=text, labels=(f"l{i % 2}",)) for i, text in enumerate(texts))
    train, held = split_dataset(data, held_out=0.3, seed=0)

    assert not near_duplicates(train.texts, held.texts)
    assert 60 <= len(held) <= 120


def test_groups_are_on_one_side():
    """A group is never split."""
    train, held = split_dataset(grouped(), held_out=0.2, seed=0)

    assert not {row.group for row in train.rows} & {row.group for row in held.rows}
    assert 0.15 <= len(held) / 300 <= 0.25


def test_boilerplate_does_not_bind_all_groups():
    """A text that is in every group leaves the held-out side with a warning, and groups stay apart."""
    rows = []
    for group in range(20):
        rows.append(Row(text="This agreement is governed by the law", labels=("law",), group=f"g{group}"))
        rows += [Row(text=word(group * 10 + i), labels=(f"l{i % 3}",), group=f"g{group}") for i in range(9)]
    train, held = split_dataset(dataset(rows), held_out=0.2, seed=0)

    assert len(train) == 160
    assert len(held) == 36
    assert held.warnings == ("4 held-out rows left out because the text also occurs in a training row",)


def test_rows_that_cannot_be_split_are_refused():
    """One group, or one text again and again, has no held-out part."""
    with pytest.raises(DataError, match="cannot be split: its 20 rows are one group"):
        split_dataset(
            dataset([Row(text=word(i), labels=(f"l{i % 2}",), group="g") for i in range(20)]), held_out=0.2, seed=0
        )
    with pytest.raises(DataError, match="repeat one text"):
        split_dataset(dataset([Row(text="the same", labels=(f"l{i % 2}",)) for i in range(20)]), held_out=0.2, seed=0)


def test_rare_labels_stay_in_training():
    """A label with two rows is held out at most once, one with a single row never."""
    rows = [Row(text=word(i), labels=(f"rare{i // 2}",)) for i in range(60)]
    train, _ = split_dataset(dataset([*rows, Row(text="lonely", labels=("single",))]), held_out=0.5, seed=0)

    assert set(train.label_names) == {*(f"rare{i}" for i in range(30)), "single"}


def test_applicants_with_equal_columns_are_duplicates():
    """Rows without a text are the same when their columns are."""
    rows = [Row(text="", labels=(str(i % 2),), columns={"x": i % 10, "y": None}) for i in range(100)]
    train, held = split_dataset(dataset(rows), held_out=0.2, seed=0)

    assert not {row.columns["x"] for row in train.rows} & {row.columns["x"] for row in held.rows}


def test_folds_are_stratified_and_whole():
    """Each fold has its share of each label, and the same seed gives the same folds."""
    data = plain()
    dealt = folds(data, 5, 0)

    for label in data.label_names:
        in_folds = Counter(int(f) for f, row in zip(dealt, data.rows, strict=True) if label in row.labels)
        assert set(in_folds.values()) == {10}
    assert (dealt == folds(data, 5, 0)).all()
    assert (dealt != folds(data, 5, 1)).any()


def test_folds_keep_groups_whole():
    """A group is in one fold, folds have about the same size."""
    data = grouped()
    dealt = folds(data, 5, 0)

    for group in {row.group for row in data.rows}:
        assert len({int(f) for f, row in zip(dealt, data.rows, strict=True) if row.group == group}) == 1
    assert np.bincount(dealt).min() >= 45


LABEL_SETS = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcdef"), min_size=0, max_size=2).map(lambda s: tuple(dict.fromkeys(s))),
        st.sampled_from([None, "g1", "g2", "g3", "g4"]),
    ),
    min_size=6,
    max_size=40,
)


@given(LABEL_SETS, st.integers(2, 5), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_folds_hold_their_promises_on_any_rows(rows, k, seed):
    """No fold is empty, groups are whole, and a label in two units or more is never in one fold only."""
    data = dataset(Row(text=word(i), labels=labels, group=group) for i, (labels, group) in enumerate(rows))
    units = [row.group or f"row {i}" for i, row in enumerate(data.rows)]
    if len(set(units)) < k:
        with pytest.raises(DataError, match="cannot be dealt"):
            folds(data, k, seed)
        return
    dealt = folds(data, k, seed).tolist()

    assert set(dealt) == set(range(k))
    assert len(set(zip(units, dealt, strict=True))) == len(set(units))
    for label in data.label_names:
        places = {(unit, fold) for unit, fold, row in zip(units, dealt, data.rows, strict=True) if label in row.labels}
        if len(places) >= 2 and all(len(row.labels) < 2 for row in data.rows):
            assert len({fold for _, fold in places}) >= 2


@given(LABEL_SETS, st.floats(0.05, 0.6), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_splits_hold_their_promises_on_any_rows(rows, share, seed):
    """Both sides have rows, no row is lost and groups are whole."""
    data = dataset(Row(text=word(i), labels=labels, group=group, line=i) for i, (labels, group) in enumerate(rows))
    if len({row.group or i for i, row in enumerate(data.rows)}) < 2:
        return
    train, held = split_dataset(data, held_out=share, seed=seed)

    assert len(train)
    assert len(held)
    assert len(train) + len(held) == len(data)
    assert not {row.group for row in train.rows if row.group} & {row.group for row in held.rows if row.group}


def test_comparing_names_copies_and_unknown_labels():
    """Rows of the test file that were learned, and labels that were not, are told with lines and the likely meaning."""
    train = dataset(
        [Row(text="my card is lost", labels=("card_lost",), line=2), Row(text="an other one", labels=("loan",), line=3)]
    )
    test = dataset(
        [
            Row(text="My card is lost!", labels=("card_lost",), line=2),
            Row(text="entirely different", labels=("Card_Lost",), line=3),
            Row(text="what is this", labels=(), line=4),
        ],
        name="test.csv",
    )

    copies, unknown = compare_datasets(train, test)

    assert copies == (
        "1 of 3 rows of test.csv also in train.csv (1 word for word), such as 'My card is lost!' at line 2 "
        "and 'my card is lost' at line 2: figures on them flatter"
    )
    assert unknown == "1 label of test.csv not in train.csv: 'Card_Lost' (1 row, did you mean 'card_lost'?)"
    assert compare_datasets(train, dataset([Row(text="fresh", labels=("loan",))])) == ()


def test_many_groups_are_fast():
    """Twenty thousand groups of one row are dealt in a second or so."""
    data = dataset(Row(text=f"{word(i)} {i}", labels=(f"l{i % 77}",), group=str(i)) for i in range(20_000))

    assert np.ptp(np.bincount(folds(data, 5, 0))) <= 5


# --- Folds in the file's order -------------------------------------------------------------------


def shuffled(n=200, labels=4, seed=5):
    """Texts of random letters, so in no order and nothing alike, with labels in turn."""
    letters = np.random.default_rng(seed).integers(97, 123, (n, 40))
    return dataset(
        Row(text="".join(map(chr, row)), labels=(f"l{i % labels}",), line=i + 2) for i, row in enumerate(letters)
    )


def runs_of(data, dealt, label):
    """How often the fold changes between a label's rows, in the file's order."""
    own = [int(fold) for row, fold in zip(data.rows, dealt, strict=True) if row.labels == (label,)]
    return sum(a != b for a, b in pairwise(own))


def test_folds_in_order_are_runs():
    """Each label's rows are cut into five runs of the file's order, of one length; another seed moves their numbers."""
    data = shuffled()
    dealt = folds(data, 5, 0, in_order=True)

    for label in data.label_names:
        assert runs_of(data, dealt, label) == 4
        own = [fold for row, fold in zip(data.rows, dealt, strict=True) if row.labels == (label,)]
        assert set(Counter(own).values()) == {10}
    assert runs_of(data, folds(data, 5, 0), "l0") > 20
    assert (folds(data, 5, 1, in_order=True) != dealt).any()
    assert (folds(data, 5, 0, in_order=True) == dealt).all()


def test_duplicates_share_a_fold_in_order_too():
    """A copy at the end of the file is in the fold of its first."""
    rows = list(shuffled().rows)
    data = dataset([*rows, *rows[:20]])
    dealt = folds(data, 5, 0, in_order=True)

    assert (dealt[:20] == dealt[200:]).all()


@pytest.mark.parametrize(
    "data",
    [dataset(sorted(shuffled().rows, key=lambda row: row.text)), grouped()],
    ids=["sorted", "grouped"],
)
def test_an_order_that_tells_nothing_is_not_used(data):
    """Texts in alphabetical order are dealt as if there were none, and groups say more than the order."""
    assert (folds(data, 5, 0, in_order=True) == folds(data, 5, 0)).all()


@given(st.lists(st.integers(0, 3), min_size=5, max_size=40), st.integers(2, 5), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_no_fold_is_empty_in_order_either(labels, k, seed):
    """However few rows a label has, every fold has some, and a label of two rows or more is in two folds."""
    data = dataset(Row(text=word(100 - i), labels=(f"l{label}",)) for i, label in enumerate(labels))
    dealt = folds(data, k, seed, in_order=True)

    assert set(dealt) == set(range(k))
    for label, count in data.label_counts.items():
        own = {int(fold) for row, fold in zip(data.rows, dealt, strict=True) if row.labels == (label,)}
        assert len(own) > 1 or count == 1


def test_rows_with_a_label_of_their_own():
    """Replies are labels that nobody shares: the split takes its share of rows all the same, where it is told so."""
    data = dataset(Row(text=word(n), labels=(f"reply {n}",)) for n in range(50))
    train, held_out = split_dataset(data, held_out=0.2, seed=0, by_label=False)

    assert (len(train), len(held_out)) == (40, 10)
    assert all(row.labels for row in held_out.rows)
    assert len(split_dataset(data, held_out=0.2, seed=0)[1]) == 1  # by label, each keeps a row to train on
