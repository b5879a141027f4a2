"""The input of a trainer: section, data, encoder, reports of progress, and the model that training calls.

Only the rung `llm` calls a model (for an `answer` also `slm`), and only if it is named. Remote models are reached
through the egress gate.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np

from coterie.accounting.breakdown import format_money
from coterie.accounting.meter import token_money
from coterie.config.file import Config, LlamaModel, Model, RemoteModel
from coterie.config.specialists import EncoderSection, SpecialistSection
from coterie.engines.kinds import EnginePlace, local_type
from coterie.errors import ConfigError, CoterieError, StoreError
from coterie.learning.dataset import Dataset, Row
from coterie.learning.evaluation import Evaluation
from coterie.models.catalogue import describe_model, locate
from coterie.protocols import Engine
from coterie.tuning.base import BaseEncoder, CausalBase, Checkpoints, find_base, find_causal_base
from coterie.types import (
    SYSTEM,
    AnswerForm,
    Bill,
    CallContext,
    Finding,
    Label,
    Option,
    Output,
    Prompt,
    Rung,
    SpecialistCard,
    Usage,
)


class Progress(Protocol):
    """Receives progress from the thread that trains; the command line shows a bar.

    One piece of work at a time: `start`, any number of `advance`, `finish`.
    """

    def start(self, what: str, total: int | None) -> None:
        """Begin work of `total` units; None if the number is not known."""
        ...

    def advance(self, n: int) -> None:
        """Report `n` more finished units."""
        ...

    def finish(self, note: str) -> None:
        """End the work that was started last."""
        ...


class Silent:
    """A progress that shows nothing."""

    def start(self, what: str, total: int | None) -> None:
        """Do nothing."""

    def advance(self, n: int) -> None:
        """Do nothing."""

    def finish(self, note: str) -> None:
        """Do nothing."""


# --- Answers that were paid for, kept so that none is paid for twice.


# --- A generative model that training calls.


class KeptAnswers:
    """Answers on disk by the hash of their prompt. An incomplete line, from a killed run, is skipped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Output] = {}
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise StoreError(f"Cannot read the kept answers in {str(path)!r}: {error.strerror}.") from error
        # A line that a killed run left unfinished must not spoil the one that comes next.
        self._start = b"" if content.endswith(b"\n") or not content else b"\n"
        self._known.update(answer for line in content.splitlines() if (answer := _read_answer(line)) is not None)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Output | None:
        """Return the answer to the prompt with this hash, if there is one."""
        return self._known.get(key)

    def keep(self, key: str, output: Output) -> None:
        """Write an answer down; after the return it outlives the process. Raises `StoreError`."""
        line = json.dumps({"asked": key, **_written(output)}, ensure_ascii=False)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(self._start + line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                f"Cannot keep an answer in {str(self.path)!r}: {error.strerror}.",
                hint="Answers may have been paid for: make room, then run it again.",
            ) from error
        self._start = b""
        self._known[key] = output


def _written(output: Output) -> dict[str, object]:
    usage = output.usage
    return {
        "text": output.text,
        "finish": output.finish,
        "logprob": output.logprob,
        "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "milliseconds": round(usage.milliseconds, 3),
        "cpu_seconds": round(usage.cpu_seconds, 6),
    }


def _read_answer(line: bytes) -> tuple[str, Output] | None:
    try:
        record: dict[str, Any] = json.loads(line)
        usage = Usage(
            tokens_in=int(record["tokens_in"]),
            tokens_out=int(record["tokens_out"]),
            milliseconds=float(record["milliseconds"]),
            cpu_seconds=float(record["cpu_seconds"]),
        )
        logprob = None if record["logprob"] is None else float(record["logprob"])
        finish: Literal["length", "stop"] = "length" if record["finish"] == "length" else "stop"
        return str(record["asked"]), Output(text=str(record["text"]), finish=finish, logprob=logprob, usage=usage)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


class RememberingEngine:
    """Returns answers that are kept, and asks its engine for the others, a limited number at a time."""

    def __init__(
        self, engine: Engine, kept: KeptAnswers, *, identity: str, at_once: int, bill: Bill | None = None
    ) -> None:
        """Wrap an engine.

        Args:
            engine: The engine to ask.
            kept: The store of its answers.
            identity: Distinguishes this model from others whose answers are kept there.
            at_once: Most prompts that the engine processes at the same time.
            bill: The list that receives the usage; None for nowhere.
        """
        self.name = engine.name
        self.clearance = engine.clearance
        self.given: dict[str, Output] = {}
        """Its answers so far, new or kept, each prompt once."""
        self._engine = engine
        self._kept = kept
        self._identity = identity
        self._bill: Bill = [] if bill is None else bill
        self._places = asyncio.Semaphore(at_once)
        self._underway: set[asyncio.Future[Output]] = set()

    def knows(self, prompt: Prompt) -> bool:
        """Return whether the answer to this prompt is kept."""
        return self._kept.get(self._key(prompt)) is not None

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:
        """Return one answer a prompt. Raises what the engine raises, and `StoreError`."""
        return [await self._answer(prompt, call) for prompt in batch]

    async def settle(self) -> None:
        """Wait for pending answers, and keep them."""
        await asyncio.gather(*self._underway, return_exceptions=True)

    async def close(self) -> None:
        """Close the engine, once pending answers are kept."""
        await self.settle()
        await self._engine.close()

    async def _answer(self, prompt: Prompt, call: CallContext) -> Output:
        key = self._key(prompt)
        output = self._kept.get(key)
        if output is None:
            async with self._places:
                task = asyncio.ensure_future(self._ask(key, prompt, call))
                self._underway.add(task)
                task.add_done_callback(self._end)
                output = await asyncio.shield(task)  # what is under way is paid for, whoever still wants it
        self.given[key] = output
        return output

    def _end(self, task: asyncio.Future[Output]) -> None:
        """Forget a finished task; read its error, as the caller may have left with an earlier one."""
        self._underway.discard(task)
        if not task.cancelled():
            task.exception()

    async def _ask(self, key: str, prompt: Prompt, call: CallContext) -> Output:
        (output,) = await self._engine.run([prompt], call=call)
        self._bill.append((self.name, output.usage))
        self._kept.keep(key, output)
        self.given[key] = output
        return output

    def _key(self, prompt: Prompt) -> str:
        """Return a hash of the model and of everything that determines its answer."""
        request: Mapping[str, object] = {
            "model": self._identity,
            "messages": [[message.role, message.text] for message in prompt.messages],
            "schema": prompt.json_schema,
            "grammar": prompt.grammar,
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "stop": prompt.stop,
            "seed": prompt.seed,
            "logprobs": prompt.logprobs,
        }
        return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


@asynccontextmanager
async def reporting_kept_answers(engine: RememberingEngine) -> AsyncIterator[None]:
    """Add to an error that ends the run that the answers so far are kept."""
    try:
        yield
    except CoterieError as error:
        await engine.settle()
        if kept := len(engine.given):
            resume = f"Nothing was stored but {kept:,} answers of {engine.name!r}: the same command goes on from there."
            error.hint = f"{error.hint} {resume}".strip()
        raise


ANSWERS_FILE = Path("state") / "answers.jsonl"
"""File in the network's folder with one answer a line; each has a hash in place of its prompt."""
_AT_ONCE = 8
"""Most prompts that a server processes at the same time."""


class RemoteGate(Protocol):
    """The gate through which prompts to a remote model leave; `coterie.governance.egress.Gate` is one."""

    def check(self, name: str, model: RemoteModel, label: Label, /) -> object:
        """Check that texts of this label may go to the model. Raises `EgressRefused`."""
        ...

    def open(self, name: str, model: RemoteModel, /) -> Engine:
        """Return the model, behind the gate."""
        ...


@dataclass(frozen=True, kw_only=True)
class AskedModel:
    """A `[models]` entry that training may call."""

    key: str
    """The model's key in `[models]`, and its name in the ledger."""
    model: Model
    folder: Path
    """The network's folder."""
    label: Label
    """Label of the texts that the model is shown."""
    gate: RemoteGate
    """The gate before a remote model."""
    currency: str = "USD"
    """Currency of the model's prices."""
    bill: Bill = field(default_factory=list, compare=False)
    """Usage of its answers, added as they arrive."""

    @property
    def is_remote(self) -> bool:
        """Whether the model is reached through the gate."""
        return isinstance(self.model, RemoteModel)

    def check(self) -> None:
        """Check before any call for what would refuse every prompt.

        Raises:
            EgressRefused: the texts are above the model's clearance.
            ModelMissing, ArtefactRefused: its file is missing, or is a different one.
        """
        if isinstance(self.model, RemoteModel):
            self.gate.check(self.key, self.model, self.label)
        elif isinstance(self.model, LlamaModel):
            locate(self.model, self.folder)

    def open(self) -> RememberingEngine:
        """Open the engine, which asks nothing twice. It connects and loads nothing before the first new prompt."""
        if isinstance(self.model, RemoteModel):
            engine: Engine = self.gate.open(self.key, self.model)
            at_once = _AT_ONCE
        else:
            engine = local_type(self.model).open(self.key, self.model, EnginePlace(folder=self.folder))
            at_once = self.model.parallel
        identity = [self.model.engine, *self.describe().values(), getattr(self.model, "base_url", "")]
        kept = KeptAnswers(self.folder / ANSWERS_FILE)
        return RememberingEngine(engine, kept, identity=json.dumps(identity), at_once=at_once, bill=self.bill)

    def describe(self) -> dict[str, str | None]:
        """Return the model's name, and its file's checksum if one is pinned."""
        return describe_model(self.model)

    def money(self, tokens_in: int, tokens_out: int) -> Decimal | None:
        """Return the cost of so many tokens; None without a price. A model in this process costs nothing a token."""
        if not isinstance(self.model, RemoteModel):
            return None
        prices = self.model.prices_at()
        return token_money(
            Decimal(tokens_in), Decimal(tokens_out), price_in=prices.tokens_in, price_out=prices.tokens_out
        )

    def in_words(self, tokens_in: int, tokens_out: int) -> str:
        """Return the cost of so many tokens as text."""
        if not self.is_remote:
            return "no money: it runs in this process"
        money = self.money(tokens_in, tokens_out)
        return "at a price that is not set" if money is None else f"about {format_money(money, self.currency)}"


def find_asked(section: SpecialistSection, config: Config, folder: Path, gate: RemoteGate) -> AskedModel | None:
    """Return the model that a section's rungs `slm` or `llm` call; None if it has no such rung.

    Args:
        section: The specialist's section.
        config: The network's configuration; its `default_label` applies unless the section names a label.
        folder: The network's folder.
        gate: The gate before a remote model.
    """
    if section.model is None or {"slm", "llm"}.isdisjoint(section.rungs or ()):
        return None
    return AskedModel(
        key=section.model,
        model=config.models[section.model],
        folder=folder,
        label=section.data_label or config.network.default_label,
        gate=gate,
        currency=config.accounting.currency,
    )


# --- The input of a trainer.


class TextEncoder(Engine, Protocol):
    """An encoder as training needs it: many texts at once, in the calling thread."""

    @property
    def sha256(self) -> str:
        """Checksum of its weights: vectors of another encoder are not comparable."""
        ...

    @property
    def about(self) -> Mapping[str, str]:
        """Description for a report: `name`, `source`, `sha256`, `licence`."""
        ...

    @property
    def languages(self) -> Collection[str]:
        """Languages that the encoder was made for; empty if they are not stated."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Most tokens of a text that are read."""
        ...

    def exceeds(self, texts: Sequence[str]) -> np.ndarray:
        """Return (N,) which texts are longer than that."""
        ...

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Return unit vectors (N, D); `progress` is called with the number of texts just done."""
        ...


class TrainedTask(Protocol):
    """The properties of a task that training needs; `coterie.tasks.contract.TaskType` is one."""

    kind: ClassVar[str]
    """Name of the task."""
    form: ClassVar[AnswerForm]
    """Form of its answers."""
    guards_columns: ClassVar[bool]
    """Whether columns that the task does not read are also withheld from a specialist that answers in its place."""
    looks_up: ClassVar[bool]
    """Whether the task's documents contain the answers."""
    makes_calls: ClassVar[bool]
    """Whether the task's findings are function calls, which its options name."""
    encodes_texts: ClassVar[bool]
    """Whether the task's rung `embedding` uses the encoding of a whole text."""

    def measures(self, section: Any, /) -> tuple[str, ...]:  # noqa: ANN401 - its own section
        """Return the measures that the bar may use, the default one first."""
        ...

    def possible_rungs(self, section: Any, train: Dataset, /) -> tuple[Rung, ...]:  # noqa: ANN401 - as above
        """Return the rungs that the task and its data allow, cheapest first."""
        ...

    def wanted_rungs(self, section: Any, /) -> Sequence[Rung]:  # noqa: ANN401 - as above
        """Return the rungs that are tried: those that the section names, or the default ones."""
        ...

    def is_measured(self, section: Any, /) -> bool:  # noqa: ANN401 - as above
        """Return whether rungs are measured and one is chosen."""
        ...

    def tuned_rungs(self, section: Any, rungs: Sequence[Rung], /) -> Collection[Rung]:  # noqa: ANN401 - as above
        """Return those of these rungs whose base model has to be present before training begins."""
        ...

    def judge(
        self,
        rows: Sequence[Row],
        findings: Sequence[Finding],
        /,
        *,
        section: Any = None,  # noqa: ANN401 - as above
        seed: int = 0,
    ) -> Evaluation:
        """Return the figures of a specialist from its findings, one a row."""
        ...


S_co = TypeVar("S_co", bound=SpecialistSection, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Job(Generic[S_co]):
    """One specialist to train."""

    name: str
    task: TrainedTask
    section: S_co
    train: Dataset
    held_out: Dataset
    """The held-out rows; the training rows themselves if figures are cross-validated."""
    encoder: TextEncoder
    progress: Progress
    base: BaseEncoder | None = None
    """The base of the rung `encoder`, if it is tried."""
    causal: CausalBase | None = None
    """The base of the rung `slm`, if it is tried."""
    model: LlamaModel | None = None
    """How the model of the rung `slm` is run."""
    checkpoints: Checkpoints | None = None
    """Store of unfinished trainings; None keeps nothing."""
    read: Mapping[Path, str] = field(default_factory=dict)
    """Checksum of each file that the rows come from, as it was read."""
    asked: AskedModel | None = None
    """The model of the rung `llm`, if one is named."""

    def card(self, rung: Rung, columns: tuple[str, ...] = ()) -> SpecialistCard:
        """Return the card of a rung's specialist before it has a version."""
        return make_card(self.name, self.task, self.section, rung=rung, version="", columns=columns)

    @property
    def cross_validated(self) -> bool:
        """Whether no rows are held out: every row is predicted by a model that did not see it."""
        return self.held_out is self.train

    @property
    def has_texts(self) -> bool:
        """Whether any row has a text."""
        return self.train.has_texts

    def group_numbers(self, rows: np.ndarray) -> np.ndarray:  # (R,) -> (R,)
        """Return a number for the group of each of these training rows; a row without a group is one of its own."""
        numbers: dict[object, int] = {}
        groups = [self.train.rows[row].group for row in rows]
        keys = (("row", i) if group is None else group for i, group in enumerate(groups))
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys])

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """Rungs that may be chosen, cheapest first, including those of a chain, which is chosen as a whole."""
        wanted = self.task.wanted_rungs(self.section)
        return tuple(rung for rung in self.possible_rungs if rung in wanted)

    @property
    def possible_rungs(self) -> tuple[Rung, ...]:
        """Rungs that the task and its data allow, cheapest first."""
        return self.task.possible_rungs(self.section, self.train)

    @property
    def measured_rungs(self) -> tuple[Rung, ...]:
        """Rungs that are trained and measured: those that may be chosen, and always the lexical floor."""
        return ("lexical", *(rung for rung in self.rungs if rung != "lexical"))

    @property
    def bar(self) -> dict[str, float]:
        """The value that each measure must reach."""
        return dict(self.section.bar)

    @property
    def measures(self) -> tuple[str, ...]:
        """Measures that decide between rungs: those of the bar, else the task's default one."""
        return tuple(self.bar) or self.task.measures(self.section)[:1]


def make_card(
    name: str,
    task: TrainedTask,
    section: SpecialistSection,
    *,
    rung: Rung,
    version: str,
    columns: tuple[str, ...] = (),
    view_tokens: int | None = None,
    options: tuple[Option, ...] = (),
) -> SpecialistCard:
    """Return the card of a specialist from its task and its section."""
    return SpecialistCard(
        name=name,
        task=task.kind,
        description=section.description,
        rung=rung,
        version=version,
        reads=section.reads,
        writes=section.writes,
        columns=columns,
        form=task.form,
        options=options,
        guards_columns=task.guards_columns,
        looks_up=task.looks_up,
        makes_calls=task.makes_calls,
        knowledge=section.knowledge,
        passages=section.passages,
        view_tokens=view_tokens,
    )


def check_job(job: Job[S_co], folder: Path, models: Mapping[str, Model]) -> Job[S_co]:
    """Check that a job can be trained before time is spent on it; return the job with everything it needs.

    Args:
        job: The job to train.
        folder: The folder that paths of base encoders and model files are relative to.
        models: The network's models by `[models]` key.

    Raises:
        ConfigError: the section asks for something impossible.
        ExtraMissing, ModelMissing, ArtefactRefused: something that a rung needs is missing.
        EgressRefused: the training texts may not go to the model of the rung `llm`.
    """
    section_name, section = f"specialists.{job.name}", job.section
    measures = job.task.measures(section)
    if odd := [measure for measure in section.bar if measure not in measures]:
        raise ConfigError(
            f"{section_name}.bar is about {odd[0]!r}; a {section.task!r} specialist is measured by "
            f"{' or '.join(measures)}."
        )
    if job.task.is_measured(section) and not job.rungs:
        of_what = "of columns alone" if len(job.train) and not job.has_texts else "of a text"
        possible = " and ".join(map(repr, job.possible_rungs))
        raise ConfigError(
            f"{section_name}.rungs is {list(section.rungs or ())}; a {section.task!r} {of_what} has {possible}.",
            hint="Correct `rungs` in coterie.toml, or leave it out.",
        )
    tuned = job.task.tuned_rungs(section, job.rungs)
    if "encoder" in tuned and isinstance(section, EncoderSection):
        job = replace(job, base=find_base(section.base, folder, licence=section.base_licence))
    if "slm" in tuned:
        model = tunable_model(job, models)
        job = replace(job, model=model, causal=find_causal_base(str(section.model), model, folder))
    if "llm" in tuned:
        _check_asked(job)
    return job


def tunable_model(job: Job[S_co], models: Mapping[str, Model]) -> LlamaModel:
    """Return the model that the section names, if it runs in this process. Raises `ConfigError`."""
    model = models.get(str(job.section.model))
    if isinstance(model, LlamaModel):
        return model
    here = sorted(key for key, name in models.items() if isinstance(name, LlamaModel))
    raise ConfigError(
        f"specialists.{job.name} tunes the model {job.section.model!r}; models that run in this process are {here}.",
        hint='Name one, or add it: [models.NAME] with engine = "llama" and name = "smollm2".',
    )


def _check_asked(job: Job[S_co]) -> None:
    if job.asked is None:
        raise ConfigError(
            f"specialists.{job.name} is to try rung 'llm', and no model was given for it to ask.",
            hint="Name a key of [models] as its `model`.",
        )
    job.asked.check()
