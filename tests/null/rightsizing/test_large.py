"""A large model's answers beside held-out rows: matched, read as labels, priced."""

from decimal import Decimal

import pytest

from coterie.errors import DataError
from coterie.learning.dataset import Row
from coterie.rightsizing.large import HeldOutRows, Prices, RecordedAnswer, judge_answers
from coterie.tasks.contract import TASK_TYPES

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
