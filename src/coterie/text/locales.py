"""Differences between languages and regions in writing numbers, dates and money.

`locales.json` is built from the Unicode CLDR by `scripts/locales_build.py`; a tag without a table of its own uses that
of its language. `tables.json` is written by hand: words by language that this package looks up.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from coterie.text.language import base

LANGUAGES = ("en", "de", "fr", "es", "pt", "it", "nl", "ja")
"""Languages that every table of `coterie.text` covers."""


@cache
def _tables(file: str = "locales.json") -> Mapping[str, Any]:
    return json.loads((files("coterie.text") / file).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def table(name: str) -> Any:  # noqa: ANN401 - tables of several kinds
    """Return a table of `tables.json`, by language."""
    return _tables("tables.json")[name]


def _of(table: str, language: str | None) -> Any:  # noqa: ANN401 - tables of several kinds
    tag = (language or "").replace("_", "-")
    by_tag = _tables()[table]
    parts = tag.split("-")
    exact = by_tag.get("-".join([base(tag), *(part.upper() for part in parts[1:2])]))
    return exact if exact is not None else by_tag.get(base(tag))


def decimal_sign(language: str | None) -> str | None:
    """Return the decimal sign of a language, `.` or `,`; None if it is unknown."""
    signs = _of("signs", language)
    return signs[0] if signs else None


def groups_by_space(language: str | None) -> bool:
    """Return whether a plain space may separate thousands in a language."""
    return decimal_sign(language) == ","


def date_order(language: str | None) -> str | None:
    """Return the order of day, month and year in figures (`dmy`, `mdy`, `ymd`); None if the region decides."""
    tag = (language or "").replace("_", "-")
    if tag.casefold() == "en":  # 05/06/2024 is June in London and May in New York
        return None
    order: str | None = _of("order", tag)
    return order


def currency_signs(language: str | None) -> Mapping[str, str]:
    """Return the currencies of a language's own signs, and of its region's: `$` is CAD in `en-CA`."""
    own, region = _of("symbols", base(language)) or {}, _of("symbols", language) or {}
    return {**own, **region}


@cache
def currency_names() -> Mapping[str, str]:
    """Return the currencies by their names in any language, in lower case."""
    return {name: code for names in _tables()["currencies"].values() for name, code in names.items()}


@cache
def currency_codes() -> frozenset[str]:
    """Return the codes of ISO 4217 that are in use today."""
    return frozenset(_tables()["codes"])


def home_decimal(currency: str) -> str | None:
    """Return the decimal sign in the country of a currency; None if its languages differ, as with the euro."""
    sign: str | None = _tables()["homes"].get(currency)
    return sign


@cache
def months() -> Mapping[str, int]:
    """Return the numbers of months by their names and abbreviations in any language.

    Names are in lower case without a full stop; marks may be left out. No name means two months in two of the languages
    (a test checks this).
    """
    by_name = {name: number for names in _tables()["months"].values() for name, number in names.items()}
    bare = {re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFD", name)): n for name, n in by_name.items()}
    return {**bare, **by_name, "sept": 9, "maerz": 3}
