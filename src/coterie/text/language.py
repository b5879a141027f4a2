"""Detects the language of a text, or finds it unknown; and how languages and regions write numbers, dates and money.

Scripts with one language (kana, hangul, Greek, ...) decide by themselves. Latin and Cyrillic texts are scored by a
naive Bayes model over byte n-grams, distilled from py3langid (`scripts/language_build.py`). The cost is linear, and at
most `LONGEST` characters are read. A language is a BCP 47 tag such as `de` or `en-GB`. Detection gives the first subtag
only.

`locales.json` is built from the Unicode CLDR by `scripts/locales_build.py`; a tag without a table of its own uses that
of its language. `tables.json` is written by hand: words by language that this package looks up.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np

LONGEST = 1500
"""Most characters that are read."""
SURE = 0.6
"""Probability from which a language counts as detected."""
_CLOSE = frozenset({"sk", "sl"})
"""Languages so close to Czech and Croatian that they are detected only where they are the default."""
_SCRIPTS = (
    ("ja", "\u3040-\u30ff\uff66-\uff9f"),
    ("ko", "\uac00-\ud7a3\u1100-\u11ff"),
    ("el", "\u0370-\u03ff\u1f00-\u1fff"),
    ("he", "\u0590-\u05ff"),
    ("th", "\u0e00-\u0e7f"),
    ("hi", "\u0900-\u097f"),
    ("ar", "\u0600-\u06ff"),
    ("zh", "\u3400-\u9fff"),
)
"""Scripts in the order of detection. Kana come before Han: a Japanese text has both."""
SCRIPT_LANGUAGES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "ja": frozenset({"HIRAGANA", "KATAKANA", "CJK"}),
        "zh": frozenset({"CJK"}),
        "ko": frozenset({"HANGUL"}),
        "el": frozenset({"GREEK"}),
        "he": frozenset({"HEBREW"}),
        "th": frozenset({"THAI"}),
        "hi": frozenset({"DEVANAGARI"}),
        "ar": frozenset({"ARABIC"}),
        **dict.fromkeys(("ru", "uk", "bg"), frozenset({"CYRILLIC"})),
    }
)
"""Scripts of languages that are not written in Latin letters, by the Unicode names of their letters."""
_PATTERNS = tuple((language, re.compile(f"[{letters}]")) for language, letters in _SCRIPTS)
_LETTER = re.compile(r"[^\W\d_]")
_NOISE = re.compile(r"(?<!\S)\S*?(?:://|@|www\.)\S*|[\d_#|*<>{}\[\]=/\\]+")
_LONGEST_WORD, _MOST_WORDS = 24, 8192
"""Most bytes of a cached word, and most cached words."""
_FEWEST = 3
"""Fewest letters of a text for a detection."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NgramAutomaton:
    """Finds the longest n-gram that ends at each byte, in one pass (Aho and Corasick 1975).

    A state is the longest prefix of an n-gram that the text has just had; 0 is none.
    """

    moves: dict[int, int]
    """For a state and byte (`state << 8 | byte`), the state that is one byte longer."""
    shorter: array[int]
    """For each state, the longest other state that is its suffix."""
    rows: array[int]
    """For each state, the row of the longest n-gram that is its suffix; -1 for none."""

    known: dict[tuple[int, bytes], tuple[int, tuple[int, ...]]] = field(default_factory=dict, repr=False)
    """For a state and a word with the blank before it: the state after it, and the rows on the way."""

    def read(self, encoded: bytes) -> Counter[int]:
        """Return how often each n-gram is the longest one that ends at a byte, by its row."""
        known_moves, state, rows_read = self.known, 0, list[int]()
        for number, word in enumerate(encoded.split(b" ")):
            piece = b" " + word if number else word
            state, rows = known_moves.get((state, piece)) or self._read_piece(state, piece)
            rows_read += rows
        counts = Counter(rows_read)
        del counts[-1]
        return counts

    def _read_piece(self, before: int, piece: bytes) -> tuple[int, tuple[int, ...]]:
        move, shorter, rows, state, rows_read = self.moves.get, self.shorter, self.rows, before, list[int]()
        for byte in piece:
            while (after := move(state << 8 | byte)) is None and state:
                state = shorter[state]
            state = after or 0
            rows_read.append(rows[state])
        read = state, tuple(rows_read)
        if len(piece) <= _LONGEST_WORD:
            if len(self.known) >= _MOST_WORDS:
                self.known.clear()
            self.known[before, piece] = read
        return read

    @classmethod
    def of(cls, grams: np.ndarray, lengths: np.ndarray) -> NgramAutomaton:
        """Build the automaton of some n-grams: their concatenated bytes, and the length of each, 7 at most."""
        ends = np.cumsum(lengths)
        keys = np.zeros(len(lengths), dtype=np.int64)  # the bytes as one number
        for offset in range(int(lengths.max())):
            keys = np.where(
                offset < lengths, keys << 8 | grams[np.minimum(ends - lengths + offset, len(grams) - 1)], keys
            )
        # States by length, each length in order; number 0 is the empty one.
        levels = [np.zeros(1, dtype=np.int64)]
        for length in range(1, int(lengths.max()) + 1):
            longer = lengths >= length
            levels.append(np.unique(keys[longer] >> 8 * (lengths[longer] - length)))
        firsts = np.cumsum([0, *map(len, levels)])
        shorter, rows = (np.full(firsts[-1], fill, dtype=np.int64) for fill in (0, -1))
        moves: dict[int, int] = {}
        for length in range(1, len(levels)):
            states, own = levels[length], np.arange(firsts[length], firsts[length + 1])
            before = firsts[length - 1] + np.searchsorted(levels[length - 1], states >> 8)
            moves.update(zip((before << 8 | states & 255).tolist(), own.tolist(), strict=True))
            for size in range(1, length):  # the longest that there is stays
                tails = states & ((1 << 8 * size) - 1)
                places = np.searchsorted(levels[size], tails)
                there = levels[size][np.minimum(places, len(levels[size]) - 1)] == tails
                shorter[own[there]] = firsts[size] + places[there]
            rows[own] = rows[shorter[own]]
            grown = np.flatnonzero(lengths == length)
            rows[firsts[length] + np.searchsorted(states, keys[grown])] = grown
        return cls(moves=moves, shorter=array("i", shorter.tolist()), rows=array("i", rows.tolist()))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Model:
    languages: tuple[str, ...]  # L
    automaton: NgramAutomaton
    weights: np.ndarray  # (F, L)


@cache
def _model() -> _Model:
    with (files("coterie.text") / "language.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return _Model(
            languages=tuple(stored["languages"].tolist()),
            automaton=NgramAutomaton.of(stored["grams"].astype(np.int64), stored["lengths"].astype(np.int64)),
            weights=stored["weights"].astype(np.float32) * stored["scale"],
        )


def base(language: str | None) -> str:
    """Return the first subtag of a language tag (`de` of `de-CH`); empty for None. Norwegian is always `no`."""
    first = (language or "").replace("_", "-").split("-")[0].casefold()
    return "no" if first in {"nb", "nn"} else first


def is_english(language: str | None) -> bool:
    """Return whether rules that know only English apply."""
    return base(language) == "en"


def detect(text: str) -> str | None:
    """Detect the language of a text: the first subtag of its tag, or None if the detection is uncertain."""
    ranked = _ranked(text[:LONGEST])
    return ranked[0][0] if ranked and ranked[0][1] >= SURE else None


def detected_languages() -> frozenset[str]:
    """Return the languages that `detect` distinguishes."""
    return frozenset({*_model().languages, *(language for language, _ in _SCRIPTS)}) - _CLOSE


def probabilities(text: str) -> dict[str, float]:
    """Return probabilities of the languages in Latin and Cyrillic letters, given a piece of text with its blanks.

    Empty if the piece gives no evidence.
    """
    return dict(_weighed(unicodedata.normalize("NFC", text).encode("utf-8", errors="surrogatepass")))


def evidence(text: str) -> float:
    """Return how far the n-grams of a text speak for its likeliest language, against the median one.

    Of several decodings of the same bytes the right one has most, since its words are those of a language.
    """
    _, scores = _scores(unicodedata.normalize("NFC", " ".join(text.split())).encode("utf-8", errors="surrogatepass"))
    return float(scores.max() - np.median(scores)) if len(scores) else 0.0


def language_of(text: str, default: str) -> str:
    """Return the language of a text for a network whose language is `default`.

    An uncertain detection counts as the default. A text in the default's language has its region, too: with `en-GB`, a
    text in English is in `en-GB`.
    """
    own_tag = base(default)
    ranked = _ranked(text[:LONGEST], own_tag if own_tag in _CLOSE else "")
    if not ranked:
        return default
    chances = dict(ranked)
    best, chance = ranked[0]
    # A language that is not detected is as possible as any.
    own = chances.get(own_tag, 0.0 if own_tag in detected_languages() else 1.0)
    if best == own_tag or (chance < SURE and own >= chance * _POSSIBLE):
        return default
    return best


_POSSIBLE = 0.1
"""Share of the best language's probability from which the default language is still possible."""


@lru_cache(maxsize=1024)
def _ranked(text: str, close: str = "") -> tuple[tuple[str, float], ...]:
    """Return languages with their probabilities, best first; nothing for a text without words.

    Of the languages that are close to another one, only `close` is among them.
    """
    text = _NOISE.sub(" ", text)
    if text.isascii():
        enough = sum(1 for _ in islice(_LETTER.finditer(text), _FEWEST)) == _FEWEST
        return _scored(text, close) if enough else ()
    letters = len(_LETTER.findall(text))
    if letters < _FEWEST and not any(pattern.search(text) for _, pattern in _PATTERNS):
        return ()
    counts = {language: len(pattern.findall(text)) for language, pattern in _PATTERNS}
    if counts["ja"]:
        counts["ja"] += counts.pop("zh")
    script = max(counts, key=counts.__getitem__)
    if counts[script] > letters / 2:
        return ((script, 1.0),)
    return _scored(text, close)


def _scored(text: str, close: str) -> tuple[tuple[str, float], ...]:
    """Return probabilities by n-grams: among those that end at a byte the longest counts."""
    text = " ".join((text.lower() if text.isupper() else text).split())
    return _weighed(unicodedata.normalize("NFC", text).encode("utf-8", errors="surrogatepass"), close)


def _scores(encoded: bytes) -> tuple[_Model, np.ndarray]:
    """Return the model and its score of each language (L,); no scores for a text without any of its n-grams."""
    model = _model()
    counts = model.automaton.read(encoded)
    if not counts:
        return model, np.zeros(0, np.float32)
    weighed = np.log1p(np.fromiter(counts.values(), np.float32, len(counts)))
    scores = weighed @ model.weights[np.fromiter(counts.keys(), np.int64, len(counts))]
    return model, scores / math.sqrt(len(encoded))  # keeps the probabilities honest whatever the length (py3langid)


def _weighed(encoded: bytes, close: str = "") -> tuple[tuple[str, float], ...]:
    model, scores = _scores(encoded)
    if not len(scores):
        return ()
    scores[_left_out(close)] = -np.inf
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    order = np.argsort(-chances)
    ranked = zip(map(model.languages.__getitem__, order.tolist()), chances[order].tolist(), strict=True)
    return tuple((language, chance) for language, chance in ranked if language == close or language not in _CLOSE)


@cache
def _left_out(close: str) -> np.ndarray:
    """Return the columns of the close languages (at most C,), without one of them."""
    return np.array([column for column, language in enumerate(_model().languages) if language in _CLOSE - {close}])


# --- Differences between languages and regions in writing numbers, dates and money.

LANGUAGES = ("en", "de", "fr", "es", "pt", "it", "nl", "ja")
"""Languages that every table of `coterie.text` covers."""


@cache
def _tables(file: str = "locales.json") -> Mapping[str, Any]:
    return json.loads((files("coterie.text") / file).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def table(name: str) -> Any:  # noqa: ANN401 - tables of several kinds
    """Return a table of `tables.json`, by language."""
    return _tables("tables.json")[name]


def _of(table: str, language: str | None) -> Any:  # noqa: ANN401 - tables of several kinds
    tag = (language or "").replace("_", "-")
    by_tag = _tables()[table]
    parts = tag.split("-")
    exact = by_tag.get("-".join([base(tag), *(part.upper() for part in parts[1:2])]))
    return exact if exact is not None else by_tag.get(base(tag))


def decimal_sign(language: str | None) -> str | None:
    """Return the decimal sign of a language, `.` or `,`; None if it is unknown."""
    signs = _of("signs", language)
    return signs[0] if signs else None


def groups_by_space(language: str | None) -> bool:
    """Return whether a plain space may separate thousands in a language."""
    return decimal_sign(language) == ","


def date_order(language: str | None) -> str | None:
    """Return the order of day, month and year in figures (`dmy`, `mdy`, `ymd`); None if the region decides."""
    tag = (language or "").replace("_", "-")
    if tag.casefold() == "en":  # 05/06/2024 is June in London and May in New York
        return None
    order: str | None = _of("order", tag)
    return order


def currency_signs(language: str | None) -> Mapping[str, str]:
    """Return the currencies of a language's own signs, and of its region's: `$` is CAD in `en-CA`."""
    own, region = _of("symbols", base(language)) or {}, _of("symbols", language) or {}
    return {**own, **region}


@cache
def currency_names(language: str = "") -> Mapping[str, str]:
    """Return the currencies by their names, in lower case: of sixteen languages, and of this one if it has its own.

    Short names (`lei`, `ft`, `元`) mean a currency in texts of their own language only.
    """
    names = {name: code for names in _tables()["currencies"].values() for name, code in names.items()}
    return {**names, **_tables()["own_currencies"].get(language, {})}


def has_own_currencies(language: str) -> bool:
    """Return whether names of currencies count in this language that count in no other."""
    return language in _tables()["own_currencies"]


@cache
def units_of_time(language: str) -> Mapping[str, str]:
    """Return the signs of a language's units of time (`D`, `TH`) by their words in every case; empty for unknown."""
    return {
        word: sign for sign, words in _tables()["units_of_time"].get(language, {}).items() for word in words.split()
    }


def powers_of_ten(language: str) -> Mapping[str, int]:
    """Return the powers of ten that words of a language stand for beside figures: `tys.`; empty for unknown."""
    powers: Mapping[str, int] = _tables()["powers_of_ten"].get(language, {})
    return powers


@cache
def currency_codes() -> frozenset[str]:
    """Return the codes of ISO 4217 that are in use today."""
    return frozenset(_tables()["codes"])


def home_decimal(currency: str) -> str | None:
    """Return the decimal sign in the country of a currency; None if its languages differ, as with the euro."""
    sign: str | None = _tables()["homes"].get(currency)
    return sign


@cache
def months(language: str | None = None) -> Mapping[str, int]:
    """Return the numbers of months by their names and abbreviations in any language.

    Names are in lower case without a full stop; marks may be left out. A name that means two months (`listopad`, in
    Polish and in Croatian) has a number only if the language is one of these.
    """
    by_language = _tables()["months"]
    named, plainer = _numbered(by_language.values()), _numbered(map(_without_marks, by_language.values()))
    own = by_language.get(base(language), {})
    return {**plainer, **named, "sept": 9, "maerz": 3, **_without_marks(own), **own}


def _numbered(tables: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the names that mean one month in every table."""
    numbers: dict[str, set[int]] = {}
    for names in tables:
        for name, number in names.items():
            numbers.setdefault(name, set()).add(number)
    return {name: next(iter(few)) for name, few in numbers.items() if len(few) == 1}


def _without_marks(names: Mapping[str, int]) -> dict[str, int]:
    return {re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFD", name)): n for name, n in names.items()}


@cache
def month_names() -> frozenset[str]:
    """Return the names and abbreviations of months in all languages, in lower case."""
    return frozenset(name for language in [None, *_tables()["months"]] for name in months(language))
