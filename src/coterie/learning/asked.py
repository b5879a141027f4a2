"""A generative model that training asks.

Only the rung `llm` asks one, of an `answer` also `slm`, and only where it is named. Remote models are reached through
the egress gate.
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
    """Answers on disk by the hash of what was asked. A line that is not whole, from a killed run, is passed over."""

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
        self._known.update(found for line in content.splitlines() if (found := _read_answer(line)) is not None)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Output | None:
        """The answer to a prompt of this hash, if it was given before."""
        return self._known.get(key)

    def keep(self, key: str, output: Output) -> None:
        """Write an answer down; once this returns, it outlives the process. Raises `StoreError`."""
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
        found: dict[str, Any] = json.loads(line)
        usage = Usage(
            tokens_in=int(found["tokens_in"]),
            tokens_out=int(found["tokens_out"]),
            milliseconds=float(found["milliseconds"]),
            cpu_seconds=float(found["cpu_seconds"]),
        )
        logprob = None if found["logprob"] is None else float(found["logprob"])
        finish: Literal["length", "stop"] = "length" if found["finish"] == "length" else "stop"
        return str(found["asked"]), Output(text=str(found["text"]), finish=finish, logprob=logprob, usage=usage)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


class RememberingEngine:
    """Gives the answers that are kept, and asks its engine for the others, so many at a time."""

    def __init__(
        self, engine: Engine, kept: KeptAnswers, *, identity: str, at_once: int, bill: Bill | None = None
    ) -> None:
        """Stand before an engine.

        Args:
            engine: What is asked.
            kept: Where its answers are.
            identity: What tells this model from others whose answers are kept there.
            at_once: Prompts that are with the engine at the same time.
            bill: Where what it takes is put; None for nowhere.
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
        """Its answer is kept."""
        return self._kept.get(self._key(prompt)) is not None

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:
        """One answer a prompt. Raises what the engine raises, and `StoreError`."""
        return [await self._answer(prompt, call) for prompt in batch]

    async def settle(self) -> None:
        """Wait for the answers that are under way, and keep them."""
        await asyncio.gather(*self._underway, return_exceptions=True)

    async def close(self) -> None:
        """Close the engine, once what is under way is kept."""
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
        """Forget one that is over; its error is looked at, as whoever asked may have gone with an earlier one."""
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
        """Hash of the model and of all that decides its answer."""
        asked: Mapping[str, object] = {
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
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@asynccontextmanager
async def reporting_kept_answers(engine: RememberingEngine) -> AsyncIterator[None]:
    """Let an error that ends the asking say that the answers so far are kept."""
    try:
        yield
    except CoterieError as error:
        await engine.settle()
        if kept := len(engine.given):
            resume = f"Nothing was stored but {kept:,} answers of {engine.name!r}: the same command goes on from there."
            error.hint = f"{error.hint} {resume}".strip()
        raise


ANSWERS_FILE = Path("state") / "answers.jsonl"
"""In the network's folder: a line an answer, with a hash in place of its prompt."""
_AT_ONCE = 8
"""Prompts that are with a server at the same time."""


class RemoteGate(Protocol):
    """The way out for what a remote model is asked; `coterie.governance.egress.Gate` is one."""

    def check(self, name: str, model: RemoteModel, label: Label, /) -> object:
        """Raises `EgressRefused` where texts of this label may not go there."""
        ...

    def open(self, name: str, model: RemoteModel, /) -> Engine:
        """The model, behind the gate."""
        ...


@dataclass(frozen=True, kw_only=True)
class AskedModel:
    """A `[models]` entry that training may ask."""

    key: str
    """Its key in `[models]`, and its name in the ledger."""
    model: Model
    folder: Path
    """The network's."""
    label: Label
    """Sensitivity of the texts it is shown."""
    gate: RemoteGate
    """Before a remote model."""
    currency: str = "USD"
    """Of its prices."""
    bill: Bill = field(default_factory=list, compare=False)
    """What its answers took, put there as they come in."""

    @property
    def is_remote(self) -> bool:
        """It is reached through the gate."""
        return isinstance(self.model, RemoteModel)

    def check(self) -> None:
        """Refuse what would be refused at every prompt, before anything is asked.

        Raises:
            EgressRefused: the texts are above its clearance.
            ModelMissing, ArtefactRefused: its file is not here, or is another.
        """
        if isinstance(self.model, RemoteModel):
            self.gate.check(self.key, self.model, self.label)
        elif isinstance(self.model, LlamaModel):
            locate(self.model, self.folder)

    def open(self) -> RememberingEngine:
        """The engine, which asks nothing twice. Opens no connection and loads nothing before the first new prompt."""
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
        """The model's name, and its file's checksum where one is pinned."""
        return describe_model(self.model)

    def money(self, tokens_in: int, tokens_out: int) -> Decimal | None:
        """What so many tokens cost; None where no price is set. A model in this process takes no money a token."""
        if not isinstance(self.model, RemoteModel):
            return None
        prices = self.model.prices_at()
        return token_money(
            Decimal(tokens_in), Decimal(tokens_out), price_in=prices.tokens_in, price_out=prices.tokens_out
        )

    def in_words(self, tokens_in: int, tokens_out: int) -> str:
        """What so many tokens cost, for people."""
        if not self.is_remote:
            return "no money: it runs in this process"
        money = self.money(tokens_in, tokens_out)
        return "at a price that is not set" if money is None else f"about {format_money(money, self.currency)}"


def find_asked(section: SpecialistSection, config: Config, folder: Path, gate: RemoteGate) -> AskedModel | None:
    """The model that a section's rungs `slm` or `llm` ask; None if it has no such rung.

    Args:
        section: The specialist's.
        config: The network's, whose `default_label` the texts have unless the section says otherwise.
        folder: The network's.
        gate: Before a remote model.
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
