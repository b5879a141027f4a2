r"""Values put back in place of their pseudonyms, in whatever form a model gives these back.

`<person_1>`, `<PERSON 1>`, `PERSON_1`, `&lt;PERSON_1&gt;`, `\<PERSON\_1\>`, `[PERSON_1]` and `<PERSON_1s>` are all
`<PERSON_1>`. A text is given out piece by piece: what may still become a pseudonym is held back, and no more than that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from coterie.types import PseudonymValue

LONGEST_HELD = 96
"""Characters held back at most: more than any form of a pseudonym has."""
_DIGITS = re.compile(r"[0-9]{1,6}")
_OPEN = ("<", "&lt;", "&amp;lt;", "&#60;", "&#x3c;", "%3c", "\\<", "\\u003c", "[", "\\[")
_CLOSE = (">", "&gt;", "&amp;gt;", "&#62;", "&#x3e;", "%3e", "\\>", "\\u003e", "]", "\\]")
_UNDERSCORE = ("_", "\\_", "\\\\_", "&#95;")
_GAP = (*_UNDERSCORE, " ", "-")
_BLANK = (" ", "\n", "\t", "\u00a0")
"""What may stand between the bracket and the kind."""
_CASES = (
    *("s", "es", "n", "en", "ns", "ens", "er", "a", "u", "y", "i", "e", "em", "ie", "om", "owi", "ego", "emu", "ova"),
    *(
        "ov",
        "ovi",
        "in",
        "un",
        "de",
        "den",
        "dan",
        "nin",
        "nun",
        "lle",
        "lla",
        "lta",
        "ssa",
        "sta",
        "ta",
        "an",
        "ra",
        "nak",
    ),
)
"""Endings of cases in languages with Latin letters, and what stands for them: `<PERSON_1en>`, `<PERSON_1'in>`."""
_ENDINGS = ("'", "\u2019", *(f"{sign}{case}" for sign in ("", "'", "\u2019") for case in _CASES))
"""What a model may put into the brackets behind the number."""
_IN_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z]")
"""Where no pseudonym begins: within a word."""
_FLAT = re.compile(r"&#95;|[^a-z]")


def _any(forms: Collection[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(forms, key=len, reverse=True)))})"


@lru_cache(maxsize=256)
def pattern_of(kinds: frozenset[str]) -> re.Pattern[str]:
    """Finds pseudonyms of these kinds: in brackets of any form, or bare with an underscore.

    Groups: `kind`, `number`, `form` and `ending` of one in brackets, else `bare`, `bare_number` and `bare_form`.
    """
    spelled = (_any(_GAP).join(map(re.escape, kind.split("_"))) for kind in sorted(kinds, key=len, reverse=True))
    names, digits = "|".join(spelled) or "(?!)", _DIGITS.pattern
    form, bare_form = (rf"(?:{_any(_UNDERSCORE)}(?P<{name}>[0-9]{{1,3}}))?" for name in ("form", "bare_form"))
    inside = rf"{_any(_BLANK)}?(?P<kind>{names}){_any(_GAP)}?(?P<number>{digits}){form}(?P<ending>{_any(_ENDINGS)})?"
    bare = rf"(?<![A-Za-z0-9_])(?P<bare>{names}){_any(_UNDERSCORE)}(?P<bare_number>{digits}){bare_form}(?![0-9])"
    return re.compile(
        f"{_any(_OPEN)}{inside}{_any(_CLOSE)}|{bare}", re.IGNORECASE | re.ASCII
    )  # no dotless i, no long s


class Restorer:
    """Restores one answer: piece by piece, or whole."""

    def __init__(
        self, find: Callable[[str, int, int], PseudonymValue | None], kinds: Collection[str], *, as_json: bool = False
    ) -> None:
        """Take the pseudonyms.

        Args:
            find: The value of a kind, number and form, if it may be shown; else None.
            kinds: Of the pseudonyms that there are.
            as_json: The answer is JSON: values are written as in its strings.
        """
        self._find, self._as_json = find, as_json
        self._pattern = pattern_of(frozenset(kinds))
        self._shapes = _shapes_of(frozenset(kinds))
        self._words = {kind.partition("_")[0].lower() for kind in kinds}
        self._held = ""
        self._before = ""  # the character that was given out last: a word does not begin in its middle

    def whole(self, text: str) -> str:
        """A whole answer."""
        return self._pattern.sub(self._put_back, text) if self._may_hold(text) else text

    def feed(self, piece: str) -> str:
        """What is certain now that this piece has come."""
        text = self._before + self._held + piece
        return self._give(text, self._certain(text))

    def end(self) -> str:
        """What was held back."""
        text = self._before + self._held
        return self._give(text, len(text))

    def _may_hold(self, text: str) -> bool:
        """Whether it is worth looking for pseudonyms: False only where no kind's first word stands in the text."""
        return any(map(text.lower().__contains__, self._words))

    def _certain(self, text: str) -> int:
        """Up to where nothing can become a pseudonym any more."""
        begin = max(len(self._before), len(text) - LONGEST_HELD)
        small = text[begin:].lower()
        if len(small) != len(text) - begin:  # a letter that is two in lower case: each by itself
            small = "".join(letter.lower()[0] for letter in text[begin:])
        # What may still become a pseudonym has only signs that pseudonyms have, up to the end.
        first = len(small)
        while first and small[first - 1] in self._shapes.signs:
            first -= 1
        for place in range(first, len(small)):
            if small[place] not in self._shapes.firsts:
                continue
            at = begin + place
            if at and _IN_WORD.match(text, at - 1):
                continue
            if any(_may_become(small[place:], form) for form in self._shapes.forms):
                return at
        return len(text)

    def _give(self, text: str, cut: int) -> str:
        """The text before `cut`, restored; what is behind it is held."""
        place, said = len(self._before), []
        for match in self._pattern.finditer(text, place) if self._may_hold(text) else ():
            if match.end() > cut:
                cut = min(cut, max(match.start(), place)) if match.start() < cut else cut
                break
            said += [text[place : match.start()], self._put_back(match)]
            place = match.end()
        said.append(text[place:cut])
        self._held, self._before = text[cut:], text[:cut][-1:]
        return "".join(said)

    def _put_back(self, match: re.Match[str]) -> str:
        kind = self._shapes.kinds[_FLAT.sub("", (match["kind"] or match["bare"]).lower())]
        number, form = match["number"] or match["bare_number"], match["form"] or match["bare_form"]
        value = self._find(kind, int(number), int(form or 0))
        if value is None:
            return match[0]
        text = json.dumps(value.text, ensure_ascii=False)[1:-1] if self._as_json else value.text
        return text + (match["ending"] or "")


# --- What may still become a pseudonym ------------------------------------------------------------


class _Shapes(NamedTuple):
    """What pseudonyms of some kinds look like, in lower case."""

    kinds: Mapping[str, str]
    """By their letters alone."""
    forms: Sequence[Sequence[tuple[str, ...]]]
    firsts: frozenset[str]
    """Signs that one begins with."""
    signs: frozenset[str]
    """All signs that one may have."""


@lru_cache(maxsize=256)
def _shapes_of(kinds: frozenset[str]) -> _Shapes:
    forms = [form for kind in sorted(kinds) for form in _forms_of(kind)]
    return _Shapes(
        kinds={_FLAT.sub("", kind.lower()): kind for kind in kinds},
        forms=forms,
        firsts=frozenset(part[0] for form in forms for part in form[0]),
        signs=frozenset("0123456789").union(*(part for form in forms for parts in form for part in parts)),
    )


def _forms_of(kind: str) -> list[list[tuple[str, ...]]]:
    """The parts of a kind's pseudonyms in brackets, and bare: alternatives, in lower case; none of them: a number."""
    words = [part for word in kind.lower().split("_") for part in (_GAP, (word,))][1:]
    opened: list[tuple[str, ...]] = [_OPEN, ("", *_BLANK), *words, (*_GAP, ""), ()]
    bare: list[tuple[str, ...]] = [*words, _UNDERSCORE, ()]
    form: list[tuple[str, ...]] = [_UNDERSCORE, ()]
    closed: list[tuple[str, ...]] = [(*_ENDINGS, ""), _CLOSE]
    return [[*opened, *closed], [*opened, *form, *closed], bare, [*bare, *form]]


def _may_become(text: str, form: Sequence[tuple[str, ...]]) -> bool:
    """Whether a text is the beginning of something of this form, and not yet all of it."""
    if not form:
        return False
    if not text:
        return True
    if not form[0]:
        number = _DIGITS.match(text)
        return number is not None and (number.end() == len(text) or _may_become(text[number.end() :], form[1:]))
    return any(
        _may_become(text[len(each) :], form[1:]) if text.startswith(each) else each.startswith(text) for each in form[0]
    )
