"""The nouns of Coterie as plain values: frozen, keyword-only, compared by content.

Identity and time are given by whoever stores or schedules a value; no value reads a clock, a file or the network.
Read them in the order in which a request meets them: `request` (what is asked) -> `route` (which specialists) ->
`context` (what is known) -> `finding` (what a specialist returns) -> `trace` (the answer and how it came about);
`engine` is what runs weights, `call` says on whose behalf a call is made, `label` is sensitivity; `usage`, `ledger`
and `settlement` are what is written down.
"""

from __future__ import annotations

from coterie.types.call import (
    SYSTEM,
    Allowance,
    Amount,
    Bill,
    CallContext,
    Principal,
    Pseudonyms,
    PseudonymValue,
    SentTexts,
)
from coterie.types.context import (
    CONTENT_KINDS,
    AnswerForm,
    Content,
    Context,
    ContextView,
    Entry,
    Fact,
    FindingSummary,
    Message,
    Omission,
    Passage,
    Retraction,
    Scalar,
    TaskKind,
    ViewRecord,
)
from coterie.types.engine import Output, Prompt
from coterie.types.finding import Citation, Evidence, Field, Finding, Flow, Step, Verdict
from coterie.types.label import Label, Labelled, Release, impersonal
from coterie.types.ledger import Grouping, Ledger, LedgerRow, Training
from coterie.types.request import Columns, Document, Keep, Request, Rung, Task
from coterie.types.route import Part, Route, SpecialistCard
from coterie.types.settlement import AuditEvent, Feedback, LedgerSummary, SessionSummary, Settlement
from coterie.types.trace import Answer, Delta, DocumentAnswer, Failure, Stage, Status, Trace
from coterie.types.usage import Usage, total_usage

__all__ = [
    "CONTENT_KINDS",
    "SYSTEM",
    "Allowance",
    "Amount",
    "Answer",
    "AnswerForm",
    "AuditEvent",
    "Bill",
    "CallContext",
    "Citation",
    "Columns",
    "Content",
    "Context",
    "ContextView",
    "Delta",
    "Document",
    "DocumentAnswer",
    "Entry",
    "Evidence",
    "Fact",
    "Failure",
    "Feedback",
    "Field",
    "Finding",
    "FindingSummary",
    "Flow",
    "Grouping",
    "Keep",
    "Label",
    "Labelled",
    "Ledger",
    "LedgerRow",
    "LedgerSummary",
    "Message",
    "Omission",
    "Output",
    "Part",
    "Passage",
    "Principal",
    "Prompt",
    "PseudonymValue",
    "Pseudonyms",
    "Release",
    "Request",
    "Retraction",
    "Route",
    "Rung",
    "Scalar",
    "SentTexts",
    "SessionSummary",
    "Settlement",
    "SpecialistCard",
    "Stage",
    "Status",
    "Step",
    "Task",
    "TaskKind",
    "Trace",
    "Training",
    "Usage",
    "Verdict",
    "ViewRecord",
    "impersonal",
    "total_usage",
]
