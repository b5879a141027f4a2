"""Chains in a replay: what asking the cheap model first would have come to, each row by what other rows teach.

The frontier of chains and single models is played the same way, where it is wanted: it takes six times as long.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from coterie.errors import DataError
from coterie.policy.cost_quality import Aim
from labs.outcomes.chain import FEWEST, Chains, Walked, choose_chain
from labs.outcomes.curve import worst_excess
from labs.outcomes.frontier import Policy, frontier
from labs.outcomes.table import OutcomeTable

_SHOWN = 12


class ChainReplay(NamedTuple):
    """Chains over all rows, from the dearest to the cheapest, and the one for the aim."""

    curve: tuple[Walked, ...]
    chosen: Walked | None
    reason: str


def can_chain(outcomes: OutcomeTable, folds: np.ndarray | None) -> bool:
    """Whether every model was asked on every row, said how sure it was, and has a price; and there are rows enough."""
    whole = not any(np.isnan(table).any() for table in (outcomes.scores, outcomes.costs, outcomes.confidences))
    fewest = len(outcomes) if folds is None else len(outcomes) - int(np.bincount(folds).max(initial=0))
    return whole and fewest >= 2 * FEWEST


def replay_chains(
    outcomes: OutcomeTable,
    train: OutcomeTable | None,
    *,
    folds: np.ndarray,
    aim: Aim | None,
    generalist: str,
    seed: int,
) -> ChainReplay:
    """Walk every row by chains of the training rows, or of the other folds: the k-th chains of all folds are one."""
    if train is not None:
        return _walk(train, outcomes, aim, generalist, seed)
    parts, order = [], []
    for fold in np.unique(folds):
        held = np.flatnonzero(folds == fold)
        parts.append(_walk(outcomes.take(np.flatnonzero(folds != fold)), outcomes.take(held), aim, generalist, seed))
        order.append(held)
    # Sums and means do not depend on the rows' order, so it is left as the folds came.
    curve = tuple(_joined(list(walks)) for walks in zip(*(part.curve for part in parts), strict=True))
    chosen = None if aim is None else _joined([part.chosen for part in parts if part.chosen is not None])
    return ChainReplay(curve, chosen, parts[-1].reason)


def _walk(train: OutcomeTable, outcomes: OutcomeTable, aim: Aim | None, generalist: str, seed: int) -> ChainReplay:
    chains = Chains(train).curve()
    kept = [chains[index] for index in np.unique(np.linspace(0, len(chains) - 1, _SHOWN).round().astype(int))]
    curve = tuple(chain.walk(outcomes) for chain in kept)
    if aim is None:
        return ChainReplay(curve, None, "")
    chosen = choose_chain(aim, train, generalist=generalist, seed=seed)
    return ChainReplay(curve, chosen.chain.walk(outcomes), chosen.reason)


def _joined(parts: list[Walked]) -> Walked:
    return Walked(*(np.concatenate(column) for column in zip(*parts, strict=True)))


# --- The frontier --------------------------------------------------------------------------------


class FrontierReplay(NamedTuple):
    """The frontier over all rows, from the cheapest policy on, and the policy for a budget."""

    curve: tuple[Walked, ...]
    chosen: Walked | None
    reason: str
    excess: float
    """The most by which it is behind the best single model at equal cost; below 0 where it is ahead everywhere."""


def check_frontier(outcomes: OutcomeTable, train: OutcomeTable | None, folds: np.ndarray | None) -> None:
    """Refuse outcomes that no frontier can be fitted to. Raises `DataError`, which says what is missing."""
    for outcome_table, what, dealt in (
        (outcomes, "the file", None if train else folds),
        (train, "the training file", None),
    ):
        if outcome_table is None or can_chain(outcome_table, dealt):
            continue
        tables = (
            ("score", outcome_table.scores),
            ("cost", outcome_table.costs),
            ("confidence", outcome_table.confidences),
        )
        gaps = [
            f"{model!r} has no {name} on {int(np.isnan(column).sum()):,}"
            for name, table in tables
            for model, column in zip(outcome_table.models, table.T, strict=True)
            if np.isnan(column).any()
        ]
        gap_text = (
            f"of the {len(outcome_table):,} rows of {what} {'; '.join(gaps)}"
            if gaps
            else f"{what} has {len(outcome_table):,} rows"
        )
        raise DataError(
            f"The frontier needs every model's score, cost and confidence on every row, and {2 * FEWEST} rows to learn "
            f"from; {gap_text}.",
            hint="Record what is missing, or leave --frontier out.",
        )


def replay_frontier(
    outcomes: OutcomeTable, train: OutcomeTable | None, *, folds: np.ndarray, aim: Aim | None, seed: int
) -> FrontierReplay:
    """Walk every row by the frontier of the training rows, or of the other folds: the k-th policies of all are one.

    The best single models at each cost are those that the training file says; without one those of all rows, which
    favours them.
    """
    learned_from = train or outcomes
    # Prices alone are looked at over all rows, so that the k-th policies of all folds belong together.
    models = [learned_from.models[column] for column in np.argsort(learned_from.costs.mean(axis=0), kind="stable")]
    pairs = [(learned_from, np.arange(len(outcomes)))]
    if train is None:
        pairs = [
            (outcomes.take(np.flatnonzero(folds != fold)), np.flatnonzero(folds == fold)) for fold in np.unique(folds)
        ]
    curves, chosen, reason = [], [], ""
    for learned, held in pairs:
        part, policies = outcomes.take(held), frontier(learned, models=models, seed=seed)
        curves.append([policy.walk(part) for policy in policies])
        if aim is not None and aim.budget is not None:
            taken, reason = _for_budget(policies, learned, float(aim.budget) / 1000)
            chosen.append(taken.walk(part))
    whole = outcomes if train is not None else outcomes.take(np.concatenate([held for _, held in pairs]))
    curve = tuple(_joined(list(walks)) for walks in zip(*curves, strict=True))
    points = [(float(walk.costs.mean()), float(walk.scores.mean())) for walk in curve]
    excess = worst_excess(points, _singles(learned_from, whole))
    return FrontierReplay(curve, _joined(chosen) if chosen else None, reason, excess)


def _for_budget(policies: list[Policy], learned: OutcomeTable, money: float) -> tuple[Policy, str]:
    """The dearest policy that the money pays for on the rows it was learned from, and why."""
    spent = [float(policy.walk(learned).costs.mean()) for policy in policies]
    paid = [index for index, cost in enumerate(spent) if cost <= money]
    if not paid:
        cheapest = int(np.argmin(spent))
        return policies[
            cheapest
        ], f"no policy costs less than {1000 * spent[cheapest]:.4g} per 1,000; it is above the budget"
    best = max(paid, key=lambda index: spent[index])
    return policies[best], f"{1000 * spent[best]:.4g} per 1,000 on {len(learned):,} outcomes"


def _singles(learned: OutcomeTable, played: OutcomeTable) -> list[tuple[float, float]]:
    """Cost and quality, where they are played, of each model that is better than all cheaper ones where it is known."""
    return [
        (float(played.costs[:, column].mean()), float(played.scores[:, column].mean()))
        for column in learned.undominated()
    ]
