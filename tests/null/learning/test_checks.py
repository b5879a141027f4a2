import json

import pytest

from coterie.errors import DataError


def refusal(read, content, **settings):
    with pytest.raises(DataError) as caught:
        read(content, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (["new one,Card"], "labels that differ only by case or spaces: 'card' (10 rows) and 'Card' (1 row)"),
        (["new one,card "], "labels that differ only by case or spaces: 'card' (10 rows) and 'card ' (1 row)"),
        (["new one, card"], "labels that differ only by case or spaces: 'card' (10 rows) and ' card' (1 row)"),
        (["new one,card\u00a0"], "labels that differ only by case or spaces: 'card' (10 rows) and 'card\\xa0' (1 row)"),
        (["new one,theft"], "1 label with only one example: 'theft' (line 22)"),
        ([" ,card"], "1 row with an empty text: line 22"),
        (["new one,"], "1 row without a label: line 22"),
    ],
)
def test_wrong_rows_are_explained(read, table, more, found):
    """Line, value and count are in the message."""
    assert found in refusal(read, table(*more))


def test_every_problem_is_told_at_once(read, table):
    """A file with three mistakes is corrected in one go."""
    message = refusal(read, table("new one,Card", " ,card", "new two,"))

    assert message.count("\n  - ") == 4  # `Card` is also a label with one example


def test_many_lines_are_shown_by_example(read, table):
    """A thousand wrong rows make a short message that counts them."""
    message = refusal(read, table(*[",card"] * 1000))

    assert "1,000 rows with an empty text: lines 22, 23, 24 and 997 more" in message
    assert len(message) < 400


def test_too_few_rows_are_refused_for_training_only(read, table):
    """Nine rows train nothing, but may well be measured on."""
    assert " 9 rows; at least 10 " in refusal(read, table(rows=9))
    assert len(read(table(rows=9), name="test.csv", for_evaluation=True)) == 9


def test_one_label_teaches_nothing(read, table):
    """A file whose rows all have the same label is refused."""
    assert "'card'" in refusal(read, table(labels=("card",)))


def test_free_text_is_no_label(read, table):
    """A column of answers or keys in the label's place is recognised, and not reported as a hundred rare labels."""
    rows = [f"another question {i},answer {i}" for i in range(100)]
    message = refusal(read, table(*rows))

    assert "102 different labels on 120 rows" in message
    assert "looks like free text or a key" in message
    assert "only one example" not in message


def test_contradicting_rows_are_counted(read, table):
    """The same text with two labels is a warning that names both, and still trains."""
    dataset = read(table("Question number A0!,loan"))

    assert dataset.warnings[0] == (
        "2 rows have a text that occurs with several labels, such as 'question number a0' with 'card' and 'loan' "
        "(lines 2 and 22)"
    )
    assert len(dataset) == 21


def test_mostly_contradicting_rows_are_refused(read):
    """A column that says the same on most rows is not the text."""
    rows = "".join(f"en,{label}\n" for label in ["card", "loan"] * 10)

    assert "20 of 20 rows " in refusal(read, "text,label\n" + rows)


def test_repeated_rows_are_kept_and_counted(read, table):
    """A duplicate is a warning, and no row is dropped."""
    dataset = read(table("question number a0,card"))

    assert len(dataset) == 21
    assert dataset.warnings[0] == "1 row repeating an earlier one, case and punctuation aside: line 22"


def test_rows_out_of_scope_belong_to_evaluation(read, table):
    """Without a label a row of evaluation data is out of scope, and the number of them is said."""
    dataset = read(table("what is the weather,", "nice,"), for_evaluation=True)

    assert [row.labels for row in dataset.rows[-2:]] == [(), ()]
    assert "2 rows without a label: taken for out of scope, where an abstention is right" in dataset.warnings


def test_several_labels_are_split_at_bars(read, table):
    """With multi_label a cell holds labels separated by bars, a JSON list holds them as it is, and none is fine."""
    dataset = read(table("both,card | loan", "none,"), multi_label=True)
    records = [{"text": f"t {i}", "label": [["card"], ["card", "loan"], []][i % 3]} for i in range(21)]
    listed = read("\n".join(map(json.dumps, records)), name="list.jsonl", multi_label=True)

    assert [row.labels for row in dataset.rows[-2:]] == [("card", "loan"), ()]
    assert [row.labels for row in listed.rows[:3]] == [("card",), ("card", "loan"), ()]


def test_bars_without_multi_label_are_doubted(read, table):
    """A bar in a label of a single-label file is kept, with a warning that names the setting."""
    dataset = read(table("a b,card|loan", "a c,card|loan"))

    assert "'card|loan' is read as one label; if it means several, set multi_label = true" in dataset.warnings


def test_labels_are_stripped_when_all_are_written_alike(read, table):
    """A space after every comma is no part of any label."""
    assert read(table().replace(",card", ", card")).label_names == ("card", "loan")


def test_groups(read, table):
    """The group column is kept, and rows without a group are counted."""
    lines = table(header="text,label,contract").splitlines()
    content = "\n".join([lines[0], *(f"{line},{'' if i < 2 else i % 3}" for i, line in enumerate(lines[1:]))])
    dataset = read(content, group_column="contract")

    assert [row.group for row in dataset.rows[:4]] == [None, None, "2", "0"]
    assert "2 rows without a 'contract': each counts as a group of its own" in dataset.warnings


def test_source_texts_are_read_with_their_keys(read):
    """For `generate`, rows are source texts and the other columns select them, as text even where they are numbers."""
    dataset = read("intent,text\n01,How to.\nlost,Block it.\n", task="generate", reads=("intent",))

    assert [dict(row.columns) for row in dataset.rows] == [{"intent": "01"}, {"intent": "lost"}]
    assert dataset.rows[0].labels == ()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("intent,text\na,One.\na,Two.\n", "2 source texts for ('a',): lines 2 and 3"),
        ("text\nOne.\n", "it has no column beside the text"),
        ("intent,text\na,\n", "1 row with an empty text: line 2"),
        ("intent,text\n", "has a header but no rows"),
    ],
)
def test_wrong_source_texts_are_explained(read, content, found):
    """Two texts for one key, no key, or no text are refused."""
    assert found in refusal(read, content, task="generate", reads=("intent",))


def test_a_list_of_labels_means_any_of_them(read):
    """Without multi_label a JSON list holds alternatives: all are kept, and rows that share one do not conflict."""
    records = [{"text": f"t {i}", "label": [["card"], ["loan"]][i % 2]} for i in range(20)]
    records += [{"text": "both", "label": ["card", "loan"]}, {"text": "Both!", "label": "loan"}]
    dataset = read("\n".join(map(json.dumps, records)), name="list.jsonl")

    assert dataset.rows[20].labels == ("card", "loan")
    assert dataset.warnings[0].startswith("1 row with a list of labels: any one of them counts as right")


def test_texts_with_replies_are_read(read):
    """For a `generate` that reads nothing, a row's label is its reply; a list in JSONL holds several."""
    rows = [{"text": f"say {n}", "reply": [f"said {n}", "done"] if n else "said", "note": 1} for n in range(12)]
    dataset = read("\n".join(map(json.dumps, rows)), name="pairs.jsonl", task="generate", replies=True)

    assert dataset.rows[0].labels == ("said",)
    assert dataset.rows[1].labels == ("said 1", "done")
    assert dataset.rows[1].columns == {}
    assert any("fewer than 59" in warning for warning in dataset.warnings)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("text,reply\na,\n" + "b,c\n" * 11, "1 row without a reply: line 2"),
        ("text,answer\na,b\n", "has no column 'reply'"),
        ("text,reply\na,b\n", "it has 1 row; at least 10 are needed"),
    ],
)
def test_wrong_replies_are_explained(read, content, found):
    """No reply, no column of replies, or too few of them are refused."""
    assert found in refusal(read, content, task="generate", replies=True)
