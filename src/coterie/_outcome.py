"""What became of a request: functions of values that the network's stages call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from coterie.context import describe_view
from coterie.types import (
    ContextView,
    Entry,
    Finding,
    Label,
    Part,
    Passage,
    Request,
    Status,
    Task,
    Verdict,
    ViewRecord,
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one part of a request, as far as it got."""

    part: Part
    pinned: bool = False
    """The asker named the specialist: only the last wave, which it is in, can answer."""
    status: Status = "abstained"
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    views: tuple[ViewRecord, ...] = ()
    entries: tuple[Entry, ...] = ()
    """What it adds to the context."""

    def having(
        self, findings: Sequence[Finding], views: Mapping[str, ContextView], entries: tuple[Entry, ...] = ()
    ) -> Outcome:
        """The outcome with the findings, views and entries of one more wave."""
        records = tuple(describe_view(name, view) for name, view in views.items())
        return replace(
            self,
            findings=self.findings + tuple(findings),
            views=self.views + records,
            entries=self.entries + entries,
        )

    @property
    def answering(self) -> tuple[Finding, ...]:
        """The accepted findings of the last wave that has any: earlier ones were read by it."""
        asked = {finding.specialist: finding for finding in self.findings if finding.accepted}
        waves = self.part.waves[-1:] if self.pinned else self.part.waves
        for wave in reversed(waves):
            if found := tuple(asked[name] for name in wave if name in asked):
                return found
        return ()


def synthesise(outcome: Outcome, *, named: bool) -> str:
    """An outcome as text: what was found (with who found it, where there are several), or why nothing was.

    A finding that gives its reasons, such as a score, is shown even where it abstains: a person decides with it.
    """
    if outcome.status == "escalated":
        return outcome.findings[-1].text
    if outcome.status == "abstained":
        known = [finding.text for finding in outcome.findings if any(e.kind == "reason" for e in finding.evidence)]
        return "\n".join([f"Not answered: {outcome.reason}.", *known])
    named = named or len(outcome.answering) > 1
    return "\n".join(
        f"{finding.specialist}: {finding.text}" if named else finding.text for finding in outcome.answering
    )


def check(finding: Finding, writes: Sequence[str], task: Task, view: ContextView) -> Finding:
    """Nothing goes on unchecked: a finding is as sensitive as what it was made of, and writes what it may write."""
    finding = replace(
        finding,
        facts=tuple(fact for fact in finding.facts if fact.name in writes),
        retracts=tuple(name for name in finding.retracts if name in writes),
    )
    least = max([task.label, *(entry.label for entry in view.entries)])
    if finding.label >= least:
        return finding
    verdict = Verdict(
        allowed=False,
        rule="label.flow",
        reason=f"{finding.specialist} labelled its finding {finding.label.value!r}, below the {least.value!r} of what "
        f"it was shown; it carries {least.value!r}",
    )
    return replace(finding, label=least, verdicts=(*finding.verdicts, verdict))


def overall_status(statuses: Sequence[Status]) -> Status:
    """Escalated if the generalist answered any part, else accepted if anybody did."""
    return next((status for status in ("escalated", "accepted") if status in statuses), "abstained")


def abstain(name: str, task: Task, reason: str, *verdicts: Verdict) -> Finding:
    """The finding of a specialist that could not be asked or could not answer."""
    return Finding(
        specialist=name,
        value=None,
        text="",
        confidence=0.0,
        accepted=False,
        reason=reason,
        label=task.label,
        verdicts=verdicts,
    )


def nothing_to_read(view: ContextView) -> str:
    """Why a specialist need not be asked: none of its shelves gave a passage, and one was not searched."""
    if not view.unsearched or any(isinstance(entry.content, Passage) for entry in view.entries):
        return ""
    return "; ".join(f"shelf {name!r} could not be searched: {why}" for name, why in view.unsearched.items())


def task_of(part: Part, request: Request, asked: str) -> Task:
    """What the specialists of a part are handed; `asked` is the request in the asker's own words."""
    return Task(
        text=part.text,
        asked=asked,
        columns=request.columns,
        label=label_of(request),
        clearance=request.clearance or Label.PUBLIC,
        tenant=request.tenant,
        max_tokens=request.max_tokens,
        vector=part.vector,
        truncated=part.truncated,
    )


def label_of(request: Request) -> Label:
    """An admitted request's label; one that was not admitted is as sensitive as can be."""
    return request.label or Label.RESTRICTED
