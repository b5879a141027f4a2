"""The egress gate: the only path to an engine outside this process.

No other module of the package imports `OpenAIEngine`; a test holds that. Each prompt's label is judged
before anything of it is sent, and each answer carries the verdict that let its prompt out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

from coterie.config import OpenAIModel
from coterie.errors import EgressRefused
from coterie.protocols import Policy, StreamingEngine
from coterie.types import Delta, Flow, Label, Output, Prompt, Verdict

from ._budget import Budgets

if TYPE_CHECKING:
    from coterie.engines import EngineOptions


class Gate:
    """Opens remote engines, each behind the policy."""

    def __init__(self, policy: Policy, budgets: Budgets | None = None) -> None:
        self._policy = policy
        self._budgets = budgets

    def open(self, name: str, model: OpenAIModel, **options: Unpack[EngineOptions]) -> StreamingEngine:
        """The engine for a model of the configuration. It opens no connection before the first allowed prompt.

        `options` put something in place of the network, the clock and chance: see `OpenAIEngine`.
        """
        from coterie.engines import OpenAIEngine  # noqa: PLC0415 - a network without remote models needs no HTTP client

        return _GatedEngine(OpenAIEngine(name, model, **options), self._policy, model, self._budgets)

    def check(self, name: str, model: OpenAIModel, label: Label) -> None:
        """Whether data of this label could go to a model at all, asked before work that would all be refused.

        Raises:
            EgressRefused: it could not.
        """
        _let_out(self._policy, Flow(destination=name, label=label, clearance=model.clearance))


class _GatedEngine:
    """A remote engine that is given only what the policy lets out and the budgets can bear."""

    def __init__(
        self, engine: StreamingEngine, policy: Policy, model: OpenAIModel, budgets: Budgets | None = None
    ) -> None:
        self.name = engine.name
        self.clearance = engine.clearance
        self._engine = engine
        self._policy = policy
        self._model = model
        self._budgets = budgets or Budgets({}, Path())

    async def run(self, batch: Sequence[Prompt]) -> Sequence[Output]:
        """One answer a prompt, with its verdict. Raises `EgressRefused`, and sends nothing, if one is refused."""
        prompts = tuple(batch)  # what is judged is what is sent
        verdicts = [_let_out(self._policy, self._flow(prompt)) for prompt in prompts]
        async with self._budgets.held(prompts, self._model, self.name) as held:
            held.outputs = outputs = await self._engine.run(prompts)
        return [replace(output, verdict=verdict) for output, verdict in zip(outputs, verdicts, strict=True)]

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta | Output]:
        """Pieces as they come, then the answer with its verdict. Raises `EgressRefused` before anything is sent."""
        verdict = _let_out(self._policy, self._flow(prompt))
        # `stream` of an engine is an async generator; closing it ends the request.
        pieces = cast("AsyncGenerator[Delta | Output, None]", self._engine.stream(prompt))
        async with self._budgets.held([prompt], self._model, self.name) as held, aclosing(pieces) as events:
            async for event in events:
                if isinstance(event, Output):
                    held.outputs = [event]
                    yield replace(event, verdict=verdict)
                else:
                    yield event

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.close()

    def _flow(self, prompt: Prompt) -> Flow:
        return Flow(destination=self.name, label=prompt.label, clearance=self.clearance)


def _let_out(policy: Policy, flow: Flow) -> Verdict:
    verdict = policy.judge(flow)
    if verdict.allowed is not True:
        raise EgressRefused(
            verdict,
            hint=f"Raise `clearance` of model {flow.destination!r} in coterie.toml, or keep such requests local.",
        )
    return verdict
