"""What questions ask for, and whether a sentence has such a thing."""

import numpy as np
import pytest

from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.features import LEXICAL, WHOLE, cut_passages
from coterie.tasks.answer.reader import borne_by, cite, spoken, survey
from coterie.types import Label, Passage


def fits(question, text):
    """How many of the kinds that are asked for a sentence has, and how many it has not."""
    passage = Passage(document="a.md", start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC)
    seen = survey(question, [passage])
    return tuple(seen.words[0, LEXICAL.index(name)] for name in ("fits", "unfit"))


@pytest.mark.parametrize(
    ("question", "has", "lacks"),
    [
        ("How much is a day pass?", "A day pass is \u20ac16.50.", "A day pass is valid all week."),
        ("What does it cost?", "Children swim for free.", "Children swim here."),
        ("When does the hall open?", "The hall opens at 9 am.", "The hall opens again."),
        ("On which day is waste collected?", "Paper goes on Fridays.", "Paper goes into the blue bin."),
        ("How long does the loan last?", "A loan lasts six months.", "A loan can be prolonged."),
        ("How many keys do I get?", "You get three keys.", "You get keys."),
        ("Who takes the minutes?", "Minutes: Paul Etxeberria", "The minutes are short."),
        ("Where do I put my bike?", "Bicycles go in the cellar.", "Bicycles must be locked."),
        ("What number do I call?", "Our line is 0113 496 0088.", "Our line is busy."),
        ("May I keep a dog?", "Dogs are not welcome.", "Dogs bark."),
        ("How do I pause it?", "Use the left button.", "It pauses."),
    ],
)
def test_a_sentence_has_what_is_asked_for(question, has, lacks):
    """A price, a time, a person, a place, a leave: one sentence has it, the other one has not."""
    assert fits(question, has)[0] > fits(question, lacks)[0]
    assert fits(question, has)[1] < fits(question, lacks)[1]


def test_a_question_that_asks_for_no_kind_of_thing():
    """Its sentences neither fit nor fail to."""
    assert fits("Tell me about parcels", "Parcels cost 5 euros.") == (0.0, 0.0)


def test_what_fits_counts_for_an_answer():
    """The calibration that comes with Coterie takes a sentence that has what is asked for to be the likelier one."""
    for reader in load_defaults().readers.values():
        weights = dict(zip(reader.plain.sentence.names, reader.plain.sentence.weights, strict=True))
        assert np.isfinite(list(weights.values())).all()
        assert weights["fits"] > weights["unfit"]


def test_another_word_for_the_same_is_known():
    """The sentence that says it in another word has what is meant, and one that says neither has not."""
    texts = "Bicycles stay in the yard. Prams stay in the hall."
    passage = Passage(document="a.md", start=0, end=len(texts), text=texts, score=1.0, label=Label.PUBLIC)

    seen = survey("Where does my bike go?", [passage])

    covered, meant = (seen.words[:, LEXICAL.index(name)].tolist() for name in ("covered", "meant"))
    assert covered == [0.0, 0.0]
    assert meant[0] > meant[1] == 0.0


def test_what_no_sentence_has_is_unheard():
    """It is the same for every sentence found: a word that one of them has, or means, was heard."""
    texts = "Bicycles stay in the yard. Prams stay in the hall."
    passage = Passage(document="a.md", start=0, end=len(texts), text=texts, score=1.0, label=Label.PUBLIC)

    def told(question):
        seen = survey(question, [passage])
        (values,) = {tuple(row) for row in seen.words[:, [LEXICAL.index(name) for name in WHOLE]].tolist()}
        return dict(zip(WHOLE, values, strict=True))

    assert told("Where does my bike go?")["unheard"] < told("Where does my unicorn go?")["unheard"] == 1.0
    assert told("Prams and bicycles?")["unheard"] == 0.0
    assert told("Bicycles?")["asked"] < told("Prams and bicycles?")["asked"]


# --- What a quoted sentence says to one who does not see where it stands.


def sentences(text):
    """Those of a passage."""
    return cut_passages([Passage(document="d", start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC)])


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("| Train | Dep. | Note |\n|---|---|---|\n| RB 1 | 6:42 | |", "Train: RB 1; Dep.: 6:42"),
        ("| Train | Dep. | Note |\n|---|---|---|\n| RB 1 | | bus |", "Train: RB 1; Note: bus"),
        ("| | A | B |\n|---|---|---|\n| Weight | 3 kg | 4 kg |", "Weight; A: 3 kg; B: 4 kg"),
        ("| A | B |\n|---|---|\n| 3 kg | 4 kg | 5 kg | 6 kg |", "3 kg | 4 kg | 5 kg | 6 kg"),
    ],
)
def test_a_row_is_told_with_the_names_of_its_columns(table, told):
    """Each value has its column's name; a row of other cells than columns stays as it is. The quote is the row's."""
    [row] = sentences(table)
    [citation] = cite([row])

    assert spoken(citation, [row]) == told
    assert citation.text == row.text
    assert citation.text in table


def test_prose_and_rows_of_names_and_values_are_told_as_they_stand():
    """On one line, a row's values apart."""
    for text, expected in (("It is\nfree.", "It is free."), ("name: A\nfee: 3", "name: A; fee: 3")):
        [row] = sentences(text)
        assert spoken(row.cite(), [row]) == expected


def test_a_wording_is_checked_against_values_beside_their_names():
    """What a row says of each column, and what an item hangs on."""
    assert borne_by(sentences("Weight\nPump 3: 3.9 kg\nPump 5: 4.7 kg")[0]) == "Weight, Pump 3 3.9 kg, Pump 5 4.7 kg"
    assert borne_by(sentences("Not included:\n- lunch")[1]) == "Not included: lunch"
