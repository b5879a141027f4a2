"""The learned router: a text goes to the specialist whose examples it is most like.

A text's similarity to a specialist is the mean cosine to its nearest examples. It is in scope when it is not less
typical than all but a share `false_rejection` of the specialist's own examples: a conformal p-value (Vovk et al.
2005; for outliers Bates et al. 2023, "Testing for outliers with conformal p-values"), so no out-of-scope data is
needed. Structured input goes to the `score` specialists whose columns it has. A text that comes apart into pieces
for different specialists is asked piece by piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np

from coterie.context import known_facts
from coterie.protocols import Engine
from coterie.types import Context, Label, Part, Prompt, Request, Route, SpecialistCard, Step, total_usage

from ._match import Fit, Match, choose
from ._plan import Waves, plan_waves
from ._profile import COLD_SIMILARITY, SURE_SIMILARITY, Profile
from ._shortlist import Shortlist
from ._small_talk import SmallTalk
from ._split import split_parts

_COLUMNS_SHARED = 0.5  # share of the input's columns that a specialist must know for the input to be meant for it


class LearnedRouter:
    """Routes by similarity to the specialists' own examples."""

    def __init__(
        self,
        *,
        cards: Mapping[str, SpecialistCard],
        profiles: Mapping[str, Profile],
        encoder: Engine,
        false_rejection: float,
    ) -> None:
        self._cards = cards
        self._names = tuple(profiles)
        self._profiles = tuple(profiles.values())
        self._shortlist = Shortlist(self._profiles)
        self._encoder = encoder
        self._small_talk = SmallTalk(encoder)
        self._false_rejection = false_rejection
        self._waves: dict[tuple[str, AbstractSet[str]], Waves] = {}
        self._read = frozenset(fact for card in cards.values() for fact in card.reads)

    async def route(self, request: Request, context: Context) -> Route:
        """Whom to ask; no parts when the request is like nobody's examples. Facts of the context need no writer."""
        known = known_facts(context) & self._read
        by_columns = self._by_columns(request, known)
        if not request.text.strip() or not self._names:
            return self._routed(by_columns, [], {}, ())
        pieces = split_parts(request.text)
        texts = [request.text, *pieces] if len(pieces) > 1 else [request.text]
        vectors, cut, steps = await self._encode(texts, request)
        matches = self._match(texts, vectors, cut)
        phrases = await self._small_talk.find(matches)
        matches = [replace(match, small_talk=phrase) for match, phrase in zip(matches, phrases, strict=True)]
        whole = {name: round(fit.p_value, 4) for name, fit in matches[0].fits.items()}
        return self._routed(by_columns, choose(matches), whole, steps, known)

    # --- from scores to a route ------------------------------------------------------------------

    def _by_columns(self, request: Request, known: AbstractSet[str]) -> dict[str, tuple[Part, str]]:
        """A part for each specialist that structured input is meant for, and the reason."""
        if not request.columns:
            return {}
        found = {}
        for name, card in self._cards.items():
            shared = len(set(card.columns) & set(request.columns))
            if shared and shared >= _COLUMNS_SHARED * len(request.columns):
                waves = self._waves_of(name, known)
                part = Part(text=request.text, waves=waves, score=shared / len(card.columns))
                found[name] = part, f"{name}: the input has {shared} of its {len(card.columns)} columns"
        return found

    def _routed(
        self,
        by_columns: Mapping[str, tuple[Part, str]],
        matches: Sequence[Match],
        scores: Mapping[str, float],
        steps: tuple[Step, ...],
        known: AbstractSet[str] = frozenset(),
    ) -> Route:
        # Who is asked for the columns gets the text with them.
        fitting = [match for match in matches if match.in_scope and match.name not in by_columns]
        parts = [part for part, _ in by_columns.values()] + [self._part(match, known) for match in fitting]
        reasons = [reason for _, reason in by_columns.values()] + [self._why(match) for match in fitting]
        if not parts:
            reasons = [self._why_not(match) for match in matches] or ["no specialist takes such an input"]
        return Route(parts=tuple(parts), reason="; ".join(reasons), scores=scores, steps=steps)

    def _part(self, match: Match, known: AbstractSet[str]) -> Part:
        waves = self._waves_of(match.name, known)
        return Part(
            text=match.text, waves=waves, score=match.best.p_value, vector=match.vector, truncated=match.truncated
        )

    def _waves_of(self, name: str, known: AbstractSet[str]) -> Waves:
        """Who runs with it and when; worked out once."""
        if (name, known) not in self._waves:
            self._waves[name, known] = plan_waves(name, self._cards, readers=True, known=known)
        return self._waves[name, known]

    def _why(self, match: Match) -> str:
        reason = f"{match.name}: like its {match.best.nearest!r}, {match.best.words}"
        if match.second is not None:
            reason += f"; second is {match.second}, {match.fits[match.second].words}"
        return reason

    def _why_not(self, match: Match) -> str:
        if match.small_talk is not None:
            return f"it is like {match.small_talk!r}, which is nobody's job here"
        return (
            f"it is like nobody's examples: the nearest specialist is {match.name} (similarity "
            f"{match.best.similarity:.2f}, {self._needed(match.best)})"
        )

    def _needed(self, fit: Fit) -> str:
        if fit.profile.cold:
            return f"needs {COLD_SIMILARITY}"
        return f"more typical than {fit.p_value:.1%} of its own examples, needs {self._false_rejection:.0%}"

    # --- scores ----------------------------------------------------------------------------------

    async def _encode(self, texts: Sequence[str], request: Request) -> tuple[np.ndarray, list[bool], tuple[Step, ...]]:
        """A vector a text (T, D), encoded in one batch, which of them are of the beginning only, and what it took."""
        label = request.label or Label.RESTRICTED
        outputs = await self._encoder.run([Prompt(text=text, label=label) for text in texts])
        usage = total_usage(output.usage for output in outputs)
        step = Step(producer="router", engine=self._encoder.name, usage=usage)
        cut = [output.finish == "length" for output in outputs]
        return np.stack([np.asarray(output.vector) for output in outputs]), cut, (step,)

    def _match(self, texts: Sequence[str], vectors: np.ndarray, cut: Sequence[bool] = ()) -> list[Match]:  # (T, D)
        """How each text fits each specialist, of very many those that are nearest."""
        fits = {self._names[s]: self._fits(self._profiles[s], vectors) for s in self._shortlist.nearest(vectors)}
        return [
            Match(
                text=text,
                vector=vectors[row],
                fits={name: each[row] for name, each in fits.items()},
                truncated=bool(cut and cut[row]),
            )
            for row, text in enumerate(texts)
        ]

    def _fits(self, profile: Profile, vectors: np.ndarray) -> list[Fit]:  # (T, D)
        """How each text fits one specialist."""
        similarities = profile.similarity(vectors)
        p_values = self._p_values(profile, similarities)
        return [
            Fit(
                similarity=float(similarity),
                p_value=float(p_value),
                in_scope=bool(p_value >= self._false_rejection),
                profile=profile,
                vector=vector,
            )
            for similarity, p_value, vector in zip(similarities, p_values, vectors, strict=True)
        ]

    def _p_values(self, profile: Profile, similarity: np.ndarray) -> np.ndarray:  # (T,) -> (T,)
        """The share of a specialist's examples that are less typical of it than each text."""
        if profile.cold:
            # Too few examples to know: in scope from a fixed similarity on.
            return np.where(similarity >= COLD_SIMILARITY, np.clip(similarity, self._false_rejection, 1.0), 0.0)
        shares = np.searchsorted(profile.typical, similarity, side="right") / len(profile.typical)
        return np.where(similarity >= SURE_SIMILARITY, np.maximum(shares, self._false_rejection), shares)
