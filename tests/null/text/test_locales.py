"""Whatever Babel writes in a language is read back as what it was, or not at all."""

from datetime import date
from decimal import Decimal

import pytest
from babel.dates import format_date
from babel.numbers import format_compact_currency, format_currency, format_decimal
from babel.units import format_unit
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coterie.text.language import months
from coterie.text.numerals import find_numbers
from coterie.text.values import find_dates, find_durations, find_money, normalise_value

_LOCALES = """
en en_US en_GB en_AU en_CA en_IN en_ZA de de_AT de_CH fr fr_CA fr_CH es es_MX es_AR pt pt_PT it it_CH nl nl_BE ja sv da
no pl cs fi tr ru ca hu ro bg uk el hr sk sl lt lv et id ko zh
"""
_CURRENCIES = "EUR USD GBP CHF JPY CAD AUD BRL INR HKD TWD MXN SEK NOK KRW"
LOCALES, CURRENCIES = _LOCALES.split(), _CURRENCIES.split()
INFLECTED = [
    "sv",
    "da",
    "no",
    "pl",
    "cs",
    "fi",
    "tr",
    "ru",
    "ca",
    "hu",
    "ro",
    "bg",
    "uk",
    "el",
    "hr",
    "sk",
    "sl",
    "lt",
    "lv",
    "et",
    "id",
]
EIGHT = ["en", "de", "fr", "es", "pt", "it", "nl", "ja"]
AMOUNTS = st.decimals(Decimal("-9999999"), Decimal("999999999"), places=2, allow_nan=False)


def tag(locale):
    return locale.replace("_", "-")


@given(value=AMOUNTS, locale=st.sampled_from(LOCALES))
@settings(deadline=None, max_examples=300)
def test_a_number_is_read_as_it_was_written(value, locale):
    """Groups and decimals of each locale."""
    written = format_decimal(value, locale=locale, decimal_quantization=False)

    assert [number.value for number in find_numbers(written, tag(locale))] == [value]


@given(value=AMOUNTS, locale=st.sampled_from(LOCALES))
@settings(deadline=None, max_examples=300)
def test_a_number_is_right_or_none_without_its_language(value, locale):
    """`1,234` may be two numbers, so it is none."""
    written = format_decimal(value, locale=locale, decimal_quantization=False)

    assert {number.value for number in find_numbers(written)} <= {value}


@given(
    value=AMOUNTS,
    locale=st.sampled_from(LOCALES),
    currency=st.sampled_from(CURRENCIES),
    kind=st.sampled_from(["standard", "accounting", "name"]),
)
@settings(deadline=None, max_examples=600)
@example(value=Decimal("-1234.50"), locale="en_US", currency="USD", kind="accounting")
@example(value=Decimal("1500.00"), locale="de", currency="USD", kind="standard")
def test_money_is_read_as_it_was_written_or_not_at_all(value, locale, currency, kind):
    """Signs, codes and names of currencies; never another amount, never another currency."""
    written = format_currency(value, currency, locale=locale, format_type=kind, currency_digits=False)
    expected = normalise_value("money", f"{currency} {value}", language="en")

    # A bare `$` is the dollar of the United States where the region is not known: documented, and so today.
    for language in (tag(locale), *([] if "$" in written and "_" in locale else [None])):
        assert {money.value for money in find_money(written, language)} <= {expected}, written


@pytest.mark.parametrize("locale", EIGHT)
@pytest.mark.parametrize("currency", ["EUR", "GBP", "JPY"])
def test_common_money_is_read_in_every_language(locale, currency):
    """Not only never wrong: read."""
    for value in (Decimal("12.50"), Decimal(1234567), Decimal("1234567.89")):
        written = format_currency(value, currency, locale=locale, currency_digits=False)

        assert [money.amount for money in find_money(written, locale)] == [value], written


@given(value=st.integers(1, 999), power=st.sampled_from([3, 6, 9]), locale=st.sampled_from(EIGHT))
@settings(deadline=None)
def test_short_forms_are_read_or_left_alone(value, power, locale):
    """`12 Mio. €`, `€12M`, `12億円`."""
    written = format_compact_currency(value * 10**power, "EUR", locale=locale, fraction_digits=3)

    assert {money.amount for money in find_money(written, locale)} <= {Decimal(value * 10**power)}, written


DATES = st.dates(date(1980, 1, 1), date(2049, 12, 31))


@given(value=DATES, locale=st.sampled_from(LOCALES), width=st.sampled_from(["full", "long", "medium"]))
@settings(deadline=None, max_examples=300)
def test_a_date_with_its_month_is_read_in_every_language(value, locale, width):
    """With the language or without it."""
    written = format_date(value, format=width, locale=locale)
    wanted = {value.isoformat()}

    values = {value.value for value in find_dates(written, tag(locale))}
    assert values <= wanted
    assert {value.value for value in find_dates(written)} <= wanted
    if width == "long" and locale in EIGHT:
        assert values == wanted, written


@given(value=DATES, locale=st.sampled_from(LOCALES))
@settings(deadline=None, max_examples=300)
def test_a_date_in_figures_is_right_or_none(value, locale):
    """The order of day and month is that of the region; where it is not known, only one order may be possible."""
    written = format_date(value, format="short", locale=locale)

    for language in (tag(locale), None):
        assert {value.value for value in find_dates(written, language)} <= {value.isoformat()}, written


def test_no_month_has_two_numbers():
    """A name of a month means one month in all languages, or has a number in its own language only."""
    assert set(months().values()) == set(range(1, 13))
    assert months().get("listopada") is None
    assert (months("pl")["listopada"], months("hr")["listopada"]) == (11, 10)


@pytest.mark.parametrize("locale", [*INFLECTED, "ko", "zh"])
def test_a_month_and_a_unit_of_time_are_read_in_their_own_language(locale):
    """Not only never wrong: read."""
    for month in range(1, 13):
        written = format_date(date(2024, month, 25), format="long", locale=locale)
        assert [value.value for value in find_dates(written, locale)] == [f"2024-{month:02}-25"], written
    for unit, form in (("year", "P{}Y"), ("month", "P{}M"), ("week", "P{}W"), ("day", "P{}D"), ("hour", "PT{}H")):
        for count in (1, 2, 3, 7, 21, 30):
            written = format_unit(count, f"duration-{unit}", locale=locale)
            assert [value.value for value in find_durations(written, locale)] == [form.format(count)], written


@given(value=st.integers(1, 999), power=st.sampled_from([3, 6, 9]), locale=st.sampled_from(INFLECTED))
@settings(deadline=None)
def test_short_forms_of_more_languages_are_read_or_left_alone(value, power, locale):
    """`12 tys. EUR`, `12 млн €`."""
    written = format_compact_currency(value * 10**power, "EUR", locale=locale, fraction_digits=3)

    assert {money.amount for money in find_money(written, locale)} <= {Decimal(value * 10**power)}, written
