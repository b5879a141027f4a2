"""Detection of every form that a value may have in a text: folded, in look-alike letters, encoded, cut in pieces.

A detector searches the text as it reads (`coterie.text.folding`). Findings are mapped back to the text as it
is written, so that a replacement leaves nothing of the value.

Pieces are joined only where the whole is exact: an IBAN by its length and check number, a card's number by
Luhn's digit and its issuer beside a word for a card, a token by the form that its maker gives it. Words and
up to three other numbers may stand between two pieces; between those of a card one, and none where it is in
three or four.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from coterie.privacy.contact import find_emails
from coterie.privacy.detection import BEFORE, Kind, PersonalData, count_digits, has_digit, label_of, settle
from coterie.privacy.identifiers import CARD_WORDS, has_iban_form, iban_length, is_iban, is_sure_card
from coterie.privacy.secrets import TOKEN_BEGINS, has_token_sign, is_token
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import still_wanted
from coterie.text.folding import Folded, fold, skeleton, untagged

WHOLE = frozenset({Kind.IBAN, Kind.CARD, Kind.NATIONAL_ID, Kind.SECRET, Kind.EMAIL})
"""Kinds whose findings are never pieces of other values."""
_BETWEEN, _PIECES = 3, 3
"""Most other numbers between two pieces, and most pieces of a value."""
_STRETCH, _LONGEST = 32_000, 512
"""Characters that a pattern searches at once, and the longest match."""
_CODE = r"(?:[0-9A-Za-z]{0,64}[0-9][0-9A-Za-z]{0,64}|[A-Z]{2,4})(?![0-9A-Za-z])"
_RUN = re.compile(rf"(?<![0-9A-Za-z]){_CODE}(?:[ -]{_CODE}){{0,16}}")
"""Numbers and codes side by side."""
_IBAN = re.compile(r"[0-9](?<=[A-Z]{2}[0-9])(?<![^\W_][A-Z]{2}[0-9])[0-9]", re.IGNORECASE | re.ASCII)
_CARD = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){3,11}(?![0-9])")
_CARD_DIGITS = (14, 15, 16)
_WORD = re.compile(r"(?<![0-9A-Za-z_-])[0-9A-Za-z_.-]{3,511}[0-9A-Za-z_-]")
_LETTERS_AND_DIGITS = re.compile(r"[0-9A-Za-z]+")
_CHANGING = re.compile(r"[0-9]|[a-z][A-Z]")
"""A property of token parts that words lack."""


class ValuePiece(NamedTuple):
    """A piece of a value: `texts[text][start:end]`, and its letters and digits."""

    text: int  # its place in the texts
    start: int
    end: int
    signs: str


class CutValue(NamedTuple):
    """A value in pieces."""

    kind: Kind
    pieces: tuple[ValuePiece, ...]

    def found(self, index: int) -> list[PersonalData]:
        """Return the pieces in one of the texts as findings."""
        return [
            PersonalData(kind=self.kind, start=piece.start, end=piece.end, score=0.99)
            for piece in self.pieces
            if piece.text == index
        ]


_Judge = Callable[[str], bool | None]
"""A function that returns whether characters are a value; None if they may become one."""
_Heads = Callable[[ValuePiece, str], Iterator[ValuePiece]]
"""A function that yields the parts of a piece that may continue some characters."""


def cut_values(texts: Sequence[str]) -> list[CutValue]:
    """Return the values that are cut in pieces in some folded texts, which follow each other or are sent together."""
    numbered = [has_digit(text) for text in texts]
    if not any(numbered):
        return []
    cut = list[CutValue]()
    cards = sum(map(count_digits, texts)) >= _CARD_DIGITS[0] and any(map(CARD_WORDS.may_stand_in, texts))
    runs, numbers, words = (_Pieces(pattern, texts) for pattern in (_RUN, _CARD, _WORD))
    for index, text in enumerate(texts):
        if numbered[index]:
            cut += _cut_ibans(text, index, runs)
            cut += _cut_cards(texts, index, numbers) if cards else ()
        if has_token_sign(text):
            cut += _cut_tokens(text, index, words)
    return cut


def without_found(text: str, personal_data: Iterable[PersonalData]) -> str:
    """Return the text with whole findings blanked: the rest, with telephone numbers, may be pieces of other values."""
    pieces, at = list[str](), 0
    for item in sorted(personal_data, key=lambda item: item.start):
        if item.end > at and item.kind in WHOLE:
            start = max(at, item.start)
            pieces += [text[at:start], "\0" * (item.end - start)]
            at = item.end
    return "".join([*pieces, text[at:]]) if at else text


def _matches(pattern: re.Pattern[str], text: str, at: int = 0) -> Iterator[re.Match[str]]:
    """Yield the matches in a text, searched in steps between which other threads run."""
    last = at
    while at < len(text):
        for match in pattern.finditer(text, max(at, last), at + _STRETCH + _LONGEST):
            if match.start() < at + _STRETCH:
                last = match.end()
                yield match
        at += _STRETCH
        still_wanted()


class _Pieces:
    """The matches of a pattern in some texts, searched on first use."""

    def __init__(self, pattern: re.Pattern[str], texts: Sequence[str]) -> None:
        self._pattern, self._texts = pattern, texts

    @cached_property
    def all(self) -> list[ValuePiece]:
        return [
            ValuePiece(index, match.start(), match.end(), match[0])
            for index, text in enumerate(self._texts)
            for match in _matches(self._pattern, text)
        ]

    def behind(self, first: ValuePiece) -> list[ValuePiece]:
        """Return the pieces after a piece that may belong to it."""
        position = bisect_left(self.all, (first.text, first.end))
        return self.all[position : position + (_BETWEEN + 1) * (_PIECES - 1)]


def _joined(
    first: ValuePiece,
    behind: Sequence[ValuePiece],
    judge: _Judge,
    heads: _Heads,
    *,
    left: int = _PIECES - 1,
    between: int = _BETWEEN,
) -> tuple[ValuePiece, ...] | None:
    """Return the first piece with those that complete it to a value, at most `left`; None if none do."""
    for index, piece in enumerate(behind[: between + 1]):
        for head in heads(piece, first.signs):
            signs = first.signs + head.signs
            verdict = judge(signs)
            if verdict:
                return first, head
            if verdict is None and left > 1:
                both = first._replace(signs=signs)
                if more := _joined(both, behind[index + 1 :], judge, heads, left=left - 1, between=between):
                    return first, head, *more[1:]
    return None


# --- IBANs.


def _cut_ibans(text: str, index: int, runs: _Pieces) -> Iterator[CutValue]:
    for match in _matches(_IBAN, text):
        start = match.start() - 2
        length = iban_length(text[start : start + 2].upper())
        run = _RUN.match(text, start) if length else None
        if run is None:
            continue
        first = ValuePiece(index, start, run.end(), _plain(run[0]))
        if len(first.signs) < length and has_iban_form(first.signs):

            def judge(signs: str, length: int = length) -> bool | None:
                if not has_iban_form(signs):
                    return False
                return None if len(signs) < length else len(signs) == length and is_iban(signs)

            def heads(piece: ValuePiece, signs: str, length: int = length) -> Iterator[ValuePiece]:
                return _heads_of_iban(piece, length - len(signs))

            if pieces := _joined(first, runs.behind(first), judge, heads):
                yield CutValue(Kind.IBAN, pieces)


def _plain(written: str) -> str:
    return "".join(_LETTERS_AND_DIGITS.findall(written))


def _heads_of_iban(piece: ValuePiece, most: int) -> Iterator[ValuePiece]:
    """Yield as many groups of a run as an IBAN lacks, with and without letters before its first digit."""
    groups = list(_LETTERS_AND_DIGITS.finditer(piece.signs))
    first = next((index for index, group in enumerate(groups) if not group[0].isalpha()), 0)
    for begin in {0, first}:
        signs, end = "", 0
        for group in groups[begin:]:
            if len(signs) + len(group[0]) > most:
                break
            signs, end = signs + group[0], group.end()
        if signs:
            yield ValuePiece(piece.text, piece.start + groups[begin].start(), piece.start + end, signs)


# --- Cards.


def _cut_cards(texts: Sequence[str], index: int, numbers: _Pieces) -> Iterator[CutValue]:
    for match in _matches(_CARD, texts[index]):
        first = ValuePiece(index, match.start(), match.end(), _plain(match[0]))

        def judge(signs: str) -> bool | None:
            return None if len(signs) < _CARD_DIGITS[0] else is_sure_card(signs)

        behind = numbers.behind(first)
        pieces = _joined(first, behind, judge, _whole, left=3, between=0)
        pieces = pieces or _joined(first, behind, judge, _whole, left=1, between=1)
        if pieces and any(_is_said(texts, piece) for piece in pieces):
            yield CutValue(Kind.CARD, pieces)


def _whole(piece: ValuePiece, _: str) -> Iterator[ValuePiece]:
    yield piece._replace(signs=_plain(piece.signs))


def _is_said(texts: Sequence[str], piece: ValuePiece) -> bool:
    """Return whether a word for a card stands before a piece, in its text or at the end of the previous one."""
    before = texts[piece.text - 1][-BEFORE:] if piece.text else ""
    before += f" {texts[piece.text][max(0, piece.start - BEFORE) : piece.start]}"
    return any(True for _ in CARD_WORDS.ends(before))


# --- Tokens.


def _cut_tokens(text: str, index: int, words: _Pieces) -> Iterator[CutValue]:
    for match in _matches(TOKEN_BEGINS, text):
        if _CHANGING.search(match[0][4:]) and not is_token(match[0]):
            first = ValuePiece(index, match.start(), match.end(), match[0])
            if pieces := _joined(first, words.behind(first), _judge_token, _words_of_token):
                yield CutValue(Kind.SECRET, pieces)


def _judge_token(signs: str) -> bool | None:
    return is_token(signs) or None


def _words_of_token(piece: ValuePiece, _: str) -> Iterator[ValuePiece]:
    if _CHANGING.search(piece.signs):
        yield piece


# --- Every form that a value may have in a text: folded, in look-alike letters, encoded, cut in pieces.

Finder = Callable[[str], Iterable[PersonalData]]

_DEPTH = 2
"""Most times that a decoded text is decoded again."""
_EXACT = frozenset({Kind.IBAN, Kind.CARD, Kind.NATIONAL_ID, Kind.SECRET})
"""Kinds that count when look-alike letters were replaced: those with check digits or a form."""


def find_in_forms(text: str, find: Finder, find_exact: Finder, *, depth: int = _DEPTH) -> tuple[PersonalData, ...]:
    """Return the findings in a text in any form, in the text's order, without overlaps.

    Args:
        text: Any text.
        find: Returns all findings of a detector in a folded text.
        find_exact: Returns the patterns' findings in a text with look-alike letters replaced by ASCII.
        depth: Most times that a decoded text is decoded again.
    """
    folded = fold(text)
    personal_data = _find_read(text, folded, find, find_exact, depth)
    if folded is not None and folded.unclear:
        personal_data = [*personal_data, *_find_read(text, fold(text, again=True), find, find_exact, depth)]
    return personal_data if isinstance(personal_data, tuple) else settle(personal_data)


def _find_read(
    text: str, folded: Folded | None, find: Finder, find_exact: Finder, depth: int
) -> tuple[PersonalData, ...] | list[PersonalData]:
    """Return the findings in one reading, at their places in the text; a list still has overlaps."""
    shown = text if folded is None else folded.text
    plain, alike = find(shown), skeleton(shown)
    more = [] if alike is None else [item for item in find_exact(alike) if item.kind in _EXACT]
    numbered = has_digit(shown)
    if depth:
        more += _find_encoded(shown, find, find_exact, depth - 1, numbered=numbered)
    more += _find_untagged(shown, find_exact, [*plain, *more])
    if numbered:
        left = without_found(shown if alike is None else alike, [*plain, *more])
        more += [piece for value in cut_values([left]) for piece in value.found(0)]
    if folded is None:
        return [*plain, *more] if more else tuple(plain)
    spans = ((item, *folded.span(item.start, item.end)) for item in [*plain, *more])
    return [replace(item, start=start, end=end) for item, start, end in spans]


def _find_untagged(text: str, find_exact: Finder, exact: Sequence[PersonalData]) -> Iterator[PersonalData]:
    """Yield new findings that have their own form and HTML tags within them, with the span that includes the tags."""
    bare = untagged(text)
    if bare is None:
        return
    stands = {kind: bytearray(len(text)) for kind in {item.kind for item in exact}}
    for item in exact:
        stands[item.kind][item.start : item.end] = b"\1" * (item.end - item.start)
    for item in [*(one for one in find_exact(bare.text) if one.kind in _EXACT), *find_emails(bare.text)]:
        start, end = bare.span(item.start, item.end)
        if end - start > item.end - item.start and not any(stands.get(item.kind, b"")[start:end]):
            yield replace(item, start=start, end=end)


def find_between(texts: Sequence[str], found_in_texts: Sequence[Iterable[PersonalData]]) -> list[CutValue]:
    """Return the values that are cut over several texts sent together, each with pieces in at least two of them.

    Args:
        texts: The texts in their order.
        found_in_texts: The findings in each text.
    """
    if not _may_be_cut(texts):
        return []
    folds = [fold(text) for text in texts]
    # What was found is blanked where it is written: a blank as long is folded to one as long.
    left = [
        without_found(text, own) if folded is None else _without(folded, text, own)
        for text, folded, own in zip(texts, folds, found_in_texts, strict=True)
    ]
    cut = cut_values(left) if _may_be_cut(left) else ()  # what had digits may have been found whole
    values = [value for value in cut if len({piece.text for piece in value.pieces}) > 1]
    return [value._replace(pieces=tuple(_written(piece, folds) for piece in value.pieces)) for value in values]


def _may_be_cut(texts: Sequence[str]) -> bool:
    """Return whether a value may be cut over some texts: every piece has a digit, except for pieces of a token."""
    if len(texts) < 2:
        return False
    numbered = sum([not text.isascii() or has_digit(text) for text in texts])
    return numbered > 1 or (numbered == 1 and any(map(has_token_sign, texts)))


def _without(folded: Folded, text: str, personal_data: Iterable[PersonalData]) -> str:
    """Return a folded text in plain letters, with the findings in the original text blanked."""
    inside = bytearray(len(text))
    for item in (found_item for found_item in personal_data if found_item.kind in WHOLE):
        inside[item.start : item.end] = b"\1" * (item.end - item.start)
    shown = skeleton(folded.text) or folded.text
    if not any(inside):
        return shown
    return "".join("\0" if inside[folded.span(at, at + 1)[0]] else sign for at, sign in enumerate(shown))


def _written(piece: ValuePiece, folds: Sequence[Folded | None]) -> ValuePiece:
    folded = folds[piece.text]
    if folded is None:
        return piece
    start, end = folded.span(piece.start, piece.end)
    return piece._replace(start=start, end=end)


# --- Encoded values: base64 and hexadecimal. Percent, HTML and JSON escapes are folded.

_STEP, _AHEAD = 32_000, 64
"""Characters that a pattern searches at once, and the overlap."""
_SIGN = "A-Za-z0-9+/_-"
_QUADS = re.compile(rf"(?:[I-Za-f][C-HS-Xi-nyz0-3][ABEFIJMNQRUVYZcdghklopstwx014589][{_SIGN}]){{3}}")
"""Three groups of base64 that encode three printable ASCII characters each, which prose does not contain."""
_INNER = re.compile(rf"[A-Z0-9](?<=[{_SIGN}].)(?=[{_SIGN}])")
"""A capital or a digit within a word: of nine or more encoded bytes, only one in 50,000 lacks one."""
_FEWEST_SIGNS = 12
_REST = re.compile(rf"[{_SIGN}]*={{0,2}}")
_WRAPPED = re.compile(rf"\r?\n(?=[{_SIGN}]{{2}})")
_SIGNS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-")
_WRAPPED_AT = 60
"""Fewest characters of a line of wrapped base64."""
_URL_SAFE = str.maketrans("-_", "+/", "\r\n=")
_CONTROLS = dict.fromkeys(range(32), " ")
_READABLE = 0.7
"""Share of printable characters from which a decoded value counts as text; random bytes have .4."""
_HEX_DIGIT = "[0-9a-fA-F]"
_OCTET = rf"(?:[2-7]{_HEX_DIGIT}|0[9aAdD]|[c-fC-F]{_HEX_DIGIT}(?:[ :]?[89abAB]{_HEX_DIGIT}){{1,3}})"
_OCTET_GAP = r"(?:[ :-]|(?:, ?| )?0[xX]|, ?)?"
_OCTETS_BEGIN = re.compile(rf"[2-7](?:(?<![0-9A-Za-z].)|(?<=0[xX].)){_HEX_DIGIT}(?:{_OCTET_GAP}{_OCTET}){{7}}")
_OCTETS = re.compile(rf"{_OCTET}(?:{_OCTET_GAP}{_OCTET}){{7,}}(?![0-9A-Za-z])")
_NO_OCTET = re.compile(r"0[xX]|[ :,-]")
"""Separators of hexadecimal bytes."""


def _find_encoded(text: str, find: Finder, find_exact: Finder, depth: int, *, numbered: bool) -> Iterator[PersonalData]:
    """Yield encoded texts with findings, each as a whole, named by the finding with the highest label."""
    # Nearly always there is none, and words without capitals and digits inside tell that soonest.
    if len(text) > _STEP or (
        _INNER.search(text) and any(map(_QUADS.search, [word for word in text.split() if len(word) >= _FEWEST_SIGNS]))
    ):
        yield from _find_decoded(_base64(text), find, find_exact, depth)
    if numbered:
        yield from _find_decoded(_hexadecimal(text), find, find_exact, depth)


def _find_decoded(
    runs: Iterable[tuple[int, int, str]], find: Finder, find_exact: Finder, depth: int
) -> Iterator[PersonalData]:
    for start, end, decoded in runs:
        personal_data = [item for item in find_in_forms(decoded, find, find_exact, depth=depth) if label_of(item.kind)]
        if personal_data:
            first = max(personal_data, key=lambda item: (item.kind == Kind.SECRET, item.score))
            yield PersonalData(kind=first.kind, start=start, end=end, score=first.score)


def _search(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str] | None:
    """Return the next match, searched in steps between which other threads run; None if there is none."""
    while at < len(text):
        if match := pattern.search(text, at, at + _STEP + _AHEAD):
            return match
        at += _STEP
        still_wanted()
    return None


def _base64(text: str) -> Iterator[tuple[int, int, str]]:
    at = 0
    while match := _search(_QUADS, text, at):
        start = match.start()
        while start > at and text[start - 1] in _SIGNS:
            start -= 1
        at = _base64_end(text, start)
        # Where its groups of four begin is known by those that were recognised, and is not where a word before it does.
        for shift in sorted(range(4), key=lambda shift: (shift - match.start() + start) % 4):
            signs = text[start + shift : at].translate(_URL_SAFE)
            signs = signs[: len(signs) - (len(signs) % 4 == 1)]
            octets = base64.b64decode(signs + "=" * (-len(signs) % 4))
            decoded = octets.decode("utf-8", "replace")
            if sum(map(str.isprintable, decoded)) - decoded.count("\ufffd") >= _READABLE * len(decoded):
                yield start, at, decoded.translate(_CONTROLS)
                break


def _base64_end(text: str, start: int) -> int:
    """Return the end of a run, with its wrapped lines: all as long as the first, except for the last."""
    width = 0
    while True:
        line = _REST.match(text, start)
        end = line.end() if line else start
        width = width or end - start
        wrapped = _WRAPPED.match(text, end) if end - start == width >= _WRAPPED_AT else None
        if wrapped is None:
            return end
        start = wrapped.end()


def _hexadecimal(text: str) -> Iterator[tuple[int, int, str]]:
    at = 0
    while begin := _search(_OCTETS_BEGIN, text, at):
        at = begin.end()
        if match := _OCTETS.match(text, begin.start()):
            at = match.end()
            octets = bytes.fromhex(_NO_OCTET.sub("", match[0]))
            yield match.start(), at, octets.decode("utf-8", "replace")
