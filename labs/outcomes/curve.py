"""What quality costs: a curve of policies, and what it is worth beside doing without one.

The two-model figures are those of RouteLLM (Ong et al. 2024, arXiv 2406.18665, section 4.1): `apgr`, the share of the
gap between the weak and the strong model that is recovered, averaged over all shares of strong calls; `cpt`, the share
of strong calls that recovers a given part of the gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coterie.policy.cost_quality import mean_interval
from labs.outcomes.chain import Walked
from labs.outcomes.table import OutcomeTable


@dataclass(frozen=True, kw_only=True)
class Point:
    """One policy on some recorded rows."""

    name: str
    quality: float
    """Mean score."""
    per_1000: float | None
    """Money per 1,000 prompts; None where a cost of it is unknown."""
    interval: tuple[float, float] | None = None
    """95% interval of the quality."""
    shares: tuple[float, ...] = ()
    """Share of the prompts that each model answered last."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How well an order of prompts spends calls of the strong one of two models."""

    apgr: float
    cpt50: float
    cpt80: float
    strong_for_95: float
    """Share of strong calls that gives 95% of the strong model's quality."""


def recovery(gain: np.ndarray, weak: np.ndarray, strong: np.ndarray) -> Recovery:
    """The figures of an order, exact over all shares of strong calls.

    Args:
        gain: (N,) predicted advantage of the strong model; the highest are sent to it first.
        weak: (N,) the weak model's scores.
        strong: (N,) the strong model's.
    """
    order = np.argsort(-np.asarray(gain), kind="stable")
    n = len(order)
    steps = np.concatenate([[0.0], np.cumsum((strong - weak)[order])])
    quality = (weak.sum() + steps) / n
    recovered = (quality - quality[0]) / (quality[-1] - quality[0])
    share = np.arange(n + 1) / n

    def first(reached: np.ndarray) -> float:
        return float(share[int(np.argmax(reached))])

    return Recovery(
        apgr=float(np.trapezoid(recovered, share)),
        cpt50=first(recovered >= 0.5),
        cpt80=first(recovered >= 0.8),
        strong_for_95=first(quality >= 0.95 * quality[-1]),
    )


def worst_excess(
    points: Sequence[tuple[float, float]], singles: Sequence[tuple[float, float]], *, steps: int = 400
) -> float:
    """The most by which a curve of policies is behind the best single model that the same money pays for.

    Args:
        points: (cost, quality) of the curve's policies; between two of them a coin is thrown.
        singles: (cost, quality) of models, each taken to be better than those before it. Nothing lies between them.
        steps: Costs at which it is measured, from the lowest to the dearest of the models.
    """
    prices = np.array([cost for cost, _ in singles])
    grid = np.linspace(prices.min(), prices.max(), steps)
    ordered = sorted(points)
    ours = np.interp(grid, [cost for cost, _ in ordered], [quality for _, quality in ordered])
    paid = np.maximum((grid[:, None] >= prices - 1e-15).cumsum(axis=1).argmax(axis=1), 0)
    return float((np.array([quality for _, quality in singles])[paid] - ours).max())


# --- Points of recorded rows ---------------------------------------------------------------------


def played_point(name: str, outcomes: OutcomeTable, chosen: np.ndarray) -> Point:
    """What a choice of columns came to; a row where the chosen model was not asked does not count."""
    rows = np.arange(len(chosen))
    given = Walked(outcomes.scores[rows, chosen], outcomes.costs[rows, chosen], chosen)
    return walked_point(name, given, outcomes.models)


def walked_point(name: str, given: Walked, models: Sequence[str]) -> Point:
    """Return what a policy came to by what it gave on each row."""
    is_known = ~np.isnan(given.scores) & (given.last >= 0)
    scores, costs, last = (column[is_known] for column in given)
    unpriced = np.isnan(costs).any()
    return Point(
        name=name,
        quality=float(scores.mean()) if is_known.any() else float("nan"),
        per_1000=None if unpriced else 1000 * float(costs.mean()),
        interval=mean_interval(scores),
        shares=tuple(float((last == column).mean()) if is_known.any() else 0.0 for column in range(len(models))),
    )


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One kind of prompts."""

    name: str
    """Empty for rows without a domain."""
    rows: int
    models: tuple[Point, ...]
    """What each model alone comes to on them; of one that was asked on none the quality is nan."""
    chosen: Point | None
    """What the routing policy comes to on them; None where no aim was given."""


def domains_of(outcomes: OutcomeTable, chosen: np.ndarray | None, name: str) -> list[Domain]:
    """The domains by their rows, most first; none where no row names one.

    Args:
        outcomes: All rows.
        chosen: (N,) the column that the routing policy takes for each; None where no aim was given.
        name: Of the aim.
    """
    if not any(outcomes.domains):
        return []
    domains = []
    for domain_name in sorted(set(outcomes.domains)):
        rows = np.flatnonzero(outcomes.domains == domain_name)
        part = outcomes.take(rows)
        alone = (played_point(model, part, np.full(len(part), column)) for column, model in enumerate(part.models))
        taken = None if chosen is None else played_point(name, part, chosen[rows])
        domains.append(Domain(name=domain_name, rows=len(part), models=tuple(alone), chosen=taken))
    return sorted(domains, key=lambda domain: -domain.rows)
