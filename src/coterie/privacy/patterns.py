"""Detection by patterns: numbers with check digits, internet addresses, telephones, secrets, names in fields.

No model, no download.

Every form is found that a value may have in a text: folded, in look-alike letters, encoded, cut in pieces. A detector
searches the text as it reads (`coterie.text.folding`). Findings are mapped back to the text as it is written, so that a
replacement leaves nothing of the value.

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

from coterie.privacy.contact import find_births, find_emails, find_ips, find_phones, find_urls
from coterie.privacy.detection import (
    BEFORE,
    Kind,
    PersonalData,
    count_digits,
    digits_between,
    has_digit,
    label_of,
    settle,
)
from coterie.privacy.identifiers import (
    CARD_WORDS,
    TOKEN_BEGINS,
    find_accounts,
    find_cards,
    find_ibans,
    find_long_secrets,
    find_national_ids,
    find_papers,
    find_pins,
    find_secrets,
    has_iban_form,
    has_token_sign,
    iban_length,
    is_iban,
    is_sure_card,
    is_token,
)
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import still_wanted
from coterie.text.folding import Folded, fold, skeleton, untagged, with_fields

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
_PIECE = re.compile(r"(?<![0-9A-Za-z_-])[0-9A-Za-z_.-]{3,511}[0-9A-Za-z_-]")
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
    runs, numbers, words = (_Pieces(pattern, texts) for pattern in (_RUN, _CARD, _PIECE))
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

_FORM_STEP, _FORM_AHEAD = 32_000, 64
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
    if len(text) > _FORM_STEP or (
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
        if match := pattern.search(text, at, at + _FORM_STEP + _FORM_AHEAD):
            return match
        at += _FORM_STEP
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


# --- Names in fields that say so: `"lastName": "Vasquez"`, `<surname>Vasquez</surname>`, `First name: Helena`.
#
# No model: what the field is called says what stands in it. A field that is only called `name` may hold anything, and
# is left to the model of names.

# --- Detection by patterns: numbers with check digits, internet addresses, telephones, secrets, names in fields.

_GAP = r"[ _-]?"
_OWN = rf"(?:first|last|given|family|middle|maiden|full|sur|fore|legal|preferred){_GAP}names?"
_OF_ROLE = (
    rf"(?:patient|employee|applicant|passenger|guest|student|(?:card|account){_GAP}holder){_GAP}(?:full{_GAP})?names?|"
    rf"(?:card|account){_GAP}holder"
)
_ABROAD = (
    rf"vorname|(?:nach|familien|geburts)name|pr\u00e9?e?nom|nom{_GAP}de{_GAP}famille|apellidos?|cognome|achternaam|voornaam|"
    r"sobrenome|apelido|imi\u0119|nazwisko|p\u0159\u00edjmen\u00ed|soyad\u0131|efternavn|fornavn|efternamn|f\u00f6rnamn|"
    r"\u0444\u0430\u043c\u0438\u043b\u0438\u044f|\u043e\u0442\u0447\u0435\u0441\u0442\u0432\u043e|\u59d3\u540d|\u6c0f\u540d"
)
_KEY = rf"(?i:{_OWN}|{_OF_ROLE}|{_ABROAD})"
_ENDS = re.compile(
    r"(?:names?|holder|nom|famille|apellidos?|cognome|apelido|imi\u0119|naam|nazwisko|p\u0159\u00edjmen\u00ed|soyad\u0131|navn|namn|"
    r"\u0444\u0430\u043c\u0438\u043b\u0438\u044f|\u043e\u0442\u0447\u0435\u0441\u0442\u0432\u043e|\u59d3\u540d|\u6c0f\u540d)"
    r"(?:\\?[\"']?\]?\s{0,2}[:=]|[^<>\n]{0,60}>)"
)
"""The end of a name field in lower case; without one there is nothing to search."""
_WORD = r"[^\W\d_](?:[^\W\d_]|['\u2019.-](?=[^\W\d_]|[ <\"']|$)){0,30}"
_UPPER = rf"(?![a-z\u00df-\u00f6\u00f8-\u00ff]){_WORD}"
_FIELD = re.compile(
    rf"(?:(?<![^\W_])|(?<=[a-z])(?=[A-Z])){_KEY}(?:"
    rf"\\?[\"']?\]?\s{{0,2}}(?:[:=]|=>)\s{{0,3}}(?:\\?[\"'](?P<quoted>{_WORD}(?:[ ]{_WORD}){{0,4}})\\?[\"']"
    rf"|(?P<bare>{_UPPER}(?:[ ]{_UPPER}){{0,4}}?)(?=[ \t]*(?:$|[\n\r,;&|}})\]]|[ ][^\W\d_][\w ]{{1,24}}[:=])))"
    rf"|(?:\s[^<>\n]{{0,60}})?>\s{{0,3}}(?P<tagged>{_WORD}(?:[ ]{_WORD}){{0,4}})\s{{0,3}}</)"
)
_NOBODY = (
    "null none nil true false string str text varchar char nvarchar unknown undefined optional required missing empty "
    "int integer any todo tbd name names value field column self this user anonymous redacted hidden test yes no "
    "firstname lastname surname fullname not default keyword label example"
)
_EMPTY = frozenset(_NOBODY.split())
"""Values of a name field without a person."""


def find_fields(text: str) -> Iterator[PersonalData]:
    """Yield the names in name fields of JSON, XML, forms, code and query strings."""
    signs = ":" in text or "=" in text or ">" in text
    if not signs or not _ENDS.search(text.lower()):
        return
    for match in _FIELD.finditer(text):
        group = next(name for name in ("quoted", "bare", "tagged") if match[name] is not None)
        if not any(word in _EMPTY for word in re.findall(r"\w+", match[group].casefold())):
            start, end = match.span(group)
            yield PersonalData(kind=Kind.PERSON, start=start, end=end, score=0.9)


_FINDERS = (find_secrets, find_emails, find_urls, find_fields)
_OF_NUMBERS = (
    (find_births, 1),
    (find_national_ids, 1),
    (find_ips, 1),
    (find_papers, 3),
    (find_pins, 3),
    (find_accounts, 6),
    (find_phones, 6),
    (find_cards, 12),
)
"""Finders that find nothing in a text without digits, as most messages are, with the fewest digits they need."""
_DIGIT = re.compile(r"\d")
_CERTAIN = 0.99
"""Score from which no other number finding is more confident."""
_AROUND = 160
"""Characters of context beside a digit: more than any finder needs."""


_NAMED_KINDS = frozenset({Kind.SECRET, Kind.BANK_ACCOUNT, Kind.CARD, Kind.NATIONAL_ID, Kind.DATE_OF_BIRTH})
"""Kinds that words before a value tell; a field's name is such words (`"accountNumber"`)."""


class PatternDetector:
    """Finds data with a fixed form: names only in name fields, and no places."""

    quick = 3_000
    """Characters that are searched within about five milliseconds, even if they are all numbers."""

    def find(self, text: str) -> tuple[PersonalData, ...]:
        """Return the findings in a text, in its order, without overlaps; in time proportional to its length."""
        return find_in_forms(text, find_folded, find_exact)


def find_folded(text: str) -> tuple[PersonalData, ...]:
    """Return the findings in a text that is already folded."""
    personal_data = _in_stretches(text, _find)
    fields = with_fields(text)
    if fields is None:
        return personal_data
    more = [item for item in _in_stretches(fields.text, _find) if item.kind in _NAMED_KINDS]
    spans = ((item, *fields.span(item.start, item.end)) for item in more)
    return (
        settle([*personal_data, *(replace(item, start=start, end=end) for item, start, end in spans)])
        if more
        else personal_data
    )


def find_exact(text: str) -> tuple[PersonalData, ...]:
    """Return findings with a form or check digits of their own, for a text with replaced look-alike letters."""
    return _in_stretches(text, _find_exact)


def _in_stretches(text: str, find: Finder) -> tuple[PersonalData, ...]:
    if len(text) <= _STEP + _AHEAD:
        return tuple(find(text))
    personal_data = list(find_long_secrets(text))
    whole = len(personal_data)
    for begin in range(0, len(text), _STEP):
        still_wanted()
        first = max(0, begin - _BEFORE)
        for item in find(text[first : begin + _STEP + _AHEAD]):
            start = item.start + first
            if begin <= start < begin + _STEP and (len(personal_data) == whole or start >= personal_data[-1].end):
                personal_data.append(replace(item, start=start, end=item.end + first))
    return settle(personal_data) if whole else tuple(personal_data)


# A pattern that goes over a text keeps every other thread from running until it matches or ends. So a long text is read
# in stretches, each with what stands before and behind it.
_STEP = 6_000
"""Characters of a stretch in which findings begin."""
_BEFORE, _AHEAD = 512, 2_048
"""Characters of context before a stretch, and characters after it that a finding may extend to.

Longer findings are those of `find_long_secrets`, which searches the whole text.
"""


def _find_exact(text: str) -> tuple[PersonalData, ...]:
    numbers = (find_ibans, find_national_ids, find_cards) if has_digit(text) else ()
    return settle(item for find in (find_secrets, *numbers) for item in find(text))


def _find(text: str) -> tuple[PersonalData, ...]:
    personal_data = [item for finder in _FINDERS for item in finder(text)]
    if has_digit(text):
        personal_data += find_ibans(text)
        begin, piece = _numbered(_claimed(text, personal_data))
        digits = count_digits(piece)
        numbers = (item for finder, fewest in _OF_NUMBERS if digits >= fewest for item in finder(piece))
        personal_data += (
            replace(number, start=number.start + begin, end=number.end + begin) if begin else number
            for number in numbers
        )
    return settle(personal_data)


def _claimed(text: str, personal_data: Sequence[PersonalData]) -> str:
    """Return the text with letters in place of the digits of certain findings, which are not searched again."""
    pieces, at = list[str](), 0
    for item in sorted((certain for certain in personal_data if certain.score >= _CERTAIN), key=lambda one: one.start):
        if item.end > at:
            start = max(at, item.start)
            pieces += [text[at:start], _DIGIT.sub("z", text[start : item.end])]
            at = item.end
    return "".join(pieces) + text[at:]


def _numbered(text: str) -> tuple[int, str]:
    """Return the start of the part of a text with all its digits and their context, and the part."""
    span = digits_between(text)
    if span is None:
        return 0, ""
    begin = max(0, span[0] - _AROUND)
    return begin, text[begin : span[1] + _AROUND]
