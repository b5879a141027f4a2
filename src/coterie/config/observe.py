"""The section of what is told to other systems; its face is `coterie.config`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from coterie.config.section import STRICT


class ObserveSection(BaseModel):
    """`[observe]`: who is told of every request, beside the ledger."""

    model_config = STRICT

    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """Where spans go by OTLP over HTTP, such as `http://localhost:4318/v1/traces`; left out, nowhere.

    Names and figures only, never what was asked or answered. Headers, such as a key, are taken from the environment
    variable `OTEL_EXPORTER_OTLP_HEADERS`. It needs `coterie[otel]`.
    """
