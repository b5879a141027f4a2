"""The section of a budget; its face is `coterie.config`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from coterie.config.section import STRICT, Money


class BudgetSection(BaseModel):
    """`[budgets.NAME]`: a limit that holds before anything is spent."""

    model_config = STRICT

    per: Literal["minute", "hour", "day", "month", "ever"] = "day"
    """What it is a limit for: any `minute` or `hour`, wherever it begins (a rate limit), or one day or month in UTC."""
    tenant: str | None = None
    """Only for this tenant's requests."""
    key: str | None = Field(default=None, pattern=r"^[a-z0-9]{8}$")
    """Only for requests with the key of this id, as `coterie keys list` shows it; its name is none."""
    each: Literal["tenant", "key"] | None = None
    """Every tenant, or every key, has a budget of its own of this size; left out, all share one."""
    requests: int | None = Field(default=None, ge=0)
    """Requests that are taken."""
    tokens: int | None = Field(default=None, ge=0)
    """Tokens of remote models, prompts and answers."""
    money: Money | None = None
    """Money for remote models. A model whose price is unknown is not asked under it."""
    joules: float | None = Field(default=None, ge=0, le=1e12)
    """Energy of whole requests, of what runs here and of remote models, measured or estimated."""
    reserve: float = Field(default=50.0, gt=0, le=1e9)
    """Joules that are reserved for a request until one has taken more; then as much as the dearest so far took."""

    @model_validator(mode="after")
    def _limits_something(self) -> BudgetSection:
        if {self.requests, self.tokens, self.money, self.joules} == {None}:
            raise ValueError("it limits nothing: set `requests`, `tokens`, `money` or `joules`")
        return self

    @model_validator(mode="after")
    def _takes_one_request(self) -> BudgetSection:
        if self.joules is not None and self.joules < self.reserve:
            raise ValueError(
                f"`joules` is {self.joules:g}, less than the {self.reserve:g} that `reserve` holds for a request: none "
                "would be taken. Lower `reserve`"
            )
        return self
