"""PDF: the text of each page as it is read, with the headings of the outline and what forms were filled with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ._pages import join_pages
from ._parsed import Heading, Parsed, Unreadable
from ._pdf_layout import Line, Title, find_titles, read_lines, set_apart

if TYPE_CHECKING:
    import pypdf

_MOST_ENTRIES = 5000
"""Of an outline so many entries are looked for."""
_NEAR = 4.0
"""Points that the words beside a field may stand above or below it."""
_PUSH_BUTTON, _PASSWORD = 1 << 16, 1 << 13  # bits of a field's flags (ISO 32000-1, tables 226 and 228)


def parse_pdf(content: bytes) -> Parsed:
    """The text of each page, with headings: those of the outline where there is one, else what is printed like one.

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
        pages = [] if locked else [_filled(page) for page in reader.pages]
        entries = [] if locked else list(_entries(reader, reader.outline))[:_MOST_ENTRIES]
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable(f"it is no readable PDF ({type(error).__name__}: {error})") from error
    if locked:
        raise Unreadable("it is encrypted: save a copy without a password")
    parsed = join_pages(set_apart(pages), kept=[entry.title for entry in entries])
    if not parsed.text.strip():
        raise Unreadable("its pages hold no text: they are pictures, or empty")
    titles = entries or find_titles(pages)
    return Parsed(text=parsed.text, pages=parsed.pages, headings=tuple(_found(parsed, titles, lines=not entries)))


def _filled(page: pypdf.PageObject) -> list[Line]:
    """The lines of a page; what a field was filled with stands behind the words beside it."""
    lines = read_lines(page)
    for left, low, high, name, value in _fields(page):
        beside = [place for place, line in enumerate(lines) if low - _NEAR <= line.y <= high + _NEAR and line.x < left]
        if beside:
            place = max(beside, key=lambda each: lines[each].x)
            lines[place] = lines[place]._replace(text=f"{lines[place].text.rstrip(' :')}: {value}")
        else:
            lines.append(Line(f"{name}: {value}", left, low, lines[-1].size if lines else high - low, bold=False))
    return lines


def _fields(page: pypdf.PageObject) -> Iterator[tuple[float, float, float, str, str]]:
    """The filled fields of a page: left edge, lower and upper one, name, value. A broken one is passed over."""
    for reference in _of(page, "/Annots") or ():
        try:
            note = reference.get_object()
            value = _value(note) if _of(note, "/Subtype") == "/Widget" else ""
            x, low, right, high = (float(each) for each in _of(note, "/Rect")) if value else (0.0,) * 4
            name = str(_inherited(note, "/TU") or _inherited(note, "/T") or "") if value else ""
        except Exception:  # noqa: BLE001, S112 - whatever a form's field is, the text of its page can be read
            continue
        if value:
            yield min(x, right), min(low, high), max(low, high), name, value


def _value(field: Any) -> str:  # noqa: ANN401 - pypdf's dictionaries have no type of their own
    """What a field was filled with; nothing of a button, a signature or a password."""
    kind, value, flags = (_inherited(field, key) for key in ("/FT", "/V", "/Ff"))
    flags = int(flags or 0)
    if kind == "/Btn":
        state = str(_of(field, "/AS") or value or "/Off").removeprefix("/")
        if flags & _PUSH_BUTTON or state == "Off":
            return ""
        return "yes" if state.casefold() in {"yes", "on", "1"} else state
    if kind not in {"/Tx", "/Ch"} or (kind == "/Tx" and flags & _PASSWORD) or value is None:
        return ""
    values = [each.get_object() for each in value] if isinstance(value, list) else [value]
    return ", ".join(" ".join(str(each).split()) for each in values)


def _inherited(field: Any, key: str) -> Any:  # noqa: ANN401 - as above
    """A field's own, or its parent's; at most so far up as fields are nested in earnest."""
    for _ in range(8):
        if key in field or "/Parent" not in field:
            return _of(field, key)
        field = _of(field, "/Parent")
    return None


def _of(holder: Any, key: str) -> Any:  # noqa: ANN401 - as above
    """What an object holds, also where it only refers to it."""
    found = holder.get(key)
    return found.get_object() if hasattr(found, "get_object") else found


def _entries(reader: pypdf.PdfReader, outline: list[Any], level: int = 1) -> Iterator[Title]:
    """What the outline lists, in its order."""
    for each in outline:
        if isinstance(each, list):
            yield from _entries(reader, each, level + 1)
        elif (page := reader.get_destination_page_number(each)) is not None and page >= 0:
            yield Title(level, page, str(each.title or ""))


def _found(parsed: Parsed, titles: Sequence[Title], *, lines: bool) -> Iterator[Heading]:
    """The titles whose words stand on their page, each after the one before; those that were `lines`, as lines."""
    at = 0
    for level, page, title in titles:
        words = title.split()
        if not words or page >= len(parsed.pages):
            continue
        end = parsed.pages[page + 1] if page + 1 < len(parsed.pages) else len(parsed.text)
        said = r"\s+".join(map(re.escape, words))
        pattern = re.compile(rf"^{said}$" if lines else said, re.IGNORECASE | re.MULTILINE)
        if match := pattern.search(parsed.text, max(at, parsed.pages[page]), end):
            at = match.end()
            yield Heading(match.start(), match.end(), level, " ".join(words))
