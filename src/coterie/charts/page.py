"""A page of cards: one HTML file that fetches nothing and runs no script."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from coterie.charts.style import STYLE, series_style
from coterie.charts.svg import element


def page(title: str, body: Iterable[str], *, colours: Iterable[str]) -> str:
    """The whole file.

    Args:
        title: As text.
        body: What stands on it, as markup.
        colours: The classes of its charts' series.
    """
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += element("title", escape(title)) + element("style", STYLE + series_style(tuple(colours)))
    whole = element("html", element("head", head) + element("body", element("main", "".join(body))), lang="en")
    return f"<!doctype html>\n{whole}\n"


def card(title: str, caption: str, *content: str) -> str:
    """A part of it: heading and caption as text, an empty caption left out, content as markup."""
    said = element("p", escape(caption), class_="caption") if caption else ""
    return element("section", element("h2", escape(title)) + said + "".join(content), class_="card")
