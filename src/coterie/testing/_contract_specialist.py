"""What every specialist must do."""

from __future__ import annotations

from coterie.protocols import SpeakingSpecialist, Specialist
from coterie.types import ContextView, Delta, Finding, SpecialistCard, Task

from ._clauses import check_step, require


async def check_specialist(specialist: Specialist, task: Task, view: ContextView | None = None) -> None:
    """Check the clauses of `protocols.Specialist` and, where it speaks, of `SpeakingSpecialist`.

    Args:
        specialist: is consulted once and, if it speaks, listened to once.
        task: one of its kind; whether it answers or abstains does not matter.
        view: what it may see of the context; nothing by default.
    """
    view = view or ContextView()
    require("it has a card and can be consulted", isinstance(specialist, Specialist))
    _check_card(specialist.card)
    _check_finding(await specialist.consult(task, view), specialist.card, task)
    if isinstance(specialist, SpeakingSpecialist):
        await _check_speaking(specialist, task, view)


def _check_card(card: SpecialistCard) -> None:
    require("its card is a SpecialistCard", isinstance(card, SpecialistCard))
    require("its card has a name", card.name)
    require("its card has a version: a content hash or the checksum of its model", card.version)


def _check_finding(finding: Finding, card: SpecialistCard, task: Task) -> None:
    require(f"it gives a Finding, not {type(finding).__name__}", isinstance(finding, Finding))
    require(f"the finding names who found it: {finding.specialist!r}", finding.specialist == card.name)
    require(f"confidence is from 0 to 1: {finding.confidence!r}", 0.0 <= finding.confidence <= 1.0)
    require("accepted or not, the finding says why", finding.reason.strip())
    require(
        "an accepted finding has a value and a text",
        not finding.accepted or (finding.value is not None and finding.text),
    )
    require("the finding's label is at least the task's", finding.label >= task.label)
    unannounced = {fact.name for fact in finding.facts} - set(card.writes)
    require(f"it writes only the facts its card names, not {sorted(unannounced)}", not unannounced)
    for fact in finding.facts:
        require(f"a fact's confidence is from 0 to 1: {fact.confidence!r}", 0.0 <= fact.confidence <= 1.0)
    for step in finding.steps:
        check_step(step)


async def _check_speaking(specialist: SpeakingSpecialist, task: Task, view: ContextView) -> None:
    events = [event async for event in specialist.speak(task, view)]
    findings = [event for event in events if isinstance(event, Finding)]
    require(f"speaking ends with one Finding, not {len(findings)}", len(findings) == 1)
    require("the Finding is the last", events[-1] is findings[0])
    (finding,) = findings
    _check_finding(finding, specialist.card, task)
    spoken = "".join(event.text for event in events if isinstance(event, Delta))
    if finding.accepted:
        require(f"the deltas together are the finding's text: {spoken!r}, {finding.text!r}", spoken == finding.text)
    else:
        require(f"who abstains has said nothing before: {spoken!r}", not spoken)
