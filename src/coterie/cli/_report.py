"""`coterie report`: what the ledger says."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.errors import InputError

from ._bridge import with_store
from ._output import Json, show_json, show_table

if TYPE_CHECKING:
    from coterie.types import LedgerSummary

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def report(
    context: typer.Context,
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help='Only requests since then: "24h", "7d", or a date such as 2026-11-01 (UTC).'),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what the ledger says.

    Requests and how they ended, latency, energy and money, and what the generalist would have cost for all of them.
    """
    from coterie.accounting import summary_json
    from coterie.config import load_config

    folder: Path = context.obj
    config = load_config(folder)
    start = parse_since(since, now=time.time())
    summary = with_store(folder, config, lambda store: store.summary(since=start)) or _nothing()
    document = summary_json(summary, currency=config.accounting.currency)
    if as_json:
        show_json(document)
    else:
        show_table(["", ""], _rows(document), title=f"Ledger of {config.network.name}")


def _nothing() -> LedgerSummary:
    """The summary of a ledger that has not been begun."""
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


def _rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The ledger in words; a share of nothing, like a figure that is not known, is a dash."""
    requests, currency = document["requests"], document["currency"]

    def share(key: str) -> str:
        count = document[key]
        return f"{count:,} ({count / requests:.1%})" if requests else f"{count:,}"

    def time_of(key: str) -> str:
        return "-" if document[key] is None else f"{document[key]:,.1f} ms"

    def money(key: str) -> str:
        return "unknown" if document[key] is None else f"{document[key]:,.6f} {currency}"

    return [
        ("requests", f"{requests:,}"),
        ("accepted", share("accepted")),
        ("abstained", share("abstained")),
        ("escalated", share("escalated")),
        ("latency p50", time_of("p50_ms")),
        ("latency p95", time_of("p95_ms")),
        ("energy", f"{document['joules']:,.2f} J {document['joules_kind']}"),
        ("cost", money("cost")),
        ("the generalist for everything", money("counterfactual_cost")),
    ]


def parse_since(since: str | None, *, now: float) -> float:
    """A time as seconds since the epoch: an age (`24h`), a date or a date with time; None is the beginning."""
    if since is None:
        return 0.0
    if age := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", since.strip()):
        return now - float(age[1]) * _SECONDS[age[2]]
    try:
        moment = datetime.fromisoformat(since.strip())
    except ValueError:
        raise InputError(
            f"--since is {since!r}, neither an age nor a date.", hint='Such as "24h", "7d", "2026-11-01T09:30".'
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
