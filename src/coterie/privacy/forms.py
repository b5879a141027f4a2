"""Every form that a value may have in a text: folded, in look-alike letters, encoded, cut in pieces.

A detector looks at the text as it reads (`coterie.text.folding`). What is found is mapped back to the text as it is
written, so that what is replaced leaves nothing of the value.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from coterie.privacy.contact import find_emails
from coterie.privacy.cut import WHOLE, CutValue, ValuePiece, cut_values, without_found
from coterie.privacy.detection import Kind, PersonalData, digits_between, label_of, settle
from coterie.privacy.secrets import has_token_sign
from coterie.runtime.concurrency import still_wanted
from coterie.runtime.values import replace
from coterie.text.folding import Folded, fold, skeleton, untagged

Finder = Callable[[str], Iterable[PersonalData]]

_DEPTH = 2
"""Times that a decoded text is decoded again."""
_EXACT = frozenset({Kind.IBAN, Kind.CARD, Kind.NATIONAL_ID, Kind.SECRET})
"""What counts where letters were taken for those that they look like: kinds with check digits or a form."""


def find_in_forms(text: str, find: Finder, find_exact: Finder, *, depth: int = _DEPTH) -> tuple[PersonalData, ...]:
    """What is in a text in whatever form, in the text's order, none overlapping another.

    Args:
        text: Any.
        find: All that a detector finds in a folded text.
        find_exact: What patterns find in one with ASCII letters for those that look like them.
        depth: How many times a decoded text is decoded again.
    """
    folded = fold(text)
    found = _find_read(text, folded, find, find_exact, depth)
    if folded is not None and folded.unclear:
        found = [*found, *_find_read(text, fold(text, again=True), find, find_exact, depth)]
    return found if isinstance(found, tuple) else settle(found)


def _find_read(
    text: str, folded: Folded | None, find: Finder, find_exact: Finder, depth: int
) -> tuple[PersonalData, ...] | list[PersonalData]:
    """What is found in one reading, at its places in the text; a list is not settled yet."""
    shown = text if folded is None else folded.text
    plain, alike = find(shown), skeleton(shown)
    more = [] if alike is None else [each for each in find_exact(alike) if each.kind in _EXACT]
    numbered = digits_between(shown) is not None
    if depth:
        more += _find_encoded(shown, find, find_exact, depth - 1, numbered=numbered)
    more += _find_untagged(shown, find_exact, [*plain, *more])
    if numbered:
        left = without_found(shown if alike is None else alike, [*plain, *more])
        more += [piece for value in cut_values([left]) for piece in value.found(0)]
    if folded is None:
        return [*plain, *more] if more else tuple(plain)
    spans = ((each, *folded.span(each.start, each.end)) for each in [*plain, *more])
    return [replace(each, start=start, end=end) for each, start, end in spans]


def _find_untagged(text: str, find_exact: Finder, known: Sequence[PersonalData]) -> Iterator[PersonalData]:
    """What has a form of its own and tags of HTML within it, and is not known already; its place, with the tags."""
    bare = untagged(text)
    if bare is None:
        return
    stands = {kind: bytearray(len(text)) for kind in {each.kind for each in known}}
    for each in known:
        stands[each.kind][each.start : each.end] = b"\1" * (each.end - each.start)
    for each in [*(one for one in find_exact(bare.text) if one.kind in _EXACT), *find_emails(bare.text)]:
        start, end = bare.span(each.start, each.end)
        if end - start > each.end - each.start and not any(stands.get(each.kind, b"")[start:end]):
            yield replace(each, start=start, end=end)


def find_between(texts: Sequence[str], found: Sequence[Iterable[PersonalData]]) -> list[CutValue]:
    """The values that are cut over several texts which are sent together, each with its pieces in at least two of them.

    Args:
        texts: In their order.
        found: What was found in each.
    """
    if not _may_be_cut(texts):
        return []
    folds = [fold(text) for text in texts]
    # What was found is blanked where it is written: a blank as long is folded to one as long.
    left = [
        without_found(text, each) if folded is None else _without(folded, text, each)
        for text, folded, each in zip(texts, folds, found, strict=True)
    ]
    cut = cut_values(left) if _may_be_cut(left) else ()  # what had digits may have been found whole
    values = [value for value in cut if len({piece.text for piece in value.pieces}) > 1]
    return [value._replace(pieces=tuple(_written(piece, folds) for piece in value.pieces)) for value in values]


def _may_be_cut(texts: Sequence[str]) -> bool:
    """Whether a value may be cut over some texts: every piece of one has a digit, but for one of a token."""
    numbered = sum(not text.isascii() or digits_between(text) is not None for text in texts)
    return len(texts) > 1 and (numbered > 1 or (numbered == 1 and any(map(has_token_sign, texts))))


def _without(folded: Folded, text: str, found: Iterable[PersonalData]) -> str:
    """A folded text, with its plain letters, and blanks for what was found in the text as it is written."""
    inside = bytearray(len(text))
    for each in (each for each in found if each.kind in WHOLE):
        inside[each.start : each.end] = b"\1" * (each.end - each.start)
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
"""Characters that a pattern goes over at once, and a few more."""
_SIGN = "A-Za-z0-9+/_-"
_QUADS = re.compile(rf"(?:[I-Za-f][C-HS-Xi-nyz0-3][ABEFIJMNQRUVYZcdghklopstwx014589][{_SIGN}]){{3}}")
"""Three groups of base64 that stand for three printable ASCII characters each: what no prose has."""
_INNER = re.compile(rf"[A-Z0-9](?<=[{_SIGN}].)(?=[{_SIGN}])")
"""A capital or a digit within a word: of nine bytes or more that are encoded only one in 50,000 has none."""
_FEWEST_SIGNS = 12
_REST = re.compile(rf"[{_SIGN}]*={{0,2}}")
_WRAPPED = re.compile(rf"\r?\n(?=[{_SIGN}]{{2}})")
_SIGNS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-")
_WRAPPED_AT = 60
"""Signs that a line of wrapped base64 has at least."""
_URL_SAFE = str.maketrans("-_", "+/", "\r\n=")
_CONTROLS = dict.fromkeys(range(32), " ")
_READABLE = 0.7
"""Share of printable characters from which what is decoded is a text; of bytes by chance .4 are printable."""
_HEX_DIGIT = "[0-9a-fA-F]"
_OCTET = rf"(?:[2-7]{_HEX_DIGIT}|0[9aAdD]|[c-fC-F]{_HEX_DIGIT}(?:[ :]?[89abAB]{_HEX_DIGIT}){{1,3}})"
_OCTET_GAP = r"(?:[ :-]|(?:, ?| )?0[xX]|, ?)?"
_OCTETS_BEGIN = re.compile(rf"[2-7](?:(?<![0-9A-Za-z].)|(?<=0[xX].)){_HEX_DIGIT}(?:{_OCTET_GAP}{_OCTET}){{7}}")
_OCTETS = re.compile(rf"{_OCTET}(?:{_OCTET_GAP}{_OCTET}){{7,}}(?![0-9A-Za-z])")
_NO_OCTET = re.compile(r"0[xX]|[ :,-]")
"""Eight printable characters or more; the library skips to the digits of a text."""


def _find_encoded(text: str, find: Finder, find_exact: Finder, depth: int, *, numbered: bool) -> Iterator[PersonalData]:
    """Encoded texts with something in them, each whole: of several finds the one with the highest label names it."""
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
        found = [each for each in find_in_forms(decoded, find, find_exact, depth=depth) if label_of(each.kind)]
        if found:
            first = max(found, key=lambda each: (each.kind == Kind.SECRET, each.score))
            yield PersonalData(kind=first.kind, start=start, end=end, score=first.score)


def _search(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str] | None:
    """The next match, looked for in steps between which other threads run."""
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
    """Where a run ends, with the lines that it is wrapped into: all as long as the first, but for the last."""
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
