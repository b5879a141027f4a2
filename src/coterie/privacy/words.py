"""A text as the tagger of names reads it: words, each with what patterns found in place of its letters, and features.

Most features are of one word beside another one, and the same wherever the two stand: `Features` splits them so that a
detector can add up the weights of a word once and for all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from coterie.privacy.contact import date_places
from coterie.privacy.detection import PersonalData, settle

# --- Demonyms, English.

_LISTS: Mapping[str, str] = json.loads(Path(__file__).with_name("demonyms.json").read_text(encoding="utf-8"))
DEMONYMS = _LISTS["of_one_word"]
_OF_SEVERAL = "|".join(name.replace(" ", "[ -]") for name in _LISTS["of_several_words"].split(", "))
_SEVERAL = re.compile(rf"(?<![^\W_])(?:{_OF_SEVERAL})s?(?![^\W_])")
_OTHER_THINGS = _LISTS["other_things_too"]
"""Those of them that are other words, names, breeds or parts of names as often: the sentence has to say."""

_KNOWN = frozenset(DEMONYMS.lower().split())
_CERTAIN = _KNOWN - frozenset(_OTHER_THINGS.split())


def is_only_demonym(word: str) -> bool:
    """Whether a word in lower case is one, or the plural of one, and hardly ever anything else."""
    return word in _CERTAIN or (word.endswith("s") and word[:-1] in _CERTAIN)


def is_demonym(word: str) -> bool:
    """Whether a word in lower case is one, or the plural of one."""
    return word in _KNOWN or (word.endswith("s") and word[:-1] in _KNOWN)


def demonyms_of_several_words(text: str) -> Iterator[tuple[int, int]]:
    """Where those of several words stand, such as `Sri Lankan`: a chain of words takes their first for a place."""
    yield from (match.span() for match in _SEVERAL.finditer(text))


# --- Tokens.

_TOKEN = re.compile(r"[^\W\d_]{1,40}|\d{1,40}|\n[\s]*|\t|[^\w\s]|_")
_PARTING = frozenset("<>{}=|;\t")
"""Signs of records, tables and tags that no name goes over."""
_BESIDE_QUOTE = frozenset(",:;{}[]()=")
"""Signs beside which a quotation mark is one of a record: `"Vasquez", "city"`."""
_QUOTING = frozenset(">|?*")
_BEFORE_QUOTING = "\n>|?*"
_HIDDEN = "\0"
OFFSETS = (-2, -1, 0, 1, 2)
"""Words of whose own features a word's tags depend, itself in the middle."""


class TaggedWord(NamedTuple):
    """A word, a number, a sign, the end of a line, or what a pattern found."""

    start: int
    end: int
    form: str
    """Its letters; a kind in angle brackets for what a pattern found."""

    @property
    def found(self) -> bool:
        """Whether it stands for what a pattern found."""
        return self.form[0] == "<" and len(self.form) > 1


class Lexicon(NamedTuple):
    """What is known of common words: how common, and what other words are like them."""

    groups: Mapping[str, tuple[int, ...]]
    """Of each word its rank's logarithm, then its group in a coarse, a middle and a fine division."""


def read_words(text: str, found: Sequence[PersonalData]) -> list[TaggedWord]:
    """The words of a text, in order.

    Args:
        text: Any.
        found: What patterns found in it, in order; each is one word, and so is each date that is none of them.
    """
    days = [PersonalData(kind="DATE", start=start, end=end, score=0.0) for start, end in date_places(text)]
    spans = [(each.start, each.end, f"<{each.kind}>") for each in settle([*found, *days])]
    words: list[TaggedWord] = []
    at = 0
    for start, end, form in [*spans, (len(text), len(text), "")]:
        words += (TaggedWord(m.start(), m.end(), m[0]) for m in _TOKEN.finditer(text, at, start))
        if form:
            words.append(TaggedWord(start, end, form))
        at = end
    return words


def shape(form: str) -> str:
    """What kind of word: `Aa`, `AA`, `A`, `aA`, `a`, digits as nines, another sign as it is."""
    first = form[0]
    if not first.isalnum():
        return _line_end(form) if first == "\n" else form
    if form[0].isdigit():
        return "9" * min(len(form), 6)
    if form.islower():
        return "a"
    if form.isupper():
        return "A" if len(form) == 1 else "AA"
    return "Aa" if first.isupper() and form[1:].islower() else "aA" if first.islower() or first.isupper() else "o"


def case_of(shapes: Sequence[str]) -> str:
    """How capitals are used in the text: `l` not at all, `u` nearly everywhere, `m` as usual."""
    letters = [each for each in shapes if each[0] in "Aa"]
    if all(letter == "a" for letter in letters):
        return "l"
    return "u" if sum(each in {"A", "AA"} for each in letters) > 0.8 * len(letters) else "m"


def lower_of(word: TaggedWord) -> str:
    """Its letters in lower case; all ends of lines are one, and all ends of paragraphs."""
    return word.form if word.found else _line_end(word.form) if word.form[0] == "\n" else word.form.lower()


def _line_end(form: str) -> str:
    return "\n\n" if form.count("\n") > 1 else "\n"


def ends_name(words: Sequence[TaggedWord], i: int) -> bool:
    """Whether no name goes over a word: a paragraph's end, a sign of records, one of quoting where a line begins."""
    form = words[i].form
    if form in _PARTING:
        return True
    if form in {'"', "'"} and i + 1 < len(words) and words[i + 1].form in _BESIDE_QUOTE:
        return True
    return form.count("\n") > 1 or (form in _QUOTING and i > 0 and words[i - 1].form[0] in _BEFORE_QUOTING)


def own_features(lower: str, form: str, case: str, lexicon: Lexicon) -> list[list[str]]:
    """What one word says of the words two before it, one before it, of itself, one and two behind: in that order.

    Args:
        lower: The word in lower case.
        form: Its shape.
        case: How the text uses capitals.
        lexicon: Common words.
    """
    known = lexicon.groups.get(lower)
    letters = lower[0].isalpha()
    here = [f"w={lower}", f"s={case}{form}"]
    if letters:
        here += [f"p{n}={lower[:n]}" for n in (2, 3, 4)] + [f"x{n}={lower[-n:]}" for n in (1, 2, 3, 4)]
        here.append(f"n={min(len(lower), 10)}{case}{form}")
        if not lower.isascii():
            here.append("foreign")
    near = [[f"{-d}w={lower}"] for d in OFFSETS]
    if known:
        rank, coarse, middle, fine = known
        here += [f"c0={coarse}", f"c1={middle}", f"c2={fine}", f"r={rank}{case}{form}", f"c1s={middle}{case}{form}"]
        for place, d in enumerate(OFFSETS):
            near[place].append(f"{-d}c1={middle}")
            if abs(d) == 1:
                near[place].append(f"{-d}c2={fine}")
    elif letters:
        here.append(f"rare{case}{form}")
        for place, d in enumerate(OFFSETS):
            near[place].append(f"{-d}rare{form}")
    if is_demonym(lower):
        here.append(f"demonym{case}{form}")
        near[1].append("1demonym")
        near[3].append("-1demonym")
    near[2] = here
    return near


def word_pairs(before2: str, before: str, here: str, after: str, after2: str) -> list[str]:
    """What a word and its neighbours say together of its tag."""
    return [
        f"-10={before} {here}",
        f"01={here} {after}",
        f"-21={before2} {before}",
        f"12={after} {after2}",
        f"-11={before} {after}",
    ]


def form_pairs(case: str, before: str, here: str, after: str) -> list[str]:
    """What the shapes of a word and its neighbours say, in a text of this use of capitals."""
    return [f"s-={case}{before} {here}", f"s+={case}{here} {after}", f"s-+={case}{before} {here} {after}"]


def group_pairs(before: int, here: int, after: int) -> list[str]:
    """What the coarse groups of a word and its neighbours say; -1 is none."""
    found = [f"c-={before} {here}"] if here >= 0 and before >= 0 else []
    return found + ([f"c+={here} {after}"] if here >= 0 and after >= 0 else [])


def text_features(words: Sequence[TaggedWord], lexicon: Lexicon, hidden: Collection[int] = ()) -> list[list[str]]:
    """The features of each word, as a detector adds up their weights.

    Args:
        words: Of a text.
        lexicon: Common words.
        hidden: Words whose letters no feature says whole: a chain that is fitted without some learns from the others.
    """
    lower = [lower_of(word) for word in words]
    forms = [word.form if word.found else shape(word.form) for word in words]
    case = case_of(forms)
    own = [own_features(each, form, case, lexicon) for each, form in zip(lower, forms, strict=True)]
    for i in hidden:
        own[i] = [[name for name in names if not name.endswith(f"w={lower[i]}")] for names in own[i]]
    groups = [lexicon.groups[each][1] if each in lexicon.groups else -1 for each in lower]
    lower = [_HIDDEN if i in hidden else each for i, each in enumerate(lower)]
    lower, forms, groups = ["^", "^", *lower, "$", "$"], ["^", "^", *forms, "$", "$"], [-1, -1, *groups, -1, -1]
    found = []
    for i in range(len(words)):
        names = [name for name in pair_features(i, lower, forms, case, groups) if _HIDDEN not in name]
        for place, offset in enumerate(OFFSETS):
            if 0 <= i - offset < len(words):
                names += own[i - offset][place]
        found.append(names)
    return found


def pair_features(i: int, lower: Sequence[str], forms: Sequence[str], case: str, groups: Sequence[int]) -> list[str]:
    """All of these for one word.

    Args:
        i: Which word.
        lower: Words of the text, and two more at both ends: word `i` is at `i + 2`.
        forms: Their shapes, likewise.
        case: How the text uses capitals.
        groups: Coarse groups of the words, likewise.
    """
    pairs = word_pairs(*lower[i : i + 5])
    return pairs + form_pairs(case, *forms[i + 1 : i + 4]) + group_pairs(*groups[i + 1 : i + 4])
