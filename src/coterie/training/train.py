"""Makes specialists from data: trains, calibrates and measures every rung, and stores the cheapest sufficient one.

Linear algebra and boosting run in one thread. On problems of this size threads mostly wait for each other: with two
busy cores a scorecard takes 31 s instead of 4, a kernel model 21 s instead of 5. And the order of their sums would
make the weights, and so the version, depend on the number of cores. Only the encoder uses several threads.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from pydantic import ValidationError

from coterie.accounting.meter import CostMeter, PackageMeter, priced_bill
from coterie.config.file import Config, Model, load_config
from coterie.config.specialists import SpecialistSection
from coterie.engines.onnx import open_encoder
from coterie.errors import (
    ArtefactRefused,
    ConfigError,
    DataError,
    InputError,
    NotTrained,
    SetupError,
    UnknownSpecialist,
)
from coterie.governance.audit import open_audit
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.learning.calibration import one_thread
from coterie.learning.dataset import Dataset
from coterie.learning.job import AskedModel, Job, Progress, Silent, TextEncoder, check_job, find_asked
from coterie.learning.measure import (
    Candidate,
    Encoded,
    RungChoice,
    choose,
    choose_chain,
    encode,
    floor_of,
    language_warnings,
    why_floor,
)
from coterie.protocols import Retriever
from coterie.registry.export import write_card
from coterie.registry.promotion import champion_of, compare, judge
from coterie.registry.registry import CANDIDATE, CHAMPION, Registry, open_registry
from coterie.registry.version import Version
from coterie.routing.profile import PROFILE_FILE, CosineScale, Profile, hint_texts, make_profile
from coterie.tasks.contract import Trained, Workplace, task_of
from coterie.tasks.versions import write_report
from coterie.tuning.base import Checkpoints
from coterie.types import Reason, Step, Usage, Verdict


@dataclass(frozen=True, kw_only=True)
class TrainedRungs:
    """A candidate per rung, and the chosen one."""

    candidates: tuple[Candidate, ...]
    """Candidates, cheapest first; always with the lexical floor."""
    choice: RungChoice
    """The choice, made on out-of-fold rows: the held-out ones choose nothing."""
    encoded: Encoded | None
    """Encodings of the training texts, or for pairs of the hypotheses; None where there are none."""
    warnings: tuple[str, ...] = ()
    """What is doubtful of all rungs alike."""


def train_rungs(
    name: str,
    section: SpecialistSection,
    *,
    train: Dataset,
    held_out: Dataset,
    encoder: TextEncoder,
    progress: Progress | None = None,
    models: Mapping[str, Model] = MappingProxyType({}),
    asked_model: AskedModel | None = None,
    checkpoints: Checkpoints | None = None,
) -> TrainedRungs:
    """Train each rung of a specialist, without a network and without storing anything.

    Args:
        name: Name of the specialist in messages.
        section: What to train; its `data` and `test` are not read.
        train: Rows to learn from.
        held_out: Rows to measure on; they choose nothing.
        encoder: Encodes the texts.
        progress: Called with the progress of each step.
        models: Models that the section's `model` may name: the rung `slm` tunes it.
        asked_model: The model of the rung `llm`, where the section names it.
        checkpoints: Where fine-tuning keeps its state, to resume when it is interrupted.

    Raises:
        ConfigError, DataError, ExtraMissing, ModelMissing: it cannot be trained.
        EgressRefused, EngineError, Overloaded: the model of the rung `llm` could not be asked.
    """
    job = Job(
        name=name,
        task=task_of(section),
        section=section,
        train=train,
        held_out=held_out,
        encoder=encoder,
        progress=progress or Silent(),
        asked=asked_model,
        checkpoints=checkpoints,
    )
    job = check_job(job, Path(), models)
    with one_thread():
        return replace(fit_rungs(job), warnings=tuple(language_warnings(job)))


def possible_rungs(section: SpecialistSection, train: Dataset) -> Sequence[str]:
    """Return the rungs that such rows allow, cheapest first, whatever the section names."""
    return task_of(section).possible_rungs(section, train)


def fit_rungs(job: Job[SpecialistSection]) -> TrainedRungs:
    """Train every rung of a job and choose one."""
    task = task_of(job.section)
    encoded = encode(job, task.texts(job), "encode") if job.has_texts else None
    candidates = task.fit(job, encoded)
    possible = [candidate for candidate in candidates if candidate.rung in job.rungs]
    choice = choose_chain(candidates) or choose(possible or candidates, job.bar)
    if (floor := floor_of(candidates, choice.candidate)) is not None:
        choice = RungChoice(candidate=floor, reason=why_floor(floor, choice.candidate))
    return TrainedRungs(candidates=tuple(candidates), choice=choice, encoded=encoded)


# --- What a version says of its data is true only if the files are still those that were read.

# --- Training specialists of a network, one after the other, into its registry.

_SHOWN = 12  # digits of a checksum in a message


def check_unchanged(name: str, read: Mapping[Path, str]) -> None:
    """Refuse to store a training if the content of one of its files has changed.

    Args:
        name: The specialist.
        read: SHA-256 of each file when it was read.

    Raises:
        DataError: a file has changed, or no longer exists.
    """
    for path, before in read.items():
        try:
            with path.open("rb") as file:
                now = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _changed(name, path, f"it cannot be read any more: {error.strerror or error}") from error
        if now != before:
            raise _changed(name, path, f"its SHA-256 was {before[:_SHOWN]} and is {now[:_SHOWN]}")


def _changed(name: str, path: Path, problem: str) -> DataError:
    return DataError(
        f"{path.name} changed while {name!r} was trained: {problem}. Nothing was stored.",
        hint="Train again when nobody writes to it, or from a copy.",
    )


_NO_DATA = Dataset(name="no data", rows=(), sha256=hashlib.sha256().hexdigest())
HERE = "training"
"""Engine of the steps that a training takes in this process."""
_CHOICE = {"rungs", "chain"}
CHECKPOINTS_FOLDER = Path("state", "checkpoints")
"""Folder below a network's folder with a folder per specialist, for resuming interrupted trainings."""


@dataclass(frozen=True, kw_only=True)
class TrainedSpecialist:
    """One specialist's new version and how it was made."""

    name: str
    version: str
    promoted: bool
    report: Mapping[str, object]
    """The version's `report.json`."""
    promotion: str = ""
    """The reason why it was promoted, or was not."""
    warnings: tuple[str, ...] = ()
    """Warnings from a comparison with the version that served before."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Training time of each rung."""
    took: Usage = field(default_factory=Usage)
    """Time, CPU time, energy and money of the whole training, including answers that a server gave for it."""

    def to_json(self) -> dict[str, object]:
        """Return the report, with what is true of this training only."""
        rungs = self.report.get("rungs")
        timed = [
            {"seconds": self.seconds[row["rung"]], **row} if row.get("rung") in self.seconds else row
            for row in (rungs if isinstance(rungs, Sequence) else ())
        ]
        decided = {"version": self.version, "promoted": self.promoted, "promotion": self.promotion}
        took = {
            "seconds": round(self.took.milliseconds / 1000, 3),
            "cpu_seconds": round(self.took.cpu_seconds, 3),
            "joules": round(self.took.joules, 3),
            "joules_kind": self.took.joules_kind,
            "cost": None if self.took.cost is None else float(self.took.cost),
        }
        warnings = self.report.get("warnings")
        all_warnings = [*(warnings if isinstance(warnings, Sequence) else ()), *self.warnings]
        return {**decided, **self.report, "rungs": timed, "took": took, "warnings": all_warnings}


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """The result of one call of `train`."""

    specialists: Mapping[str, TrainedSpecialist]
    seconds: float

    def to_json(self) -> dict[str, object]:
        """Return the form that `coterie train --json` prints."""
        return {
            "specialists": {name: trained.to_json() for name, trained in self.specialists.items()},
            "seconds": round(self.seconds, 1),
        }


def train(
    folder: Path | str,
    names: Sequence[str] = (),
    *,
    progress: Progress | None = None,
    encoder: TextEncoder | None = None,
    indexes: Mapping[str, Retriever] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> TrainingReport:
    """Train specialists of a network and make the new versions its champions.

    A version that misses its bar replaces a champion only if that one is worse. A version that is measurably worse
    than the champion, overall or on the rows of a label, never does: it becomes the candidate. The router needs no
    training of its own: it reads the champions' profiles whenever the network is opened. The same data, section and
    seed give the same version.

    Args:
        folder: The network's folder.
        names: Which specialists; all of them when empty.
        progress: Called with the progress of each step.
        encoder: The network's encoder; the one that `[network] encoder` names by default.
        indexes: The open indexes of `answer` specialists, by `[knowledge]` key; those of the folder by default.
        overrides: Fields of the specialists' sections that replace those in the file for this training.

    Raises:
        ConfigError, UnknownSpecialist, DataError: the request cannot be trained, or its data changed meanwhile.
        InputError: an override does not fit a specialist.
        EgressRefused, EngineError, Overloaded: the model of a rung `llm` could not be asked; its answers are saved.
        SetupError: a version cannot be stored.

    When an error or an interruption ends the training of a specialist, nothing of it is stored; earlier ones are
    stored.
    """
    folder, start = Path(folder), time.perf_counter()
    config = load_config(folder)
    encoder = encoder or open_encoder(config.network.encoder, folder, threads=2)
    registry = open_registry(folder, config.registry, signing=True)
    # Every file is read before anything is trained: a typo in the last one does not cost the time of the first.
    chosen = _chosen(config, names)
    if overrides:
        config = _overridden(config, chosen, overrides)
    jobs = [_job(name, config, folder, encoder, progress or Silent()) for name in chosen]
    workplace = Workplace(config=config, folder=folder, indexes=indexes)
    for job in jobs:
        task_of(job.section).check(job, workplace)
    registry.check_writable()
    with one_thread():
        trained = {job.name: _train_whole(job, workplace, registry) for job in jobs}
    return TrainingReport(specialists=trained, seconds=time.perf_counter() - start)


def train_candidate(
    folder: Path,
    config: Config,
    name: str,
    section: SpecialistSection,
    *,
    encoder: TextEncoder | None = None,
) -> TrainedSpecialist:
    """Train a specialist that is in no file; its version is the candidate in the registry, and never serves.

    Args:
        folder: The network's folder.
        config: The network's configuration.
        name: Its name in the registry.
        section: Its section; the path of its data is below the folder.
        encoder: The network's encoder; the one that `[network] encoder` names by default.

    Raises the errors of `train`.
    """
    whole = config.model_copy(update={"specialists": {**config.specialists, name: section}})
    encoder = encoder or open_encoder(config.network.encoder, folder)
    registry = open_registry(folder, config.registry, signing=True)
    job = _job(name, whole, folder, encoder, Silent())
    workplace = Workplace(config=whole, folder=folder)
    task_of(section).check(job, workplace)
    with one_thread():
        return _train_whole(job, workplace, registry, serve=False)


def _chosen(config: Config, names: Sequence[str]) -> Sequence[str]:
    if not config.specialists:
        raise ConfigError(
            "This network has no specialists to train.",
            hint="Add one: coterie add NAME --task classify --data FILE",
        )
    unknown = [name for name in names if name not in config.specialists]
    if unknown:
        raise UnknownSpecialist(
            f"Asked to train {', '.join(map(repr, unknown))}; this network has {sorted(config.specialists)}.",
            hint="Use one of these names, or none to train all.",
        )
    return tuple(dict.fromkeys(names)) or tuple(config.specialists)


def _overridden(config: Config, names: Sequence[str], overrides: Mapping[str, object]) -> Config:
    """Return the configuration with other settings for these specialists; `rungs` and `chain` replace each other."""
    sections = dict(config.specialists)
    for name in names:
        section = sections[name]
        kept = section.model_dump(exclude_unset=True, exclude=_CHOICE if _CHOICE & set(overrides) else None)
        try:
            sections[name] = type(section).model_validate({**kept, **overrides})
        except ValidationError as error:
            problem = error.errors()[0]
            key_path = ".".join(map(str, problem["loc"])) or "the settings"
            raise InputError(
                f"{name!r} cannot be trained so: {key_path}: {problem['msg'].removeprefix('Value error, ')}.",
                hint="The same settings are keys of its section in coterie.toml.",
            ) from None
    return config.model_copy(update={"specialists": sections})


def _job(name: str, config: Config, folder: Path, encoder: TextEncoder, progress: Progress) -> Job[SpecialistSection]:
    """Read and check a specialist's data."""
    section = config.specialists[name]
    task = task_of(section)
    data = task.read_rows(section, folder / section.data) if section.data else _NO_DATA
    read = {folder / section.data: data.sha256} if section.data else {}
    if section.test is not None and task.is_measured(section):
        train_rows, held_out = data, task.read_rows(section, folder / section.test, for_evaluation=True)
        read[folder / section.test] = held_out.sha256
    else:
        train_rows, held_out = task.divide(section, data)
    job = Job(
        name=name,
        task=task,
        section=section,
        train=train_rows,
        held_out=held_out,
        encoder=encoder,
        progress=progress,
        read=read,
        checkpoints=Checkpoints(folder=folder / CHECKPOINTS_FOLDER / name),
        asked=find_asked(section, config, folder, Gate(ClearancePolicy(), audit=open_audit(config.audit, folder))),
    )
    return check_job(job, folder, config.models)


def _train_whole(
    job: Job[SpecialistSection], workplace: Workplace, registry: Registry, *, serve: bool = True
) -> TrainedSpecialist:
    """Train one specialist; its checkpoints are removed when the version is stored."""
    config = workplace.config
    package = PackageMeter() if config.accounting.energy_meter else None
    wall, cpu = time.perf_counter(), time.process_time()
    made = task_of(job.section).train(job, workplace) or _best_rung(job)
    trained = _stored(job, registry, made, serve=serve)
    if job.checkpoints:
        job.checkpoints.clear()
    usage = Usage(milliseconds=(time.perf_counter() - wall) * 1000, cpu_seconds=time.process_time() - cpu)
    meter = CostMeter(config.accounting, config.models, None, package=package)
    took = meter.price(Step(producer=job.name, engine=HERE, usage=usage)).usage
    bill = job.asked.bill if job.asked else []
    if (remote := priced_bill(meter, job.name, bill, config.models)) is not None:
        took += replace(remote, milliseconds=0.0)
    return replace(trained, took=took)


def _best_rung(job: Job[SpecialistSection]) -> Trained:
    """Train every rung and choose one; its version has a profile for the router."""
    fitted = fit_rungs(job)
    files = dict(fitted.choice.candidate.files)
    if fitted.encoded is not None:
        files[PROFILE_FILE] = _profile(job, fitted).to_bytes()
    return Trained(
        files=files,
        report=write_report(job, fitted.choice, fitted.candidates),
        seconds={candidate.rung: candidate.seconds for candidate in fitted.candidates},
    )


def _profile(job: Job[SpecialistSection], fitted: TrainedRungs) -> Profile:
    """Return what the router learns of it from its texts; columns are found by their names."""
    assert fitted.encoded is not None, "there are texts"  # noqa: S101
    task = task_of(job.section)
    examples = task.examples(job)
    hints = hint_texts(job.section.description, tuple(task.subjects(job)), examples=len(examples))
    empty = np.empty((0, job.encoder.dimension))
    return make_profile(
        fitted.encoded.vectors[[example.position for example in examples]],
        [example.label for example in examples],
        [example.group for example in examples],
        hints=job.encoder.encode(hints).reshape(-1, job.encoder.dimension) if hints else empty,
        hint_texts=hints,
        seed=job.section.seed,
        scale=CosineScale.of(job.encoder),
    )


def _stored(job: Job[SpecialistSection], registry: Registry, made: Trained, *, serve: bool) -> TrainedSpecialist:
    check_unchanged(job.name, job.read)
    return store_version(registry, job.name, job.section, made, serve=serve)


def store_version(
    registry: Registry, name: str, section: SpecialistSection, made: Trained, *, serve: bool = True
) -> TrainedSpecialist:
    """Store a complete version, then let it serve if it may; else it becomes the candidate.

    Args:
        registry: Where it is stored.
        name: The specialist.
        section: Its section of `coterie.toml`.
        made: The version's files without report and card, and its report, from which the card is written.
        serve: Whether it may serve; otherwise it becomes the candidate.

    Raises:
        SetupError: it cannot be stored; the registry is unchanged.
    """
    about = {
        "report.json": json.dumps(made.report, indent=1, ensure_ascii=False).encode(),
        "card.md": write_card(made.report, task_of(section).card_text(section)).encode(),
    }
    before = registry.versions(name)
    version = registry.add(name, {**made.files, **about})
    try:
        stored = registry.load(name, version)
        promotion = judge_promotion(registry, name, stored)
        fallen = warn_fallen(registry, name, stored) if promotion.allowed else ()
        alias = CHAMPION if promotion.allowed and serve else CANDIDATE
        registry.promote(name, version, alias, reason=f"trained; {promotion.reason}")
    except BaseException:  # a version that was told to nobody is none: the registry is as it was
        if version not in before:
            with suppress(SetupError):  # what went wrong first is what counts
                registry.withdraw(name, version)
        raise
    return TrainedSpecialist(
        name=name,
        version=version,
        promoted=promotion.allowed,
        report=made.report,
        promotion=str(promotion.reason),
        warnings=fallen,
        seconds=made.seconds,
    )


def judge_promotion(registry: Registry, name: str, version: Version) -> Verdict:
    """Return whether a version serves: if the registry would promote it, or, below its bar, if no better one does."""
    try:
        champion = registry.champion(name)
        old = champion.report
    except (NotTrained, ArtefactRefused) as error:
        verdict = judge(version, None)
        code = "promote.only_version" if isinstance(error, NotTrained) else "promote.champion_damaged"
        return verdict if verdict.allowed else replace(verdict, allowed=True, reason=Reason(code, why=verdict.reason))
    verdict = judge(version, champion)
    if verdict.allowed or version.report.get("bar_met") is not False:
        return verdict
    return _beside(version, old, champion, verdict)


def warn_fallen(registry: Registry, name: str, version: Version) -> tuple[str, ...]:
    """Return warnings if an accepted version is far worse than the serving one, on rows that cannot be compared."""
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
    """Return the verdict on a version that misses its bar: it may be less bad than the champion."""
    comparison = compare(old, version.report)
    if not comparison.overall:
        return replace(refusal, reason=Reason("promote.misses_bar_alone", champion=champion.version))
    first, worse = comparison.overall[0], [change.reason for change in comparison.regressions]
    reason = Reason(
        "promote.misses_bar", measure=first.what, after=first.after, before=first.before, champion=champion.version
    )
    return replace(refusal, allowed=first.after > first.before and not worse, reason=reason.noting(*worse))
