"""Detection of names, places, organisations and addresses by a linear chain over words, and of fixed forms by patterns.

A linear-chain conditional random field (Lafferty, McCallum and Pereira 2001) over the words' letters,
neighbours, use of capitals, and groups of words that the bundled encoder finds similar. It has no list of
names: a name is found by its form and its place in the sentence. It was trained on English texts with names
from many countries.

Most features are of one word beside another one, and the same wherever the two stand: `Features` splits them
so that a detector can add up the weights of a word once and for all.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from coterie.errors import ArtefactRefused
from coterie.privacy.contact import date_places
from coterie.privacy.detection import Kind, PersonalData, settle
from coterie.privacy.forms import find_in_forms
from coterie.privacy.patterns import find_exact, find_folded
from coterie.runtime.codec import parse_json

# --- Demonyms, English.

_LISTS: Mapping[str, str] = json.loads(Path(__file__).with_name("demonyms.json").read_text(encoding="utf-8"))
DEMONYMS = _LISTS["of_one_word"]
_OF_SEVERAL = "|".join(name.replace(" ", "[ -]") for name in _LISTS["of_several_words"].split(", "))
_SEVERAL = re.compile(rf"(?<![^\W_])(?:{_OF_SEVERAL})s?(?![^\W_])")
_OTHER_THINGS = _LISTS["other_things_too"]
"""Demonyms that are as often other words, names, breeds or parts of names: the sentence decides."""

_KNOWN = frozenset(DEMONYMS.lower().split())
_CERTAIN = _KNOWN - frozenset(_OTHER_THINGS.split())


def is_only_demonym(word: str) -> bool:
    """Return whether a lower-case word is a demonym, or the plural of one, and hardly ever anything else."""
    return word in _CERTAIN or (word.endswith("s") and word[:-1] in _CERTAIN)


def is_demonym(word: str) -> bool:
    """Return whether a lower-case word is a demonym, or the plural of one."""
    return word in _KNOWN or (word.endswith("s") and word[:-1] in _KNOWN)


def demonyms_of_several_words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of demonyms of several words (`Sri Lankan`), whose first word the chain takes for a place."""
    yield from (match.span() for match in _SEVERAL.finditer(text))


# --- Tokens.

_TOKEN = re.compile(r"[^\W\d_]{1,40}|\d{1,40}|\n[\s]*|\t|[^\w\s]|_")
_PARTING = frozenset("<>{}=|;\t")
"""Delimiters of records, tables and tags, which end a name."""
_BESIDE_QUOTE = frozenset(",:;{}[]()=")
"""Characters beside which a quotation mark delimits a record: `"Vasquez", "city"`."""
_QUOTING = frozenset(">|?*")
_BEFORE_QUOTING = "\n>|?*"
_HIDDEN = "\0"
OFFSETS = (-2, -1, 0, 1, 2)
"""Relative positions of the words whose own features determine a word's tags."""


class TaggedWord(NamedTuple):
    """A token: a word, a number, a punctuation mark, a line end, or a pattern's finding."""

    start: int
    end: int
    form: str
    """The token's letters; for a pattern's finding, the kind in angle brackets."""

    @property
    def found(self) -> bool:
        """Whether the token stands for a pattern's finding."""
        return self.form[0] == "<" and len(self.form) > 1


class Lexicon(NamedTuple):
    """Common words: their frequency, and their groups of similar words."""

    groups: Mapping[str, tuple[int, ...]]
    """By word, the logarithm of its rank, then its coarse, middle and fine group."""


def read_words(text: str, personal_data: Sequence[PersonalData]) -> list[TaggedWord]:
    """Return the tokens of a text, in order.

    Args:
        text: Any text.
        personal_data: The patterns' findings, in order; each is one token, and so is each further date.
    """
    days = [PersonalData(kind="DATE", start=start, end=end, score=0.0) for start, end in date_places(text)]
    spans = [(item.start, item.end, f"<{item.kind}>") for item in settle([*personal_data, *days])]
    words: list[TaggedWord] = []
    at = 0
    for start, end, form in [*spans, (len(text), len(text), "")]:
        words += (TaggedWord(m.start(), m.end(), m[0]) for m in _TOKEN.finditer(text, at, start))
        if form:
            words.append(TaggedWord(start, end, form))
        at = end
    return words


def shape(form: str) -> str:
    """Return the shape of a word: `Aa`, `AA`, `A`, `aA`, `a`, digits as nines, other characters as they are."""
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
    """Return the use of capitals in the text: `l` for none, `u` for nearly all, `m` for normal."""
    letters = [shape_ for shape_ in shapes if shape_[0] in "Aa"]
    if all(letter == "a" for letter in letters):
        return "l"
    return "u" if sum(letter in {"A", "AA"} for letter in letters) > 0.8 * len(letters) else "m"


def lower_of(word: TaggedWord) -> str:
    """Return a token's letters in lower case; all line ends are equal, and all ends of paragraphs."""
    return word.form if word.found else _line_end(word.form) if word.form[0] == "\n" else word.form.lower()


def _line_end(form: str) -> str:
    return "\n\n" if form.count("\n") > 1 else "\n"


def ends_name(words: Sequence[TaggedWord], i: int) -> bool:
    """Return whether a token ends a name: the end of a paragraph, a record's delimiter, or quoting at a line start."""
    form = words[i].form
    if form in _PARTING:
        return True
    if form in {'"', "'"} and i + 1 < len(words) and words[i + 1].form in _BESIDE_QUOTE:
        return True
    return form.count("\n") > 1 or (form in _QUOTING and i > 0 and words[i - 1].form[0] in _BEFORE_QUOTING)


def own_features(lower: str, form: str, case: str, lexicon: Lexicon) -> list[list[str]]:
    """Return a word's features for the tags of the words two and one before it, its own, and one and two after it.

    Args:
        lower: The word in lower case.
        form: The word's shape.
        case: How the text uses capitals.
        lexicon: Common words.
    """
    groups = lexicon.groups.get(lower)
    letters = lower[0].isalpha()
    here = [f"w={lower}", f"s={case}{form}"]
    if letters:
        here += [f"p{n}={lower[:n]}" for n in (2, 3, 4)] + [f"x{n}={lower[-n:]}" for n in (1, 2, 3, 4)]
        here.append(f"n={min(len(lower), 10)}{case}{form}")
        if not lower.isascii():
            here.append("foreign")
    near = [[f"{-d}w={lower}"] for d in OFFSETS]
    if groups:
        rank, coarse, middle, fine = groups
        here += [f"c0={coarse}", f"c1={middle}", f"c2={fine}", f"r={rank}{case}{form}", f"c1s={middle}{case}{form}"]
        for index, d in enumerate(OFFSETS):
            near[index].append(f"{-d}c1={middle}")
            if abs(d) == 1:
                near[index].append(f"{-d}c2={fine}")
    elif letters:
        here.append(f"rare{case}{form}")
        for index, d in enumerate(OFFSETS):
            near[index].append(f"{-d}rare{form}")
    if is_demonym(lower):
        here.append(f"demonym{case}{form}")
        near[1].append("1demonym")
        near[3].append("-1demonym")
    near[2] = here
    return near


def word_pairs(before2: str, before: str, here: str, after: str, after2: str) -> list[str]:
    """Return the features of a word together with its neighbours."""
    return [
        f"-10={before} {here}",
        f"01={here} {after}",
        f"-21={before2} {before}",
        f"12={after} {after2}",
        f"-11={before} {after}",
    ]


def form_pairs(case: str, before: str, here: str, after: str) -> list[str]:
    """Return the features of the shapes of a word and its neighbours, for this use of capitals."""
    return [f"s-={case}{before} {here}", f"s+={case}{here} {after}", f"s-+={case}{before} {here} {after}"]


def group_pairs(before: int, here: int, after: int) -> list[str]:
    """Return the features of the coarse groups of a word and its neighbours; -1 is none."""
    pairs = [f"c-={before} {here}"] if here >= 0 and before >= 0 else []
    return pairs + ([f"c+={here} {after}"] if here >= 0 and after >= 0 else [])


def text_features(words: Sequence[TaggedWord], lexicon: Lexicon, hidden: Collection[int] = ()) -> list[list[str]]:
    """Return the features of each word, as a detector adds up their weights.

    Args:
        words: The tokens of a text.
        lexicon: Common words.
        hidden: Words whose spelling no feature contains, so that a chain learns from their context.
    """
    lower = [lower_of(word) for word in words]
    forms = [word.form if word.found else shape(word.form) for word in words]
    case = case_of(forms)
    own = [own_features(word, form, case, lexicon) for word, form in zip(lower, forms, strict=True)]
    for i in hidden:
        own[i] = [[name for name in names if not name.endswith(f"w={lower[i]}")] for names in own[i]]
    groups = [lexicon.groups[word][1] if word in lexicon.groups else -1 for word in lower]
    lower = [_HIDDEN if i in hidden else word for i, word in enumerate(lower)]
    lower, forms, groups = ["^", "^", *lower, "$", "$"], ["^", "^", *forms, "$", "$"], [-1, -1, *groups, -1, -1]
    features = []
    for i in range(len(words)):
        names = [name for name in pair_features(i, lower, forms, case, groups) if _HIDDEN not in name]
        for index, offset in enumerate(OFFSETS):
            if 0 <= i - offset < len(words):
                names += own[i - offset][index]
        features.append(names)
    return features


def pair_features(i: int, lower: Sequence[str], forms: Sequence[str], case: str, groups: Sequence[int]) -> list[str]:
    """Return all features of one word with its neighbours.

    Args:
        i: The word's position.
        lower: The words of the text, with two more at both ends: word `i` is at `i + 2`.
        forms: The words' shapes, likewise.
        case: How the text uses capitals.
        groups: Coarse groups of the words, likewise.
    """
    pairs = word_pairs(*lower[i : i + 5])
    return pairs + form_pairs(case, *forms[i + 1 : i + 4]) + group_pairs(*groups[i + 1 : i + 4])


# --- Names, places, organisations and addresses, by a linear chain over words; what has a form, by the patterns.

NAME_KINDS = (Kind.PERSON, Kind.LOCATION, Kind.ADDRESS, Kind.ORGANIZATION, Kind.NATIONALITY, Kind.DATE, Kind.AGE)
"""Kinds that the chain distinguishes. Its tags are 0 for none, then for each kind a beginning and a continuation."""
TAGS = 1 + 2 * len(NAME_KINDS)
FOLDER = Path(__file__).parent / "names"
MODEL_FILE, ARRAYS_FILE = "names.json", "names.safetensors"

Floats = np.ndarray

_REMEMBERED = 20_000
"""Words whose sums of weights are cached: less than 1 kB each."""
_TINY = 1e-300
_STEPS = 8  # after so many a message is scaled: it is far from the smallest number until then


class ChainModel(NamedTuple):
    """A trained chain."""

    terms: dict[str, int]
    """Row of each feature."""
    weights: Floats  # (V, TAGS)
    transitions: Floats  # (TAGS, TAGS)
    lexicon: Lexicon


class NameDetector:
    """Patterns and names in one pass. Safe for several threads."""

    quick = 1_000
    """Characters that are searched within about five milliseconds."""

    def __init__(self, model: ChainModel, *, least: float = 0.5) -> None:
        """Serve a trained chain.

        Args:
            model: The chain.
            least: Names less likely than this are left out: a lower value finds more names, and more that are none.
        """
        self._model = model
        self._least = least
        self._moves = np.exp(model.transitions.astype(np.float64))
        remember = lru_cache(maxsize=_REMEMBERED)
        self._beside = _rows_of_pairs(model.terms, ("-10", "01", "-21", "12"))
        self._apart = {pair: rows[0] for pair, rows in _rows_of_pairs(model.terms, ("-11",)).items()}
        self._own: dict[tuple[str, str, str], Floats] = {}
        self._form_rows = remember(self._rows_of_forms)
        self._group_rows = remember(self._rows_of_groups)

    @classmethod
    def bundled(cls) -> NameDetector:
        """Return the bundled detector. Raises `ArtefactRefused` if the checksum of a file is wrong."""
        return cls(bundled_model())

    def find(self, text: str) -> tuple[PersonalData, ...]:
        """Return the findings in a text, in its order, without overlaps; in time proportional to its length."""
        return find_in_forms(text, self._find, find_exact)

    def _find(self, text: str) -> tuple[PersonalData, ...]:
        personal_data = find_folded(text)
        words = read_words(text, personal_data)
        if not words:
            return personal_data
        names = _with_nationalities(text, self._names(words))
        return settle([*personal_data, *names, *_passed_over(words, names)])

    def _names(self, words: Sequence[TaggedWord]) -> list[PersonalData]:
        chances = marginals(self._emissions(words), self._moves)
        named = np.concatenate([chances[:, :1], chances[:, 1::2] + chances[:, 2::2]], axis=1)  # (T, 1 + kinds)
        best = named.argmax(axis=1).tolist()
        begins = (chances[:, 1::2] > chances[:, 2::2]).tolist()
        personal_data: list[PersonalData] = []
        at = 0
        while at < len(words):
            kind = best[at]
            end = at + 1
            while end < len(words) and kind and best[end] == kind:
                if begins[end][kind - 1] and not (kind == _PERSON and _is_same(words, end)):
                    break
                if ends_name(words, end) or (
                    kind == _PERSON and (words[end].form == "." and not _is_abbreviated(words[end - 1].form))
                ):
                    break
                end += 1
            if kind:
                score = float(named[at:end, kind].min())
                if score >= self._least:
                    for own in _named_parts(kind, words[at:end]):
                        personal_data += _trimmed(NAME_KINDS[kind - 1], own, score)
            at = end
        return personal_data

    def _emissions(self, words: Sequence[TaggedWord]) -> Floats:  # (T, TAGS)
        is_found = [word.found for word in words]
        lower = [lower_of(word) for word in words]
        forms = [
            word.form if is_pattern else shape(word.form) for word, is_pattern in zip(words, is_found, strict=True)
        ]
        case = case_of(forms)
        own, groups = self._owned(lower, forms, case)  # (T, OFFSETS, TAGS)
        sums = self._pairs(lower, forms, case, groups)
        for index, offset in enumerate(OFFSETS):
            if abs(offset) < len(words):
                sums[max(0, offset) : len(words) + min(0, offset)] += own[
                    max(0, -offset) : len(words) - max(0, offset), index
                ]
        patterned = [i for i, is_pattern in enumerate(is_found) if is_pattern and words[i].form != "<DATE>"]
        if patterned:
            sums[patterned, 1:] = -_FORBIDDEN
        return sums

    def _owned(self, lower: list[str], forms: list[str], case: str) -> tuple[Floats, list[int]]:
        """Return each word's own weights for the words around it (T, OFFSETS, TAGS), and its coarse group."""
        keys = list(zip(lower, forms, repeat(case)))
        sums_by_key = {key: self._own.get(key) for key in keys}
        if fresh := [key for key, sums in sums_by_key.items() if sums is None]:
            sums_by_key |= (learnt := self._sum_own(fresh))
            if len(self._own) > _REMEMBERED:
                self._own.clear()
            self._own.update(learnt)
        groups = self._model.lexicon.groups
        coarse = [groups[word][1] if word in groups else -1 for word in lower]
        return np.array([sums_by_key[key] for key in keys]), coarse

    def _sum_own(self, keys: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], Floats]:
        """Return the summed weights of words by word, shape and use of capitals: (OFFSETS, TAGS) each."""
        model, rows, starts = self._model, list[int](), list[int]()
        get, nothing = model.terms.get, len(model.terms)
        for lower, form, case in keys:
            for names in own_features(lower, form, case, model.lexicon):
                starts.append(len(rows))
                rows.append(nothing)  # a row of zeros, so that no place is without a row
                rows += [row for name in names if (row := get(name)) is not None]
        sums = np.add.reduceat(model.weights[rows], starts, axis=0, dtype=np.float64)
        return dict(zip(keys, sums.reshape(len(keys), len(OFFSETS), -1), strict=True))

    def _pairs(self, lower: list[str], forms: list[str], case: str, groups: list[int]) -> Floats:  # (T, TAGS)
        """Return the weights of features of neighbouring words."""
        lower, forms, groups = ["^", "^", *lower, "$", "$"], ["^", *forms, "$"], [-1, *groups, -1]
        beside, apart = self._beside.get, self._apart.get
        pairs = [beside(pair, _NO_ROWS) for pair in map(_join, lower, lower[1:])]  # of words i and i + 1
        rows, starts = list[int](), list[int]()
        for i in range(len(lower) - 4):
            starts.append(len(rows))
            rows += self._form_rows(case, forms[i], forms[i + 1], forms[i + 2])
            rows += self._group_rows(groups[i], groups[i + 1], groups[i + 2])
            rows += pairs[i + 1][0]
            rows += pairs[i + 2][1]
            rows += pairs[i][2]
            rows += pairs[i + 3][3]
            rows += apart(_join(lower[i + 1], lower[i + 3]), ())
        return np.add.reduceat(self._model.weights[rows], starts, axis=0).astype(np.float64)

    def _rows_of_forms(self, case: str, before: str, here: str, after: str) -> list[int]:
        terms = self._model.terms
        # A row of zeros at the end, so that no word is without a row.
        return [terms[name] for name in form_pairs(case, before, here, after) if name in terms] + [len(terms)]

    def _rows_of_groups(self, before: int, here: int, after: int) -> list[int]:
        terms = self._model.terms
        return [terms[name] for name in group_pairs(before, here, after) if name in terms]


_NO_ROWS: tuple[tuple[int, ...], ...] = ((), (), (), ())


def _join(one: str, other: str) -> str:
    return f"{one} {other}"


def _rows_of_pairs(terms: Mapping[str, int], names: Sequence[str]) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Return, for each pair of words, the rows of the features with these names before it."""
    places, rows_by_pair = {name: index for index, name in enumerate(names)}, dict[str, list[tuple[int, ...]]]()
    for term, row in terms.items():
        name, _, pair = term.partition("=")
        if name in places:
            rows_by_pair.setdefault(pair, [()] * len(names))[places[name]] = (row,)
    return {pair: tuple(rows) for pair, rows in rows_by_pair.items()}


_FORBIDDEN = 1e3
_PERSON = 1 + NAME_KINDS.index(Kind.PERSON)
_FULL_STOPS = "inc ltd co corp jr sr st str ave rd blvd dr ln apt no bros dept univ gov sa ag cia oy bv nv pty ul"
"""Abbreviations that are written with a full stop."""
_ABBREVIATED = frozenset(_FULL_STOPS.split())
_WITHIN_NAMES = (
    "de la le les du des van der den von zu zum dos da do das di del della dei et of the and for in on at al el bin "
    "ibn ter ten af av sur en aux und het op aan am im"
)
_PARTICLES = frozenset(_WITHIN_NAMES.split())
"""Lower-case words in names of people, places and companies."""
_OF_SOMEBODY = frozenset({Kind.PERSON, Kind.ADDRESS, Kind.LOCATION})
_SENTENCE = 2
"""Number of other lower-case words from which a finding is not one name."""


def _is_latin(form: str) -> bool:
    return not form[0].isalpha() or unicodedata.name(form[0], "").startswith("LATIN")


def _is_abbreviated(form: str) -> bool:
    return len(form) == 1 or form.lower() in _ABBREVIATED


def _is_same(words: Sequence[TaggedWord], i: int) -> bool:
    """Return whether a word belongs to the same person as the previous one.

    Only one blank lies between them, which never separates two persons.
    """
    before, here = words[i - 1], words[i]
    return here.start == before.end + 1 and before.form[-1].isalpha() and here.form[0].isalpha()


def _named_parts(kind: int, words: Sequence[TaggedWord]) -> Iterator[Sequence[TaggedWord]]:
    """Yield a finding as it is; if it is half a sentence, as in unsupported languages, only its capitalised parts.

    That applies to a person or a place without a number, with lower-case words that stand in no name beside
    capitalised ones.
    """
    plain = [word.form.islower() and len(word.form) > 1 and word.form not in _PARTICLES for word in words]
    whole = sum(plain) < _SENTENCE or NAME_KINDS[kind - 1] not in _OF_SOMEBODY
    if whole or not any(map(_is_capital, words)) or any(word.form[0].isdigit() for word in words):
        yield words
        return
    begin = 0
    for i in [*(i for i, is_plain in enumerate(plain) if is_plain), len(words)]:
        places = [index for index in range(begin, i) if _is_capital(words[index])]
        if places:
            yield words[places[0] : places[-1] + 1]
        begin = i + 1


def _is_capital(word: TaggedWord) -> bool:
    return word.form[0].isupper()


def _trimmed(kind: Kind, words: Sequence[TaggedWord], score: float) -> list[PersonalData]:
    """Trim punctuation and letters of another script from the ends of a name; the full stop of `Inc.` stays."""
    first, last = 0, len(words)
    while (
        last > 1 and len(words[last - 1].form) == 1 and _is_latin(words[0].form) and not _is_latin(words[last - 1].form)
    ):
        last -= 1
    while first < last and not words[first].form[0].isalnum() and not words[first].found:
        first += 1
    while last > first and not words[last - 1].form[0].isalnum() and not words[last - 1].found:
        if words[last - 1].form == "." and _is_abbreviated(words[last - 2].form):
            break
        last -= 1
    if first == last:
        return []
    return [PersonalData(kind=kind, start=words[first].start, end=words[last - 1].end, score=score)]


def _with_nationalities(text: str, names: list[PersonalData]) -> list[PersonalData]:
    """Return the names, with findings within a nationality of several words replaced by that nationality."""
    for start, end in demonyms_of_several_words(text):
        beside = [name for name in names if name.start < end and start < name.end]
        if all(start <= item.start and item.end <= end for item in beside):  # not in the name of a company
            names = [name for name in names if name not in beside]
            names.append(PersonalData(kind=Kind.NATIONALITY, start=start, end=end, score=0.99))
    return names


def _passed_over(words: Sequence[TaggedWord], names: Sequence[PersonalData]) -> Iterator[PersonalData]:
    """Yield nationalities from the list that the chain missed; one before a capital may be part of a longer name."""
    for i, word in enumerate(words):
        if not is_only_demonym(word.form.lower()) or any(n.start < word.end and word.start < n.end for n in names):
            continue
        if not (_is_capital(word) and i + 1 < len(words) and _is_capital(words[i + 1])):
            yield PersonalData(kind=Kind.NATIONALITY, start=word.start, end=word.end, score=0.5)


def marginals(emissions: Floats, moves: Floats) -> Floats:  # (T, TAGS)
    """Return the probability of each tag of each word: scaled forward-backward messages (Rabiner 1989).

    Args:
        emissions: (T, TAGS) score of each tag at each word.
        moves: (TAGS, TAGS) exponential of the score of one tag after another; 0 for impossible moves.
    """
    scaled = np.exp(emissions - emissions.max(axis=1, keepdims=True))
    scaled[0, 2::2] = 0.0  # nothing goes on at the beginning
    rows, dot = list(scaled), np.dot
    forward, back = [rows[0]], [np.ones(scaled.shape[1])]
    for t in range(1, len(rows)):
        message = dot(forward[-1], moves)
        message *= rows[t]
        if not t % _STEPS:
            message /= max(message.sum(), _TINY)
        forward.append(message)
    for t in range(len(rows) - 1, 0, -1):
        message = dot(moves, back[-1] * rows[t])
        if not t % _STEPS:
            message /= max(message.sum(), _TINY)
        back.append(message)
    before, behind = np.array(forward), np.array(back[::-1])
    before /= np.maximum(before.sum(axis=1, keepdims=True), _TINY)
    both = before * behind / np.maximum(behind.sum(axis=1, keepdims=True), _TINY)
    return np.asarray(both / np.maximum(both.sum(axis=1, keepdims=True), _TINY))


# --- The file ------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def bundled_model() -> ChainModel:
    """Return the bundled chain. Raises `ArtefactRefused` if the checksum of a file is wrong."""
    return load_model(FOLDER)


def load_model(folder: Path) -> ChainModel:
    """Return a chain from its folder. Raises `ArtefactRefused` if a file is missing or its checksum is wrong."""
    try:
        return _model_of((folder / MODEL_FILE).read_bytes(), (folder / ARRAYS_FILE).read_bytes())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ArtefactRefused(
            f"The model of names in {str(folder)!r} cannot be used: {error}.",
            hint="Install Coterie again.",
        ) from error


def store_model(model: ChainModel, folder: Path, about: Mapping[str, object]) -> int:
    """Write a chain with its description into a folder; return the number of bytes."""
    words = list(model.lexicon.groups)
    arrays: dict[str, Floats] = {
        "weights": model.weights[:-1].astype(np.float16),
        "transitions": model.transitions.astype(np.float32),
        "groups": np.array([model.lexicon.groups[word] for word in words], dtype=np.int16),
    }
    content = save(arrays)
    description = {
        **about,
        "kinds": [str(kind) for kind in NAME_KINDS],
        "sha256": "",
        "words": words,
        "terms": sorted(model.terms, key=model.terms.__getitem__),
    }
    text = json.dumps(description, ensure_ascii=False, separators=(",", ":")).encode()
    text = text.replace(_UNSIGNED, _checked(_checksum(text, content)), 1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARRAYS_FILE).write_bytes(content)
    (folder / MODEL_FILE).write_bytes(text)
    return len(content) + len(text)


_UNSIGNED = b'"sha256":""'


def _checked(checksum: str) -> bytes:
    return b'"sha256":"%s"' % checksum.encode()


def _checksum(text: bytes, content: bytes) -> str:
    """Return the checksum of the description (without the checksum itself) and of the arrays."""
    return hashlib.sha256(text + content).hexdigest()


def _model_of(text: bytes, content: bytes) -> ChainModel:
    description: Mapping[str, Any] = parse_json(text)
    stated = str(description["sha256"])
    if _checksum(text.replace(_checked(stated), _UNSIGNED, 1), content) != stated:
        raise ValueError("its files are not those that its checksum names")
    arrays = load(content)
    terms = {str(term): number for number, term in enumerate(description["terms"])}
    words, groups = description["words"], arrays["groups"]
    weights, transitions = arrays["weights"].astype(np.float32), arrays["transitions"]
    if weights.shape != (len(terms), TAGS) or transitions.shape != (TAGS, TAGS) or groups.shape != (len(words), 4):
        raise ValueError("its parts do not fit each other")
    if description["kinds"] != [str(kind) for kind in NAME_KINDS]:
        raise ValueError(f"it is for kinds {description['kinds']!r}")
    return ChainModel(
        terms=terms,
        weights=np.concatenate([weights, np.zeros((1, TAGS), dtype=np.float32)]),
        transitions=transitions,
        lexicon=Lexicon(dict(zip(words, map(tuple, groups.tolist()), strict=True))),
    )
