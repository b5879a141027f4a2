"""Pages as one text: what is printed on every page, words and sentences that go on."""

import pytest

from coterie.knowledge.parse_pdf import join_pages

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
