"""Specialists made and asked the way a user makes and asks them: a folder with a `coterie.toml`, `train`, the champion.

Nothing here reaches around the product: rows are asked one after the other through `consult` of a specialist that was
stored and loaded again, and judged by `coterie.learning`. Test rows are asked once a seed and choose nothing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import tomlkit

from coterie import open_network
from coterie.accounting.meter import CostMeter
from coterie.config.file import load_config
from coterie.config.operation import AccountingSection
from coterie.config.section import FILE_NAME
from coterie.config.specialists import SpecialistSection
from coterie.learning.dataset import Dataset, Row
from coterie.learning.evaluation import bootstrap_interval, bootstrap_mean
from coterie.learning.job import Silent
from coterie.protocols import Specialist
from coterie.registry.registry import REGISTRY_FOLDER, Registry
from coterie.registry.version import Version
from coterie.tasks.contract import TASK_TYPES, task_of
from coterie.training.train import train
from coterie.types import SYSTEM, ContextView, Finding, Rung, Task, Usage

R = TypeVar("R")

WATTS_PER_CORE = 10.0
DOLLARS_PER_CPU_HOUR = Decimal("0.05")
RUNGS: tuple[Rung, ...] = ("lexical", "embedding")

KEPT = 0.95  # share of in-scope rows kept where out-of-scope recall is compared
_WARM_UP = 20  # rows asked before the clock runs
_DRAWS = 400  # bootstrap draws of a percentile


class Steps(Silent):
    """Prints what training works on and how long it took."""

    def start(self, what: str, total: int | None) -> None:
        """Remember it."""
        self._what, self._start = (what if total is None else f"{what} ({total:,})"), time.perf_counter()

    def finish(self, note: str) -> None:
        """Print it."""
        print(f"  {self._what}: {time.perf_counter() - self._start:.1f} s {note}".rstrip(), flush=True)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a specialist found on each row, asked one after the other, and what it took."""

    rows: Sequence[Row]
    findings: Sequence[Finding]
    milliseconds: np.ndarray  # (N,)
    cpu_seconds: float
    """Of the whole process over all rows: what the steps say and the Python around them."""

    @property
    def right(self) -> np.ndarray:  # (M,)
        """Whether the value is one of the row's labels, for each row that has any."""
        pairs = zip(self.rows, self.findings, strict=True)
        return np.array([finding.value in row.labels for row, finding in pairs if row.labels])

    def figures(self) -> dict[str, Any]:
        """Quality as `judge` sees it, latency, and energy and money of 1,000 answers."""
        task = self.findings[0].task or "classify"
        judged = TASK_TYPES.load(task).judge(self.rows, self.findings).to_json()
        measured = {name: value for name, value in judged.items() if value is not None and name != "confusions"}
        measured |= {"latency_ms": percentiles(self.milliseconds), "per_1000": self._per_1000()}
        return measured if all(row.labels for row in self.rows) else measured | {"oos_recall_at_95": self._oos_recall()}

    def _oos_recall(self) -> float:
        """Share of the rows without a label below the in-scope score that 95% of the others reach."""
        score = np.array([finding.in_scope for finding in self.findings], dtype=float)
        labelled = np.array([bool(row.labels) for row in self.rows])
        return float((score[~labelled] < np.quantile(score[labelled], 1 - KEPT)).mean())

    def _per_1000(self) -> dict[str, Any]:
        """By the product's meter from the engines' CPU-seconds: estimates, and said so."""
        priced = [price(finding) for finding in self.findings]
        joules = np.array([usage.joules for usage in priced])
        dollars = np.array([float(usage.cost) for usage in priced if usage.cost is not None])
        return {
            "joules": 1000 * joules.mean(),
            "joules_interval": _scaled(joules),
            "joules_kind": priced[0].joules_kind,
            "dollars": 1000 * dollars.mean(),
            "dollars_interval": _scaled(dollars),
            "process_cpu_seconds": 1000 * self.cpu_seconds / len(self.rows),
        }


def price(finding: Finding) -> Usage:
    """What a finding took, priced by the meter at 10 W and $0.05 a core and hour."""
    accounting = AccountingSection(watts_per_core=WATTS_PER_CORE, price_per_cpu_hour=DOLLARS_PER_CPU_HOUR)
    meter = CostMeter(accounting, {}, None)
    return sum((meter.price(step).usage for step in finding.steps), Usage())


def _scaled(values: np.ndarray) -> list[float]:
    low, high = bootstrap_mean(values, seed=0)
    return [1000 * low, 1000 * high]


def percentiles(milliseconds: np.ndarray) -> dict[str, Any]:
    """p50, p95 and p99 with their intervals, and the worst."""
    figures: dict[str, Any] = {"n": len(milliseconds)}
    for percent in (50, 95, 99):
        figures[f"p{percent}"] = float(np.percentile(milliseconds, percent))
        figures[f"p{percent}_interval"] = percentile_interval(milliseconds, percent)
    return figures | {"max": float(milliseconds.max())}


def percentile_interval(values: np.ndarray, percent: float) -> list[float]:
    """95% bootstrap interval of a percentile."""
    return list(bootstrap_interval(lambda drawn: float(np.percentile(drawn, percent)), values, seed=0, n=_DRAWS))


def apart(work: Callable[..., R], *arguments: object) -> R:
    """Call a function of a module in a fresh process: no measurement finds the memory and threads of the last one."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


# --- Networks ------------------------------------------------------------------------------------


def write_network(
    folder: Path,
    sections: Mapping[str, Mapping[str, object]],
    models: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    knowledge: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
) -> None:
    """Write the `coterie.toml` of a network with these specialists, models and indexes."""
    folder.mkdir(parents=True, exist_ok=True)
    text = tomlkit.dumps(
        {
            "network": {"name": "benchmark"},
            "specialists": sections,
            "models": dict(models),
            "knowledge": dict(knowledge),
        }
    )
    (folder / FILE_NAME).write_text(text, encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A rung's stored version and what it said of the test rows."""

    version: Version
    asked: Asked
    seconds: float | None = None
    """Training time, encoding included; None for a version that was there already."""

    @property
    def rung(self) -> str:
        """What machinery it is."""
        return str(self.version.report["rung"])

    def figures(self) -> dict[str, Any]:
        """Its figures with how it was trained."""
        row = rung_report(self.version, self.rung)
        trained = {
            "version": self.version.version,
            "seconds": self.seconds,
            "bytes": row["bytes"],
            "out_of_fold": row["validation"],
            "threshold": row["threshold"],
            "warnings": self.version.report["warnings"],
        }
        return self.asked.figures() | {"training": trained}


def measure_rungs(folder: Path, section: Mapping[str, object], rungs: Sequence[Rung] = RUNGS) -> dict[str, Measured]:
    """Train rungs of a `classify` section below `folder`, then ask each about its test rows.

    Paths in the section are absolute or relative to the folder.
    """
    write_network(folder, {rung: {**section, "rungs": [rung]} for rung in rungs})
    trained = train(folder, progress=Steps()).specialists
    return {rung: measure_champion(folder, rung, seconds=trained[rung].seconds[rung]) for rung in rungs}


def measure_champion(folder: Path, name: str, *, seconds: float | None = None) -> Measured:
    """A stored version, loaded again and asked about its section's test rows."""
    rows = held_out(folder, load_config(folder).specialists[name]).rows
    print(f"  {name}: ask about {len(rows):,} rows, one by one", flush=True)
    return Measured(version=champion(folder, name), asked=asyncio.run(_ask(folder, name, rows)), seconds=seconds)


def champion(folder: Path, name: str) -> Version:
    """A network's champion, with its report."""
    return Registry(folder / REGISTRY_FOLDER).champion(name)


def rung_report(version: Version, rung: str) -> dict[str, Any]:
    """The row of a version's report on one rung."""
    rows: Any = version.report["rungs"]
    return next(row for row in rows if row["rung"] == rung)


def held_out(folder: Path, section: SpecialistSection) -> Dataset:
    """The test rows of a section."""
    return task_of(section).read_rows(section, folder / str(section.test), for_evaluation=True)


async def _ask(folder: Path, name: str, rows: Sequence[Row]) -> Asked:
    network = await open_network(folder)
    try:
        return await ask(network.specialists[name], rows)
    finally:
        await network.close()


async def ask(specialist: Specialist, rows: Sequence[Row]) -> Asked:
    """Ask about every row, one after the other."""
    for row in rows[:_WARM_UP]:
        await specialist.consult(_task(row), ContextView(), call=SYSTEM)
    findings, milliseconds = [], []
    spent = time.process_time()
    for row in rows:
        start = time.perf_counter()
        findings.append(await specialist.consult(_task(row), ContextView(), call=SYSTEM))
        milliseconds.append((time.perf_counter() - start) * 1000)
    spent = time.process_time() - spent
    return Asked(rows=rows, findings=findings, milliseconds=np.array(milliseconds), cpu_seconds=spent)


def _task(row: Row) -> Task:
    return Task(text=row.text, columns=row.columns or None)


# --- Figures -------------------------------------------------------------------------------------


def rung_figures(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """The figures of each rung, and what the others add to the floor."""
    figures = {rung: result.figures() for rung, result in measured.items()}
    floor = measured["lexical"].asked.right
    gains = {rung: gain(result.asked.right, floor) for rung, result in measured.items() if rung != "lexical"}
    return {**figures, "gain_over_floor": gains}


def gain(better: np.ndarray, floor: np.ndarray) -> dict[str, Any]:
    """Difference of two accuracies on the same rows, with the interval of the paired bootstrap."""
    difference = better.astype(float) - floor
    return {"accuracy": float(difference.mean()), "interval": list(bootstrap_mean(difference, seed=0))}
