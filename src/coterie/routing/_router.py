"""The learned router: a text goes to the specialist whose examples it is most like.

A text's similarity to a specialist is the mean cosine to its nearest examples. It is in scope when it is not less
typical than all but a share `false_rejection` of the specialist's own examples: a conformal p-value (Vovk et al.
2005; for outliers Bates et al. 2023, "Testing for outliers with conformal p-values"), so no out-of-scope data is
needed. Structured input goes to the `score` specialists whose columns it has. A text that comes apart into pieces
for different specialists is asked piece by piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import numpy as np

from coterie.protocols import Engine
from coterie.types import Context, Part, Prompt, Request, Route, SpecialistCard, Step, Usage

from ._match import Fit, Match, choose
from ._plan import plan_waves
from ._profile import COLD_SIMILARITY, Profile
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
        self._encoder = encoder
        self._false_rejection = false_rejection

    async def route(self, request: Request, context: Context) -> Route:  # noqa: ARG002 - sessions steer routes later
        """Whom to ask; no parts when the request is like nobody's examples."""
        by_columns = self._by_columns(request)
        if not request.text.strip() or not self._names:
            return self._routed(by_columns, [], {}, ())
        pieces = split_parts(request.text)
        texts = [request.text, *pieces] if len(pieces) > 1 else [request.text]
        vectors, steps = await self._encode(texts, request)
        matches = self._match(texts, vectors)
        whole = {name: round(fit.p_value, 4) for name, fit in matches[0].fits.items()}
        return self._routed(by_columns, choose(matches), whole, steps)

    # --- from scores to a route ------------------------------------------------------------------

    def _by_columns(self, request: Request) -> list[tuple[Part, str]]:
        """A part for each specialist that structured input is meant for, and the reason."""
        if not request.columns:
            return []
        found = []
        for name, card in self._cards.items():
            shared = len(set(card.columns) & set(request.columns))
            if shared and shared >= _COLUMNS_SHARED * len(request.columns):
                waves = plan_waves(name, self._cards, readers=True)
                part = Part(text=request.text, waves=waves, score=shared / len(card.columns))
                found.append((part, f"{name}: the input has {shared} of its {len(card.columns)} columns"))
        return found

    def _routed(
        self,
        by_columns: Sequence[tuple[Part, str]],
        matches: Sequence[Match],
        scores: Mapping[str, float],
        steps: tuple[Step, ...],
    ) -> Route:
        fitting = [match for match in matches if match.in_scope]
        parts = [part for part, _ in by_columns] + [self._part(match) for match in fitting]
        reasons = [reason for _, reason in by_columns] + [self._why(match) for match in fitting]
        if not parts:
            reasons = [self._why_not(match) for match in matches] or ["no specialist takes such an input"]
        return Route(parts=tuple(parts), reason="; ".join(reasons), scores=scores, steps=steps)

    def _part(self, match: Match) -> Part:
        waves = plan_waves(match.name, self._cards, readers=True)
        return Part(text=match.text, waves=waves, score=match.best.p_value, vector=match.vector)

    def _why(self, match: Match) -> str:
        reason = f"{match.name}: like its {match.best.nearest!r}, more typical than {match.best.p_value:.0%} of its own examples"
        if match.second is not None:
            reason += f"; second is {match.second} with {match.fits[match.second].p_value:.0%}"
        return reason

    def _why_not(self, match: Match) -> str:
        return (
            f"it is like nobody's examples: the nearest specialist is {match.name} (similarity {match.best.similarity:.2f}, more "
            f"typical than {match.best.p_value:.1%} of its own examples, needs {self._false_rejection:.0%})"
        )

    # --- scores ----------------------------------------------------------------------------------

    async def _encode(self, texts: Sequence[str], request: Request) -> tuple[np.ndarray, tuple[Step, ...]]:
        """A vector a text (T, D), encoded in one batch, and what it took."""
        label = request.label or Prompt().label
        outputs = await self._encoder.run([Prompt(text=text, label=label) for text in texts])
        usage = sum((output.usage for output in outputs), Usage())
        step = Step(producer="router", engine=self._encoder.name, usage=usage)
        return np.stack([output.vector for output in outputs if output.vector is not None]), (step,)

    def _match(self, texts: Sequence[str], vectors: np.ndarray) -> list[Match]:  # (T, D)
        """How each text fits each specialist."""
        similarities = [profile.similarity(vectors) for profile in self._profiles]
        p_values = [self._p_values(*pair) for pair in zip(self._profiles, similarities, strict=True)]
        return [
            Match(
                text=text,
                vector=vectors[row],
                fits={
                    name: Fit(
                        similarity=float(similarities[s][row]),
                        p_value=float(p_values[s][row]),
                        in_scope=bool(p_values[s][row] >= self._false_rejection),
                        profile=self._profiles[s],
                        vector=vectors[row],
                    )
                    for s, name in enumerate(self._names)
                },
            )
            for row, text in enumerate(texts)
        ]

    def _p_values(self, profile: Profile, similarity: np.ndarray) -> np.ndarray:  # (T,) -> (T,)
        """The share of a specialist's examples that are less typical of it than each text."""
        if not len(profile.typical):
            # Too few examples to know: in scope from a fixed similarity on.
            return np.where(similarity >= COLD_SIMILARITY, np.clip(similarity, self._false_rejection, 1.0), 0.0)
        return np.searchsorted(profile.typical, similarity, side="right") / len(profile.typical)
