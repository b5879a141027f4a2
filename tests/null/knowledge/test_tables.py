"""Tables of every format: a row with the names of its columns is one paragraph, and no chunk cuts it."""

import csv
import datetime as dt
import io

import docx
import openpyxl
import pptx
import pytest
from fpdf import FPDF
from pptx.util import Inches

from coterie.knowledge.documents import chunk
from coterie.knowledge.parse_office import parse_docx, parse_pptx, parse_xlsx
from coterie.knowledge.parse_pdf import parse_pdf
from coterie.knowledge.parse_text import parse_csv, parse_html, parse_markdown
from coterie.knowledge.parsed import Grid, Unreadable

PRICES = [["Tarif", "Erwachsene", "Kinder"], ["Tageskarte", "6,50 €", "3,50 €"], ["Abendkarte", "4,00 €", ""]]
GROUPS = [["Zone", "Adultes", "", "Enfants", ""], ["", "jour", "nuit", "jour", "nuit"], ["Nord", "5", "6", "2", "3"]]


def saved(save):
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def as_docx(rows):
    document = docx.Document()
    table = document.add_table(rows=len(rows), cols=len(rows[0]))
    for at, row in enumerate(rows):
        for column, text in enumerate(row):
            table.cell(at, column).text = text
    return saved(document.save)


def as_xlsx(rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    return saved(book.save)


def as_pptx(rows):
    shown = pptx.Presentation()
    slide = shown.slides.add_slide(shown.slide_layouts[5])
    slide.shapes.title.text = "Preise"
    table = slide.shapes.add_table(len(rows), len(rows[0]), 0, 0, Inches(5), Inches(2)).table
    for at, row in enumerate(rows):
        for column, text in enumerate(row):
            table.cell(at, column).text = text
    return saved(shown.save)


def as_pdf(*pages, rules=True):
    made = FPDF()
    made.set_font("helvetica", size=11)
    for rows in pages:
        made.add_page()
        if rules:
            with made.table(first_row_as_headings=False) as table:
                for row in rows:
                    table.row([text.replace("€", "EUR") for text in row])
        else:
            for row in rows:
                for text in row:
                    made.cell(50, 7, text.replace("€", "EUR"))
                made.ln()
    return bytes(made.output())


def as_html(rows):
    """Without any `th`."""
    inner = "".join(f"<tr>{''.join(f'<td>{cell}' for cell in row)}" for row in rows)
    return f"<meta charset=utf-8><table>{inner}</table>".encode()


def as_csv(rows):
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows(rows)
    return text.getvalue().encode()


def rows_of(parsed):
    return [parsed.text[start:end] for start, end in parsed.rows]


@pytest.mark.parametrize(
    ("parse", "make"),
    [
        (parse_docx, as_docx),
        (parse_xlsx, as_xlsx),
        (parse_pptx, as_pptx),
        (parse_html, as_html),
        (parse_csv, as_csv),
        (parse_pdf, as_pdf),
        (parse_pdf, lambda rows: as_pdf(rows, rules=False)),
    ],
)
def test_a_row_has_the_names_of_its_columns(parse, make):
    """In every format alike; a blank cell is left out."""
    rows = [row.replace("EUR", "€") for row in rows_of(parse(make(PRICES)))]

    assert rows == ["Tarif: Tageskarte\nErwachsene: 6,50 €\nKinder: 3,50 €", "Tarif: Abendkarte\nErwachsene: 4,00 €"]


def grid(rows):
    """A table of rows; a cell of None goes on to the right, as one that is merged."""
    made = Grid()
    for row in rows:
        made.row()
        for at, text in enumerate(row):
            if text is not None:
                width = next((n for n in range(1, len(row) - at) if row[at + n] is not None), len(row) - at)
                made.cell(text, columns=width)
    return list(made.paragraphs())


@pytest.mark.parametrize(
    ("rows", "paragraphs"),
    [
        # names with figures, and years
        ([["Fee", "2023", "2024"], ["Pass", "60 €", "70 €"]], ["Fee: Pass\n2023: 60 €\n2024: 70 €"]),
        ([["", "Zone 1", "Zone 2"], ["Day", "5", "7"]], ["Day\nZone 1: 5\nZone 2: 7"]),
        # names beside and above
        (
            [["Property", "Nimbus 13", "Nimbus 15"], ["Weight", "1.1 kg", "1.6 kg"], ["Memory", "8 GB", "16 GB"]],
            [
                "Property: Weight\nNimbus 13: 1.1 kg\nNimbus 15: 1.6 kg",
                "Property: Memory\nNimbus 13: 8 GB\nNimbus 15: 16 GB",
            ],
        ),
        # names with their values, and rows without names
        (
            [["Name", "Müller"], ["Born", "1990"], ["Height", "1.80 m"]],
            ["Name: Müller", "Born: 1990", "Height: 1.80 m"],
        ),
        ([["Adult", "5 €", "9 €"], ["Child", "3 €", "4 €"]], ["Adult | 5 € | 9 €", "Child | 3 € | 4 €"]),
        # two rows of names, merged and not
        (
            [["Zone", "Adults", None], ["", "day", "night"], ["North", "5", "6"]],
            ["Zone: North\nAdults day: 5\nAdults night: 6"],
        ),
        (
            [
                ["", "Adults", "", "Children", ""],
                ["Zone", "day", "night", "day", "night"],
                ["North", "5", "6", "2", "3"],
            ],
            ["Zone: North\nAdults day: 5\nAdults night: 6\nChildren day: 2\nChildren night: 3"],
        ),
        # what stands across a table is what the rows below are of; a note at the end is of none
        (
            [["Ticket", "Price"], ["Children", None], ["Day", "3 €"], ["Week", "9 €"], ["All prices with tax.", None]],
            ["Children\nTicket: Day\nPrice: 3 €", "Children\nTicket: Week\nPrice: 9 €", "All prices with tax."],
        ),
    ],
)
def test_what_names_the_columns(rows, paragraphs):
    """It is told by what the cells hold, without any word being known."""
    assert grid(rows) == paragraphs


def test_names_of_columns_that_are_merged_in_a_workbook():
    """A group of columns stands before its parts, a merged cell goes on below."""
    book = openpyxl.Workbook()
    for row in GROUPS:
        book.active.append([cell or None for cell in row])
    for area in ("A1:A2", "B1:C1", "D1:E1"):
        book.active.merge_cells(area)

    assert rows_of(parse_xlsx(saved(book.save))) == [
        "Zone: Nord\nAdultes jour: 5\nAdultes nuit: 6\nEnfants jour: 2\nEnfants nuit: 3"
    ]


def test_cells_of_a_workbook_are_as_it_shows_them():
    """Per cent, currencies, units, dates and times by their format; hidden sheets are not read; formulas are noted."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Zinsen"
    sheet.append(["Stand März"])
    sheet.append([])
    sheet.append(["Laufzeit", "Zins", "ab", "Betrag", "Summe"])
    sheet.append(["12 Monate", 0.0325, dt.date(2024, 3, 1), 1234.5, "=D4*2"])
    formats = ["0.00%", "dd.mm.yyyy", "#,##0.00\\ [$€-407]"]
    for column, form in enumerate(formats, start=2):
        sheet.cell(4, column).number_format = form
    book.create_sheet("Entwurf").append(["geheim"])
    book["Entwurf"].sheet_state = "hidden"
    parsed = parse_xlsx(saved(book.save))

    assert parsed.text.startswith("Zinsen\n\nStand März\n\n")
    assert rows_of(parsed) == ["Laufzeit: 12 Monate\nZins: 3.25%\nab: 2024-03-01\nBetrag: 1234.50 €"]
    assert "geheim" not in parsed.text
    assert "no stored value" in parsed.note


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ('"$"#,##0', "$95"),
        ("$#,##0.00", "$95.00"),
        ("[$\u00a3-809]#,##0", "\u00a395"),
        ('"$" #,##0', "$ 95"),
        ("\\$\\ #,##0", "$ 95"),
        ('"EUR"#,##0', "EUR 95"),
        ('#,##0 "kg"', "95 kg"),
    ],
)
def test_a_sign_stands_at_the_number_as_in_its_format(form, text):
    """A currency's sign has a space behind it only where the format has one."""
    book = openpyxl.Workbook()
    book.active.append(["Course", "Fee"])
    book.active.append(["Weaving", 95])
    book.active.cell(2, 2).number_format = form

    assert rows_of(parse_xlsx(saved(book.save)))[-1] == f"Weaving: {text}"


def test_a_large_workbook_is_read_row_by_row(monkeypatch):
    """Beyond a size no sheet is held whole; the rows are the same."""
    monkeypatch.setattr("coterie.knowledge.parse_office._SMALL", 10)

    assert rows_of(parse_xlsx(as_xlsx(PRICES)))[0].startswith("Tarif: Tageskarte\n")


def test_a_chart_and_the_notes_of_a_slide_are_read():
    """A chart is the table that it draws."""
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE

    shown = pptx.Presentation()
    slide = shown.slides.add_slide(shown.slide_layouts[5])
    slide.shapes.title.text = "Sales"
    data = CategoryChartData()
    data.categories = ["2023", "2024"]
    data.add_series("North", (4.5, 6))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, Inches(4), Inches(3), data)
    slide.notes_slide.notes_text_frame.text = "Without returns."
    parsed = parse_pptx(saved(shown.save))

    assert rows_of(parsed) == ["2023\nNorth: 4.5", "2024\nNorth: 6"]
    assert "Without returns." in parsed.text
    assert [heading.title for heading in parsed.headings] == ["Sales"]
    assert parsed.pages == (0,)


@pytest.mark.parametrize("parse", [parse_xlsx, parse_pptx])
@pytest.mark.parametrize("content", [b"", b"no zip", bytes.fromhex("d0cf11e0a1b11ae1"), as_csv(PRICES)])
def test_what_is_no_office_file_is_refused(parse, content):
    """Broken, encrypted and foreign files say what they are not."""
    with pytest.raises(Unreadable):
        parse(content)


def test_a_table_inside_a_cell_is_part_of_its_row():
    """The rows of the inner table stand in the outer one's cell, with their names."""
    document = docx.Document()
    outer = document.add_table(rows=2, cols=2)
    for at, texts in enumerate([("Kurs", "Termine"), ("Yoga", "")]):
        for column, text in enumerate(texts):
            outer.cell(at, column).text = text
    inner = outer.cell(1, 1).add_table(rows=3, cols=2)
    for at, texts in enumerate([("Tag", "Preis"), ("Montag", "5 €"), ("Freitag", "7 €")]):
        for column, text in enumerate(texts):
            inner.cell(at, column).text = text

    assert "Tag: Montag, Preis: 5 €; Tag: Freitag, Preis: 7 €" in parse_docx(saved(document.save)).text


@pytest.mark.parametrize("repeated", [True, False])
def test_a_table_goes_on_over_the_page(repeated):
    """Names that are printed again are no row; where they are not, those of the page before hold."""
    rest = [["Zehnerkarte", "58,00 €", "31,00 €"], ["Jahreskarte", "190,00 €", "90,00 €"]]
    second = [PRICES[0], *rest] if repeated else rest
    parsed = parse_pdf(as_pdf(PRICES, second))

    assert [row.partition("\n")[0] for row in rows_of(parsed)] == [
        *("Tarif: Tageskarte", "Tarif: Abendkarte", "Tarif: Zehnerkarte", "Tarif: Jahreskarte")
    ]
    assert rows_of(parsed)[-1] == "Tarif: Jahreskarte\nErwachsene: 190,00 EUR\nKinder: 90,00 EUR"
    assert len(parsed.pages) == 2


def test_a_pdf_whose_tables_cannot_be_looked_for_is_read_as_text(monkeypatch):
    """A page that the finder of tables fails on, a drawing and an end of time lose no text; what is lost is noted."""
    content = as_pdf(PRICES, PRICES)

    def fail(*_):
        raise ValueError

    monkeypatch.setattr("coterie.knowledge.parse_pdf._SECONDS", -1.0)
    late = parse_pdf(content)
    monkeypatch.setattr("coterie.knowledge.parse_pdf._on_page", fail)
    monkeypatch.setattr("coterie.knowledge.parse_pdf._SECONDS", 60.0)
    failed = parse_pdf(content)
    monkeypatch.setattr("coterie.knowledge.parse_pdf._MOST_RULES", 0)
    drawing = parse_pdf(content)

    assert [page.rows for page in (late, failed, drawing)] == [(), (), ()]
    assert all("Tageskarte" in page.text for page in (late, failed, drawing))
    assert "page 1 on" in late.note
    assert "ValueError" in failed.note
    assert drawing.note == ""


def test_text_in_two_columns_is_no_table():
    """Lines of prose beside each other, and items with their marks, stay text."""
    made = FPDF()
    made.add_page()
    made.set_font("helvetica", size=9)
    for _ in range(5):
        made.cell(95, 6, "The quick brown fox jumps over the lazy dog")
        made.cell(95, 6, "while several other animals look on in wonder")
        made.ln()
    made.ln(20)
    for mark in ("1.", "2.", "3.", "4."):
        made.cell(12, 6, mark)
        made.cell(95, 6, "Close doors")
        made.ln()

    assert parse_pdf(bytes(made.output())).rows == ()


def test_a_csv_below_its_title_and_without_names():
    """A title above the table is text; names with their values are not taken for names of columns."""
    parsed = parse_csv(b"Fees 2024;;\nZone;Day;Week\nNorth;5;20\n")

    assert parsed.text.startswith("Fees 2024\n\n")
    assert rows_of(parsed) == ["Zone: North\nDay: 5\nWeek: 20"]
    assert rows_of(parse_csv(b"Height;3 m\nWeight;5 kg\n")) == ["Height: 3 m", "Weight: 5 kg"]


def words(texts):
    return [len(text.split()) for text in texts]


@pytest.mark.parametrize("tokens", [3, 8, 20])
def test_no_chunk_cuts_a_row(tokens):
    """Of rows that are longer than a chunk, and of Markdown with and without bars at the ends."""
    text = as_docx([PRICES[0], *([f"Karte {n}", f"{n},50 €", f"{n},20 €"] for n in range(30))])
    for parsed in (
        parse_docx(text),
        parse_markdown(b"# T\n\n| A | B |\n|---|---|\n" + b"".join(b"| a. Then b %d | c |\n" % n for n in range(30))),
        parse_markdown(b"A | B\n---|---\n" + b"".join(b"a. Then b %d | c\n" % n for n in range(30))),
    ):
        ends = [(piece.start, piece.end) for piece in chunk(parsed, words, tokens=tokens)]
        lines = parsed.text.split("\n") if not parsed.rows else []
        rows = parsed.rows or [
            (at, at + len(line)) for line, at in zip(lines, offsets(lines), strict=True) if line.count("Then")
        ]
        assert len(ends) > 1
        for start, end in rows:
            inside = [piece for piece in ends if piece[0] < end - 2 and piece[1] > start + 2]
            assert len(inside) == 1, parsed.text[start:end]


def offsets(lines):
    at = 0
    for line in lines:
        yield at
        at += len(line) + 1


def test_rows_cost_what_they_are_long():
    """Twice the rows are twice the calls of the measure and twice the chunks: nothing looks at all pairs."""
    counted = []

    def measure(texts):
        counted.append(len(texts))
        return words(texts)

    def cost(n):
        counted.clear()
        parsed = parse_csv(b"Name;Price\n" + b"".join(b"Item %d;%d\n" % (at, at) for at in range(n)))
        return len(chunk(parsed, measure, tokens=40)), sum(counted)

    small, large = cost(500), cost(1000)

    assert large[0] <= 2 * small[0] + 1
    assert large[1] <= 2 * small[1]
