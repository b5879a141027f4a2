"""Rows by a teacher: written or labelled, each with its origin; kept as they come; bad answers are counted."""

import json
from decimal import Decimal

import numpy as np
import pytest

from coterie.config.file import OpenAIModel
from coterie.errors import DataError, EngineError, InputError
from coterie.flywheel.training import bootstrap, read_examples, write_bootstrapped
from coterie.learning.job import AskedModel
from coterie.types import Label, Output, Usage

EXAMPLES = [("my card is gone", "lost"), ("what does it cost", "fee"), ("I lost my card", "lost")]


class Teacher:
    """Says what it is told to, in order; fails at a number."""

    name, clearance = "large", Label.RESTRICTED

    def __init__(self, say, fail_at=None):
        """Take a function of the number of the prompt."""
        self.say, self.fail_at, self.asked = say, fail_at, []

    async def run(self, batch, *, call=None):
        """Answer each."""
        for prompt in batch:
            if len(self.asked) == self.fail_at:
                self.fail_at = None
                raise EngineError("down", engine="large")
            self.asked.append(prompt)
        usage = Usage(tokens_in=1000, tokens_out=1000)
        return [Output(text=self.say(len(self.asked)), usage=usage)]

    async def close(self):
        """Nothing to close."""


class Door:
    """A gate that gives the teacher."""

    def __init__(self, teacher):
        """Keep it."""
        self.teacher = teacher

    def check(self, name, model, label):
        """Let everything through."""

    def open(self, name, model):
        """The teacher."""
        return self.teacher


def asked(teacher, folder):
    """The teacher as an entry of `[models]`."""
    model = OpenAIModel(engine="openai", name="l", base_url="http://x/v1", price_in=Decimal(1), price_out=Decimal(1))
    return AskedModel(key="large", model=model, folder=folder, label=Label.INTERNAL, gate=Door(teacher))


def texts(number):
    """Three new texts, and one that is there already."""
    return json.dumps({"texts": [f"text {number} {i}" for i in range(3)] + ["My card is gone", ""]})


async def test_texts_are_written_label_by_label_with_their_origin(tmp_path):
    """A row says which example it was written from; repeated and empty ones are counted."""
    teacher = Teacher(texts)
    made = await bootstrap(asked(teacher, tmp_path), "Routes messages.", EXAMPLES, rows=40)
    assert (made.asked, len(made.rows)) == (4, 3 + 12)
    assert {(row.label, row.seed) for row in made.rows} == {("lost", "0"), ("fee", "1"), ("lost", "2")}
    assert made.dropped == {"repeated": 4, "empty": 4}
    assert made.cost == Decimal("0.008")
    write_bootstrapped(tmp_path / "data" / "x.csv", made, "large")
    lines = (tmp_path / "data" / "x.csv").read_text().splitlines()
    assert lines[0] == "text,label,origin,seed,teacher,said,likely"
    assert lines[1] == "my card is gone,lost,example,0,,,"


async def test_a_teacher_that_fails_is_not_paid_twice(tmp_path):
    """The same command goes on where it failed."""
    teacher = Teacher(texts, fail_at=3)
    with pytest.raises(EngineError):
        await bootstrap(asked(teacher, tmp_path), "x", EXAMPLES, rows=40)
    made = await bootstrap(asked(teacher, tmp_path), "x", EXAMPLES, rows=40)
    assert (len(teacher.asked), made.asked) == (4, 4)


async def test_given_texts_are_labelled(tmp_path):
    """An answer that is no label gives no row."""
    teacher = Teacher(lambda n: ["Fee.", "no idea"][n % 2])
    made = await bootstrap(asked(teacher, tmp_path), "x", EXAMPLES, texts=["a", "b"])
    assert [(row.text, row.label) for row in made.rows[3:]] == [("b", "fee")]
    assert made.dropped == {"no_label": 1}


def encode(texts):
    """Vectors of three directions, one of which is shared."""
    at = {"card": (1, 0, 0.2), "bill": (0, 1, 0.2), "loan": (0, 0, 1)}
    return np.array([at[next(word for word in at if word in text.lower())] for text in texts], dtype=float)


async def test_what_a_teacher_always_gets_wrong_is_put_right(tmp_path):
    """It says "fee" to cards and "other" to bills; two examples tell which is which, and the rows have its own word."""
    examples = [("my card is gone", "lost"), ("why this bill", "fee")]
    teacher = Teacher(lambda n: ["other", "Fee", "other"][n % 3])
    messages = [f"{word} {n}" for n in range(10) for word in ("card", "bill", "bill of")]
    made = await bootstrap(asked(teacher, tmp_path), "x", examples, texts=messages, encode=encode)
    taught = [row for row in made.rows if row.origin == "teacher"]
    assert {(row.text.split()[0], row.label, row.said) for row in taught} == {
        ("card", "lost", "Fee"),
        ("bill", "fee", "other"),
    }
    assert len(taught) == 30
    assert all(row.likely > 0.7 for row in taught)
    assert made.without_rows() == []


async def test_a_label_that_the_teacher_gave_no_row_is_named(tmp_path):
    """Whoever trains on the rows is to know it."""
    made = await bootstrap(asked(Teacher(lambda _: "lost"), tmp_path), "x", EXAMPLES, texts=["a", "b"])
    assert made.without_rows() == ["fee"]


async def test_texts_between_two_labels_are_no_rows(tmp_path):
    """Where neither text nor teacher tell."""
    examples = [("my card is gone", "lost"), ("why this bill", "fee")]
    made = await bootstrap(
        asked(Teacher(lambda _: "hm"), tmp_path), "x", examples, texts=["loan 1", "loan 2"], encode=encode
    )
    assert made.dropped == {"doubtful": 2}


async def test_malformed_answers_and_the_money(tmp_path):
    """Neither is a crash: one is counted, the other ends the run."""
    made = await bootstrap(asked(Teacher(lambda _: "sorry"), tmp_path), "x", EXAMPLES, rows=20)
    assert made.dropped == {"malformed": 2}
    dear = await bootstrap(asked(Teacher(texts), tmp_path), "y", EXAMPLES, rows=400, money=Decimal("0.01"))
    assert (dear.asked, bool(dear.stopped), len(dear.rows) > 3) == (8, True, True)


async def test_prompts_that_cost_more_than_the_limit_are_not_asked(tmp_path):
    """What they cost at least is known before they leave, so nothing is asked, and nothing is left to pay."""
    teacher = Teacher(texts)
    made = await bootstrap(asked(teacher, tmp_path), "y", EXAMPLES, rows=400, money=Decimal("0.0001"))
    assert (len(teacher.asked), made.asked, bool(made.stopped)) == (0, 0, True)


@pytest.mark.parametrize("content", ["text;label\nmy card, gone;lost\n", '\ufefftext,label\n"my card, gone",lost\n'])
def test_examples_as_a_spreadsheet_writes_them(tmp_path, content):
    """With semicolons, and with a mark of the byte order: as `coterie add` reads rows."""
    path = tmp_path / "x.csv"
    path.write_text(content, encoding="utf-8")
    assert read_examples(path) == [("my card, gone", "lost")]


async def test_examples_that_are_none(tmp_path):
    """No columns, too many, one label."""
    path = tmp_path / "x.csv"
    for content in ("a,b\n1,2\n", "text,label\n", "text,label\n" + "x,y\n" * 21):
        path.write_text(content)
        with pytest.raises(DataError):
            read_examples(path)
    with pytest.raises(InputError):
        await bootstrap(asked(Teacher(texts), tmp_path), "x", EXAMPLES[:1])
