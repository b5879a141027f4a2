"""A replay as a page: its figures, its domains, nothing fetched, nothing taken for markup."""

from dataclasses import replace

import pytest

from coterie.policy.cost_quality import Aim
from labs.outcomes.page import replay_page
from labs.outcomes.replay import replay
from labs.outcomes.table import OutcomeTable

from .conftest import make_world


def named(outcomes, names):
    """The outcomes with a domain each: the made-up world's two kinds."""
    rows = [replace(row, domain=names["capital" not in row.prompt]) for row in outcomes.rows]
    return OutcomeTable(rows=tuple(rows), models=outcomes.models)


@pytest.fixture(scope="module")
def found():
    """A replay with an aim and domains, one of them with a name that wants to be markup."""
    world = make_world(120)
    return replay(named(world.outcomes, ("capitals", "<b>sums</b>")), world.vectors, aim=Aim(quality=0.7))


def test_each_domain_says_what_every_model_is_worth(found):
    """The small model knows the one kind and not the other, the generalist both; the routing follows."""
    by_name = {domain.name: domain for domain in found.domains}
    small, large = by_name["<b>sums</b>"].models

    assert sum(domain.rows for domain in found.domains) == found.rows
    assert small.quality < 0.5 < large.quality
    assert by_name["capitals"].models[0].quality > 0.8
    assert by_name["<b>sums</b>"].chosen.shares[1] > by_name["capitals"].chosen.shares[1]


def test_without_domains_there_is_no_table(read_page):
    """Where no row says what kind it is, nothing is made up."""
    world = make_world(40)
    other = replay(world.outcomes, world.vectors)

    assert other.domains == ()
    assert "By domain" not in read_page(replay_page(other, file="a.jsonl", conditions={})).texts("h2")


def test_an_interval_of_a_share_stays_within_0_and_1(found):
    """Scores are 0 to 1, and so are the ends of their intervals."""
    points = [*found.curve, *found.baselines, *(point for domain in found.domains for point in domain.models)]

    assert all(0 <= low <= high <= 1 for low, high in (point.interval for point in points if point.interval))


def test_the_page_has_curve_domains_and_conditions(found, read_page):
    """One chart, a table of each kind, where the policy stands, and what it takes to check it."""
    page = read_page(replay_page(found, file="a.jsonl", conditions={"seed": "7"}))

    assert page.names.count("svg") == 1
    assert page.names.count("polyline") == 2  # the policy's curve and the chains'
    assert page.texts("h1") == ["Replay of a.jsonl"]
    assert page.terms()["seed"] == "7"
    assert [row[0] for row in page.table(0)[1:]] == [point.name for point in found.baselines]
    assert {"By domain"} <= set(page.texts("h2"))
    assert page.texts("div", class_="verdict ")


def test_text_is_no_markup_and_nothing_is_loaded(found, read_page):
    """Names of files and domains are escaped; there is no script, no link, no image."""
    page = read_page(replay_page(found, file="<script>x</script>", conditions={"<i>": "<u>"}))

    page.assert_loads_nothing()
    assert not {"b", "i", "u"} & set(page.names)
    assert page.terms()["<i>"] == "<u>"
    assert any(row[0] == "<b>sums</b>" for number in range(4) for row in page.table(number))


def test_without_prices_the_share_of_the_generalist_takes_the_place_of_money(read_page):
    """Where no price is known, the axis counts how often the generalist is asked."""
    world = make_world(60, costs={"small": None, "large": None})
    page = read_page(replay_page(replay(world.outcomes, world.vectors), file="a.jsonl", conditions={}))

    assert "share that large answers" in page.texts("text", class_="axis middle")
    assert page.table(0)[1][2] == "unknown"
