"""A head that weighs what a tuned small model would say: one logit a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from coterie.errors import TooLong
from coterie.protocols import Engine
from coterie.specialists.prompts import Prompting, answers
from coterie.types import SYSTEM, CallContext, Label, Output, Prompt

_KEPT = 0.7
"""Share of a text that is tried next when it does not fit the model's window."""


class ChoiceHead:
    """Logits are log-likelihoods of the labels' words behind the prompt of a text.

    A text that does not fit the model's window is cut at its end until it does; its output says so (`length`). It is
    an engine like other heads; the engine that runs the model is shared with others, so closing the head leaves it.
    """

    def __init__(self, *, engine: Engine, adapter: str, prompting: Prompting, labels: Sequence[str]) -> None:
        """A head over an engine that holds an adapter of this name."""
        self.name = engine.name
        self.clearance = engine.clearance
        self._engine = engine
        self._adapter = adapter
        self._prompting = prompting
        self._choices = answers(labels)

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:
        """The logits (L,) of each prompt's text."""
        prompts = [self._prompt(each, each.text) for each in batch]
        try:
            return await self._engine.run(prompts, call=call)
        except TooLong:
            return [await self._cut_to_fit(each, call) for each in batch]

    async def warm(self, *, slots: int = 1) -> None:  # noqa: ARG002 - its prompts share no beginning
        """Load the model and find the labels' tokens, so that the first caller does not wait for that."""
        await self._engine.run([self._prompt(Prompt(label=Label.PUBLIC), "")], call=SYSTEM)

    async def close(self) -> None:
        """Nothing: the engine is closed by whoever opened it."""

    def _prompt(self, prompt: Prompt, text: str) -> Prompt:
        asked = self._prompting.prompt(text)
        return replace(prompt, text=asked, choices=self._choices, adapter=self._adapter, vector=None)

    async def _cut_to_fit(self, prompt: Prompt, call: CallContext) -> Output:
        """The logits of as much of a text as fits. Raises `TooLong` when not even the bare prompt does."""
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
