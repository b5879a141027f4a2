"""What quality costs: a curve of policies, and what it is worth beside doing without one.

The two-model figures are those of RouteLLM (Ong et al. 2024, arXiv 2406.18665, section 4.1): `apgr`, the share of the
gap between the weak and the strong model that is recovered, averaged over all shares of strong calls; `cpt`, the share
of strong calls that recovers a given part of the gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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


def area_under_error(points: Sequence[tuple[float, float]], low: float, high: float, *, steps: int = 400) -> float:
    """Mean error between two costs, where a policy between two points is a coin thrown between them.

    Args:
        points: (cost, quality) of policies, in any order. None is dropped for being worse than a cheaper one.
        low: Cheapest cost that counts.
        high: Dearest.
        steps: Costs at which it is measured.
    """
    ordered = sorted(points)
    costs, errors = [cost for cost, _ in ordered], [1.0 - quality for _, quality in ordered]
    return float(np.interp(np.linspace(low, high, steps), costs, errors).mean())


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
