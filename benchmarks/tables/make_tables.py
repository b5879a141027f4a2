"""Documents with tables, the same ones in every format that is read."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("tables.json")
OVERLOOKED = Path(__file__).with_name("overlooked.json")
"""Tables with questions for a row or a column that they lack."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table in a document, and what is asked about it."""

    name: str
    language: str
    held_out: bool
    title: str
    before: str
    after: str
    groups: tuple[tuple[str, int], ...]
    """Names of groups of columns with how many columns each has; empty for none."""
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    asked: tuple[tuple[str, tuple[str, str] | None], ...]
    """Questions, each with words of the row and the cell that answers; None where no cell does."""

    @property
    def head(self) -> list[list[str]]:
        """The rows of names, a group's name in the first of its columns."""
        above = [cell for name, width in self.groups for cell in [name, *[""] * (width - 1)]]
        return [*([above] if above else []), list(self.names)]


def read_tables(*, held_out: bool, file: Path = FILE) -> list[Table]:
    """Those that decide, or those that may be looked at."""
    stored = json.loads(file.read_text(encoding="utf-8"))
    return [
        Table(
            name=name,
            language=table["language"],
            held_out=table["held_out"],
            title=table["title"],
            before=table["before"],
            after=table["after"],
            groups=tuple((group, width) for group, width in table.get("groups", [])),
            names=tuple(table["names"]),
            rows=tuple(map(tuple, table["rows"])),
            asked=tuple((q, None if answer is None else (answer[0], answer[1])) for q, answer in table["asked"]),
        )
        for name, table in stored.items()
        if table["held_out"] == held_out
    ]


def as_docx(table: Table) -> bytes:
    """By python-docx; nothing says which rows name the columns."""
    from docx import Document  # noqa: PLC0415 - heavy

    document = Document()
    document.add_heading(table.title, 1)
    document.add_paragraph(table.before)
    made = document.add_table(rows=0, cols=len(table.names))
    for row in [*table.head, *table.rows]:
        for cell, text in zip(made.add_row().cells, row, strict=True):
            cell.text = text
    at = 0
    for _, width in table.groups:
        made.cell(0, at).merge(made.cell(0, at + width - 1))
        at += width
    document.add_paragraph(table.after)
    return _saved(document.save)


def as_xlsx(table: Table) -> bytes:
    """By openpyxl, the title and a line above the table."""
    from openpyxl import Workbook  # noqa: PLC0415 - heavy

    book = Workbook()
    sheet = book.active
    sheet.title = table.name
    for text in (table.title, table.before):
        sheet.append([text])
    sheet.append([])
    for row in [*table.head, *table.rows]:
        sheet.append([cell or None for cell in row])
    at = 1
    for _, width in table.groups:
        sheet.merge_cells(start_row=4, end_row=4, start_column=at, end_column=at + width - 1)
        at += width
    sheet.append([])
    sheet.append([table.after])
    return _saved(book.save)


def as_pptx(table: Table) -> bytes:
    """By python-pptx, a slide."""
    from pptx import Presentation  # noqa: PLC0415 - heavy
    from pptx.util import Inches  # noqa: PLC0415

    shown = Presentation()
    slide = shown.slides.add_slide(shown.slide_layouts[5])
    slide.shapes.title.text = table.title
    rows = [*table.head, *table.rows]
    size = (len(rows), len(table.names), Inches(0.5), Inches(2), Inches(9), Inches(3))
    made = slide.shapes.add_table(*size).table
    for at, row in enumerate(rows):
        for column, text in enumerate(row):
            made.cell(at, column).text = text
    at = 0
    for _, width in table.groups:
        if width > 1:
            made.cell(0, at).merge(made.cell(0, at + width - 1))
        at += width
    for text in (table.before, table.after):
        slide.shapes.add_textbox(Inches(1), Inches(6), Inches(6), Inches(1)).text_frame.text = text
    return _saved(shown.save)


def as_pdf(table: Table, *, rules: bool = True) -> bytes:
    """By fpdf2, with rules or as words in columns."""
    from fpdf import FPDF  # noqa: PLC0415 - heavy

    page = FPDF()
    page.add_page()
    page.set_font("helvetica", size=16)
    page.multi_cell(0, 10, _latin(table.title), new_x="LMARGIN", new_y="NEXT")
    page.set_font("helvetica", size=10)
    page.multi_cell(0, 6, _latin(table.before), new_x="LMARGIN", new_y="NEXT")
    page.ln(4)
    if rules:
        with page.table(num_heading_rows=len(table.head)) as made:
            spans = [*(((table.groups),) if table.groups else ()), *[None] * (1 + len(table.rows))]
            for row, groups in zip([*table.head, *table.rows], spans, strict=True):
                line = made.row()
                for text, width in groups or [(text, 1) for text in row]:
                    line.cell(_latin(text), colspan=width)
    else:
        width = page.epw / len(table.names)
        for row in [*table.head, *table.rows]:
            for text in row:
                page.cell(width, 7, _latin(text))
            page.ln()
    page.ln(4)
    page.multi_cell(0, 6, _latin(table.after), new_x="LMARGIN", new_y="NEXT")
    return bytes(page.output())


def as_columns(table: Table) -> bytes:
    """A PDF without rules."""
    return as_pdf(table, rules=False)


def as_html(table: Table) -> bytes:
    """As a browser shows it, with `th` in the first rows."""
    above = "".join(f"<th colspan={width}>{html.escape(name)}</th>" for name, width in table.groups)
    names = "".join(f"<th>{html.escape(name)}</th>" for name in table.names)
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    head = f"<tr>{above}</tr>" if above else ""
    body = f"<h1>{html.escape(table.title)}</h1><p>{table.before}</p><table>{head}<tr>{names}</tr>{rows}</table>"
    return f"<html><meta charset=utf-8><body>{body}<p>{table.after}</p></body></html>".encode()


def as_markdown(table: Table) -> bytes:
    """One row of names: Markdown has no groups."""
    lines = [_one_row(table), ["---"] * len(table.names), *table.rows]
    made = "\n".join(f"| {' | '.join(row)} |" for row in lines)
    return f"# {table.title}\n\n{table.before}\n\n{made}\n\n{table.after}\n".encode()


def as_csv(table: Table) -> bytes:
    """With semicolons, as spreadsheets in most of Europe write it; the table alone."""
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows([_one_row(table), *table.rows])
    return text.getvalue().encode()


FORMATS: Mapping[str, tuple[str, Callable[[Table], bytes]]] = {
    "docx": (".docx", as_docx),
    "pdf": (".pdf", as_pdf),
    "pdf without rules": (".pdf", as_columns),
    "html": (".html", as_html),
    "markdown": (".md", as_markdown),
    "csv": (".csv", as_csv),
    "xlsx": (".xlsx", as_xlsx),
    "pptx": (".pptx", as_pptx),
}
"""By name the end of a file's name and what makes it."""


def _one_row(table: Table) -> list[str]:
    groups = [name for name, width in table.groups for _ in range(width)] or [""] * len(table.names)
    return [" ".join(filter(None, pair)) for pair in zip(groups, table.names, strict=True)]


def _latin(text: str) -> str:
    """What the fonts that every PDF has can show."""
    return text.replace("€", "EUR").replace("\u2013", "-").replace("\u2019", "'").replace("œ", "oe")


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()
