"""Counters for Prometheus, in a separate registry: two gateways in one process do not mix.

Labels come from closed sets (endpoints, statuses, specialists), never from a caller's input.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from coterie.types import Feedback, Step, Trace, total_usage

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of a gateway. `working`, `waiting` and `remote` are read whenever the metrics are.

    `workers` is the configured number of processes.
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(
        self,
        *,
        working: Callable[[], float],
        waiting: Callable[[], float],
        remote: Callable[[], float],
        workers: int = 1,
    ) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        """Several workers count in files of that folder, and each of them shows the sums."""
        self.answered = 0
        """Answers so far, for pages that show what happens now."""
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = []
        self._due: asyncio.TimerHandle | None = None
        self._counted: defaultdict[tuple[Counter, tuple[str, ...]], float] = defaultdict(float)
        """What was counted and is not in the registry yet: adding there takes ten times as long."""
        self._seconds_of: dict[str, Histogram] = {}
        self._responses = Counter(
            "coterie_requests", "HTTP requests by endpoint and status.", ("endpoint", "status"), registry=registry
        )
        self._seconds = Histogram(
            "coterie_request_seconds",
            "From the request's first byte to the response's last.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._first_text = Histogram(
            "coterie_first_text_seconds",
            "From the request's first byte to the first piece of a streamed answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._answers = Counter(
            "coterie_answers", "Answered requests by how they ended.", ("status",), registry=registry
        )
        self._findings = Counter(
            "coterie_findings",
            "Findings by specialist and whether they were accepted.",
            ("specialist", "accepted"),
            registry=registry,
        )
        self._tokens = Counter(
            "coterie_tokens",
            "Tokens read (in, of them remembered: cached) and written (out) by engines.",
            ("direction",),
            registry=registry,
        )
        self._joules = Counter(
            "coterie_joules", "Energy of answers, measured or estimated.", ("kind",), registry=registry
        )
        self._cost = Counter(
            "coterie_cost", "Money spent on answers whose cost is known, in the network's currency.", registry=registry
        )
        self._steps = {
            name: Counter(f"coterie_step_{name}", about, ("producer",), registry=registry)
            for name, about in (
                ("joules", "Energy by specialist, router, generalist and the network's own work."),
                ("cpu_seconds", "CPU time by the same."),
                ("cost", "Money by the same, of steps whose cost is known."),
            )
        }
        self._counterfactual = Counter(
            "coterie_counterfactual_cost", "What the generalist would have cost, at least.", registry=registry
        )
        self._unpriced = Counter("coterie_unpriced_answers", "Answers whose cost is not known.", registry=registry)
        self._feedback = Counter(
            "coterie_feedback", "Feedback on answers by thumb; none says something else.", ("thumb",), registry=registry
        )
        self._rejected = Counter("coterie_rejected", "Requests turned away with 429.", registry=registry)
        self._add_gauges(working, waiting, remote, workers)
        self.refresh()
        if not self._shared:
            ProcessCollector(registry=registry)

    def _add_gauges(
        self, working: Callable[[], float], waiting: Callable[[], float], remote: Callable[[], float], workers: int
    ) -> None:
        """Add the gauges that are read whenever the metrics are."""
        gauges: tuple[tuple[str, str, Literal["livesum", "livemax"], Callable[[], float]], ...] = (
            ("coterie_working", "Requests being worked on.", "livesum", working),
            ("coterie_waiting", "Requests waiting for a worker slot.", "livesum", waiting),
            ("coterie_remote", "Requests waiting for a remote model.", "livesum", remote),
            ("coterie_workers", "Processes there are to be.", "livemax", lambda: float(workers)),
            ("coterie_workers_up", "Processes that answer.", "livesum", lambda: 1.0),
        )
        for name, about, among, read in gauges:
            gauge = Gauge(name, about, registry=self._registry, multiprocess_mode=among)
            self._gauges.append((gauge, read))
            if not self._shared:
                gauge.set_function(read)

    def note_start(self) -> None:
        """Record the start of an HTTP request; other workers get the figures within a second. Call it in a loop."""
        if self._shared and self._due is None:
            self._due = asyncio.get_running_loop().call_later(1.0, self._tell)

    def _tell(self) -> None:
        self._due = None
        self.refresh()

    def live(self) -> dict[str, int]:
        """Return answers so far, requests at work and waiting, of all workers within a second; may read files."""
        if not self._shared:
            working, waiting, *_ = (int(read()) for _, read in self._gauges)
            return {"answered": self.answered, "working": working, "waiting": waiting}
        self.refresh()
        sums = {"coterie_answers_total": 0.0, "coterie_working": 0.0, "coterie_waiting": 0.0}
        for family in MultiProcessCollector(CollectorRegistry()).collect():  # type: ignore[no-untyped-call]
            for sample in family.samples:
                if sample.name in sums:
                    sums[sample.name] += sample.value
        return dict(zip(("answered", "working", "waiting"), map(int, sums.values()), strict=True))

    def refresh(self) -> None:
        """Move the counts to the registry, and share this worker's figures with the others.

        With several workers each reports its own part.
        """
        counted = dict(self._counted)
        self._counted.clear()
        for (counter, labels), amount in counted.items():
            (counter.labels(*labels) if labels else counter).inc(amount)
        if self._shared:
            for gauge, read in self._gauges:
                gauge.set(read())

    def count_response(self, endpoint: str, status: int, seconds: float) -> None:
        """Count one HTTP response; `endpoint` is a path template, and 499 a caller that left."""
        self._count(self._responses, endpoint, str(status))
        if endpoint not in self._seconds_of:
            self._seconds_of[endpoint] = self._seconds.labels(endpoint)
        self._seconds_of[endpoint].observe(seconds)
        if status == 429:
            self._count(self._rejected)
        self.note_start()

    def count_first_text(self, seconds: float) -> None:
        """Count a streamed answer's time to the first piece."""
        self._first_text.observe(seconds)

    def count_answer(self, trace: Trace) -> None:
        """Count one request that was answered or refused."""
        self.answered += 1
        usage = trace.usage
        self._count(self._answers, trace.status)
        for finding in trace.findings:
            self._count(self._findings, finding.specialist, "true" if finding.accepted else "false")
        self.count_steps(trace.steps)
        if trace.counterfactual_cost is not None:
            self._count(self._counterfactual, amount=float(trace.counterfactual_cost))
        if usage.cost is None:
            self._count(self._unpriced)
        else:
            self._count(self._cost, amount=float(usage.cost))

    def _count(self, counter: Counter, *labels: str, amount: float = 1.0) -> None:
        """Count something; it enters the registry when that is read, and with several workers within a second."""
        self._counted[counter, labels] += amount

    def count_feedback(self, feedback: Feedback) -> None:
        """Count a caller's feedback on an answer."""
        self._count(self._feedback, feedback.thumb or "none")

    def count_steps(self, steps: Sequence[Step]) -> None:
        """Count the usage of steps: tokens that engines read and wrote, energy, CPU time, money if it is known."""
        usage = total_usage(step.usage for step in steps)
        self._count(self._joules, usage.joules_kind, amount=usage.joules)
        self._count(self._tokens, "cached", amount=usage.tokens_cached)
        self._count(self._tokens, "in", amount=usage.tokens_in)
        self._count(self._tokens, "out", amount=usage.tokens_out)
        for step in steps:
            took = step.usage
            self._count(self._steps["joules"], step.producer, amount=took.joules)
            self._count(self._steps["cpu_seconds"], step.producer, amount=took.cpu_seconds)
            if took.cost is not None:
                self._count(self._steps["cost"], step.producer, amount=float(took.cost))

    def render(self) -> bytes:
        """Return the text that Prometheus reads, of `content_type`."""
        self.refresh()
        if not self._shared:
            return generate_latest(self._registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)
