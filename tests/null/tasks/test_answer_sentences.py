"""Passages cut into sentences, and citations put together from them."""

from dataclasses import replace

import pytest

from coterie.tasks.answer.features import LEXICAL, cut_passages
from coterie.tasks.answer.reader import cite, survey
from coterie.types import Label, Passage

TEXT = """# Fees

The account is free. A paper statement costs 3 pounds.

| What | Fee |
| --- | --- |
| Late | 12 pounds |
"""


def passage(text: str = TEXT, start: int = 100, document: str = "fees.md") -> Passage:
    """A passage that begins at `start` of its document."""
    return Passage(
        document=document, start=start, end=start + len(text), text=text, score=1.0, label=Label.PUBLIC, heading="Fees"
    )


def test_offsets_are_the_documents():
    """A sentence's offsets, less the passage's, give its words."""
    for sentence in cut_passages([passage()]):
        assert TEXT[sentence.start - 100 : sentence.end - 100] == sentence.text


def test_rows_of_a_table_are_sentences_and_rules_are_none():
    """Each row of a table can be cited by itself; its head and the line under that say nothing."""
    assert [sentence.text for sentence in cut_passages([passage()])] == [
        "Fees",
        "The account is free.",
        "A paper statement costs 3 pounds.",
        "Late | 12 pounds",
    ]


def test_what_passages_share_is_there_once():
    """A sentence of two passages that overlap stands under the better one."""
    sentences = cut_passages([passage(), passage()])

    assert {sentence.rank for sentence in sentences} == {0}


def test_neighbours_become_one_citation():
    """Two sentences with nothing but space between them are quoted together, word for word."""
    _, free, statement, *_ = cut_passages([passage()])

    (citation,) = cite([statement, free])

    assert citation.text == "The account is free. A paper statement costs 3 pounds."
    assert TEXT[citation.start - 100 : citation.end - 100] == citation.text
    assert (citation.document, citation.heading, citation.label) == ("fees.md", "Fees", Label.PUBLIC)


def test_sentences_apart_are_cited_apart():
    """What stands between two sentences is not quoted with them."""
    _, free, _, late = cut_passages([passage()])

    assert [citation.text for citation in cite([late, free])] == ["The account is free.", "Late | 12 pounds"]


def test_the_best_document_comes_first():
    """Citations begin with the document of the best sentence."""
    sentences = cut_passages([passage(document="b.md"), passage(document="a.md")])
    of_a, of_b = (
        next(sentence for sentence in sentences if sentence.passage.document == name) for name in ("a.md", "b.md")
    )

    assert [citation.document for citation in cite([of_b, of_a])] == ["b.md", "a.md"]


def test_a_row_of_names_and_values_is_one_sentence():
    """A value says nothing without its name and its row; prose after a colon is cut as ever."""
    rows = "office: Tax office\ntelephone: 01632 960001\ncloses: 16:30\n\noffice: Registrar\ntelephone: 01632 960003"
    prose = "\n\nLaw: It is that of Ohio. Nothing else counts."

    assert [sentence.text for sentence in cut_passages([passage(rows + prose)])] == [
        "office: Tax office\ntelephone: 01632 960001\ncloses: 16:30",
        "office: Registrar\ntelephone: 01632 960003",
        "Law: It is that of Ohio.",
        "Nothing else counts.",
    ]


def test_a_dash_at_the_end_of_a_row_is_a_cell():
    """A row whose last cell is a dash is one sentence, as it is where the dash stands in the middle."""
    text = "Who: Group\nSingle: 8 euro\nPass: -\n\nWho: Adult\nSingle: \u2013\nPass: 95 euro"

    assert [sentence.text.split("\n")[0] for sentence in cut_passages([passage(text)])] == ["Who: Group", "Who: Adult"]


def test_a_heading_of_a_plain_text_is_a_line_of_its_own():
    """A short line without an end before a sentence is quoted with nothing, and the words under it are read with it."""
    text = (
        "2. Deposit\nWe block 400 euros on\nyour card. It comes back.\nLate return\nEach hour costs 15 euros.\n"
        "This line is much too long to be a heading of anything that stands below it\nIt goes on."
    )
    sentences = cut_passages([passage(text)])

    assert [sentence.text for sentence in sentences][:5] == [
        "2. Deposit",
        "We block 400 euros on\nyour card.",
        "It comes back.",
        "Late return",
        "Each hour costs 15 euros.",
    ]
    assert [sentence.bare for sentence in sentences] == [True, False, False, True, False, False]
    covered = survey("When is the deposit back?", [passage(text)]).words[:, LEXICAL.index("covered_heading")]
    assert covered[2] == covered.max() > covered[4]


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("Call Ms. Lind, tel. 0341 556 77. No agents.", ["Call Ms. Lind, tel. 0341 556 77.", "No agents."]),
        ("Tell the desk (ext. 4400) at once.", ["Tell the desk (ext. 4400) at once."]),
        ("Do not store above 25 °C. Keep it dry.", ["Do not store above 25 °C.", "Keep it dry."]),
        ("Open from 10 to 12 a.m. Contact: Ms. Lind", ["Open from 10 to 12 a.m.", "Contact: Ms. Lind"]),
        ("Open until 5 p.m. Monday to Friday.", ["Open until 5 p.m. Monday to Friday."]),
        ("It ends at 5 p.m. New York time.", ["It ends at 5 p.m. New York time."]),
        ("§ 3 Fees\nMembers pay 60 euros.", ["§ 3 Fees", "Members pay 60 euros."]),
    ],
)
def test_an_abbreviation_ends_a_sentence_only_where_another_begins(text, quoted):
    """What is said behind "tel." is quoted with it, and what stands behind "°C." or "a.m." by itself."""
    assert [sentence.text for sentence in cut_passages([passage(text)])] == quoted


def test_a_row_is_quoted_with_what_it_is_of():
    """The first cell of a row whose column has no name says what the others are of; one value stands under a title."""
    text = "Weight\nPump A: 3.9 kg\nPump B: 4.7 kg\n\nTablets\nSubstance: ibuprofen\n\n4. Effects\nCommon: a\nRare: b"

    assert [sentence.text for sentence in cut_passages([passage(text)])] == [
        "Weight\nPump A: 3.9 kg\nPump B: 4.7 kg",
        "Tablets",
        "Substance: ibuprofen",
        "4. Effects",
        "Common: a\nRare: b",
    ]


@pytest.mark.parametrize("above", ["Not included:", "Do not take it\n", "## What we do not pay for\n"])
def test_an_item_is_cited_with_an_introduction_that_denies(above):
    """Below "Not included:" an item by itself says the opposite."""
    text = f"The fare is paid.\n\n{above}\n- lunch\n- if you are ill\n\nAsk us."
    sentences = cut_passages([passage(text)])
    lunch, ill, last = sentences[-3:]

    quoted = [citation.text for citation in cite([ill])]
    assert quoted == [above.strip("#\n "), "if you are ill"]
    assert all(text[citation.start - 100 : citation.end - 100] == citation.text for citation in cite([lunch, ill]))
    assert len(cite([lunch, ill])) == 3  # the introduction once
    assert last.lead is None


def test_an_item_is_cited_alone_below_what_only_introduces():
    """An introduction that denies nothing is not quoted."""
    _, item = cut_passages([passage("You get:\n- a laptop")])

    assert [citation.text for citation in cite([item])] == ["a laptop"]


def test_a_row_of_a_table_is_read_with_the_names_of_its_columns():
    """The names are no sentence of their own, and what is cited is the row as it stands."""
    rows = "| Germany | 28 EUR |\n| France | 40 EUR |"
    text = f"Allowances:\n\n| Destination | Daily allowance |\n|---|---:|\n{rows}\n\nAsk Finance."

    sentences = cut_passages([passage(text)])

    assert [sentence.text for sentence in sentences] == [
        "Allowances:",
        "Germany | 28 EUR",
        "France | 40 EUR",
        "Ask Finance.",
    ]
    assert [sentence.head for sentence in sentences] == [
        "",
        "Destination | Daily allowance",
        "Destination | Daily allowance",
        "",
    ]
    assert sentences[2].said == "Destination | Daily allowance: France | 40 EUR"
    assert all(text[sentence.start - 100 : sentence.end - 100] == sentence.text for sentence in sentences)


def test_rows_that_a_passage_begins_with_have_their_columns_in_its_heading():
    """The rest of a long table is read as its first rows are; prose under such a heading has no columns."""
    text = "| France | 40 EUR |\n| Spain | 35 EUR |\n\nAsk Finance."
    inside = replace(passage(text), heading="Travel > Destination | Daily allowance")

    sentences = cut_passages([inside])
    seen = survey("What is the daily allowance for Spain?", [inside])

    assert [(sentence.text, sentence.head) for sentence in sentences] == [
        ("France | 40 EUR", "Destination | Daily allowance"),
        ("Spain | 35 EUR", "Destination | Daily allowance"),
        ("Ask Finance.", ""),
    ]
    assert seen.words[:, LEXICAL.index("covered_heading")].tolist() == [0.0, 1.0, 0.0]
    assert [sentence.head for sentence in cut_passages([replace(inside, text="Ask | us.")])] == [""]


def test_the_words_of_a_column_are_words_of_its_rows():
    """A row that is asked about is found by what its column is called, too; another row is not."""
    text = "| Destination | Daily allowance |\n|---|---|\n| Germany | 28 EUR |\n| France | 40 EUR |\n"
    seen = survey("What is the daily allowance for France?", [passage(text)])

    assert seen.words[:, LEXICAL.index("covered_heading")].tolist() == [0.0, 1.0]
    assert seen.texts[1].startswith("Destination | Daily allowance: ")


@pytest.mark.parametrize(
    "text", ["a | b\nc | d", "---\ntitle: x\n---\nBody of it.", "| a | b |\n|---|---|\n\nNo rows here."]
)
def test_what_is_no_table_has_no_columns(text):
    """Bars alone, the lines around a document's settings and a head without rows are text as any other."""
    assert not any(sentence.head for sentence in cut_passages([passage(text)]))


def test_code_in_fences_is_not_part_of_the_sentence_after_it():
    """A fence ends what stood before it."""
    sentences = cut_passages([passage("```\nexpense submit\n```\nClaims are submitted within 30 days.")])

    assert [sentence.text for sentence in sentences][-1] == "Claims are submitted within 30 days."


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("- `rate` is in percent.", "`rate` is in percent."),
        (
            "| `port` | 8321 | Where it listens; 0 takes any that is free. |",
            "`port` | 8321 | Where it listens; 0 takes any that is free.",
        ),
        ("- **Risk.** At most a tenth.", "**Risk.** At most a tenth."),
        ("* It is *never* kept *long*", "It is *never* kept *long*"),
        ("**Nobody is asked twice.**", "Nobody is asked twice."),
        ("## `coterie keys`", "coterie keys"),
        ("* 5 * 3 is what it costs.", "5 * 3 is what it costs."),
    ],
)
def test_marks_stay_with_their_partners(text, quoted):
    """Marks at the ends of a quote go, but for one that opens or closes what is inside it."""
    assert [sentence.text for sentence in cut_passages([passage(text)])] == [quoted]
