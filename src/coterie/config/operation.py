"""Operation of a network: budgets, prices, policy, retention, sign-in, typed questions, MCP servers, flywheel."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, PlainValidator, field_validator, model_validator

from coterie.config.section import STRICT, EnvSecret, Money, Name, name_secret, no_credentials
from coterie.types import Label


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


EncoderName = Annotated[str, Field(min_length=1, max_length=500)]


class SiteSection(BaseModel):
    """`[decisions.sites.NAME]`: which specialist or model answers one question, wherever it is asked."""

    model_config = STRICT

    question: str = Field(pattern=r"^[0-9a-f]{16}$")
    """Fingerprint of the question, as `coterie decisions` prints it."""
    specialist: str | None = None
    """Specialist that answers the question."""
    label: str | None = None
    """The label whose probability answers a predicate. A `score` specialist has no label."""
    labels: dict[str, str] = Field(default={})
    """Labels by option, where an option has another name than its label: `{ "Money back" = "refund" }`."""
    model: str | None = None
    """`[models]` key of the model that answers the question zero-shot, in place of a specialist."""

    @model_validator(mode="after")
    def _one_answers(self) -> SiteSection:
        if self.specialist is not None and self.model is not None:
            raise ValueError("specialist and model are both set: one of them answers")
        if self.specialist is None and (self.label is not None or self.labels):
            raise ValueError("label and labels are those of a specialist, and none is named")
        return self


class DecisionsSection(BaseModel):
    """`[decisions]`: which specialist or model answers typed questions."""

    model_config = STRICT

    match: bool = True
    """Let a specialist answer a question with three or more options that are all labels of the specialist."""
    model: str | None = None
    """`[models]` key of the model that answers other questions zero-shot; by default, the bundled encoder.

    With `engine = "llama"` the options are weighed by their likelihood; a remote model is asked through the egress
    gate. Where the model cannot answer, the encoder does.
    """
    encoder: EncoderName | Annotated[tuple[EncoderName, ...], Field(min_length=1, max_length=4)] | None = None
    """A second encoder for zero-shot answers, named as in `[network] encoder`.

    Its similarity counts as much as that of the network's own encoder. A list names encoders that weigh choices in
    place of the network's own. Specialists do not use them, and need no new training.
    """
    adapt: bool = False
    """Adapt the options of zero-shot choices to the texts that are asked about, separately for each tenant.

    Later answers then depend on earlier texts. Each worker keeps the adaptation in memory until it ends.
    """
    sites: dict[Name, SiteSection] = Field(default={})
    """Questions with their own specialist or model."""

    @model_validator(mode="after")
    def _sites_differ(self) -> DecisionsSection:
        questions = [site.question for site in self.sites.values()]
        if len(questions) > len(set(questions)):
            raise ValueError("two of `sites` are about the same question")
        return self

    @property
    def models(self) -> frozenset[str]:
        """`[models]` keys of all models that answer zero-shot."""
        return frozenset(name for name in (self.model, *(site.model for site in self.sites.values())) if name)


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


ROWS_FOLDER = Path("state", "flywheel")
"""Folder below a network's folder with the rows of a job during a training; a killed training leaves them."""


class CaptureSection(BaseModel):
    """`[capture]`: store calls to entries of `[models]`, and typed questions, as examples. Off, nothing is written."""

    model_config = STRICT

    enabled: bool = False
    """Store examples."""
    models: tuple[Name, ...] = ()
    """`[models]` keys whose calls are stored; by default, all."""
    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of calls that are stored, sampled by the call's id."""
    detector: str | None = None
    """Detector of the personal data that is removed from texts before they are stored, as in `[privacy]`.

    By default, the detector of `[privacy]`, or `names` where that is `patterns`: patterns do not find a name in a
    sentence.
    """
    days: float = Field(default=90.0, gt=0, le=36_500)
    """Days after which examples are deleted. They are also deleted with their request, as `[retention]` sets."""
    queue: int = Field(default=2_000, ge=1, le=1_000_000)
    """Calls that may wait to be scrubbed and written; further calls are dropped, and counted."""


class FlywheelSection(BaseModel):
    """`[flywheel]`: how a job of captured calls gets a specialist, and how the specialist takes over the calls."""

    model_config = STRICT

    every: Literal["hour", "day", "week"] | None = None
    """How often a server runs the flywheel; by default, only `coterie flywheel run` does."""
    support: int = Field(default=20, ge=2)
    """Fewest calls that make a prompt template."""
    callers: int = Field(default=1, ge=1)
    """Fewest callers of a job: a job of fewer callers is not shown and trains nothing."""
    calls: int = Field(default=300, ge=20)
    """Calls of a job at which its first specialist is trained."""
    growth: float = Field(default=1.5, gt=1)
    """Growth of a job's calls since its last version at which a further version is trained, as a factor."""
    margin: float = Field(default=0.02, ge=0, lt=1)
    """Largest allowed loss of a specialist against the current model, as a share of calls."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Probability with which a specialist with a larger loss may pass, over any number of looks at the data."""
    audit_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of examples, sampled by id, that are never used for training: people label some of them."""
    audits: int = Field(default=30, ge=0)
    """Labels of such examples that a promotion needs, for the teacher's accuracy and the gate on held-out rows."""
    canary: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.01, 0.1, 0.5)
    """Shares of callers in the stages of a canary, smallest first."""
    canary_calls: int = Field(default=50, ge=1)
    """Calls that a deployment answers in a stage before the next stage begins."""
    canary_hours: float = Field(default=24.0, ge=0)
    """Hours after which the next stage begins with fewer calls, for a job with few calls."""
    control: float = Field(default=0.02, ge=0, le=0.5)
    """Share of calls that still go to the previous model, to detect drift of a champion."""
    patience: int = Field(default=20_000, ge=100)
    """Mean number of calls between two false alarms of a deployment."""
    on_alarm: Literal["back", "tell"] = "back"
    """Action at an alarm: `back` returns the job to the previous model, `tell` only shows the alarm."""
    promote: bool = True
    """Let a run advance deployments where the evidence allows it; off, a person does."""
    cpu_seconds: float = Field(default=3_600.0, gt=0)
    """Largest CPU time of training per week, in seconds."""
    money: Money | None = None
    """Largest amount of money for teachers per week; by default, only the network's budgets apply."""
    labels: int = Field(default=150, ge=0)
    """Largest number of labels that people are asked for per week."""

    @model_validator(mode="after")
    def _stages_grow(self) -> FlywheelSection:
        if list(self.canary) != sorted(set(self.canary)):
            raise ValueError(f"canary is {list(self.canary)}; its stages grow")
        return self
