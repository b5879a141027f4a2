"""Scorecards: equal to the trees they are read off, on data of every shape."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from coterie.errors import DataError
from coterie.tasks.score import fit as scorecard
from coterie.tasks.score.fit import (
    _Bagged,
    _bags,
    _booster,
    _with_gaps,
    bin_rows,
    fit_scorecard,
    plan_columns,
)
from coterie.types import Prompt


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few and short bags: what is tested does not depend on their number."""
    monkeypatch.setattr(scorecard, "BAGS", 2)
    monkeypatch.setattr(scorecard, "STAGES", 3)
    with threadpool_limits(1):  # as in training
        yield


def fit(rows, targets, *, excluded=()):
    """Plan, bins and card of some rows."""
    plan = plan_columns(rows, dict.fromkeys(excluded, "excluded"))
    bins = bin_rows(plan.columns, rows)
    return plan, bins, fit_scorecard(plan.columns, bins, np.asarray(targets), seed=0)


def split(rows, label="default"):
    """Feature columns and targets."""
    return [{k: v for k, v in row.items() if k not in {label, "note"}} for row in rows], [row[label] for row in rows]


def trees(plan, bins, targets):
    """The bagged trees that a card is read off."""
    targets, columns = np.asarray(targets), range(len(plan.columns))
    bags = _bags(bins, targets, 0)
    models = [
        _booster(plan.columns, columns, bag).fit(_with_gaps(bins[rows]), targets[rows])
        for bag, (rows, _) in enumerate(bags)
    ]
    return _Bagged(models, scorecard._count_trees(models, bags, bins, targets))


@pytest.mark.parametrize("missing", [False, True])
def test_equals_the_trees(applicants, missing):
    """In every cell, seen in training or not, the card's log-odds are those of the trees."""
    rows, targets = split(applicants(150))
    if missing:
        rows = [{**row, "income": None} if i % 4 == 0 else row for i, row in enumerate(rows)]
    plan, bins, card = fit(rows, targets)
    random = np.random.default_rng(0)
    low = [0 if column.gaps else 1 for column in plan.columns]
    cells = np.column_stack([random.integers(a, c.size, 300) for a, c in zip(low, plan.columns, strict=True)])

    ours = [card.base + card.parts(cell).sum() for cell in cells.tolist()]

    np.testing.assert_allclose(ours, trees(plan, bins, targets).log_odds(cells), atol=1e-9)
    assert card.pairs


def test_cutting_trees_is_training_fewer(applicants):
    """The first trees of a longer boosting are the trees of a shorter one, to the bit."""
    rows, targets = split(applicants(100))
    plan, bins, _ = fit(rows, targets)
    long = _booster(plan.columns, range(len(plan.columns)), 0)
    short = _booster(plan.columns, range(len(plan.columns)), 0).set_params(max_iter=12)
    for model in (long, short):
        model.fit(_with_gaps(bins), np.asarray(targets))

    np.testing.assert_array_equal(_Bagged([long], 12).log_odds(bins), short.decision_function(_with_gaps(bins)))


def test_zero_is_the_average_row(applicants):
    """Each column's parts average to zero over the training rows, and the base is the rows' mean log-odds."""
    rows, targets = split(applicants(150))
    _, bins, card = fit(rows, targets)
    parts = np.array([card.parts(row) for row in bins.tolist()])
    main = np.array([[table[b] for table, b in zip(card.main, row, strict=True)] for row in bins.tolist()])

    np.testing.assert_allclose(main.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(parts.mean(axis=0), 0.0, atol=0.1)  # a pair's parts average to 0 cell by cell only


def test_missing_counts_as_average_where_training_had_none(applicants):
    """A value that is missing or unknown adds nothing, alone or in a pair, if training never saw such a one."""
    rows, targets = split(applicants(150))
    plan, _, card = fit(rows, targets)

    for row in rows[:5]:
        parts = card.contributions(Prompt(columns={**row, "home": "castle"}))
        assert parts["home"] == 0.0
        assert card.contributions(Prompt(columns={**row, "home": None})) == parts
    assert [column.gaps for column in plan.columns] == [False, False, False]


def test_missing_has_an_effect_where_training_had_it(applicants):
    """If those who leave the income out default more often, leaving it out raises the odds."""
    rows, targets = split(applicants(200))
    rows = [
        {**row, "income": None} if y and i % 2 else row for i, (row, y) in enumerate(zip(rows, targets, strict=True))
    ]
    plan, _, card = fit(rows, targets)

    assert next(column for column in plan.columns if column.name == "income").gaps
    assert card.contributions(Prompt(columns={**rows[0], "income": None}))["income"] > 0.05


def test_the_largest_effect_is_found(applicants):
    """A lower income raises the log-odds, as in the process that made the data."""
    rows, targets = split(applicants(300))
    _, _, card = fit(rows, targets)

    poor, rich = (card.contributions(Prompt(columns={**rows[0], "income": x}))["income"] for x in (15, 45))
    assert poor > rich


def test_plan_says_why_columns_are_left_out():
    """Constant, empty, identifying and excluded columns are left out with the reason in words."""
    rows = [
        {"x": i % 7, "same": "a", "none": None, "blank": " ", "id": f"id-{i}", "age": i, "nan": float("nan")}
        for i in range(40)
    ]
    plan = plan_columns(rows, {"age": "protected attribute", "unheard": "excluded"})

    assert [column.name for column in plan.columns] == ["x"]
    assert plan.left_out == {
        "age": "protected attribute",
        "same": "it has one value only",
        "none": "it is empty",
        "blank": "it is empty",
        "nan": "it is empty",
        "id": "it looks like an identifier or free text (40 values in 40 rows)",
    }


def test_no_column_left():
    """Rows of which nothing may be used are refused with every reason."""
    with pytest.raises(DataError, match=r"age: protected attribute; same: it has one value only"):
        plan_columns([{"age": i, "same": 1} for i in range(9)], {"age": "protected attribute"})


def test_bins_of_numbers():
    """Few values are cut between each other, many at quantiles; numbers written as text are numbers."""
    few, many = plan_columns([{"few": str(i % 3), "many": i / 7} for i in range(200)], {}).columns

    assert few.edges == (0.5, 1.5)
    assert many.kind == "number"
    assert len(many.edges) == 15


def test_high_cardinality_keeps_the_frequent_values():
    """Of a category with hundreds of values the frequent ones get bins, and the rest count as rare."""
    values = [f"v{i}" for i in range(100) for _ in range(6)] + [f"once{i}" for i in range(100)]
    (column,) = plan_columns([{"code": value} for value in values], {}).columns

    assert len(column.values) == 60
    assert column.gaps
    assert column.place("once3").bin == 0


def test_wide_and_fat_tables_stay_bounded(monkeypatch):
    """With hundreds of columns, or many values, only the strongest columns form pairs, within the cells allowed."""
    random = np.random.default_rng(0)
    targets = random.integers(2, size=80)
    rows = [{f"c{j}": int(x) for j, x in enumerate(random.integers(4, size=120))} | {"strong": int(y)} for y in targets]
    monkeypatch.setattr(scorecard, "MOST_CELLS", 400)

    plan, _, card = fit(rows, targets)
    used = {column for pair in card.pairs for column in pair}
    names = [column.name for column in plan.columns]

    assert len(plan.columns) == 121
    assert sum(table.size for table in card.pairs.values()) <= 400
    assert names.index("strong") in used or not used
    assert len(scorecard._paired(plan.columns, bin_rows(plan.columns, rows), targets)) <= 40


@pytest.mark.parametrize(
    ("rows", "targets"),
    [
        ([{"x": i} for i in range(10)], [0, 1] * 5),
        ([{"x": i} for i in range(10)], [0] * 9 + [1]),
        ([{"x": i} for i in range(10)], [1] * 10),
        ([{"x": i % 2 == 0, "y": None if i < 9 else 1} for i in range(12)], [0, 0, 1] * 4),
        ([{"x": 10.0**i, "y": -i} for i in range(-20, 20)], [0, 1] * 20),
        ([{"x": "a" if i % 2 else "b"} for i in range(20)], [0, 1] * 10),
    ],
    ids=["ten rows", "one positive", "one outcome", "booleans", "magnitudes", "gives it away"],
)
def test_small_and_odd_data(rows, targets):
    """Ten rows, a single positive, one outcome only, huge magnitudes: a card of finite numbers, not an error."""
    _, bins, card = fit(rows, targets)

    assert all(np.isfinite(card.base + card.parts(row).sum()) for row in bins.tolist())
    assert all(np.isfinite(table).all() for table in (*card.main, *card.pairs.values()))


def test_a_fold_without_a_value_that_the_plan_has(applicants):
    """A column that is empty in the rows at hand, though the plan knows values of it, changes nothing."""
    rows, targets = split(applicants(60))
    plan = plan_columns(rows, {})
    bins = bin_rows(plan.columns, [{**row, "home": None, "income": None} for row in rows])

    card = fit_scorecard(plan.columns, bins, np.asarray(targets), seed=0)
    assert np.isfinite(card.base)
