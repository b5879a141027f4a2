"""The section of the dial; its face is `coterie.config`."""

from __future__ import annotations

from pydantic import BaseModel, Field, model_validator

from coterie.config.section import STRICT, Money


class CascadeSection(BaseModel):
    """`[cascade]`: the dial between quality and money, for requests that do not set it themselves."""

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
    """JSONL file of recorded outcomes (docs/cascade.md) with the generalist's `[models]` key among the models.

    It says how often the generalist is right, for a specialist on the lines whose `domain` is its name, where there are
    60 of them; without outcomes it is taken to be always right.
    """

    spot_checks: float = Field(default=0.0, ge=0, le=1)
    """Share of requests that a coin chooses, before they are answered, to be judged by a person.

    `coterie spotchecks` lists them and, with `--update`, lets what was said of them move the dial. Other feedback never
    does: who gives it chooses what is known.
    """

    @model_validator(mode="after")
    def _one_aim(self) -> CascadeSection:
        if self.quality is not None and self.budget is not None:
            raise ValueError("the dial has one aim: set either quality or budget")
        return self
