"""Fields of `extract` rows, as files state them."""

import json

import pytest

from coterie.errors import DataError
from coterie.learning.dataset import FieldSpan
from coterie.tasks.contract import read_dataset

TEXT = "Made on May 8, 2014 between Acme\nInc. and Bolt LLC."
TYPES = {"signed": "date", "parties": "text*", "law": "choice"}


@pytest.fixture
def read(tmp_path):
    def read(fields, types=None):
        path = tmp_path / "data.jsonl"
        path.write_text(json.dumps({"text": TEXT, "fields": fields}) + "\n")
        return read_dataset(path, task="extract", fields=types or TYPES, for_evaluation=True)

    return read


def test_every_way_to_state_a_field(read):
    """A quote, offsets, a list of either, null: all come to spans with values in the forms of their types."""
    row = read({"signed": {"start": 8, "end": 19}, "parties": ["Acme Inc.", {"text": "Bolt LLC"}], "law": None}).rows[0]

    assert row.fields["signed"].spans == (FieldSpan(start=8, end=19, value="2014-05-08"),)
    assert [TEXT[span.start : span.end] for span in row.fields["parties"].spans] == ["Acme\nInc.", "Bolt LLC"]
    assert row.fields["parties"].many
    assert not row.fields["signed"].many
    assert row.labels == ("parties", "signed")


def test_a_value_beside_the_quote_counts(read):
    """The data may say what the words come to."""
    row = read(
        {"law": {"text": "between", "value": " New  York "}, "signed": {"text": "Made", "value": "May 8, 2014"}}
    ).rows[0]

    assert row.fields["law"].spans[0].value == "New York"
    assert row.fields["signed"].spans[0].value == "2014-05-08"


def test_fields_in_a_csv_are_json(tmp_path):
    """One column holds the object."""
    path = tmp_path / "data.csv"
    path.write_text('text,fields\n"Acme here","{""parties"": ""Acme""}"\nnothing,\n')

    rows = read_dataset(path, task="extract", fields=TYPES, for_evaluation=True).rows

    assert rows[0].fields["parties"].spans == (FieldSpan(start=0, end=4),)
    assert rows[1].fields == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", 'text,parties,law\n"Acme here",Acme,\nnothing,,\n'),
        ("data.jsonl", '{"text": "Acme here", "parties": ["Acme"]}\n{"text": "nothing", "parties": null}\n'),
    ],
)
def test_a_column_a_field(tmp_path, name, content):
    """Without one column for all, one named like a field holds what is stated of it; an empty cell is not stated."""
    path = tmp_path / name
    path.write_text(content)

    dataset = read_dataset(path, task="extract", fields=TYPES, for_evaluation=True)

    assert dataset.rows[0].fields["parties"].spans == (FieldSpan(start=0, end=4),)
    assert "law" not in dataset.rows[0].fields
    assert dataset.rows[1].fields == {}


def test_neither_a_column_for_all_nor_one_a_field(tmp_path):
    """It is said how fields are stated."""
    path = tmp_path / "data.csv"
    path.write_text("text,vendor\na,b\n")

    with pytest.raises(DataError, match="'fields'") as caught:
        read_dataset(path, task="extract", fields=TYPES)
    assert "each field has a column" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"parties": "Coyote"}, "line 1 states field 'parties' as 'Coyote', which is not in its text"),
        ({"parties": "cme"}, "which is not in its text"),
        ({"signed": {"start": 40, "end": 400}}, "from 40 to 400, but its text has 51 characters"),
        ({"signed": {"start": 9, "end": 9}}, "from 9 to 9"),
        ({"signed": {"start": True, "end": 9}}, "from True to 9"),
        ({"signed": {"start": 0, "end": 4, "text": "made"}}, "from 0 to 4 its text has 'Made'"),
        ({"signed": {"value": "x"}}, "states field 'signed' as {'value': 'x'}"),
        ({"signed": 7}, "states field 'signed' as 7"),
        ([1], "where an object of fields belongs"),
        ("{", "fields that are not JSON"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(read, fields, found):
    """A quote that is not in the text, offsets beyond it or beside the quote, and other shapes."""
    with pytest.raises(DataError) as caught:
        read(fields)

    assert found in caught.value.message
    assert caught.value.hint


def test_a_field_that_no_row_states_is_a_typo(tmp_path):
    """Training on a field without examples is refused, with the name that was probably meant."""
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"text": f"Acme {n}", "fields": {"party": "Acme"}}) + "\n" for n in range(12)))

    with pytest.raises(DataError, match="'party'"):
        read_dataset(path, task="extract", fields={"parties": "text"})


@pytest.mark.parametrize(("kind", "told"), [("money", True), ("money*", True), ("number", False), ("text", False)])
def test_quotes_without_a_value_of_their_type(tmp_path, kind, told):
    """Who calls an amount without its currency money is told that its value will be empty, before it is trained."""
    path = tmp_path / "bills.csv"
    path.write_text("text,sum\n" + "".join(f"You owe {n}.10 by Monday.,{n}.10\n" for n in range(12)))
    dataset = read_dataset(path, task="extract", fields={"sum": kind})
    findings = [
        warning for warning in dataset.warnings if "field 'sum': 12 of 12 quotes can be read as no money" in warning
    ]

    assert bool(findings) == told


@pytest.mark.parametrize(
    ("value", "read", "told"), [("P7Y", "P7Y", False), ("7 years", "P7Y", False), ("P7", None, True)]
)
def test_a_value_that_is_none_of_its_type_is_told_as_such(tmp_path, value, read, told):
    """The warning is about what stands beside the quote, and not about the quote, which can be read."""
    stated = {"term": {"text": "seven years", "value": value}}
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"text": f"{n}: for seven years.", "fields": stated}) + "\n" for n in range(12)))
    dataset = read_dataset(path, task="extract", fields={"term": "duration"})
    assert dataset.rows[0].fields["term"].spans[0].value == read
    assert any("12 values beside quotes" in warning for warning in dataset.warnings) == told
    assert not any("12 of 12 quotes" in warning for warning in dataset.warnings)
