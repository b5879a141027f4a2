"""A generative model that training calls.

Only the rung `llm` calls one (for an `answer` also `slm`), and only if it is named. Remote models are reached
through the egress gate.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol

from coterie.accounting.breakdown import format_money
from coterie.accounting.meter import token_money
from coterie.config.file import Config, LlamaModel, Model, RemoteModel
from coterie.config.specialists import SpecialistSection
from coterie.engines.contract import EnginePlace, local_type
from coterie.errors import CoterieError, StoreError
from coterie.models.catalogue import describe_model, locate
from coterie.protocols import Engine
from coterie.types import SYSTEM, Bill, CallContext, Label, Output, Prompt, Usage

# --- Answers that were paid for, kept so that none is paid for twice.


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
