"""What a remote model's tokens cost, and since when; its face is `coterie.config`."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import NamedTuple

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field

from ._section import STRICT, Money

_KEYWORDS = {"since": "from", "tokens_in": "in", "tokens_out": "out"}
_NAMES = ConfigDict(alias_generator=AliasGenerator(validation_alias=lambda name: _KEYWORDS.get(name, name)))


class TokenPrices(NamedTuple):
    """Money per million tokens, each None where it is not known."""

    tokens_in: Money | None = None
    tokens_out: Money | None = None
    cached: Money | None = None
    """Of prompt tokens that the server remembered; None counts them like the others, which is the most."""


class PriceSection(BaseModel):
    """`[[models.NAME.prices]]`: what a remote model's tokens cost from a day on, until the next such table."""

    model_config = STRICT | _NAMES

    since: date = Field()
    """The first day, in UTC: `from = 2026-01-01`."""
    tokens_in: Money = Field()
    """Money per million prompt tokens."""
    tokens_out: Money = Field()
    """Money per million generated tokens."""
    cached: Money | None = None
    """Money per million prompt tokens that the server remembered; left out, they cost what the others do."""


def prices_on(table: tuple[PriceSection, ...], day: date, *, otherwise: TokenPrices) -> TokenPrices:
    """The prices of a day: of the last table that has begun, else the ones without a date."""
    begun = [each for each in table if each.since <= day]
    if not begun:
        return otherwise
    last = max(begun, key=lambda each: each.since)
    return TokenPrices(last.tokens_in, last.tokens_out, last.cached)


def day_of(moment: float) -> date:
    """The day of a time in seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(moment, UTC).date()
