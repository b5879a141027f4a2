"""The totals as JSON."""

import json
from decimal import Decimal

import pytest

from coterie.accounting.breakdown import Reporting, format_money, row_json, summary_json
from coterie.config.accounting import AccountingSection
from coterie.types import LedgerRow, LedgerSummary

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
