"""A multilingual vocabulary becomes a smaller one: the pieces that texts in some languages are made of.

Of a unigram tokenizer (SentencePiece) any subset is a tokenizer: a word without its piece is cut into smaller ones.
Pieces are ranked by their probability times that of the asked languages given their letters, both of which come with
the tokenizer and with the detector of languages, so no text of these languages is needed.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from coterie.errors import ArtefactRefused, InputError
from coterie.text.language import SCRIPT_LANGUAGES, detected_languages, probabilities

ALL = "all"
"""Every language that the encoder knows: nothing is cut."""
_WORD = "\u2581"
"""What SentencePiece writes for a blank."""
_BASE, _EACH = 18_000, 6_000
"""Pieces that are kept: so many, and so many more for each language. English and German texts have 5 to 7% more tokens
with 30,000 pieces than with 250,000 (benchmarks/german)."""
_SHARED = {"LATIN", "CYRILLIC"}
"""Scripts of several languages, which letters tell apart."""
_UNTOLD = 0.1
"""Of a piece whose letters say nothing, such as a number: many languages have it."""
_SMALLEST = 1e-4
"""A piece of other languages keeps so much of its probability: names and foreign words occur everywhere."""


class CutVocabulary(NamedTuple):
    """A tokenizer with fewer pieces."""

    tokenizer: dict[str, Any]
    """The content of `tokenizer.json`."""
    ids: list[int]
    """The kept pieces' numbers in the tokenizer before, in the order of their new ones."""


def check_languages(languages: Sequence[str]) -> tuple[str, ...]:
    """The languages, each once. Raises `InputError` for one that is not known."""
    known = detected_languages()
    unknown = sorted({each for each in languages if each != ALL and each not in known})
    if unknown or not languages:
        raise InputError(
            f"No vocabulary can be cut to {', '.join(map(repr, unknown)) or 'no language'}.",
            hint=f"Known are {', '.join(sorted(known))}; `{ALL}` keeps every piece.",
        )
    return (ALL,) if ALL in languages else tuple(dict.fromkeys(languages))


def cut_vocabulary(tokenizer: Mapping[str, Any], languages: Sequence[str], pieces: int | None = None) -> CutVocabulary:
    """Cut the vocabulary of a unigram tokenizer.

    Args:
        tokenizer: The content of its `tokenizer.json`.
        languages: What `check_languages` lets through, without `all`.
        pieces: How many are kept at most; by default 18,000 and 6,000 more for each language.

    Raises:
        ArtefactRefused: the tokenizer is of another kind.
    """
    model = tokenizer.get("model", {})
    if model.get("type") != "Unigram":
        raise ArtefactRefused(
            f"The tokenizer is of kind {model.get('type')!r}; only that of a Unigram one can be cut to languages.",
            hint=f"Keep it whole: --languages {ALL}",
        )
    entries = [(str(piece), float(score)) for piece, score in model["vocab"]]
    special = {str(each["content"]) for each in tokenizer.get("added_tokens", ()) if each.get("special")}
    scripts = _scripts(languages)
    kept = [place for place, (piece, _) in enumerate(entries) if piece in special or place == model.get("unk_id")]
    ranked = sorted(
        (place for place, (piece, _) in enumerate(entries) if _scripts_of(piece) <= scripts and piece not in special),
        key=lambda place: (-_rank(*entries[place], languages), place),
    )
    most = pieces if pieces is not None else _BASE + _EACH * len(languages)
    ids = sorted({*kept, *ranked[: max(most - len(kept), 0)]})
    return CutVocabulary(renumbered(tokenizer, ids), ids)


def _rank(piece: str, score: float, languages: Sequence[str]) -> float:
    """How much a piece is worth; letters by themselves come first, so that every word of the scripts can be spelt."""
    word = piece.replace(_WORD, " ")
    if len(word.strip()) <= 1:
        return math.inf
    if not _scripts_of(piece) <= _SHARED:
        return score  # its script says whose it is
    chances = probabilities(word)
    own = sum(chances.get(language, 0.0) for language in languages) if chances else _UNTOLD
    return score + math.log(own + _SMALLEST)


def _scripts(languages: Collection[str]) -> set[str]:
    """The scripts of some languages, by the first words of their letters' names."""
    found = {"LATIN"}
    for language in languages:
        found |= SCRIPT_LANGUAGES.get(language, frozenset())
    return found


def _scripts_of(piece: str) -> set[str]:
    return {unicodedata.name(letter, "?").split()[0].split("-")[0] for letter in piece if letter.isalpha()}


def renumbered(tokenizer: Mapping[str, Any], ids: Sequence[int]) -> dict[str, Any]:
    """The tokenizer with these pieces only; its special tokens and marks get their new numbers."""
    model = tokenizer["model"]
    entries = [(str(piece), float(score)) for piece, score in model["vocab"]]
    new = {entries[old][0]: number for number, old in enumerate(ids)}
    added = [
        {**each, "id": new[each["content"]]} for each in tokenizer.get("added_tokens", ()) if each["content"] in new
    ]
    processor = tokenizer.get("post_processor")
    if processor and "special_tokens" in processor:
        marks = {
            name: {**each, "ids": [new[token] for token in each["tokens"]]}
            for name, each in processor["special_tokens"].items()
        }
        processor = {**processor, "special_tokens": marks}
    vocabulary = [[piece, round(score, 4)] for piece, score in (entries[old] for old in ids)]
    unknown = None if model.get("unk_id") is None else new[entries[model["unk_id"]][0]]
    return {
        **tokenizer,
        "added_tokens": added,
        "post_processor": processor,
        "model": {**model, "vocab": vocabulary, "unk_id": unknown},
    }
