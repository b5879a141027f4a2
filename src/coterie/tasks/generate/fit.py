"""Makes a `generate` specialist: its source texts are checked and stored with its prompt.

Its model is prompted without tuning, or tuned on pairs of message and reply where the section names them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from coterie.config.file import Config
from coterie.errors import DataError
from coterie.learning.dataset import Row
from coterie.learning.job import Job
from coterie.learning.measure import bar_met
from coterie.models.catalogue import CATALOGUE, describe_model
from coterie.runtime.codec import to_json
from coterie.tasks.contract import Trained, Workplace, task_of
from coterie.tasks.generate.grounding import EXCHANGES, INSTRUCTION, Drafting
from coterie.tasks.generate.section import GenerateSection
from coterie.tasks.versions import describe_data, describe_origin, licence_warnings
from coterie.text.folding import estimate_tokens

if TYPE_CHECKING:
    from coterie.tasks.generate.fit_replies import TunedReplies

_SHOWN = 5  # names listed in a warning


def train_generate(job: Job[GenerateSection], workplace: Workplace) -> Trained:
    """Train a version and return its files and its report.

    The file of a model that is not tuned need not be on this machine.

    Args:
        job: What to make; `train` has a source text per row and, in the column of the fact it reads, its key.
        workplace: The network, for the model it names and the specialists that write the fact.

    Raises:
        DataError: a row has no key, or two have the same; or the pairs do not fit.
        ExtraMissing, ModelMissing, ArtefactRefused, TrainingDiverged: its model cannot be tuned.
    """
    config, folder = workplace.config, workplace.folder
    job.progress.start(f"{job.name}: source texts", None)
    sources = _sources(job)
    instruction = job.section.instruction or INSTRUCTION
    model = describe_model(config.models[job.section.model or ""])
    tuned = _tuned(job, sources, instruction, folder) if job.section.pairs else None
    drafting = Drafting(instruction=instruction, examples=() if tuned else EXCHANGES)
    described = {
        "task": "generate",
        "rung": "slm",
        "sources": sources,
        **to_json(drafting),
        "max_tokens": job.section.max_tokens,
        "model": model,
        **({"base": {"name": model["name"], "sha256": job.causal.sha256}} if tuned and job.causal else {}),
    }
    warnings = [*job.train.warnings, *_warnings(job, sources, config, folder), *licence_warnings(job)]
    job.progress.finish(f"{len(sources)} source texts")
    files: dict[str, bytes] = {"model.json": json.dumps(described, indent=1, ensure_ascii=False).encode()}
    files |= tuned.files if tuned else {}
    return Trained(files=files, report=_report(job, sources, model, warnings, tuned))


def _tuned(job: Job[GenerateSection], sources: Mapping[str, str], instruction: str, folder: Path) -> TunedReplies:
    # Imported here: it needs torch, which nothing else does.
    from coterie.tasks.generate.fit_replies import read_pairs, tune_replies  # noqa: PLC0415

    return tune_replies(job, sources, instruction, read_pairs(job, sources, folder))


def _sources(job: Job[GenerateSection]) -> dict[str, str]:
    column, file = job.section.reads[0], job.train.name
    if column not in job.train.column_names:
        raise DataError(
            f"{file} has the columns {['text', *job.train.column_names]}; {job.name!r} reads the fact {column!r} and "
            "finds its source text by a column of that name.",
            hint=f"Name the column {column!r}, or correct `reads` of specialists.{job.name}.",
        )
    keys = [_key(row, column) for row in job.train.rows]
    if "" in keys:
        line = job.train.rows[keys.index("")].line
        raise DataError(f"{file}, line {line}: {column!r} is empty.", hint="Say for which value this text is.")
    repeated = [key for key, times in Counter(keys).items() if times > 1]
    if repeated:
        lines = [row.line for row in job.train.rows if _key(row, column) == repeated[0]]
        raise DataError(
            f"{file} has {len(lines)} source texts for {column} = {repeated[0]!r}, on the lines {lines}.",
            hint="Keep one text a value.",
        )
    return {key: row.text.strip() for key, row in zip(keys, job.train.rows, strict=True)}


def _key(row: Row, column: str) -> str:
    return str(row.columns.get(column) or "").strip()


def _warnings(job: Job[GenerateSection], sources: Mapping[str, str], config: Config, folder: Path) -> Iterator[str]:
    """Yield warnings about what works but deserves attention."""
    longest = job.section.max_tokens
    if long := [key for key, text in sources.items() if estimate_tokens(text) > longest]:
        yield (
            f"source texts longer than a draft may be (max_tokens = {longest}), so that they always take over: "
            f"{_some(long)}"
        )
    if job.section.bar and not job.section.pairs:
        yield f"bar = {dict(job.section.bar)} is not measured: that takes `pairs`, replies as they should be"
    fact = job.section.reads[0]
    written = _written_values(fact, config, folder)
    if written is None:
        return
    if missing := sorted(written - sources.keys()):
        yield f"no source text for {fact} = {_some(missing)}: it abstains there"
    if unused := sorted(sources.keys() - written):
        yield f"nobody writes {fact} = {_some(unused)}: these source texts are never used"


def _written_values(fact: str, config: Config, folder: Path) -> set[str] | None:
    """Return every value that a classifier of the network gives this fact; None if the data do not show it."""
    writers = [section for section in config.specialists.values() if fact in section.writes]
    values: set[str] = set()
    for section in writers:
        task = task_of(section)
        try:
            data = None if section.data is None else task.read_rows(section, folder / section.data)
        except DataError:  # its own training says so
            return None
        written = None if data is None else task.written_values(section, data)
        if written is None:
            return None
        values.update(written)
    return values if writers else None


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def _report(
    job: Job[GenerateSection],
    sources: Mapping[str, str],
    model: Mapping[str, str | None],
    warnings: list[str],
    tuned: TunedReplies | None,
) -> dict[str, object]:
    """Return the version's `report.json`, in the form of the other tasks'."""
    listed = CATALOGUE.get(model["name"] or "")
    return {
        "name": job.name,
        "task": "generate",
        "description": job.section.description,
        "rung": "slm",
        "reason": f"{model['name']} is {_how(tuned)}; each sentence is checked against its source text",
        "bar": dict(job.section.bar),
        "bar_met": bar_met(job.bar, tuned.metrics) if tuned else None,
        "metrics": tuned.metrics if tuned else {},
        "rungs": [],
        **({"tuning": tuned.notes} if tuned else {}),
        "data": {
            "train": describe_data(job.train, job.section.licence),
            **({"pairs": describe_data(tuned.pairs, job.section.licence)} if tuned else {}),
        },
        "model": dict(model),
        "base": {
            **model,
            "licence": listed.licence if listed else None,
            "source": listed.hub_repo if listed else None,
        },
        "labels": len(sources),
        "warnings": warnings,
        **describe_origin(job.section),
    }


def _how(tuned: TunedReplies | None) -> str:
    return "prompted, not trained" if tuned is None else f"tuned on {len(tuned.pairs):,} replies"
