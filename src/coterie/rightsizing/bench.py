"""The bench on which rungs are measured one after the other: quality, latency, memory, energy, money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from coterie.accounting.meter import CostMeter
from coterie.config.accounting import AccountingSection
from coterie.config.file import LlamaModel
from coterie.config.specialists import SpecialistSection
from coterie.errors import DataError, InputError
from coterie.learning.asked import AskedModel
from coterie.learning.candidates import Candidate, Figure
from coterie.learning.dataset import Dataset, Row
from coterie.learning.job import TextEncoder
from coterie.learning.measure import consult_rows
from coterie.learning.metrics import Interval
from coterie.learning.progress import Progress
from coterie.learning.splits import compare_datasets, split_dataset
from coterie.protocols import Engine
from coterie.registry.registry import Registry
from coterie.registry.version import Version
from coterie.rightsizing.large import HeldOutRows
from coterie.rightsizing.probe import Probed
from coterie.rightsizing.result import ChainPoint, Per1000, RungRow, figure
from coterie.rightsizing.small import open_small
from coterie.runtime.concurrency import run
from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.contract import HELD_OUT, task_of
from coterie.tasks.loading import load_specialist
from coterie.types import Finding, Label, Step, Usage, total_usage

# --- The rows of one job: read, checked, divided.


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one job, split once, so that a large model can be asked before anything is trained."""

    section: SpecialistSection
    train: Dataset
    held: HeldOutRows
    held_out: Dataset

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the rows."""
        odd = [f"{dataset.name}: {warning}" for dataset in (self.train, self.held_out) for warning in dataset.warnings]
        return tuple(dict.fromkeys((*odd, *compare_datasets(self.train, self.held_out))))


def read_rows(section: SpecialistSection) -> Rows:
    """Read the data of a section, and hold out a seeded fifth if it names no test file.

    Raises:
        DataError: a file cannot be used.
        InputError: the bar has a measure that the task does not have.
    """
    task = task_of(section)
    if task.not_rightsized:
        raise InputError(f"Asked to right-size task {section.task!r}.", hint=task.not_rightsized)
    measures = task.measures(section)
    data = task.read_rows(section, str(section.data))
    if section.test is None:
        train, held_out = split_dataset(data, held_out=HELD_OUT, seed=section.seed)
        held_out = held_out.measured()
        number = {id(row): n for n, row in enumerate(data.rows, 1)}
    else:
        train, held_out = data, task.read_rows(section, section.test, for_evaluation=True)
        number = {id(row): n for n, row in enumerate(held_out.rows, 1)}
    _check_held_out(held_out, section)
    held = HeldOutRows(
        rows=held_out.rows,
        numbers=[number[id(row)] for row in held_out.rows],
        task=task,
        labels=train.label_names,
        multi_label=isinstance(section, ClassifySection) and section.multi_label,
        measure=next(iter(section.bar), measures[0]),
    )
    return Rows(section=section, train=train, held=held, held_out=held_out)


def _check_held_out(held_out: Dataset, section: SpecialistSection) -> None:
    """Check that the held-out rows allow figures. Raises `DataError`."""
    labels = held_out.label_names
    if len(labels) < task_of(section).least_labels:
        raise DataError(
            f"The {len(held_out):,} held-out rows of {held_out.name} have {list(labels) or 'no labels'}: nothing can "
            "be measured on them.",
            hint="Give held-out rows with their labels, and for a score both outcomes: --test FILE",
        )


PROBED = 300
"""Held-out rows that are asked one by one for latency and CPU time."""
NAME = "rightsize"
"""Name of the job in messages and in the ledger."""


class Probe(Protocol):
    """Measures a stored version alone; `probe` does it in a separate process."""

    def __call__(
        self, root: Path, rung: str, version: str, section: SpecialistSection, rows: Sequence[Row], /
    ) -> Probed:
        """Return the resources of single requests."""
        ...


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measures rungs, one after the other."""

    rows: Rows
    vectors: np.ndarray | None  # (N, D) of the held-out texts, where they are encoded as a whole
    encoder: TextEncoder
    accounting: AccountingSection
    registry: Registry
    progress: Progress
    probe: Probe
    model: LlamaModel | None
    """The model that the rung `slm` tunes."""
    asked: AskedModel | None
    """The model that the rung `llm` asks."""

    def measure(self, candidate: Candidate) -> RungRow:
        """Store a candidate, load it as in service, ask it about every held-out row, then time it alone."""
        rung = candidate.rung
        version = self.registry.add(rung, candidate.files)
        rows = self._rows(candidate)
        findings = self._ask(rung, version, rows)
        asked_model = self.asked if rung == "llm" else None
        taken = self._probed(rung, version) if asked_model is None else _taken(findings)
        held = self.rows.held_out.rows
        cases = self.rows.held.task.cases([held[i] for i in rows], findings)
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
            per_1000=self._per_1000(taken.usages, "linear" if asked_model is None else asked_model.key),
            threshold=_threshold(candidate),
            cases=tuple(cases),
            positions=_positions(held, rows),
        )

    def _rows(self, candidate: Candidate) -> list[int]:
        """Return the positions of the held-out rows that a candidate was measured on: all, unless each one costs."""
        if candidate.measured is None:
            return list(range(len(self.rows.held_out)))
        wanted = {id(row) for row in candidate.measured.rows}
        return [i for i, row in enumerate(self.rows.held_out.rows) if id(row) in wanted]

    def _ask(self, rung: str, version: str, rows: Sequence[int]) -> list[Finding]:
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

        findings = run(ask())
        self.progress.finish("")
        return findings

    def _models(self, stored: Version) -> Mapping[str, Engine]:
        """Return the generative model that a version needs, by its key; empty if it needs none."""
        if stored.name == "llm" and self.asked is not None:
            # It recalls what it said while the rung was trained: nothing is asked anew.
            return {self.asked.key: self.asked.open()}
        return open_small(self.rows.section, self.model, stored)

    def _probed(self, rung: str, version: str) -> _Taken:
        """Return the resources of single requests in a separate process."""
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
        """Return energy and money per 1,000 requests, by the meter of the ledger."""
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
    milliseconds: np.ndarray  # (n,)
    usages: Sequence[Usage]
    resident_bytes: int | None
    bare_bytes: int | None


def _taken(findings: Sequence[Finding]) -> _Taken:
    """Return the usage of the model's own answers, as its engine counted it: a second run would cost again."""
    usages = [total_usage(step.usage for step in finding.steps) for finding in findings if finding.steps]
    milliseconds = np.array([usage.milliseconds for usage in usages])
    return _Taken(milliseconds=milliseconds, usages=usages, resident_bytes=None, bare_bytes=None)


def _positions(held: Sequence[Row], rows: Sequence[int]) -> tuple[int, ...]:
    labelled = [i for i, row in enumerate(held) if row.labels]
    rank = {i: position for position, i in enumerate(labelled)}
    return tuple(rank[i] for i in rows if i in rank)


def _sample(rows: Sequence[Row], seed: int) -> list[Row]:
    """Return up to `PROBED` rows, drawn by the seed, in random order, as neighbours in a file are alike."""
    order = np.random.default_rng(seed).permutation(len(rows))[:PROBED]
    return [rows[i] for i in order]


def _threshold(candidate: Candidate) -> str:
    threshold = candidate.notes.get("threshold")
    return str(threshold.get("reason", "")) if isinstance(threshold, dict) else ""


# --- What a chain of rungs comes to, and what it takes, at each stop that it might have.


def chain_curve(candidates: Sequence[Candidate], rows: Sequence[RungRow]) -> tuple[ChainPoint, ...]:
    """Return one point for each stop, beginning with none; empty if there is no chain.

    The cost of a point is the sum over its rungs, by their share of held-out rows and their cost alone.
    """
    chain = next((candidate for candidate in candidates if candidate.rung == "chain"), None)
    if chain is None:
        return ()
    about: Mapping[str, Any] = chain.notes
    alone = {row.rung: row.per_1000 for row in rows}
    costs = [alone[rung] for rung in about["chain"]]
    return tuple(
        ChainPoint(
            stop=point["stop"],
            taken=point["stop"] == about["stop"]["value"],
            figure=Figure(point["accuracy"], Interval(*point["interval"])),
            asked=dict(zip(about["chain"], point["asked"], strict=True)),
            answered=dict(zip(about["chain"], point["answered"], strict=True)),
            per_1000=_summed(costs, point["asked"]),
        )
        for point in about["curve"]
    )


def _summed(costs: Sequence[Per1000], shares: Sequence[float]) -> Per1000:
    """Return the summed cost of rungs by how often they are asked; unknown if that of one is."""
    pairs = [(cost, share) for cost, share in zip(costs, shares, strict=True) if share]
    joules = [None if cost.joules is None else cost.joules * share for cost, share in pairs]
    money = [None if cost.money is None else cost.money * Decimal(str(share)) for cost, share in pairs]
    return Per1000(
        joules=None if None in joules else sum(part for part in joules if part is not None),
        money=None if None in money else sum((part for part in money if part is not None), Decimal(0)),
    )
