"""Build `src/coterie/text/locales.json` from the Unicode CLDR, through Babel: how languages write numbers and dates.

By language: the decimal and group signs, the order of day, month and year, the names of months and of currencies and
their signs, units of time and powers of ten; what a region does otherwise is under its own tag (`en-GB`). Babel itself
is no dependency of the product: it keeps its data in pickles, 36 MB of them. It has no grammatical cases of units
(`14 dni`, `po 14 dniach`), so these come from the CLDR's own JSON.

    pip install babel
    npm pack cldr-units-full && mkdir units && tar xzf cldr-units-full-*.tgz -C units
    npm pack cldr-dates-full && mkdir dates && tar xzf cldr-dates-full-*.tgz -C dates
    python scripts/locales_build.py --units units/package --dates dates/package
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.languages import get_official_languages
from babel.localedata import locale_identifiers
from babel.numbers import get_currency_name, get_currency_symbol, get_territory_currencies, list_currencies

LANGUAGES = ["en", "de", "fr", "es", "pt", "it", "nl", "ja", "sv", "da", "no", "pl", "cs", "fi", "tr", "ru"]
"""Languages whose names of currencies count in texts of every language."""
OWN = ["ca", "hu", "ro", "bg", "uk", "el", "hr", "sk", "sl", "lt", "lv", "et", "id", "ko", "zh"]
"""Languages whose names of currencies count in their own texts only: short words are others elsewhere (`lei`, `ft`)."""
BY_HAND = {"en", "de", "fr", "es", "pt", "it", "nl", "ja", "ko", "zh"}
"""Languages whose units of time are written by hand: in `tables.json`, or as patterns in `values.py`."""
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


_SHORT_OWN = {
    "bg": {"лева": "BGN", "лев": "BGN", "лв": "BGN"},
    "cs": {"koruna": "CZK", "koruny": "CZK", "korun": "CZK", "korunách": "CZK"},
    "da": {"krone": "DKK", "kroner": "DKK"},
    "hu": {"forint": "HUF", "forintot": "HUF", "ft": "HUF"},
    "id": {"rupiah": "IDR"},
    "ko": {"원": "KRW"},
    "no": {"krone": "NOK", "kroner": "NOK"},
    "pl": {"złoty": "PLN", "złote": "PLN", "złotych": "PLN", "złotego": "PLN", "zł": "PLN"},
    "ro": {"leu": "RON", "lei": "RON"},
    "ru": {"рубль": "RUB", "рубля": "RUB", "рублей": "RUB", "рублях": "RUB", "руб": "RUB"},  # noqa: RUF001
    "sv": {"krona": "SEK", "kronor": "SEK"},
    "tr": {"lira": "TRY", "tl": "TRY"},
    "uk": {"гривня": "UAH", "гривні": "UAH", "гривень": "UAH", "грн": "UAH"},
    "zh": {"元": "CNY", "块": "CNY", "块钱": "CNY", "人民币": "CNY"},
}
"""What a currency is called in its own country, and in texts of its language only."""
_SIGNS_OWN = {"id": {"Rp": "IDR"}}
_DAYS_TOO = {"no": "dag dager"}
"""The everyday words of a language whose word in CLDR is that for 24 hours."""
_FIELDS = {"year": "Y", "month": "M", "week": "W", "day": "D", "hour": "TH", "minute": "TM", "second": "TS"}


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--units", type=Path, required=True, help="folder of the unpacked cldr-units-full")
    parser.add_argument("--dates", type=Path, required=True, help="folder of the unpacked cldr-dates-full")
    options = parser.parse_args()
    regions = [Locale.parse(identifier) for identifier in locale_identifiers() if _is_kept(identifier)]
    own = {language: _currencies(language) for language in OWN}
    inflected = sorted({*LANGUAGES, *OWN} - BY_HAND)
    table = {
        "signs": _by_tag(regions, _signs),
        "order": _by_tag(regions, _order),
        "symbols": _by_tag(regions, _symbols),
        "months": {language: _months(Locale.parse(language)) for language in [*LANGUAGES, *OWN]},
        "currencies": {language: _currencies(language) for language in LANGUAGES},
        "own_currencies": {language: own.get(language, {}) | short for language, short in sorted(_all_short().items())},
        "units_of_time": {language: _units(language, options.units, options.dates) for language in inflected},
        "powers_of_ten": {language: _powers(Locale.parse(language)) for language in sorted({*inflected, "ko", "zh"})},
        "codes": sorted(code for code in list_currencies() if _is_tender(code)),
        "homes": {code: sign for code in list_currencies() if _is_tender(code) and (sign := _home(code))},
    }
    TARGET.write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n")
    print(f"{TARGET}: {TARGET.stat().st_size / 1e3:.0f} kB")


def _all_short() -> dict[str, dict[str, str]]:
    return {language: _SHORT_OWN.get(language, {}) for language in {*OWN, *_SHORT_OWN}}


def _units(language: str, units: Path, dates: Path) -> dict[str, str]:
    """Words of each unit of time: with a number, in every grammatical case, and in `in 3 days` and `3 days ago`."""
    by_width = _main(units, language, "units")["units"]
    fields = _main(dates, language, "dateFields")["dates"]["fields"]
    words: dict[str, dict[str, None]] = {}
    for name, sign in _FIELDS.items():
        patterns = [
            pattern
            for width in ("long", "short")
            for key, pattern in by_width[width][f"duration-{name}"].items()
            if "-count-" in key
        ]
        for suffix in ("", "-short"):
            for key, relative in fields.get(name + suffix, {}).items():
                patterns += relative.values() if key.startswith("relativeTime-") else ()
        for pattern in patterns:
            behind = pattern.replace("\u00a0", " ").partition("{0} ")[2].removeprefix("de ").split(" ")[0]
            word = behind.casefold().rstrip(".")
            if len(word) > 1 and word.isalpha():
                words.setdefault(sign, {})[word] = None
    counts = [word for listed in words.values() for word in listed]
    by_sign = {sign: " ".join(word for word in listed if counts.count(word) == 1) for sign, listed in words.items()}
    return {**by_sign, "D": f"{by_sign['D']} {_DAYS_TOO.get(language, '')}".strip()}


def _main(folder: Path, language: str, file: str) -> Any:  # noqa: ANN401 - parsed JSON
    read = json.loads((folder / "main" / language / f"{file}.json").read_text(encoding="utf-8"))
    return read["main"][language]


def _powers(locale: Locale) -> dict[str, int]:
    """Powers of ten by the words that stand for them beside figures: `12 tys.`."""
    powers: dict[str, int] = {}
    for width in ("short", "long"):
        for patterns in locale.compact_decimal_formats[width].values():
            for size, pattern in patterns.items():
                text = pattern.pattern.split(";")[0].replace("'", "")
                word = re.sub(r"[0\s\u00a0\u200f]+", " ", text).strip().casefold().removeprefix("de ")
                power = len(size) - pattern.pattern.count("0")
                if power >= 3 and re.fullmatch(r"[^\W\d_]+\.?", word):
                    powers[word.rstrip(".")] = powers[word] = power
    return powers


def _is_kept(identifier: str) -> bool:
    parts = identifier.split("_")
    return parts[0] in {*LANGUAGES, *OWN} and (len(parts) == 1 or (len(parts) == 2 and len(parts[1]) == 2))


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
    symbols = {get_currency_symbol(code, locale): code for code in NAMED} | _SIGNS_OWN.get(locale.language, {})
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
                    months[name.lower().rstrip(".")] = number  # `casefold` would part some Greek letters
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
