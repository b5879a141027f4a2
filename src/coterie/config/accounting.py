"""The section of energy and money; its face is `coterie.config`."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, model_validator

from coterie.config.section import STRICT, Money


class AccountingSection(BaseModel):
    """`[accounting]`: how energy and money are estimated."""

    model_config = STRICT

    watts_per_core: float = Field(default=10.0, gt=0, le=1000)
    """Power of one busy CPU core in watts, with its share of the machine; used where the machine has no meter."""
    energy_meter: bool = True
    """Read the processor's own energy counter (RAPL) where there is one and it may be read."""
    price_per_cpu_hour: Money | None = None
    """Money for one CPU core for an hour; leave out when unknown."""
    price_per_machine_hour: Money | None = None
    """In its place: money for the whole machine for an hour, busy or not. It needs `utilisation`."""
    utilisation: float | None = Field(default=None, gt=0, le=1)
    """Share of its cores' time that the machine is expected to be busy: the hours it waits are paid by those it works.

    `coterie report` shows what it was.
    """
    cores: int | None = Field(default=None, ge=1, le=4096)
    """Cores of the machine; left out, as many as there are."""
    grams_co2_per_kwh: float | None = Field(default=None, ge=0, le=2000)
    """Carbon intensity of the grid, in grams of CO2 equivalent a kilowatt-hour; left out, no grams are shown."""
    currency: str = "USD"
    """Shown beside amounts; every price of the file is in it."""

    @model_validator(mode="after")
    def _priced_once(self) -> AccountingSection:
        if self.price_per_machine_hour is not None:
            if self.price_per_cpu_hour is not None:
                raise ValueError("give price_per_cpu_hour or price_per_machine_hour, not both")
            if self.utilisation is None:
                raise ValueError(
                    "price_per_machine_hour needs `utilisation`: without it the hours that the machine waits "
                    "would be paid by nobody"
                )
        return self

    def cpu_hour(self, cores: int) -> Decimal | None:
        """Money for a busy core for an hour, on a machine of so many cores; None when it is not known."""
        if self.price_per_machine_hour is None or self.utilisation is None:
            return self.price_per_cpu_hour
        return self.price_per_machine_hour / (Decimal(self.cores or cores) * Decimal(str(self.utilisation)))


# --- What a remote model's tokens cost, and since when; its face is `coterie.config`.

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
