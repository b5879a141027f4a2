"""`coterie report`: show the ledger; `coterie budgets`: show the use of the limits."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import configured, run, with_store
from coterie.cli.options import parse_since
from coterie.cli.output import Json, give, say, show_table
from coterie.runtime.files import write_bytes

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.config.operation import BudgetSection
    from coterie.limits.limits import Spending
    from coterie.store.sqlite import SQLiteStore
    from coterie.types import Ledger, LedgerSummary, SiteSummary


class By(StrEnum):
    """The grouping of a report's rows."""

    HOUR = "hour"
    DAY = "day"
    TENANT = "tenant"
    SPECIALIST = "specialist"
    MODEL = "model"


def _by(text: str | By) -> By:
    named = text.value if isinstance(text, By) else text.strip().lower()
    for dimension in By:
        if named in {dimension.value, f"{dimension.value}s"}:
            return dimension
    raise typer.BadParameter(f"{named!r} is not one of {', '.join(By)}")


def report(
    context: typer.Context,
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help='Only requests since then: "24h", "7d", or a date such as 2026-11-01 (UTC).'),
    ] = None,
    by: Annotated[
        By,
        typer.Option(
            parser=_by,
            metavar="|".join(By),
            help="What the rows are: hours or days (UTC), tenants, specialists or models.",
            show_default=True,
        ),
    ] = By.DAY,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as a page with charts that needs no network.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Show the ledger.

    Requests and their outcomes, latency, energy and money, what the generalist would have cost, and, where there is
    feedback, what a correct answer cost. Unknown figures are counted separately, never taken for 0.
    """
    from coterie.accounting.breakdown import breakdown_csv
    from coterie.accounting.page import ledger_page

    folder: Path = context.obj
    config = configured(folder)
    now = time.time()
    document = _document(folder, config, since=parse_since(since, now=now), by=by, now=now)
    rows: list[Mapping[str, Any]] = document["rows"]
    if csv is not None:
        write_bytes(csv, breakdown_csv(rows, by=by.value).encode())
    if html is not None:
        date = datetime.fromtimestamp(now, UTC).isoformat(sep=" ", timespec="minutes")
        period = "from the beginning" if since is None else f"since {since}"
        write_bytes(html, ledger_page(document, network=config.network.name, since=period, date=date).encode())
    give(document, lambda: _show(document, config.network.name, by), as_json=as_json)


def _document(folder: Path, config: Config, *, since: float, by: By, now: float) -> dict[str, Any]:
    """Return the document that `--json` prints."""
    from coterie.accounting.breakdown import Reporting, breakdown_json, summary_json
    from coterie.types import Ledger, LedgerRow

    async def read(store: SQLiteStore) -> tuple[LedgerSummary, Ledger, dict[str, int], Sequence[SiteSummary]]:
        ledger = await store.ledger(since=since, by=by.value)
        ever = await store.ledger(by="specialist") if ledger.trainings else ledger
        answers = {row.key: row.accepted for row in ever.rows} if ledger.trainings else {}
        return await store.summary(since=since), ledger, answers, await store.sites(since=since)

    nothing = (_nothing(), Ledger(total=LedgerRow(key="total"), rows=()), dict[str, int](), ())
    summary, ledger, answers, sites = with_store(folder, config, read) or nothing
    cores = config.accounting.cores or os.cpu_count() or 1
    reporting = Reporting(by=by.value, since=since, now=now, cores=cores, accounting=config.accounting)
    summed: dict[str, Any] = summary_json(summary, currency=config.accounting.currency)
    counts = {name: sum(getattr(site, name) for site in sites) for name in ("asked", "accepted", "zero_shot")}
    summed |= {"questions": {"sites": len(sites), **counts}} if sites else {}
    return summed | breakdown_json(ledger, reporting, answers)


def _nothing() -> LedgerSummary:
    from coterie.types import LedgerSummary

    return LedgerSummary(
        requests=0,
        accepted=0,
        abstained=0,
        escalated=0,
        p50_ms=None,
        p95_ms=None,
        joules=0.0,
        joules_kind="estimated",
        cost=Decimal(0),
        counterfactual_cost=None,
    )


def _show(document: Mapping[str, Any], network: str, by: By) -> None:
    show_table(["", ""], _overview(document), title=f"Ledger of {network}")
    if document["rows"]:
        show_table([by.value, *_COLUMNS], [_line(row, document["currency"]) for row in document["rows"]])


def _overview(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the ledger in words; an unknown figure or a share with a zero denominator is a dash."""
    requests, currency = document["requests"], document["currency"]

    def share(key: str) -> str:
        count = document[key]
        return f"{count:,} ({count / requests:.1%})" if requests else f"{count:,}"

    def time_of(key: str) -> str:
        return "-" if document[key] is None else f"{document[key]:,.1f} ms"

    def money(key: str, known_key: str) -> str:
        whole, part = document[key], document["total"][known_key]
        if whole is None:  # of some requests it is not known
            return f"at least {_amount(part, currency)}" if part else "unknown"
        return _amount(whole, currency)

    return [
        ("requests", f"{requests:,}"),
        ("accepted", share("accepted")),
        ("abstained", share("abstained")),
        ("escalated", share("escalated")),
        ("latency p50", time_of("p50_ms")),
        ("latency p95", time_of("p95_ms")),
        ("energy", f"{document['joules']:,.2f} J {document['joules_kind']}"),
        ("cost", money("cost", "known_cost")),
        ("the generalist for everything", money("counterfactual_cost", "counterfactual_cost")),
        *_further(document["total"], currency),
        *_questions(document.get("questions")),
    ]


def _amount(value: float, currency: str) -> str:
    from coterie.accounting.breakdown import format_money

    return format_money(Decimal(str(value)), currency)


def _questions(counts: Mapping[str, int] | None) -> list[tuple[str, str]]:
    """Return the lines about typed questions, if any was asked; `coterie decisions` lists the questions."""
    if counts is None:
        return []
    shown = f"{counts['asked']:,} at {counts['sites']:,} sites, {counts['accepted']:,} accepted"
    return [("typed questions", f"{shown} (`coterie decisions`)")]


def _further(total: Mapping[str, Any], currency: str) -> list[tuple[str, str]]:
    """Return lines that exist only with feedback, unknown prices, or a known carbon intensity."""
    lines = []
    if total["unpriced"]:
        known_cost = total["known_cost"]
        others = "" if known_cost is None else f"; the others {_amount(known_cost, currency)}"
        lines.append(("of unknown cost", f"{total['unpriced']:,}{others}"))
    if total["joules_low"] != total["joules_high"]:
        lines.append(("energy, range", f"{total['joules_low']:,.2f} to {total['joules_high']:,.2f} J"))
    if total["grams_co2"] is not None:
        lines.append(("CO2", f"{total['grams_co2']:,.3f} g"))
    if total["judged"]:
        lines.append(("right, where judged", f"{total['correct']:,} of {total['judged']:,}"))
    return lines


_COLUMNS = ("requests", "here", "energy J", "cost", "unpriced", "J/answer", "cost/answer", "right", "J/right")


def _line(row: Mapping[str, Any], currency: str) -> tuple[str, ...]:
    def figure(key: str) -> str:
        return "-" if row[key] is None else f"{row[key]:,.3g}"

    return (
        str(row["key"]),
        f"{row['requests']:,}",
        "-" if row["local_share"] is None else f"{row['local_share']:.1%}",
        f"{row['joules']:,.2f}",
        "-" if row["known_cost"] is None else _amount(row["known_cost"], currency),
        f"{row['unpriced']:,}",
        figure("joules_per_answer"),
        figure("cost_per_answer"),
        "-" if not row["judged"] else f"{row['correct']:,} of {row['judged']:,}",
        figure("joules_per_correct"),
    )


# --- Budgets -------------------------------------------------------------------------------------


def budgets(context: typer.Context, *, as_json: Json = False) -> None:
    """Show each budget: its period, the use of each limit, and the amount reserved for running calls."""
    from coterie.limits.limits import open_limits
    from coterie.store.opening import database_of

    config = configured(context.obj)
    opened = open_limits(config.budgets, context.obj, address=database_of(config))
    spending = [(spent, config.budgets[spent.name]) for spent in opened.spending()]
    run(opened.close())
    rows = [
        {
            "name": spent.name,
            "per": section.per,
            "period": spent.period,
            "tenant": spent.whose if section.each == "tenant" else section.tenant,
            "key": spent.whose if section.each == "key" else section.key,
            "requests": _of(spent.requests, section.requests),
            "tokens": _of(spent.tokens, section.tokens),
            "money": _of(float(spent.money), None if section.money is None else float(section.money)),
            "joules": _of(spent.joules, section.joules),
            "reserved": float(spent.held),
            "reserved_joules": spent.held_joules,
        }
        for spent, section in spending
    ]
    give({"budgets": rows}, lambda: _show_budgets(spending), as_json=as_json)


def _show_budgets(spending: Sequence[tuple[Spending, BudgetSection]]) -> None:
    if not spending:
        say("There are no budgets: [budgets.NAME] in coterie.toml makes one.")
        return
    columns = ["budget", "span", "whose", "requests", "tokens", "money", "reserved", "joules"]
    shown = [
        (
            spent.name,
            spent.period,
            " ".join(filter(None, [section.tenant, section.key, spent.whose])) or "all",
            _share(f"{spent.requests:,}", section.requests),
            _share(f"{spent.tokens:,}", section.tokens),
            _share(f"{spent.money:.4f}", section.money),
            f"{spent.held:.4f}",
            _share(f"{spent.joules:,.1f}", section.joules),
        )
        for spent, section in spending
    ]
    show_table(columns, shown)


def _of(taken: float, limit: float | None) -> dict[str, float | None]:
    return {"taken": taken, "limit": limit}


def _share(taken: str, limit: object) -> str:
    return taken if limit is None else f"{taken} of {limit:,}"
