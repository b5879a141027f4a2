"""Combines several rungs of one `classify` specialist: the cheapest is asked first, the next if it is not confident.

The rungs are whole specialists of one version, as training made each of them. The chain adds the stop, which is the
confidence from which a rung's answer is given and the next is not asked, and the threshold from which the answer of the
chain is accepted. Training determines what both guarantee (`coterie.training`), so a rung cannot be exchanged for
another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from coterie.protocols import Engine
from coterie.runtime.codec import from_json, parse_json, to_json
from coterie.specialists.acceptance import Acceptance
from coterie.tasks.classify.model import ClassifySpecialist
from coterie.types import SYSTEM, CallContext, ContextView, Finding, Reason, Rung, SpecialistCard, Step, Task

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
