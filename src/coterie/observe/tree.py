"""A trace drawn as a tree for a terminal: `coterie ask --trace`.

Text from a request or a model is shown literally: its markup has no effect, and its control characters, which
could control the terminal, are made visible.
"""

from __future__ import annotations

import math

from rich.text import Text
from rich.tree import Tree

from coterie.accounting.breakdown import format_money
from coterie.types import Citation, Field, Finding, Trace, Usage, ViewRecord

_EVIDENCE_SHOWN = 5


def draw_trace(trace: Trace, *, currency: str = "USD") -> Tree:
    """Return the trace of a request as a tree: route, findings with their views, verdicts, stages, ledger."""
    root = Tree(
        _line(
            f"trace {trace.id}",
            {"accepted": "bold green", "escalated": "bold blue", "abstained": "bold yellow"}[trace.status],
            f"  {trace.status}  {_duration(trace.usage)}",
        )
    )
    if trace.rewritten:
        root.add(_line("rewritten", "cyan", f"  {trace.rewritten}"))
    if trace.degraded:
        root.add(_line("degraded", "red", f"  {trace.degraded.in_full()}"))
    _draw_route(root.add(_line("route", "bold", f"  {trace.route.reason}")), trace)
    views = {view.specialist: view for view in trace.views}
    for finding in trace.findings:
        _draw_finding(root, finding, views.get(finding.specialist))
    for verdict in trace.verdicts:
        style = "green" if verdict.allowed else "red"
        root.add(_line(f"verdict {verdict.rule}", style, f"  {verdict.reason}"))
    egress = root.add(_line("egress", "bold", f"  {trace.egress_summary}"))
    for crossing in trace.egress:
        hidden = ", pseudonymised" if crossing.pseudonymised else ""
        about = (
            f"  {crossing.label.value}{hidden}, {crossing.characters:,} characters, {crossing.outcome}  {crossing.id}"
        )
        branch = egress.add(_line(crossing.engine, "magenta" if crossing.sent else "dim", about))
        if crossing.text:
            branch.add(_line("text", "dim", f"  {crossing.text}"))
    stages = root.add(_line("stages", "bold"))
    for stage in trace.stages:
        stages.add(_line(stage.name, "cyan", f"  {stage.milliseconds:.2f} ms  {stage.note}".rstrip()))
    _draw_ledger(root, trace, currency)
    return root


def _draw_route(branch: Tree, trace: Trace) -> None:
    for part in trace.route.parts:
        order = " -> ".join(" + ".join(stage) for stage in part.stages)
        branch.add(_line(order or "nobody", "cyan", f"  {part.score:.3f}  {part.text}".rstrip()))
    ranked = sorted(trace.route.scores.items(), key=lambda item: -item[1])
    if ranked:
        branch.add(_line("scores", "dim", "  " + "  ".join(f"{name} {score:.3f}" for name, score in ranked[:8])))


def _draw_finding(root: Tree, finding: Finding, view: ViewRecord | None) -> None:
    word, style = ("accepted", "green") if finding.accepted else ("abstained", "yellow")
    sure = "" if (confidence := finding.known_confidence) is None else f" at {confidence:.3f}"
    branch = root.add(_line(finding.specialist, style, f"  {word}{sure}  {finding.text}".rstrip()))
    branch.add(_line("why", "dim", f"  {finding.reason.in_full()}"))
    if view is not None and (view.seen or view.omitted):
        omitted = [f"without {omission.what} ({omission.reason.in_full()})" for omission in view.omitted]
        budget = "" if view.budget is None else f" of {view.budget:,}"
        seen = f"{', '.join(view.seen) or 'nothing'} ({view.tokens:,}{budget} tokens)"
        branch.add(_line("saw", "dim", "  " + "; ".join([seen, *omitted])))
    for field in finding.fields:
        branch.add(_draw_field(field))
    for number, citation in enumerate(finding.citations, start=1):
        branch.add(_draw_citation(number, citation))
    if finding.fields:  # they quote what the evidence quotes
        return
    for evidence in finding.evidence[:_EVIDENCE_SHOWN]:
        branch.add(_line(evidence.kind, "dim", f"  {evidence.text or evidence.name}  {evidence.weight:+.3f}"))
    if len(finding.evidence) > _EVIDENCE_SHOWN:
        branch.add(_line(f"and {len(finding.evidence) - _EVIDENCE_SHOWN} more", "dim"))


def _draw_citation(number: int, citation: Citation) -> Text:
    page = "" if citation.page is None else f"  page {citation.page}"
    heading = f"  {citation.heading}" if citation.heading else ""
    return _line(
        f"[{number}]", "dim", f"  {citation.document}{heading}{page}  {citation.start}-{citation.end}  {citation.text}"
    )


def _draw_field(field: Field) -> Text:
    style = "green" if field.accepted else "yellow"
    if not field.stated:
        return _line(field.name, style, f"  not stated  {field.confidence:.3f}")
    value = "" if field.value is None else f"  {field.value}"
    return _line(field.name, style, f"{value}  {field.confidence:.3f}  {field.start}-{field.end}  {field.text}")


def _draw_ledger(root: Tree, trace: Trace, currency: str) -> None:
    ledger = root.add(_line("ledger", "bold", f"  {_figures(trace.usage, currency)}"))
    for step in trace.steps:
        note = f"  {step.note}" if step.note else ""
        ledger.add(_line(f"{step.producer} on {step.engine}", "cyan", f"  {_figures(step.usage, currency)}{note}"))
    if trace.counterfactual_cost is not None:
        ledger.add(
            _line("the generalist for everything", "dim", f"  {format_money(trace.counterfactual_cost, currency)}")
        )


def _figures(usage: Usage, currency: str) -> str:
    joules = "unknown" if not math.isfinite(usage.joules) else f"{usage.joules:.4g}"
    cached = f" ({usage.tokens_cached} not read again)" if usage.tokens_cached else ""
    return (
        f"{usage.tokens_in} tokens in{cached}, {usage.tokens_out} out, {_duration(usage)}, "
        f"{joules} J {usage.joules_kind}, cost {format_money(usage.cost, currency)}"
    )


def _duration(usage: Usage) -> str:
    return f"{usage.milliseconds:.1f} ms"


def _line(head: str, style: str, rest: str = "") -> Text:
    return Text.assemble((_visible(head), style), _visible(rest))


def _visible(text: str) -> str:
    """Return the text on one line, with line breaks as arrows and control characters as their codes."""
    text = text.replace("\r\n", "\n").replace("\n", " ⏎ ")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
