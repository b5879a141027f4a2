"""Folds a text into its visible form: no invisible characters, plain digits and widths, escapes decoded.

Positions map back to the original. Dropped characters are determined by Unicode properties
(Default_Ignorable_Code_Point, Cc, Cf, Me, and Mn where it stands on no letter of its script), so an unforeseen
character hides nothing. The cost is linear, and the text is read in pieces.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

from coterie.runtime.concurrency import still_wanted

_PIECE = 32_000
"""Characters that are folded at once: no thread waits for more than a millisecond or two."""
_PERCENT = r"%(?:25){0,4}"
_HEX = "[0-9A-Fa-f]"
_ESCAPE = re.compile(
    rf"%(?:25){{0,4}}[uU](?P<script>{_HEX}{{4}})|(?P<bytes>{_PERCENT}[c-fC-F]{_HEX}(?:{_PERCENT}[89abAB]{_HEX}){{1,3}}|{_PERCENT}{_HEX}{{2}})"
    rf"|&(?:amp;){{0,4}}(?P<entity>#[0-9]{{1,8}};?|#[xX]{_HEX}{{1,8}};?|[A-Za-z][A-Za-z0-9]{{1,31}};)"
    rf"|\\{{1,8}}(?:u(?P<high>[dD][89abAB]{_HEX}{{2}})\\{{1,8}}u(?P<low>[dD][c-fC-F]{_HEX}{{2}})"
    rf"|(?P<code>u\{{{_HEX}{{1,6}}\}}|u{_HEX}{{4}}|U{_HEX}{{8}}|x{_HEX}{{2}}))"
)
"""One character of a URL, of HTML or of a string in JSON or a program, escaped once or several times."""
_ESCAPE_BEGINS = re.compile(r"%(?:25){0,4}(?!25)[0-7c-fC-FuU]|&|(?<!\\)\\(?!\\*u[dD][c-fC-F])")
_LONGEST_ESCAPE = 64
_PAIR = re.compile(rf"%(?:25){{0,4}}({_HEX}{{2}})")
_PARTING = frozenset("\"'`<>&;,()[]{}|\\")
"""Signs that, like white space, end a value.

An escaped one is part of a value in one reading, and its end in the other.
"""
_PLAIN = frozenset(map(chr, range(32, 127))) | frozenset("\t\n\r")
_FRAMED = re.compile(r"(?:.*LATIN CAPITAL|REGIONAL INDICATOR SYMBOL) LETTER ([A-Z])")
"""Names of letters that Unicode classifies as pictures: in a filled square or circle, and those of flags."""
_HYPHENS = frozenset("\u2010\u2212")
"""The hyphen, its non-breaking form, and the minus sign."""
_KNOWN = 4_000
"""Most characters of a text whose folded form is cached."""
_CONTROLS = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
_REMEMBERED = 40_000
"""Most characters whose properties are cached: more than any script has."""
_Level = tuple[list[int], list[int], list[int], list[int]]


class Folded:
    """A folded text, with the original position of each of its characters."""

    def __init__(self, text: str, levels: tuple[_Level, ...], *, unclear: bool) -> None:
        self.text = text
        self.unclear = unclear
        """It can be read in a second way: see `fold`."""
        self._levels = levels

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the position in the original of `text[start:end]`, which is not empty."""
        for level in reversed(self._levels):
            start, end = _back(level, start)[0], _back(level, end - 1)[1]
        return start, end


def _back(level: _Level, at: int) -> tuple[int, int]:
    """Return the original position of a character of an edited text."""
    places, sizes, begins, ends = level
    edit = bisect_right(places, at) - 1
    if edit < 0:
        return at, at + 1
    beyond = at - places[edit] - sizes[edit]
    return (begins[edit], ends[edit]) if beyond < 0 else (ends[edit] + beyond, ends[edit] + beyond + 1)


class _Edited:
    """A text during folding, with its replacements."""

    def __init__(self) -> None:
        self.pieces = list[str]()
        self.level: _Level = ([], [], [], [])
        self.unclear = False
        self._size = 0

    def keep(self, piece: str) -> None:
        self.pieces.append(piece)
        self._size += len(piece)

    def edit(self, begin: int, end: int, shown: str) -> None:
        places, sizes, begins, ends = self.level
        places.append(self._size)
        sizes.append(len(shown))
        begins.append(begin)
        ends.append(end)
        if shown:
            self.keep(shown)


def fold(text: str, *, again: bool = False) -> Folded | None:
    """Return the folded text; None if folding changes nothing, as for nearly all texts.

    Args:
        text: Any text.
        again: Read it in the second way: controls that are white space join what is beside them, superscript and
            circled digits separate it, and escaped white space, quotes and brackets are decoded too.
    """
    return _fold_known(text, again) if len(text) <= _KNOWN else _fold(text, again)


@lru_cache(maxsize=128)
def _fold_known(text: str, again: bool) -> Folded | None:  # noqa: FBT001 - as a cache has it
    """Return the same for a short text, cached: each text of a prompt is folded some five times."""
    return _fold(text, again)


def _fold(text: str, again: bool) -> Folded | None:  # noqa: FBT001 - as above
    if text.isascii() and not _may_be_escaped(text) and _in_one_line(text).isprintable():
        return None
    levels, unclear, read = list[_Level](), False, text
    for step, is_needed in ((_unescape, _may_be_escaped), (_reduce, _may_be_reduced)):
        if not is_needed(read):
            continue
        edited = _Edited()
        step(read, edited, again)
        read = "".join(edited.pieces)
        unclear |= edited.unclear
        if edited.level[0]:
            levels.append(edited.level)
    if read == text and not unclear:
        return None
    return Folded(read, tuple(levels), unclear=unclear)


def _in_one_line(text: str) -> str:
    """Return the text without the controls that stay as they are."""
    return text.replace("\n", "").replace("\t", "").replace("\r", "")


def shown(text: str) -> str:
    """Return the visible form of a text."""
    folded = fold(text)
    return text if folded is None else folded.text


# --- Escapes.


def _may_be_escaped(text: str) -> bool:
    return "%" in text or "&" in text or "\\" in text


def _unescape(text: str, edited: _Edited, again: bool) -> None:  # noqa: FBT001 - steps are alike
    for begin, end in _pieces(text, _before_escape):
        at = begin
        for match in _ESCAPE.finditer(text, begin, end):
            shown = _decoded(match)
            if shown is None:
                continue
            if any(sign in _PARTING or sign.isspace() for sign in shown):
                edited.unclear = True
                if not again:
                    continue
            edited.keep(text[at : match.start()])
            edited.edit(match.start(), match.end(), shown)
            at = match.end()
        edited.keep(text[at:end])


def _decoded(match: re.Match[str]) -> str | None:
    """Return the decoded form of an escape; None for half a character and for an unknown name."""
    if match["script"]:
        return _character(int(match["script"], 16))
    if match["bytes"]:
        octets = bytes.fromhex("".join(_PAIR.findall(match["bytes"])))
        try:
            return octets.decode()
        except UnicodeDecodeError:
            return octets.decode("latin-1")
    if match["entity"]:
        written = f"&{match['entity']}"
        shown = html.unescape(written)
        return None if shown in {written, "\ufffd"} else shown
    if match["high"]:
        return chr(0x10000 + ((int(match["high"], 16) & 0x3FF) << 10) + (int(match["low"], 16) & 0x3FF))
    return _character(int(match["code"].strip("uUx{}"), 16))


def _character(code: int) -> str | None:
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else None


def _before_escape(text: str, end: int) -> int:
    """Return the end of a piece, moved so that no escape is cut in two."""
    begin = end - _LONGEST_ESCAPE
    starts = [match.start() for match in _ESCAPE_BEGINS.finditer(text[begin:end])]
    return begin + starts[-1] if starts else end


def _pieces(text: str, cut: Callable[[str, int], int]) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < len(text):
        end = begin + _PIECE
        end = cut(text, end) if end < len(text) else len(text)
        yield begin, end
        still_wanted()
        begin = end


# --- Characters.


def _may_be_reduced(text: str) -> bool:
    if not text.isascii():
        return True
    pieces = range(0, len(text), _PIECE)
    return not text.isprintable() and any(_CONTROLS.search(text, begin, begin + _PIECE) for begin in pieces)


def _reduce(text: str, edited: _Edited, again: bool) -> None:  # noqa: FBT001 - steps are alike
    for begin, end in _pieces(text, _before_base):
        piece = text[begin:end]
        signs = set(piece)
        looks = {sign: look for sign in signs - _PLAIN if (look := _look(sign, again))}
        if not looks:
            edited.keep(piece)
            continue
        edited.unclear |= any(look.unclear for look in looks.values())
        runs = "".join(sorted(sign for sign, look in looks.items() if look.is_mark or not look.shown))
        several = "".join(sign for sign, look in looks.items() if len(look.shown) > 1)
        if any(len(look.shown) == 1 and look.shown != sign for sign, look in looks.items()):
            kept = {ord(sign): sign for sign in signs}  # a sign that the table lacks takes longer
            piece = piece.translate(kept | {ord(s): look.shown for s, look in looks.items() if len(look.shown) == 1})
        if runs or several:
            _reduce_runs(piece, begin, edited, _class_of(runs, several), looks)
        else:
            edited.keep(piece)


def _reduce_runs(piece: str, begin: int, edited: _Edited, pattern: re.Pattern[str], looks: Mapping[str, _Look]) -> None:
    """Drop invisible characters, compose accents, and expand characters that stand for several letters."""
    at = 0
    for match in pattern.finditer(piece):
        first, last = match.span()
        run = match[0]
        if match.lastgroup == "several":
            edited.keep(piece[at:first])
            edited.edit(begin + first, begin + last, looks[run].shown)
            at = last
            continue
        marks = "".join([sign for sign in run if looks[sign].shown])
        base = piece[first - 1] if marks and first > at else ""
        if base and _bears_marks(base):
            if len(marks) == len(run):
                continue
            plain = marks
        elif base.isalpha():
            first, plain = first - 1, unicodedata.normalize("NFC", base + marks)[0]
        else:
            plain = ""
        edited.keep(piece[at:first])
        edited.edit(begin + first, begin + last, plain)
        at = last
    edited.keep(piece[at:])


@lru_cache(maxsize=256)
def _class_of(runs: str, several: str) -> re.Pattern[str]:
    forms = [f"(?P<{name}>[{re.escape(signs)}]{many})" for name, signs, many in
             (("run", runs, "+"), ("several", several, "")) if signs]  # fmt: skip
    return re.compile("|".join(forms))


@lru_cache(maxsize=_REMEMBERED)
def _bears_marks(sign: str) -> bool:
    """Return whether marks on a letter belong to its script: vowels and tones of scripts without case."""
    return unicodedata.category(sign)[0] in "LM" and sign.lower() == sign.upper()


class _Look(NamedTuple):
    shown: str
    """The visible form of a character; a mark is itself."""
    is_mark: bool = False
    unclear: bool = False


@lru_cache(maxsize=_REMEMBERED)
def _look(sign: str, again: bool) -> _Look | None:  # noqa: FBT001 - part of the key
    """Return the visible form of a character; None if it is the character itself."""
    kind = unicodedata.category(sign)
    if is_ignorable(sign) or kind in {"Cf", "Me"}:
        return _Look("")
    if kind in {"Cs", "Co", "Cn"}:  # nothing that a text is written in, whatever a font makes of it
        return _Look(" " if again else "", unclear=True)
    if kind == "Mn":
        return _Look(sign, is_mark=True)
    unclear = kind == "No" or (kind == "Cc" and sign.isspace() and sign not in "\t\n\r")
    shown = _shown(sign, kind, again)
    return None if shown == sign and not unclear else _Look(shown, unclear=unclear)


def _shown(sign: str, kind: str, again: bool) -> str:  # noqa: FBT001 - as above
    if kind in {"Cc", "Zl", "Zp", "Zs"}:
        return _shown_blank(sign, kind, again)
    if again and kind == "No":
        return " "
    if (digit := unicodedata.digit(sign, None)) is not None:
        return str(digit)
    if kind == "No" and unicodedata.numeric(sign, None) == 0:  # the circled zeros that have no other property
        return "0"
    framed = _FRAMED.fullmatch(unicodedata.name(sign, "")) if kind == "So" else None
    flat = framed[1] if framed else unicodedata.normalize("NFKC", sign)
    if len(flat) == 1:
        return "-" if flat in _HYPHENS else flat
    several = flat.isascii() and (flat.isdigit() if kind == "No" else kind[0] == "L" and flat.isalnum())
    return flat if several else sign


def _shown_blank(sign: str, kind: str, again: bool) -> str:  # noqa: FBT001 - part of the key
    if sign in "\t\n\r":
        return sign
    if kind == "Cc":
        return sign if sign.isspace() and not again else ""
    return " " if kind == "Zs" else "\n"


def _before_base(text: str, end: int) -> int:
    """Return the end of a piece, moved so that the marks of its last letter stay with it."""
    while end < len(text) and (look := _look(text[end], False)) and (look.is_mark or not look.shown):
        end += 1
    return end


# --- Tags.

_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9:-]{0,30}(?:\s[^<>]{0,200})?/?>|<!--[^<>]{0,100}-->")
_LONGEST_TAG = 240


def untagged(text: str) -> Folded | None:
    """Return a text without HTML or XML tags; None where it has none."""
    if "<" not in text or ">" not in text:
        return None
    edited = _Edited()
    for begin, end in _pieces(text, _before_tag):
        at = begin
        for match in _TAG.finditer(text, begin, end):
            edited.keep(text[at : match.start()])
            edited.edit(match.start(), match.end(), "")
            at = match.end()
        edited.keep(text[at:end])
    return Folded("".join(edited.pieces), (edited.level,), unclear=False) if edited.level[0] else None


_NAME = r"[^\W\d][\w-]{1,60}"
_FIELD = re.compile(
    rf"\\{{0,3}}[\"'](?P<quoted>{_NAME})\\{{0,3}}[\"']\s{{0,3}}:\s{{0,3}}(?:\\{{0,3}}[\"'])?"
    rf"|<(?P<tag>{_NAME})(?:\s[^<>\n]{{0,60}})?>(?!\s{{0,8}}<)"
    rf"|(?<![\w-])(?P<set>{_NAME})(?:\s?=\s?|:\s)(?:\\?[\"'])?"
)


def with_fields(text: str) -> Folded | None:
    """Return a text with each field of JSON, XML and code as a person writes it; None where it has none.

    `{"accountNumber": "1234"}` and `account_number=1234` are `account number: 1234`.
    """
    if not any(map(text.__contains__, ":=>")):
        return None
    edited = _Edited()
    for begin, end in _pieces(text, _before_tag):
        at = begin
        for match in _FIELD.finditer(text, begin, end):
            name = match[match.lastgroup or 0]
            words = _words_of_name(name)
            if match.lastgroup != "set" or words != name:
                edited.keep(text[at : match.start()])
                edited.edit(match.start(), match.end(), f" {words}: ")
                at = match.end()
        edited.keep(text[at:end])
    return Folded("".join(edited.pieces), (edited.level,), unclear=False) if edited.level[0] else None


def _words_of_name(name: str) -> str:
    spaced = (
        " " if sign in "_-" else f" {sign}" if sign.isupper() and before.islower() else sign
        for before, sign in pairwise(f"_{name}")
    )
    return "".join(spaced).strip()


def _before_tag(text: str, end: int) -> int:
    """Return the end of a piece, moved so that no tag is cut in two."""
    opened = text.rfind("<", end - _LONGEST_TAG, end)
    return end if opened < 0 or ">" in text[opened:end] else opened


# --- Properties that `unicodedata` lacks.


@cache
def _properties() -> Mapping[str, Any]:
    return json.loads((files("coterie.text") / "unicode.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@lru_cache(maxsize=_REMEMBERED)
def is_ignorable(sign: str) -> bool:
    """Return whether a character has the property Default_Ignorable_Code_Point: it is invisible."""
    code, ranges = ord(sign), _properties()["ignorable"]
    index = bisect_right(ranges, [code, 0x110000]) - 1
    return index >= 0 and code <= ranges[index][1]


@cache
def _lookalikes() -> Mapping[str, str]:
    return {sign: plain for plain, alike in _properties()["lookalikes"].items() for sign in alike}


@lru_cache(maxsize=_REMEMBERED)
def _plain_letter(sign: str) -> str:
    """Return the ASCII letter or digit that a character looks like (UTS #39), or is with an accent; else itself."""
    base = unicodedata.normalize("NFD", sign)[0]
    return base if base.isascii() else _lookalikes().get(base, _lookalikes().get(sign, sign))


_ACCENTED = r"\u00c0-\u024f\u1e00-\u1eff"
_CAPITALS = "".join(sign for sign in map(chr, (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))) if sign.isupper())
_ACCENTED_CODE = re.compile(
    rf"[A-Z](?:(?=[{_CAPITALS}])|(?<=[{_CAPITALS}].))|[0-9](?:(?=[a-z_-]{{0,32}}[{_ACCENTED}])|(?<=[{_ACCENTED}].))"
)
"""An accented capital beside another capital, or an accent in a code with a digit: not an accent in a word."""


@cache
def _mixed() -> re.Pattern[str]:
    """Return the pattern of an ASCII look-alike beside an ASCII letter, or between the numbers of a code."""
    alike = re.escape("".join(sign for sign in _lookalikes() if sign.isalnum()))
    return re.compile(rf"[0-9A-Za-z](?:(?=[{alike}])|(?<=[{alike}].)|(?=[ -][{alike}]{{2,4}}[ -]?[0-9]))")


def skeleton(text: str) -> str | None:
    """Return a folded text with look-alikes replaced by ASCII letters, in place; None if none hides a code."""
    if text.isascii():
        return None
    signs = set(text)
    alike = {sign: plain for sign in signs - _PLAIN if (plain := _plain_letter(sign)) != sign}
    if not alike or not (_ACCENTED_CODE if all(map(_is_accented, alike)) else _mixed()).search(text):
        return None
    return text.translate({ord(sign): alike.get(sign, sign) for sign in signs})


@lru_cache(maxsize=_REMEMBERED)
def _is_accented(sign: str) -> bool:
    """Return whether a character is an ASCII letter with an accent, or not a letter."""
    return not sign.isalnum() or unicodedata.normalize("NFD", sign)[0].isascii()


# --- Look-alike characters: one table, for pseudonyms and for erasure.

ALIKE = {"'": "'\u2018\u2019\u02bc\u00b4`", "-": "-\u2010\u2011\u2012\u2013\u2212"}
"""Signs that are used as an apostrophe and as a hyphen in names."""
PLAIN_SIGNS = str.maketrans({sign: plain for plain, alike in ALIKE.items() for sign in alike})
"""For `str.translate`: maps each of these signs to the plain sign."""


# --- Valid Unicode.


def valid_text(text: str) -> str:
    """Return the text with lone surrogates, which no encoding can represent, replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_STRETCH = 50_000
_LONGEST_MARK = 500
_NO_WORD = re.compile(r"\W")
UNSPACED = re.compile(
    r"[\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff]+"
)
"""Characters of scripts without blanks: Thai, Lao, Burmese, Khmer; kana and Chinese."""


def find_words(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """Yield the matches of a pattern that matches nothing beyond a word or a sign.

    A long text is searched in pieces: a single search would block all other threads until its end.
    """
    begin = 0
    while begin < len(text):
        still_wanted()
        cut = _NO_WORD.search(text, begin + _STRETCH)
        end = cut.start() if cut else len(text)
        yield from pattern.findall(text, begin, end)
        begin = end


def find_marks(pattern: re.Pattern[str], text: str, start: int = 0, end: int | None = None) -> Iterator[re.Match[str]]:
    """Yield the matches of a pattern for short strings in a text or a part of it, searched in pieces, too."""
    end = len(text) if end is None else end
    last = start
    for begin in range(start, end, _STRETCH):
        still_wanted()
        for match in pattern.finditer(text, max(begin, last), min(begin + _STRETCH + _LONGEST_MARK, end)):
            if match.start() >= begin + _STRETCH:
                break
            last = match.end()
            yield match


def estimate_tokens(text: str) -> int:
    """Return the estimated tokens of a text for an unknown tokenizer: four UTF-8 bytes a token, a rule of thumb."""
    return ceil(len(valid_text(text).encode()) / 4)
