"""A text without what hides personal data from patterns and from nobody who reads it.

Signs without width, as web pages and PDF files leave them between letters; letters and digits of double width or of a
mathematical alphabet; letters with their accent as a sign of its own; signs by their numbers, as web pages (`&#45;`)
and JSON (backslash, `u002d`, also within JSON within JSON) have them; and an `@` as an address or a web page spells it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from coterie.privacy.detection import PersonalData

_NO_WIDTH = r"\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff"
_WIDE = r"\uff01-\uff5e\ufe6b\U0001d400-\U0001d7ff"
_ACCENT = r"\u0300-\u034e\u0350-\u036f"
_SIGN = re.compile(rf"[{_NO_WIDTH}{_WIDE}]|[^\W\d_][{_ACCENT}]{{1,4}}")
_NUMBERED = r"&#(?P<number>\d{2,9});|&#[xX](?P<page>[0-9a-fA-F]{2,8});|\\{1,8}u(?P<json>[0-9a-fA-F]{4})"
_HIDING = re.compile(rf"{_SIGN.pattern}|%40|&commat;|{_NUMBERED}")
_SPELLED = ("%40", "&#", "&commat;", "\\u")
_CODES = 0x110000
"""Numbers that a sign can have."""


class Plain(NamedTuple):
    """Such a text, and where each of its signs stood."""

    text: str
    starts: list[int]
    ends: list[int]

    def back(self, each: PersonalData) -> PersonalData:
        """What was found in it, at its place in the text that it was."""
        start, end = self.starts[each.start], self.ends[each.end - 1]
        return PersonalData(kind=each.kind, start=start, end=end, score=each.score)


def plain_of(text: str) -> Plain | None:
    """The text as it reads; None if it has nothing of the kind, as nearly all have."""
    if (text.isascii() or not _SIGN.search(text)) and not any(map(text.__contains__, _SPELLED)):
        return None
    pieces, starts, ends, at = list[str](), list[int](), list[int](), 0
    for match in _HIDING.finditer(text):
        begin, end = match.span()
        shown = _shown(match)
        pieces += [text[at:begin], shown]
        starts += [*range(at, begin), *[begin] * len(shown)]
        ends += [*range(at + 1, begin + 1), *[end] * len(shown)]
        at = end
    if not at:
        return None
    pieces.append(text[at:])
    starts += range(at, len(text))
    ends += range(at + 1, len(text) + 1)
    return Plain("".join(pieces), starts, ends)


def _shown(match: re.Match[str]) -> str:
    """What a reader sees: nothing of a sign without width, `@`, a plain letter, a letter with its accent."""
    sign = match[0]
    if match["number"] or match["page"] or match["json"]:
        code = int(match["number"]) if match["number"] else int(match["page"] or match["json"], 16)
        sign = chr(code) if code < _CODES else ""
        if not (sign.isprintable() or sign.isspace() or _SIGN.fullmatch(sign)):
            return match[0]  # a half of a sign, or one that drives a terminal: nobody sees it as anything else
    elif sign in {"%40", "&commat;"}:
        return "@"
    if len(sign) > 1:
        return unicodedata.normalize("NFC", sign)
    if not _SIGN.fullmatch(sign):
        return sign
    return "" if re.match(f"[{_NO_WIDTH}]", sign) else unicodedata.normalize("NFKC", sign)
