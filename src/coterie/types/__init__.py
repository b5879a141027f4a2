"""The nouns of Coterie as plain values: frozen, keyword-only, compared by content.

No value reads a clock, a file or the network: ids and times are passed in by the code that makes the value. Read the
modules in the order in which a request meets them:

    request      the request of a caller, and the task that one specialist gets of it
    tools        functions that may be called for it
    call         on whose behalf a call is made: principal, pseudonyms, limits
    egress       what leaves this machine, and what came of it
    label        sensitivity and its order
    route        the specialists that are asked
    context      what a session knows, and the view of it that a specialist gets
    engine       the prompt and the output of an engine
    finding      the result of a specialist
    decision     typed questions, and the probabilities that answer one
    flywheel     captured calls, jobs, deployments, labels
    trace        the answer and the record of how it was made
    usage, ledger, settlement, reading
                 what was spent, its totals, what one request writes to the store, and what pages read of it
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
from coterie.types.decision import NO, YES, Deciding, Decision, DecisionMethod, Option, Question, QuestionKind
from coterie.types.egress import EGRESS_IN_STREAM, NOT_SENT, Egress, note_egress, noted_egress, summarise_egress
from coterie.types.engine import Failure, Output, Prompt, RelayHead
from coterie.types.finding import Citation, Contradiction, Evidence, Field, Finding, Flow, Step, Verdict
from coterie.types.flywheel import (
    AnsweredCall,
    CapturedExample,
    ComparedAnswer,
    ComparedConfidence,
    ComparedStream,
    DeploymentState,
    DifferingAnswer,
    FlywheelChanged,
    FlywheelRecord,
    GivenLabel,
    JobVolume,
    LabelOrigin,
    ReviewPurpose,
)
from coterie.types.label import Label, Labelled, Release, label_without_pii
from coterie.types.reading import (
    TOTALS_PARTS,
    Grouping,
    Ledger,
    LedgerRow,
    Opinion,
    RequestFilter,
    RequestLine,
    RequestPage,
    SessionPage,
    SiteSummary,
    Totals,
    TotalsPart,
    Training,
)
from coterie.types.reason import Reason, all_of, worded
from coterie.types.request import (
    MOST_CALLS,
    AcceptanceOverride,
    Columns,
    Document,
    Function,
    FunctionCall,
    FunctionResult,
    ReleaseSlot,
    Request,
    Rung,
    Sampling,
    Task,
    Tools,
)
from coterie.types.route import Part, Route, SpecialistCard
from coterie.types.settlement import AuditEvent, Feedback, LedgerSummary, SessionSummary, Settlement
from coterie.types.trace import Answer, Decisions, Delta, DocumentAnswer, Stage, Status, Trace
from coterie.types.usage import Usage, total_usage

__all__ = [
    "CONTENT_KINDS",
    "EGRESS_IN_STREAM",
    "MOST_CALLS",
    "NO",
    "NOT_SENT",
    "SYSTEM",
    "TOTALS_PARTS",
    "YES",
    "AcceptanceOverride",
    "Allowance",
    "Amount",
    "Answer",
    "AnswerForm",
    "AnsweredCall",
    "AuditEvent",
    "Bill",
    "CallContext",
    "CapturedExample",
    "Citation",
    "Columns",
    "ComparedAnswer",
    "ComparedConfidence",
    "ComparedStream",
    "Content",
    "Context",
    "ContextView",
    "Contradiction",
    "Deciding",
    "Decision",
    "DecisionMethod",
    "Decisions",
    "Delta",
    "DeploymentState",
    "DifferingAnswer",
    "Document",
    "DocumentAnswer",
    "Egress",
    "Entry",
    "Evidence",
    "Fact",
    "Failure",
    "Feedback",
    "Field",
    "Finding",
    "FindingSummary",
    "Flow",
    "FlywheelChanged",
    "FlywheelRecord",
    "Function",
    "FunctionCall",
    "FunctionResult",
    "GivenLabel",
    "Grouping",
    "JobVolume",
    "Label",
    "LabelOrigin",
    "Labelled",
    "Ledger",
    "LedgerRow",
    "LedgerSummary",
    "Message",
    "Omission",
    "Opinion",
    "Option",
    "Output",
    "Part",
    "Passage",
    "Principal",
    "Prompt",
    "PseudonymValue",
    "Pseudonyms",
    "Question",
    "QuestionKind",
    "Reason",
    "RelayHead",
    "Release",
    "ReleaseSlot",
    "Request",
    "RequestFilter",
    "RequestLine",
    "RequestPage",
    "Retraction",
    "ReviewPurpose",
    "Route",
    "Rung",
    "Sampling",
    "Scalar",
    "SentTexts",
    "SessionPage",
    "SessionSummary",
    "Settlement",
    "SiteSummary",
    "SpecialistCard",
    "Stage",
    "Status",
    "Step",
    "Task",
    "TaskKind",
    "Tools",
    "Totals",
    "TotalsPart",
    "Trace",
    "Training",
    "Usage",
    "Verdict",
    "ViewRecord",
    "all_of",
    "label_without_pii",
    "note_egress",
    "noted_egress",
    "summarise_egress",
    "total_usage",
    "worded",
]
