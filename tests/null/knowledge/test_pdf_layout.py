"""Headings and paragraphs of a PDF, from where its words stand and how they are printed."""

import io

import pytest

from coterie.knowledge.parse_pdf import PageLine, find_titles, parse_pdf, set_apart


def lines(*printed, leading=12.0, size=10.0):
    """Lines one below the other: a text, or text with size, whether it is bold, and distance from the line before."""
    y, made = 700.0, []
    for line in printed:
        text, *looks = (line,) if isinstance(line, str) else line
        large, bold, down = [*looks, *(size, False, leading)[len(looks) :]]
        y -= down
        made.append(PageLine(text, 50.0, y, large, bold))
    return made


BODY = ["The permit costs thirty euros a year for the", "first dog. Others cost more than that."]


def test_what_is_printed_larger_or_bold_is_a_heading():
    """Of two sizes the larger has the higher rank; bold lines are headings where the text is not bold."""
    page = lines(("Dog park", 18.0), *BODY, ("Fees", 14.0), *BODY, ("Appeals", 10.0, True, 20.0), *BODY)

    assert [(title.level, title.title) for title in find_titles([page])] == [
        (1, "Dog park"),
        (2, "Fees"),
        (3, "Appeals"),
    ]


def test_a_heading_of_two_lines_is_one():
    """Lines that are printed alike and stand together are one heading, far from each other they are two."""
    together = lines(("A study of", 18.0, False, 20.0), ("bees", 18.0, False, 20.0), *BODY, *BODY)
    apart = lines(("A study of", 18.0, False, 20.0), ("bees", 18.0, False, 90.0), *BODY, *BODY)

    assert [title.title for title in find_titles([together])] == ["A study of bees"]
    assert [title.title for title in find_titles([apart])] == ["A study of", "bees"]


@pytest.mark.parametrize(
    "page",
    [
        lines(("All is bold", 10.0, True), ("in this text", 10.0, True)),
        lines(("A poster", 30.0), ("of five", 20.0), ("words", 10.0)),
        lines(("A whole sentence, printed large, is none.", 14.0), *BODY, *BODY),
        lines(("42", 14.0), *BODY, *BODY),
        [],
    ],
)
def test_what_is_no_heading(page):
    """Text that is bold throughout, a document of nothing but sizes, sentences, numbers."""
    assert find_titles([page]) == []


def test_what_stands_farther_away_begins_a_paragraph():
    """A gap makes a paragraph, the usual distance none, however large that is."""
    narrow = lines(*BODY, (BODY[0], 10.0, False, 20.0), BODY[1])
    wide = lines(*BODY, *BODY, leading=24.0)

    assert set_apart([narrow]) == ["\n".join([*BODY, "", *BODY])]
    assert set_apart([wide]) == ["\n".join([*BODY, *BODY])]


def test_a_sentence_is_not_cut_between_columns():
    """What goes on at the top of the next column is no paragraph of its own."""
    column = lines("The tenant pays the", "rent and the")
    following = lines("heating. It is due", "on the first.")

    assert set_apart([[*column, *following]]) == [
        "The tenant pays the\nrent and the\nheating. It is due\non the first."
    ]


def test_a_printed_page():
    """A file that is no more than signs in places is read with its headings and paragraphs."""
    pypdf = pytest.importorskip("pypdf")
    generic, writer = pypdf.generic, pypdf.PdfWriter()
    page = writer.add_blank_page(300, 300)
    shown_texts = [
        ("F2 18 Tf 20 260 Td", "Fees"),
        ("F1 10 Tf 0 -30 Td", "A permit costs 30"),
        ("0 -12 Td", "euros a year."),
    ]
    shown_texts += [("0 -24 Td", "Dogs are free of tax if they assist the blind."), ("0 -12 Td", "Cats are free, too.")]
    stream = generic.DecodedStreamObject()
    shown = " ".join(f"{'/' if how.startswith('F') else ''}{how} ({text}) Tj" for how, text in shown_texts)
    stream.set_data(f"BT {shown} ET".encode())
    fonts = {
        generic.NameObject(f"/F{n}"): generic.DictionaryObject(
            {
                generic.NameObject(key): generic.NameObject(value)
                for key, value in {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": base}.items()
            }
        )
        for n, base in ((1, "/Helvetica"), (2, "/Helvetica-Bold"))
    }
    page[generic.NameObject("/Resources")] = generic.DictionaryObject(
        {generic.NameObject("/Font"): generic.DictionaryObject(fonts)}
    )
    page[generic.NameObject("/Contents")] = writer._add_object(stream)
    content = io.BytesIO()
    writer.write(content)

    parsed = parse_pdf(content.getvalue())

    first, second = (
        "A permit costs 30\neuros a year.",
        "Dogs are free of tax if they assist the blind.\nCats are free, too.",
    )
    assert parsed.text == f"Fees\n\n{first}\n\n{second}\n\n"
    assert [(heading.level, heading.title) for heading in parsed.headings] == [(1, "Fees")]
