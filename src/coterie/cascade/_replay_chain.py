"""Chains in a replay: what asking the cheap model first would have come to, each row by what other rows teach."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._chain import FEWEST, Chains, Walked, choose_chain
from ._dial import Aim
from ._outcomes import Outcomes

_SHOWN = 12


class ChainReplay(NamedTuple):
    """Chains over all rows, from the dearest to the cheapest, and the one for the aim."""

    curve: tuple[Walked, ...]
    chosen: Walked | None
    reason: str


def can_chain(outcomes: Outcomes, folds: np.ndarray | None) -> bool:
    """Whether every model was asked on every row, said how sure it was, and has a price; and there are rows enough."""
    whole = not any(np.isnan(table).any() for table in (outcomes.scores, outcomes.costs, outcomes.confidences))
    fewest = len(outcomes) if folds is None else len(outcomes) - int(np.bincount(folds).max(initial=0))
    return whole and fewest >= 2 * FEWEST


def replay_chains(
    outcomes: Outcomes, train: Outcomes | None, *, folds: np.ndarray, aim: Aim | None, generalist: str, seed: int
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
    curve = tuple(_joined(list(each)) for each in zip(*(part.curve for part in parts), strict=True))
    chosen = None if aim is None else _joined([part.chosen for part in parts if part.chosen is not None])
    return ChainReplay(curve, chosen, parts[-1].reason)


def _walk(train: Outcomes, outcomes: Outcomes, aim: Aim | None, generalist: str, seed: int) -> ChainReplay:
    chains = Chains(train).curve()
    kept = [chains[place] for place in np.unique(np.linspace(0, len(chains) - 1, _SHOWN).round().astype(int))]
    curve = tuple(chain.walk(outcomes) for chain in kept)
    if aim is None:
        return ChainReplay(curve, None, "")
    chosen = choose_chain(aim, train, generalist=generalist, seed=seed)
    return ChainReplay(curve, chosen.chain.walk(outcomes), chosen.reason)


def _joined(parts: list[Walked]) -> Walked:
    return Walked(*(np.concatenate(each) for each in zip(*parts, strict=True)))
