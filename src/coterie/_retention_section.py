"""The section on how long content is kept; its face is `coterie.config`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from ._section import STRICT


class RetentionSection(BaseModel):
    """`[retention]`: how long what people said is kept. Figures of the ledger stay."""

    model_config = STRICT

    days: float | None = Field(default=None, gt=0, le=36_500)
    """Traces, and what else is kept about a request, are deleted after so many days; sessions not used for as long too.

    Left out, traces stay until they are erased, and sessions as `session_days` of `[store]` says. Within the hour, by
    whatever has the network open; also the names of sessions in the ledger go.
    """
