"""What was found, held against what is stated."""

import pytest

from coterie.learning.dataset import FieldSpan, Row, Stated
from coterie.tasks.extract.rows import field_cases, is_right, judge, judge_fields
from coterie.types import Field, Finding, worded

TEXT = "Acme Inc. and Bolt LLC agree on May 8, 2014 under the laws of Ohio."


def said(name, quote="", *, value=None, confidence=0.9, accepted=True):
    """A field that quotes the text, or says that it is not stated."""
    start = TEXT.index(quote) if quote else None
    end = None if start is None else start + len(quote)
    return Field(
        name=name,
        value=value,
        text=quote,
        start=start,
        end=end,
        confidence=confidence,
        accepted=accepted,
        reason=worded(""),
    )


def finding(*fields):
    return Finding(specialist="x", value=None, text="", confidence=1.0, accepted=True, reason=worded(""), fields=fields)


def span(quote, value=None):
    return FieldSpan(start=TEXT.index(quote), end=TEXT.index(quote) + len(quote), value=value)


def row(**fields):
    stated = {
        name: Stated(spans=tuple(spans) if isinstance(spans, list) else (spans,), many=isinstance(spans, list))
        for name, spans in fields.items()
    }
    return Row(text=TEXT, labels=tuple(sorted(stated)), fields=stated)


def test_a_value_is_right_if_it_is_the_stated_one():
    """The value decides where one is known, whatever is quoted; a quote alone needs half of its words."""
    date = [span("May 8, 2014", "2014-05-08")]

    assert is_right(said("d", "agree on May 8, 2014 under", value="2014-05-08"), TEXT, date)
    assert not is_right(said("d", "May 8, 2014", value="2015-05-08"), TEXT, date)
    assert is_right(said("d", "on May 8, 2014"), TEXT, date)
    assert not is_right(said("d", "agree on May 8"), TEXT, date)
    assert is_right(said("d"), TEXT, [])
    assert not is_right(said("d"), TEXT, date)
    assert not is_right(said("d", "Ohio"), TEXT, [])


def test_figures_of_a_field_of_several_values():
    """One of two names found and one wrong one: exact F1 is one half, and the words of all together count."""
    rows = [row(parties=[span("Acme Inc."), span("Bolt LLC")])]
    findings = [finding(said("parties", "Acme Inc."), said("parties", "Ohio"))]

    report = judge_fields(rows, field_cases(rows, findings))
    figures = report.fields["parties"]

    assert figures.exact_f1 == pytest.approx(2 * 1 / (2 + 2))
    assert figures.token_f1 == pytest.approx(2 * 2 / (3 + 4))
    assert figures.accuracy == 0.5
    assert figures.located == 0.5


def test_any_place_of_a_single_value_is_right():
    """Several spans of a field with one value are the same said twice."""
    stated = Stated(spans=(span("Acme Inc."), span("Bolt LLC")), many=False)
    rows = [Row(text=TEXT, labels=("who",), fields={"who": stated})]
    report = judge_fields(rows, field_cases(rows, [finding(said("who", "Bolt LLC"))]))

    assert report.fields["who"].exact_f1 == 1.0
    assert report.fields["who"].token_f1 == 1.0


def test_what_is_not_stated_counts_by_itself():
    """Precision and recall of silence; a text that neither states nor claims it is no part of F1."""
    rows = [row(law=span("laws of Ohio")), row(), row(), row(law=span("laws of Ohio"))]
    findings = [
        finding(said("law", "laws of Ohio")),
        finding(said("law")),
        finding(said("law", "Ohio")),
        finding(said("law")),
    ]
    figures = judge_fields(rows, field_cases(rows, findings)).fields["law"]

    assert figures.not_stated_precision == 0.5
    assert figures.not_stated_recall == 0.5
    assert figures.token_f1 == pytest.approx(1 / 3)
    assert figures.exact_f1 == pytest.approx(2 * 1 / (2 + 2))


def test_a_quote_that_is_not_where_it_says_is_an_error():
    """Offsets are a promise: a figure over wrong ones is refused."""
    wrong = Field(name="x", value=None, text="Acme", start=1, end=5, confidence=1.0, accepted=True, reason=worded(""))
    with pytest.raises(ValueError, match="not at 1"):
        field_cases([row()], [finding(wrong)])


def test_an_evaluation_of_fields():
    """Coverage and calibration are over everything that was said; both F1 have intervals over texts."""
    rows = [row(law=span("laws of Ohio")) for _ in range(6)] + [row() for _ in range(4)]
    findings = [finding(said("law", "laws of Ohio")) for _ in range(5)] + [
        finding(said("law", confidence=0.4, accepted=False)) for _ in range(5)
    ]
    evaluation = judge(rows, findings)

    assert evaluation.accuracy == 0.9
    assert evaluation.coverage == 0.5
    assert evaluation.accepted_accuracy == 1.0
    assert evaluation.token_f1 == pytest.approx(5 / 6)
    low, high = evaluation.intervals["token_f1"]
    assert low < 5 / 6 < high
    assert evaluation.to_json()["fields"]["law"]["stated"] == 6


def test_no_rows_give_no_figures():
    """Nothing was asked: nothing is known."""
    evaluation = judge([], [])

    assert evaluation.token_f1 is None
    assert evaluation.coverage is None
