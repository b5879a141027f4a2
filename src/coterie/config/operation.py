"""How a network is run: budgets, the large model, the policy, personal data and how long it is kept, spans, sign-in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PlainValidator, field_validator, model_validator

from coterie.config.section import STRICT, EnvSecret, Money, name_secret, no_credentials


class BudgetSection(BaseModel):
    """`[budgets.NAME]`: a limit that holds before anything is spent."""

    model_config = STRICT

    per: Literal["minute", "hour", "day", "month", "ever"] = "day"
    """What it is a limit for: any `minute` or `hour`, wherever it begins (a rate limit), or one day or month in UTC."""
    tenant: str | None = None
    """Only for this tenant's requests."""
    key: str | None = Field(default=None, pattern=r"^[a-z0-9]{8}$")
    """Only for requests with the key of this id, as `coterie keys list` shows it; its name is none."""
    each: Literal["tenant", "key"] | None = None
    """Every tenant, or every key, has a budget of its own of this size; left out, all share one."""
    requests: int | None = Field(default=None, ge=0)
    """Requests that are taken."""
    tokens: int | None = Field(default=None, ge=0)
    """Tokens of remote models, prompts and answers."""
    money: Money | None = None
    """Money for remote models. A model whose price is unknown is not asked under it."""
    joules: float | None = Field(default=None, ge=0, le=1e12)
    """Energy of whole requests, of what runs here and of remote models, measured or estimated."""
    reserve: float = Field(default=50.0, gt=0, le=1e9)
    """Joules that are reserved for a request until one has taken more; then as much as the dearest so far took."""

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
    """`[generalist]`: the large model, used only for what the small ones cannot do."""

    model_config = STRICT

    model: str
    """Key of the `[models]` entry."""
    escalate: bool = True
    """Ask it when a specialist abstains. Off: it is only the yardstick of `coterie report`."""
    escalate_out_of_scope: bool = False
    """Also ask it for requests that belong to no specialist."""
    history: bool = False
    """Also give it the conversation, word for word. Off, it gets what the small models made of it, and no more."""
    synthesise: bool = False
    """Let it make one text of several findings, which costs a call; off, they are put together here."""
    fallback: tuple[str, ...] = ()
    """Keys of `[models]` entries that are asked in its place, in this order, when it fails."""
    hedge_after: float | None = Field(default=None, gt=0, le=600)
    """Seconds after which a model that has said nothing is asked a second time, or the next of `fallback` beside it.

    The first to speak is heard. Set it near the 95th percentile of its first words: then one call in twenty is doubled.
    """
    deadline: float = Field(default=60.0, gt=0, le=3600)
    """Seconds that one request may spend on the generalist, whatever is tried."""
    rounds: int = Field(default=2, ge=1, le=10)
    """A question about a document: how often it may plan and conclude."""
    jobs: int = Field(default=8, ge=1, le=64)
    """A question about a document: so many short questions it may have the small models read for, over all rounds."""
    tokens: int | None = Field(default=None, ge=1)
    """A question about a document: once it has used so many tokens it is not asked again; left out, no limit."""
    money: Money | None = None
    """A question about a document: the same in money, where its price is known; left out, no limit."""


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
        return address and no_credentials(address, instead="set OTEL_EXPORTER_OTLP_HEADERS")


class PolicySection(BaseModel):
    """`[policy]`: the cost-quality policy for requests that do not set one themselves."""

    model_config = STRICT

    quality: float | None = Field(default=None, ge=0, le=1)
    """Share of the generalist's quality to keep: it is asked where a specialist is less sure than that needs.

    Left out, a specialist's own threshold (`target_risk`) decides. It needs a generalist.
    """
    budget: Money | None = None
    """Money per 1,000 requests that remote models may cost in all; left out, no limit.

    It comes in with each request, and the most that a call can cost is reserved before it is made, fallbacks and
    retries included. A model whose price is unknown is not asked.
    """
    outcomes: str | None = None
    """JSONL file of recorded outcomes (docs/how-to/trade-cost-and-quality.md), the generalist among them.

    It gives the generalist's accuracy: for a specialist on the lines whose `domain` is its name, where there are 60 of
    them, else on all lines. Without outcomes the generalist is taken to be always right.
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
    """`[privacy]`: what finds personal data and secrets in texts."""

    model_config = STRICT

    detector: str = "patterns"
    """`patterns` finds what has a form: numbers with check digits, telephones, addresses of the net, secrets.

    `names` finds names, places, organisations and postal addresses too, with a small model that comes with Coterie:
    then a request that names somebody is confidential, and takes some milliseconds more. `presidio` joins the patterns
    with Microsoft Presidio (`coterie[presidio]`). An installed package may add others.
    """


class RetentionSection(BaseModel):
    """`[retention]`: how long what people said is kept. Figures of the ledger stay."""

    model_config = STRICT

    days: float | None = Field(default=None, gt=0, le=36_500)
    """Traces, and what else is kept about a request, are deleted after so many days; sessions not used for as long too.

    Left out, traces stay until they are erased, and sessions as `session_days` of `[store]` says. Within the hour, by
    whatever has the network open; also the names of sessions in the ledger go.
    """


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

    @field_validator("issuer", "address")
    @classmethod
    def _holds_no_secret(cls, address: str) -> str:
        return no_credentials(address, instead="name the secret: client_secret = 'env:NAME'")
