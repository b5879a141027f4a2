"""Right-sizing from end to end: read the rows, train every rung, measure each, decide.

Test data does not influence the choice: training chooses the rung on out-of-fold rows, and held-out rows show
the result.

Rungs are measured one after the other on a `Bench`: quality, latency, memory, energy, money.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from coterie.accounting.meter import CostMeter
from coterie.config.file import LlamaModel
from coterie.config.operation import AccountingSection
from coterie.config.specialists import SpecialistSection
from coterie.errors import DataError, InputError
from coterie.learning.calibration import one_thread
from coterie.learning.dataset import Dataset, Row
from coterie.learning.evaluation import Interval
from coterie.learning.job import AskedModel, Progress, Silent, TextEncoder
from coterie.learning.measure import Candidate, Figure, consult_rows
from coterie.learning.splits import compare_datasets, split_dataset
from coterie.protocols import Engine
from coterie.registry.registry import Registry
from coterie.registry.version import Version
from coterie.rightsizing.large import HeldOutRows
from coterie.rightsizing.probe import Probed, open_small
from coterie.rightsizing.probe import probe as probe_alone
from coterie.rightsizing.result import (
    ChainPoint,
    Comparison,
    Conditions,
    LargeRow,
    Per1000,
    RightSizing,
    RungRow,
    decide,
    difference,
    figure,
)
from coterie.runtime.concurrency import run
from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.contract import HELD_OUT, task_of
from coterie.tasks.versions import load_specialist
from coterie.training.train import TrainedRungs, possible_rungs, train_rungs
from coterie.tuning.base import Checkpoints
from coterie.types import Finding, Label, Step, Usage, total_usage

CHECKPOINTS_FOLDER = ".checkpoints"
"""Folder for checkpoints among the versions' folders; no specialist can have this name."""
_BUSY = 0.5
"""Load a core from which times reflect the machine's load more than the rung."""


def rightsize(
    rows: Rows,
    *,
    encoder: TextEncoder,
    accounting: AccountingSection,
    conditions: Conditions,
    large: LargeRow | None = None,
    keep: Path | None = None,
    progress: Progress | None = None,
    model: LlamaModel | None = None,
    asked_model: AskedModel | None = None,
    probe: Probe | None = None,
) -> RightSizing:
    """Train and measure every rung, and decide which one suffices.

    Args:
        rows: The rows, from `read_rows`.
        encoder: Encodes the texts.
        accounting: Watts and price of a core.
        conditions: Date, machine and versions of the measurement.
        large: A large model on the same held-out rows, from `judge_answers`.
        keep: A folder that becomes a registry with a version a rung, and from which an interrupted fine-tuning
            resumes the next time; None keeps nothing.
        progress: Receives the progress of each step.
        model: The model that the section's `model` names: the rung `slm` tunes it.
        asked_model: The model that the rung `llm` asks, if the section names it.
        probe: Measures a stored version alone; in a separate process by default.

    Raises:
        ConfigError, DataError, InputError: it cannot be trained.
        EngineBroken: a rung could not be measured.
        EgressRefused, EngineError, Overloaded: the model of the rung `llm` could not be asked.
    """
    progress = progress or Silent()
    _check(rows, large)
    checkpoints = None if keep is None else Checkpoints(folder=keep / CHECKPOINTS_FOLDER)
    trained = train_rungs(
        NAME,
        rows.section,
        train=rows.train,
        held_out=rows.held_out,
        encoder=encoder,
        progress=progress,
        models={} if model is None else {str(rows.section.model): model},
        asked_model=asked_model,
        checkpoints=checkpoints,
    )
    with tempfile.TemporaryDirectory() if keep is None else nullcontext(str(keep)) as root:
        bench = Bench(
            rows=rows,
            vectors=_encode(rows, encoder, progress),
            encoder=encoder,
            accounting=accounting,
            registry=Registry(Path(root)),
            progress=progress,
            model=model,
            asked=asked_model,
            probe=probe or partial(probe_alone, model=model, encoder=getattr(encoder, "folder", None)),
        )
        with one_thread():  # as in training: in products this small, threads wait for each other
            measured = tuple(bench.measure(candidate) for candidate in trained.candidates)
    if checkpoints:
        checkpoints.clear()
    return _result(rows, trained, measured, large, conditions)


def _encode(rows: Rows, encoder: TextEncoder, progress: Progress) -> np.ndarray | None:  # (N, D)
    """Encode the held-out texts, once for all rungs; the vectors equal those of each text alone."""
    if not task_of(rows.section).encodes_texts:
        return None
    texts = rows.held_out.texts
    progress.start(f"{NAME}: encode held-out rows", len(texts))
    vectors = encoder.encode(texts, progress=progress.advance)
    progress.finish("")
    return vectors


def _check(rows: Rows, large: LargeRow | None) -> None:
    """Refuse impossible runs before time is spent on them."""
    if large is not None and task_of(rows.section).form not in {"label", "number"}:
        raise InputError(
            f"Asked to put a large model beside a specialist of task {rows.section.task!r}.",
            hint="It is for labels and scores.",
        )
    possible = possible_rungs(rows.section, rows.train)
    if odd := [rung for rung in rows.section.rungs or () if rung not in possible]:
        raise InputError(
            f"Asked for rung {odd[0]!r}; a {rows.section.task!r} of rows like these has {', '.join(possible)}."
        )


# --- All of them ---------------------------------------------------------------------------------


def _result(
    rows: Rows, trained: TrainedRungs, measured: tuple[RungRow, ...], large: LargeRow | None, conditions: Conditions
) -> RightSizing:
    section, measure, bar = rows.section, rows.held.measure, {str(k): v for k, v in rows.section.bar.items()}
    taken = next(row for row in measured if row.rung == trained.choice.candidate.rung)
    others: list[tuple[str, RungRow | LargeRow]] = [(row.rung, row) for row in measured if row is not taken]
    if large is not None:
        others.append((large.name, large))
    comparisons = [comparison for name, row in others if (comparison := _beside(measure, taken, name, row)) is not None]
    odd = (*trained.warnings, *_warnings(trained))
    return RightSizing(
        task=section.task,
        measure=measure,
        bar=bar,
        target_risk=section.target_risk,
        seed=section.seed,
        data={"train": _about(rows.train), "held_out": _about(rows.held_out)},
        rungs=measured,
        large=large,
        comparisons=tuple(comparisons),
        verdict=decide(measured, trained.choice, bar, comparisons, large, measure=measure),
        reason=trained.choice.reason,
        conditions=conditions,
        chain=chain_curve(trained.candidates, measured),
        warnings=tuple(dict.fromkeys((*rows.warnings, *odd, *_partial(large), *_busy(conditions)))),
    )


def _warnings(trained: TrainedRungs) -> list[str]:
    """Return the warnings of each rung's training, with the rungs' names if a warning does not apply to all."""
    warned: dict[str, list[str]] = {}
    for candidate in trained.candidates:
        for warning in candidate.warnings:
            warned.setdefault(warning, []).append(candidate.rung)
    every = len(trained.candidates)
    return [warning if len(rungs) == every else f"{', '.join(rungs)}: {warning}" for warning, rungs in warned.items()]


def _about(data: Dataset) -> dict[str, object]:
    return {"file": data.name, "sha256": data.sha256, "rows": len(data)}


def _busy(conditions: Conditions) -> list[str]:
    """Return a warning if the machine was busy at the start."""
    load, cores = conditions.machine.get("load"), conditions.machine.get("cores")
    if not isinstance(load, int | float) or not isinstance(cores, int) or load <= _BUSY * cores:
        return []
    return [f"the machine was busy (load {load:.1f} on {cores} cores when this began): times are upper bounds"]


def _partial(large: LargeRow | None) -> list[str]:
    """Return warnings about a large model's answers."""
    if large is None:
        return []
    warnings = []
    if large.answered < large.of:
        warnings.append(
            f"{large.name} answered {large.answered:,} of {large.of:,} held-out rows; its figures are of those, and "
            "it is compared on them"
        )
    if count := sum(large.strangers.values()):
        shown = ", ".join(repr(answer[:40]) for answer in list(large.strangers)[:3])
        warnings.append(f"{count:,} answers of {large.name} are none of the labels ({shown}) and count as wrong")
    return warnings


def _beside(measure: str, taken: RungRow, name: str, other: RungRow | LargeRow) -> Comparison | None:
    """Compare the chosen rung with another row, on the held-out rows that both have; None without common rows."""
    first, second = (dict(zip(row.positions, row.cases, strict=True)) for row in (taken, other))
    common = sorted(first.keys() & second.keys())
    if not common:
        return None
    return Comparison(
        first=taken.rung,
        second=name,
        measure="auc" if measure == "auc" else "accuracy",
        rows=len(common),
        difference=difference(measure, [first[at] for at in common], [second[at] for at in common]),
        joules=_ratio(taken.per_1000.joules, other.per_1000.joules),
        money=_ratio(taken.per_1000.money, other.per_1000.money),
    )


def _ratio(first: float | Decimal | None, second: float | Decimal | None) -> float | None:
    return float(first) / float(second) if first and second else None


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
