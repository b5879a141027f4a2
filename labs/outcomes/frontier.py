"""The frontier of chains and single models: for every sum of money the best policy that is shown to be one.

Chains are smooth: a little more money makes them a little better. A single model's error falls in a step, at its very
price. So a curve of chains alone may be worse just there than the model alone. Here a chain, or a coin between two
policies, takes the place of the best single model that the money pays for only where the outcomes say with confidence
that it is better: paired, and out of fold, since a chain looks best on the outcomes that it was fitted to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

import numpy as np

from labs.outcomes.chain import Chain, Chains, Confidence, Link, Walked
from labs.outcomes.table import OutcomeTable

SURE = 2.33
"""Standard errors by which a policy must be ahead of the single model: 99%, one-sided. It is the best of many, for each
of many sums of money, so 95% of its own would be far less of the whole."""
_FOLDS = 5
_STEPS = 12
"""Sums of money from one model's price to the next one's."""
_NEARLY = 0.3
"""Where so little is missing to a better model's price, a policy must be ahead of that model too: where prompts are
harder than those that it was fitted to a chain asks and costs more, and then that model is what it stands beside."""
_KNOWN = 0.05
"""So exactly the mean price of a few hundred prompts is known. So little less is no lower price."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Policy:
    """A chain, or a coin between two."""

    chain: Chain
    other: Chain | None = None
    share: float = 0.0
    """Of the prompts that go to the other one."""

    def walk(self, outcomes: OutcomeTable) -> Walked:
        """What it is expected to give on each row; whose answer that is, is drawn where there is a coin."""
        first = self.chain.walk(outcomes)
        if self.other is None:
            return first
        second, part = self.other.walk(outcomes), self.share
        drawn = np.random.default_rng(0).random(len(outcomes)) < part
        return Walked(
            (1 - part) * first.scores + part * second.scores,
            (1 - part) * first.costs + part * second.costs,
            np.where(drawn, second.last, first.last),
        )


class _Shown(NamedTuple):
    """Policies that do not toss a coin, and what they came to on outcomes that they were not fitted to."""

    chains: list[Chain]
    scores: np.ndarray  # (K, N)
    costs: np.ndarray  # (K,) mean money
    alone: dict[str, int]
    """Which of them are a single model."""


class _Coin(NamedTuple):
    """A policy among candidates: the second gets a share; -1 is none."""

    quality: float
    first: int
    second: int
    share: float


def frontier(
    outcomes: OutcomeTable, *, models: Sequence[str] | None = None, sure: float = SURE, seed: int = 0
) -> list[Policy]:
    """The policies from the cheapest model's price to the dearest's; always as many for as many models.

    Args:
        outcomes: All models asked on every row, every cost known.
        models: In the order of their prices; left out, as the outcomes say.
        sure: Standard errors by which a policy must be ahead of the best single model for the money.
        seed: Of the folds.

    Raises:
        DataError: the outcomes do not do; see `Chains`.
    """
    shown = _show(outcomes, seed)
    prices = {name: float(shown.costs[index]) for name, index in shown.alone.items()}
    order = list(models or sorted(prices, key=prices.__getitem__))
    sums = [
        prices[low] + (prices[high] - prices[low]) * step / _STEPS
        for low, high in pairwise(order)
        for step in range(_STEPS)
    ]
    return [_best(money, shown, sure) for money in (*sums, prices[order[-1]])]


def _show(outcomes: OutcomeTable, seed: int) -> _Shown:
    """Every chain of the curve and every model alone; the k-th chains of all folds are taken for the k-th of all."""
    chains = Chains(outcomes).curve()
    scores, costs = np.zeros((len(chains), len(outcomes))), np.zeros((len(chains), len(outcomes)))
    folds = np.random.default_rng(seed).permutation(len(outcomes)) % _FOLDS
    for fold in range(_FOLDS):
        held = np.flatnonzero(folds == fold)
        part = outcomes.take(held)
        for index, chain in enumerate(Chains(outcomes.take(np.flatnonzero(folds != fold))).curve()):
            scores[index, held], costs[index, held], _ = chain.walk(part)
    return _Shown(
        chains=[*chains, *map(_alone, outcomes.models)],
        scores=np.vstack([scores, outcomes.scores.T]),
        costs=np.concatenate([costs.mean(axis=1), outcomes.costs.mean(axis=0)]),
        alone={name: len(chains) + column for column, name in enumerate(outcomes.models)},
    )


def _alone(model: str) -> Chain:
    return Chain(links=(Link(model, Confidence(weights=np.zeros(3), bias=0.0), 0.0),))


def _best(money: float, shown: _Shown, sure: float) -> Policy:
    """The policy of the highest quality for some money that may take the single models' place; else one of those."""
    quality = shown.scores.mean(axis=1)
    rivals = _rivals(money, shown, quality)
    for coin in sorted(_candidates(money, shown, quality), reverse=True):
        if all(_ahead(coin, rival, shown, sure) for rival in rivals):
            return _policy(coin, shown)
    first, second = rivals[0], rivals[-1]
    if first == second:
        return Policy(chain=shown.chains[first])
    share = (money - shown.costs[first]) / (shown.costs[second] - shown.costs[first])
    return _policy(_Coin(0.0, first, second, min(1.0, max(0.0, float(share)))), shown)


def _policy(coin: _Coin, shown: _Shown) -> Policy:
    other = shown.chains[coin.second] if coin.share > 0 else None
    return Policy(chain=shown.chains[coin.first], other=other, share=coin.share)


def _rivals(money: float, shown: _Shown, quality: np.ndarray) -> list[int]:
    """The best model that the money pays for; and the best that it nearly pays for, where that is better."""

    def best(places: Iterable[int]) -> int:
        return max(places, key=lambda index: (quality[index], -shown.costs[index]))

    paid = [index for index in shown.alone.values() if shown.costs[index] <= money * (1 + _KNOWN)]
    nearly = [index for index in shown.alone.values() if shown.costs[index] <= money * (1 + _NEARLY)]
    first = best(paid or [min(shown.alone.values(), key=lambda index: shown.costs[index])])
    second = best(nearly or [first])
    return [first] if quality[second] <= quality[first] else [first, second]


def _candidates(money: float, shown: _Shown, quality: np.ndarray) -> list[_Coin]:
    """Every policy that the money pays for, and of each the best coin with one that it does not pay for."""
    low = np.flatnonzero(shown.costs <= money * (1 + _KNOWN))
    high = np.flatnonzero(shown.costs > money * (1 + _KNOWN))
    coins = [_Coin(float(quality[position]), int(position), -1, 0.0) for position in low]
    for index in low if len(high) else []:
        # What costs a hair more than the money is paid for too: then nothing is left for the other one.
        share = max(0.0, money - shown.costs[index]) / (shown.costs[high] - shown.costs[index])
        mixed = quality[index] + (quality[high] - quality[index]) * share
        best = int(mixed.argmax())
        coins.append(_Coin(float(mixed[best]), int(index), int(high[best]), float(share[best])))
    return coins


def _ahead(coin: _Coin, rival: int, shown: _Shown, sure: float) -> bool:
    """Whether it is the rival, or a coin with it, or better on the same rows, with confidence."""
    if (coin.first == rival and coin.share == 0) or coin.second == rival:
        return True  # with one that the money does not pay for, a coin costs less than that alone, whatever comes
    scores = (1 - coin.share) * shown.scores[coin.first] + coin.share * shown.scores[coin.second]
    gain = scores - shown.scores[rival]
    return bool(gain.mean() >= sure * gain.std() / sqrt(len(gain)))
