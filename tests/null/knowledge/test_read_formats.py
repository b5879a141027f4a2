"""What a reader of a page or a file sees, and nothing that only its markup holds."""

import io
import zipfile

import pytest

from coterie.knowledge.parse_office import Level, Numbered, Numbers, parse_docx
from coterie.knowledge.parse_text import decode, parse_csv, parse_html, parse_markdown, parse_rst
from coterie.knowledge.parsed import Unreadable

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"


def docx(body, *, space=WORD, **parts):
    packed = io.BytesIO()
    names = f'xmlns:w="{space}" xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("word/document.xml", f"<w:document {names}><w:body>{body}</w:body></w:document>")
        for name, content in parts.items():
            file.writestr(f"word/{name}.xml", f"<w:{name} {names}>{content}</w:{name}>")
    return packed.getvalue()


def run(text, looks=""):
    return f"<w:r><w:rPr>{looks}</w:rPr><w:t>{text}</w:t></w:r>"


def paragraph(*runs):
    return f"<w:p>{''.join(runs)}</w:p>"


# --- DOCX ----------------------------------------------------------------------------------------


def test_a_note_stands_behind_the_paragraph_that_refers_to_it():
    """Footnotes and endnotes are read where they are referred to; the lines between notes are none."""
    body = paragraph(run("Half price"), '<w:r><w:footnoteReference w:id="2"/></w:r>') + paragraph(run("More."))
    notes = '<w:footnote w:id="0" w:type="separator"><w:p/></w:footnote>'
    notes += f'<w:footnote w:id="2">{paragraph(run("Students only."))}</w:footnote>'

    assert parse_docx(docx(body, footnotes=notes)).text == "Half price\n\nStudents only.\n\nMore.\n\n"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (f"<w:moveFrom>{run('Was here.')}</w:moveFrom>{run('Stays.')}", "Stays."),
        (f"{run('The end')}{run(' secret', '<w:vanish/>')}", "The end"),
        (run("shown", '<w:vanish w:val="0"/>'), "shown"),
        ("<w:r><w:t>non</w:t><w:noBreakHyphen/><w:t>resident</w:t></w:r>", "non-resident"),
        (run("$40") + run("1", '<w:vertAlign w:val="superscript"/>'), "$40¹"),
    ],
)
def test_a_paragraph_of_a_docx_is_what_word_shows(body, text):
    """What was moved away or is hidden is not there; hyphens are; the mark of a note is no digit of a sum."""
    assert parse_docx(docx(paragraph(body))).text == f"{text}\n\n"


def test_a_text_box_is_read_once():
    """Word writes a text box twice, the second time for older readers."""
    box = f"<w:txbxContent>{paragraph(run('Wifi'))}</w:txbxContent>"
    twice = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"

    assert parse_docx(docx(paragraph(f"<w:r>{twice}</w:r>", run("Around")))).text == "Wifi\n\nAround\n\n"


def test_a_merged_cell_goes_on_below():
    """Each row that a merged cell spans has its text."""

    def row(*cells):
        inner = (f"<w:tc><w:tcPr>{look}</w:tcPr>{paragraph(run(text))}</w:tc>" for look, text in cells)
        return f"<w:tr>{''.join(inner)}</w:tr>"

    table = row(("", "Zone"), ("", "Ticket"), ("", "Price"))
    table += row(('<w:vMerge w:val="restart"/>', "North"), ("", "day"), ("", "5 euro"))
    table += row(("<w:vMerge/>", ""), ("", "week"), ("", "20 euro"))

    text = parse_docx(docx(f"<w:tbl>{table}</w:tbl>")).text

    assert "Zone: North\nTicket: week\nPrice: 20 euro" in text


def level(number, style, text, more=""):
    looks = f'<w:start w:val="1"/><w:numFmt w:val="{style}"/>{more}<w:lvlText w:val="{text}"/>'
    return f'<w:lvl w:ilvl="{number}">{looks}</w:lvl>'


def in_list(number, depth, text):
    properties = f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="{number}"/></w:numPr>'
    return f"<w:p><w:pPr>{properties}</w:pPr>{run(text)}</w:p>"


def test_numbers_that_word_writes_are_read():
    """Clauses have the numbers that readers cite them by: of their list, or of the list of their style."""
    levels = level(0, "decimal", "%1.", '<w:pStyle w:val="H"/>') + level(1, "decimal", "%1.%2")
    levels += level(2, "lowerLetter", "(%3)")
    kinds = f'<w:abstractNum w:abstractNumId="7">{levels}</w:abstractNum>'
    kinds += f'<w:abstractNum w:abstractNumId="8">{level(0, "bullet", "o")}</w:abstractNum>'
    numbering = "".join(
        f'{kinds if n == 1 else ""}<w:num w:numId="{n}"><w:abstractNumId w:val="{kind}"/>{more}</w:num>'
        for n, kind, more in (
            (1, 7, ""),
            (2, 8, ""),
            (3, 7, '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="4"/></w:lvlOverride>'),
        )
    )
    looks = '<w:name w:val="heading 2"/><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr>'
    style = f'<w:style w:styleId="H">{looks}</w:style>'
    head = '<w:p><w:pPr><w:pStyle w:val="H"/></w:pPr><w:r><w:t>{}</w:t></w:r></w:p>'
    body = head.format("Goods") + in_list(1, 1, "Sold.") + in_list(1, 2, "Whole.") + in_list(1, 2, "Broken.")
    body += head.format("Term") + in_list(1, 1, "Two years.") + in_list(2, 0, "Bullet") + in_list(3, 0, "Anew")

    parsed = parse_docx(docx(body, numbering=numbering, styles=style))

    assert parsed.text.split("\n\n")[:-1] == [
        *("1. Goods", "1.1 Sold.", "(a) Whole.", "(b) Broken.", "2. Term", "2.1 Two years.", "- Bullet", "4. Anew")
    ]
    assert [heading.title for heading in parsed.headings] == ["1. Goods", "2. Term"]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            "<p>Not included:</p><ul><li>food<li><p>toys</p><p>of wood</ul>end",
            "Not included:|- food|- toys|of wood|end",
        ),
        ("<ol start=3><li>wash<ul><li>hands</ul><li>dry</ol>", "3. wash|- hands|4. dry"),
        ("<li>alone", "- alone"),
        ("<ol start=x><li><h2>Title</h2>text</ol>", "Title|text"),
        ("<table><tr><td>a<td><ul><li>b<li>c</ul></table>", "a: b c"),
    ],
)
def test_items_of_a_page_have_their_marks(page, text):
    """An item means what the introduction of its list makes of it: "Not included:"."""
    assert "|".join(parse_html(page.encode()).text.split("\n\n")[:-1]) == text


@pytest.mark.parametrize(
    ("style", "count", "text"),
    [
        ("upperRoman", 14, "XIV"),
        ("lowerLetter", 28, "bb"),
        ("decimalZero", 3, "03"),
        ("upperLetter", 2, "B"),
        ("x", 5, "5"),
    ],
)
def test_numbers_are_written_as_word_writes_them(style, count, text):
    """Roman numbers, letters beyond z, zeros in front; a style that is not known is in digits."""
    numbers = Numbers({"1": [Level(style, "%1", 1)]}, {})

    assert [numbers.next(Numbered("1", 0)) for _ in range(count)][-1] == f"{text} "


def test_a_title_stands_above_all_headings():
    """The title of a document is part of the path of each of its headings."""
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr>{run(style)}</w:p>'
        for style in ("Title", "Heading1", "Heading2")
    )

    assert [heading.level for heading in parse_docx(docx(body)).headings] == [1, 2, 3]
    assert [heading.level for heading in parse_docx(docx(body.replace("Title", "Quote"))).headings] == [1, 2]


def test_a_strict_docx_is_read():
    """Files in the strict form of the format have another name space."""
    assert parse_docx(docx(paragraph(run("Strict.")), space=STRICT)).text == "Strict.\n\n"


# --- HTML ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<div hidden>no<div>no</div></div>yes", "yes"),
        ('<p style="color:red; display : none">no</p>yes', "yes"),
        ("<ul><li hidden>no<li>yes</ul>", "- yes"),
        ("<nav>Home<nav>Menu</nav></nav><p>yes</p>", "yes"),
        ('<div role="navigation">Home</div><p>yes</p>', "yes"),
        ("<img hidden><input hidden>yes", "yes"),
        ("<select><option>no</select><iframe>no</iframe>yes", "yes"),
    ],
)
def test_what_a_page_does_not_show_is_not_read(page, text):
    """Hidden elements with all that is in them, ways around the site, choices and stand-ins."""
    assert parse_html(page.encode()).text == f"{text}\n\n"


def test_a_page_that_is_all_navigation_is_read():
    """What would leave nothing, or never ends, is no reason to lose a page."""
    assert parse_html(b"<nav>Home</nav>").text == "Home\n\n"
    assert "words" in parse_html(b"<p>A</p><nav>Home<p>All the words</p>").text


def test_lines_of_a_preformatted_text_stay_lines():
    """What a browser shows line by line is read line by line."""
    page = "<pre>one\n  two\n\nthree<br>four</pre><p>a\nb</p>"

    assert parse_html(page.encode()).text == "one\n  two\n\nthree\nfour\n\na b\n\n"


def test_a_raised_number_is_no_digit():
    """The mark of a note does not make forty dollars four hundred and one; a unit keeps its power."""
    page = "<p>$40<sup>1</sup>, 5 m<sup>2</sup>, the 10<sup>th</sup></p><td>x<sup>3</td>"

    assert parse_html(page.encode()).text == "$40¹, 5 m², the 10th\n\nx³\n\n"


def test_what_can_be_opened_stands_apart():
    """A question that is clicked open does not run into its answer."""
    page = "<details><summary>Refunds</summary>In 14 days.</details><button>Fees</button><div>None.</div>"

    assert parse_html(page.encode()).text == "Refunds\n\nIn 14 days.\n\nFees\n\nNone.\n\n"


@pytest.mark.parametrize(
    ("page", "stated"),
    [
        ('<meta charset="iso-8859-1"><p>Menü “5 €”', "utf-8"),
        ('<meta charset="iso-8859-1"><p>Menü “5 €”', "cp1252"),
        ('<?xml version="1.0" encoding="iso-8859-15"?><p>Menü - 5 €', "iso-8859-15"),
    ],
)
def test_a_page_is_read_as_browsers_read_it(page, stated):
    """UTF-8 whatever is stated; Windows-1252 where Latin-1 is stated; what an XML declaration states."""
    assert parse_html(page.encode(stated)).text.rstrip().rstrip("”").endswith("5 €")


# --- Text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark(encoding):
    """Text in two bytes a letter is read although nothing says so."""
    assert decode("The keeper earns 900 crowns, été.".encode(encoding)) == ("The keeper earns 900 crowns, été.", "")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("押金为两个月的租金。", "gb18030"), ("Залог составляет две платы.", "koi8-r"), ("Залог составляет", "cp1251")],
)
def test_letters_that_only_look_western_are_not_read(text, encoding):
    """A text in another script that does not say its encoding is refused, not indexed as signs that mean nothing."""
    with pytest.raises(Unreadable, match="UTF-8"):
        decode(text.encode(encoding))


def test_front_matter_is_no_markdown():
    """Names and values at the top of a file hold no headings but the title, and headings stand below that."""
    text = "---\ntitle: 'Garden rules'\n# a remark\ntags: [hose]\n---\n\n# Water\n\n+++\n"

    parsed = parse_markdown(text.encode())

    assert [(heading.level, heading.title) for heading in parsed.headings] == [(1, "Garden rules"), (2, "Water")]
    assert parsed.text == text


def test_headings_of_restructured_text():
    """A line of signs below, or above and below, makes a heading; what level a sign means is up to the file."""
    text = "=====\nGuide\n=====\n\nIntro\n-----\nWords.\n\nDepth\n~~~~~\n\nEnd\n---\n\nlonger than its line\n---\n"

    parsed = parse_rst(text.encode())

    assert [(heading.level, heading.title) for heading in parsed.headings] == [
        (1, "Guide"),
        (2, "Intro"),
        (3, "Depth"),
        (2, "End"),
    ]
    assert parsed.text == text


@pytest.mark.parametrize("text", ["- item\n---\n", "| a |\n---\n", "two lines\nof text\n---\n", "> quoted\n---\n"])
def test_a_line_across_the_page_makes_no_heading(text):
    """Dashes below an item, a row, a quote or a paragraph."""
    assert parse_markdown(text.encode()).headings == ()
    assert parse_markdown(b"Head\n---\n\nNext\n===\n").headings[1].title == "Next"


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("<!--\n# a remark\n-->\n\n# Head #\n", ["Head"]),
        ("````\n```\n# code\n```\n````\n\n  ## Head\n\n    # code\n", ["Head"]),
        ("Kind regards\n-- \nAnna\n", []),
        ("#hash\n\n####### seven\n\n#\n\n# *Head* `x`\n", ["*Head* `x`"]),
        ("a title\nof two lines\n===\n", ["a title of two lines"]),
        ("> # quoted\n", []),
    ],
)
def test_headings_are_those_of_commonmark(text, titles):
    """Remarks, code within code, signatures and quotes hold none; the text of a heading stands as it is."""
    parsed = parse_markdown(text.encode())

    assert [heading.title for heading in parsed.headings] == titles
    assert parsed.text == text
    assert all(heading.title.split()[0] in text[heading.start : heading.end] for heading in parsed.headings)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('n;p\nDrill;"two\nlines; a ""quote"""\nSaw;1,5\n', 'n: Drill\np: two lines; a "quote"\n\nn: Saw\np: 1,5\n\n'),
        ("sep=;\na;b\n1,5;x\n", "a: 1,5\nb: x\n\n"),
        ("1,2\n3,4\n", "column 1: 1\ncolumn 2: 2\n\ncolumn 1: 3\ncolumn 2: 4\n\n"),
        ("a,b\n1,2,3\n5\n", "a: 1\nb: 2\ncolumn 3: 3\n\na: 5\n\n"),
    ],
)
def test_rows_of_csv(content, text):
    """Quotes within quotes, line ends in cells, Excel's own first line, no names of columns, rows of any length."""
    assert parse_csv(content.encode()).text == text


def test_a_long_row_says_in_every_part_what_it_is_of():
    """A row of a hundred columns is several paragraphs, each of which begins with the first cell."""
    names, cells = (",".join(f"{letter}{n}" for n in range(100)) for letter in "cv")

    parts = parse_csv(f"{names}\n{cells}\n".encode()).text.strip().split("\n\n")

    assert len(parts) > 1
    assert all(part.startswith("c0: v0\n") for part in parts)
    assert sum(part.count("c57: v57") for part in parts) == 1
