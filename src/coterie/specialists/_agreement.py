"""How far a prompted model's answer is to be believed.

What a model says of its own certainty is worth little, and many servers do not say it. So the answer is held against
what is known without the model: do the training texts nearest to this one have that label, and how near are they?
Where the server gives the answer's probability, it counts too. A logistic regression, fitted on rows with known labels,
makes a probability of these signs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SIGNS = ("vote", "lead", "cosine", "logprob", "length")
"""The label's share of the neighbours' votes, that share less the best other one's, the nearest neighbour's cosine,
the log-probability of the answer's text (of a written one, a token's on average), and the logarithm of its length."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A fitted logistic regression over some of the signs."""

    weights: Mapping[str, float]
    """By sign."""
    usual: Mapping[str, float]
    """Each sign's mean over the rows it was fitted on: what stands for one that is missing."""
    bias: float

    def __post_init__(self) -> None:
        if not set(self.weights) <= set(SIGNS) or self.weights.keys() != self.usual.keys():
            raise ValueError(f"its signs are {sorted(self.weights)} and {sorted(self.usual)}, of {list(SIGNS)}")
        for number in (self.bias, *self.weights.values(), *self.usual.values()):
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise ValueError(f"{number!r} is no finite number")

    def confidence(self, signs: Mapping[str, float]) -> float:
        """The probability that an answer with these signs is right."""
        odds = self.bias + sum(
            weight * signs.get(name, self.usual[name]) for name, weight in sorted(self.weights.items())
        )
        return 0.5 * (1.0 + math.tanh(odds / 2.0))

    @classmethod
    def restore(cls, described: Mapping[str, Any]) -> Agreement:
        """From what a stored version says."""
        return cls(weights=dict(described["weights"]), usual=dict(described["usual"]), bias=described["bias"])


def read_signs(
    label: str, shares: Mapping[str, float], cosines: Sequence[float], logprob: float | None
) -> dict[str, float]:
    """The signs of one answer; a logprob that is not known is left out.

    Args:
        label: What the model said.
        shares: Each label's share of the neighbours' votes.
        cosines: Of the neighbours, nearest first.
        logprob: Of the answer's text.
    """
    mine = shares.get(label, 0.0)
    best_other = max((share for name, share in shares.items() if name != label), default=0.0)
    signs = {"vote": mine, "lead": mine - best_other, "cosine": cosines[0] if cosines else 0.0}
    return signs if logprob is None else {**signs, "logprob": logprob}
