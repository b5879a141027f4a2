"""Fitting the chain of names on marked texts, from nothing or from a chain that is there.

From a chain that is there, weights are drawn to what they were instead of to nothing (Chelba and Acero, "Adaptation of
maximum entropy capitalizer", EMNLP 2004): what one's own texts do not speak of stays as it was.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from coterie.errors import DataError
from coterie.learning.sequence import ChainFit, fit_chain, numbered
from coterie.privacy.annotated import AnnotatedText, SpanFigures, kinds_of, measure_detector
from coterie.privacy.detection import PersonalData
from coterie.privacy.names import NAME_KINDS, ChainModel, NameDetector
from coterie.privacy.patterns import PatternDetector
from coterie.privacy.words import Lexicon, TaggedWord, read_words, text_features

AT_LEAST = 2
"""Times that a feature occurs."""
SMALL = 0.05
"""Weights below it are dropped."""
PENALTY = 0.3
ROUNDS = 60
FEWEST = 20
"""Texts with a name that training needs."""
_HELD_OUT = 5  # every fifth kind of text is held out
_PARTS_OF_DATES = frozenset({"<DATE>", "<DATE_OF_BIRTH>"})


class TrainedNames(NamedTuple):
    """A chain of one's own texts, and how good it is on those that were held out while it was measured."""

    model: ChainModel
    before: dict[str, SpanFigures]
    """Of the chain that it was made from, by kind."""
    after: dict[str, SpanFigures]
    texts: int
    held_out: int

    @property
    def worse(self) -> bool:
        """Whether it finds less than the chain that it was made from."""
        return (self.after["all"].f1 or 0.0) < (self.before["all"].f1 or 0.0)


def train_names(
    texts: Sequence[AnnotatedText], base: ChainModel, *, say: Callable[[str], None] = lambda _: None
) -> TrainedNames:
    """Go on from a chain with marked texts.

    A fifth of the texts is held out first, and both chains are measured on it; then the chain is fitted on all. Texts
    that differ in their marked values only are on one side. What is marked nowhere in the texts is taken to be as the
    chain before finds it.

    Args:
        texts: At least `FEWEST` of them with a kind that the chain tells apart.
        base: The chain to go on from.
        say: Called with what is being done.

    Raises:
        DataError: there are too few such texts, or all are of one kind.
    """
    named = sum(any(span.kind in NAME_KINDS for span in text.spans) for text in texts)
    if named < FEWEST:
        raise DataError(
            f"{named} of {len(texts)} texts have a name marked; training needs {FEWEST}.",
            hint=f"Mark some of: {', '.join(NAME_KINDS)}.",
        )
    held_out = [text for text in texts if _draw(text) == 0]
    rest = [text for text in texts if _draw(text) != 0]
    if not held_out or not rest:
        raise DataError("All texts are alike but for what is marked in them.", hint="Give texts of more kinds.")
    complete = _completed(texts, base)
    say(f"fit {len(rest)} texts")
    part = fit_names([each for text, each in zip(texts, complete, strict=True) if _draw(text)], base.lexicon, base=base)
    before, after = (measure_detector(NameDetector(model), held_out) for model in (base, part))
    say(f"fit {len(texts)} texts")
    model = fit_names(complete, base.lexicon, base=base)
    return TrainedNames(model=model, before=before, after=after, texts=len(texts), held_out=len(held_out))


def _draw(text: AnnotatedText) -> int:
    """0 for what is held out; the same for texts with the same words outside of what is marked."""
    pieces, at = [], 0
    for span in text.spans:
        pieces += [text.text[at : span.start], " "]
        at = span.end
    words = " ".join(re.findall(r"\w+", "".join([*pieces, text.text[at:]]).casefold()))
    return int(hashlib.sha256((words or text.text).encode("utf-8", "surrogatepass")).hexdigest()[:8], 16) % _HELD_OUT


def _completed(texts: Sequence[AnnotatedText], base: ChainModel) -> list[AnnotatedText]:
    """The texts with what a chain finds of kinds that nobody was asked to mark."""
    missing = set(NAME_KINDS) - kinds_of(texts)
    detector, found = NameDetector(base), []
    for text in texts:
        added = [each for each in detector.find(text.text) if each.kind in missing]
        free = [a for a in added if not any(a.start < s.end and s.start < a.end for s in text.spans)]
        found.append(AnnotatedText(text=text.text, spans=tuple(sorted([*text.spans, *free], key=lambda s: s.start))))
    return found


def name_tags(words: Sequence[TaggedWord], spans: Sequence[PersonalData]) -> list[int]:
    """0 for none, then for each of `NAME_KINDS` one that begins and one that goes on."""
    found = [0] * len(words)
    for span in spans:
        if span.kind not in NAME_KINDS:
            continue
        tag, first = 1 + 2 * [str(kind) for kind in NAME_KINDS].index(str(span.kind)), True
        for i, word in enumerate(words):
            apart = word.found and word.form not in _PARTS_OF_DATES
            if word.start < span.end and span.start < word.end and not apart:
                found[i], first = tag + (not first), False
    return found


def fit_names(
    texts: Sequence[AnnotatedText],
    known: Lexicon,
    *,
    base: ChainModel | None = None,
    penalty: float = PENALTY,
    rounds: int = ROUNDS,
    hide: float = 0.0,
) -> ChainModel:
    """A chain of these texts.

    Args:
        texts: With all their names marked.
        known: Common words in groups; of `base`, if there is one.
        base: The chain whose weights the new ones are drawn to; nothing if None.
        penalty: Of squared differences from it.
        rounds: Of L-BFGS, at most.
        hide: Share of the words that are hidden from each text, so that words that always stand together share what
            they say (Sutton, Sindelar and McCallum, "Reducing weight undertraining in structured discriminative
            learning", NAACL 2006).
    """
    patterns = PatternDetector()
    read = [(words, each.spans) for each in texts if (words := read_words(each.text, patterns.find(each.text)))]
    chance = random.Random(0)  # noqa: S311 - which words, no secret
    hidden = [{i for i in range(len(words)) if chance.random() < hide} for words, _ in read]
    named = [text_features(words, known, out) for (words, _), out in zip(read, hidden, strict=True)]
    terms = _terms([each for text in named for each in text], base)
    rows_of = [[terms[name] for name in each if name in terms] for text in named for each in text]
    ends = np.cumsum([0, *(len(each) for each in rows_of)])
    ones = np.ones(ends[-1], dtype=np.float32)
    matrix = csr_matrix((ones, [n for each in rows_of for n in each], ends), shape=(len(rows_of), len(terms)))
    wanted = np.array([tag for words, spans in read for tag in name_tags(words, spans)])
    found = fit_chain(
        matrix,
        wanted,
        [len(words) for words, _ in read],
        kinds=len(NAME_KINDS),
        penalty=penalty,
        rounds=rounds,
        prior=_prior(base, len(terms)) if base else None,
    )
    return _slim(terms, found, known)


def _terms(features: Sequence[Sequence[str]], base: ChainModel | None) -> dict[str, int]:
    """A number for each feature: those of the chain before keep theirs."""
    fresh = numbered(features, AT_LEAST)
    if base is None:
        return fresh
    terms = dict(base.terms)
    for name in fresh:
        terms.setdefault(name, len(terms))
    return terms


def _prior(base: ChainModel, size: int) -> ChainFit:
    weights = np.zeros((size, base.weights.shape[1]), dtype=np.float32)
    weights[: len(base.terms)] = base.weights[:-1]
    return ChainFit(weights, base.transitions)


def _slim(terms: dict[str, int], found: ChainFit, known: Lexicon) -> ChainModel:
    """Without features whose weights move nothing, and in the numbers that are stored."""
    strong = np.abs(found.weights).max(axis=1) >= SMALL
    kept = [term for term, number in terms.items() if strong[number]]
    weights = found.weights[[terms[term] for term in kept]].astype(np.float16).astype(np.float32)
    weights = np.concatenate([weights, np.zeros((1, weights.shape[1]), dtype=np.float32)])
    return ChainModel({term: number for number, term in enumerate(kept)}, weights, found.transitions, known)
