"""What is known of a request at its end: stages, trace and answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from coterie.types.context import ViewRecord
from coterie.types.finding import Citation, Finding, Step, Verdict
from coterie.types.html import html_table, html_text
from coterie.types.label import Label
from coterie.types.route import Route
from coterie.types.usage import Usage


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a request's life as it happened."""

    name: str
    milliseconds: float
    note: str = ""
    after: float = 0.0
    """Milliseconds from the request's coming in to the stage's beginning."""


Status = Literal["accepted", "abstained", "escalated"]
"""How a request ended: answered here, answered by nobody, or answered by the generalist."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One request's whole life."""

    id: str
    time: float
    """When it was admitted, seconds since the epoch."""
    tenant: str
    session: str | None
    label: Label
    status: Status
    route: Route
    findings: tuple[Finding, ...]
    views: tuple[ViewRecord, ...]
    verdicts: tuple[Verdict, ...]
    stages: tuple[Stage, ...]
    steps: tuple[Step, ...]
    usage: Usage
    """Sum of the steps, with `milliseconds` the time the asker waited."""
    counterfactual_cost: Decimal | None
    """What the configured generalist would have cost; None when there is none or its price is unknown."""
    restated: str = ""
    """What was asked, standing on its own, where it leant on earlier turns; empty where it stood alone."""
    degraded: str = ""
    """What the generalist failed to do, and why, where the answer had to do without; empty where nothing was missed."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Answer:
    """What the asker gets: the text and the trace behind it."""

    text: str
    trace: Trace

    @property
    def status(self) -> Status:
        """How the request ended."""
        return self.trace.status

    @property
    def accepted(self) -> bool:
        """True when somebody answered."""
        return self.trace.status != "abstained"

    @property
    def route(self) -> Route:
        """Whom the router asked, and why."""
        return self.trace.route

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What each specialist found."""
        return self.trace.findings

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The quotes that the accepted findings rest on."""
        return tuple(citation for finding in self.findings if finding.accepted for citation in finding.citations)

    @property
    def usage(self) -> Usage:
        """What it took: time, tokens, energy, money."""
        return self.trace.usage

    def __repr__(self) -> str:
        return f"Answer({self.text!r}, {self._summary})"

    def _repr_html_(self) -> str:
        header = ["specialist", "value", "confidence", "accepted", "reason"]
        rows = [(each.specialist, each.text, each.confidence, each.accepted, each.reason) for each in self.findings]
        quotes = [(each.document, each.heading, each.text) for each in self.citations]
        cited = html_table(["document", "heading", "quote"], quotes) if quotes else ""
        return html_text(self.text) + html_table(header, rows) + cited + html_text(self._summary, tag="small")

    @property
    def _summary(self) -> str:
        route = " -> ".join(self.route.specialists) or "nobody"
        return f"{self.status}, route {route}, {self.usage.milliseconds:.0f} ms"


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A piece of the answer's text, ready to be shown."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A try of an engine that gave no answer, and what it took as far as that is known."""

    reason: str
    usage: Usage = field(default_factory=Usage)
    turned_away: bool = False
    """The provider took nothing for it: it refused before it began."""


@dataclass(frozen=True, kw_only=True)
class DocumentAnswer:
    """What came of a question about a document that the request brought."""

    finding: Finding
    """The answer, or why there is none."""
    read: tuple[Finding, ...]
    """The reader's, one a short question."""
    stages: tuple[Stage, ...]
    """What was done and by whom: `plan`, `read` and `conclude`, round after round."""
    seen: int = 0
    """Quotes that the generalist was shown."""
    degraded: str = ""
    """What the generalist failed to do, and why."""
