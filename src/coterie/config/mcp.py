"""`[mcp.NAME]`: a Model Context Protocol server whose tools specialists call, through the egress gate."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field, PlainValidator, field_validator, model_validator

from coterie.config.accounting import TokenPrices
from coterie.config.section import STRICT, EnvSecret, Money, name_secret, no_credentials
from coterie.types import Label

_MILLION = Decimal(1_000_000)


class McpSection(BaseModel):
    """`[mcp.NAME]`: a Model Context Protocol server, given by a command or by an address."""

    model_config = STRICT

    command: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Program and arguments of a server that is started here and reached over standard input and output."""
    env: dict[str, Annotated[EnvSecret, PlainValidator(name_secret)]] = {}
    """Environment variables of that program, each as `env:NAME` of the variable that holds its value."""
    url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """Address of a server over streamable HTTP, in place of `command`."""
    api_key: Annotated[EnvSecret, PlainValidator(name_secret)] | None = None
    """`env:NAME` of the bearer token for the address; leave out where none is needed."""
    tools: tuple[str, ...] | None = None
    """Names of the tools that may be called; by default, all tools of the server."""
    clearance: Label = Label.PUBLIC
    """The most sensitive label that the arguments of a call may have in clear."""
    pseudonymise: bool = False
    """Send arguments that are above the clearance only because of personal data, with pseudonyms in its place."""
    label: Label | None = None
    """Sensitivity of the results; by default, the network's default label. Personal data in a result raises it."""
    timeout: float = Field(default=30.0, gt=0, le=600)
    """Seconds to wait for a result, and for the server to start."""
    most_characters: int = Field(default=20_000, ge=100, le=1_000_000)
    """Longest result that the model sees, in characters; a longer one is cut, with a note."""
    price_per_call: Money | None = None
    """Money per call; leave out when unknown. A budget of money refuses a server whose price is unknown."""
    joules_per_call: float = Field(default=0.0, ge=0)
    """Energy per call in joules, as an estimate."""

    _holds_no_secret = field_validator("url")(lambda url: url and no_credentials(url))

    @model_validator(mode="after")
    def _is_one_server(self) -> McpSection:
        if bool(self.command) == (self.url is not None):
            raise ValueError("a server has `command` or `url`, one of the two")
        if self.url is None and self.api_key is not None:
            raise ValueError("api_key goes with `url`; a command gets its secrets by `env`")
        if self.url is not None and self.env:
            raise ValueError("env goes with `command`")
        return self

    def prices_at(self, moment: float | None = None) -> TokenPrices:  # noqa: ARG002 - as `RemoteModel.prices_at`
        """Return the price of a call as the price of the one token that it is counted as."""
        price = self.price_per_call
        return TokenPrices(None, None) if price is None else TokenPrices(Decimal(0), price * _MILLION)
