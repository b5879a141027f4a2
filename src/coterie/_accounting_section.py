"""The section of energy and money; its face is `coterie.config`."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, Field, model_validator

from ._section import STRICT, Money


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
