"""`classify` by a prompted model (rung `llm`): no weights are trained, examples are chosen from the training texts.

Each request gets its own prompt, with the training texts nearest to it as examples. The model's answer is held against
the votes of those texts; how far the two agree says how sure the finding is (`_agreement`). A prompt holds training
texts, so it is as sensitive as the most sensitive of those and of the request: the egress gate judges the whole of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from coterie.config import SpecialistSection
from coterie.errors import EgressRefused, TooLong
from coterie.protocols import Engine
from coterie.types import (
    ContextView,
    Evidence,
    Fact,
    Finding,
    Label,
    Output,
    Prompt,
    SpecialistCard,
    Step,
    Task,
    impersonal,
)

from ._abstention import abstention
from ._acceptance import Acceptance
from ._adapter import model_of
from ._agreement import Agreement, read_signs
from ._demonstrations import Demonstrations, Neighbour, vote
from ._few_shot import NEIGHBOURS, VOTERS, FewShot

_ALTERNATIVES = 3  # runners-up shown with a finding
_QUOTED = 40  # characters of an answer that is no label
_CUT = "its neighbours were looked for by its beginning only"


@dataclass(frozen=True, kw_only=True)
class PromptedSpecialist:
    """Finds examples, asks its model, and decides whether to stand by what it says."""

    card: SpecialistCard
    model: Engine
    encoder: Engine
    demonstrations: Demonstrations
    prompting: FewShot
    agreement: Agreement
    acceptance: Acceptance
    label: Label
    """Sensitivity of the demonstrations."""
    made_for: Mapping[str, str | None]
    """The model whose answers it was calibrated on: `name`, `sha256`."""

    async def consult(self, task: Task, view: ContextView) -> Finding:  # noqa: ARG002 - it reads the text alone
        """The label that the model names, or an abstention.

        A prompt that may not go to the model is one, with the verdict as its reason, and so is one that does not fit.
        Raises what the model's engine raises otherwise.
        """
        if not task.text.strip():
            return abstention(self.card.name, task, "there is no text to classify")
        vector, steps, cut = await self._encode(task)
        neighbours = self.demonstrations.nearest(vector, NEIGHBOURS)
        prompt = replace(
            self.prompting.prompt(task.text, neighbours, max(task.label, self.label)),
            impersonal=max(impersonal(task), self.label),
        )
        try:
            (output,) = await self.model.run([prompt])
        except EgressRefused as refusal:
            refused = replace(abstention(self.card.name, task, refusal.message), impersonal=prompt.impersonal)
            return replace(refused, label=prompt.label, steps=steps, verdicts=(refusal.verdict,))
        except TooLong as error:
            long = replace(abstention(self.card.name, task, error.message), impersonal=prompt.impersonal)
            return replace(long, label=prompt.label, steps=steps)
        steps = (*steps, self._step(self.model, output))
        finding = self._finding(prompt, neighbours, output)
        noted = f"{finding.reason}; {_CUT}" if cut else finding.reason
        return replace(finding, steps=steps, reason=noted, truncated=cut)

    async def _encode(self, task: Task) -> tuple[np.ndarray, tuple[Step, ...], bool]:
        """The text's vector (D,), what it took, and whether it is of the beginning only."""
        if task.vector is not None:
            return task.vector, (), task.truncated
        (encoded,) = await self.encoder.run([Prompt(text=task.text, label=task.label)])
        return np.asarray(encoded.vector), (self._step(self.encoder, encoded),), encoded.finish == "length"

    def _finding(self, prompt: Prompt, neighbours: Sequence[Neighbour], output: Output) -> Finding:
        reply = read_reply(self.prompting, neighbours, output)
        confidence = 0.0 if reply.label is None else self.agreement.confidence(reply.signs)
        in_scope = neighbours[0].cosine if neighbours else 0.0
        accepted, reason = self.acceptance.judge(confidence, in_scope)
        if reply.label is None:
            accepted, reason = False, reply.trouble
        return Finding(
            specialist=self.card.name,
            value=reply.label,
            text=reply.label or "",
            confidence=confidence,
            accepted=accepted,
            reason=reason,
            in_scope=in_scope,
            label=prompt.label,
            impersonal=prompt.impersonal,
            evidence=_alternatives(reply, confidence),
            facts=self._facts(reply.label, confidence) if accepted else (),
            verdicts=() if output.verdict is None else (output.verdict,),
        )

    def _facts(self, label: str | None, confidence: float) -> tuple[Fact, ...]:
        return tuple(Fact(name=name, value=label, confidence=confidence) for name in self.card.writes[:1])

    def _step(self, engine: Engine, output: Output) -> Step:
        return Step(producer=self.card.name, engine=engine.name, usage=output.usage)

    def describe(self) -> dict[str, object]:
        """What a stored version says of it beside its demonstrations."""
        return {
            "task": "classify",
            "rung": "llm",
            "labels": list(self.prompting.labels),
            "prompting": self.prompting.describe(),
            "agreement": asdict(self.agreement),
            "acceptance": asdict(self.acceptance),
            "data_label": self.label.value,
            "model": dict(self.made_for),
            "columns": [],
        }

    def to_files(self) -> dict[str, bytes]:
        """What is stored as its version."""
        described = json.dumps(self.describe(), indent=1, ensure_ascii=False).encode()
        return {"model.json": described, **self.demonstrations.to_files()}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model's answer comes to."""

    label: str | None
    """None when it named none, or said that none fits."""
    shares: Mapping[str, float]
    """Of the neighbours' votes."""
    signs: Mapping[str, float]
    """Of how far to believe it; empty without a label."""
    trouble: str = ""
    """Why there is no label."""


def read_reply(prompting: FewShot, neighbours: Sequence[Neighbour], output: Output) -> Reply:
    """The label that an answer names, and the signs of how far to believe it."""
    voters = neighbours[:VOTERS]
    shares, choices = vote(voters), prompting.choices(neighbours)
    said = prompting.read(output.text, choices)
    if said is not None and not prompting.refuses(said):
        signs = read_signs(said, shares, [each.cosine for each in voters], output.logprob)
        return Reply(label=said, shares=shares, signs=signs)
    if said is not None:
        trouble = f"the model says that none of the {len(choices) - 1} labels it was shown fits"
    else:
        answer = " ".join(output.text.split())
        quoted = f"{answer[:_QUOTED]!r}, which names none" if answer else "nothing, which is none"
        trouble = f"the model answered {quoted} of the {len(choices)} labels it was shown, or several"
        trouble = trouble if answer else trouble.removesuffix(", or several")
    return Reply(label=None, shares=shares, signs={}, trouble=trouble)


def _alternatives(reply: Reply, confidence: float) -> tuple[Evidence, ...]:
    """The label, then the neighbours' others, which share what confidence is left as they share the votes."""
    others = {name: share for name, share in reply.shares.items() if name != reply.label}
    left = (1.0 - confidence) / (sum(others.values()) or 1.0)
    ranked = sorted(others, key=lambda name: -others[name])[:_ALTERNATIVES]
    found = [] if reply.label is None else [(reply.label, confidence)]
    found += [(name, others[name] * left) for name in ranked]
    return tuple(Evidence(kind="alternative", name=n, text=f"{n}: {p:.2f}", weight=p) for n, p in found)


def calibrated_on(files: Mapping[str, bytes]) -> Mapping[str, str | None] | None:
    """The model whose answers a stored version was calibrated on; None where its files do not say."""
    try:
        model = json.loads(files["model.json"])["model"]
        return {"name": model["name"], "sha256": model["sha256"]}
    except (KeyError, TypeError, ValueError):
        return None


def load_prompted(
    card: SpecialistCard,
    section: SpecialistSection,
    described: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    encoder: Engine,
    models: Mapping[str, Engine],
    least: Label,
) -> PromptedSpecialist:
    """The specialist of a stored version.

    Args:
        card: Its card.
        section: Its section, whose `model` is asked; `data_label` says anew how sensitive the demonstrations are.
        described: What the version says of itself.
        files: The version's.
        encoder: The network's.
        models: Generative engines by `[models]` key.
        least: The label the demonstrations have at least, unless the section says otherwise.

    Raises:
        ConfigError: the model is not open.
        KeyError, TypeError, ValueError: it is not whole.
    """
    return PromptedSpecialist(
        card=card,
        model=model_of(card, section, models),
        encoder=encoder,
        demonstrations=Demonstrations.from_files(files),
        prompting=FewShot.restore(described["labels"], described["prompting"]),
        agreement=Agreement.restore(described["agreement"]),
        acceptance=Acceptance(**described["acceptance"]),
        label=section.data_label or max(Label(described["data_label"]), least),
        made_for={key: described["model"][key] for key in ("name", "sha256")},
    )
