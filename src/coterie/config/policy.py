"""The `[policy]` section of `coterie.toml`."""

from __future__ import annotations

from pydantic import BaseModel, Field, model_validator

from coterie.config.section import STRICT, Money


class PolicySection(BaseModel):
    """`[policy]`: the cost-quality policy for requests that do not set one themselves."""

    model_config = STRICT

    quality: float | None = Field(default=None, ge=0, le=1)
    """Share of the generalist's quality to keep: it is asked where a specialist is less sure than that needs.

    Left out, a specialist's own threshold (`target_risk`) decides. It needs a generalist.
    """
    budget: Money | None = None
    """Money per 1,000 requests that remote models may cost in all; left out, no limit.

    It comes in with each request, and the most that a call can cost is reserved before it is made, fallbacks and
    retries included. A model whose price is unknown is not asked.
    """
    outcomes: str | None = None
    """JSONL file of recorded outcomes (docs/how-to/trade-cost-and-quality.md), the generalist among them.

    It gives the generalist's accuracy: for a specialist on the lines whose `domain` is its name, where there are 60 of
    them, else on all lines. Without outcomes the generalist is taken to be always right.
    """

    spot_checks: float = Field(default=0.0, ge=0, le=1)
    """Share of requests that are chosen at random, before they are answered, to be judged by a person.

    `coterie spotchecks` lists them and, with `--update`, lets the judgements move the accept thresholds. Other feedback
    never does: users choose what they give feedback on.
    """

    @model_validator(mode="after")
    def _one_aim(self) -> PolicySection:
        if self.quality is not None and self.budget is not None:
            raise ValueError("a policy has one aim: set either quality or budget")
        return self
