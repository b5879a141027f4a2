"""What is drawn on a terminal: progress on standard error, and a trace as a tree (`coterie ask --trace`).

Progress is bars on a terminal, one line per finished stage elsewhere. Text from a request or a model is shown
literally: its markup has no effect, and its control characters, which could control the terminal, are made visible.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text
from rich.tree import Tree

from coterie.accounting.breakdown import format_money
from coterie.cli.output import clean, console, optional, remark
from coterie.types import Citation, Field, Finding, Trace, Usage, ViewRecord


def say_fine_tuning_is_kept(folder: Path) -> bool:
    """Print that an interrupted fine-tuning continues from the checkpoints of a folder; False where there are none."""
    if not any(folder.rglob("*.safetensors")):
        return False
    remark("Fine-tuning is kept as it was at most a minute of work ago: the same command goes on there.")
    return True


class _Bars:
    """Bars on standard error, which are removed when the block ends, also on Ctrl-C."""

    def __init__(self, *columns: ProgressColumn) -> None:
        described = TextColumn("{task.description}", markup=False)
        self._bars = Progress(
            *(described, BarColumn(bar_width=30), *columns),
            console=console(sys.stderr),
            transient=True,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


class TerminalProgress(_Bars):
    """Shows one stage after another; implements `training.Progress`."""

    def __init__(self) -> None:
        super().__init__(_Count(), _Speed(), TimeElapsedColumn(), _Left())
        self._task: TaskID | None = None
        self._what = ""
        self._since = 0.0

    def start(self, what: str, total: int | None) -> None:
        """Begin a stage; `total` is its number of examples, None when the number is unknown."""
        self._close()
        self._what, self._since = what, time.monotonic()
        self._task = self._bars.add_task(clean(what), total=total)

    def advance(self, n: int) -> None:
        """Add a number of finished examples."""
        if self._task is not None:
            self._bars.advance(self._task, n)

    def finish(self, note: str) -> None:
        """End the stage; the note describes its result."""
        self._close()
        line = f"{self._what}: {note}" if note else self._what
        line += f" ({time.monotonic() - self._since:.1f} s)"
        with optional():
            self._bars.console.print(clean(line), markup=False, highlight=False, soft_wrap=True)

    def _close(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None


@contextmanager
def stage(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show the progress of one stage, such as the rows of a file; yield the function that adds finished rows."""
    with TerminalProgress() as progress:
        progress.start(what, total)
        yield progress.advance


class _Count(MofNCompleteColumn):
    """Finished examples of the total; empty for a stage of unknown size."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.total is not None else Text("")


class _Speed(ProgressColumn):
    """Examples per second, shown after one second: two advances in quick succession would show millions."""

    def render(self, task: Task) -> Text:
        elapsed = task.elapsed or 0.0
        speed = task.completed / elapsed if elapsed >= 1 else 0.0
        return Text(f"{speed:,.0f}/s" if speed >= 1 and task.total is not None else "", style="dim")


class _Left(TimeRemainingColumn):
    """Remaining time; empty for a stage of unknown size."""

    def render(self, task: Task) -> Text:
        return Text("left ", style="dim") + super().render(task) if task.total is not None else Text("")


class DownloadProgress(_Bars):
    """A progress bar for the bytes of one download."""

    def __init__(self, what: str) -> None:
        super().__init__(
            DownloadColumn(), TransferSpeedColumn(), TextColumn("left", style="dim"), TimeRemainingColumn()
        )
        self._task = self._bars.add_task(clean(what), total=None)

    def update(self, done: int, total: int | None) -> None:
        """Show the received bytes, of `total` if that is known."""
        self._bars.update(self._task, completed=done, total=total)


# --- A trace drawn as a tree for a terminal: `coterie ask --trace`.

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
