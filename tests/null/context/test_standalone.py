"""Which questions depend on earlier ones, and what they are given back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.context.followups import (
    asked_again,
    follow_up_reason,
    is_detail,
    moments,
    rewrite_query,
    subject_of,
    words_of,
)
from coterie.types import Context, Entry, FindingSummary, Label, Message


def asked(text: str, label: Label = Label.INTERNAL) -> Entry:
    """A question of the caller's."""
    return Entry(content=Message(role="user", text=text), producer="user", label=label, time=0.0)


def found(text: str, *, task: str = "classify", accepted: bool = True, label: Label = Label.INTERNAL) -> Entry:
    form = "label" if task == "classify" else "text"
    content = FindingSummary(specialist="triage", task=task, text=text, confidence=0.9, accepted=accepted, form=form)
    return Entry(content=content, producer="triage", label=label, time=0.0)


@pytest.mark.parametrize(
    "text",
    [
        "and what is the fee for that?",
        "How long does it take?",
        "What about Google Pay?",
        "and by cheque?",
        "any fees?",
        "why was it declined?",
        "It doesn\u2019t work",
        "I tried it and it failed",
        "can it be done automatically?",
        "which ones are supported?",
        "thanks, and the symptoms?",
        "I was declined there",
        "on Tuesday at 3 please",
        "and at noon?",
        "for two hours",
        "make that six",
        "is anything free on Monday?",
        "what about 10 am?",
        "what do I do now?",
        "and under 25?",
    ],
)
def test_leaning(text):
    """A question that points at something, goes on with something or leaves out what it is about leans."""
    assert follow_up_reason(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?!",
        "Where is my card?",
        "I lost my card, can you block it?",
        "Does it cost anything to top up?",
        "How long does it take for a transfer to arrive?",
        "It seems that the rate is wrong",
        "Is there a way to change my PIN?",
        "I would like to know what the exchange rates are",
        "What are the treatments for Jackson-Weiss syndrome?",
        "Can I apply for one of your cards if I live in the EU?",
        "The Receiving Party shall return it and all copies of it to the Disclosing Party within ten days.",
        "what day is it today?",
        "Wake me at 6 tomorrow",
        "thanks, that's all",
        "when is the first of May a holiday?",
        "Quanto costa il bonifico internazionale?",
    ],
)
def test_standing_alone(text):
    """A question that says what it is about does not lean, and no other language than English does."""
    assert follow_up_reason(text) == ""


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("What are the symptoms of Swyer syndrome?", "swyer syndrome"),
        ("What are the genetic changes related to Kearns-Sayre syndrome?", "kearns sayre syndrome"),
        ("How do I order a virtual card?", "order virtual card"),
        ("I want to swap my quiet dormitory flat with a friend next term", "quiet dormitory flat friend next term"),
        ("is Osteoarthritis inherited?", "osteoarthritis inherited"),
        ("How are you?", ""),
    ],
)
def test_subject(text, subject):
    """What a question is about: what it asks an aspect of, else its words that say something, of many the things."""
    assert subject_of(text) == subject


def test_what_was_found_is_given_back():
    """The label that a classifier was sure of stands behind the question, in words."""
    context = Context(entries=(asked("how do I top up with my card"), found("topping_up_by_card")))

    rewritten = rewrite_query("and what is the fee for that?", context)

    assert rewritten.text == "and what is the fee for that? (topping up by card)"
    assert rewritten.reason == "'that' stands for something that it does not name"


def test_what_was_asked_is_given_back():
    """Where no classifier was sure, it is what the last question that stood alone was about."""
    context = Context(
        entries=(
            asked("What are the symptoms of Swyer syndrome?"),
            found("doc-1", task="answer"),
            asked("and the treatments?"),
            found("card_lost", accepted=False),
        )
    )

    assert rewrite_query("is it inherited?", context).text == "is it inherited? (swyer syndrome)"


def test_the_first_question_is_what_it_is_about():
    """A question with nothing before it to depend on says what is talked about, however short."""
    context = Context(entries=(asked("I'd like to see a doctor"), asked("what does it cost?")))

    assert rewrite_query("do I need that today?", context).text == "do I need that today? (doctor)"


def test_another_time_asks_the_same():
    """Who says no more than when or how many asks the earlier question again, with that in it."""
    context = Context(entries=(asked("book the tennis court at six."), found("court"), asked("great, thanks")))

    rewritten = rewrite_query("at seven instead", context)

    assert rewritten.text == "book the tennis court at seven."
    assert rewritten.reason == "it says no more than when or how many"


def test_a_time_where_none_was():
    """Where the earlier question has no time of that kind, or several, all of it is given back as it was."""
    context = Context(entries=(asked("is the court free from Sunday to Tuesday?"), found("court")))

    assert rewrite_query("at seven", context).text == "at seven (is the court free from Sunday to Tuesday)"
    assert rewrite_query("and on Friday?", context).text == "and on Friday? (is the court free from Sunday to Tuesday)"


def test_what_was_asked_again_is_leant_on():
    """Later questions depend on the time that was named last, whether or not a classifier was sure of it."""
    first, monday = asked("When does the pool open on Sunday?"), asked("and on Monday?")

    for entries in ((first, monday), (first, found("pool_hours"), monday, found("pool_hours"))):
        tuesday = Context(entries=(*entries, asked("until when?"), asked("what about Tuesday?")))
        assert rewrite_query("on Friday at noon?", tuesday).text == "When does the pool open on Friday at noon?"
    assert (
        rewrite_query("what does it cost?", Context(entries=(first, monday))).text
        == "what does it cost? (pool open monday)"
    )


def test_what_was_asked_again_is_as_sensitive_as_both():
    """A question that is made of two has the higher label."""
    for labels in ((Label.CONFIDENTIAL, Label.PUBLIC), (Label.PUBLIC, Label.CONFIDENTIAL)):
        context = Context(entries=(asked("open on Sunday?", labels[0]), asked("and on Monday?", labels[1])))
        assert rewrite_query("and on Friday?", context).label is Label.CONFIDENTIAL


@pytest.mark.parametrize(
    ("earlier", "detail", "again"),
    [
        ("What are the opening hours on Sunday?", "and on Monday?", "What are the opening hours on Monday?"),
        ("Is the museum open today?", "and on Monday?", "Is the museum open on Monday?"),
        ("Is the museum open on Sunday?", "and tomorrow?", "Is the museum open tomorrow?"),
        ("Sunday opening hours", "and on Mondays?", "Mondays opening hours"),
        ("is it open on Saturday morning?", "and Sunday afternoon?", "is it open on Sunday afternoon?"),
        ("May I park on 5 May?", "and on the 6th of June?", "May I park on the 6th of June?"),
        ("How late are you open in May?", "and in June?", "How late are you open in June?"),
        ("who won in 2019?", "and in 2020?", "who won in 2020?"),
        ("a table for four at 8 pm", "for two", "a table for two at 8 pm"),
        ("a table for four at 8 pm", "at 7:30 pm instead", "a table for four at 7:30 pm"),
        ("order four pizzas", "make that six", "order six pizzas"),
        ("book the hall for two hours", "for three hours", "book the hall for three hours"),
        ("book the hall on Friday", "Monday at six", "book the hall on Monday at six"),
        ("is anything free on Sunday?", "is Monday free?", "is anything free on Monday?"),
        ("a table at six on Friday", "no, Sunday", "a table at six on Sunday"),
        ("Is it open on Sunday?", "and next Monday?", "Is it open next Monday?"),
        ("Is it open this weekend?", "and on weekdays?", "Is it open on weekdays?"),
        ("fees for accounts under 18?", "and over 65?", "fees for accounts over 65?"),
        ("departures between 9 and 10", "at 11", ""),
        ("when do you close on Sunday?", "an hour later", ""),
        ("is it open on Sunday?", "not on Monday?", ""),
        ("where is my card?", "on Monday", ""),
        ("", "on Monday", ""),
    ],
)
def test_another_time_in_the_place_of_the_first(earlier, detail, again):
    """A time or number stands where the one of its kind stood, with the word before it that fits."""
    assert asked_again(earlier, detail) == again


def test_another_time_of_a_long_question():
    """A question of more than 16 words is not given back whole: what it is about is."""
    context = Context(entries=(asked("please book the hall " + "and the lights " * 6), found("hall_booking")))

    assert rewrite_query("on Friday", context).text == "on Friday (hall booking)"


def test_a_label_of_one_word_stands_beside_the_subject():
    """Several specialists may have a label "cancel", so what the question named is given back too."""
    context = Context(entries=(asked("cancel the tennis court"), found("cancel")))

    assert rewrite_query("what does it cost?", context).text == "what does it cost? (cancel tennis court)"


def test_the_newest_subject_counts():
    """After a change of subject it is the new one that is depended on."""
    context = Context(entries=(asked("how do I top up my account"), found("top_up"), asked("I lost my card")))

    assert rewrite_query("what does it cost?", context).text == "what does it cost? (lost card)"


def test_nothing_to_lean_on():
    """A first question stays as it is, and so does one after small talk."""
    assert rewrite_query("and the fee?", Context()) is None
    assert rewrite_query("and the fee?", Context(entries=(asked("how are you?"),))) is None


def test_a_restated_question_is_as_sensitive_as_what_it_was_given():
    """It carries the highest label of the earlier question and of what was found."""
    context = Context(
        entries=(
            asked("where is my card", Label.PUBLIC),
            found("card_arrival", label=Label.CONFIDENTIAL),
        )
    )

    assert rewrite_query("how long does it take?", context).label is Label.CONFIDENTIAL


@given(st.text(max_size=80), st.lists(st.text(max_size=40), max_size=4))
def test_any_text(text, earlier):
    """Whatever is asked after whatever: a question is left alone or kept whole, and what is rewritten stands alone."""
    rewritten = rewrite_query(text, Context(entries=tuple(map(asked, earlier))))

    assert rewritten is None or is_detail(words_of(text)) or rewritten.text.startswith(text.strip())


@given(st.text(max_size=60), st.sampled_from(["and on Monday?", "at seven", "for 3 days in May", "12:30 tomorrow"]))
def test_any_question_again(earlier, detail):
    """Whatever was asked, it is asked again without an error, and only where it had a time of that kind."""
    again = asked_again(earlier, detail)

    assert not again or any(each.kind in {other.kind for other in moments(earlier)} for each in moments(detail))
