"""Loads a stored version as a classifier of the rung that it was trained for, or as a chain of rungs.

Of a chain the cheapest rung is asked first, the next if it is not confident. The rungs are whole specialists of one
version, as training made each of them. The chain adds the stop, which is the confidence from which a rung's answer is
given and the next is not asked, and the threshold from which the answer of the chain is accepted. Training determines
what both guarantee (`coterie.training.train`), so a rung cannot be exchanged for another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from coterie.engines.linear import LinearEngine
from coterie.errors import TooLong
from coterie.learning.scope import ScopeScore
from coterie.protocols import Engine, Specialist
from coterie.runtime.codec import from_json, parse_json, to_json
from coterie.specialists.parts import (
    ADAPTER_FILE,
    Acceptance,
    ConfidenceLine,
    Prompting,
    answers,
    load_own_encoder,
    model_of,
)
from coterie.tasks.classify.model import ClassifySpecialist
from coterie.tasks.classify.prompted import load_prompted
from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.contract import Parts, Stored
from coterie.types import (
    SYSTEM,
    CallContext,
    ContextView,
    Finding,
    Label,
    Output,
    Prompt,
    Reason,
    Rung,
    SpecialistCard,
    Step,
    Task,
)

MODEL = "model.json"
CHAINED: tuple[Rung, ...] = ("lexical", "embedding", "encoder")


class ChainRung(NamedTuple):
    """One rung of a chain."""

    rung: Rung
    specialist: ClassifySpecialist


@dataclass(frozen=True, kw_only=True)
class ChainSpecialist:
    """Asks its rungs in order until one is confident; the last one decides on its answer as any classifier does."""

    card: SpecialistCard
    links: tuple[ChainRung, ...]
    """The rungs, cheapest first. The last one decides by the chain's own acceptance."""
    stop: float | None
    """Confidence from which a rung before the last answers; None asks the last one only."""
    acceptance: Acceptance
    """The acceptance of the whole chain: its threshold is never above the stop."""

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:
        """Return the finding of the first confident rung, with the usage of all rungs that were asked."""
        passed: list[str] = []
        steps: tuple[Step, ...] = ()
        for rung, specialist in self.links[:-1] if self.stop is not None else ():
            finding = await specialist.consult(replace(task, acceptance_override=None), view, call=call)
            steps += tuple(replace(step, note=_noted(rung, finding)) for step in finding.steps)
            if finding.accepted:
                return self._given(finding, task, rung, passed, steps)
            passed.append(rung)
        rung, last = self.links[-1]
        finding = await last.consult(task, view, call=call)
        steps += tuple(replace(step, note=_noted(rung, finding)) for step in finding.steps)
        return replace(finding, steps=steps, reason=_chain_reason(finding.reason, rung, passed))

    def describe(self) -> dict[str, object]:
        """Return the description that a stored version has beside its rungs' files."""
        return {
            "task": "classify",
            "rung": "chain",
            "links": [rung for rung, _ in self.links],
            "labels": list(self.labels),
            "stop": self.stop,
            "acceptance": to_json(self.acceptance),
            "columns": [],
            **({"record": list(record)} if (record := self.links[0].specialist.record) else {}),
        }

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all its rungs."""
        return self.links[0].specialist.labels

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Encoders that belong to its rungs alone."""
        return tuple(engine for _, specialist in self.links for engine in specialist.engines)

    def _given(
        self, finding: Finding, task: Task, rung: Rung, passed: Sequence[str], steps: tuple[Step, ...]
    ) -> Finding:
        """Return the answer of a rung before the last; an acceptance override applies to the whole chain."""
        reason = finding.reason
        if task.acceptance_override is not None:
            accepted, reason = self.acceptance.judge(
                finding.confidence, None, task.acceptance_override, guess=finding.text
            )
            finding = replace(finding, accepted=accepted, facts=finding.facts if accepted else ())
        return replace(finding, steps=steps, reason=_chain_reason(reason, rung, passed))


def make_chain(
    card: SpecialistCard, links: Sequence[ChainRung], *, stop: float | None, acceptance: Acceptance
) -> ChainSpecialist:
    """Make a chain of trained rungs: each accepts by the chain's stop, the last by its threshold.

    Raises:
        ValueError: there are too few rungs, or they do not fit together.
    """
    if len(links) < 2 or [rung for rung in CHAINED if rung in dict(links)] != [rung for rung, _ in links]:
        raise ValueError(f"a chain of {[rung for rung, _ in links]}")
    if any(specialist.labels != links[0].specialist.labels for _, specialist in links):
        raise ValueError("its rungs have different labels")
    if stop is not None and not (0 <= stop <= 1 and acceptance.threshold is not None and acceptance.threshold <= stop):
        raise ValueError(f"it stops from {stop!r}, and accepts from {acceptance.threshold!r}")
    lines = [*[stop] * (len(links) - 1), acceptance.threshold]
    judging = [
        ChainRung(rung, _judging(specialist, card, rung, line, acceptance.target_risk))
        for (rung, specialist), line in zip(links, lines, strict=True)
    ]
    return ChainSpecialist(card=card, links=tuple(judging), stop=stop, acceptance=acceptance)


def _judging(
    specialist: ClassifySpecialist, card: SpecialistCard, rung: Rung, line: float | None, risk: float
) -> ClassifySpecialist:
    """Return a rung with another threshold than its own; its scope is kept."""
    acceptance = replace(specialist.acceptance, threshold=line, target_risk=risk)
    return replace(specialist, card=replace(card, rung=rung), acceptance=acceptance)


def _noted(rung: Rung, finding: Finding) -> str:
    return f"rung {rung}: {finding.reason}"


def _chain_reason(reason: Reason, rung: Rung, passed: Sequence[str]) -> Reason:
    """Return the reason of the answering rung, with its name and the rungs that were not confident before."""
    return reason.noting(Reason("note.rung", rung=rung, after=" and ".join(passed)))


# --- As files ------------------------------------------------------------------------------------


def chain_files(chain: ChainSpecialist, rungs: Mapping[str, Mapping[str, bytes]]) -> dict[str, bytes]:
    """Return the files of a version: each rung's own, byte for byte, under its name, and the chain's description."""
    files = {f"{rung}-{name}": content for rung, own in rungs.items() for name, content in own.items()}
    return files | {MODEL: json.dumps(chain.describe(), indent=1).encode()}


def load_chain(
    card: SpecialistCard,
    described: Mapping[str, Any],
    files: Mapping[str, bytes],
    load: Callable[[SpecialistCard, Mapping[str, Any], Mapping[str, bytes]], ClassifySpecialist],
) -> ChainSpecialist:
    """Load the chain of a stored version.

    Args:
        card: Card of the specialist.
        described: Its `model.json`.
        files: Files of the version.
        load: Makes one rung from its card, its own `model.json` and its files.

    Raises:
        LookupError, ValueError: the files do not describe a chain.
    """
    links = []
    for rung in described["links"]:
        own = {name.removeprefix(f"{rung}-"): name for name in files if name.startswith(f"{rung}-")}
        content = {name: files[stored] for name, stored in own.items()}
        about = parse_json(content[MODEL])
        if about["rung"] != rung:
            raise ValueError(f"its rung {rung!r} is of {about['rung']!r}")
        links.append(ChainRung(rung, load(replace(card, rung=rung), about, content)))
    if any(list(specialist.labels) != described["labels"] for _, specialist in links):
        raise ValueError("its rungs have other labels than it has")
    stop = described["stop"]
    acceptance = from_json(Acceptance, described["acceptance"])
    return make_chain(card, links, stop=None if stop is None else float(stop), acceptance=acceptance)


# --- Loads a stored version as a classifier of the rung that it was trained for.


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
