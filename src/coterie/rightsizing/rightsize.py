"""Right-sizing from end to end: read the rows, train every rung, measure each, decide.

Test data does not influence the choice: training chooses the rung on out-of-fold rows, and held-out rows show
the result.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np

from coterie.config.accounting import AccountingSection
from coterie.config.file import LlamaModel
from coterie.errors import InputError
from coterie.learning.asked import AskedModel
from coterie.learning.dataset import Dataset
from coterie.learning.job import TextEncoder
from coterie.learning.numerics import one_thread
from coterie.learning.progress import Progress, Silent
from coterie.registry.registry import Registry
from coterie.rightsizing.bench import NAME, Bench, Probe, Rows, chain_curve
from coterie.rightsizing.probe import probe as probe_alone
from coterie.rightsizing.result import Comparison, Conditions, LargeRow, RightSizing, RungRow, decide, difference
from coterie.tasks.contract import task_of
from coterie.training.train import TrainedRungs, possible_rungs, train_rungs
from coterie.tuning.base import Checkpoints

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
