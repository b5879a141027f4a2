"""Typed values in their forms; how languages write them is tested with `coterie.text`."""

import pytest

from coterie.text.values import find_values, normalise_value


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("May 8, 2014", "2014-05-08"),
        ("8th day of May 2014", "2014-05-08"),
        ("the 1st day\nof September, 2004", "2004-09-01"),
        ("Sept. 3 2001", "2001-09-03"),
        ("2014-05-08", "2014-05-08"),
        ("5/8/14", None),
        ("May 8, 2014 or 5/8/14", "2014-05-08"),
        ("12/31/99", "1999-12-31"),
        ("31/12/2020", "2020-12-31"),
        ("31.12.2020", "2020-12-31"),
        ("vom 3. 4. 2021.", "2021-04-03"),
        ("12.31.2020", "2020-12-31"),
        ("version 1.3.4.2021", None),
        ("February 30, 2020", None),
        ("May 2014", None),
        ("[ ] day of May", None),
    ],
)
def test_dates(written, form):
    """A date has one form, and what is no day of the calendar has none."""
    assert normalise_value("date", written) == form


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("thirty (30) days", "P30D"),
        ("successive one (1) year periods", "P1Y"),
        ("ninety calendar days", "P90D"),
        ("twenty-four months", "P24M"),
        ("5-year", "P5Y"),
        ("from time to time", None),
    ],
)
def test_durations(written, form):
    """A span of time in words or figures; figures in brackets count."""
    assert normalise_value("duration", written) == form


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("$1,500", "USD 1500"),
        ("US$ 3.5 million", "USD 3500000"),
        ("$1.2345678 million", "USD 1234567.80"),
        ("EUR 30.25", "EUR 30.25"),
        ("EUR 77.10", "EUR 77.10"),
        ("EUR 77.1", "EUR 77.10"),
        ("EUR 77.00", "EUR 77"),
        ("$12,345.67", "USD 12345.67"),
        ("$999,999.99", "USD 999999.99"),
        ("$0.0125", "USD 0.0125"),
        ("CHF 0", "CHF 0"),
        ("77.10 euros", "EUR 77.10"),
        ("1,500 €", None),
        ("3 million USD", "USD 3000000"),
        ("30 dollars", None),
        ("77,10 €", "EUR 77.10"),
        ("EUR 77,10", "EUR 77.10"),
        ("EUR 12.340,50", "EUR 12340.50"),
        ("1.234.567,00 €", "EUR 1234567"),
        ("1 234,50 euros", "EUR 1234.50"),
        ("EUR 77,1", "EUR 77.10"),
        ("EUR 1,2345", None),
        ("1,234,50 €", None),
        ("EURO 7", None),
    ],
)
def test_money(written, form):
    """An amount to its last cent with its currency, where it can mean one thing only."""
    assert normalise_value("money", written) == form


def test_numbers_and_texts():
    """A number is a number; a text is itself, white space aside."""
    assert normalise_value("number", "about 1,250 units", language="en") == 1250
    assert normalise_value("number", "about 1,250 units") is None
    assert normalise_value("number", "3.5 percent") == 3.5
    assert normalise_value("text*", "Acme\n  Inc.") == "Acme Inc."


def test_a_choice_is_the_value_that_is_named_first():
    """Whole words, whatever their case; of two at one place the longer one."""
    choices = ("York", "New York", "Delaware")

    assert normalise_value("choice", "the laws of the State of NEW\nYORK, and not of Delaware", choices) == "New York"
    assert normalise_value("choice", "Yorkshire", choices) is None


def test_places_are_those_of_the_text():
    """Each value says where it stands."""
    text = "from May 8, 2014 until 2019-05-07"

    assert [text[value.start : value.end] for value in find_values("date", text)] == ["May 8, 2014", "2019-05-07"]
