import hashlib
import json

import pytest

from coterie.errors import DataError
from coterie.tasks.contract import read_dataset


def jsonl(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def refusal(read, content, **settings):
    with pytest.raises(DataError) as caught:
        read(content, **settings)
    return str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiter_is_found(read, table, delimiter):
    """Commas, semicolons and tabs separate cells, whichever the header uses."""
    dataset = read(table().replace(",", delimiter))

    assert dataset.label_names == ("card", "loan")
    assert dataset.rows[0].text == "question number a0"


def test_delimiter_is_the_one_that_gives_the_wanted_columns(read, table):
    """A header with more commas than semicolons is still read by semicolons when those give text and label."""
    content = table(header="text;label;a,b,c,d").replace(",c", ";c", 0)
    body = "\n".join(line.replace(",", ";") + ";x" for line in content.splitlines()[1:])

    assert len(read("text;label;a,b,c,d\n" + body)) == 20


def test_byte_order_mark_is_no_part_of_the_header(read, table):
    """Files that Excel saved as UTF-8 read like others, and the checksum is of their own bytes."""
    content = b"\xef\xbb\xbf" + table().encode()
    dataset = read(content)

    assert len(dataset) == 20
    assert dataset.sha256 == hashlib.sha256(content).hexdigest()


def test_checksum_is_of_the_whole_file(read, table):
    """Also what comes after the last row is hashed."""
    content = table() + "\n\n\n"

    assert read(content).sha256 == hashlib.sha256(content.encode()).hexdigest()


def test_quoted_line_breaks_and_delimiters_stay_in_the_text(read, table):
    """A cell in double quotes holds commas, quotes and line breaks, and later rows keep their line numbers."""
    dataset = read(table('"one, ""two""\nthree",card', "after,loan"))

    assert dataset.rows[20].text == 'one, "two"\nthree'
    assert [row.line for row in dataset.rows[19:]] == [21, 22, 24]


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_line_ends(read, table, end):
    """Windows and Unix line ends give the same rows."""
    assert read(table().replace("\n", end)).rows == read(table(), name="unix.csv").rows


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_a_byte_order_mark_says_the_encoding(read, table, encoding, delimiter):
    """What a spreadsheet saves as "Unicode text" is read, and its checksum is that of the file as it is."""
    text = table().replace(",", delimiter)
    content = text.encode(encoding) if encoding in {"utf-16", "utf-32"} else ("\ufeff" + text).encode(encoding)
    dataset = read(content)

    assert dataset.rows == read(table()).rows
    assert dataset.sha256 == hashlib.sha256(content).hexdigest()


def test_large_fields_are_read(read, table):
    """A text longer than the standard library's field limit is no problem."""
    dataset = read(table(f'"{"long " * 60_000}",card'))

    assert len(dataset.rows[-1].text) == 300_000


@pytest.mark.parametrize(("name", "hint"), [("a.csv", "header line"), ("a.jsonl", "one JSON object a line")])
def test_an_empty_file_is_told_what_its_kind_needs(read, name, hint):
    """CSV begins with a header, JSONL has none."""
    assert hint in refusal(read, b"", name=name)


def test_jsonl_needs_no_extension(read):
    """A file of JSON objects is JSONL whatever it is called, and its numbers are labels too."""
    dataset = read(jsonl(*({"text": f"t {i}", "label": i % 2} for i in range(20))), name="data.txt")

    assert dataset.label_names == ("0", "1")
    assert dataset.rows[3].line == 4


def test_chat_records_give_question_and_reply(read):
    """Of an OpenAI chat record the last user message is the text, and the reply after it the label."""
    chats = [
        {
            "messages": [
                {"role": "system", "content": "classify"},
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "wrong"},
                {"role": "user", "content": [{"type": "text", "text": f"question {i}"}]},
                {"role": "assistant", "content": ["card", "loan"][i % 2]},
            ]
        }
        for i in range(20)
    ]
    dataset = read(jsonl(*chats), name="chat.jsonl")

    assert dataset.rows[1].text == "question 1"
    assert dataset.rows[1].labels == ("loan",)


def test_chat_without_a_user_message_is_refused(read):
    """The line of a chat that asks nothing is named."""
    message = refusal(read, jsonl({"messages": [{"role": "assistant", "content": "hello"}]}), name="chat.jsonl")

    assert "line 1 has no message of role 'user'" in message


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\x1f\x8b\x08\x00rest", "compressed with gzip"),
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"PAR1rest", "Parquet"),
        (b"%PDF-1.7", "PDF"),
        ("text,label\na,b\n".encode("utf-16") + b"\x00", "is not valid utf-16"),
        ("text,label\na,b\n".encode("utf-16") + b"\x00\xdc", "is not valid utf-16"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b'[{"text": "a", "label": "b"}]', "JSON list"),
        (b"text,label\ra,b\r", "CR only"),
        (b"text,label\na\0b,c\n", "line 2 has a NUL byte"),
        ("text,label\na,b\ncafé,b\n".encode("latin-1"), "line 3 has the byte 0xe9"),
        (b'text,label\n"never closed,b\nnext,c\n', "line 2 opens a double quote"),
        (b'text,label\na,b\n"a" b,c\n', "line 3 goes on after a closing double quote"),
        (b"text,label\na,b\nc\n", "line 3 has 1 cells, but the header has 2"),
        (b"text,label\na, b, c\n", "line 2 has 3 cells, but the header has 2"),
        (b"text,text,label\na,b,c\n", "names the column 'text' more than once"),
        (b'{"text": "a", "label": "b"}\n{"text": \n', "line 2 is not valid JSON (column 9)"),
        (b'{"text": "a", "label": "b"}\n[1]\n', "line 2 is not a JSON object: '[1]'"),
        (b'{"text": ["a"], "label": "b"}\n', "line 1 has ['a'] in 'text', where a text belongs"),
        (b'{"text": "\\ud800", "label": "b"}\n', "half a surrogate pair"),
    ],
)
def test_wrong_files_are_explained(read, content, found):
    """What the file is, or the line and what stands there, is in the message."""
    assert found in refusal(read, content)


def test_deeply_nested_json_is_refused(read):
    """A line that would exhaust the parser's stack is an error like others."""
    message = refusal(read, '{"text": ' + "[" * 200_000 + "\n", name="deep.jsonl")

    assert "line 1 is not valid JSON" in message


def test_endless_lines_are_refused(read, monkeypatch):
    """A line over the limit is not read to its end."""
    monkeypatch.setattr("coterie.learning.reading.LONGEST_LINE", 1024 * 1024)
    message = refusal(read, b"text,label\n" + b"x" * (2 * 1024 * 1024))

    assert "line 2 is longer than 1 MiB" in message


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("Text,label", "Did you mean 'Text'? Then set text_column = 'Text'"),
        ("sentence,label", "Did you mean 'sentence'? Then set text_column = 'sentence'"),
        ("text,lable", "Did you mean 'lable'? Then set label_column = 'lable'"),
        ("text,intent", "Did you mean 'intent'? Then set label_column = 'intent'"),
        ("message,intent", "Did you mean 'message'? Then set text_column = 'message'"),
        ("message,intent", "Did you mean 'intent'? Then set label_column = 'intent'"),
        ("Tekst,Soort vraag", "Did you mean 'Soort vraag'? Then set label_column = 'Soort vraag'"),
        ("mensaje,categor\u00eda", "Did you mean 'mensaje'? Then set text_column = 'mensaje'"),
        ("mensaje,categor\u00eda", "Did you mean 'categor\u00eda'? Then set label_column = 'categor\u00eda'"),
    ],
)
def test_missing_columns_are_named_with_the_nearest(read, table, header, hint):
    """The columns there are, and the one that was probably meant, are in the message."""
    message = refusal(read, table(header=header))

    assert hint in message
    assert header.split(",", maxsplit=1)[0] in message


def test_a_missing_column_is_said_before_anything_about_rows(read):
    """A file without a header is told so and not that its third line has a comma too many."""
    message = refusal(read, "where is my card,card\nwhat, really?,loan,x\n")

    assert "has no column 'text' or 'label'; its columns are 'where is my card' and 'card'" in message
    assert "The first line names the columns, such as: text,label" in message


def test_missing_jsonl_keys_count_as_empty_where_others_have_them(read):
    """A key that is left out on some lines is an empty cell; one that is nowhere is a missing column."""
    records = [{"text": f"t {i}", "label": "ab"[i % 2]} for i in range(20)]

    assert ": line 21" in refusal(read, jsonl(*records, {"text": "x"}), name="a.jsonl")
    assert "has no column 'label'" in refusal(read, jsonl({"text": "x"}), name="b.jsonl")


def test_missing_files_are_explained_with_the_nearest_name(tmp_path):
    """A misspelled path names the file beside it; a folder is no file."""
    (tmp_path / "train.csv").write_text("text,label\n")

    with pytest.raises(DataError, match=r"'train\.csv'"):
        read_dataset(tmp_path / "tran.csv", task="classify")
    with pytest.raises(DataError, match="directory"):
        read_dataset(tmp_path, task="classify")
    with pytest.raises(DataError, match="No file"):
        read_dataset(tmp_path / "nowhere" / "x.csv", task="classify")


def test_unnamed_columns_and_hollow_rows_are_counted(read, table):
    """The index that pandas writes and the empty rows that Excel writes are left out with a warning."""
    lines = table().splitlines()
    content = "\n".join(["," + lines[0], *(f"{i},{line}" for i, line in enumerate(lines[1:])), ",,", ""])
    dataset = read(content)

    assert len(dataset) == 20
    assert dataset.warnings[:2] == (
        "column 1 has no name in the header and is left out",
        "1 row with nothing in any cell left out",
    )


@pytest.mark.parametrize(
    ("text", "encoding"), [("tre\u015b\u0107", "cp1250"), ("\u0442\u0435\u043a\u0441\u0442", "cp1251")]
)
def test_a_file_in_another_encoding_is_shown_as_it_may_be_read(read, text, encoding):
    """Among the readings is the right one: whoever knows the language sees which encoding it is."""
    assert text in refusal(read, f"text,label\n{text},a\n".encode(encoding))
