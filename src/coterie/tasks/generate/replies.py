"""`generate` without a source text: writes the reply that it learnt to write, or abstains.

Nothing stands behind the reply that it could be held against, sentence by sentence. What can be known is how often
replies like this one are right: a logistic regression, fitted on pairs its adapter had not seen, makes a probability of
how likely the model found its own words, how many they are, and how near the text is to those it was trained on. That
is known when the reply is whole, and a delta is final: so it does not speak while it writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.engines.features import stored_array
from coterie.errors import TooLong
from coterie.protocols import Engine
from coterie.runtime.codec import from_json, to_json
from coterie.specialists.acceptance import Acceptance, abstention
from coterie.tasks.classify.prompted import Agreement
from coterie.tasks.generate.calling import Calling
from coterie.types import (
    SYSTEM,
    CallContext,
    ContextView,
    Finding,
    Label,
    Message,
    Output,
    Prompt,
    Reason,
    SpecialistCard,
    Step,
    Task,
)

SEEN_FILE = "seen.safetensors"
"""Vectors of the texts that it was trained on, in half precision; never the texts."""
MOST_SEEN = 5_000


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How a reply is asked for; the same in training and in use."""

    instruction: str = "Reply to the message."
    examples: tuple[tuple[str, str], ...] = ()
    """Texts and replies that the model is shown; none where it was tuned."""

    def messages(self, text: str) -> tuple[Message, ...]:
        """The prompt for one text."""
        said = [Message(role="system", text=self.instruction)]
        for asked, reply in self.examples:
            said += [Message(role="user", text=asked), Message(role="assistant", text=reply)]
        return (*said, Message(role="user", text=text))


@dataclass(frozen=True, kw_only=True, eq=False)
class WriteSpecialist:
    """Writes with its adapter, and stands by what it wrote where its confidence reaches the threshold."""

    card: SpecialistCard
    engine: Engine
    encoder: Engine
    writing: Writing
    seen: np.ndarray  # (N, D) unit vectors of the texts it was trained on
    agreement: Agreement
    acceptance: Acceptance
    max_tokens: int
    adapter: str | None = None
    calling: Calling | None = None
    """Calls functions; None where it only writes."""

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:  # noqa: ARG002 - it reads the text alone
        """The reply and how likely it is right, or an abstention where there is no whole one.

        Raises what its engines raise, but for a text that does not fit the window.
        """
        if not task.text.strip():
            return abstention(self.card.name, task, Reason("abstain.no_text"))
        called, asked = (None, ()) if self.calling is None else await self.calling.consult(task, call=call)
        if called is not None:
            return called
        vector, steps, cut = await self._encode(task, call)
        try:
            (output,) = await self.engine.run([self.prompt(task)], call=call)
        except TooLong as error:
            return replace(abstention(self.card.name, task, error.reason), steps=(*asked, *steps), offered=bool(asked))
        steps = (*asked, *steps, Step(producer=self.card.name, engine=self.engine.name, usage=output.usage))
        return replace(self._finding(task, vector, output), steps=steps, truncated=cut, offered=bool(asked))

    def prompt(self, task: Task) -> Prompt:
        """What its model is asked."""
        longest = self.max_tokens if task.max_tokens is None else min(self.max_tokens, task.max_tokens)
        return Prompt(
            messages=self.writing.messages(task.text),
            label=task.label,
            label_without_pii=task.label_without_pii,
            max_tokens=longest,
            adapter=self.adapter,
            logprobs=True,
        )

    async def warm(self, *, slots: int = 1) -> None:
        """Load the model and let it read what all prompts begin with, in each of its engine's slots."""
        prompt = Prompt(messages=self.writing.messages(""), label=Label.PUBLIC, max_tokens=1, adapter=self.adapter)
        await self.engine.run([prompt] * slots, call=SYSTEM)

    def to_files(self) -> dict[str, bytes]:
        """What a version stores beside its adapter's files and the base that they belong to."""
        return {SEEN_FILE: save_arrays({"vectors": self.seen.astype(np.float16)})}

    def describe(self) -> dict[str, object]:
        """As JSON."""
        return {
            "task": self.card.task,
            "rung": self.card.rung,
            "instruction": self.writing.instruction,
            "max_tokens": self.max_tokens,
            "agreement": to_json(self.agreement),
            "acceptance": to_json(self.acceptance),
        }

    async def _encode(self, task: Task, call: CallContext) -> tuple[np.ndarray, tuple[Step, ...], bool]:
        """The text's vector (D,), what it took, and whether it is of the beginning only."""
        if task.vector is not None:
            return task.vector, (), task.truncated
        (encoded,) = await self.encoder.run([Prompt(text=task.text, label=task.label)], call=call)
        step = Step(producer=self.card.name, engine=self.encoder.name, usage=encoded.usage)
        return np.asarray(encoded.vector), (step,), encoded.finish == "length"

    def _finding(self, task: Task, vector: np.ndarray, output: Output) -> Finding:
        if fault := fault_of(output):
            return abstention(self.card.name, task, fault)
        near = likeness(self.seen, vector)
        confidence = self.agreement.confidence(signs_of(output, near))
        accepted, reason = self.acceptance.judge(confidence, None)
        text = output.text.strip()
        return Finding(
            specialist=self.card.name,
            value=text,
            text=text,
            confidence=confidence,
            accepted=accepted,
            reason=reason,
            in_scope=near,
            label=task.label,
            label_without_pii=task.label_without_pii,
            task="generate",
        )


def fault_of(output: Output) -> Reason | None:
    """Why what was written is no reply; None if it is one."""
    if not output.text.strip():
        return Reason("abstain.empty_answer")
    return None if output.finish == "stop" else Reason("abstain.reply_cut")


def signs_of(output: Output, near: float) -> dict[str, float]:
    """What the confidence in a written reply is made of.

    Tokens that the engine guessed by prompt lookup come without a probability and count as certain. It is so when the
    confidence is fitted and when it is used.
    """
    tokens = max(output.usage.tokens_out, 1)
    signs = {"cosine": near, "length": math.log(tokens)}
    return signs if output.logprob is None else {**signs, "logprob": output.logprob / tokens}


def likeness(seen: np.ndarray, vector: np.ndarray) -> float:  # (N, D), (D,)
    """The cosine to the nearest text that was seen in training."""
    return float((seen @ vector).max()) if len(seen) else 0.0


def thin_out(vectors: np.ndarray) -> np.ndarray:  # (N, D) to (M, D)
    """At most so many vectors as a version keeps, evenly over all of them, as precise as they are stored."""
    if len(vectors) > MOST_SEEN:
        vectors = vectors[np.arange(MOST_SEEN) * len(vectors) // MOST_SEEN]
    return np.asarray(vectors.astype(np.float16).astype(np.float32))


def load_write(
    card: SpecialistCard,
    described: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    engine: Engine,
    encoder: Engine,
    calling: Calling | None = None,
) -> WriteSpecialist:
    """The specialist of a stored description. Raises `LookupError`, `TypeError` or `ValueError` if it is none."""
    return WriteSpecialist(
        card=card,
        engine=engine,
        encoder=encoder,
        writing=Writing(instruction=str(described["instruction"])),
        seen=stored_array(load_arrays(files[SEEN_FILE]), "vectors", None, None).astype(np.float32),
        agreement=from_json(Agreement, described["agreement"]),
        acceptance=from_json(Acceptance, described["acceptance"]),
        max_tokens=int(described["max_tokens"]),
        adapter=card.name,
        calling=calling,
    )
