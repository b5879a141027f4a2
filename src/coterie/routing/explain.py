"""A route with everything that a person needs to check it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from coterie.routing.matching import Match
from coterie.routing.profile import COLD_SIMILARITY
from coterie.types import Route

SHOWN_CANDIDATES = 5
"""Specialists that are listed for a piece."""
SHOWN_NEIGHBOURS = 3
"""Nearest examples that are listed for a specialist."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """One of the examples that a text is most like."""

    example: str
    """Its label; a specialist's hints, its description and labels in words, are examples too. Texts are not kept."""
    similarity: float


@dataclass(frozen=True, kw_only=True)
class CandidateSpecialist:
    """How one text fits one specialist."""

    specialist: str
    score: float
    """The highest decides who is asked: the similarity, and what tells the specialists apart."""
    similarity: float
    """Mean likeness to the nearest examples: the cosine, less where examples lie close together."""
    typicality: float
    """Share of the examples that are less like their specialist than the text is, its own counting most, 0 to 1."""
    needed: float
    """What `typicality` must reach; `similarity`, of a specialist with few examples."""
    cold: bool
    """It has too few examples to say how alike they are."""
    in_scope: bool
    nearest: tuple[Likeness, ...]


@dataclass(frozen=True, kw_only=True)
class Considered:
    """A text that was compared with the specialists: the whole request, or a piece of it."""

    text: str
    asked: str | None
    """The specialist that is asked about it; None if it is not asked about by itself."""
    candidates: tuple[CandidateSpecialist, ...]
    """Best first."""
    margin: float | None
    """Score by which the first is ahead of the second; None if there is no second."""
    small_talk: str | None
    """The greeting or the like that it is."""
    vector: np.ndarray = field(compare=False, repr=False)  # (D,)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A route, and how it came about."""

    route: Route
    asked: tuple[str, ...]
    """Whom the request is for, in its order; the route names besides who writes what they read and who reads on."""
    read_as: str
    """What of the text the route was made from: greetings, thanks and words to the router are left out."""
    orders: tuple[str, ...]
    """Words to the router itself, such as "send this to ...": they are not followed."""
    considered: tuple[Considered, ...]
    """The whole first, then the pieces that were proposed, in order."""


def consider(match: Match, chosen: Sequence[Match], false_rejection: float) -> Considered:
    """What is told of a match; `chosen` are those that are asked about."""
    asked = any(each.start == match.start and each.end == match.end for each in chosen)
    ranked = [match.fits[name] for name in match.ranked[:2]]
    return Considered(
        text=match.text,
        asked=match.name if asked and match.in_scope else None,
        candidates=tuple(_candidate(name, match, false_rejection) for name in match.ranked[:SHOWN_CANDIDATES]),
        margin=round(ranked[0].score - ranked[1].score, 4) if len(ranked) > 1 else None,
        small_talk=match.small_talk,
        vector=match.vector,
    )


def _candidate(name: str, match: Match, false_rejection: float) -> CandidateSpecialist:
    fit = match.fits[name]
    return CandidateSpecialist(
        specialist=name,
        score=round(fit.score, 4),
        similarity=round(fit.similarity, 4),
        typicality=round(fit.p_value, 4),
        needed=COLD_SIMILARITY if fit.profile.cold else false_rejection,
        cold=fit.profile.cold,
        in_scope=fit.in_scope,
        nearest=tuple(
            Likeness(example=example, similarity=round(similarity, 4))
            for example, similarity in fit.profile.neighbours(match.vector, SHOWN_NEIGHBOURS)
        ),
    )
