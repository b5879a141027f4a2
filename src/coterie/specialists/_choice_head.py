"""A head that weighs what a small causal model would say: one logit a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from coterie.protocols import Engine
from coterie.types import Output, Prompt

from ._prompting import Prompting, answers


@dataclass(frozen=True, kw_only=True)
class ChoiceHead:
    """Logits are log-likelihoods of the labels' words behind the prompt of a text."""

    engine: Engine
    adapter: str
    prompting: Prompting
    labels: tuple[str, ...]

    @property
    def name(self):
        return self.engine.name

    @property
    def clearance(self):
        return self.engine.clearance

    async def run(self, batch: Sequence[Prompt]) -> Sequence[Output]:
        choices = answers(self.labels)
        return await self.engine.run(
            [
                replace(each, text=self.prompting.prompt(each.text), choices=choices, adapter=self.adapter)
                for each in batch
            ]
        )

    async def close(self) -> None:
        await self.engine.close()
