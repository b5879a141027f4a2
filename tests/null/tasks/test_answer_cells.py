"""Rows of tables as answers: the row, the column, the cell, and documents that contradict each other."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from coterie.tasks.answer.cells import (
    akin,
    asked_cells,
    asks_for_another,
    look_up,
    named,
    other_number,
    own_rows,
    ranges_of,
)
from coterie.tasks.answer.features import cut_passages
from coterie.tasks.answer.model import _missing
from coterie.tasks.answer.reader import survey
from coterie.types import ContextView, Entry, Label, Passage, Reason, Task

from .test_answer import specialist, writer

FEES = """Yearly income: up to 20,000 \u20ac
Half day: 60 \u20ac
Full day: 95 \u20ac

Yearly income: 20,001 \u2013 40,000 \u20ac
Half day: 90 \u20ac
Full day: 140 \u20ac

Yearly income: over 40,000 \u20ac
Half day: 130 \u20ac
Full day: 195 \u20ac"""
POOL = """Tarif: Tageskarte
Erwachsene werktags: 6,50 \u20ac
Kinder werktags: 3,50 \u20ac
Kinder Wochenende: 4,50 \u20ac

Tarif: Abendkarte
Erwachsene werktags: 4,00 \u20ac
Kinder Wochenende: 2,70 \u20ac"""


def passage(text, *, document="fees.csv", dated=None, heading=""):
    """A document of one passage."""
    return Passage(
        document=document,
        start=0,
        end=len(text),
        text=text,
        score=1.0,
        label=Label.PUBLIC,
        index="index",
        dated=dated,
        heading=heading,
    )


async def ask(question, *passages, answering=0.0, **parts):
    """The finding of the shipped reader by words."""
    entries = tuple(
        Entry(content=cited_passage, producer="index", label=cited_passage.label, time=0.0)
        for cited_passage in passages
    )
    return await specialist(answering=answering, **parts).consult(Task(text=question), ContextView(entries=entries))


@pytest.mark.parametrize(
    ("question", "value"),
    [
        (
            "What is the fee for a full day with a yearly income of 35,000 euro?",
            "20,001 \u2013 40,000 \u20ac; Full day: 140 \u20ac",
        ),
        (
            "What is the fee for a half day with a yearly income of 12,500 euro?",
            "up to 20,000 \u20ac; Half day: 60 \u20ac",
        ),
        (
            "What is the fee for a full day with a yearly income of 99,000 euro?",
            "over 40,000 \u20ac; Full day: 195 \u20ac",
        ),
    ],
)
async def test_a_number_is_in_the_range_of_a_row(question, value):
    """Three incomes have three rows; the one cell that is asked for is said, and the whole row is cited."""
    finding = await ask(question, passage(FEES))

    assert finding.value == f"Yearly income: {value}"
    assert [citation.text.count("\n") for citation in finding.citations] == [2]


@pytest.mark.parametrize(
    ("question", "value"),
    [
        (
            "Was kostet die Tageskarte f\u00fcr Kinder am Wochenende?",
            "Tarif: Tageskarte; Kinder Wochenende: 4,50 \u20ac",
        ),
        (
            "Was kostet die Abendkarte f\u00fcr Erwachsene werktags?",
            "Tarif: Abendkarte; Erwachsene werktags: 4,00 \u20ac",
        ),
    ],
)
async def test_a_row_and_a_column_in_german(question, value):
    """What tells rows and columns apart is which words of the question few of them have."""
    assert (await ask(question, passage(POOL))).value == value


async def test_a_blank_cell_is_no_answer():
    """Where the row has nothing in the column that is asked for, no other cell is said."""
    finding = await ask("Was kostet die Abendkarte f\u00fcr Kinder werktags?", passage(POOL))

    assert not finding.accepted
    assert {"abstain.blank_cell", "answer.not_stated"} & set(finding.reason.codes)


PIERS = """| Pier | Length limit | Depth | Shore power |
|---|---|---|---|
| A | 9 m | 1.8 m | 16 A |
| B | 10.5 m | 2.4 m | 16 A |
| C | 18 m | 3.1 m | 32 A |"""
DEVICES = """| Ger\u00e4t | Raum |
|---|---|
| Zentrifuge 1 | 2.04 |
| Zentrifuge 2 | 2.07 |"""
HEADS = """| Department | Head |
|---|---|
| IT | Ann Bell |
| HR | Leo Marsh |
| Region A | Kim Roe |
| Region B | Pat Poe |"""


@pytest.mark.parametrize(
    ("question", "table", "row"),
    [
        ("What is the depth of pier C?", PIERS, "C | 18 m | 3.1 m | 32 A"),
        ("What is the depth of pier b?", PIERS, "B | 10.5 m | 2.4 m | 16 A"),
        ("What is the length limit of pier A?", PIERS, "A | 9 m | 1.8 m | 16 A"),
        ("Wie tief ist es an Steg B?", PIERS, "B | 10.5 m | 2.4 m | 16 A"),
        ("Is a head of IT known?", HEADS, "IT | Ann Bell"),
        ("Who is the head of region B?", HEADS, "Region B | Pat Poe"),
        ("Who is the head of region A?", HEADS, "Region A | Kim Roe"),
    ],
)
def test_a_row_that_is_known_by_a_letter(question, table, row):
    """A letter that is no word of the question otherwise tells the row, also where it is a small word elsewhere."""
    sentences = cut_passages([passage(table, document="t.md")])
    matched = look_up(question, sentences, "de" if question.startswith("Wie") else "en").matched

    assert [sentence.text for sentence, score in zip(sentences, matched, strict=True) if score == matched.max()] == [
        row
    ]


@pytest.mark.parametrize(
    ("question", "table", "other"),
    [
        ("What is the depth of pier D?", PIERS, "d"),
        ("What is the depth of pier C?", PIERS, ""),
        ("What depth do I need a pier for?", PIERS, ""),
        ("Who is the head of region D?", HEADS, "d"),
        ("Who is the head of region B?", HEADS, ""),
        ("In welchem Raum steht Zentrifuge 3?", DEVICES, "3"),
        ("In welchem Raum steht Zentrifuge 2?", DEVICES, ""),
        ("Steht Zentrifuge 2 neben Zentrifuge 3?", DEVICES, ""),
        ("Welche Zentrifuge wird 2026 gepr\u00fcft?", DEVICES, ""),
        ("Was kostet Nummer 2?", DEVICES, ""),
    ],
)
def test_another_letter_is_another_row(question, table, other):
    """A row known by a letter, or a number behind a word, is none of another one; "I" and "a" say nothing."""
    row = named(cut_passages([passage(table, document="t.md")])[-1])

    assert asks_for_another(question, row, "de" if table is DEVICES else "en") == other


async def test_nothing_is_said_of_another_row():
    """Who asks for pier D is told nothing of another pier."""
    finding = await ask("What is the depth of pier D?", passage(PIERS, document="t.md"))

    assert not finding.accepted
    assert {"abstain.other_row", "answer.not_stated"} & set(finding.reason.codes)


@pytest.mark.parametrize(
    ("cells", "ranges"),
    [
        (["up to 10", "11 - 20", "over 20"], [(-1e9, 10), (11, 20), (20, 1e9)]),
        (["bis 10 kg", "bis 20 kg", "\u00fcber 20 kg"], [(-1e9, 10), (10, 20), (20, 1e9)]),
        (["0\u20135 ans", "6\u201311 ans"], [(0, 5), (6, 11)]),
        (["over 20", "11 - 20", "up to 10"], [(20, 1e9), (11, 20), (-1e9, 10)]),
        (["5", "10", "20"], [None] * 3),  # numbers, which are no ranges
        (["1 - 10", "5 - 20"], [None] * 2),  # they overlap: no scale
        (["a", "b"], [None] * 2),
        (["1 2 3", "4 - 5"], [None] * 2),
    ],
)
def test_ranges_of_a_column(cells, ranges):
    """They are told by how the cells follow each other, not by words."""
    intervals = [interval and (max(interval.low, -1e9), min(interval.high, 1e9)) for interval in ranges_of(cells, "en")]

    assert intervals == ranges


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("erwachsener", "erwachsene", True),
        ("ausweis", "personalausweis", True),
        ("north", "south", False),
        ("card", "care", False),
        ("2024", "20245", False),
    ],
)
def test_forms_of_one_word(one, other, same):
    """Words that begin alike, and parts of compounds; never numbers."""
    assert akin(one, other) is akin(other, one) is same


def test_a_word_that_another_row_has_is_no_form():
    """Where a row has the very word, a row with a longer one does not say it."""
    rows = cut_passages([passage("Zone: Northeast\nPrice: 5\n\nZone: North\nPrice: 7")])
    result = look_up("What is the price in zone north?", rows, "en")

    assert result.matched[0] == 0 < result.matched[1]


def test_a_question_without_a_column_has_the_whole_row():
    """Nothing is hidden where it is not known which cell is meant."""
    row = [("Zone", "North"), ("Day", "5"), ("Week", "20")]

    assert asked_cells("Tell me about North", row, ["Zone", "Day", "Week"], "en").pairs == row
    assert asked_cells("Price of the week in North", row, ["Zone", "Day", "Week"], "en").cells == [("Week", "20")]
    assert asked_cells("The month in North", row, ["Zone", "Day", "Week", "Month"], "en").missing == "Month"


COURSES = """Course: Weaving for beginners
Starts: 14 April
Fee: 60 euro
Reduced fee: \u2013

Course: Course in dyeing
Starts: 5 May
Fee: free
Reduced fee: 40 euro"""


@pytest.mark.parametrize(
    ("question", "codes"),
    [
        ("When does the course on pottery start?", {"abstain.row_not_named"}),
        ("What is the fee of a course?", {"abstain.row_not_named"}),
        ("When does the course on weaving start?", set()),
        ("What is the reduced fee for weaving?", {"abstain.blank_cell"}),
        ("Wie viel kostet Weberei?", {"answer.not_stated"}),
    ],
)
async def test_a_row_is_told_by_a_word_of_its_own(question, codes):
    """A cell is said of a row that the question names: a word of a column's name, or of every row, names none."""
    finding = await ask(question, passage(COURSES))

    assert bool(finding.accepted and finding.citations) is (not codes)
    assert not codes or {*codes, "answer.not_stated"} & set(finding.reason.codes)


def test_of_two_rows_that_are_named_as_much_neither_answers_alone():
    """Who asks for a solar extractor is told neither what the manual nor what the electric one weighs."""
    table = (
        "| Item | Weight |\n|---|---|\n| Manual extractor | 18 kg |\n| Electric extractor | 27 kg |\n| Smoker | 1 kg |"
    )
    seen = survey("What is the weight of the solar extractor?", [passage(table, document="t.md")])
    surveyed = survey("What is the weight of the manual extractor?", [passage(table, document="t.md")])
    manual, electric = seen.sentences[:2]

    assert _missing([manual], seen).code == _missing([electric], seen).code == "abstain.row_not_named"
    assert _missing([manual, electric], seen) is None
    assert _missing(surveyed.sentences[:1], surveyed) is None


@pytest.mark.parametrize(("second", "code"), [(0.5, "abstain.row_not_named"), (-3.0, None)])
def test_where_neither_row_nor_column_is_named_a_row_must_be_likelier_than_the_others(second, code):
    """No price is said of what a table has neither a row nor a column for."""
    table = "| Period | Car | Van |\n|---|---|---|\n| Half day | 29 euro | 45 euro |\n| Weekend | 89 euro | 139 euro |"
    seen = survey("What does a motorhome cost?", [passage(table, document="t.md")])
    scores = np.array([1.0, second, *[-9.0] * (len(seen.sentences) - 2)])
    reason = _missing(seen.sentences[:1], seen, SimpleNamespace(scores=scores, overlooked=()))

    assert (reason and reason.code) == code


def test_words_that_were_overlooked_are_named():
    """A row that was found for half of the question is no answer to the other half."""
    table = "| Plant | Height | Price |\n|---|---|---|\n| Thyme | 25 cm | 3 euro |\n| Fern | 80 cm | 7 euro |"
    seen = survey("What is the scent of thyme?", [passage(table, document="t.md")])
    reading = SimpleNamespace(scores=np.array([1.0, -9.0]), overlooked=("scent",))

    assert _missing(seen.sentences[:1], seen, reading) == Reason("abstain.overlooked", row="Thyme", words="scent")


async def test_where_no_other_row_has_such_a_value_none_need_be_named():
    """Of what a thing weighs and how long it lasts only one is in kilograms, whatever word the question has for it."""
    table = (
        "| Property | Nimbus 13 | Nimbus 15 |\n|---|---|---|\n| Weight | 1.1 kg | 1.6 kg |\n| Lasts | 14 km | 11 km |"
    )
    seen = survey("How heavy is the Nimbus 15?", [passage(table, document="t.md")])

    assert [_missing([row], seen) for row in seen.sentences] == [None, None]


@pytest.mark.parametrize(("turn", "row"), [("", 1), ("and for Rosetta?", 1), ("and the age for Titan?", 0)])
def test_a_turn_tells_a_row_before_what_was_given_back_to_it(turn, row):
    """Of a follow-up that is rewritten with the row before, its own words count for more."""
    rows = cut_passages([passage("Show: Titan\nAge: 10\n\nShow: Rosetta\nAge: 7\n\nShow: Dust\nAge: 4")])
    question = f"{turn} (age titan)" if "Rosetta" in turn else "age Rosetta" if not turn else f"{turn} (rosetta)"
    matched = look_up(question, rows, "en", turn=turn).matched

    assert [at for at, score in enumerate(matched) if score == matched.max()] == [row]


def test_a_short_word_of_a_turn_is_one_of_its_own():
    """A word of three letters is itself, though too short to have forms."""
    sentences = cut_passages([passage("Acetone: wear butyl gloves. Lye: wear nitrile gloves. Wear a mask.")])

    rows = own_rows(sentences, sentences[0], "And for lye?", "en")

    assert [sentences[row].text for row in rows] == ["Lye: wear nitrile gloves."]
    assert own_rows(sentences, sentences[1], "And for lye?", "en") is None


@pytest.mark.parametrize("cell", ["", "\u2013", "- -", "\u2014", "\u2212"])
def test_a_cell_of_dashes_is_blank(cell):
    """Dashes of any kind stand for nothing."""
    rows = cut_passages([passage(f"| Zone | Day | Week |\n|---|---|---|\n| North | {cell} | 20 |", document="t.md")])

    assert named(rows[-1]) == [("Zone", "North"), ("Week", "20")]


def test_a_column_that_is_named_by_a_word_of_its_own_and_has_no_cell_is_missing():
    """Of two columns that are named as much, one without a cell is asked for, too; not where one word names both."""
    row, names = [("Concert", "Finale"), ("Ticket", "free")], ["Concert", "Ticket", "Reduced"]

    assert asked_cells("The reduced ticket for the finale", row, names, "en").missing == "Reduced"
    adults = [("Pool", "Lido"), ("Adults weekday", "5")]
    result = asked_cells("The Lido for adults", adults, ["Pool", "Adults weekday", "Adults weekend", "Dogs"], "en")
    assert (result.missing, result.cells) == ("", [("Adults weekday", "5")])


def test_a_column_that_a_model_is_sure_of_is_said_beside_one_named_in_another_form():
    """The age is asked for, though "child" is a form of "Children"; one without a cell in the row is missing."""
    row = [("Show", "Titan"), ("Children", "7 euro"), ("Minimum age", "10 years"), ("Length", "1 h")]
    names = [name for name, _ in row]
    result = asked_cells("How old must a child be for Titan?", row, names, "en", read="Minimum age")

    assert result.cells == [("Children", "7 euro"), ("Minimum age", "10 years")]
    assert asked_cells("How old must a child be for Titan?", row, [*names, "Age"], "en", read="Age").missing == "Age"


def test_a_number_in_the_name_of_a_column_lies_in_no_range():
    """Ten of "Pass for 10 trips" names a column; who is ten is told by the range."""
    text = """Who: Child of 4 to 14\nSingle: 6 euro\nPass for 10 trips: 48 euro

Who: Child of 15 to 17\nSingle: 9 euro\nPass for 10 trips: 70 euro"""
    rows = cut_passages([passage(text)])

    assert not look_up("The pass for 10 trips of a group", rows, "en").matched.any()
    assert look_up("The pass for 10 trips of a child of 16", rows, "en").matched.argmax() == 1


def test_half_of_a_question_finds_a_cell_only_where_a_column_is_named():
    """Of "the salary of the curator" the row says who may enter the vault: nothing was looked up."""
    rows = cut_passages([passage("Room: Vault\nCold: -20\nDoor: curator\n\nRoom: Hall\nCold: 19\nDoor: everybody")])

    assert not look_up("What is the salary of the curator?", rows, "en").found.any()
    assert look_up("How cold is the vault?", rows, "en").found.tolist() == [True, False]


@pytest.mark.parametrize(
    ("question", "sentence", "beside", "language", "other"),
    [
        ("Does bus 22 stop here?", "Bus 14 stops here every hour.", "", "en", "22"),
        ("Does bus 22 stop here?", "Bus 14 stops here every hour.", "Bus 22 does not.", "en", ""),
        ("Does bus 14 stop here?", "Bus 14 stops here every hour.", "", "en", ""),
        ("F\u00e4hrt Linie 3 zum Bahnhof?", "Linie 5 f\u00e4hrt zum Bahnhof.", "", "de", "3"),
        ("When is the fair in 2027?", "The fair is on 12 September 2026 from 10 am.", "", "en", "2027"),
        ("When is the fair in 2027?", "The fair is on 12 September 2026.", "fairs-2027.md", "en", ""),
        ("When is the fair in 2027?", "The fair is in September.", "", "en", ""),
        ("Quando si tiene la fiera nel 2027?", "La fiera si tiene il 12 settembre 2026.", "", "it", "2027"),
        ("Can I borrow 2000 euro?", "Members borrow up to 1800 euro since 2019.", "", "en", ""),
        ("Can I borrow 2000 \u20ac?", "Members borrow up to 1800 \u20ac since 2019.", "", "en", ""),
        ("What was the fee in 2019?", "The fee was 1800 euro.", "", "en", ""),
    ],
)
def test_a_sentence_of_another_number(question, sentence, beside, language, other):
    """A number behind the same word and a year tell things apart; what counts something, or stands beside, does not."""
    assert other_number(question, sentence, beside, language) == other


async def test_nothing_is_said_of_another_year():
    """Who asks for a year is not told another one's date."""
    finding = await ask("When is the fair in 2027?", passage("The fair is on 12 September 2026 from 10 am to 4 pm."))

    assert not finding.citations or not finding.accepted
    assert {"abstain.other_number", "answer.not_stated"} & set(finding.reason.codes)


OLD = "Swimming pool\n\nA day ticket for adults costs 5.00 euro. Towels can be borrowed."
NEW = "Swimming pool\n\nA day ticket for adults costs 6.50 euro. The sauna is closed in July."


@pytest.mark.parametrize(
    ("dates", "marks"),
    [
        (("2022", "2024-05-01"), [("2024-05-01", True), ("2022", False)]),
        (("2024", "2024-05-01"), [("2024", False), ("2024-05-01", False)]),
        ((None, "2024"), [(None, False), ("2024", False)]),
        ((None, None), [(None, False), (None, False)]),
    ],
)
async def test_documents_that_contradict_each_other_are_both_shown(dates, marks):
    """Each with its date where it is known; the newest first and named where that is certain; the answer says so."""
    old, new = passage(OLD, document="a.md", dated=dates[0]), passage(NEW, document="b.md", dated=dates[1])
    finding = await ask("What does a day ticket for adults cost?", old, new)

    assert sorted(
        (contradiction.dated or "", contradiction.newest) for contradiction in finding.contradictions
    ) == sorted((day or "", last) for day, last in marks)
    assert {contradiction.citation for contradiction in finding.contradictions} == {1, 2}
    assert {citation.document for citation in finding.citations} == {"a.md", "b.md"}
    assert "answer.contradicted" in finding.reason.codes
    assert "5.00" in finding.text
    assert "6.50" in finding.text
    assert all(day in finding.text for day, _ in marks if day)
    if marks[0][1]:
        assert finding.citations[0].document == "b.md"
        assert "'b.md' is the newest" in finding.text


@pytest.mark.parametrize(
    ("question", "first", "second", "contradict"),
    [
        ("What does a day ticket cost?", "A day ticket costs 5 euro.", "A day ticket costs 5.00 EUR.", False),
        ("What does a day ticket cost?", "A day ticket costs 5 euro.", "A week ticket costs 9 euro.", False),
        ("What does a day ticket cost?", "A day ticket costs 5 euro.", "A day ticket lasts 24 hours.", False),
        ("What does a ticket cost?", "A ticket costs 5 euro until 18:00.", "A ticket costs 6 euro until 18:00.", True),
        ("When does the pool open?", "The pool opens at 9:00.", "The pool opens at 10:00.", True),
        (
            "What is the discount for students?",
            "The discount for students is 10 %.",
            "The discount for students is 20 %.",
            True,
        ),
        ("Was kostet ein Ausweis?", "Ein Ausweis kostet 28,80 \u20ac.", "Ein Ausweis kostet 37,00 \u20ac.", True),
        (
            "Combien co\u00fbte la carte annuelle pour les \u00e9tudiants ?",
            "Tarif: \u00c9tudiants\nCarte annuelle: 25,00 \u20ac",
            "Tarif: \u00c9tudiants\nCarte annuelle: 27,00 \u20ac",
            True,
        ),
        ("How much is the pass?", "Ticket: Pass\nPrice: 5", "Ticket: Pass\nPrice: 6", True),
        ("How much is the pass?", "Ticket: Pass\nPrice: 5", "Ticket: Pass\nPrice: 5", False),
        (
            "What does a germination test cost for others?",
            "Germination tests cost 35 pounds.",
            "Service: Germination test\nMembers: 30 pounds\nOthers: 45 pounds",
            True,
        ),
        ("How much is the pass?", "Ticket: Pass\nPrice: 5", "Ticket: Bike\nPrice: 6", False),
        (
            "When is the office open?",
            "The office is open from 9:00 to 16:00.",
            "The office is open from 9:00 to 13:00.",
            True,
        ),
        (
            "Wanneer is het kantoor open?",
            "Het kantoor is open van 9.00 tot 16.00 uur.",
            "Het kantoor is open van 9.00 tot 13.00 uur.",
            True,
        ),
    ],
)
async def test_what_contradicts(question, first, second, contradict):
    """The same unit with another value; the same value written otherwise, another unit or another thing does not."""
    finding = await ask(question, passage(first, document="a.md"), passage(second, document="b.md"))

    assert bool(finding.contradictions) is contradict


async def test_one_document_does_not_contradict_itself():
    """Two prices in one document are two prices."""
    text = "A day ticket for adults costs 5 euro. On Sundays a day ticket for adults costs 6 euro."

    assert (await ask("What does a day ticket for adults cost?", passage(text))).contradictions == ()


@pytest.mark.parametrize(
    ("names", "titles", "texts", "codes"),
    [
        # subjects: the titles are of one pattern, or both texts have the words of their own name
        (
            ("acetone.md", "lye.md"),
            ("Data sheet: acetone > First aid", "Data sheet: lye > First aid"),
            ("Rinse the eye for 10 minutes.", "Rinse the eye for 15 minutes."),
            {"answer.depends"},
        ),
        (
            ("acetone.md", "lye.md"),
            ("Acetone", "Lye"),
            (
                "Rinse the eye for 10 minutes. Acetone is flammable.",
                "Rinse the eye for 15 minutes. Lye burns the skin.",
            ),
            {"answer.depends"},
        ),
        (
            ("aceton.txt", "natronlauge.txt"),
            ("", ""),
            (
                "Das Auge 10 Minuten sp\u00fclen. Aceton brennt.",
                "Das Auge 15 Minuten sp\u00fclen. Natronlauge \u00e4tzt.",
            ),
            {"answer.depends"},
        ),
        (
            ("1.md", "2.md"),
            ("Piscine Nord", "Piscine Sud"),
            ("La piscine ouvre \u00e0 9:00.", "La piscine ouvre \u00e0 10:00."),
            {"answer.depends"},
        ),
        (
            ("1.md", "2.md"),
            ("Tarifa A", "Tarifa B"),
            ("La cuota mensual es de 5 \u20ac.", "La cuota mensual es de 8 \u20ac."),
            {"answer.depends"},
        ),
        # versions: years, months and words of one side alone name no subject, nor do words that no text has
        (
            ("prices-2023.md", "prices-2025.md"),
            ("Price list 2023", "Price list 2025"),
            ("A soil test costs 45 euros.", "A soil test costs 52 euros."),
            {"answer.contradicted"},
        ),
        (
            ("preise-maerz.md", "preise-mai.md"),
            ("Preise M\u00e4rz", "Preise Mai"),
            ("Eine Bodenprobe kostet 45 Euro.", "Eine Bodenprobe kostet 52 Euro."),
            {"answer.contradicted"},
        ),
        (
            ("tarifs-ete.md", "tarifs-hiver.md"),
            ("Tarifs d'\u00e9t\u00e9 2023", "Tarifs d'hiver 2025"),
            ("Une analyse co\u00fbte 45 euros.", "Une analyse co\u00fbte 52 euros."),
            {"answer.contradicted"},
        ),
        (
            ("manual.md", "manual-2.md"),
            ("Manual del empleado", "Manual del empleado corregido"),
            ("Los empleados tienen 22 d\u00edas libres.", "Los empleados tienen 23 d\u00edas libres."),
            {"answer.contradicted"},
        ),
        (
            ("faq.md", "terms.md"),
            ("FAQ > Returns", "Terms > Returns"),
            ("You can return goods for 14 days.", "You can return goods for 30 days. These terms apply to all."),
            {"answer.contradicted"},
        ),
        (
            ("old.md", "new.md"),
            ("Old price list", "New price list"),
            (
                "A soil test costs 45 euros. A water test costs 60.",
                "A soil test costs 52 euros. A water test costs 70.",
            ),
            {"answer.contradicted"},
        ),
        (
            ("old.md", "new.md"),
            ("Price list", "Price list"),
            ("A soil test costs 45 euros.", "A soil test costs 52 euros."),
            {"answer.contradicted"},
        ),
    ],
)
async def test_documents_about_different_subjects_do_not_contradict_each_other(names, titles, texts, codes):
    """By what their titles and file names have alone: the answer depends on which is meant, and both are shown."""
    documents = [
        passage(text, document=name, heading=title, dated=f"202{at}")
        for at, (name, title, text) in enumerate(zip(names, titles, texts, strict=True))
    ]

    finding = await ask(re.sub(r"\d+", "", texts[0].partition(".")[0]), *documents)

    assert {"answer.contradicted", "answer.depends"} & set(finding.reason.codes) == codes
    assert {citation.document for citation in finding.citations} == set(names)
    assert bool(finding.contradictions) is (codes == {"answer.contradicted"})


async def test_what_an_answer_depends_on_is_shown_with_it():
    """The title of each document, or its name where the titles are the same; versions of one are said to contradict."""
    texts = [f"Rinse the eye for {minutes} minutes. {of} is kept dry." for minutes, of in ((5, "Salt"), (15, "Lye"))]
    titled = [
        passage(text, document=f"{n}.md", heading=title)
        for n, (text, title) in enumerate(zip(texts, ("Salt", "Lye"), strict=True))
    ]
    named_alike = [
        passage(text, document=name, heading="Data sheet")
        for text, name in zip(texts, ("salt.md", "lye.md"), strict=True)
    ]
    newer = passage("Rinse the eye for 8 minutes.", document="0-new.md", heading="Salt")

    for documents, marks in ((titled, ("(Salt)", "(Lye)")), (named_alike, ("(salt.md)", "(lye.md)"))):
        finding = await ask("How many minutes must the eye be rinsed?", *documents)
        assert all(mark in finding.text for mark in marks)
    finding = await ask("How many minutes must the eye be rinsed?", titled[0], newer, titled[1])
    assert {"answer.contradicted", "answer.depends"} <= set(finding.reason.codes)
    assert len(finding.contradictions) == 2


async def test_a_model_words_no_answer_that_depends_on_the_document():
    """It might keep one side."""
    sides = [
        passage(f"Rinse the eye for {minutes} minutes.", document=f"{of}.md", heading=f"Data sheet: {of}")
        for minutes, of in ((5, "salt"), (15, "lye"))
    ]
    own = writer("Rinse the eye for 5 minutes.")

    finding = await ask("How many minutes must the eye be rinsed?", *sides, writer=own)

    assert "answer.depends" in finding.reason.codes
    assert own.engine.prompts == []
