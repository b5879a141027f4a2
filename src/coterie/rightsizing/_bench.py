"""The bench on which rungs are measured whole, one after the other: quality, latency, memory, energy, money."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from coterie.accounting import CostMeter
from coterie.config import AccountingSection, LlamaModel, SpecialistSection
from coterie.data import Row
from coterie.evaluation import consult_rows, judge_rows
from coterie.protocols import Engine
from coterie.registry import Registry, Version
from coterie.specialists import load_specialist
from coterie.training import AskedModel, Candidate, Progress, TextEncoder
from coterie.types import Finding, Label, Step, Usage, total_usage

from ._figures import figure
from ._probe import Probed
from ._result import Per1000, RungRow
from ._rows import Rows
from ._small import open_small

T = TypeVar("T")

PROBED = 300
"""Held-out rows that are asked one by one for latency and CPU time."""
NAME = "rightsize"
"""What the job is called in messages and in the ledger."""


class Probe(Protocol):
    """Measures a stored version alone; `probe` does it in a process of its own."""

    def __call__(
        self, root: Path, rung: str, version: str, section: SpecialistSection, rows: Sequence[Row], /
    ) -> Probed:
        """What single requests took."""
        ...


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where rungs are measured, one after the other."""

    rows: Rows
    vectors: np.ndarray | None  # (N, D) of the held-out texts, where they are encoded as a whole
    encoder: TextEncoder
    accounting: AccountingSection
    registry: Registry
    progress: Progress
    probe: Probe
    model: LlamaModel | None
    """What the rung `slm` tunes."""
    asked: AskedModel | None
    """What the rung `llm` asks."""

    def measure(self, candidate: Candidate) -> RungRow:
        """Store a candidate, load it as serving would, ask it about every held-out row, then time it alone."""
        rung = candidate.rung
        version = self.registry.add(rung, candidate.files)
        rows = self._rows(candidate)
        findings = self._ask(rung, version, rows)
        asked = self.asked if rung == "llm" else None
        taken = self._probed(rung, version) if asked is None else _taken(findings)
        held = self.rows.held_out.rows
        cases = judge_rows([held[i] for i in rows], findings, task=self.rows.section.task)
        return RungRow(
            rung=rung,
            version=version,
            figure=figure(self.rows.held.measure, candidate.evaluation, cases),
            out_of_fold=candidate.validation,
            evaluation=candidate.evaluation,
            milliseconds=taken.milliseconds,
            resident_bytes=taken.resident_bytes,
            bare_bytes=taken.bare_bytes,
            bytes=sum(len(content) for content in candidate.files.values()),
            seconds=candidate.seconds,
            per_1000=self._per_1000(taken.usages, "linear" if asked is None else asked.key),
            threshold=_threshold(candidate),
            cases=tuple(cases),
            positions=_positions(held, rows),
        )

    def _rows(self, candidate: Candidate) -> list[int]:
        """Positions of the held-out rows that it was measured on: all of them, unless each one costs."""
        if candidate.measured is None:
            return list(range(len(self.rows.held_out)))
        wanted = {id(row) for row in candidate.measured.rows}
        return [i for i, row in enumerate(self.rows.held_out.rows) if id(row) in wanted]

    def _ask(self, rung: str, version: str, rows: Sequence[int]) -> list[Finding]:
        """What the stored version says of these held-out rows."""
        self.progress.start(f"{rung}: ask", len(rows))
        stored = self.registry.load(rung, version)
        models = self._models(stored)
        specialist = load_specialist(rung, self.rows.section, stored, encoder=self.encoder, models=models)

        async def ask() -> list[Finding]:
            try:
                return await consult_rows(
                    specialist,
                    [self.rows.held_out.rows[i] for i in rows],
                    vectors=None if self.vectors is None else self.vectors[list(rows)],
                    progress=self.progress.advance,
                    label=self.asked.label if self.asked is not None else Label.INTERNAL,
                )
            finally:
                for model in models.values():
                    await model.close()

        findings = _finish(ask())
        self.progress.finish("")
        return findings

    def _models(self, stored: Version) -> Mapping[str, Engine]:
        """The generative model that a version needs, by its key, if it needs one."""
        if stored.name == "llm" and self.asked is not None:
            # It recalls what it said while the rung was trained: nothing is asked anew.
            return {self.asked.key: self.asked.open()}
        return open_small(self.rows.section, self.model, stored)

    def _probed(self, rung: str, version: str) -> _Taken:
        """What single requests take in a process of their own."""
        section = self.rows.section
        sample = _sample(self.rows.held_out.rows, section.seed)
        self.progress.start(f"{rung}: latency and memory", None)
        probed = self.probe(self.registry.root, rung, version, section, sample)
        self.progress.finish("")
        return _Taken(
            milliseconds=np.array(probed.milliseconds),
            usages=[Usage(cpu_seconds=seconds) for seconds in probed.cpu_seconds],
            resident_bytes=probed.resident_bytes,
            bare_bytes=probed.bare_bytes,
        )

    def _per_1000(self, usages: Sequence[Usage], engine: str) -> Per1000:
        """By the meter every request's steps go through."""
        models = {} if self.asked is None else {self.asked.key: self.asked.model}
        n, total = max(len(usages), 1), total_usage(usages)
        scaled = Usage(
            tokens_in=round(1000 * total.tokens_in / n),
            tokens_out=round(1000 * total.tokens_out / n),
            cpu_seconds=1000 * total.cpu_seconds / n,
        )
        step = Step(producer=NAME, engine=engine, usage=scaled)
        usage = CostMeter(self.accounting, models, None).price(step).usage
        return Per1000(joules=usage.joules, money=usage.cost)


class _Taken(NamedTuple):
    """What single requests took."""

    milliseconds: np.ndarray  # (n,)
    usages: Sequence[Usage]
    resident_bytes: int | None
    bare_bytes: int | None


def _taken(findings: Sequence[Finding]) -> _Taken:
    """What the model's own answers took, as its engine counted it: asking again, alone, would cost again."""
    usages = [total_usage(step.usage for step in finding.steps) for finding in findings if finding.steps]
    milliseconds = np.array([usage.milliseconds for usage in usages])
    return _Taken(milliseconds=milliseconds, usages=usages, resident_bytes=None, bare_bytes=None)


def _positions(held: Sequence[Row], rows: Sequence[int]) -> tuple[int, ...]:
    """Where those of the rows that have a label stand among all that have one."""
    labelled = [i for i, row in enumerate(held) if row.labels]
    place = {i: position for position, i in enumerate(labelled)}
    return tuple(place[i] for i in rows if i in place)


def _sample(rows: Sequence[Row], seed: int) -> list[Row]:
    """At most so many rows, drawn by the seed, in a drawn order: neighbours in a file are alike."""
    order = np.random.default_rng(seed).permutation(len(rows))[:PROBED]
    return [rows[i] for i in order]


def _threshold(candidate: Candidate) -> str:
    threshold = candidate.notes.get("threshold")
    return str(threshold.get("reason", "")) if isinstance(threshold, dict) else ""


def _finish(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, also where an event loop runs already, as in a notebook."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()
