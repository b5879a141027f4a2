"""Values cut in two or three: over turns, columns, strings of JSON, lines and cells.

Pieces are joined only where the whole is exact: an IBAN by its length and check number, a card's number by Luhn's digit
and its issuer beside a word for a card, a token by the form that its maker gives it. Words and up to three other
numbers may stand between two pieces; between those of a card one, and none where it is in three or four.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from coterie.privacy.detection import BEFORE, Kind, PersonalData, count_digits, digits_between
from coterie.privacy.identifiers import CARD_WORDS, has_iban_form, iban_length, is_iban, is_sure_card
from coterie.privacy.secrets import TOKEN_BEGINS, has_token_sign, is_token
from coterie.runtime.concurrency import still_wanted

WHOLE = frozenset({Kind.IBAN, Kind.CARD, Kind.NATIONAL_ID, Kind.SECRET, Kind.EMAIL})
"""Kinds of which nothing is a piece of something else."""
_BETWEEN, _PIECES = 3, 3
"""Other numbers that may stand between two pieces, and pieces that a value may be in."""
_STRETCH, _LONGEST = 32_000, 512
"""Characters that a pattern goes over at once, and that what it finds may have."""
_CODE = r"(?:[0-9A-Za-z]{0,64}[0-9][0-9A-Za-z]{0,64}|[A-Z]{2,4})(?![0-9A-Za-z])"
_RUN = re.compile(rf"(?<![0-9A-Za-z]){_CODE}(?:[ -]{_CODE}){{0,16}}")
"""Numbers and codes side by side."""
_IBAN = re.compile(r"[0-9](?<=[A-Z]{2}[0-9])(?<![^\W_][A-Z]{2}[0-9])[0-9]", re.IGNORECASE | re.ASCII)
_CARD = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){3,11}(?![0-9])")
_DIGITS = re.compile(r"[0-9]+")
_CARD_DIGITS = (14, 15, 16)
_WORD = re.compile(r"(?<![0-9A-Za-z_-])[0-9A-Za-z_.-]{3,511}[0-9A-Za-z_-]")
_SIGNS = re.compile(r"[0-9A-Za-z]+")
_CHANGING = re.compile(r"[0-9]|[a-z][A-Z]")
"""What a part of a token has and a word has not."""


class ValuePiece(NamedTuple):
    """Part of a value: `texts[text][start:end]`, and its letters and digits."""

    text: int  # its place in the texts
    start: int
    end: int
    signs: str


class CutValue(NamedTuple):
    """A value in pieces."""

    kind: Kind
    pieces: tuple[ValuePiece, ...]

    def found(self, index: int) -> list[PersonalData]:
        """Its pieces in one of the texts."""
        return [
            PersonalData(kind=self.kind, start=piece.start, end=piece.end, score=0.99)
            for piece in self.pieces
            if piece.text == index
        ]


_Judge = Callable[[str], bool | None]
"""Whether signs are a value: None if they may become one."""
_Heads = Callable[[ValuePiece, str], Iterator[ValuePiece]]
"""What of a piece may go on with some signs."""


def cut_values(texts: Sequence[str]) -> list[CutValue]:
    """The values that are in pieces in some folded texts, which follow each other or are sent together."""
    numbered = [digits_between(text) is not None for text in texts]
    if not any(numbered):
        return []
    found = list[CutValue]()
    cards = sum(map(count_digits, texts)) >= _CARD_DIGITS[0] and any(map(CARD_WORDS.may_stand_in, texts))
    runs, numbers, words = (_Pieces(pattern, texts) for pattern in (_RUN, _CARD, _WORD))
    for index, text in enumerate(texts):
        if numbered[index]:
            found += _cut_ibans(text, index, runs)
            found += _cut_cards(texts, index, numbers) if cards else ()
        if has_token_sign(text):
            found += _cut_tokens(text, index, words)
    return found


def without_found(text: str, found: Iterable[PersonalData]) -> str:
    """The text with blanks for what is found whole: what is left may be pieces of other values, telephones too."""
    pieces, at = list[str](), 0
    for each in sorted(found, key=lambda each: each.start):
        if each.end > at and each.kind in WHOLE:
            start = max(at, each.start)
            pieces += [text[at:start], "\0" * (each.end - start)]
            at = each.end
    return "".join([*pieces, text[at:]]) if at else text


def _matches(pattern: re.Pattern[str], text: str, at: int = 0) -> Iterator[re.Match[str]]:
    """The matches in a text, looked for in steps between which other threads run."""
    last = at
    while at < len(text):
        for match in pattern.finditer(text, max(at, last), at + _STRETCH + _LONGEST):
            if match.start() < at + _STRETCH:
                last = match.end()
                yield match
        at += _STRETCH
        still_wanted()


class _Pieces:
    """What a pattern finds in some texts, looked for when it is first asked for."""

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
        """Those behind a piece that may belong to it."""
        place = bisect_left(self.all, (first.text, first.end))
        return self.all[place : place + (_BETWEEN + 1) * (_PIECES - 1)]


def _joined(
    first: ValuePiece,
    behind: Sequence[ValuePiece],
    judge: _Judge,
    heads: _Heads,
    *,
    left: int = _PIECES - 1,
    between: int = _BETWEEN,
) -> tuple[ValuePiece, ...] | None:
    """The first piece with those that make a value of it, at most `left`; None if none do."""
    for place, piece in enumerate(behind[: between + 1]):
        for head in heads(piece, first.signs):
            signs = first.signs + head.signs
            verdict = judge(signs)
            if verdict:
                return first, head
            if verdict is None and left > 1:
                both = first._replace(signs=signs)
                if more := _joined(both, behind[place + 1 :], judge, heads, left=left - 1, between=between):
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
    return "".join(_SIGNS.findall(written))


def _heads_of_iban(piece: ValuePiece, most: int) -> Iterator[ValuePiece]:
    """As many groups of a run as an IBAN still has, with and without letters that stand before its first digit."""
    groups = list(_SIGNS.finditer(piece.signs))
    first = next((place for place, group in enumerate(groups) if not group[0].isalpha()), 0)
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
    """Whether a word for a card stands before a piece, in its text or at the end of the one before."""
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
