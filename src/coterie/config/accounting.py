"""The `[accounting]` section, on energy and money; import its classes from `coterie.config`."""

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
    """Power of one busy CPU core in watts, including its share of the machine; used where the machine has no meter."""
    energy_meter: bool = True
    """Read the processor's own energy counter (RAPL) where it exists and is readable."""
    price_per_cpu_hour: Money | None = None
    """Money for one CPU core for an hour; leave out when unknown."""
    price_per_machine_hour: Money | None = None
    """Money for the whole machine per hour, busy or not, in place of `price_per_cpu_hour`. It needs `utilisation`."""
    utilisation: float | None = Field(default=None, gt=0, le=1)
    """Expected share of busy time of the machine's cores: the price of idle hours is spread over busy ones.

    `coterie report` shows the actual share.
    """
    cores: int | None = Field(default=None, ge=1, le=4096)
    """Cores of the machine; by default, its actual number."""
    grams_co2_per_kwh: float | None = Field(default=None, ge=0, le=2000)
    """Carbon intensity of the grid, in grams of CO2 equivalent per kilowatt-hour; without it, no grams are shown."""
    currency: str = "USD"
    """Currency of every price in the file; shown beside amounts."""

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
        """Return the money for a busy core for an hour, on a machine with this number of cores; None when unknown."""
        if self.price_per_machine_hour is None or self.utilisation is None:
            return self.price_per_cpu_hour
        return self.price_per_machine_hour / (Decimal(self.cores or cores) * Decimal(str(self.utilisation)))


# --- What a remote model's tokens cost, and since when; its face is `coterie.config`.

_KEYWORDS = {"since": "from", "tokens_in": "in", "tokens_out": "out"}
_NAMES = ConfigDict(alias_generator=AliasGenerator(validation_alias=lambda name: _KEYWORDS.get(name, name)))


class TokenPrices(NamedTuple):
    """Money per million tokens; None for an unknown price."""

    tokens_in: Money | None = None
    tokens_out: Money | None = None
    cached: Money | None = None
    """Price of prompt tokens that the server had cached; None counts them like the others, the upper bound."""


class PriceSection(BaseModel):
    """`[[models.NAME.prices]]`: prices of a remote model's tokens from a day on, until the next such table."""

    model_config = STRICT | _NAMES

    since: date = Field()
    """The first day of these prices, in UTC: `from = 2026-01-01`."""
    tokens_in: Money = Field()
    """Money per million prompt tokens."""
    tokens_out: Money = Field()
    """Money per million generated tokens."""
    cached: Money | None = None
    """Money per million prompt tokens that the server had cached; by default, as much as other prompt tokens."""


def prices_on(table: tuple[PriceSection, ...], day: date, *, otherwise: TokenPrices) -> TokenPrices:
    """Return the prices of a day: those of the last table that has begun, else those without a date."""
    begun = [price for price in table if price.since <= day]
    if not begun:
        return otherwise
    last = max(begun, key=lambda price: price.since)
    return TokenPrices(last.tokens_in, last.tokens_out, last.cached)


def day_of(moment: float) -> date:
    """Return the day of a time in seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(moment, UTC).date()
