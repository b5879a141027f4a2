"""What a question may be, and when two questions are the same one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.decisions.questions import MOST_QUESTIONS, check_questions, fingerprint
from coterie.errors import InputError
from coterie.types import Option, Question

NAMES = st.lists(st.text("abcdefé日 ", min_size=1, max_size=8).filter(str.strip), min_size=2, max_size=6, unique=True)


@given(NAMES, st.randoms())
def test_the_order_of_options_is_no_part_of_a_choice(names, random):
    """Shuffled options, another name and more white space make the same question; another option makes another."""
    shuffled = random.sample(names, len(names))
    question = Question.choice(names, "Which one?", name="a")

    assert fingerprint(question) == fingerprint(Question.choice(shuffled, " Which\n one? ", name="b"))
    assert fingerprint(question) != fingerprint(Question.choice([*names, "zzz"], "Which one?"))


def test_the_order_of_levels_is():
    """A score upside down is another question, and so is a described one."""
    score = Question.score(["calm", "angry"])

    assert fingerprint(score) != fingerprint(Question.score(["angry", "calm"]))
    assert fingerprint(score) != fingerprint(Question.score({"calm": "no anger", "angry": ""}))


@pytest.mark.parametrize(
    ("questions", "said"),
    [
        ([], "0 questions"),
        ([Question.predicate("true?")] * (MOST_QUESTIONS + 1), "65 questions"),
        ([Question.choice(["only"])], "1 options"),
        ([Question.choice([])], "0 options"),
        ([Question.choice([f"option {n}" for n in range(256)])], "256 options"),
        ([Question.choice([f"{n}" for n in range(255)])] * 9, "2295 options together"),
        ([Question.choice(["a", "b", "a"])], "two options of the name 'a'"),
        ([Question.choice(["a b", " a  b"])], "two options of the name 'a b'"),
        ([Question.choice(["a", " "])], "without a name"),
        ([Question.choice(["a", "\ud800"])], "half a surrogate pair"),
        ([Question.choice(["a", "b" * 1001])], "1001 characters"),
        ([Question.choice(["a", "b"], "x" * 20_001)], "20001 characters"),
        ([Question.predicate(" ")], "asks nothing"),
        ([Question(kind="predicate", options=(Option(name="yes"), Option(name="no")), instructions="?")], "yes"),
        ([Question.score(["a", "b"], name="q"), Question.choice(["a", "b"], name="q")], "Two questions"),
    ],
)
def test_what_cannot_be_answered(questions, said):
    """It is refused with what was found."""
    with pytest.raises(InputError, match=said):
        check_questions(questions)


def test_an_option_without_a_description():
    """None says nothing, as null does in JSON."""
    assert Question.choice({"a": None, "b": "x"}) == Question.choice({"a": "", "b": "x"})
    check_questions([Question.score({"low": None, "high": None})])
