"""Matching of texts with specialists, and the decision to split a request."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from coterie.routing.profile import BUNDLED_SCALE, CosineScale, Profile
from coterie.routing.splitting import SHORTEST_ALONE, Mark, Piece
from coterie.runtime.codec import replace
from coterie.types import Reason, Route

# --- Scope: a conformal p-value from the specialist's own examples and all others' (Bates et al. 2023).
#
# Similarity is relative to the density around each example, so it means the same for every specialist; the examples of
# all specialists, each specialist weighing the same, supplement the few of one.

_SHARED = 3000.0
"""Number of a specialist's examples from which its own outweigh those of all specialists.

Between 50 and 400 the choice hardly matters: with more, fewer out-of-scope texts pass, and a specialist
unlike the others loses more of its own (docs/history/log.md).
"""
_MOST_ROWS = 8_000
"""Most examples whose typicality is computed, over all specialists."""
_FEWEST_ROWS = 4
"""Least number of them for each specialist."""
CLEAR = 1.5
"""Standing from which a text clearly belongs to a specialist.

A near copy of an example has it, and so has a text similar to a specialist with too few examples to know
more.
"""


class Typicality(NamedTuple):
    """How typical texts are of specialists; each (T, S')."""

    p_value: np.ndarray
    """Share of examples that are less similar to their specialist, weighted towards the specialist's own."""
    standing: np.ndarray
    """Typicality relative to what a request needs: from 1 on the text is in scope."""


class RoutingScope:
    """Computes how typical texts are of specialists."""

    def __init__(
        self, profiles: Sequence[Profile], *, false_rejection: float, scale: CosineScale = BUNDLED_SCALE
    ) -> None:
        self._scale = scale
        self._profiles = profiles
        self._false_rejection = false_rejection
        self._counts = np.array([len(profile.typical) for profile in profiles], dtype=np.int64)  # (S,)
        self._cold = self._counts == 0
        warm = [profile.typical for profile in profiles if not profile.cold]
        most = max(_FEWEST_ROWS, _MOST_ROWS // max(1, len(warm)))
        kept = [_spread(typical, most) for typical in warm]
        together = np.concatenate(kept) if kept else np.empty(0)
        weights = (
            np.concatenate([np.full(len(vectors), 1 / len(vectors) / len(kept)) for vectors in kept])
            if kept
            else together
        )
        order = np.argsort(together)
        self._typical = together[order]  # (N,)
        self._share = np.minimum(np.concatenate([[0.0], np.cumsum(weights[order])]), 1.0)  # (N + 1,)

    def typicality(self, which: np.ndarray, similarity: np.ndarray, closest: np.ndarray) -> Typicality:
        """Return how typical texts are of some specialists.

        Args:
            which: (S',) their positions among the profiles.
            similarity: (T, S') similarity of each text to each specialist.
            closest: (T, S') cosine to the nearest example.
        """
        share = self._false_rejection
        everybody = self._share[np.searchsorted(self._typical, similarity, side="right")]
        less = np.zeros(similarity.shape)  # how many of its own examples are less like each specialist
        for column in np.flatnonzero(~self._cold[which]):
            less[:, column] = self._profiles[which[column]].typical.searchsorted(similarity[:, column], side="right")
        p_value = (less + _SHARED * everybody) / (self._counts[which] + _SHARED)
        p_value = np.where(closest >= self._scale.near_copy, np.maximum(p_value, CLEAR * share), p_value)
        cold = self._cold[which]
        inside = cold & (similarity >= self._scale.cold)
        p_value = np.where(cold, np.where(inside, np.clip(similarity, share, 1.0), 0.0), p_value)
        return Typicality(p_value, np.where(inside, np.maximum(p_value / share, CLEAR), p_value / share))


def _spread(values: np.ndarray, most: int) -> np.ndarray:  # (N,), ascending -> (at most M,)
    return values[np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).astype(np.int64))]


NEEDED: Mapping[Mark, float] = {"sentence": -0.15, "joiner": 0.10, "comma": 0.15, "gap": 0.40}
"""Gain of the pieces over the whole at each kind of mark, from which a request is split.

The gain is three times the smaller gain in similarity plus the larger one. Chosen on the half `dev` of
`benchmarks/compound`.
"""
_NEEDED_COLD: Mapping[Mark, float] = {"sentence": 0.15, "joiner": 0.4}
"""`NEEDED` for pieces of which a specialist has too few examples.

Similarity to descriptions says less, so only the end of a sentence and a joining word split a request. Chosen
on the half `dev` of `benchmarks/routers/descriptions.py`.
"""
_SMALLER_GAIN = 3.0
CLEARER = 0.05
"""Margin in similarity by which the beginning or end of a long text must fit better than the whole.

It must be more similar to its specialist than the whole is to another one, to count as the question. Chosen
on the half `dev` of `benchmarks/noise`.
"""
_STATED = 6.0
"""Standing of a sentence of a long text that states the question; one request in four has less."""
_STATED_BEHIND = 0.1
"""Score by which such a sentence may be behind the best one and still be asked about."""
_FAR_CLEARER = 0.3
"""Score by which a piece must exceed a barely matching whole to count as the question; chosen there too."""
_HARDLY = 3.0
"""Standing up to which a whole matches its specialist only barely."""
_ALONE = 2.5
"""Standing of a piece that may be the only question.

With the two above chosen on the halves for development of `benchmarks/compound` and `benchmarks/injection`.
"""
_PIECE = 1 / 8
"""Standing of a piece that fits better than the whole.

That it was cut out of a request is evidence for it, and with two pieces one of them would be untypical twice
as often. With `_BESIDE` and `_JOINED` chosen on the half `dev` of `benchmarks/compound` and on the half of
the texts of `benchmarks/injection` that is for it.
"""
_BESIDE = 0.75
"""Standing of a piece that adds its specialist to another."""
_JOINED = 0.5
"""Standing of such a piece before or after words that announce a further question."""
_FEWEST_WORDS = 3  # of a piece, numbers and single letters aside: "on 14 February" is no request
_SENTENCE_END = re.compile(r"[.?!;]+(?:\s|$)|\n+")
_SENTENCES = 2
"""Number of sentences beyond which a piece must be clearer: each may seem to add a specialist."""
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """How one text fits one specialist."""

    similarity: float
    """Mean similarity to the specialist's nearest examples."""
    p_value: float
    """Share of examples that are less similar to their specialist, weighted towards its own, 0 to 1."""
    standing: float
    """Typicality relative to what a request needs: from 1 on the text is in scope."""
    score: float
    """Score that decides who is asked: the similarity, with the discriminant between specialists."""
    nearest: str
    """The label or hint of the nearest example."""
    closest: float
    """Cosine to the nearest example."""
    profile: Profile

    @property
    def in_scope(self) -> bool:
        """Whether the text may be for the specialist."""
        return self.standing >= 1

    @property
    def described(self) -> Reason:
        """The fit as a reason."""
        if self.profile.cold:
            return Reason("fit.similarity", similarity=self.similarity)
        return Reason("fit.typicality", p_value=self.p_value)


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """How one text fits every specialist that it was compared with."""

    text: str
    vector: np.ndarray  # (D,)
    fits: Mapping[str, Fit]
    start: int = 0
    end: int = 0
    """End of the text in the request, as `start` is its beginning."""
    truncated: bool = False
    """Whether `vector` covers only the text's beginning."""
    joined: bool = False
    """Whether `text` consists of several pieces, and `vector` is that of one of them."""
    small_talk: bool = False
    """Whether the text is a greeting, thanks or chat."""
    order: bool = False
    """Whether the text gives orders to the router."""

    @cached_property
    def ranked(self) -> tuple[str, ...]:
        """Specialists, the best first.

        If the best one finds the text out of scope, a similar one with too few examples to tell comes first: its
        similarity to a description is lower than one to examples would be.
        """
        ranked = sorted(self.fits, key=lambda name: self.fits[name].score, reverse=True)
        if ranked and not self.fits[ranked[0]].in_scope:
            ranked.sort(key=lambda name: self.fits[name].in_scope and self.fits[name].profile.cold, reverse=True)
        return tuple(ranked)

    @property
    def name(self) -> str:
        """The best-fitting specialist."""
        return self.ranked[0]

    @property
    def best(self) -> Fit:
        """The fit of the best specialist."""
        return self.fits[self.name]

    @property
    def in_scope(self) -> bool:
        """Whether the text is in scope of the most similar specialist, and not small talk."""
        return not self.small_talk and self.best.in_scope

    @property
    def clear(self) -> bool:
        """Whether the text clearly belongs to a specialist."""
        return self.best.standing >= CLEAR

    @property
    def settled(self) -> bool:
        """Whether the text belongs to a specialist so clearly that no pieces for others are searched."""
        return self.best.standing >= _HARDLY

    @property
    def stands(self) -> bool:
        """Whether a piece of a request may be a request by itself."""
        fits = not self.small_talk and not self.order and self.best.standing >= _PIECE
        return fits and len(_WORD.findall(self.text)) >= _FEWEST_WORDS

    def adds(self, *, joined: bool, sentences: int) -> bool:
        """Return whether a piece may add its specialist to those of other pieces.

        Args:
            joined: Words announce a further question.
            sentences: Number of sentences of the text that contains the piece.
        """
        needed = (_JOINED if joined else _BESIDE) * max(1, sentences - _SENTENCES + 1)
        return self.stands and self.best.standing >= needed

    @property
    def alone(self) -> bool:
        """Whether a piece may be the only question in an out-of-scope text."""
        return self.stands and self.best.standing >= _ALONE and len(self.text.split()) >= SHORTEST_ALONE

    @property
    def plausible(self) -> tuple[str, ...]:
        """The next specialists that the text is in scope for: they may be asked if the first abstains."""
        return tuple(name for name in self.ranked[1:] if self.fits[name].in_scope)

    @property
    def second(self) -> str | None:
        """The second-best specialist; None if there is none."""
        return self.ranked[1] if len(self.ranked) > 1 else None


def choose(piece: Piece, matches: Mapping[Piece, Match]) -> list[Match]:
    """Return the matches to ask about: the whole request, or its pieces if they belong to different specialists.

    Out-of-scope text adds no specialist: a piece must clearly belong to one to be asked beside another. It
    removes none either: if the whole is out of scope, or barely in it, a piece that clearly belongs to a
    specialist decides.

    Args:
        piece: The request, with the proposed pieces.
        matches: The matches of the request, of every piece below it, and of pieces proposed later.
    """
    whole = matches[piece]
    parts = _parts(piece, matches)
    if len(parts) == 1 and parts[0].in_scope:
        return [_clearer(parts[0], matches)]
    sentences = len(_SENTENCE_END.findall(whole.text))
    clear = [part for part in parts if part.adds(joined=piece.joined, sentences=sentences)] if len(parts) > 1 else []
    if len({part.name for part in clear}) > 1:
        return _united(clear, piece)
    if whole.in_scope and all(part.name == whole.name for part in clear):
        return [whole]
    united = _united(clear, piece)
    if len(united) > 1 or (united and united[0].clear):
        return united
    whole = united[0] if united else whole
    below = [match for other, match in matches.items() if other is not piece and match.alone]
    return [max(below, key=lambda match: match.best.score, default=whole)]


def undivided(piece: Piece, matches: Mapping[Piece, Match], chosen: Sequence[Match], at: int) -> list[Match]:
    """Return the matches to ask about without the split before one of them.

    The smallest piece that contains this match and the one before it replaces both, unless it is out of scope.

    Args:
        piece: The request, with the proposed pieces.
        matches: The matches of the request and of every piece below it.
        chosen: Two or more matches of pieces, in the order of the request.
        at: Which of these depends on the one before it.
    """
    start, end = chosen[at - 1].start, chosen[at].end
    around = [part for part in piece.walk() if part.start <= start and end <= part.end]
    smallest = matches[min(around, key=lambda part: part.end - part.start)] if around else chosen[at]
    if not around or not smallest.in_scope:
        return list(chosen)
    before = [match for match in chosen[: at - 1] if match.end <= smallest.start]
    return [*before, smallest, *(match for match in chosen[at + 1 :] if match.start >= smallest.end)]


def _clearer(whole: Match, matches: Mapping[Piece, Match]) -> Match:
    """Return a barely matching whole, or its piece that clearly belongs to another specialist."""
    if whole.settled:
        return whole
    others = [match for match in matches.values() if match.alone and match.name != whole.name]
    best = max(others, key=lambda match: match.best.score, default=whole)
    return best if best.best.score >= whole.best.score + _FAR_CLEARER else whole


def _parts(piece: Piece, matches: Mapping[Piece, Match]) -> list[Match]:
    whole = matches[piece]
    if piece.ends:
        return _focus(whole, [matches[end] for end in piece.ends])
    parts = [part for below in piece.pieces for part in _parts(below, matches)]
    ordered = any(part.order for part in parts)
    parts = _united([part for part in parts if part.stands], piece)
    if ordered and parts:
        return parts  # words to the router are no part of what is asked
    cold = any(part.best.profile.cold for part in parts)
    needed = _NEEDED_COLD.get(piece.mark, math.inf) if cold else NEEDED[piece.mark]
    if len({part.name for part in parts}) < 2 or gain(whole, parts) <= needed:
        return [whole]
    return parts


def _focus(whole: Match, ends: Sequence[Match]) -> list[Match]:
    """Return the whole of a long text, or the sentences that fit more clearly and therefore are the question."""
    if stated := _stated(ends):
        return [whole] if {match.name for match in stated} == {whole.name} else stated
    inside = [end for end in ends if end.in_scope]
    clearest = max(inside, key=lambda end: end.best.similarity, default=None)
    if clearest is None or (whole.in_scope and clearest.name == whole.name):
        return [whole]
    if whole.in_scope and clearest.best.similarity < whole.best.similarity + CLEARER:
        return [whole]
    return [clearest]


def _stated(sentences: Sequence[Match]) -> list[Match]:
    """Return, for each specialist, the sentence that states its question most clearly, if there is one; in order."""
    by_name: dict[str, Match] = {}
    for sentence in sentences:
        if sentence.alone and sentence.best.standing >= _STATED:
            by_name[sentence.name] = max(
                by_name.get(sentence.name, sentence), sentence, key=lambda match: match.best.score
            )
    least = max((match.best.score for match in by_name.values()), default=0.0) - _STATED_BEHIND
    return sorted((match for match in by_name.values() if match.best.score >= least), key=lambda match: match.start)


def gain(whole: Match, parts: Sequence[Match]) -> float:
    """Return the gain of the parts over the whole: a piece that fits worse alone than in its place is no request."""
    gains = sorted(part.best.similarity - whole.fits[part.name].similarity for part in parts)
    return _SMALLER_GAIN * gains[0] + gains[-1]


def _united(parts: Sequence[Match], within: Piece) -> list[Match]:
    """Combine consecutive pieces for the same specialist into one."""
    kept: list[Match] = []
    for part in parts:
        if kept and kept[-1].name == part.name:
            text = within.text_between(kept[-1].start, part.end)
            likest = max(kept[-1], part, key=lambda part: part.best.similarity)
            kept[-1] = replace(likest, text=text, start=kept[-1].start, end=part.end, joined=True)
        else:
            kept.append(part)
    return kept


# --- A linear discriminant between specialists (Fisher 1936; regularised, Friedman 1989).
#
# It separates specialists with similar examples. A closed form of means and second moments: refitted in a fraction
# of a second when specialists change, and each weighs the same, however many examples it has.

_SHRINKAGE = 7e-4
"""Share of the total moment that is added in every direction.

This and `WEIGHT` were chosen on the half `dev` of `benchmarks/compound`: of nine specialists the best is the
right one in .9787 of texts without, in .9880 with it.
"""
WEIGHT = 0.3
"""Weight of the discriminant beside the similarity."""
_MOST_ROWS_DISCRIMINANT = 20_000
"""Most examples that are used, over all specialists."""
_FEWEST_ROWS_DISCRIMINANT = 20
"""Least number of examples that are used for each specialist."""


class Discriminant:
    """Distinguishes specialists."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        banks = [profile.vectors for profile in profiles if len(profile.vectors)]
        self._weights = None
        if len(banks) < 2:
            return
        most = max(_FEWEST_ROWS_DISCRIMINANT, _MOST_ROWS_DISCRIMINANT // len(banks))
        dimension = banks[0].shape[1]
        means = np.zeros((len(profiles), dimension), dtype=np.float32)
        moment = np.zeros((dimension, dimension), dtype=np.float32)
        for row, profile in enumerate(profiles):
            vectors = profile.vectors
            if not len(vectors):
                continue
            means[row] = vectors.mean(axis=0)
            looked_at = vectors[:: -(-len(vectors) // most)]
            moment += looked_at.T @ looked_at / len(looked_at)
        moment[np.diag_indices(dimension)] += _SHRINKAGE * len(banks)
        self._weights = np.ascontiguousarray(np.linalg.solve(moment, means.T).T)  # (S, D)

    def scores(self, vectors: np.ndarray, which: Sequence[int] | np.ndarray) -> np.ndarray:  # (T, D) -> (T, S')
        """Return how much each text is like these specialists and unlike the others, about 0 to 1."""
        if self._weights is None:
            return np.zeros((len(vectors), len(which)))
        return np.asarray(vectors @ self._weights[np.asarray(which)].T)


# --- Explanations of a route.

SHOWN_CANDIDATES = 5
"""Specialists that are listed for a piece."""
SHOWN_NEIGHBOURS = 3
"""Nearest examples that are listed for a specialist."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """One of the examples that a text is most similar to."""

    example: str
    """Label of the example; a specialist's description and labels as words count as examples. Texts are not kept."""
    similarity: float


@dataclass(frozen=True, kw_only=True)
class CandidateSpecialist:
    """How one text fits one specialist."""

    specialist: str
    score: float
    """Score; the highest decides who is asked: the similarity, with the discriminant between specialists."""
    similarity: float
    """Mean similarity to the nearest examples: the cosine, reduced where examples lie close together."""
    typicality: float
    """Share of examples that are less similar to their specialist than the text, weighted towards its own, 0 to 1."""
    needed: float
    """The value that `typicality` must reach; for a specialist with few examples, `similarity`."""
    cold: bool
    """Whether it has too few examples to know how similar they are."""
    in_scope: bool
    nearest: tuple[Likeness, ...]


@dataclass(frozen=True, kw_only=True)
class Considered:
    """A text that was compared with the specialists: the whole request, or a piece of it."""

    text: str
    asked: str | None
    """The specialist that is asked about this text; None if it is not asked about separately."""
    candidates: tuple[CandidateSpecialist, ...]
    """Candidates, best first."""
    margin: float | None
    """Difference in score between the first and the second; None if there is no second."""
    small_talk: bool
    """Whether the text is a greeting, thanks or chat that no specialist was trained for."""
    vector: np.ndarray = field(compare=False, repr=False)  # (D,)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A route, and its derivation."""

    route: Route
    asked: tuple[str, ...]
    """Specialists for the request, in its order; the route adds writers of facts they read, and further readers."""
    read_as: str
    """Part of the text that the route was made from, without greetings, thanks and orders to the router."""
    orders: tuple[str, ...]
    """Orders to the router itself, such as "send this to ...": they are not followed."""
    considered: tuple[Considered, ...]
    """The whole first, then the proposed pieces, in order."""


def consider(match: Match, chosen: Sequence[Match], false_rejection: float, scale: CosineScale) -> Considered:
    """Return the explanation of a match; `chosen` are the matches that are asked about."""
    is_chosen = any(match_.start == match.start and match_.end == match.end for match_ in chosen)
    ranked = [match.fits[name] for name in match.ranked[:2]]
    return Considered(
        text=match.text,
        asked=match.name if is_chosen and match.in_scope else None,
        candidates=tuple(_candidate(name, match, false_rejection, scale) for name in match.ranked[:SHOWN_CANDIDATES]),
        margin=round(ranked[0].score - ranked[1].score, 4) if len(ranked) > 1 else None,
        small_talk=match.small_talk,
        vector=match.vector,
    )


def _candidate(name: str, match: Match, false_rejection: float, scale: CosineScale) -> CandidateSpecialist:
    fit = match.fits[name]
    return CandidateSpecialist(
        specialist=name,
        score=round(fit.score, 4),
        similarity=round(fit.similarity, 4),
        typicality=round(fit.p_value, 4),
        needed=scale.cold if fit.profile.cold else false_rejection,
        cold=fit.profile.cold,
        in_scope=fit.in_scope,
        nearest=tuple(
            Likeness(example=example, similarity=round(similarity, 4))
            for example, similarity in fit.profile.neighbours(match.vector, SHOWN_NEIGHBOURS)
        ),
    )
