"""The ledger's report as a page: what is drawn, and the values in its tables."""

import json
from decimal import Decimal

import pytest

from coterie.accounting.breakdown import Reporting, breakdown_json, format_money, row_json, summary_json
from coterie.accounting.page import ledger_page
from coterie.config.operation import AccountingSection
from coterie.types import Ledger, LedgerRow, LedgerSummary, Training


def make_page(read_page, rows, *, by="tenant", total=None, trainings=(), network="shop"):
    total = total or LedgerRow(key="total", requests=sum(row.requests for row in rows))
    ledger = Ledger(total=total, rows=tuple(rows), began=0.0, trainings=tuple(trainings))
    reporting = Reporting(by=by, since=0.0, now=2e9, cores=2, accounting=AccountingSection())
    document = {"currency": "USD", **breakdown_json(ledger, reporting, {"triage": 4})}
    return read_page(ledger_page(document, network=network, since="from the beginning", date="2026-11-28"))


def charts(page):
    """Headings of the cards with a chart, in order."""
    return [
        title for title in page.texts("h2") if title in {"Requests", "Findings", "Energy", "Money", "Correct answers"}
    ]


@pytest.mark.parametrize(
    ("row", "drawn"),
    [
        (LedgerRow(key="a", requests=1, unpriced=1), ["Requests", "Energy"]),
        (LedgerRow(key="a", requests=1, cost=Decimal(1)), ["Requests", "Energy", "Money"]),
        (LedgerRow(key="a", requests=1, unpriced=1, judged=2), ["Requests", "Energy", "Correct answers"]),
    ],
)
def test_known_figures_are_drawn(read_page, row, drawn):
    """A chart of figures that no row has is left out; a share of 0 is a figure."""
    assert charts(make_page(read_page, [row])) == drawn


def test_a_series_of_zeros_is_left_out_beside_another(read_page):
    """Costs of 0 are drawn only where there is nothing else to draw."""
    free = LedgerRow(key="a", requests=1)
    dear = LedgerRow(key="b", requests=1, compared=1, counterfactual_cost=Decimal(2))

    assert len(columns(make_page(read_page, [free]), "c0")) == 1 + 1  # no request accepted, and no cost
    money = make_page(read_page, [free, dear])
    heights = [float(column["height"]) for column in columns(money, "large")]
    assert sum(height > 0 for height in heights) == 1
    assert len(columns(money, "c0")) == 2  # of the requests: the cost of 0 is left out


def columns(page, colour):
    return [a for name, a in page.seen if name == "rect" and a["class"] == f"column {colour}"]


def test_values_of_the_tables(read_page):
    """Each row and the total is in the table, formatted; unknown figures are dashes, and columns of them left out."""
    rows = [
        LedgerRow(
            key="<b>acme</b>", requests=1200, accepted=900, escalated=300, joules=12.5, p50_ms=4.0, cost=Decimal(1)
        ),
        LedgerRow(key="b", requests=1, unpriced=1),
    ]
    training = Training(specialist="triage", version="v", time=1.0, seconds=41.2, cpu_seconds=70.0, joules=702.0)
    page = make_page(read_page, rows, trainings=[training])
    table = [dict(zip(page.table(0)[0], cells, strict=True)) for cells in page.table(0)[1:]]

    assert [row["tenant"] for row in table] == ["<b>acme</b>", "b", "total"]
    assert table[0]["requests"] == "1,200"
    assert (table[0]["local"], table[0]["energy, J"], table[0]["cost"]) == ("75.0%", "12.5", "1.00")
    assert (table[1]["cost"], table[1]["cost unknown"]) == ("-", "1")
    assert "CO2, g" not in table[0]
    assert page.table(1)[1][:4] == ["triage", "1", "41.2", "702 estimated"]


def test_nothing_is_loaded_and_names_are_escaped(read_page):
    """A network's or a tenant's name never becomes an element."""
    page = make_page(read_page, [LedgerRow(key="<script>x</script>", requests=1)], network="<b>shop</b>")

    page.assert_loads_nothing()
    assert "b" not in page.names
    assert "<b>shop</b>" in page.texts("h1")[0]


@pytest.mark.parametrize(
    ("keys", "ticks"),
    [
        (["2026-11-03", "2026-11-04", "2026-12-01"], ["11-03", "11-04", "12-01"]),
        (["2025-12-31", "2026-01-01", "2026-01-02"], ["2025-12-31", "2026-01-01", "2026-01-02"]),
    ],
)
def test_ticks_of_days(read_page, keys, ticks):
    """The year is written where the days lie in two, and left out where it is the same."""
    page = make_page(read_page, [LedgerRow(key=key, requests=1, joules=1.0) for key in keys], by="day")
    shown = [t for c in ("tick middle", "tick middle lower") for t in page.texts("text", class_=c)]

    assert set(shown) == set(ticks)


# --- The totals as JSON.


SUMMARY = LedgerSummary(
    requests=7,
    accepted=4,
    abstained=2,
    escalated=1,
    p50_ms=12.3456,
    p95_ms=99.0,
    joules=0.1 + 0.2,
    joules_kind="estimated",
    cost=Decimal("0.1234567891234"),
    counterfactual_cost=None,
)


def test_shape():
    """The keys scripts rely on, in this order; money rounded to nine places, unknown money null."""
    text = json.dumps(summary_json(SUMMARY, currency="EUR"))

    assert text == (
        '{"requests": 7, "accepted": 4, "abstained": 2, "escalated": 1, "p50_ms": 12.346, "p95_ms": 99.0, '
        '"joules": 0.3, "joules_kind": "estimated", "cost": 0.123456789, "counterfactual_cost": null, '
        '"currency": "EUR"}'
    )


@pytest.mark.parametrize("cost", [Decimal(0), Decimal("1E-30"), Decimal("1E+20"), Decimal("0.000000001")])
def test_any_money_is_a_number(cost):
    """Amounts of any size are plain JSON numbers."""
    summary = LedgerSummary(**{**vars(SUMMARY), "cost": cost, "p50_ms": None, "p95_ms": None})

    document = json.loads(json.dumps(summary_json(summary, currency="USD"), allow_nan=False))

    assert document["cost"] == pytest.approx(float(cost), abs=1e-9)
    assert document["p50_ms"] is None


def test_money_for_people_has_three_digits_and_no_exponent():
    """An amount is shown with three significant digits, however small, and an unknown one as unknown."""
    assert format_money(Decimal("0.0001220666673194444441525"), "USD") == "0.000122 USD"
    assert format_money(Decimal("0.0000000621448"), "USD") == "0.0000000621 USD"
    assert format_money(Decimal("12.5"), "EUR") == "12.50 EUR"
    assert format_money(Decimal(0), "USD") == "0.00 USD"
    assert format_money(None, "USD") == "unknown"


def test_where_no_cost_is_known_the_row_has_none():
    """Steps without a price cost what nobody knows, which is not nothing; beside known ones they are counted apart."""
    reporting = Reporting(by="day", since=0.0, now=1.0, cores=2, accounting=AccountingSection())
    costs = [
        row_json(LedgerRow(key="a", requests=3, unpriced=unpriced, cost=cost), reporting, seconds=None)["known_cost"]
        for unpriced, cost in [(3, Decimal(0)), (1, Decimal("0.5")), (0, Decimal(0))]
    ]

    assert costs == [None, 0.5, 0.0]
