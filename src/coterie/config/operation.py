"""Operation of a network: budgets, the generalist, the policy, privacy and retention, tracing, sign-in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PlainValidator, field_validator, model_validator

from coterie.config.section import STRICT, EnvSecret, Money, name_secret, no_credentials


class BudgetSection(BaseModel):
    """`[budgets.NAME]`: a limit that is checked before anything is spent."""

    model_config = STRICT

    per: Literal["minute", "hour", "day", "month", "ever"] = "day"
    """Period of the limit: any `minute` or `hour`, wherever it begins (a rate limit), or one day or month in UTC."""
    tenant: str | None = None
    """Apply only to requests of this tenant."""
    key: str | None = Field(default=None, pattern=r"^[a-z0-9]{8}$")
    """Apply only to requests with the key of this id, as shown by `coterie keys list`; a key's name is not accepted."""
    each: Literal["tenant", "key"] | None = None
    """Give every tenant, or every key, its own budget of this size; by default, all share one."""
    requests: int | None = Field(default=None, ge=0)
    """Number of requests that are accepted."""
    tokens: int | None = Field(default=None, ge=0)
    """Tokens of remote models, prompts and answers together."""
    money: Money | None = None
    """Money for remote models. A model with an unknown price is not asked under such a budget."""
    joules: float | None = Field(default=None, ge=0, le=1e12)
    """Energy of whole requests in joules, on this machine and of remote models, measured or estimated."""
    reserve: float = Field(default=50.0, gt=0, le=1e9)
    """Joules reserved for a request until a request has used more; then the largest energy so far."""

    @model_validator(mode="after")
    def _limits_something(self) -> BudgetSection:
        if {self.requests, self.tokens, self.money, self.joules} == {None}:
            raise ValueError("it limits nothing: set `requests`, `tokens`, `money` or `joules`")
        return self

    @model_validator(mode="after")
    def _takes_one_request(self) -> BudgetSection:
        if self.joules is not None and self.joules < self.reserve:
            raise ValueError(
                f"`joules` is {self.joules:g}, less than the {self.reserve:g} that `reserve` holds for a request: none "
                "would be taken. Lower `reserve`"
            )
        return self


class GeneralistSection(BaseModel):
    """`[generalist]`: the large model, used only for requests that the small models cannot answer."""

    model_config = STRICT

    model: str
    """Key of the generalist's `[models]` entry."""
    escalate: bool = True
    """Ask the generalist when a specialist abstains. Off, it is only the baseline of `coterie report`."""
    escalate_out_of_scope: bool = False
    """Also ask the generalist for requests that belong to no specialist."""
    history: bool = False
    """Also send the conversation to the generalist, verbatim. Off, it gets the results of the small models only."""
    synthesise: bool = False
    """Let the generalist write one text from several findings, which costs a call; off, they are joined here."""
    fallback: tuple[str, ...] = ()
    """Keys of `[models]` entries that are asked in this order when the generalist fails."""
    hedge_after: float | None = Field(default=None, gt=0, le=600)
    """Seconds without output after which the model is asked a second time, or the next of `fallback` concurrently.

    The first response is used. Set it near the 95th percentile of the time to the first token: then one call in
    twenty is doubled.
    """
    deadline: float = Field(default=60.0, gt=0, le=3600)
    """Seconds that one request may spend on the generalist, retries and fallbacks included."""
    rounds: int = Field(default=2, ge=1, le=10)
    """Most rounds of planning and concluding for a question about a document."""
    jobs: int = Field(default=8, ge=1, le=64)
    """Most short questions that small models answer for a question about a document, over all rounds."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens after which the generalist is not asked again for a question about a document; by default, no limit."""
    money: Money | None = None
    """Money after which it is not asked again for a question about a document; by default, no limit.

    It applies where the price is known.
    """


class ObserveSection(BaseModel):
    """`[observe]`: where figures of every request are sent, beside the ledger."""

    model_config = STRICT

    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """Address for spans by OTLP over HTTP, such as `http://localhost:4318/v1/traces`; by default, none are sent.

    Names and figures only, never the content of questions and answers. Headers, such as a key, are taken from the
    environment variable `OTEL_EXPORTER_OTLP_HEADERS`. It needs `coterie[otel]`.
    """

    @field_validator("otlp_endpoint")
    @classmethod
    def _holds_no_secret(cls, address: str | None) -> str | None:
        return address and no_credentials(address, instead="set OTEL_EXPORTER_OTLP_HEADERS")


class PolicySection(BaseModel):
    """`[policy]`: the cost-quality policy for requests that set none themselves."""

    model_config = STRICT

    quality: float | None = Field(default=None, ge=0, le=1)
    """Share of the generalist's quality to keep: it is asked where a specialist's confidence is too low for that.

    By default, a specialist's own threshold (`target_risk`) decides. It needs a generalist.
    """
    budget: Money | None = None
    """Money per 1,000 requests that remote models may cost in total; by default, no limit.

    The allowance grows with each request, and the largest possible cost of a call is reserved before it is made,
    fallbacks and retries included. A model with an unknown price is not asked.
    """
    outcomes: str | None = None
    """JSONL file of recorded outcomes (docs/how-to/trade-cost-and-quality.md), including the generalist's.

    It gives the generalist's accuracy: for a specialist on the lines whose `domain` is its name, where there are 60 of
    them, else on all lines. Without outcomes the generalist is assumed to be always right.
    """

    spot_checks: float = Field(default=0.0, ge=0, le=1)
    """Share of requests that are chosen at random, before they are answered, to be judged by a person.

    `coterie spotchecks` lists them and, with `--update`, lets the judgements move the accept thresholds. Other feedback
    never does: users choose what they give feedback on.
    """

    @model_validator(mode="after")
    def _one_aim(self) -> PolicySection:
        if self.quality is not None and self.budget is not None:
            raise ValueError("a policy has one aim: set either quality or budget")
        return self


class PrivacySection(BaseModel):
    """`[privacy]`: the detector of personal data and secrets in texts."""

    model_config = STRICT

    detector: str = "patterns"
    """Name of the detector: `patterns` finds numbers with check digits, telephones, internet addresses, secrets.

    `names` also finds names, places, organisations and postal addresses, with a small model that ships with Coterie:
    a request that names a person is then confidential, and takes some milliseconds more. `presidio` joins the patterns
    with Microsoft Presidio (`coterie[presidio]`). An installed package may add others.
    """


class RetentionSection(BaseModel):
    """`[retention]`: how long content is kept. Figures of the ledger stay."""

    model_config = STRICT

    days: float | None = Field(default=None, gt=0, le=36_500)
    """Days after which traces and other content of a request, and unused sessions, are deleted.

    By default, traces stay until they are erased, and sessions as long as `session_days` of `[store]` sets. The
    content is deleted within the hour, by any process that has the network open; names of sessions in the ledger are
    deleted too.
    """


class OidcSection(BaseModel):
    """`[oidc]`: people sign in at an OpenID Connect provider; programs still use keys."""

    model_config = STRICT

    issuer: str = Field(pattern=r"^https://[^\s?#]+$|^http://(127\.0\.0\.1|localhost)(:\d+)?(/[^\s?#]*)?$")
    """Issuer address of the provider, as in its tokens; `/.well-known/openid-configuration` is below it."""
    client_id: str = Field(min_length=1)
    """Client id of this gateway at the provider."""
    client_secret: Annotated[EnvSecret, PlainValidator(name_secret)]
    """`env:NAME` of the client secret at the provider."""
    address: str = Field(pattern=r"^https://[^\s?#]+$|^http://(127\.0\.0\.1|localhost)(:\d+)?$")
    """Public address of the gateway; the provider sends people back to `/auth/oidc/callback` below it."""
    claim: str = "groups"
    """Claim of the identity token whose values determine a person's role."""
    roles: dict[str, Literal["admin", "operator", "member", "auditor"]]
    """Roles by value of that claim; of several values the first one counts. A person without one may not sign in."""
    tenant: str = "default"
    """Tenant of the people: they see its requests, sessions and traces."""

    @field_validator("issuer", "address")
    @classmethod
    def _holds_no_secret(cls, address: str) -> str:
        return no_credentials(address, instead="name the secret: client_secret = 'env:NAME'")
