"""What every section of `coterie.toml` is made of; their face is `coterie.config`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Money = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of the file: unknown keys are refused, and what was read does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)
