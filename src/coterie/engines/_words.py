"""Cutting plain words into a model's tokens without the model.

Byte-pair encoding (Sennrich et al. 2016) of words of letters between single spaces: the part on which all byte-level
tokenizers with merges agree, since each cuts a text into words first. It is there for speed: most labels are such
words, and whatever else there is, llama.cpp is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

from ._gguf import GGUFHeader

_PLAIN = re.compile(r"(?: [A-Za-z]+)+")
_SPACE = "\u0120"  # how these vocabularies write a space
_SPLITTERS = frozenset({"default", "gpt-2", "llama-bpe", "qwen2", "smollm"})
"""Values of `tokenizer.ggml.pre` whose rules keep a space and the letters behind it together."""


def cut_words(texts: Iterable[str], header: GGUFHeader) -> dict[str, tuple[int, ...]]:
    """The tokens of those texts that are plain words, each behind a space; the others are left out."""
    vocabulary, merges = (header.metadata.get(f"tokenizer.ggml.{name}") for name in ("tokens", "merges"))
    kind, splitter = (header.metadata.get(f"tokenizer.ggml.{name}") for name in ("model", "pre"))
    if kind != "gpt2" or splitter not in _SPLITTERS or not isinstance(vocabulary, list) or not isinstance(merges, list):
        return {}
    tokens = {str(token): number for number, token in enumerate(vocabulary)}
    ranks = {tuple(str(merge).split(" ")): rank for rank, merge in enumerate(merges)}
    words: dict[str, tuple[int, ...]] = {}
    found = {}
    for text in filter(_PLAIN.fullmatch, texts):
        for word in set(text.split()) - words.keys():
            pieces = _merge([_SPACE, *word], ranks)
            if all(piece in tokens for piece in pieces):
                words[word] = tuple(tokens[piece] for piece in pieces)
        if all(word in words for word in text.split()):
            found[text] = tuple(token for word in text.split() for token in words[word])
    return found


def _merge(pieces: list[str], ranks: Mapping[tuple[str, ...], int]) -> list[str]:
    """Join neighbours, those first that were joined first in training, until none can be joined."""
    while len(pieces) > 1:
        pairs = [(ranks.get((one, two), len(ranks)), at) for at, (one, two) in enumerate(pairwise(pieces))]
        rank, at = min(pairs)
        if rank == len(ranks):
            break
        pieces = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]
    return pieces
