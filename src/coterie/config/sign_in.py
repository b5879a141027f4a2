"""The section of who signs people in; its face is `coterie.config`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PlainValidator

from coterie.config.section import STRICT, EnvSecret, name_secret


class OidcSection(BaseModel):
    """`[oidc]`: people sign in at an OpenID Connect provider; programs keep their keys."""

    model_config = STRICT

    issuer: str = Field(pattern=r"^https://[^\s?#]+$|^http://(127\.0\.0\.1|localhost)(:\d+)?(/[^\s?#]*)?$")
    """The provider's address, as its tokens name it; below it is `/.well-known/openid-configuration`."""
    client_id: str = Field(min_length=1)
    """Ours, as the provider knows it."""
    client_secret: Annotated[EnvSecret, PlainValidator(name_secret)]
    """`env:NAME` of the secret that the provider gave for it."""
    address: str = Field(pattern=r"^https://[^\s?#]+$|^http://(127\.0\.0\.1|localhost)(:\d+)?$")
    """Where people reach the gateway; the provider is told to send them back to `/auth/oidc/callback` below it."""
    claim: str = "groups"
    """The claim of the identity token whose values say what somebody may do."""
    roles: dict[str, Literal["admin", "operator", "member", "auditor"]]
    """Values of that claim, each with a role; of several the first counts. Who has none of them is not let in."""
    tenant: str = "default"
    """Whose requests, sessions and traces they see."""
