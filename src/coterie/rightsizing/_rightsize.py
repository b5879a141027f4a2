"""Right-sizing from end to end: read the rows, train every rung, measure each whole, decide.

Test data chooses nothing: the rung is training's choice on out-of-fold rows, and held-out rows say how it turned out.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from coterie.accounting import CostMeter
from coterie.config import AccountingSection, LlamaModel, SpecialistSection
from coterie.data import Dataset, Row, compare_datasets, read_dataset, split_dataset
from coterie.errors import DataError, InputError
from coterie.evaluation import Case, consult_rows, judge_rows
from coterie.registry import Registry
from coterie.specialists import load_specialist
from coterie.training import (
    HELD_OUT,
    MEASURES,
    Candidate,
    Progress,
    Silent,
    TextEncoder,
    TrainedRungs,
    possible_rungs,
    train_rungs,
)
from coterie.types import Step, Usage

from ._figures import difference, figure
from ._large import Held
from ._probe import Probed
from ._probe import probe as probe_alone
from ._result import Comparison, Conditions, LargeRow, Per1000, RightSizing, RungRow
from ._small import open_small
from ._verdict import decide

T = TypeVar("T")

PROBED = 300
"""Held-out rows that are asked one by one for latency and CPU time."""
_NAME = "rightsize"


class Probe(Protocol):
    """Measures a stored version alone; `probe` does it in a process of its own."""

    def __call__(
        self, root: Path, rung: str, version: str, section: SpecialistSection, rows: Sequence[Row], /
    ) -> Probed:
        """What single requests took."""
        ...


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one job, divided once, so that a large model can be asked before anything is trained."""

    section: SpecialistSection
    train: Dataset
    held: Held
    held_out: Dataset

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about them."""
        odd = [f"{each.name}: {warning}" for each in (self.train, self.held_out) for warning in each.warnings]
        return tuple(dict.fromkeys((*odd, *compare_datasets(self.train, self.held_out))))


def read_rows(section: SpecialistSection) -> Rows:
    """Read the data of a section, and hold out a seeded fifth where it names no test file.

    Raises:
        DataError: a file cannot be used.
        InputError: the bar is about a measure that the task does not have.
    """
    if section.task == "generate":
        raise InputError(
            f"Asked to right-size task {section.task!r}.",
            hint="It is for 'classify', 'score' and 'extract'; a text has no rungs.",
        )
    measures = MEASURES[section.task]
    if odd := [name for name in section.bar if name not in measures]:
        raise InputError(
            f"The bar is about {odd[0]!r}; a {section.task!r} specialist is measured by {' or '.join(measures)}."
        )
    data = _read(section, str(section.data), for_evaluation=False)
    if section.test is None:
        train, held_out = split_dataset(data, held_out=HELD_OUT, seed=section.seed)
        held_out = held_out.measured()
        number = {id(row): n for n, row in enumerate(data.rows, 1)}
    else:
        train, held_out = data, _read(section, section.test, for_evaluation=True)
        number = {id(row): n for n, row in enumerate(held_out.rows, 1)}
    _check_held_out(held_out, section)
    held = Held(
        rows=held_out.rows,
        numbers=[number[id(row)] for row in held_out.rows],
        task=section.task,
        labels=train.label_names,
        multi_label=section.multi_label,
        measure=next(iter(section.bar), measures[0]),
    )
    return Rows(section=section, train=train, held=held, held_out=held_out)


def _check_held_out(held_out: Dataset, section: SpecialistSection) -> None:
    """Refuse rows that no figure can be taken from. Raises `DataError`."""
    found = held_out.label_names
    if not found or (section.task == "score" and len(found) < 2):
        raise DataError(
            f"The {len(held_out):,} held-out rows of {held_out.name} have {list(found) or 'no labels'}: nothing can be "
            "measured on them.",
            hint="Give held-out rows with their labels, and for a score both outcomes: --test FILE",
        )


def _read(section: SpecialistSection, file: str, *, for_evaluation: bool) -> Dataset:
    return read_dataset(
        file,
        task=section.task,
        text_column=section.text_column,
        label_column=section.label_column,
        group_column=section.group_column,
        pair_column=section.pair_column,
        evidence_column=section.evidence_column,
        learn_only_column=section.learn_only_column,
        multi_label=section.multi_label,
        fields=section.fields,
        for_evaluation=for_evaluation,
    )


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
    probe: Probe | None = None,
) -> RightSizing:
    """Train and measure every rung, and say which is enough.

    Args:
        rows: The rows, from `read_rows`.
        encoder: Makes the texts' vectors.
        accounting: Watts and price of a core.
        conditions: When, where and with what this happens.
        large: A large model on the same held-out rows, from `judge_answers`.
        keep: A folder that becomes a registry with a version a rung; None keeps nothing.
        progress: Told how far each step is.
        model: What the section's `model` stands for: the rung `slm` tunes it.
        probe: Measures a stored version alone; by default in a process of its own.

    Raises:
        ConfigError, DataError, InputError: it cannot be trained.
        EngineBroken: a rung could not be measured.
    """
    progress, section = progress or Silent(), rows.section
    _check_rungs(rows, encoder)
    if large is not None and section.task == "extract":
        raise InputError(
            "Asked to put a large model beside an 'extract' specialist.", hint="It is for labels and scores."
        )
    trained = train_rungs(
        _NAME,
        section,
        train=rows.train,
        held_out=rows.held_out,
        encoder=encoder,
        progress=progress,
        models={} if model is None else {str(section.model): model},
    )
    with tempfile.TemporaryDirectory() if keep is None else nullcontext(str(keep)) as root:
        bench = _Bench(
            rows=rows,
            vectors=_encode(rows, encoder, progress),
            encoder=encoder,
            accounting=accounting,
            registry=Registry(Path(root)),
            progress=progress,
            model=model,
            probe=probe or partial(probe_alone, model=model),
        )
        with threadpool_limits(1):  # as in training: in products this small, threads wait for each other
            measured = tuple(bench.measure(candidate) for candidate in trained.candidates)
    return _result(rows, trained, measured, large, conditions)


def _check_rungs(rows: Rows, encoder: TextEncoder) -> None:
    possible = possible_rungs(rows.section, rows.train, encoder)
    if odd := [rung for rung in rows.section.rungs or () if rung not in possible]:
        raise InputError(
            f"Asked for rung {odd[0]!r}; a {rows.section.task!r} of rows like these has {', '.join(possible)}."
        )


# --- One rung ------------------------------------------------------------------------------------


def _encode(rows: Rows, encoder: TextEncoder, progress: Progress) -> np.ndarray | None:  # (N, D)
    """Encodings of the held-out texts, once for all rungs; they are what each text alone would get."""
    if rows.section.pair_column is not None:
        return None  # of a pair no text is encoded as a whole
    if rows.section.task == "extract":  # it encodes sentences, not texts
        return None
    texts = rows.held_out.texts
    progress.start(f"{_NAME}: encode held-out rows", len(texts))
    vectors = encoder.encode(texts, progress=progress.advance)
    progress.finish("")
    return vectors


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """Where rungs are measured, one after the other."""

    rows: Rows
    vectors: np.ndarray | None  # (N, D) of the held-out texts, where they are encoded as a whole
    encoder: TextEncoder
    accounting: AccountingSection
    registry: Registry
    progress: Progress
    model: LlamaModel | None
    probe: Probe

    def measure(self, candidate: Candidate) -> RungRow:
        """Store a candidate, load it as serving would, ask it about every held-out row, then time it alone."""
        rung, section = candidate.rung, self.rows.section
        version = self.registry.add(rung, candidate.files)
        cases = self._ask(rung, version)
        sample = _sample(self.rows.held_out.rows, section.seed)
        self.progress.start(f"{rung}: latency and memory", None)
        probed = self.probe(self.registry.root, rung, version, section, sample)
        self.progress.finish("")
        return RungRow(
            rung=rung,
            version=version,
            figure=figure(self.rows.held.measure, candidate.evaluation, cases),
            out_of_fold=candidate.validation,
            evaluation=candidate.evaluation,
            milliseconds=np.array(probed.milliseconds),
            resident_bytes=probed.resident_bytes,
            bare_bytes=probed.bare_bytes,
            bytes=sum(len(content) for content in candidate.files.values()),
            seconds=candidate.seconds,
            per_1000=self._per_1000(probed),
            threshold=_threshold(candidate),
            cases=tuple(cases),
        )

    def _ask(self, rung: str, version: str) -> list[Case]:
        """What the stored version says of each held-out row with a label."""
        section, rows = self.rows.section, self.rows.held_out.rows
        stored = self.registry.load(rung, version)
        models = open_small(section, self.model, stored)
        specialist = load_specialist(rung, section, stored, encoder=self.encoder, models=models)
        self.progress.start(f"{rung}: ask", len(rows))
        try:
            findings = _finish(consult_rows(specialist, rows, vectors=self.vectors, progress=self.progress.advance))
        finally:
            for engine in models.values():
                _finish(engine.close())
        self.progress.finish("")
        return judge_rows(rows, findings, task=section.task)

    def _per_1000(self, probed: Probed) -> Per1000:
        """By the meter every request's steps go through."""
        mean = float(np.mean(probed.cpu_seconds)) if probed.cpu_seconds else 0.0
        step = Step(producer=_NAME, engine="linear", usage=Usage(cpu_seconds=1000 * mean))
        usage = CostMeter(self.accounting, {}, None).price(step).usage
        return Per1000(joules=usage.joules, money=usage.cost)


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


# --- All of them ---------------------------------------------------------------------------------


def _result(
    rows: Rows,
    trained: TrainedRungs,
    measured: tuple[RungRow, ...],
    large: LargeRow | None,
    conditions: Conditions,
) -> RightSizing:
    section, measure, bar = rows.section, rows.held.measure, {str(k): v for k, v in rows.section.bar.items()}
    taken = next(row for row in measured if row.rung == trained.choice.candidate.rung)
    comparisons = [_beside(measure, taken, other) for other in measured if other is not taken]
    if large is not None:
        comparisons.append(_beside_large(measure, taken, large))
    odd = [warning for each in trained.candidates for warning in each.warnings]
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
        warnings=tuple(dict.fromkeys((*rows.warnings, *odd, *_partial(large)))),
    )


def _about(data: Dataset) -> dict[str, object]:
    return {"file": data.name, "sha256": data.sha256, "rows": len(data)}


def _partial(large: LargeRow | None) -> list[str]:
    """What to know of a large model's answers."""
    if large is None:
        return []
    found = []
    if large.answered < large.of:
        found.append(
            f"{large.name} answered {large.answered:,} of {large.of:,} held-out rows; its figures are of those, and "
            "it is compared on them"
        )
    if count := sum(large.strangers.values()):
        shown = ", ".join(repr(answer[:40]) for answer in list(large.strangers)[:3])
        found.append(f"{count:,} answers of {large.name} are none of the labels ({shown}) and count as wrong")
    return found


def _beside(measure: str, taken: RungRow, other: RungRow) -> Comparison:
    return Comparison(
        first=taken.rung,
        second=other.rung,
        measure=_compared(measure),
        rows=len(taken.cases),
        difference=difference(measure, taken.cases, other.cases),
        joules=_ratio(taken.per_1000.joules, other.per_1000.joules),
        money=_ratio(taken.per_1000.money, other.per_1000.money),
    )


def _beside_large(measure: str, taken: RungRow, large: LargeRow) -> Comparison:
    common = [taken.cases[place] for place in large.positions]
    return Comparison(
        first=taken.rung,
        second=large.name,
        measure=_compared(measure),
        rows=len(common),
        difference=difference(measure, common, large.cases),
        joules=_ratio(taken.per_1000.joules, large.per_1000.joules),
        money=_ratio(taken.per_1000.money, large.per_1000.money),
    )


def _compared(measure: str) -> str:
    """What a difference is of: rows are right or wrong, and only an AUC is worked out otherwise."""
    return "auc" if measure == "auc" else "accuracy"


def _ratio(first: float | Decimal | None, second: float | Decimal | None) -> float | None:
    return float(first) / float(second) if first and second else None
