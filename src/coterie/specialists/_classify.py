"""`classify`: names the label, or labels, of a text.

The rung decides what the head looks at: n-grams alone (`lexical`), an encoding too (`embedding`, `encoder`), or how
likely a small model that was tuned to say the label is to say each (`slm`). Logits become
probabilities by one temperature, and that of the answer a confidence by one line; a finding is accepted when its
confidence reaches the threshold that holds the target risk and the text looks like what the specialist was trained on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from coterie.protocols import Engine
from coterie.types import ContextView, Evidence, Fact, Finding, Output, Prompt, SpecialistCard, Step, Task

from ._abstention import abstention
from ._acceptance import Acceptance
from ._line import STRAIGHT, ConfidenceLine
from ._scope import Scope
from ._truncated import truncated_finding

_ALTERNATIVES = 3  # runners-up shown with a finding


@dataclass(frozen=True, kw_only=True)
class ClassifySpecialist:
    """Asks the encoder (if its rung has one) and its head, then decides whether to stand by the result."""

    card: SpecialistCard
    head: Engine
    labels: tuple[str, ...]
    acceptance: Acceptance
    line: ConfidenceLine = STRAIGHT
    """From the probability of the answer to its confidence."""
    encoder: Engine | None = None
    multi_label: bool = False
    scope: Scope | None = None
    """Where there is an encoding: what the in-scope score is made of. Otherwise it is the largest logit."""

    async def consult(self, task: Task, view: ContextView) -> Finding:  # noqa: ARG002 - a classifier reads the text alone
        """The label or labels of the task's text, with the runners-up as evidence."""
        if not task.text.strip():
            return abstention(self.card.name, task, "there is no text to classify")
        vector, steps, truncated = await self._encode(task)
        (scored,) = await self.head.run([Prompt(text=task.text, vector=vector, label=task.label)])
        steps = (*steps, self._step(self.head, scored))
        truncated = truncated or scored.finish == "length"
        finding = self._finding(task, np.asarray(scored.scores), vector, steps)
        return truncated_finding(finding) if truncated else finding

    async def _encode(self, task: Task) -> tuple[np.ndarray | None, tuple[Step, ...], bool]:
        """The text's vector, what it took, and whether it is of the beginning only."""
        shared = None if self.card.rung == "encoder" else task.vector  # what comes along is of the shared encoder
        if self.encoder is None or shared is not None:
            return shared, (), self.encoder is not None and task.truncated
        (encoded,) = await self.encoder.run([Prompt(text=task.text, label=task.label)])
        return encoded.vector, (self._step(self.encoder, encoded),), encoded.finish == "length"

    def describe(self) -> dict[str, object]:
        """What a stored version says of it beside the head."""
        return {
            "task": "classify",
            "rung": self.card.rung,
            "labels": list(self.labels),
            "multi_label": self.multi_label,
            "acceptance": asdict(self.acceptance),
            "line": asdict(self.line),
            "columns": [],
        }

    def _finding(self, task: Task, logits: np.ndarray, vector: np.ndarray | None, steps: tuple[Step, ...]) -> Finding:
        scaled = logits / self.acceptance.temperature
        in_scope = float(scaled.max())
        if self.scope is not None and vector is not None:
            in_scope = self.scope.score(scaled, vector)
        chosen, confidence, ranked = self._decode(scaled)
        text = ", ".join(chosen) or "none of the labels"
        accepted, reason = self.acceptance.judge(confidence, in_scope, task.keep, guess=text)
        return Finding(
            specialist=self.card.name,
            value=chosen if self.multi_label else chosen[0],
            text=text,
            confidence=confidence,
            accepted=accepted,
            reason=reason,
            label=task.label,
            impersonal=task.impersonal,
            evidence=ranked,
            facts=self._facts(chosen, confidence) if accepted else (),
            steps=steps,
            in_scope=in_scope,
        )

    def _decode(self, scaled: np.ndarray) -> tuple[tuple[str, ...], float, tuple[Evidence, ...]]:
        """The labels chosen, the probability that they are right, and the best labels as evidence."""
        if self.multi_label:
            probabilities = 0.5 * (1.0 + np.tanh(scaled / 2.0))  # the sigmoid, without overflow
            chosen = np.flatnonzero(probabilities >= 0.5)
            confidence = float(self.line.believe(np.prod(np.maximum(probabilities, 1.0 - probabilities))))
        else:
            exponentials = np.exp(scaled - scaled.max())
            probabilities = exponentials / exponentials.sum()
            chosen = probabilities.argmax(keepdims=True)
            confidence = float(self.line.believe(probabilities.max()))
            probabilities = _around(probabilities, int(chosen[0]), confidence)
        best = np.argsort(-probabilities, kind="stable")[: _ALTERNATIVES + 1]
        ranked = tuple(self._alternative(index, float(probabilities[index])) for index in best)
        return tuple(self.labels[index] for index in chosen), confidence, ranked

    def _alternative(self, index: int, probability: float) -> Evidence:
        label = self.labels[index]
        return Evidence(kind="alternative", name=label, text=f"{label}: {probability:.2f}", weight=probability)

    def _facts(self, chosen: tuple[str, ...], confidence: float) -> tuple[Fact, ...]:
        """The label under the first name it writes; None, which supersedes an older label, when no label fits."""
        value = "|".join(chosen) or None
        return tuple(Fact(name=name, value=value, confidence=confidence) for name in self.card.writes[:1])

    def _step(self, engine: Engine, output: Output) -> Step:
        return Step(producer=self.card.name, engine=engine.name, usage=output.usage)


def _around(probabilities: np.ndarray, chosen: int, confidence: float) -> np.ndarray:  # (L,) -> (L,)
    """Probabilities in which the chosen label has its confidence; the others share the rest, none more than it."""
    rest = max(1.0 - float(probabilities[chosen]), np.finfo(float).tiny)
    shared = np.minimum(probabilities * ((1.0 - confidence) / rest), confidence)
    shared[chosen] = confidence
    return shared
