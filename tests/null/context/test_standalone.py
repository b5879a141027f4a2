"""Which questions depend on earlier ones, and what they are given back."""

from __future__ import annotations

import re

import numpy as np
import pytest

from coterie.context.sharing import rewrite_query
from coterie.types import Context, Entry, FindingSummary, Label, Message, Output, Usage


def asked(text: str, label: Label = Label.INTERNAL) -> Entry:
    """A question of the caller's."""
    return Entry(content=Message(role="user", text=text), producer="user", label=label, time=0.0)


def found(text: str, *, task: str = "classify", accepted: bool = True, label: Label = Label.INTERNAL) -> Entry:
    """What a specialist found."""
    form = "label" if task == "classify" else "text"
    content = FindingSummary(specialist="triage", task=task, text=text, confidence=0.9, accepted=accepted, form=form)
    return Entry(content=content, producer="triage", label=label, time=0.0)


class Marked:
    """Says that a turn that ends with + leans, that one that ends with ! is talk, and that words in capitals lack."""

    least_leaning = 0.5
    talk_languages = frozenset({"en"})

    def leans(self, text, before) -> float:
        """By the mark."""
        asked_of.append((text, list(before)))
        return 0.8 if text.endswith("+") else 0.2

    def talk(self, vectors):
        """By the mark, which is in the vector."""
        return vectors[:, 0]

    def missing(self, text, question):
        """By the letters."""
        words = re.findall(r"\w+", question)
        return words, [1.0 if word.isupper() else -0.1 * at for at, word in enumerate(words)]

    def substituted(self, text, now, question, output):
        """A number that the turn begins with, for one in the question."""
        number = re.match(r"and (\d)", text)
        return re.sub(r"\d", number[1], question) if number else None


asked_of: list[tuple[str, list[str]]] = []
encoded: list[list[str]] = []


async def encode(texts):
    """Outputs that hold the texts."""
    encoded.append(list(texts))
    return [Output(text=text, vector=np.array([1.0 if text.endswith("!") else -1.0]), usage=Usage()) for text in texts]


async def rewritten(text, *entries):
    """The rewritten query, or None."""
    encoded.clear()
    asked_of.clear()
    return await rewrite_query(text, Context(entries=entries), turns=Marked(), encode=encode)


async def test_what_was_found_is_given_back():
    """The label that a classifier was sure of stands behind the question, in words."""
    query = await rewritten("the fee for that +", asked("how do I TOP up"), found("topping_up_by_card"))

    assert query.text == "the fee for that + (topping up by card)"
    assert query.reason == "it leans on an earlier question (0.80)"


async def test_a_letter_of_its_own_takes_the_place_of_the_earlier_one():
    """Who asks for pier A after pier B gets back what was asked of it, and not its letter."""
    query = await rewritten("and pier A +", asked("the DEPTH at pier B"))

    assert query.text == "and pier A + (DEPTH)"
    assert (await rewritten("and there +", asked("the DEPTH at pier B"))).text == "and there + (DEPTH B)"


async def test_a_phrase_that_takes_the_place_of_an_earlier_one():
    """The question before is asked with it, also where that one was made so, and as sensitive as both."""
    first = asked("when does ROOM 4 open", Label.CONFIDENTIAL)

    query = await rewritten("and 5 +", first)
    later = await rewritten("and the LIGHT there +", first, asked("and 5 +"))

    assert query.text == "when does ROOM 5 open"
    assert query.label == Label.CONFIDENTIAL
    assert later.text == "and the LIGHT there + (ROOM)"
    assert encoded[-1] == ["when does ROOM 5 open"]


async def test_what_was_found_is_given_back_rather_than_a_question_with_another_phrase():
    """The label that a classifier was sure of."""
    query = await rewritten("and 5 +", asked("when does ROOM 4 open"), found("opening_hours"))

    assert query.text == "and 5 + (opening hours)"


async def test_what_was_asked_is_given_back():
    """Where no classifier was sure, it is the words that the turn lacks of the last question as it stands alone."""
    query = await rewritten(
        "is it inherited +",
        asked("the symptoms of SWYER SYNDROME"),
        found("doc-1", task="answer"),
        asked("and the TREATMENTS +"),
        found("card_lost", accepted=False),
        asked("thanks a lot !"),
    )

    assert query.text == "is it inherited + (TREATMENTS SWYER SYNDROME)"


async def test_a_question_taken_for_a_follow_up_is_not_passed_over():
    """One of another subject says what the next one is about, also where it was thought to lean on the one before."""
    query = await rewritten("when does it open +", asked("when do quiet hours START"), asked("where is the OFFICE +"))

    assert query.text == "when does it open + (OFFICE START)"


async def test_a_follow_up_to_a_follow_up_is_as_sensitive_as_both():
    """What is given back may be of either."""
    secret = asked("and the TREATMENTS +", Label.RESTRICTED)
    query = await rewritten("is it inherited +", asked("about SWYER"), secret, asked("and now +"))

    assert query.label == Label.RESTRICTED


async def test_a_label_of_one_word_stands_beside_the_words():
    """One word may be a label of several specialists."""
    query = await rewritten("what does it cost +", asked("please CANCEL my COURT"), found("cancel"))

    assert query.text == "what does it cost + (cancel CANCEL COURT)"


async def test_where_no_word_is_clearly_missing_the_likeliest_are_given_back():
    """In their order."""
    query = await rewritten("and then +", asked("one two three four five six"))

    assert query.text == "and then + (one two three four)"


async def test_a_question_that_was_classified_counts_though_it_leant():
    """It says what is talked about."""
    query = await rewritten("and then +", asked("about ONE"), asked("of it +"), found("lost_card"))

    assert query.text == "and then + (lost card)"


@pytest.mark.parametrize("text", ["what is a passport", "great, that is all !", "word " * 41 + "+"])
async def test_what_stands_alone_is_left_as_it_is(text):
    """Questions of their own, small talk, and texts that say enough."""
    assert await rewritten(text, asked("where is MY card")) is None


async def test_small_talk_that_seems_to_lean_is_left_as_it_is():
    """The model of small talk decides."""

    class Leans(Marked):
        def leans(self, text, before):
            return 0.99

    context = Context(entries=(asked("where is MY card"),))
    assert await rewrite_query("thank you!", context, turns=Leans(), encode=encode) is None


async def test_nothing_to_lean_on():
    """Without an earlier question nothing is encoded."""
    assert await rewritten("and the fee +") is None
    assert encoded == []


async def test_a_question_that_stands_alone_costs_one_reading():
    """Earlier questions are judged, and texts encoded, only where something leans on them."""
    await rewritten("what is a passport", asked("one"), asked("two"), asked("three"))
    assert asked_of == [("what is a passport", ["one", "two", "three"])]
    assert encoded == []


async def test_eight_questions_are_looked_back_to():
    """However long the session is; each is encoded as it was asked, and those that lean once more by themselves."""
    await rewritten("and that +", *(asked(f"question {number} +") for number in range(50)))

    assert encoded[0] == [*(f"question {number} +" for number in range(42, 50)), "and that +"]
    assert len(encoded) == 1 + 7
    assert {text for text, _ in asked_of} == {*(f"question {number} +" for number in range(43, 50)), "and that +"}


async def test_small_talk_of_a_language_that_its_model_does_not_know():
    """Nothing is encoded for it, and nothing taken for it."""
    context = Context(entries=(asked("wo ist MEINE Karte"),))
    query = await rewrite_query("danke! +", context, turns=Marked(), encode=encode, language="de")

    assert query.text == "danke! + (MEINE)"


async def test_a_rewritten_question_is_as_sensitive_as_what_it_was_given():
    """Label of the question and of what was found for it."""
    query = await rewritten("how long +", asked("where is it"), found("card_arrival", label=Label.CONFIDENTIAL))

    assert query.label is Label.CONFIDENTIAL


async def test_what_reading_takes_is_reported():
    """Of whether the turn depends on something, and then of what it lacks."""
    took: list[Usage] = []
    context = Context(entries=(asked("where is MY card"),))
    for text in ("what is a passport", "and now +"):
        await rewrite_query(text, context, turns=Marked(), encode=encode, spent=took.append)

    assert len(took) == 1 + 2
    assert all(usage.milliseconds > 0 for usage in took)
