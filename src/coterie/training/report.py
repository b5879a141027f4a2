"""What a version says of itself, and whether it may take the champion's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from coterie.errors import ArtefactRefused, NotTrained
from coterie.learning.candidates import Candidate, RungChoice, bar_met
from coterie.learning.dataset import Dataset
from coterie.learning.job import Job
from coterie.learning.lineage import describe_base, describe_data, describe_origin, licence_warnings
from coterie.learning.metrics import pack
from coterie.learning.splits import compare_datasets
from coterie.registry.promotion import champion_of, compare, judge
from coterie.registry.registry import Registry
from coterie.registry.version import Version
from coterie.types import Verdict


def write_report(job: Job, choice: RungChoice, candidates: Sequence[Candidate]) -> dict[str, object]:
    """The version's `report.json`. It depends on data, section, seed and what is installed, never on when or where."""
    evaluation = choice.candidate.evaluation
    metrics = evaluation.to_json()
    return {
        "name": job.name,
        "task": job.section.task,
        "description": job.section.description,
        "rung": choice.candidate.rung,
        "reason": choice.reason,
        "measures": list(job.measures),
        "bar": job.bar,
        "bar_met": bar_met(job.bar, metrics),
        "metrics": metrics,
        "rungs": [candidate.row() for candidate in candidates],
        "data": {
            "train": describe_data(job.train, job.section.licence),
            "held_out": describe_data(choice.candidate.measured or job.held_out, job.section.licence),
        },
        "encoder_sha256": job.encoder.sha256,
        "base": describe_base(job, choice.candidate.rung),
        "labels": None if job.section.writes_freely else len(job.train.label_names),
        "warnings": [*job.train.warnings, *choice.candidate.warnings, *_doubts(job), *licence_warnings(job)],
        **describe_origin(job.section),
        "slices": {label: each.to_json() for label, each in evaluation.slices.items()},
        "right": pack(evaluation.right),
    }


def _doubts(job: Job) -> tuple[str, ...]:
    """What makes the figures doubtful; nothing where they are cross-validated, or where questions may well recur."""
    if job.cross_validated or job.section.task == "answer":
        return ()
    if job.section.writes_freely:
        return compare_datasets(_unlabelled(job.train), _unlabelled(job.held_out))
    return compare_datasets(job.train, job.held_out)


def _unlabelled(data: Dataset) -> Dataset:
    """Its rows without their replies, of which each is its own: that one is not known means nothing."""
    return replace(data, rows=tuple(replace(row, labels=()) for row in data.rows))


def judge_promotion(registry: Registry, name: str, version: Version) -> Verdict:
    """A version serves if the registry would promote it; one that misses its bar, only where nothing better does."""
    try:
        champion = registry.champion(name)
        old = champion.report
    except (NotTrained, ArtefactRefused) as error:
        verdict = judge(version, None)
        there = "there is no other version" if isinstance(error, NotTrained) else "the version that serves is damaged"
        reason = verdict.reason if verdict.allowed else f"it misses its bar ({verdict.reason}), but {there}"
        return replace(verdict, allowed=True, reason=reason)
    verdict = judge(version, champion)
    if verdict.allowed or version.report.get("bar_met") is not False:
        return verdict
    return _beside(version, old, champion, verdict)


def warn_fallen(registry: Registry, name: str, version: Version) -> tuple[str, ...]:
    """That a version which nothing holds back is far from the one that serves, on rows that cannot be compared."""
    champion = champion_of(registry, name)
    if champion is None:
        return ()
    return tuple(
        f"{change.what} is {change.after:.3f}; of {champion.version}, which served before, it was {change.before:.3f}, "
        "on other held-out rows: these may be harder, or the data may have come to harm. Back to it: "
        f"coterie registry rollback {name}"
        for change in compare(champion.report, version.report).apart
        if change.worse
    )


def _beside(version: Version, old: Mapping[str, object], champion: Version, refusal: Verdict) -> Verdict:
    """The promotion of a version that misses its bar: it may be less bad than the champion."""
    comparison = compare(old, version.report)
    if not comparison.overall:
        return replace(refusal, reason=f"it misses its bar, and {champion.version} cannot be compared with it")
    first = comparison.overall[0]
    words = f"it misses its bar, with {first.what} {first.after:.3f} against {first.before:.3f} of {champion.version}"
    worse = "".join(f"; {change}" for change in comparison.regressions)
    return replace(refusal, allowed=first.after > first.before and not worse, reason=words + worse)
