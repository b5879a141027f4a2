"""Templates, and their filters that format figures."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib import resources

from jinja2 import Environment

from coterie.accounting.breakdown import format_money
from coterie.console import charts
from coterie.reports.pages import UNKNOWN, environment

THEMES = ("auto", "light", "dark")
STATIC: Mapping[str, str] = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "dagre.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Static files of pages, with their media types; nothing else is served."""


@cache
def static(name: str) -> bytes:
    """Return the content of a static file."""
    return (resources.files("coterie.console") / "static" / name).read_bytes()


@cache
def version_of(name: str) -> str:
    """Return the version in a static file's address; it changes with the content, so browsers can cache for ever."""
    return f"{name}?v={hashlib.sha256(static(name)).hexdigest()[:10]}"


def render(template: str, **values: object) -> str:
    """Render a page, or a part of one."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    made = environment("coterie.console")
    made.filters |= {
        "ago": ago,
        "count": lambda value: UNKNOWN if value is None else f"{value:,}",
        "day": lambda value: _time(value, "%Y-%m-%d"),
        "energy": energy,
        "milliseconds": milliseconds,
        "money": money,
        "percent": lambda value: UNKNOWN if value is None else f"{value:.0%}" if value in {0, 1} else f"{value:.1%}",
        "plain": plain,
        "unquoted": unquoted,
        "short": lambda value: value[:8],
        "figure": lambda value, places=3: UNKNOWN if value is None else f"{value:.{places}f}",
        "time": lambda value: _time(value, "%Y-%m-%d %H:%M:%S"),
        "bytes": size,
        "amount": lambda value: f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.4g}",
    }
    made.globals |= {"charts": charts, "static": version_of, "max": max, "min": min, "len": len, "zip": zip}
    return made


def _time(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else datetime.fromtimestamp(value, UTC).strftime(form)


def unquoted(text: str) -> str:
    """Return the text in a JSON text, without quotes and escapes; any other value as it is written."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) and value.strip() else text


_NUMBER = re.compile(r"-?\d+\.\d{4,}(?:[Ee]-?\d+)?")
_DIGEST = re.compile(r"[0-9a-f]{32,64}")


def plain(value: object, most: int = 80) -> str:
    """Format a value of an entry: names with their values, lists; a digest is shortened."""
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(key)}: {plain(item)}" if item else plain(key) for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    text = str(value)
    if _NUMBER.fullmatch(text):
        return charts.figure(float(text))
    if _DIGEST.fullmatch(text):
        return f"{text[:10]}…"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def ago(value: float | None, now: float) -> str:
    """Format the age of a time, in the largest unit with at least one."""
    if value is None:
        return "never"
    seconds = max(now - value, 0)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return "just now"


def milliseconds(value: float | None) -> str:
    """Format milliseconds with three digits."""
    if value is None:
        return UNKNOWN
    if value >= 10_000:
        return f"{value / 1000:,.1f} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def energy(joules: float | Decimal | None) -> str:
    """Format joules, or kilowatt-hours for large values."""
    if joules is None:
        return UNKNOWN
    value = float(joules)
    if value >= 3_600_000:
        return f"{value / 3_600_000:,.2f} kWh"
    if value >= 10_000:
        return f"{value / 1000:,.1f} kJ"
    return f"{value:,.0f} J" if value >= 100 else f"{value:.2f} J"


def money(amount: Decimal | None, currency: str) -> str:
    """Format an amount; below a thousandth, in millionths."""
    if amount is None or not amount or abs(amount) >= Decimal("0.001"):
        return format_money(amount, currency)
    return f"{amount * 1_000_000:.3g} µ{currency}"


def size(count: int) -> str:
    """Format bytes in the unit that leaves three digits."""
    if not count:
        return "0 B"
    power = min(int(math.log10(count) // 3), 3)
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"
