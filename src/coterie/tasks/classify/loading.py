"""Loads a stored version as a classifier of the rung that it was trained for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from coterie.engines.linear import LinearEngine
from coterie.errors import TooLong
from coterie.learning.scope import ScopeScore
from coterie.protocols import Engine, Specialist
from coterie.runtime.codec import from_json
from coterie.specialists.acceptance import Acceptance, ConfidenceLine
from coterie.specialists.artefacts import ADAPTER_FILE, Prompting, answers, load_own_encoder, model_of
from coterie.tasks.classify.chain import load_chain
from coterie.tasks.classify.model import ClassifySpecialist
from coterie.tasks.classify.prompted import load_prompted
from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.contract import Parts, Stored
from coterie.types import SYSTEM, CallContext, Label, Output, Prompt, SpecialistCard


def load_classify(card: SpecialistCard, section: ClassifySection, stored: Stored, parts: Parts) -> Specialist:
    """Return the specialist of a version. Raises `LookupError`, `TypeError` or `ValueError` if it describes none."""
    described, files = stored.described, stored.files
    match card.rung:
        case "slm":
            return _choose(card, described, files, model_of(card, section, parts.models))
        case "chain":
            return load_chain(card, described, files, partial(_classify, encoder=parts.encoder))
        case "llm":
            return load_prompted(card, section, stored, parts)
    return _classify(card, described, files, parts.encoder)


def _classify(
    card: SpecialistCard, described: Mapping[str, Any], files: Mapping[str, bytes], encoder: Engine
) -> ClassifySpecialist:
    head, labels = LinearEngine.load(files), tuple(described["labels"])
    if head.size != len(labels):
        raise ValueError(f"its head gives {head.size} logits for {len(labels)} labels")
    return ClassifySpecialist(
        card=card,
        head=head,
        labels=labels,
        acceptance=from_json(Acceptance, described["acceptance"]),
        line=from_json(ConfidenceLine, described.get("line", {})),
        encoder=_encoder_of(card, files, encoder),
        multi_label=described["multi_label"],
        scope=ScopeScore.from_files(files, len(labels)),
        record=tuple(map(str, described.get("record", ()))),
    )


def _choose(
    card: SpecialistCard, described: Mapping[str, Any], files: Mapping[str, bytes], engine: Engine
) -> ClassifySpecialist:
    if ADAPTER_FILE not in files:
        raise LookupError(f"it has no {ADAPTER_FILE}")
    labels = tuple(str(label) for label in described["labels"])
    prompting = from_json(Prompting, described["prompt"])
    return ClassifySpecialist(
        card=card,
        head=ChoiceHead(engine=engine, adapter=card.name, prompting=prompting, labels=labels),
        labels=labels,
        acceptance=from_json(Acceptance, described["acceptance"]),
        line=from_json(ConfidenceLine, described.get("line", {})),
        record=tuple(map(str, described.get("record", ()))),
    )


def _encoder_of(card: SpecialistCard, files: Mapping[str, bytes], shared: Engine) -> Engine | None:
    """Return the encoder of its texts: none, the network's or its own."""
    if card.rung == "encoder":
        return load_own_encoder(card.name, files)
    return shared if card.rung == "embedding" else None


# --- A head that weighs what a tuned small model would say: one logit a label.

_KEPT = 0.7
"""Share of a text that is kept in the next attempt when it does not fit the model's window."""


class ChoiceHead:
    """A head whose logits are log-likelihoods of the labels' words after the prompt of a text.

    A text that does not fit the model's window is cut at its end until it fits; its output says so (`length`). The
    head is an engine like other heads. The engine that runs the model is shared, so closing the head leaves it open.
    """

    def __init__(self, *, engine: Engine, adapter: str, prompting: Prompting, labels: Sequence[str]) -> None:
        """Create a head over an engine that holds an adapter of this name."""
        self.name = engine.name
        self.clearance = engine.clearance
        self._engine = engine
        self._adapter = adapter
        self._prompting = prompting
        self._choices = answers(labels)

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:
        """Return the logits (L,) of each prompt's text."""
        prompts = [self._prompt(prompt, prompt.text) for prompt in batch]
        try:
            return await self._engine.run(prompts, call=call)
        except TooLong:
            return [await self._cut_to_fit(prompt, call) for prompt in batch]

    async def warm(self, *, slots: int = 1) -> None:  # noqa: ARG002 - its prompts share no beginning
        """Load the model and compute the labels' tokens, so that the first caller does not wait for it."""
        await self._engine.run([self._prompt(Prompt(label=Label.PUBLIC), "")], call=SYSTEM)

    async def close(self) -> None:
        """Do nothing: the engine is closed by its owner."""

    def _prompt(self, prompt: Prompt, text: str) -> Prompt:
        text_prompt = self._prompting.prompt(text)
        return replace(prompt, text=text_prompt, choices=self._choices, adapter=self._adapter, vector=None)

    async def _cut_to_fit(self, prompt: Prompt, call: CallContext) -> Output:
        """Return the logits of as much of a text as fits. Raises `TooLong` when not even the bare prompt does."""
        text = prompt.text
        while True:
            try:
                (output,) = await self._engine.run([self._prompt(prompt, text)], call=call)
            except TooLong:
                if not text:
                    raise
                text = text[: int(len(text) * _KEPT)]
            else:
                return output if text == prompt.text else replace(output, finish="length")
