"""Fitting the chain of names on marked texts."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from coterie.privacy.detection import PersonalData
from coterie.privacy.evaluation import AnnotatedText
from coterie.privacy.names import NAME_KINDS, ChainModel, Lexicon, TaggedWord, read_words, text_features
from coterie.privacy.patterns import PatternDetector
from coterie.tasks.extract.tagging import ChainFit, fit_chain, numbered

AT_LEAST = 2
"""Times that a feature occurs."""
SMALL = 0.05
"""Weights below it are dropped."""
PENALTY = 0.3
ROUNDS = 60
_PARTS_OF_DATES = frozenset({"<DATE>", "<DATE_OF_BIRTH>"})


def name_tags(words: Sequence[TaggedWord], spans: Sequence[PersonalData]) -> list[int]:
    """0 for none, then for each of `NAME_KINDS` one that begins and one that goes on."""
    tags = [0] * len(words)
    for span in spans:
        if span.kind not in NAME_KINDS:
            continue
        tag, first = 1 + 2 * [str(kind) for kind in NAME_KINDS].index(str(span.kind)), True
        for i, word in enumerate(words):
            apart = word.found and word.form not in _PARTS_OF_DATES
            if word.start < span.end and span.start < word.end and not apart:
                tags[i], first = tag + (not first), False
    return tags


def fit_names(
    texts: Sequence[AnnotatedText],
    lexicon: Lexicon,
    *,
    penalty: float = PENALTY,
    rounds: int = ROUNDS,
    hide: float = 0.0,
) -> ChainModel:
    """A chain of these texts.

    Args:
        texts: With all their names marked.
        lexicon: Common words in groups.
        penalty: Of the squared weights.
        rounds: Of L-BFGS, at most.
        hide: Share of the words that are hidden from each text, so that words that always stand together share what
            they say (Sutton, Sindelar and McCallum, "Reducing weight undertraining in structured discriminative
            learning", NAACL 2006).
    """
    patterns = PatternDetector()
    read = [(words, text.spans) for text in texts if (words := read_words(text.text, patterns.find(text.text)))]
    chance = random.Random(0)  # noqa: S311 - which words, no secret
    hidden = [{i for i in range(len(words)) if chance.random() < hide} for words, _ in read]
    named = [text_features(words, lexicon, out) for (words, _), out in zip(read, hidden, strict=True)]
    terms = numbered([features for text in named for features in text], AT_LEAST)
    rows_of = [[terms[name] for name in features if name in terms] for text in named for features in text]
    ends = np.cumsum([0, *(len(row) for row in rows_of)])
    ones = np.ones(ends[-1], dtype=np.float32)
    matrix = csr_matrix((ones, [n for numbers in rows_of for n in numbers], ends), shape=(len(rows_of), len(terms)))
    wanted = np.array([tag for words, spans in read for tag in name_tags(words, spans)])
    fit = fit_chain(
        matrix,
        wanted,
        [len(words) for words, _ in read],
        kinds=len(NAME_KINDS),
        penalty=penalty,
        rounds=rounds,
    )
    return _slim(terms, fit, lexicon)


def _slim(terms: dict[str, int], fit: ChainFit, lexicon: Lexicon) -> ChainModel:
    """Without features whose weights move nothing, and in the numbers that are stored."""
    strong = np.abs(fit.weights).max(axis=1) >= SMALL
    kept = [term for term, number in terms.items() if strong[number]]
    weights = fit.weights[[terms[term] for term in kept]].astype(np.float16).astype(np.float32)
    weights = np.concatenate([weights, np.zeros((1, weights.shape[1]), dtype=np.float32)])
    return ChainModel({term: number for number, term in enumerate(kept)}, weights, fit.transitions, lexicon)
