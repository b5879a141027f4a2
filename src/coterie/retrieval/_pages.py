"""The pages of a document as one text: without what is printed on every page, and with words and sentences made whole.

Knows no format: it gets the text of each page.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import takewhile

from ._parsed import Parsed, Writer

_FEWEST, _SHARE = 3, 0.4
"""What stands at the edge of so many pages, and of such a share of all, belongs to the paper and not to the text.
Less than half, as left and right pages may have heads of their own."""
_EDGE = 3
"""Lines at the top and at the bottom of a page that may be such."""
_PAGE_WORDS = "page|pages|pg|p|seite|s|página|pagina|pág|pag|side|sida|strana|str|strona|стр"
_NUMBERED = re.compile(
    rf"^\W*(?:(?:{_PAGE_WORDS})\W*)?(\d{{1,5}})(?:\W*(?:of|von|de|di|sur|av|z|из|/)?\W*\d{{1,5}})?\W*$",
    re.IGNORECASE,
)
_BROKEN = re.compile(r"([^\W\d_]+)[-\u2010\u00ad][ \t]*\n[ \t]*([^\W\d_]+[^\s\w]*)[ \t\n]?")
"""A word that goes on in the next line, and its hyphen."""
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_ENDS = frozenset('.!?…:;。\uff01\uff1f"”»)')


def join_pages(texts: Sequence[str], *, kept: Collection[str] = ()) -> Parsed:
    """One text of all pages.

    Running heads and feet are left out on all pages but the first that has them, and so are page numbers. A word that
    was broken at the end of a line is put together, and a sentence that goes on overleaf is not cut there.

    Args:
        texts: The text of each page, a line of the page a line.
        kept: Lines that are headings, wherever they stand.
    """
    pages = _whole_words(_without_edges([text.strip("\n").split("\n") for text in texts], frozenset(kept)))
    writer = Writer()
    for number, text in enumerate(pages):
        writer.page()
        if text:
            following = next((each for each in pages[number + 1 :] if each), "")
            goes_on = text[-1] not in _ENDS and following[:1].islower()
            writer.write(f"{text}\n" if goes_on else f"{text}\n\n")
    return writer.parsed()


def _without_edges(pages: Sequence[list[str]], kept: frozenset[str]) -> list[str]:
    """The pages without what is printed on every page. Texts of pages in, texts out."""
    edges = [_edges(page) for page in pages]
    lines = [{line for edge in both for _, line in edge} for both in edges]
    said = Counter(line for each in lines for line in each)
    offsets = Counter(offset for number, each in enumerate(lines) for offset in _offsets(number, each))
    least = max(_FEWEST, _SHARE * len(pages))
    seen: set[str] = set()
    texts = []
    for number, page in enumerate(pages):

        def printed(line: str, number: int = number) -> bool:
            numbered = _NUMBERED.match(line)
            counted = numbered is not None and offsets[int(numbered[1]) - number] >= least
            return line not in kept and (counted or said[line] >= least)

        # From the edge inwards: what stands behind a line of the text is text, whatever other pages have there.
        outer = [each for edge in edges[number] for each in takewhile(lambda each: printed(each[1]), edge)]
        gone = {place for place, line in outer if line in seen or _NUMBERED.match(line)}
        seen.update(line for _, line in outer)
        texts.append("\n".join(line for place, line in enumerate(page) if place not in gone).strip())
    return texts


def _edges(page: Sequence[str]) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """The first and the last lines of a page that are not blank, by their place, from the edge inwards."""
    lines = [(place, " ".join(line.split())) for place, line in enumerate(page) if line.strip()]
    return lines[:_EDGE], lines[: -_EDGE - 1 : -1]


def _offsets(number: int, lines: Collection[str]) -> set[int]:
    """How far what looks like a page's number is from the place of the page."""
    return {int(match[1]) - number for line in lines if (match := _NUMBERED.match(line))}


def _whole_words(pages: Sequence[str]) -> list[str]:
    """Words that were broken at the end of a line, put together.

    A hyphen stays where the document has the word with it elsewhere, or has both halves as words.
    """
    if not any(_BROKEN.search(page) for page in pages):
        return list(pages)
    known = {word for page in pages for word in _WORD.findall(_BROKEN.sub(" ", page).lower())}

    def whole(match: re.Match[str]) -> str:
        first, rest = match[1], match[2]
        second = _WORD.match(rest)
        if second is None or not rest[0].islower():
            return match[0]
        halves = (first.lower(), second[0].lower())
        compound = "-".join(halves) in known or ("".join(halves) not in known and set(halves) <= known)
        return f"{first}{'-' if compound else ''}{rest}\n"

    return [_BROKEN.sub(whole, page).rstrip("\n") for page in pages]
