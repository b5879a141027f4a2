"""Pages as one text: what is printed on every page, words and sentences that go on."""

import pytest

from coterie.knowledge.parse_pdf import join_pages
from coterie.knowledge.parsed import Heading, Parsed, document_date, newest

BODY = ["The pump is oiled.", "Valves are checked.", "Bolts are tightened.", "Filters are replaced."]


def test_heads_and_feet_stand_once():
    """What is printed on every page is left out of all pages but the first; page numbers of all."""
    pages = [
        f"ACME manual\n{text}\nStep {n} ends here.\nPage {n + 1} of 4\nConfidential" for n, text in enumerate(BODY)
    ]

    parsed = join_pages(pages)

    assert parsed.text.count("ACME manual") == parsed.text.count("Confidential") == 1
    assert "Page" not in parsed.text
    assert [parsed.text[at:].startswith(("ACME", text)) for at, text in zip(parsed.pages, BODY, strict=True)] == [
        True
    ] * 4
    assert all(f"{text}\nStep {n} ends here." in parsed.text for n, text in enumerate(BODY))


def test_what_stands_behind_a_line_of_the_text_is_text():
    """A line that pages share is kept where it is not at their edge: one sheet a person says everybody's department."""
    pages = [f"Name: {name}\nDepartment: sales\nRoom: {n}" for n, name in enumerate(["Ann", "Bob", "Cy", "Di"])]

    assert join_pages(pages).text.count("Department: sales") == 4


@pytest.mark.parametrize("count", [1, 2])
def test_few_pages_have_no_heads(count):
    """Two pages that begin alike show nothing."""
    assert join_pages(["Same words\nmore", "Same words\nother"][:count]).text.count("Same words") == count


def test_headings_are_kept():
    """A line that counts pages but is an entry of the outline is a heading."""
    pages = [f"{n}\n{text}" for n, text in enumerate(BODY, start=1)]

    assert "3" in join_pages(pages, kept=["3"]).text
    assert "3" not in join_pages(pages).text


def test_words_broken_at_a_line_s_end_are_put_together():
    """A hyphen stays where the document has the word with it, or both halves as words."""
    pages = ["A long-term inter-\nest rate, and a long-\nterm plan (self-\nemployed).", "The self is employed; A-\nB."]

    assert join_pages(pages).text == (
        "A long-term interest\nrate, and a long-term\nplan (self-employed).\n\nThe self is employed; A-\nB.\n\n"
    )


def test_a_sentence_goes_on_overleaf():
    """Pages are a paragraph apart, but not where a sentence goes on."""
    parsed = join_pages(["The tenant pays", "the rent. It is due.", "Pets are allowed."])

    assert parsed.text == "The tenant pays\nthe rent. It is due.\n\nPets are allowed.\n\n"
    assert [parsed.text[at:][:4] for at in parsed.pages] == ["The ", "the ", "Pets"]


# --- When a document is from, as far as it says so.


@pytest.mark.parametrize(
    ("name", "text", "dated"),
    [
        ("fees/prices-2024.md", "Day tickets cost 5 euro.", "2024"),
        ("prices_20240301.csv", "", "2024-03-01"),
        ("prices 2024-03.csv", "", "2024-03"),
        ("prices-2024-03-01.pdf", "Last year, in 2019, it was cheaper.", "2024-03-01"),
        ("tarife-01.02.2024.html", "Die Tageskarte kostet fünf Euro und die Abendkarte drei Euro.", "2024-02-01"),
        ("a.md", "Preisliste 2023\n\nDie Tageskarte kostet fünf Euro.", "2023"),
        ("a.md", "Gebühren\n\nStand: 1. März 2024. Die Gebühr ist bei der Beantragung zu zahlen.", "2024-03-01"),
        ("a.md", "Tarifs\n\nValable à partir du 2 avril 2024 pour la collection permanente.", "2024-04-02"),
        ("a.md", "The house was built in 1904.", "2020-01-05"),  # a year in the text is no date of the document
        ("between-2022-and-2024.md", "x", "2020-01-05"),  # nothing says which one counts
        ("report.md", "Valid from 03/04/2024.", None),  # March or April
        ("03-04-2024.md", "x", None),
        ("room-555-2024001.md", "x", "2020-01-05"),
    ],
)
def test_dates_of_documents(name, text, dated):
    """The file's name, then the title and the beginning, then the metadata; what can be read in two ways is unknown."""
    assert document_date(name, Parsed(text=text, dated="2020-01-05")) == dated


def test_the_title_counts_before_the_text():
    """A year in the first heading is the document's."""
    text = "# Fees 2024\n\nIn 2019 they were lower."

    assert document_date("a.md", Parsed(text=text, headings=(Heading(0, 11, 1, "Fees 2024"),))) == "2024"


@pytest.mark.parametrize(
    ("dates", "place"),
    [
        (["2022", "2024-05-01"], 1),
        (["2024-05-01", "2024-04"], 0),
        (["2024", "2024-05"], None),  # May of that year, or any month of it
        (["2024", "2024"], None),
        (["2024", None], None),
        ([], None),
        (["2021", "2023", "2022-12-31"], 1),
    ],
)
def test_the_newest_is_named_where_it_is_certain(dates, place):
    """Dates that overlap, or are unknown, name none."""
    assert newest(dates) == place
