"""Does a text say only what its sources say? Its figures and its quotes are looked for in them, word for word.

A check of form, with no model: it sees a changed amount, date or quotation, not a wrong conclusion in other words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from coterie.text.language import language_of
from coterie.text.numbers import read_figures
from coterie.text.numerals import find_numerals

_FIGURE = re.compile(r"\d+(?:[,.:/-]\d+)*%?")
_MARK = re.compile(r"\[\d{1,3}\]")
_ITEM = re.compile(r"^[ \t]*\d{1,2}[.)][ \t]+", re.MULTILINE)
"""The number of a list's item is no figure."""
_QUOTED = re.compile(r"[\"\u201c\u00ab](.+?)[\"\u201d\u00bb]", re.DOTALL)


def made_up(text: str, sources: Sequence[str], *, marks: int = 0, language: str | None = None) -> tuple[str, ...]:
    """The figures and quotes of a text that no source has, each once, in order; empty if all of them stand there.

    Args:
        text: What was written.
        sources: What it was written from.
        marks: `[1]` up to this number are references, not figures.
        language: By which numbers are read; None for that of the text.
    """
    language = language or language_of(text, "en")
    said = " ".join(sources)
    known, flat = _figures(said, language_of(said, language)), _flat(said)
    wrong_marks = [mark for mark in _MARK.findall(text) if not 1 <= int(mark[1:-1]) <= marks]
    bare = _ITEM.sub("", _MARK.sub(" ", text))
    figures = [shown for value, shown in _figures(bare, language).items() if not _stands(value, known)]
    quotes = [quote for quote in _QUOTED.findall(bare) if _flat(quote) and _flat(quote) not in flat]
    return tuple(dict.fromkeys([*wrong_marks, *figures, *quotes]))


def _figures(text: str, language: str) -> dict[str, str]:
    """Figures in one form, each with how it is written."""
    found = {_plain(each, language): each for each in _FIGURE.findall(text)}
    words = [each for each in find_numerals(text, language) if each.value > 1]  # "one" is a pronoun too often
    return {str(each.value): text[each.start : each.end] for each in words} | found


def _plain(figure: str, language: str) -> str:
    """A number without thousands separators and zeros behind the point, as its language writes it; else as it is."""
    value = read_figures(figure.removesuffix("%"), language)
    plain = figure.removesuffix("%") if value is None else f"{value.normalize():f}"
    return plain + "%" * figure.endswith("%")


def _stands(figure: str, known: dict[str, str]) -> bool:
    """Whether the sources have it; a share may stand there as a part of one, and a bare number as a share."""
    if figure in known or f"{figure}%" in known:
        return True
    if not figure.endswith("%"):
        return False
    bare = figure.removesuffix("%")
    return bare in known or _plain(f"{float(bare) / 100:.6f}", "en") in known if _is_number(bare) else False


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"\d+(?:\.\d+)?", text))


def _flat(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
