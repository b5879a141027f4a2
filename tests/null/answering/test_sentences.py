"""Passages cut into sentences, and citations put together from them."""

from coterie.answering import cite, cut_passages
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
    for each in cut_passages([passage()]):
        assert TEXT[each.start - 100 : each.end - 100] == each.text


def test_rows_of_a_table_are_sentences_and_rules_are_none():
    """Each row of a table can be cited by itself; the line between head and rows says nothing."""
    assert [each.text for each in cut_passages([passage()])] == [
        "Fees",
        "The account is free.",
        "A paper statement costs 3 pounds.",
        "What | Fee",
        "Late | 12 pounds",
    ]


def test_what_passages_share_is_there_once():
    """A sentence of two passages that overlap stands under the better one."""
    found = cut_passages([passage(), passage()])

    assert {each.rank for each in found} == {0}


def test_neighbours_become_one_citation():
    """Two sentences with nothing but space between them are quoted together, word for word."""
    _, free, statement, *_ = cut_passages([passage()])

    (citation,) = cite([statement, free])

    assert citation.text == "The account is free. A paper statement costs 3 pounds."
    assert TEXT[citation.start - 100 : citation.end - 100] == citation.text
    assert (citation.document, citation.heading, citation.label) == ("fees.md", "Fees", Label.PUBLIC)


def test_sentences_apart_are_cited_apart():
    """What stands between two sentences is not quoted with them."""
    _, free, _, _, late = cut_passages([passage()])

    assert [each.text for each in cite([late, free])] == ["The account is free.", "Late | 12 pounds"]


def test_the_best_document_comes_first():
    """Citations begin with the document of the best sentence."""
    found = cut_passages([passage(document="b.md"), passage(document="a.md")])
    of_a, of_b = (next(each for each in found if each.passage.document == name) for name in ("a.md", "b.md"))

    assert [each.document for each in cite([of_b, of_a])] == ["b.md", "a.md"]


def test_a_row_of_names_and_values_is_one_sentence():
    """A value says nothing without its name and its row; prose after a colon is cut as ever."""
    rows = "office: Tax office\ntelephone: 01632 960001\ncloses: 16:30\n\noffice: Registrar\ntelephone: 01632 960003"
    prose = "\n\nLaw: It is that of Ohio. Nothing else counts."

    assert [each.text for each in cut_passages([passage(rows + prose)])] == [
        "office: Tax office\ntelephone: 01632 960001\ncloses: 16:30",
        "office: Registrar\ntelephone: 01632 960003",
        "Law:",
        "It is that of Ohio.",
        "Nothing else counts.",
    ]
