"""A state is written in one way, however it comes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.decisions.questions import LONGEST_STATE, request_about
from coterie.errors import InputError
from coterie.tasks.contract import read_dataset
from coterie.text.records import cells_of, part_of, render_columns, render_record
from coterie.types import Message

PLAIN = st.none() | st.booleans() | st.integers(-1000, 1000) | st.text("ab c", max_size=5)
RECORDS = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), inner)
)


@given(st.dictionaries(st.text("xyz", min_size=1), RECORDS), st.randoms())
def test_the_order_of_fields_changes_nothing(record, random):
    """An object is a set of fields."""
    shuffled = dict(random.sample(list(record.items()), len(record)))

    assert render_record(record) == render_record(shuffled)


@given(st.dictionaries(st.text("xyz", min_size=1), RECORDS), st.sets(st.text("xyz", min_size=1)), st.randoms())
def test_columns_are_written_as_the_record_that_they_are_of(record, wanted, random):
    """What a question's state gives as columns, in any order, has the text that training made of the same fields."""
    columns = cells_of(record)
    columns = dict(random.sample(list(columns.items()), len(columns)))

    assert render_columns(part_of(columns, [*wanted])) == render_record({name: record.get(name) for name in wanted})


def test_a_record_in_words():
    """Fields within fields have dotted names; what is empty is left out; a whole number has no point."""
    record = {"plan": "pro", "age": 43.0, "left": None, "paid": True, "tags": ["a", "b"], "items": [{"id": 7}]}

    assert render_record(record) == "age: 43\nitems.1.id: 7\npaid: true\nplan: pro\ntags: a, b"
    request = request_about({"customer": {"age": 43, "name": ""}, "note": "hi"})
    assert (request.text, request.columns) == (
        "customer.age: 43\nnote: hi",
        {"customer.age": 43, "customer.name": "", "note": "hi"},
    )
    assert request_about('{"note": "hi"}') == request_about({"note": "hi"})


def test_messages():
    """One message of the user is its text; a conversation has the roles."""
    turn = {"role": "user", "content": "Where is it?"}

    assert request_about([turn]).text == request_about("Where is it?").text == "Where is it?"
    assert (
        request_about([{"role": "developer", "content": "Be kind."}, turn]).text
        == "system: Be kind.\nuser: Where is it?"
    )
    assert request_about([Message(role="assistant", text="Hi"), turn]).text == "assistant: Hi\nuser: Where is it?"
    assert request_about(["a", "b"]).text == "a\nb"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("  ", "empty"),
        ({"a": None}, "empty"),
        (3, "a int"),
        ("x" * (LONGEST_STATE + 1), "1000001 characters"),
        ({"a": "\ud800"}, "surrogate"),
        ("\udfff", "surrogate"),
        ({"a": object()}, "object"),
    ],
)
def test_what_is_no_state(state, said):
    """It is refused with what was found."""
    with pytest.raises(InputError, match=said):
        request_about(state)


def test_a_state_that_is_nested_too_deeply():
    """It is refused, and does not exhaust the stack."""
    deep = []
    for _ in range(900):
        deep = [deep]
    with pytest.raises(InputError, match="nested"):
        request_about(deep)


def test_rows_of_records(tmp_path):
    """A CSV file with columns, a JSONL file with an object as text, and a state that is asked about are one text."""
    rows = [(n, f"note {n % 7}", "old" if n > 50 else "young") for n in range(30, 70)]
    table, lines = tmp_path / "rows.csv", tmp_path / "rows.jsonl"
    table.write_text("age,note,label\n" + "".join(f"{age},{note},{label}\n" for age, note, label in rows))
    lines.write_text(
        "".join(f'{{"text": {{"note": "{note}", "age": {age}.0}}, "label": "{label}"}}\n' for age, note, label in rows)
    )
    columns = read_dataset(table, task="classify", record=("age", "note"))
    objects = read_dataset(lines, task="classify")

    assert columns.texts == objects.texts == [request_about({"age": age, "note": note}).text for age, note, _ in rows]


def test_records_as_json_in_a_column(tmp_path):
    """A column of JSON objects, as exports of tables have them, holds records; whatever else is in braces is a text."""
    objects = [{"note": f"note {n % 7}", "deep": {"age": n}} for n in range(30, 70)]
    labels = ["old" if record["deep"]["age"] > 50 else "young" for record in objects]
    lines, written = tmp_path / "rows.jsonl", tmp_path / "written.jsonl"
    lines.write_text(
        "".join(
            json.dumps({"text": record, "label": label}) + "\n" for record, label in zip(objects, labels, strict=True)
        )
    )
    rows = [(json.dumps(record), label) for record, label in zip(objects, labels, strict=True)]
    rows += [("{not JSON}", "old"), ("{}", "young"), ("see {x}", "old")]
    written.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    records, exported = read_dataset(lines, task="classify"), read_dataset(written, task="classify")

    assert exported.texts == [*records.texts, "{not JSON}", "{}", "see {x}"]
    assert exported.of_records


def test_records_are_no_patterns(tmp_path):
    """Records of few values are alike by their fields and not held out by them; sentences of as few patterns are."""
    kinds = {"fraud": "ships to a forwarder", "ok": "known customer", "review": "address differs"}
    names = [name for _ in range(40) for name in kinds]
    table = tmp_path / "orders.csv"
    rows = [f"{n},{kinds[name]} {n % 3},{'DE' if n % 2 else 'AT'},{name}\n" for n, name in enumerate(names)]
    table.write_text("amount,note,country,label\n" + "".join(rows))
    records = read_dataset(table, task="classify", record=("amount", "note", "country"))
    sentences = tmp_path / "sentences.csv"
    same = [
        f"{text},{row.labels[0]}\n" for text, row in zip(map(_in_one_line, records.texts), records.rows, strict=True)
    ]
    sentences.write_text("text,label\n" + "".join(same))
    written = read_dataset(sentences, task="classify")

    assert (records.of_records, written.of_records) == (True, False)
    assert all(row.group is None for row in records.rows)
    assert any(row.group for row in written.rows) or any("patterns" in warning for warning in written.warnings)
    assert not any("patterns" in warning for warning in records.warnings)


def _in_one_line(text):
    return text.replace("\n", " ")
