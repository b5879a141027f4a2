"""PDF: the text of each page as it is read, with the headings of the outline and what forms were filled with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from ._pages import join_pages
from ._parsed import Heading, Parsed, Unreadable

if TYPE_CHECKING:
    import pypdf

_MOST_ENTRIES = 5000
"""Of an outline so many entries are looked for."""
_NEAR = 4.0
"""Points that the words beside a field may stand above or below it."""
_PUSH_BUTTON, _PASSWORD = 1 << 16, 1 << 13  # bits of a field's flags (ISO 32000-1, tables 226 and 228)


class _Entry(NamedTuple):
    """An entry of a PDF's outline."""

    level: int
    page: int
    title: str


class _Words(NamedTuple):
    """Words at a place of a page, in points."""

    x: float
    y: float
    text: str


def parse_pdf(content: bytes) -> Parsed:
    """The text of each page, with the headings of the outline where their words are found.

    Raises:
        Unreadable: it is encrypted or broken, holds no text, or pypdf is not installed.
    """
    try:
        import pypdf  # noqa: PLC0415 - an extra
    except ImportError:
        raise Unreadable("PDF needs an optional package: pip install 'coterie[docs]'") from None
    try:
        reader = pypdf.PdfReader(BytesIO(content))
        locked = reader.is_encrypted and not reader.decrypt("")
        texts = [] if locked else [_page_text(page) for page in reader.pages]
        entries = [] if locked else list(_entries(reader, reader.outline))[:_MOST_ENTRIES]
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable(f"it is no readable PDF ({type(error).__name__}: {error})") from error
    if locked:
        raise Unreadable("it is encrypted: save a copy without a password")
    parsed = join_pages(texts, kept=[entry.title for entry in entries])
    if not parsed.text.strip():
        raise Unreadable("its pages hold no text: they are pictures, or empty")
    return Parsed(text=parsed.text, pages=parsed.pages, headings=tuple(_found(parsed, entries)))


def _page_text(page: pypdf.PageObject) -> str:
    """The words of a page; a field that was filled stands behind the words beside it."""
    fields = list(_fields(page))
    if not fields:
        return str(page.extract_text())
    words: list[_Words] = []

    def see(text: str, cm: list[float], tm: list[float], *_: object) -> None:
        if text.strip():
            x, y = tm[4], tm[5]
            words.append(_Words(x * cm[0] + y * cm[2] + cm[4], x * cm[1] + y * cm[3] + cm[5], text.strip()))

    lines = str(page.extract_text(visitor_text=see)).split("\n")
    for left, low, high, name, value in fields:
        beside = [each for each in words if low - _NEAR <= each.y <= high + _NEAR and each.x < left]
        label = max(beside, key=lambda each: each.x).text if beside else name
        said = f"{label.rstrip(' :')}: {value}"
        if beside and label in lines:
            lines[lines.index(label)] = said
        else:
            lines.append(said)
    return "\n".join(lines)


def _fields(page: pypdf.PageObject) -> Iterator[tuple[float, float, float, str, str]]:
    """The filled fields of a page: left edge, lower and upper one, name, value."""
    for reference in page.get("/Annots") or ():
        note = reference.get_object()
        if note.get("/Subtype") != "/Widget":
            continue
        value = _value(note)
        if value:
            x, low, right, high = (float(each) for each in note["/Rect"])
            name = str(_inherited(note, "/TU") or _inherited(note, "/T") or "")
            yield min(x, right), min(low, high), max(low, high), name, value


def _value(field: Any) -> str:  # noqa: ANN401 - pypdf's dictionaries have no type of their own
    """What a field was filled with; nothing of a button, a signature or a password."""
    kind, value, flags = (_inherited(field, key) for key in ("/FT", "/V", "/Ff"))
    flags = int(flags or 0)
    if kind == "/Btn":
        state = str(field.get("/AS") or value or "/Off").removeprefix("/")
        if flags & _PUSH_BUTTON or state == "Off":
            return ""
        return "yes" if state.casefold() in {"yes", "on", "1"} else state
    if kind not in {"/Tx", "/Ch"} or (kind == "/Tx" and flags & _PASSWORD) or value is None:
        return ""
    values = value if isinstance(value, list) else [value]
    return ", ".join(" ".join(str(each).split()) for each in values)


def _inherited(field: Any, key: str) -> Any:  # noqa: ANN401 - as above
    """A field's own, or its parent's; at most so far up as fields are nested in earnest."""
    for _ in range(8):
        if key in field or "/Parent" not in field:
            return field.get(key)
        field = field["/Parent"].get_object()
    return None


def _entries(reader: pypdf.PdfReader, outline: list[Any], level: int = 1) -> Iterator[_Entry]:
    """What the outline lists, in its order."""
    for each in outline:
        if isinstance(each, list):
            yield from _entries(reader, each, level + 1)
        elif (page := reader.get_destination_page_number(each)) is not None and page >= 0:
            yield _Entry(level, page, str(each.title or ""))


def _found(parsed: Parsed, entries: list[_Entry]) -> Iterator[Heading]:
    """The entries whose words stand on their page, each after the one before."""
    at = 0
    for level, page, title in entries:
        words = title.split()
        if not words or page >= len(parsed.pages):
            continue
        end = parsed.pages[page + 1] if page + 1 < len(parsed.pages) else len(parsed.text)
        pattern = re.compile(r"\s+".join(map(re.escape, words)), re.IGNORECASE)
        if match := pattern.search(parsed.text, max(at, parsed.pages[page]), end):
            at = match.end()
            yield Heading(match.start(), match.end(), level, " ".join(words))
