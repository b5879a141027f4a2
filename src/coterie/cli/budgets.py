"""`coterie budgets`: how the limits of the network stand."""

from __future__ import annotations

import typer

from coterie.cli.output import Json, say, show_json, show_table


def budgets(context: typer.Context, *, as_json: Json = False) -> None:
    """Show each budget: its span, what was taken of which limit, and what is reserved for calls that run."""
    import asyncio

    from coterie.config.file import load_config
    from coterie.limits.limits import open_limits

    config = load_config(context.obj)
    opened = open_limits(config.budgets, context.obj)
    found = [(spent, config.budgets[spent.name]) for spent in opened.spending()]
    asyncio.run(opened.close())
    if as_json:
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
            for spent, section in found
        ]
        show_json({"budgets": rows})
        return
    if not found:
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
        for spent, section in found
    ]
    show_table(columns, shown)


def _of(taken: float, limit: float | None) -> dict[str, float | None]:
    return {"taken": taken, "limit": limit}


def _share(taken: str, limit: object) -> str:
    return taken if limit is None else f"{taken} of {limit:,}"
