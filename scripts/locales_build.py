"""Build `src/coterie/text/locales.json` from the Unicode CLDR, through Babel: how languages write numbers and dates.

By language: the decimal and group signs, the order of day, month and year, the names of months and of currencies and
their signs; what a region does otherwise is under its own tag (`en-GB`). Babel itself is no dependency of the product:
it keeps its data in pickles, 36 MB of them.

    pip install babel && python scripts/locales_build.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.languages import get_official_languages
from babel.localedata import locale_identifiers
from babel.numbers import get_currency_name, get_currency_symbol, get_territory_currencies, list_currencies

LANGUAGES = ["en", "de", "fr", "es", "pt", "it", "nl", "ja", "sv", "da", "no", "pl", "cs", "fi", "tr", "ru"]
NAMED = [
    "EUR",
    "USD",
    "GBP",
    "CHF",
    "JPY",
    "CNY",
    "CAD",
    "AUD",
    "NZD",
    "HKD",
    "SGD",
    "TWD",
    "INR",
    "BRL",
    "MXN",
    "SEK",
    "NOK",
    "DKK",
    "PLN",
    "CZK",
    "HUF",
    "RON",
    "TRY",
    "RUB",
    "KRW",
    "ZAR",
    "ILS",
]
TARGET = Path(__file__).parent.parent / "src" / "coterie" / "text" / "locales.json"
_SHORT = {
    "de": {"franken": "CHF"},
    "en": {"yen": "JPY", "pound sterling": "GBP", "pounds sterling": "GBP"},
    "fr": {"dollar us": "USD", "dollars us": "USD", "yens": "JPY"},
    "ja": {"\u5186": "JPY"},
    "pt": {"reais": "BRL"},
}
"""What CLDR calls by a longer name, and only one currency is called in that language."""


def main() -> None:
    """Write the tables."""
    regions = [Locale.parse(identifier) for identifier in locale_identifiers() if _is_kept(identifier)]
    table = {
        "signs": _by_tag(regions, _signs),
        "order": _by_tag(regions, _order),
        "symbols": _by_tag(regions, _symbols),
        "months": {language: _months(Locale.parse(language)) for language in LANGUAGES},
        "currencies": {language: _currencies(language) for language in LANGUAGES},
        "codes": sorted(code for code in list_currencies() if _is_tender(code)),
        "homes": {code: sign for code in list_currencies() if _is_tender(code) and (sign := _home(code))},
    }
    TARGET.write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n")
    print(f"{TARGET}: {TARGET.stat().st_size / 1e3:.0f} kB")


def _is_kept(identifier: str) -> bool:
    parts = identifier.split("_")
    return parts[0] in LANGUAGES and (len(parts) == 1 or (len(parts) == 2 and len(parts[1]) == 2))


def _tag(locale: Locale) -> str:
    return f"{locale.language}-{locale.territory}" if locale.territory else locale.language


def _by_tag(regions: list[Locale], of: Callable[[Locale], object]) -> dict[str, object]:
    """What `of` says of each language, and of each region that differs from its language."""
    by_tag = {_tag(locale): of(locale) for locale in regions}
    return {tag: value for tag, value in by_tag.items() if "-" not in tag or value != by_tag[tag.split("-")[0]]}


def _signs(locale: Locale) -> str:
    symbols = locale.number_symbols["latn"]
    return symbols["decimal"] + symbols["group"]


def _order(locale: Locale) -> str:
    pattern = re.sub(r"'[^']*'", "", locale.date_formats["short"].pattern)
    return "".join(dict.fromkeys(sign.lower() for sign in pattern if sign in "dMy"))


def _symbols(locale: Locale) -> dict[str, str]:
    """Currency signs that are no codes."""
    symbols = {get_currency_symbol(code, locale): code for code in NAMED}
    narrow = locale.territory and get_territory_currencies(locale.territory)
    if narrow:
        symbols[get_currency_symbol(narrow[0], locale)] = narrow[0]
    return {sign: code for sign, code in sorted(symbols.items()) if not re.fullmatch("[A-Z]{3}", sign)}


def _months(locale: Locale) -> dict[str, int]:
    months: dict[str, int] = {}
    for context in ("format", "stand-alone"):
        for width in ("wide", "abbreviated"):
            for number, name in locale.months[context][width].items():
                if re.search(r"[^\W\d]{3}", name):
                    months[name.casefold().rstrip(".")] = number
    return months


def _currencies(language: str) -> dict[str, str]:
    currencies: dict[str, str] = {}
    for code in NAMED:
        for count in (None, 1, 2, 5, 1.5, 1_000_000):
            currencies[get_currency_name(code, count=count, locale=language).casefold()] = code
    return currencies | _SHORT.get(language, {})


def _is_tender(code: str) -> bool:
    """Whether a territory uses it today."""
    return any(code in get_territory_currencies(territory) for territory in get_global("territory_currencies"))


def _home(code: str) -> str:
    """The decimal sign in the territory that issues a currency, where its languages agree on one."""
    territory = code[:2]
    signs = set()
    for identifier in locale_identifiers():
        try:
            locale = Locale.parse(identifier)
        except (UnknownLocaleError, ValueError):
            continue
        if locale.territory == territory and locale.language in _official(territory):
            signs.add(locale.number_symbols["latn"]["decimal"])
    return signs.pop() if len(signs) == 1 else ""


def _official(territory: str) -> set[str]:
    return {language.split("_")[0] for language in get_official_languages(territory, de_facto=True)}


if __name__ == "__main__":
    main()
