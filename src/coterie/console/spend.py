"""Money and energy by day, tenant, specialist and model, compared with the large model; budgets and what is left."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from coterie.config.operation import BudgetSection
from coterie.console.charts import Band, columns
from coterie.console.visits import Visit
from coterie.limits.limits import Spending, StoredLimits
from coterie.types import LedgerRow, Totals

_DAY = 86_400.0
_SMALL = 0.001
"""Money per day below which millionths are shown."""
SPANS: Mapping[str, int] = {"1d": 1, "7d": 7, "30d": 30, "90d": 90, "365d": 365}


async def show_spend(visit: Visit) -> Response:
    """Show the spending: of all tenants for callers who may read counters, else of the caller's tenant."""
    now = visit.gateway.network.clock()
    span = visit.query("span", "30d")
    days = SPANS.get(span, 30)
    whole = visit.may("metrics")
    hours = days == 1
    since = (now // 3600 - 23) * 3600 if hours else (now // _DAY - days + 1) * _DAY
    totals = await visit.reads.totals(since=since, tenant=None if whole else visit.caller.tenant, hours=hours)
    budgets = _budgets(visit) if whole else []
    return await visit.page(
        "spend.html.j2",
        title="Spend and energy",
        totals=totals,
        tables=[
            ("Tenant", totals.tenants if whole else ()),
            ("Specialist", totals.specialists),
            ("Model", totals.models),
        ],
        graphs=await visit.aside(_charts, totals, visit.console.currency, _keys(since, now, hours=hours)),
        budgets=budgets,
        spans=list(SPANS),
        span=span if span in SPANS else "30d",
        whole=whole,
        now=now,
    )


def _keys(since: float, now: float, *, hours: bool) -> list[str]:
    """Return every hour or day of a period, including those without a request, so that gaps are visible."""
    form, step = ("%Y-%m-%d %H:00", 3600) if hours else ("%Y-%m-%d", int(_DAY))
    return [datetime.fromtimestamp(at, UTC).strftime(form) for at in range(int(since), int(now) + 1, step)]


def _charts(totals: Totals, currency: str, labels: list[str]) -> dict[str, Any]:
    """Return columns over time: outcomes of requests, energy, and money beside the large model's cost."""
    rows = {row.key: row for row in totals.times}
    shown = [rows.get(label, LedgerRow(key=label)) for label in labels]

    def band(name: str, class_: str, field: str, times: float = 1) -> Band:
        return Band(name, class_, [float(getattr(row, field)) * times for row in shown])

    most = max([float(max(row.cost, row.counterfactual_cost)) for row in shown], default=0.0)
    times, unit = (1, currency) if most >= _SMALL else (1_000_000, f"µ{currency}")
    statuses = [
        band("answered here", "c0", "accepted"),
        band("by the large model", "c1", "escalated"),
        band("not answered", "c2", "abstained"),
    ]
    charts: dict[str, Any] = {
        "unit": unit,
        "requests": columns(labels, statuses, description="Requests by time and how they ended"),
        "energy": columns(
            labels,
            [band("energy, kJ", "c0", "joules", 0.001)],
            description="Energy by time in kilojoules",
            show="{:,.3g}",
        ),
        "money": columns(
            labels, [band(f"spent, {unit}", "c0", "cost", times)], description="Money spent by time", show="{:,.3g}"
        ),
    }
    if totals.total.compared:
        charts["counterfactual"] = columns(
            labels,
            [band(f"the large model alone, {unit}", "c3", "counterfactual_cost", times)],
            description="What the large model alone would have cost, by time",
            show="{:,.3g}",
        )
    return charts


def _budgets(visit: Visit) -> list[tuple[Spending, BudgetSection, list[tuple[str, float, float]]]]:
    """Return each budget with the use of each limit."""
    limits = visit.gateway.network.limits
    if not isinstance(limits, StoredLimits):
        return []
    spending = []
    for spent in limits.spending():
        section = visit.config.budgets.get(spent.name)
        if section is None:
            continue
        taken = [
            (unit, float(getattr(spent, unit)), float(limit))
            for unit in ("requests", "tokens", "money", "joules")
            if (limit := getattr(section, unit)) is not None
        ]
        spending.append((spent, section, taken))
    return spending
