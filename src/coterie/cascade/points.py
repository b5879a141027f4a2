"""Policies in figures: what a choice of models came to on recorded rows, in all and by domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coterie.cascade.chain import Walked
from coterie.cascade.curve import Point
from coterie.cascade.outcomes import Outcomes
from coterie.cascade.risk import mean_interval


def played_point(name: str, outcomes: Outcomes, chosen: np.ndarray) -> Point:
    """What a choice of columns came to; a row where the chosen model was not asked does not count."""
    rows = np.arange(len(chosen))
    given = Walked(outcomes.scores[rows, chosen], outcomes.costs[rows, chosen], chosen)
    return walked_point(name, given, outcomes.models)


def walked_point(name: str, given: Walked, models: Sequence[str]) -> Point:
    """Sum up recorded rows that were walked by one policy."""
    known = ~np.isnan(given.scores) & (given.last >= 0)
    scores, costs, last = (column[known] for column in given)
    unpriced = np.isnan(costs).any()
    return Point(
        name=name,
        quality=float(scores.mean()) if known.any() else float("nan"),
        per_1000=None if unpriced else 1000 * float(costs.mean()),
        interval=mean_interval(scores),
        shares=tuple(float((last == column).mean()) if known.any() else 0.0 for column in range(len(models))),
    )


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One kind of prompts."""

    name: str
    """Empty for the rows of which nobody said what kind they are."""
    rows: int
    models: tuple[Point, ...]
    """What each model alone comes to on them; of one that was asked on none the quality is nan."""
    chosen: Point | None
    """What the dial comes to on them; None where no aim was given."""


def domains_of(outcomes: Outcomes, chosen: np.ndarray | None, name: str) -> list[Domain]:
    """The domains by their rows, most first; none where no row names one.

    Args:
        outcomes: All rows.
        chosen: (N,) the column that the dial takes for each; None where no aim was given.
        name: Of the aim.
    """
    if not any(outcomes.domains):
        return []
    found = []
    for each in sorted(set(outcomes.domains)):
        rows = np.flatnonzero(outcomes.domains == each)
        part = outcomes.take(rows)
        alone = (played_point(model, part, np.full(len(part), column)) for column, model in enumerate(part.models))
        taken = None if chosen is None else played_point(name, part, chosen[rows])
        found.append(Domain(name=each, rows=len(part), models=tuple(alone), chosen=taken))
    return sorted(found, key=lambda domain: -domain.rows)
