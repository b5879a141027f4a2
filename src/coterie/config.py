"""`coterie.toml`: what a network is made of, checked before anything runs.

A configuration is a value: it names things and never holds a live object. Unknown keys are refused with
the nearest valid name, bounds live in the types, and a secret is only ever named (`env:NAME`), never written.
The docstring under a field is its help text in `docs/config.md`.
"""

from __future__ import annotations

import difflib
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from coterie.errors import ConfigError
from coterie.types import Label, Rung, TaskKind

from ._secret import FILE_NAME as FILE_NAME  # noqa: PLC0414 - said again so that it may be imported from here
from ._secret import EnvSecret as EnvSecret  # noqa: PLC0414
from ._secret import name_secret

_PASSAGE_TOKENS = 256  # more than a passage takes: chunks have 128 of the encoder's
_VIEW_TOKENS = 8192  # of a specialist that reads without a model: some thirty passages


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


Secret = Annotated[EnvSecret, PlainValidator(name_secret)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
FieldType = Annotated[str, Field(pattern=r"^(text|date|number|money|duration|choice)\*?$")]
Measure = Literal[
    "accuracy", "macro_f1", "auc", "token_f1", "exact_f1", "exact_match", "citation_precision", "unanswerable_recall"
]
Money = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


class NetworkSection(_Section):
    """`[network]`: the network as a whole."""

    name: str = "network"
    """Shown in reports and in the gateway's model list."""
    default_label: Label = Label.INTERNAL
    """Sensitivity of a request that carries none."""


class SpecialistSection(_Section):
    """`[specialists.NAME]`: one narrow model."""

    task: TaskKind
    """`classify`, `score`, `extract`, `answer` or `generate`."""
    description: str = ""
    """What it is for, in a sentence: the router learns from it."""
    data: str | None = None
    """Training data: a CSV or JSONL file, relative to the network's folder.

    For `generate` with `reads`, its source texts; without, texts each with the `reply` that should be written. For
    `answer`, questions with their answers; it works without.
    """
    licence: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.+() -]{1,100}$")
    """Licence of the data, in SPDX's words: `CC-BY-4.0`, or `LicenseRef-internal` for what is yours."""
    test: str | None = None
    """Held-out data, touched only to report. Without it a seeded fifth of `data`; a `score` is cross-validated."""
    text_column: str | None = None
    """Column with the text; default `text` where the task needs one."""
    label_column: str = "label"
    """Column with the label; several labels of one row are separated by `|`, or a list in JSONL.

    `generate` without `reads`: column with the reply; default `reply`.
    """
    group_column: str | None = None
    """Rows with the same value here are never split between training and held-out data."""
    pair_column: str | None = None
    """`classify` only: column with a second text, such as a hypothesis or question, that the label is about too."""
    evidence_column: str = "evidence"
    """With `pair_column`: column, if there is one, with what decides a row: quotes or `[start, end]` of the text."""
    learn_only_column: str | None = None
    """With `pair_column`: rows with `true` or `1` here are learnt from, but neither calibrated nor measured on.

    For rows unlike those it will be asked about, such as excerpts or generated texts.
    """
    multi_label: bool = False
    """A text may have several labels at once, or none."""
    rungs: tuple[Rung, ...] | None = None
    """Rungs to try, cheapest first; default: those that take seconds. `encoder` and `slm` take minutes: name them.

    So must `llm` be named, which asks `model` with examples from the training data: each question may cost money, and
    the examples go where the model runs.
    """
    base: str = "minilm"
    """Rung `encoder` only: what is fine-tuned, a name `coterie models list` knows or a folder in the hub's layout."""
    base_licence: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.+() -]{1,100}$")
    """Licence of a `base` that is a folder and does not state its own, in SPDX's words."""
    fields: dict[Name, FieldType] = {}
    """`extract` only: what is looked for and of which type: `{ governing_law = "choice", parties = "text*" }`.

    `text`, `date`, `number`, `money`, `duration` or `choice` (one of the values in the data); `*` for several of them.
    """
    exclude: tuple[str, ...] = ()
    """Columns a `score` specialist must not use, on top of the protected ones."""
    protected: tuple[str, ...] | None = None
    """Columns with protected attributes, never used for a score.

    Left out, these are the columns whose name says sex, age, origin, religion and the like.
    """
    target_risk: float = Field(default=0.05, gt=0, lt=1)
    """Highest share of wrong answers among accepted ones, held with 95% confidence."""
    bar: dict[Measure, Annotated[float, Field(ge=0, le=1)]] = {}
    """What the specialist must reach on held-out data, such as `{ accuracy = 0.925 }`."""
    alike: float = Field(default=0.8, gt=0, le=1)
    """`generate` without `reads`: a reply is right if its token F1 with the one in the data is at least this."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything random in training."""
    reads: tuple[str, ...] = ()
    """Facts it needs: it runs after the specialists that write them. `messages` is the conversation, `findings` what
    was found in earlier turns, with the passages that were cited."""
    writes: tuple[str, ...] = ()
    """Facts it adds to the context; a `classify` specialist writes its label under the first name, an
    `extract` specialist the value of each field of such a name."""
    knowledge: tuple[Name, ...] = ()
    """`[knowledge]` keys of the shelves whose passages it is shown; task `answer` needs one."""
    passages: int = Field(default=8, ge=1, le=100)
    """So many passages of each shelf are looked up for it, at most; of a named document as well."""
    view_tokens: int | None = Field(default=None, ge=64, le=1_048_576)
    """What it is shown of the context is packed into so many tokens, by value per token.

    Left out, half of its model's window; 8,192 without a model, and for task `answer`, which shows its model a choice,
    enough for all its passages.
    """
    model: str | None = None
    """Key of the `[models]` entry that writes a `generate` specialist's text, or that the rungs `slm` and `llm` use.

    `slm` tunes it, so it is one with `engine = "llama"`; `llm` asks it as it is. That of an `answer` specialist is
    asked as it is on both.
    """
    pairs: str | None = None
    """`generate` only: replies as they should be, as a CSV or JSONL file; the model is tuned on them.

    A row is a message (`text`), the value of the fact it `reads` (in the column of that name) and the `reply`.
    """
    instruction: str = ""
    """`generate` and rung `llm`: what the model is told to do with the text. Rung `llm` adds the labels itself."""
    max_tokens: int = Field(default=160, ge=1, le=8192)
    """`generate`, and the rungs `slm` and `llm` of `answer`: longest text, in tokens."""
    data_label: Label | None = None
    """Sensitivity of the training texts; default: `default_label` of the network.

    Rung `llm` shows some of them to its model, so a prompt is never less sensitive than this.
    """
    calibration_calls: int = Field(default=200, ge=1, le=100_000)
    """Rung `llm` only: training rows that the model is asked about, at most, to calibrate its answers."""
    test_calls: int = Field(default=200, ge=1, le=100_000)
    """Rung `llm` only: held-out rows that the model is asked about, at most, to measure it."""

    @property
    def writes_freely(self) -> bool:
        """It writes replies it learnt from pairs, with no source text to hold them against."""
        return self.task == "generate" and not self.reads

    @model_validator(mode="after")
    def _fits_its_task(self) -> SpecialistSection:
        if self.task == "generate":
            if self.model is None:
                raise ValueError("task 'generate' needs `model`, the key of a [models] entry")
            if self.pairs is not None and not self.reads:
                raise ValueError("pairs needs `reads`, the fact that selects a source text; else its pairs are `data`")
        elif self.pairs is not None:
            raise ValueError(f"pairs is for task 'generate', not {self.task!r}")
        self._fields_fit()
        self._data_fit()
        if self.task == "answer" and "encoder" in (self.rungs or ()):
            raise ValueError("task 'answer' has the rungs 'lexical', 'embedding', 'slm' and 'llm'")
        if self.model is None:
            self._rungs_fit_no_model()
        if self.multi_label and self.task != "classify":
            raise ValueError(f"multi_label is for task 'classify', not {self.task!r}")
        if self.pair_column is not None:
            self._pairs_fit()
        elif self.learn_only_column is not None:
            raise ValueError("learn_only_column is for a specialist with pair_column")
        return self

    def _data_fit(self) -> None:
        if self.task == "answer" and not self.knowledge:
            raise ValueError("task 'answer' needs `knowledge`, the keys of [knowledge] sections")
        if self.data is None and self.task != "answer":
            raise ValueError(f"task {self.task!r} needs `data`, a CSV or JSONL file")

    def _rungs_fit_no_model(self) -> None:
        if "slm" in (self.rungs or ()):
            raise ValueError("rung 'slm' needs `model`, the key of a [models] entry with engine \"llama\"")
        if "llm" in (self.rungs or ()):
            raise ValueError("rung 'llm' needs `model`, the key of a [models] entry")

    def _fields_fit(self) -> None:
        if self.task == "extract" and not self.fields:
            raise ValueError('task \'extract\' needs `fields`, such as { start = "date", parties = "text*" }')
        if self.fields and self.task != "extract":
            raise ValueError(f"fields are for task 'extract', not {self.task!r}")

    def _pairs_fit(self) -> None:
        if self.task != "classify":
            raise ValueError(f"pair_column is for task 'classify', not {self.task!r}")
        if self.multi_label:
            raise ValueError("a pair has one label: set either pair_column or multi_label")
        if self.pair_column in {self.text_column or "text", self.label_column, self.group_column}:
            raise ValueError(f"pair_column is {self.pair_column!r}, which is another column's name already")


class LlamaModel(_Section):
    """`[models.NAME]` with `engine = "llama"`: a GGUF file run in this process."""

    engine: Literal["llama"]
    name: str
    """A name `coterie models list` knows, or the path of a GGUF file relative to the network's folder."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Checksum of a file given by path; named models carry theirs."""
    licence: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.+() -]{1,100}$")
    """Licence of a file given by path, in SPDX's words; named models carry theirs. Adapters trained on it state it."""
    threads: int = Field(default=2, ge=1, le=256)
    """CPU threads for generation."""
    parallel: int = Field(default=2, ge=1, le=64)
    """Requests generated side by side; the window is shared between them."""
    window: int = Field(default=2048, ge=256, le=1_048_576)
    """Tokens of prompt and answer that one request may use."""


class OpenAIModel(_Section):
    """`[models.NAME]` with `engine = "openai"`: any OpenAI-compatible server."""

    engine: Literal["openai"]
    base_url: str = Field(pattern=r"^https?://")
    """Server address up to and including `/v1`."""
    name: str
    """Model name the server knows."""
    api_key: Secret | None = None
    """`env:NAME` of the key; leave out for a server that needs none."""
    clearance: Label = Label.PUBLIC
    """The most sensitive label it may see in clear."""
    timeout: float = Field(default=30.0, gt=0, le=600)
    """Seconds to wait for an answer, or for the next piece of a stream."""
    retries: int = Field(default=2, ge=0, le=10)
    """Further tries after a retryable error."""
    price_in: Money | None = None
    """Money per million prompt tokens; leave out when unknown."""
    price_out: Money | None = None
    """Money per million generated tokens; leave out when unknown."""
    joules_per_token: float | None = Field(default=None, ge=0)
    """Energy per token, prompt and answer alike, for the estimate; default is documented in `accounting`."""
    window: int = Field(default=8192, ge=256)
    """Tokens of prompt and answer that one request may use."""


Model = Annotated[LlamaModel | OpenAIModel, Field(discriminator="engine")]


class GeneralistSection(_Section):
    """`[generalist]`: the large model, used only for what the small ones cannot do."""

    model: str
    """Key of the `[models]` entry."""
    escalate: bool = True
    """Ask it when a specialist abstains. Off: it is only the yardstick of `coterie report`."""
    escalate_out_of_scope: bool = False
    """Also ask it for requests that belong to no specialist."""


class RouterSection(_Section):
    """`[router]`: who is asked."""

    false_rejection: float = Field(default=0.03, gt=0, lt=0.5)
    """Share of a specialist's own examples that may be taken for out of scope: the dial of the verdict."""


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
    """`[knowledge.NAME]`: a shelf of documents, read by `coterie index NAME`."""

    paths: tuple[str, ...] = ()
    """Files and folders, relative to the network's folder: PDF, DOCX, HTML, Markdown, text, CSV."""
    label: Label | None = None
    """Sensitivity of its documents; left out, the network's default."""
    labels: dict[str, Label] = {}
    """Sensitivity of documents whose path matches a pattern: `{ "hr/**" = "restricted" }`.

    The most sensitive of those that match counts, `label` included.
    """
    tenant: str | None = None
    """The one tenant who may read it; left out, every tenant may."""
    store: Annotated[str, AfterValidator(_name_store)] = "local"
    """`local` keeps the index in `state/knowledge/NAME`; `env:NAME` names the address of a PostgreSQL database."""
    rerank: bool = True
    """Let a second, finer model order the best passages again."""


class GatewaySection(_Section):
    """`[gateway]`: the HTTP door."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8321, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    concurrency: int = Field(default=64, ge=1, le=10_000)
    """Requests worked on at once."""
    queue: int = Field(default=256, ge=0, le=100_000)
    """Requests that may wait for a place; one more is answered 429."""
    max_body: int = Field(default=1_048_576, ge=1024)
    """Largest request body in bytes."""
    drain: float = Field(default=20.0, ge=0)
    """Seconds that running requests get to finish after SIGTERM."""


class AccountingSection(_Section):
    """`[accounting]`: how energy and money are estimated."""

    watts_per_core: float = Field(default=10.0, gt=0, le=1000)
    """Power of one busy CPU core in watts, with its share of the machine."""
    price_per_cpu_hour: Money | None = None
    """Money for one CPU core for an hour; leave out when unknown."""
    currency: str = "USD"
    """Shown beside amounts; every price of the file is in it."""


class StoreSection(_Section):
    """`[store]`: where ledger, traces and sessions are kept."""

    path: str = "state/coterie.db"
    """SQLite file, relative to the network's folder."""
    keep_content: bool = False
    """Keep the text of findings in traces; off, a trace keeps figures, names and reasons only."""
    session_days: float = Field(default=30.0, gt=0)
    """A session not used for so many days is deleted."""


def _name_key(value: str) -> str:
    if "-----BEGIN" in value:
        raise ValueError('a private key is named, not written out: use "env:NAME" or the path of its file')
    return value


class RegistrySection(_Section):
    """`[registry]`: who signs trained versions, and whose may serve."""

    signing_key: Annotated[str, Field(min_length=1), AfterValidator(_name_key)] | None = None
    """Private key that signs what is trained: `env:NAME` of its PEM text, or a file. Left out, nothing is signed."""
    trusted_keys: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = ()
    """Public keys whose signatures are trusted, as `coterie registry keygen` prints them."""
    require_signature: bool = False
    """Refuse to load a version that none of the trusted keys signed."""

    @model_validator(mode="after")
    def _trusts_somebody(self) -> RegistrySection:
        if self.require_signature and not self.trusted_keys:
            raise ValueError("require_signature needs `trusted_keys`, else no version could be loaded")
        return self


class Config(_Section):
    """The whole file."""

    network: NetworkSection = NetworkSection()
    specialists: dict[Name, SpecialistSection] = {}
    models: dict[Name, Model] = {}
    generalist: GeneralistSection | None = None
    knowledge: dict[Name, KnowledgeSection] = {}
    router: RouterSection = RouterSection()
    gateway: GatewaySection = GatewaySection()
    accounting: AccountingSection = AccountingSection()
    store: StoreSection = StoreSection()
    registry: RegistrySection = RegistrySection()

    def view_tokens(self, specialist: str) -> int:
        """Tokens of what a specialist is shown, at most: as its section says, else by its model's window."""
        section = self.specialists[specialist]
        if section.view_tokens is not None:
            return section.view_tokens
        if section.task == "answer":  # what it reads is searched for it: a budget that is too small would throw it away
            return max(_VIEW_TOKENS, _PASSAGE_TOKENS * section.passages * len(section.knowledge))
        if section.model is None:
            return _VIEW_TOKENS
        return self.models[section.model].window // 2

    @model_validator(mode="after")
    def _names_resolve(self) -> Config:
        wanted = [(f"specialists.{n}.model", s.model) for n, s in self.specialists.items() if s.model]
        if self.generalist:
            wanted.append(("generalist.model", self.generalist.model))
        for place, name in wanted:
            if name not in self.models:
                raise ValueError(f"{place} is {name!r}, but [models] has {sorted(self.models)}")
        for specialist, section in self.specialists.items():
            for shelf in section.knowledge:
                if shelf not in self.knowledge:
                    found = sorted(self.knowledge)
                    raise ValueError(f"specialists.{specialist}.knowledge has {shelf!r}, but [knowledge] has {found}")
        return self


def load_config(folder: Path) -> Config:
    """Read and check the `coterie.toml` of a network's folder.

    Raises:
        ConfigError: there is no such file, it is not TOML, or a value is refused; the message lists
            every problem with its place in the file.
    """
    path = folder / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"No {FILE_NAME} in {str(folder)!r}.",
            hint="Run `coterie init DIR` to make a network, or pick one with `coterie -C DIR ...`.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {str(path)!r}: {error}.") from error
    return parse_config(text, source=str(path))


def parse_config(text: str, *, source: str = FILE_NAME) -> Config:
    """Check the text of a `coterie.toml`; `source` names it in messages. Raises `ConfigError`."""
    try:
        return Config.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not valid TOML: {error}.") from error
    except ValidationError as error:
        problems = "\n".join(f"  - {_explain(problem)}" for problem in error.errors())
        # `from None`: pydantic's own message repeats the input, and the input may hold a secret.
        raise ConfigError(f"{source} has {error.error_count()} problem(s):\n{problems}") from None


def _explain(problem: Any) -> str:
    """One pydantic problem as a sentence with its place and, for unknown keys, the nearest name."""
    # A discriminated union puts its tag into the location; the file has no such key.
    where = tuple(part for part in problem["loc"] if part not in {"llama", "openai", "[key]"})
    place = ".".join(str(part) for part in where) or "the file"
    if problem["type"] != "extra_forbidden":
        return f"{place}: {problem['msg'].removeprefix('Value error, ')}"
    valid = _valid_keys(problem["loc"][:-1])
    near = difflib.get_close_matches(str(problem["loc"][-1]), valid, n=1, cutoff=0.5)
    suggestion = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}"
    return f"{place}: unknown key; {suggestion}"


def _valid_keys(location: tuple[str | int, ...]) -> list[str]:
    """Field names of the section at a pydantic location."""
    section: Any = Config
    for part in location:
        section = _step_into(section, str(part))
    return sorted(section.model_fields) if hasattr(section, "model_fields") else []


def _step_into(section: Any, part: str) -> Any:
    """The type below `part`: a field of a section, the value type of a table, the chosen engine of a model."""
    if hasattr(section, "model_fields"):
        section = section.model_fields[part].annotation
    elif part in _ENGINES:
        return _ENGINES[part]
    elif get_origin(section) is dict:
        section = get_args(section)[1]
    return (
        next((a for a in get_args(section) if hasattr(a, "model_fields")), section)
        if (type(None) in get_args(section))
        else section
    )


_ENGINES = {"llama": LlamaModel, "openai": OpenAIModel}
