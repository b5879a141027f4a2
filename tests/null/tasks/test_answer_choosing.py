"""The third look: a larger model says which of the likeliest sentences answers, and what that is worth is measured."""

from dataclasses import replace

import numpy as np
import pytest

from coterie.engines.reading import bundled_reader
from coterie.errors import EgressRefused, EngineUnavailable
from coterie.specialists.parts import Acceptance
from coterie.tasks.answer.choosing import (
    NONE,
    SHOWN,
    UNREAD,
    WEIGHED,
    Choosing,
    Offered,
    Pick,
    SentenceChooser,
    offer,
    prompt_of,
    read_pick,
    with_bonus,
)
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.fit import AskedQuestion, asked_questions, fit_choosing, met, outcome
from coterie.tasks.answer.model import NOT_STATED, AnswerSpecialist, Thresholds
from coterie.tasks.answer.reader import survey
from coterie.tasks.answer.rereading import JUDGED, LOOKED, Rereading
from coterie.testing import ScriptedEngine
from coterie.types import Label, SpecialistCard, Task, Verdict, worded
from tests._support.answers import QUESTION, TEXT, Likes, line, passage, view

PICKS = Choosing(bonus=20.0, right=line(WEIGHED, likes=4.0), stated=line(WEIGHED, none=-4.0))
"""Believes whatever the model says."""


def choosing(*script: object, model: str = "zebra", sure: float = 0.9) -> tuple[AnswerSpecialist, ScriptedEngine]:
    """A specialist whose reading model likes a word, and whose larger model says what a script says."""
    engine = ScriptedEngine(script, name="large")
    accepts = Acceptance(temperature=1.0, threshold=sure, target_risk=0.1, scope_threshold=None)
    reads = Rereading(
        sentence=line(LOOKED, read=1.0), right=line(JUDGED, score=1.0), stated=line(JUDGED, highest=0.1), also=100.0,
        model=Likes.sha256,
    )  # fmt: skip
    card = SpecialistCard(name="ask", task="answer", description="", rung="llm", version="1", knowledge=("index",))
    answerer = AnswerSpecialist(
        card=card, reader=load_defaults().readers["lexical"], answering=accepts, silence=accepts, rereading=reads,
        model=Likes(model), chooser=SentenceChooser(name="ask", engine=engine, choosing=PICKS),
        chosen=Thresholds(accepts, accepts),
    )  # fmt: skip
    return answerer, engine


def place_of(engine: ScriptedEngine, text: str) -> int:
    """The number under which the model was shown a sentence."""
    shown = engine.prompts[-1].messages[0].text.splitlines()
    return next(int(shown_line[1]) for shown_line in shown if shown_line.endswith(text))


async def test_the_sentence_that_it_picks_is_quoted():
    """What the looks before refuse is answered; the model is in the steps and in the reason."""
    answerer, engine = choosing("0")
    await answerer.consult(Task(text=QUESTION), view())
    number = place_of(engine, "Cards are valid for 4 years.")

    answerer, engine = choosing(str(number))
    finding = await answerer.consult(Task(text=QUESTION), view())

    assert finding.accepted
    assert finding.citations[0].text == "Cards are valid for 4 years."
    assert [step.engine for step in finding.steps][-1] == "large"
    assert "note.chosen_by" in [note.code for note in (finding.reason, *finding.reason.notes)]
    assert engine.prompts[0].label is Label.INTERNAL


async def test_that_none_answers_is_said():
    """It is silence that stands."""
    answerer, _ = choosing("0")
    finding = await answerer.consult(Task(text=QUESTION), view())

    assert (finding.value, finding.accepted) == (NOT_STATED, True)


async def test_it_is_not_asked_where_the_looks_before_are_sure():
    """No model is paid to say so once more."""
    answerer, engine = choosing(model="valid")
    finding = await answerer.consult(Task(text=QUESTION), view())

    assert finding.accepted
    assert not engine.prompts


@pytest.mark.parametrize(
    "error",
    [
        EngineUnavailable("down", engine="large"),
        EgressRefused(Verdict(allowed=False, rule="egress.clearance", reason=worded("it is above"))),
    ],
)
async def test_where_it_cannot_be_asked_the_looks_before_stand(error):
    """An engine that fails and a gate that refuses take nothing away."""
    answerer, _ = choosing(error)
    without = replace(answerer, chooser=None, chosen=None)
    one, other = [await specialist.consult(Task(text=QUESTION), view()) for specialist in (answerer, without)]

    assert (one.value, one.confidence, one.accepted) == (other.value, other.confidence, other.accepted)


async def test_what_names_no_sentence_counts_as_nothing_said():
    """Neither a pick nor a denial: the lines see neither."""
    answerer, _ = choosing("I cannot say.")
    finding = await answerer.consult(Task(text=QUESTION), view())

    assert not (finding.accepted and finding.citations)


def test_the_likeliest_are_offered_in_order():
    """So many at most, the likeliest first, a heading before each and long ones cut."""
    long = "Cards are valid for " + "very " * 200 + "many years."
    seen = survey(QUESTION, [replace(passage(" ".join([TEXT] * 3) + " " + long), heading="Cards")])
    scores = np.arange(len(seen.sentences), dtype=float)
    rows, offered = offer(seen, scores)

    assert rows.tolist() == list(range(len(scores) - 1, len(scores) - 1 - SHOWN, -1))
    assert all(offered_line.startswith("Cards: ") for offered_line in offered.lines)
    assert len(offered.lines[0]) < len(long)
    text = prompt_of(offered, Label.PUBLIC).messages[0].text
    assert [f"[{number}]" in text for number in range(1, SHOWN + 2)] == [True] * SHOWN + [False]


@pytest.mark.parametrize(
    ("text", "pick"),
    [("2", 1), ("[2].", 1), (" 0\n", NONE), ("none", UNREAD), ("4", UNREAD), ("", UNREAD), ("Sentence 3 says", 2),
     ("12345678901234567890", UNREAD)],
)  # fmt: skip
def test_what_is_read_of_an_answer(text, pick):
    """The first number, if so many were shown."""
    assert read_pick(text, -0.5, 3).place == pick
    assert read_pick("1", -0.5, 3).probability == pytest.approx(np.exp(-0.5))
    assert read_pick("1", None, 3) == Pick(0)


def test_lines_come_back_from_json():
    """As they were."""
    again = Choosing.restore(PICKS.describe())
    assert again.bonus == PICKS.bonus
    assert again.right.weights.tolist() == PICKS.right.weights.tolist()


# --- What a pick is worth


def drawn(count: int, *, seed: int = 0) -> list[AskedQuestion]:
    """Questions of three domains: half of the stated ones have their answer in the second place, all are unsure."""
    random = np.random.default_rng(seed)
    questions = []
    for number in range(count):
        stated, index = bool(random.random() < 0.7), int(random.random() < 0.5)
        answers = np.zeros(4, dtype=bool)
        answers[index] = stated
        scores = np.sort(random.normal(size=4))[::-1]
        questions.append(
            AskedQuestion(
                domain=f"domain {number % 3}",
                offered=Offered(f"question {number}", ("a", "b", "c", "d")),
                scores=scores,
                right=float(random.uniform(0.2, 0.6)),
                stated=float(random.uniform(0.4, 0.8)),
                answers=answers,
                is_stated=stated,
            )
        )
    return questions


def picks(questions: list[AskedQuestion], *, right: float, seed: int = 1) -> list[Pick]:
    """A model that is right so often, and else says anything."""
    random = np.random.default_rng(seed)
    true = [int(question.answers.argmax()) if question.is_stated else NONE for question in questions]
    return [Pick(answer if random.random() < right else int(random.integers(NONE, 4))) for answer in true]


@pytest.mark.parametrize("right", [1.0, 0.95, 0.9])
def test_a_model_that_knows_more_answers_more_at_the_risk(right):
    """Measured on other questions than it was fitted on, with a margin of two standard errors."""
    questions = drawn(240)
    fitted = fit_choosing(questions, picks(questions, right=right), sure=0.9, risk=0.1)
    assert fitted is not None
    assert (fitted.before, fitted.asked) == (0, sum(question.is_stated for question in questions))

    others = drawn(2000, seed=7)
    results = [outcome(fitted.choosing, *pair) for pair in zip(others, picks(others, right=right, seed=8), strict=True)]
    given = np.array([result.sure >= max(fitted.answering, 1 - result.stated) for result in results])
    wrong = ~np.array([result.right for result in results])
    stated = np.array([question.is_stated for question in others])
    assert given[stated].mean() > 0.6
    assert wrong[given].mean() < 0.1 + 2 * (0.1 * 0.9 / 240) ** 0.5


@pytest.mark.parametrize("says", [0.0, "first"])
def test_a_model_that_knows_nothing_gets_no_say(says):
    """At random, or always the first: no confidence holds the risk, or nothing more is answered."""
    questions = drawn(240)
    picked = [Pick(0)] * len(questions) if says == "first" else picks(questions, right=0.0)
    fitted = fit_choosing(questions, picked, sure=0.9, risk=0.1)

    assert fitted is None or fitted.answered - fitted.before < 0.1 * fitted.asked


def test_what_a_pick_gives_to_each():
    """Most to the picked one, the rest in equal shares, and the same to all where nothing was read."""
    sure, read = Pick(1, 0.9), Pick(UNREAD)
    odds = [sure.given_to(index) for index in (1, 0, NONE)]

    assert odds[0] == pytest.approx(np.log(9))
    assert odds[1] == odds[2] < read.given_to(0) == read.given_to(NONE) < odds[0]


def test_a_few_questions_show_nothing():
    """Of one domain, or all alike: no say, and no error."""
    questions = drawn(60)
    same = [replace(question, domain="a") for question in questions]
    never = [replace(question, answers=np.zeros(4, dtype=bool), is_stated=False) for question in questions]

    assert fit_choosing(same, picks(same, right=1.0), sure=0.9, risk=0.1) is None
    assert fit_choosing(never, picks(never, right=1.0), sure=0.9, risk=0.1) is None


def test_a_bonus_goes_to_the_picked_one():
    """And to nobody where none is picked."""
    assert with_bonus(np.array([1.0, 0.0]), Pick(1), 3.0).tolist() == [1.0, 3.0]
    assert with_bonus(np.array([1.0, 0.0]), Pick(NONE), 3.0).tolist() == [1.0, 0.0]


def test_a_threshold_counts_what_is_given_in_any_case():
    """Wrong answers of the looks before leave less room."""
    right = np.array([True] * 40 + [False] * 4 + [True] * 16)
    domains = np.array(["a", "b"] * 30)
    confidence = np.concatenate([np.full(40, np.inf), np.linspace(0.5, 0.6, 4), np.full(16, 0.9)])

    assert met(confidence, right, domains, 0.1) == pytest.approx(0.5)
    assert met(confidence, np.where(np.isinf(confidence), np.arange(60) % 5 > 0, right), domains, 0.1) is None


def test_the_worst_domain_may_be_counted_twice():
    """Where one domain of two is wrong an eighth of the time the mean holds 8%, but not with that one once more."""
    right = np.array([True] * 40 + [True, True, True, True, True, True, False] * 6)[:80]
    domains = np.array(["a"] * 40 + ["b"] * 40)
    confidence = np.concatenate([np.full(40, 0.9), np.full(20, 0.6), np.full(20, 0.5)])

    assert met(confidence, right, domains, 0.08) == pytest.approx(0.5)
    assert met(confidence, right, domains, 0.08, again=True) == pytest.approx(0.6)


def test_the_public_questions_were_looked_at_by_the_reading_model_that_is_here():
    """Else what a model's choice is worth beside it cannot be found."""
    model, questions = asked_questions()
    assert model == bundled_reader().sha256
    assert len({question.domain for question in questions[:100]}) > 2
    assert all(len(question.scores) == len(question.answers) == len(question.offered.lines) for question in questions)
