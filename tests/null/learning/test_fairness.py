"""Groups of people side by side: the figures are those of the textbook, and nothing is concluded of a few rows."""

import math

import numpy as np
import pytest

from coterie.learning.fairness import fairness, find_proxies, group_names, share


def shares(*counts: tuple[str, int, int]):
    """Groups with so many rows, of which so many are approved; every outcome was good, nobody decides alone."""
    names = [name for name, n, _ in counts for _ in range(n)]
    probabilities = [0.2 if i < yes else 0.8 for _, n, yes in counts for i in range(n)]
    return fairness("sex", names, probabilities, [0] * len(names), [False] * len(names))


def test_wilson():
    """Wilson's interval as in Brown, Cai and DasGupta: 0.055 to 0.174 of 10 in 100."""
    value, interval, n = share([True] * 10 + [False] * 90)

    assert (value, n) == (0.1, 100)
    assert interval == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert share([False] * 20).interval == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert math.isnan(share([]).value)


@pytest.mark.parametrize(
    ("approved", "verdict"),
    [(300, "below"), (450, "undecided"), (590, "above")],
)
def test_four_fifths(approved, verdict):
    """Beside 600 of 1,000, half as many are below, all as many above, and three quarters of them are undecided."""
    groups = {group.name: group for group in shares(("a", 1000, 600), ("b", 1000, approved)).groups}

    assert groups["a"].verdict == "reference"
    assert groups["b"].verdict == verdict
    assert groups["b"].ratio == pytest.approx(approved / 600)


def test_the_ratio_s_interval():
    """Katz's: the ratio 0.5 of 30 in 100 to 60 in 100 lies between 0.356 and 0.702."""
    (_, other) = shares(("a", 100, 60), ("b", 100, 30)).groups

    assert other.ratio_interval == pytest.approx((0.3562, 0.7018), abs=1e-3)


def test_few_rows_say_nothing():
    """A group of 29 is neither the reference nor judged, whatever its share; nobody approved is no crash."""
    report = shares(("a", 29, 29), ("b", 100, 50), ("c", 100, 0), ("d", 3, 0))
    verdicts = {group.name: group.verdict for group in report.groups}

    assert verdicts == {"a": "too few", "b": "reference", "c": "below", "d": "too few"}
    assert report.below == ("c",)
    assert report.gap("approved") == 0.5
    assert shares(("a", 50, 0), ("b", 50, 0)).below == ()


def test_errors_by_group():
    """Refused wrongly is a share of the good, approved wrongly of the bad; unknown outcomes count in neither."""
    probabilities = [0.9, 0.1, 0.9, 0.1, 0.1, 0.9]
    report = fairness("g", ["x"] * 6, probabilities, [0, 0, 1, 1, 1, None], [True, True, True, False, False, False])
    (group,) = report.groups

    assert group.refused_wrongly[::2] == (0.5, 2)
    assert group.approved_wrongly == share([False, True, True])
    assert group.base[::2] == (0.6, 5)
    assert group.alone.value == 0.5
    assert group.mean == pytest.approx(0.5)


def test_json():
    """Plain values, with null where there is none."""
    first, *_ = shares(("a", 40, 20), ("b", 40, 30)).to_json()["groups"]

    assert first["approved"] == {"value": 0.5, "interval": pytest.approx([0.352, 0.648], abs=1e-3), "n": 40}
    assert first["approved_wrongly"]["value"] is None
    assert first["verdict"] == "undecided"


# --- Groups of values ----------------------------------------------------------------------------


def test_words_and_few_numbers_are_groups():
    """Their values; what is missing is a group."""
    assert group_names(["a", "b", None, ""]) == ["a", "b", "missing", "missing"]
    assert group_names([1, 2, "1"]) == ["1", "2", "1"]


def test_many_numbers_are_stretches():
    """Quartiles, or where they are cut; in the order of the numbers."""
    ages = list(range(20, 60))
    group_of_row = group_names([*ages, None])

    assert [group_of_row.count(name) for name in dict.fromkeys(group_of_row)] == [10, 10, 10, 10, 1]
    assert group_names([24, 25, 61, 60], [25, 60]) == ["below 25", "25 to below 60", "60 or more", "60 or more"]
    names = group_names([9.0, 100.0, 10.0, *ages], [10, 100])
    report = fairness("age", names, [0.1] * len(names), [0] * len(names), [True] * len(names))
    assert [group.name for group in report.groups] == ["below 10", "10 to below 100", "100 or more"]


# --- What gives an attribute away ----------------------------------------------------------------


def test_proxies():
    """A column that is the attribute tells it for sure, one that has half of it tells some, chance tells nothing."""
    random = np.random.default_rng(0)
    theirs = random.integers(2, size=600)
    half = np.where(random.random(600) < 0.5, theirs, random.integers(2, size=600))
    columns = {"same": theirs, "half": half, "chance": random.integers(4, size=600)}
    proxies = find_proxies("sex", [str(value) for value in theirs], columns, 0.3 * theirs + 0.7 * random.random(600))
    by_name = {proxy.column: proxy for proxy in proxies.columns}

    assert [proxy.column for proxy in proxies.columns] == ["same", "half", "chance"]
    assert by_name["same"].auc == 1.0
    assert 0.68 < by_name["half"].auc < 0.82
    assert by_name["chance"].interval.low < 0.5 < by_name["chance"].interval.high
    assert [proxy.column for proxy in proxies.telling] == ["same", "half"]
    assert proxies.together.auc > 0.99
    assert 0.7 < proxies.score.auc < 0.9


def test_a_score_that_is_lower_for_a_group_tells_it_too():
    """Which way it differs does not matter."""
    theirs = np.array([0, 1] * 100)
    proxies = find_proxies("sex", [str(value) for value in theirs], {"x": np.zeros(200, dtype=int)}, -1.0 * theirs)

    assert proxies.score.auc == 1.0
    assert proxies.columns[0].auc == pytest.approx(0.5, abs=0.1)


def test_an_attribute_of_one_value():
    """There is nothing to tell."""
    proxies = find_proxies("sex", ["a"] * 50, {"x": np.arange(50) % 3}, np.zeros(50))

    assert (proxies.columns, proxies.together, proxies.score) == ((), None, None)
