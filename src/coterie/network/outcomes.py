"""Outcomes of the parts of a request: functions of values that the pipeline's stages call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from coterie.context.sharing import describe_view, entries_of
from coterie.errors import InputError, TooLong
from coterie.generalist.generalist import NAME
from coterie.generalist.pack import guess_of, say, topic
from coterie.runtime.codec import replace
from coterie.specialists.parts import abstention
from coterie.types import (
    Context,
    ContextView,
    DocumentAnswer,
    Entry,
    Finding,
    Label,
    Part,
    Passage,
    Reason,
    Request,
    SpecialistCard,
    Status,
    Task,
    Verdict,
    ViewRecord,
    all_of,
    label_without_pii,
)

LONGEST_DOCUMENT = 2_000_000
"""Most characters of a document that comes with a request: about 500,000 tokens, a minute of reading."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one part of a request, as far as it got."""

    part: Part
    pinned: bool = False
    """Whether the request named the specialist: only the last stage, which contains it, can answer."""
    status: Status = "abstained"
    reason: Reason = field(default_factory=lambda: Reason("abstain.not_asked"))
    findings: tuple[Finding, ...] = ()
    views: tuple[ViewRecord, ...] = ()
    entries: tuple[Entry, ...] = ()
    """Entries that the part adds to the context."""
    degraded: Reason | None = None
    """What the generalist failed to do, and why; None if nothing failed."""
    filled: str = ""
    """The specialists' findings as JSON, if the request gives a schema."""

    def having(
        self, findings: Sequence[Finding], views: Mapping[str, ContextView], entries: tuple[Entry, ...] = ()
    ) -> Outcome:
        """Return the outcome with the findings, views and entries of one more stage."""
        records = tuple(describe_view(name, view) for name, view in views.items())
        return replace(
            self,
            findings=self.findings + tuple(findings),
            views=self.views + records,
            entries=self.entries + entries,
        )

    @property
    def answering(self) -> tuple[Finding, ...]:
        """The accepted findings of the last stage that has any: it has read the earlier ones."""
        by_specialist = {finding.specialist: finding for finding in self.findings if finding.accepted}
        stages = self.part.stages[-1:] if self.pinned else self.part.stages
        for stage in reversed(stages):
            if findings := tuple(by_specialist[name] for name in stage if name in by_specialist):
                return findings
        return ()


def render(outcome: Outcome, *, part: bool) -> str:
    """Return an outcome as text: findings, or the reason for none; with several parts, also its topic and specialist.

    A finding that gives reasons, such as a score, is shown even if it abstains: a person decides with it. If the
    generalist failed, the best of the uncertain findings is shown, and marked as such.
    """
    about = f"{topic(outcome.part.text)}: " if part else ""
    if calls := calls_of(outcome):
        return calls
    if outcome.status == "escalated":
        return about + outcome.findings[-1].text
    if outcome.filled:
        return outcome.filled
    if outcome.status == "accepted":
        return about + say(outcome.answering, named=part)
    reasons = [finding.text for finding in outcome.findings if any(e.kind == "reason" for e in finding.evidence)]
    guess = guess_of(outcome.findings) if outcome.degraded and not reasons else ""
    why = f"not answered ({outcome.reason})." if part else f"Not answered: {outcome.reason}."
    return about + "\n".join(filter(None, [why, *reasons, guess]))


def calls_of(outcome: Outcome) -> str:
    """Return the calls that answer, as JSON; empty if the answer is text, or there is none."""
    findings = {"escalated": outcome.findings[-1:], "accepted": outcome.answering}.get(outcome.status, ())
    return next((finding.text for finding in findings if finding.called), "")


def kind_of(outcome: Outcome) -> Literal["found", "written", "abstained", "called"]:
    """Return the kind of text that `render` returns."""
    if calls_of(outcome):
        return "called"
    kinds: Mapping[Status, Literal["found", "written", "abstained"]] = {"accepted": "found", "escalated": "written"}
    return kinds.get(outcome.status, "abstained")


def verify(finding: Finding, writes: Sequence[str], task: Task, view: ContextView) -> Finding:
    """Raise a finding's label to that of its sources, and drop facts that its specialist may not write."""
    least = max([task.label, *(entry.label for entry in view.entries)])
    finding = replace(
        finding,
        facts=tuple(fact for fact in finding.facts if fact.name in writes),
        retracts=tuple(name for name in finding.retracts if name in writes),
        label_without_pii=label_without_pii(finding, task, *view.entries),
    )
    if finding.label >= least:
        return finding
    verdict = Verdict(
        allowed=False,
        rule="label.flow",
        reason=Reason("label.flow", specialist=finding.specialist, labelled=finding.label.value, least=least.value),
    )
    return replace(finding, label=least, verdicts=(*finding.verdicts, verdict))


def verified(
    outcome: Outcome, findings: Sequence[Finding], views: Mapping[str, ContextView], context: Context, *, now: float
) -> tuple[Outcome, Context]:
    """Return outcome and context with the verified findings of one more stage, and the facts that they wrote."""
    entries = entries_of(zip(findings, views.values(), strict=True), now=now)
    return outcome.having(findings, views, entries), context.append(*entries)


def rendered_findings(outcome: Outcome) -> tuple[Finding, ...]:
    """Return the findings that an answer is made of: those that answer, else the last one, which gives the reason."""
    return outcome.answering or outcome.findings[-1:]


def outcome_of(outcome: Outcome, answered: DocumentAnswer, *, now: float) -> Outcome:
    """Return the outcome of a part whose document was read: the reader's findings and the answer."""
    finding, read = answered.finding, answered.read
    if len(read) == 1 and finding.specialist != NAME:  # the reader's finding is the answer
        finding, read = replace(finding, steps=(*read[0].steps, *finding.steps)), ()
    status: Status = "abstained" if not finding.accepted else "escalated" if finding.specialist == NAME else "accepted"
    seen = ViewRecord(specialist=NAME, seen=(f"quote from the document (x{answered.seen})",), omitted=())
    return replace(
        outcome,
        status=status,
        reason=said_by(finding),
        findings=(*read, finding),
        views=(seen,) if answered.seen else (),
        entries=entries_of([(finding, ContextView())], now=now),
        degraded=answered.degraded,
    )


def refused(finding: Finding) -> bool:
    """Return whether a finding abstains because the egress gate refused: a rule that applied, not a failure."""
    return not finding.accepted and not finding.steps and any(not verdict.allowed for verdict in finding.verdicts)


def overall_status(statuses: Sequence[Status]) -> Status:
    """Return the status of all parts: escalated if the generalist answered any, else accepted if any is accepted."""
    return next((status for status in ("escalated", "accepted") if status in statuses), "abstained")


def check_document(request: Request) -> None:
    """Check that a request's document can be read. Raises `InputError`."""
    document = request.document
    if document is None:
        return
    if request.specialist is not None:
        raise InputError(
            f"Asked specialist {request.specialist!r} about a document; documents are read by the network's reader.",
            hint="Leave the specialist out, or send the text of the document as the request itself.",
        )
    if not request.text.strip() or not document.text.strip():
        missing = "document is empty" if request.text.strip() else "question about the document is empty"
        raise InputError(f"The {missing}.", hint="Send a question as the text, and the document's text beside it.")
    if len(document.text) > LONGEST_DOCUMENT:
        raise TooLong(
            f"The document exceeds the limit of {LONGEST_DOCUMENT:,} characters ({len(document.text):,}).",
            hint="Put it in an index (`coterie index`) and ask an `answer` specialist, or send a part of it.",
        )


def abstain(name: str, task: Task, reason: Reason, *verdicts: Verdict) -> Finding:
    """Return the finding of a specialist that could not be asked or could not answer."""
    return replace(abstention(name, task, reason), verdicts=verdicts)


def said_by(finding: Finding) -> Reason:
    """Return the reason of a finding, with the name of its specialist."""
    return Reason("outcome.finding", specialist=finding.specialist, why=finding.reason)


def nothing_to_read(view: ContextView) -> Reason | None:
    """Return why a specialist need not be asked: no index gave a passage, and one was not searched. None to ask it."""
    if not view.unsearched or any(isinstance(entry.content, Passage) for entry in view.entries):
        return None
    return all_of(Reason("abstain.index_not_searched", index=name, why=why) for name, why in view.unsearched.items())


def task_of(part: Part, request: Request, question: str, *, whole: bool = True) -> Task:
    """Return the task of a part's specialists.

    `question` is the request in the principal's own words, and `whole` whether the part is all of it.
    """
    return Task(
        text=part.text,
        asked=question,
        rewritten=whole and request.text != question,
        columns=request.columns,
        label=label_of(request),
        label_without_pii=request.label_without_pii,
        clearance=request.clearance or Label.PUBLIC,
        tenant=request.tenant,
        language=request.language,
        max_tokens=request.max_tokens,
        sampling=request.sampling,
        schema=request.schema,
        tools=request.tools,
        vector=part.vector,
        truncated=part.truncated,
    )


def for_generalist(task: Task, cards: Sequence[SpecialistCard]) -> Task:
    """Return the task for the generalist, after these specialists could not answer.

    If one of them is a score, the task has the columns that scores read and no others: the generalist must not
    decide by columns that a score leaves out, such as a protected attribute.
    """
    labelled = [card.options for card in cards if card.options]
    task = replace(task, labels=labelled[0] if len(labelled) == 1 else ())
    scores = [card for card in cards if card.guards_columns]
    if not scores or not task.columns:
        return task
    read = {column for card in scores for column in card.columns}
    return replace(task, columns={name: value for name, value in task.columns.items() if name in read})


def label_of(request: Request) -> Label:
    """Return an admitted request's label; the highest label for one that was not admitted."""
    return request.label or Label.RESTRICTED
