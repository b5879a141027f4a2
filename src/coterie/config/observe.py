"""The section of what is told to other systems; its face is `coterie.config`."""

from __future__ import annotations

from pydantic import BaseModel, Field, field_validator

from coterie.config.section import STRICT, no_credentials


class ObserveSection(BaseModel):
    """`[observe]`: who is told of every request, beside the ledger."""

    model_config = STRICT

    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """Where spans go by OTLP over HTTP, such as `http://localhost:4318/v1/traces`; left out, nowhere.

    Names and figures only, never what was asked or answered. Headers, such as a key, are taken from the environment
    variable `OTEL_EXPORTER_OTLP_HEADERS`. It needs `coterie[otel]`.
    """

    @field_validator("otlp_endpoint")
    @classmethod
    def _holds_no_secret(cls, address: str | None) -> str | None:
        try:
            return address if address is None else no_credentials(address)
        except ValueError:
            raise ValueError("it has a user or a password in it; set OTEL_EXPORTER_OTLP_HEADERS instead") from None
