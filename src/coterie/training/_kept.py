"""Answers that were paid for, kept so that none is paid for twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from coterie._cpu import on_the_bill
from coterie.errors import CoterieError, StoreError
from coterie.protocols import Engine
from coterie.types import Output, Prompt, Usage


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

    def __init__(self, engine: Engine, kept: KeptAnswers, *, identity: str, at_once: int) -> None:
        """Stand before an engine.

        Args:
            engine: What is asked.
            kept: Where its answers are.
            identity: What tells this model from others whose answers are kept there.
            at_once: Prompts that are with the engine at the same time.
        """
        self.name = engine.name
        self.clearance = engine.clearance
        self.given: dict[str, Output] = {}
        """Its answers so far, new or kept, each prompt once."""
        self._engine = engine
        self._kept = kept
        self._identity = identity
        self._places = asyncio.Semaphore(at_once)
        self._underway: set[asyncio.Future[Output]] = set()

    def knows(self, prompt: Prompt) -> bool:
        """Its answer is kept."""
        return self._kept.get(self._key(prompt)) is not None

    async def run(self, batch: Sequence[Prompt]) -> Sequence[Output]:
        """One answer a prompt. Raises what the engine raises, and `StoreError`."""
        return [await self._answer(prompt) for prompt in batch]

    async def settle(self) -> None:
        """Wait for the answers that are under way, and keep them."""
        await asyncio.gather(*self._underway, return_exceptions=True)

    async def close(self) -> None:
        """Close the engine, once what is under way is kept."""
        await self.settle()
        await self._engine.close()

    async def _answer(self, prompt: Prompt) -> Output:
        key = self._key(prompt)
        output = self._kept.get(key)
        if output is None:
            async with self._places:
                task = asyncio.ensure_future(self._ask(key, prompt))
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

    async def _ask(self, key: str, prompt: Prompt) -> Output:
        """Ask, and keep the answer."""
        (output,) = await self._engine.run([prompt])
        on_the_bill(self.name, output.usage)
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
async def telling_what_is_kept(engine: RememberingEngine) -> AsyncIterator[None]:
    """Let an error that ends the asking say that the answers so far are kept."""
    try:
        yield
    except CoterieError as error:
        await engine.settle()
        if kept := len(engine.given):
            told = f"Nothing was stored but {kept:,} answers of {engine.name!r}: the same command goes on from there."
            error.hint = f"{error.hint} {told}".strip()
        raise
