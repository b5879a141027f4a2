"""`coterie budgets`: how the limits of the network stand."""

from __future__ import annotations

import typer

from ._output import Json, say, show_json, show_table


def budgets(context: typer.Context, *, as_json: Json = False) -> None:
    """Show each budget: its span, what was taken of which limit, and what is reserved for calls that run."""
    import asyncio

    from coterie.config import load_config
    from coterie.governance import open_budgets

    config = load_config(context.obj)
    opened = open_budgets(config.budgets, context.obj)
    found = opened.spending()
    asyncio.run(opened.close())
    if as_json:
        rows = [
            {
                "name": spent.name,
                "per": config.budgets[spent.name].per,
                "period": spent.period,
                "tenant": config.budgets[spent.name].tenant,
                "key": config.budgets[spent.name].key,
                "requests": _of(spent.requests, config.budgets[spent.name].requests),
                "tokens": _of(spent.tokens, config.budgets[spent.name].tokens),
                "money": _of(float(spent.money), _float(config.budgets[spent.name].money)),
                "reserved": float(spent.held),
            }
            for spent in found
        ]
        show_json({"budgets": rows})
        return
    if not found:
        say("There are no budgets: [budgets.NAME] in coterie.toml makes one.")
        return
    columns = ["budget", "span", "whose", "requests", "tokens", "money", "reserved"]
    rows_shown = []
    for spent in found:
        section = config.budgets[spent.name]
        whose = " ".join(filter(None, [section.tenant, section.key])) or "all"
        taken = (
            _share(f"{spent.requests:,}", section.requests),
            _share(f"{spent.tokens:,}", section.tokens),
            _share(f"{spent.money:.4f}", section.money),
        )
        rows_shown.append((spent.name, spent.period, whose, *taken, f"{spent.held:.4f}"))
    show_table(columns, rows_shown)


def _of(taken: float, limit: float | None) -> dict[str, float | None]:
    return {"taken": taken, "limit": limit}


def _float(value: object) -> float | None:
    return None if value is None else float(str(value))


def _share(taken: str, limit: object) -> str:
    return taken if limit is None else f"{taken} of {limit:,}"
