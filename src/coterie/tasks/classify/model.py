"""`classify`: names the label, or labels, of a text.

The rung decides what the head uses: n-grams alone (`lexical`), an encoding too (`embedding`, `encoder`), or the
likelihood of each label under a small model that was tuned to name it (`slm`). One temperature turns logits into
probabilities, and one line turns that of the answer into a confidence. A finding is accepted when its confidence
reaches the threshold that holds the target risk and the text looks like what the specialist was trained on.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from coterie.errors import InputError
from coterie.learning.calibration import softmax
from coterie.learning.scope import ScopeScore
from coterie.protocols import Engine, WarmsUp
from coterie.runtime.caches import BatchMemo, KnownTexts
from coterie.runtime.codec import replace, to_json
from coterie.runtime.concurrency import aside
from coterie.specialists.parts import STRAIGHT, Acceptance, ConfidenceLine, abstention, truncated_finding
from coterie.text.records import part_of, read_record, render_columns, render_record
from coterie.types import (
    SYSTEM,
    AcceptanceOverride,
    CallContext,
    ContextView,
    Evidence,
    Fact,
    Finding,
    Output,
    Prompt,
    Reason,
    SpecialistCard,
    Step,
    Task,
    Usage,
)

_MOST_KNOWN = 8192
"""Texts whose logits a classifier caches, of all tenants together."""
_MOST_DECIDED = 4
"""Decisions that are cached for each of them: a network uses one override or a few."""


class _Scored(NamedTuple):
    """The scores of a text before a decision about it."""

    scaled: np.ndarray  # (L,) logits divided by the temperature
    in_scope: float
    steps: tuple[Step, ...]
    truncated: bool
    decided: dict[tuple[AcceptanceOverride | None, bool], Finding]
    """Cached decisions, by override and by whether the distribution was requested."""


@dataclass(frozen=True, kw_only=True)
class ClassifySpecialist:
    """Runs the encoder (if its rung has one) and its head, then decides whether to accept the result."""

    card: SpecialistCard
    head: Engine
    labels: tuple[str, ...]
    acceptance: Acceptance
    line: ConfidenceLine = STRAIGHT
    """Turns the probability of the answer into its confidence."""
    encoder: Engine | None = None
    multi_label: bool = False
    scope: ScopeScore | None = None
    """The in-scope score, where there is an encoding; otherwise the largest logit is used."""
    alternatives: int = 3
    """Number of runners-up that are shown with a finding."""
    record: tuple[str, ...] = ()
    """Columns that it was trained on; empty if it was trained on a text."""
    known: KnownTexts[_Scored] = field(default_factory=lambda: KnownTexts(_MOST_KNOWN), compare=False, repr=False)

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:  # noqa: ARG002 - a classifier reads the text alone
        """Return the label or labels of the task's text, with the runners-up as evidence."""
        size = len(task.text) if task.text.lstrip().startswith("{") else 0
        task = await aside(size, partial(self._as_text, task))
        if not task.text.strip():
            return abstention(self.card.name, task, Reason("abstain.no_text"))
        scored = await self._scored(task, call)
        wish = (task.acceptance_override, task.distribution)
        if (decided := scored.decided.get(wish)) is not None:
            return replace(decided, label=task.label, label_without_pii=task.label_without_pii, steps=scored.steps)
        finding = self.decide(task, scored.scaled, scored.in_scope, scored.steps)
        finding = truncated_finding(finding) if scored.truncated else finding
        if len(scored.decided) < _MOST_DECIDED:
            scored.decided[wish] = finding
        return finding

    async def _scored(self, task: Task, call: CallContext) -> _Scored:
        """Return logits and in-scope score; a text that the same tenant sent before takes no CPU time."""
        tenant = call.principal.tenant
        given = b"" if task.vector is None else task.vector.tobytes()
        beside = given + bytes([task.truncated])
        if (cached := self.known.get(tenant, task.text, beside)) is not None:
            return cached
        vector, steps, truncated = await self._encode(task, call)
        (scored,) = await self.head.run([Prompt(text=task.text, vector=vector, label=task.label)], call=call)
        scaled = np.asarray(scored.scores) / self.acceptance.temperature
        in_scope = float(scaled.max()) if self.scope is None or vector is None else self.scope.score(scaled, vector)
        steps = (*steps, self._step(self.head, scored))
        scored_text = _Scored(scaled, in_scope, steps, truncated or scored.finish == "length", {})
        self.known.put(tenant, task.text, scored_text._replace(steps=tuple(map(_free, steps)), decided={}), beside)
        return scored_text

    def _as_text(self, task: Task) -> Task:
        """Return the task with its record as text: the columns of training, or all of them where there is no text.

        A text that is a JSON object is a record, too.
        """
        columns = task.columns or {}
        if own := part_of(columns, self.record):
            text = render_columns(own)
        else:
            text = task.text if task.text.strip() or not columns else render_record(columns)
            if (record := read_record(text)) is not None:
                own_fields = {name: record[name] for name in self.record if name in record}
                with suppress(InputError):  # too deep a one is a text
                    text = render_record(own_fields or record)
        return task if text == task.text else replace(task, text=text, vector=None, truncated=False)

    async def _encode(self, task: Task, call: CallContext) -> tuple[np.ndarray | None, tuple[Step, ...], bool]:
        """Return the text's vector, its usage, and whether only the beginning of the text was read."""
        shared = None if self.card.rung == "encoder" else task.vector  # what comes along is of the shared encoder
        if self.encoder is None or shared is not None:
            return shared, (), self.encoder is not None and task.truncated
        (encoded,) = await self.encoder.run([Prompt(text=task.text, label=task.label)], call=call)
        return encoded.vector, (self._step(self.encoder, encoded),), encoded.finish == "length"

    @property
    def memos(self) -> tuple[BatchMemo[np.ndarray], ...]:
        """Memos whose results may be prepared for a batch of the shared encoder's vectors."""
        return () if self.engines else (*getattr(self.head, "memos", ()), *(self.scope.memos if self.scope else ()))

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Its own encoder, if it has one."""
        return () if self.encoder is None or self.card.rung != "encoder" else (self.encoder,)

    async def warm(self, *, slots: int = 1) -> None:
        """Load the model of its head, if it has one; the number of slots does not matter."""
        if isinstance(self.head, WarmsUp):
            await self.head.warm(slots=slots)

    def describe(self) -> dict[str, object]:
        """Return the description that a stored version has beside the head."""
        return {
            "task": "classify",
            "rung": self.card.rung,
            "labels": list(self.labels),
            "multi_label": self.multi_label,
            "acceptance": to_json(self.acceptance),
            "line": to_json(self.line),
            "columns": [],
            **({"record": list(self.record)} if self.record else {}),
        }

    def decide(self, task: Task, scaled: np.ndarray, in_scope: float, steps: tuple[Step, ...] = ()) -> Finding:
        """Return the finding from logits (L,) that are divided by the temperature, and the in-scope score."""
        chosen, confidence, probabilities = self._decode(scaled)
        text = ", ".join(chosen) or "none of the labels"
        accepted, reason = self.acceptance.judge(confidence, in_scope, task.acceptance_override, guess=text)
        return Finding(
            specialist=self.card.name,
            value=chosen if self.multi_label else chosen[0],
            text=text,
            confidence=confidence,
            accepted=accepted,
            reason=reason,
            label=task.label,
            label_without_pii=task.label_without_pii,
            evidence=self._ranked(probabilities),
            distribution=dict(zip(self.labels, probabilities.tolist(), strict=True)) if task.distribution else {},
            facts=self._facts(chosen, confidence) if accepted else (),
            steps=steps,
            in_scope=in_scope,
        )

    def _decode(self, scaled: np.ndarray) -> tuple[tuple[str, ...], float, np.ndarray]:
        """Return the labels chosen, the probability that they are right, and that of each label (L,)."""
        if self.multi_label:
            probabilities = 0.5 * (1.0 + np.tanh(scaled / 2.0))  # the sigmoid, without overflow
            chosen = np.flatnonzero(probabilities >= 0.5)
            confidence = float(self.line.believe(np.prod(np.maximum(probabilities, 1.0 - probabilities))))
        else:
            probabilities = softmax(scaled)
            chosen = probabilities.argmax(axis=-1, keepdims=True)
            confidence = float(self.line.believe(probabilities.max()))
            probabilities = _around(probabilities, int(chosen[0]), confidence)
        return tuple(self.labels[index] for index in chosen), confidence, probabilities

    def _ranked(self, probabilities: np.ndarray) -> tuple[Evidence, ...]:
        best = np.argsort(-probabilities, kind="stable")[: self.alternatives + 1]
        return tuple(self._alternative(index, float(probabilities[index])) for index in best)

    def _alternative(self, index: int, probability: float) -> Evidence:
        label = self.labels[index]
        return Evidence(kind="alternative", name=label, text=f"{label}: {probability:.2f}", weight=probability)

    def _facts(self, chosen: tuple[str, ...], confidence: float) -> tuple[Fact, ...]:
        """Return the label under the first name that it writes; None, which supersedes an older label, if none fits."""
        value = "|".join(chosen) or None
        return tuple(Fact(name=name, value=value, confidence=confidence) for name in self.card.writes[:1])

    def _step(self, engine: Engine, output: Output) -> Step:
        return Step(producer=self.card.name, engine=engine.name, usage=output.usage)


def _free(step: Step) -> Step:
    """Return the step of a cached result: the same tokens, at no cost."""
    return replace(step, usage=Usage(tokens_in=step.usage.tokens_in, tokens_out=step.usage.tokens_out))


def _around(probabilities: np.ndarray, chosen: int, confidence: float) -> np.ndarray:  # (L,) -> (L,)
    """Return probabilities in which the chosen label has its confidence; the others share the rest, none exceeds it."""
    rest = max(1.0 - float(probabilities[chosen]), np.finfo(float).tiny)
    shared = np.minimum(probabilities * ((1.0 - confidence) / rest), confidence)
    shared[chosen] = confidence
    return shared
