"""Detect the language of a text, or say that it is unknown.

Scripts with one language (kana, hangul, Greek, ...) decide by themselves. Latin and Cyrillic texts are scored by a
naive Bayes model over byte n-grams, distilled from py3langid (`scripts/language_build.py`). The cost is linear, and at
most `LONGEST` characters are read.

A language is a BCP 47 tag such as `de` or `en-GB`. Detection gives the first subtag only.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType

import numpy as np

LONGEST = 1500
"""Characters that are read."""
SURE = 0.6
"""Probability from which a language is named."""
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
"""Kana come before Han: a Japanese text has both."""
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
"""The scripts of languages that are not written in Latin letters, as Unicode names their letters."""
_PATTERNS = tuple((language, re.compile(f"[{letters}]")) for language, letters in _SCRIPTS)
_LETTER = re.compile(r"[^\W\d_]")
_NOISE = re.compile(r"(?<!\S)\S*?(?:://|@|www\.)\S*|[\d_#|*<>{}\[\]=/\\]+")
_FEWEST = 3
"""Letters of a text that has a language."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Model:
    languages: tuple[str, ...]  # L
    rows: dict[bytes, int]
    weights: np.ndarray  # (F, L)
    longest: int


@cache
def _model() -> _Model:
    with (files("coterie.text") / "language.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
        data, lengths = stored["grams"].tobytes(), stored["lengths"].astype(int)
        ends = np.cumsum(lengths)
        grams = [data[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
        return _Model(
            languages=tuple(stored["languages"].tolist()),
            rows={gram: row for row, gram in enumerate(grams)},
            weights=stored["weights"].astype(np.float32) * stored["scale"],
            longest=int(lengths.max()),
        )


def base(language: str | None) -> str:
    """The first subtag of a language tag (`de` of `de-CH`); empty for None. Norwegian is `no` in both of its forms."""
    first = (language or "").replace("_", "-").split("-")[0].casefold()
    return "no" if first in {"nb", "nn"} else first


def is_english(language: str | None) -> bool:
    """Whether rules that know only English may run."""
    return base(language) == "en"


def detect(text: str) -> str | None:
    """Detect the language of a text: the first subtag of its tag, or None where it is not sure."""
    found = _ranked(text[:LONGEST])
    return found[0][0] if found and found[0][1] >= SURE else None


def detected_languages() -> frozenset[str]:
    """The languages that `detect` tells apart."""
    return frozenset({*_model().languages, *(language for language, _ in _SCRIPTS)})


def probabilities(text: str) -> dict[str, float]:
    """Probabilities of the languages in Latin and Cyrillic letters given a piece of text, its blanks included.

    Empty if the piece says nothing.
    """
    return dict(_weighed(unicodedata.normalize("NFC", text).encode("utf-8", errors="surrogatepass")))


def language_of(text: str, default: str) -> str:
    """The language of a text for a network whose language is `default`.

    What is not sure counts as the default, and what is in the default's language has its region, too: with `en-GB`, a
    text in English is in `en-GB`.
    """
    found = _ranked(text[:LONGEST])
    if not found:
        return default
    chances = dict(found)
    best, chance = found[0]
    own = chances.get(base(default), 0.0)
    if best == base(default) or (chance < SURE and own >= chance * _POSSIBLE):
        return default
    return best


_POSSIBLE = 0.1
"""Share of the best language's probability with which the default may still be meant."""


@lru_cache(maxsize=1024)
def _ranked(text: str) -> tuple[tuple[str, float], ...]:
    """Languages with their probabilities, best first; nothing for a text without words."""
    text = _NOISE.sub(" ", text)
    letters = len(_LETTER.findall(text))
    if letters < _FEWEST and not any(pattern.search(text) for _, pattern in _PATTERNS):
        return ()
    counts = {language: len(pattern.findall(text)) for language, pattern in _PATTERNS}
    if counts["ja"]:
        counts["ja"] += counts.pop("zh")
    script = max(counts, key=counts.__getitem__)
    if counts[script] > letters / 2:
        return ((script, 1.0),)
    return _scored(text)


def _scored(text: str) -> tuple[tuple[str, float], ...]:
    """Probabilities by n-grams: of those that end at a byte the longest counts."""
    text = " ".join((text.lower() if text.isupper() else text).split())
    return _weighed(unicodedata.normalize("NFC", text).encode("utf-8", errors="surrogatepass"))


def _weighed(encoded: bytes) -> tuple[tuple[str, float], ...]:
    model = _model()
    counts: Counter[int] = Counter()
    rows = model.rows
    for end in range(2, len(encoded) + 1):
        for size in range(min(model.longest, end), 1, -1):
            row = rows.get(encoded[end - size : end])
            if row is not None:
                counts[row] += 1
                break
    if not counts:
        return ()
    weighed = np.log1p(np.fromiter(counts.values(), np.float32, len(counts)))
    scores = weighed @ model.weights[np.fromiter(counts.keys(), np.int64, len(counts))]
    scores = scores / math.sqrt(len(encoded))  # keeps the probabilities honest whatever the length (py3langid)
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    order = np.argsort(-chances)
    return tuple((model.languages[each], float(chances[each])) for each in order)
