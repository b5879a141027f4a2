"""Fitting the chain of names on marked texts, from nothing or from a chain that is there.

From a chain that is there, weights are drawn to what they were instead of to nothing (Chelba and Acero, "Adaptation of
maximum entropy capitalizer", EMNLP 2004): what one's own texts do not speak of stays as it was.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from coterie.errors import DataError
from coterie.learning.files import Lines, Record, open_lines, read_records
from coterie.learning.sequence import ChainFit, fit_chain, numbered
from coterie.privacy.detection import PRESIDIO_NAMES, Detector, Kind, PersonalData
from coterie.privacy.names import NAME_KINDS, ChainModel, NameDetector
from coterie.privacy.patterns import PatternDetector
from coterie.privacy.words import Lexicon, TaggedWord, read_words, text_features

# --- Annotated texts.

OTHER_NAMES: Mapping[str, Kind] = {
    **dict.fromkeys(("PER", "NAME"), Kind.PERSON),
    **dict.fromkeys(("GPE", "LOC", "CITY", "COUNTRY"), Kind.LOCATION),
    **dict.fromkeys(("STREET_ADDRESS", "ZIP_CODE"), Kind.ADDRESS),
    **dict.fromkeys(("ORG", "COMPANY"), Kind.ORGANIZATION),
    "NORP": Kind.NATIONALITY,
    "DOMAIN_NAME": Kind.URL,
    **PRESIDIO_NAMES,
    **dict.fromkeys(("US_SSN", "US_DRIVER_LICENSE", "US_PASSPORT", "US_ITIN", "UK_NHS", "UK_NINO"), Kind.NATIONAL_ID),
}
"""What Presidio, spaCy and others call our kinds."""
_KEYS = {
    "kind": ("kind", "type", "label", "entity_type"),
    "start": ("start", "start_position"),
    "end": ("end", "end_position"),
}
_HINT = 'Write one object a line: {"text": "I am Ann.", "spans": [{"kind": "PERSON", "start": 5, "end": 8}]}'


@dataclass(frozen=True, kw_only=True)
class AnnotatedText:
    """A text, and everything in it that a detector should find."""

    text: str
    spans: tuple[PersonalData, ...]
    """In the text's order, none overlapping another; with scores of 1."""


class AnnotatedFile(NamedTuple):
    """What a file holds."""

    texts: tuple[AnnotatedText, ...]
    sha256: str
    unknown: Mapping[str, int]
    """Kinds that are not ours, with how often each was marked; they were left out."""


def read_annotated(path: Path) -> AnnotatedFile:
    """Read JSON lines with `text` (or `full_text`) and `spans` of `kind`, `start` and `end` in characters.

    Presidio's names for these and for the kinds are understood too. Raises `DataError`, which names the line.
    """
    unknown: Counter[str] = Counter()
    with open_lines(path) as lines:
        records = read_records(lines, wanted=("text", "spans"), check_names=lambda _: _refuse_table(lines))
        texts = tuple(_text_of(record, lines, unknown) for record in records)
        if not texts:
            raise lines.error("is the last: there is no text in the file", _HINT)
        return AnnotatedFile(texts, lines.sha256, dict(unknown))


def _refuse_table(lines: Lines) -> None:
    raise lines.error("is no JSON object", _HINT, line=1)


def _text_of(record: Record, lines: Lines, unknown: Counter[str]) -> AnnotatedText:
    text, marked = record.cells.get("text", record.cells.get("full_text")), record.cells.get("spans")
    if not isinstance(text, str) or not isinstance(marked, list):
        raise lines.error("has no text, or no list of spans", _HINT, line=record.line)
    spans = []
    for each in marked:
        kind, start, end = _span(each, text, record, lines)
        known = OTHER_NAMES.get(kind.upper(), kind.upper())
        if known in set(Kind):
            spans.append(PersonalData(kind=Kind(known), start=start, end=end, score=1.0))
        else:
            unknown[kind] += 1
    spans.sort(key=lambda one: one.start)
    for one, other in pairwise(spans):
        if one.end > other.start:
            raise lines.error(f"has spans that overlap, at {other.start}", "Mark each place once.", line=record.line)
    return AnnotatedText(text=text, spans=tuple(spans))


def _span(marked: object, text: str, record: Record, lines: Lines) -> tuple[str, int, int]:
    if isinstance(marked, Mapping):
        kind, start, end = (next((marked[key] for key in keys if key in marked), None) for keys in _KEYS.values())
        if isinstance(kind, str) and type(start) is int and type(end) is int and 0 <= start < end <= len(text):
            return kind, start, end
    raise lines.error(
        f"has a span that is no place in its {len(text)} characters: {str(marked)[:80]}", _HINT, line=record.line
    )


class SpanFigures(NamedTuple):
    """How well things of one kind are found."""

    precision: float | None
    """Share of what was found that is right; None if nothing was found."""
    recall: float | None
    """Share of what was marked that was found; None if nothing was marked."""
    f1: float | None
    marked: int
    found: int
    right: int
    """Found with the same kind at the same place."""


def measure_detector(detector: Detector, texts: Iterable[AnnotatedText]) -> dict[str, SpanFigures]:
    """How well a detector finds what is marked: by kind, of kinds that are marked in these texts, and `all` of them.

    Only the same place is right. Kinds that are marked nowhere do not count against the detector: whoever marked the
    texts was not asked for them.
    """
    pairs = [(text, detector.find(text.text)) for text in texts]
    kinds = sorted({str(span.kind) for text, _ in pairs for span in text.spans})
    counts = {kind: [0, 0, 0] for kind in kinds}
    for text, found in pairs:
        wanted = {(str(each.kind), each.start, each.end) for each in text.spans}
        have = {(str(each.kind), each.start, each.end) for each in found}
        for place, some in enumerate((wanted, have, wanted & have)):
            for kind, _, _ in some:
                if kind in counts:
                    counts[kind][place] += 1
    whole = [sum(count[place] for count in counts.values()) for place in range(3)]
    return {kind: _figures(*each) for kind, each in {**counts, "all": whole}.items()}


def _figures(marked: int, found: int, right: int) -> SpanFigures:
    return SpanFigures(
        precision=right / found if found else None,
        recall=right / marked if marked else None,
        f1=2 * right / (marked + found) if marked + found else None,
        marked=marked,
        found=found,
        right=right,
    )


def kinds_of(texts: Sequence[AnnotatedText]) -> frozenset[str]:
    """The kinds that are marked anywhere in them."""
    return frozenset(str(span.kind) for text in texts for span in text.spans)


# --- Training.

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
    ends = np.cumsum([0, *(len(row) for row in rows_of)])
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
