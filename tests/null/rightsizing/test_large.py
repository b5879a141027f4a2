"""A large model's answers beside held-out rows: matched, read as labels, priced."""

from decimal import Decimal

import pytest

from coterie.errors import DataError, EngineUnavailable
from coterie.learning.dataset import Row
from coterie.learning.job import Silent
from coterie.rightsizing.large import (
    HeldOutRows,
    Prices,
    RecordedAnswer,
    ask_model,
    judge_answers,
    prompt_start,
    read_answers,
    write_answers,
)
from coterie.tasks.contract import TASK_TYPES
from coterie.testing import EchoEngine, ScriptedEngine
from coterie.types import Label

ROWS = (
    Row(text="where is it", labels=("parcel",)),
    Row(text="lost it", labels=("card",)),
    Row(text="nice weather"),
    Row(text="lost it", labels=("card",)),
)


def held(
    rows=ROWS, *, task="classify", labels=("card", "parcel"), multi_label=False, measure="accuracy"
) -> HeldOutRows:
    numbers = [2 * n + 1 for n in range(len(rows))]
    return HeldOutRows(
        rows=rows, numbers=numbers, task=TASK_TYPES.load(task), labels=labels, multi_label=multi_label, measure=measure
    )


def answer(label, *, text=None, row=None, **more) -> RecordedAnswer:
    return RecordedAnswer(text=text, row=row, answer=label, **more)


def judge(answers, rows=None, prices=None):
    return judge_answers("giant", "gpt.csv", answers, rows or held(), prices or Prices())


def test_matched_by_text():
    """One answer to a text stands for every row that has it; rows without a label do not count."""
    result = judge([answer("parcel", text="where is it"), answer("card", text=" lost it "), answer("x", text="other")])

    assert (result.answered, result.of, result.positions) == (3, 3, (0, 1, 2))
    assert result.figure.value == 1.0


def test_several_answers_to_one_text():
    """Rows of one text take its answers one after the other."""
    result = judge([answer("card", text="lost it"), answer("parcel", text="lost it")])

    assert [case.correct for case in result.cases] == [True, False]


def test_matched_by_row_number():
    """The number is the row's in its file, also where only some of its rows are held out."""
    result = judge([answer("parcel", row=1), answer("parcel", row=7), answer("card", row=2)])

    assert result.positions == (0, 2)
    assert [case.correct for case in result.cases] == [True, False]


@pytest.mark.parametrize("said", ["Card", " card\n", '"card".', "**card**"])
def test_a_label_however_it_is_wrapped(said):
    """Case, spaces and what models put around a label do not make it wrong."""
    assert judge([answer(said, row=3)]).figure.value == 1.0


def test_strangers_are_wrong_and_counted():
    """An answer that is none of the labels is wrong, and said how often."""
    result = judge([answer("parcel", row=1), answer("I cannot say", row=3), answer("I cannot say", row=7)])

    assert result.figure.value == pytest.approx(1 / 3)
    assert result.strangers == {"I cannot say": 2}


def test_no_answer_belongs_here():
    """A file about other rows is refused."""
    with pytest.raises(DataError, match="none of the 1 answers belongs"):
        judge([answer("card", text="something else")])


def test_no_answer_is_a_label():
    """Labels written in another way altogether are refused, and shown."""
    with pytest.raises(DataError, match=r"2.*'card'.*'7'"):
        judge([answer("7", row=1), answer("7", row=3)])


def test_costs():
    """A recorded cost wins over tokens and prices; without either, money is not known."""
    prices = Prices(tokens_in=Decimal(10), tokens_out=Decimal(30))
    tokens = {"tokens_in": 100, "tokens_out": 10}
    recorded = judge([answer("parcel", row=1, cost=Decimal("0.5"), **tokens)], prices=prices)
    counted = judge([answer("parcel", row=1, **tokens)], prices=prices)
    unknown = judge([answer("parcel", row=1, **tokens)])

    assert recorded.per_1000.money == 500
    assert float(counted.per_1000.money) == pytest.approx(1.3)
    assert unknown.per_1000.money is None
    assert unknown.per_1000.joules == pytest.approx(110_000)
    assert judge([answer("parcel", row=1)]).per_1000.joules is None


def test_times():
    """Latency is of the answers whose time is known, and unknown without any."""
    timed = judge([answer("parcel", row=1, milliseconds=900.0), answer("card", row=3)])

    assert (timed.p50, timed.p95) == (900.0, 900.0)
    assert judge([answer("parcel", row=1)]).p50 is None


def test_scores():
    """A score is answered with yes, no or a probability."""
    rows = tuple(Row(text="", labels=(label,), columns={"n": n}) for n, label in enumerate("1010"))
    answers = [answer("yes", row=1), answer("0.2", row=3), answer("0.7", row=5), answer("1.5", row=7)]
    result = judge(answers, held(rows, task="score", labels=("0", "1"), measure="auc"))

    assert result.figure.value == 1.0
    assert result.strangers == {"1.5": 1}


def test_an_auc_needs_both_outcomes():
    """Answers to rows of one outcome only cannot be ranked."""
    rows = tuple(Row(text="", labels=(label,), columns={"n": n}) for n, label in enumerate("110"))

    with pytest.raises(DataError, match="all have the label '1'"):
        judge([answer("yes", row=1), answer("no", row=3)], held(rows, task="score", labels=("0", "1"), measure="auc"))


def test_several_labels():
    """Several labels are separated by a bar; one stranger spoils the answer, and none at all is one."""
    rows = (Row(text="a", labels=("card", "parcel")), Row(text="b", labels=("card",)))
    result = judge([answer("Parcel|card", row=1), answer("card|dog", row=3)], held(rows, multi_label=True))

    assert [case.correct for case in result.cases] == [True, False]
    assert result.strangers == {"card|dog": 1}


# --- Asking a large model: what the prompt says, how many rows, and that nothing is made up.


async def ask(engine, rows, *, most=100):
    """Its answers to a job's held-out rows."""
    return await ask_model(
        engine, rows.held, rows.train, most=most, label=Label.CONFIDENTIAL, seed=0, progress=Silent()
    )


def test_the_prompt_lists_labels_and_shows_examples(job, texts):
    """Every label is in the instruction, and an example of each with its label is shown."""
    rows = job(texts())
    instruction, *shown = prompt_start(rows.train, rows.held)

    assert all(label in instruction.text for label in ("card", "parcel", "refund"))
    assert [message.role for message in shown] == ["user", "assistant"] * 3
    assert [message.text for message in shown[1::2]] == ["card", "parcel", "refund"]


async def test_every_row_is_asked_with_its_label(job, texts):
    """Prompts carry the sensitivity; answers name their rows by number and count tokens."""
    rows, engine = job(texts(), texts(each=3, seed=1)), EchoEngine()
    answers = await ask(engine, rows)

    assert {prompt.label for prompt in engine.prompts} == {Label.CONFIDENTIAL}
    assert [answer.row for answer in answers] == list(range(1, 10))
    assert [answer.answer for answer in answers] == [row.text for row in rows.held.rows]
    assert all(answer.tokens_in and answer.milliseconds is not None for answer in answers)


async def test_at_most_so_many(job, texts):
    """More rows than wanted: a seeded sample of them, the same every time."""
    rows = job(texts(), texts(each=10, seed=1))
    first, second = [[answer.row for answer in await ask(EchoEngine(), rows, most=7)] for _ in range(2)]

    assert len(first) == 7
    assert first == second


async def test_an_engine_that_fails(job, texts):
    """The engine's error is raised: a model that cannot be reached has no answers."""
    engine = ScriptedEngine([EngineUnavailable("nobody there", engine="giant")])

    with pytest.raises(EngineUnavailable, match="nobody there"):
        await ask(engine, job(texts(), texts(each=1, seed=1)), most=1)


# --- Answers on file: what is read, what is refused, and that what is written can be read.


def test_csv(tmp_path):
    """Text and answer, and what is known of what it took; an empty cell is not known."""
    path = tmp_path / "gpt.csv"
    path.write_text("text,answer,tokens_in,cost,milliseconds\nwhere,parcel,12,0.001,\n")

    assert read_answers(path) == [
        RecordedAnswer(text="where", row=None, answer="parcel", tokens_in=12, cost=Decimal("0.001"))
    ]


def test_row_numbers_and_lists(tmp_path):
    """A row can be named by its number, and several labels are a list."""
    path = tmp_path / "gpt.jsonl"
    path.write_text('{"row": 3, "answer": ["a", "b"]}\n')

    assert read_answers(path) == [RecordedAnswer(text=None, row=3, answer="a|b")]


def test_another_text_column(tmp_path):
    """The text is in the column that the data has it in."""
    path = tmp_path / "gpt.csv"
    path.write_text("body,answer\nwhere,parcel\n")

    assert read_answers(path, text_column="body")[0].text == "where"


def test_what_is_written_can_be_read(tmp_path):
    """Writing and reading give the same answers."""
    answers = [
        RecordedAnswer(text="wo ist es?", row=None, answer="pärcel", tokens_in=3, tokens_out=1, cost=Decimal("0.5")),
        RecordedAnswer(text=None, row=2, answer="", milliseconds=1.5),
    ]
    path = tmp_path / "answers.jsonl"
    path.write_bytes(write_answers(answers))

    assert read_answers(path) == answers


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text,label\na,b\n", "need 'answer'"),
        ("question,answer\na,b\n", "need 'answer', and 'text' or 'row'"),
        ('{"answer": "a"}\n', "line 1 has neither 'text' nor 'row'"),
        ('{"text": "a"}\n', "has no 'answer'"),
        ("row,answer\none,b\n", "line 2 has row 'one'"),
        ("text,answer,cost\na,b,-1\n", "cost '-1', which is no number from 0"),
        ("text,answer,milliseconds\na,b,inf\n", "no number from 0"),
        ("text,answer\n", "has no answers"),
    ],
)
def test_what_cannot_be_used(tmp_path, content, said):
    """A file that does not say what is needed is refused with its line."""
    path = tmp_path / "gpt.jsonl"
    path = path if content.startswith("{") else path.with_suffix(".csv")
    path.write_text(content)

    with pytest.raises(DataError, match=said):
        read_answers(path)
