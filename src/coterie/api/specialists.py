"""The common methods of every fitted specialist, the options of every `fit`, and the network folders behind it.

A specialist is fitted in a temporary folder, and saved into the user's.
"""

from __future__ import annotations

import difflib
import json
import logging
import shutil
import sys
import tempfile
import time
import warnings
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypedDict, overload

import numpy as np
import tomlkit
from pydantic import BaseModel
from threadpoolctl import threadpool_limits

from coterie.accounting.meter import CostMeter
from coterie.api.inputs import Values, read_texts
from coterie.assembly import open_models
from coterie.config.edit import add_tables, replace_table
from coterie.config.file import Config, load_config, parse_config
from coterie.config.section import FILE_NAME
from coterie.engines.onnx import BUNDLED, OnnxEncoder, open_encoder
from coterie.errors import ConfigError, ExtraMissing, InputError, SetupError, StoreError, UnknownSpecialist
from coterie.knowledge.build import index_declared
from coterie.learning.dataset import Row
from coterie.learning.evaluation import Evaluation
from coterie.learning.job import Progress, Silent
from coterie.learning.measure import LookUp, consult_rows, evaluate
from coterie.learning.splits import shared_rows
from coterie.protocols import Specialist
from coterie.registry.registry import open_registry
from coterie.registry.version import Version
from coterie.runtime.concurrency import run
from coterie.runtime.files import copy_file, sole_editor, write_bytes
from coterie.store.opening import open_store
from coterie.store.summary import training_of
from coterie.structured.schema import stored_calls
from coterie.tasks.contract import Trained, task_of
from coterie.tasks.versions import load_specialist
from coterie.training.train import HERE, TrainedSpecialist, store_version, train
from coterie.types import Citation, Evidence, Field, Finding, FunctionCall, Scalar, Step, Usage
from coterie.types.shown import html_table, html_text

_log = logging.getLogger("coterie.api")


class FitOptions(TypedDict, total=False):
    """Keywords of every `fit`."""

    name: str
    """The specialist's name: small letters, digits, `-` and `_`. It is also the default name of `save`."""
    description: str
    """What the specialist is for, in a sentence: the router of a network learns from it."""
    licence: str
    """Licence of the rows, as an SPDX identifier: `CC-BY-4.0`, or `LicenseRef-internal` for your own data."""
    rungs: Sequence[str]
    """Rungs to try, cheapest first: `lexical`, `embedding` and, only if named, `encoder`, `slm`, `llm`."""
    target_risk: float
    """Highest share of wrong answers among accepted ones, held with 95% confidence.

    By default 0.05, or the smallest share that the examples can show; see `warnings` of the fitted specialist.
    """
    bar: Mapping[str, float]
    """Metrics that the specialist must reach on held-out rows, such as `{"accuracy": 0.9}`."""
    seed: int
    """Seed of everything random; the same data, options and seed give the same version."""
    progress: bool | Progress
    """True prints each stage to standard error; a `Progress` object is called instead."""
    settings: Mapping[str, Any]
    """Further keys of the specialist's section of `coterie.toml`, such as `{"chain": ["lexical", "encoder"]}`."""


_LISTS = {"rungs"}
_PLAIN = ("description", "licence", "rungs", "target_risk", "bar", "seed")


def settings_of(options: FitOptions) -> dict[str, object]:
    """Return the options as keys of a section of `coterie.toml`. Raises `TypeError` for an unknown option."""
    for option in options:
        if option not in FitOptions.__annotations__:
            near = difflib.get_close_matches(option, FitOptions.__annotations__, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"fit() got an unexpected keyword argument {option!r}.{hint}")
    named = {key: value for key, value in options.items() if key in _PLAIN and value is not None}
    return {
        **{key: list(value) if key in _LISTS else value for key, value in named.items()},  # type: ignore[call-overload]
        **(options.get("settings") or {}),
    }


def progress_of(options: FitOptions) -> Progress:
    """Return the object that receives the progress of the training."""
    wanted = options.get("progress", False)
    if isinstance(wanted, bool):
        return Printed() if wanted else Silent()
    return wanted


class Printed(Silent):
    """A progress that prints a line to standard error for each finished stage."""

    def __init__(self) -> None:
        self._what = ""

    def start(self, what: str, total: int | None) -> None:  # noqa: ARG002 - a line tells no share
        """Begin a stage."""
        self._what = what

    def finish(self, note: str) -> None:
        """Print the line of the finished stage."""
        sys.stderr.write(f"{self._what}: {note}\n" if note else f"{self._what}\n")


Tables = Mapping[tuple[str, str], Mapping[str, Any]]
"""Tables of `coterie.toml` by kind and name, such as `("knowledge", "documents")`."""

Rows = Sequence[Mapping[str, object]]
"""Rows as JSON objects."""
_DATA_FILES = {"data": "data/{name}{suffix}", "test": "data/{name}.test{suffix}"}
DOCUMENTS = "documents/{name}"
"""Path of documents' texts in the folder of a network."""
_OWN_FILES = {"report.json", "card.md"}


@cache
def shared_encoder(name: str = BUNDLED, folder: Path | None = None) -> OnnxEncoder:
    """Return the shared encoder of this process: the bundled one, or the encoder of a network's folder."""
    return open_encoder(name, folder or Path(), threads=2)


@dataclass(kw_only=True, eq=False)
class StoredSpecialist:
    """A version of a specialist, stored in the folder of a network."""

    folder: Path
    name: str
    version: Version
    config: Config = field(repr=False)
    took: Usage | None = field(default=None, repr=False)
    """What the training took, until a network's ledger has it; None for a version that was not trained here."""

    @property
    def encoder(self) -> OnnxEncoder:
        """The encoder of the specialist's network."""
        name = self.config.network.encoder
        return shared_encoder() if name == BUNDLED else shared_encoder(name, self.folder)

    @property
    def section(self) -> Any:  # noqa: ANN401 - each task has keys of its own
        """The specialist's section of `coterie.toml`."""
        return self.config.specialists[self.name]


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The result of `save`."""

    folder: Path
    name: str
    version: str
    promoted: bool
    """Whether the network answers with this version from now on; otherwise the version is the candidate."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """The input of a fit: rows as JSON objects, and the settings for `coterie.toml`."""

    name: str
    settings: Mapping[str, Any]
    rows: Rows = ()
    test: Rows | None = None
    tables: Tables = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)
    """Texts of documents by file name."""


def fit_in_workspace(plan: FitPlan, options: FitOptions) -> StoredSpecialist:
    """Train a specialist in a temporary folder, which is removed when the returned object is garbage-collected.

    Raises:
        DataError, ConfigError: the rows or options do not fit the task.
    """
    settings = {**plan.settings, **settings_of(options)}
    folder = Path(tempfile.mkdtemp(prefix="coterie-"))
    try:
        for key, rows in (("data", plan.rows), ("test", plan.test)):
            if rows:
                settings[key] = _DATA_FILES[key].format(name=plan.name, suffix=".jsonl")
                write_rows(folder / settings[key], rows)
        for name, text in plan.documents.items():
            _write(folder / name, text)
        tables = {**plan.tables, ("specialists", plan.name): settings}
        _write(folder / FILE_NAME, add_tables("", tables))
        _index(folder, plan.tables, progress_of(options))
        report = train(folder, [plan.name], progress=progress_of(options), encoder=shared_encoder())
        trained = report.specialists[plan.name]
        stored = open_stored(folder, plan.name, trained.version)
        stored.took = trained.took
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ConfigError):  # nobody knows the temporary file
            raise ConfigError(_without_place(error.message, folder, plan.name), hint=error.hint) from None
        raise
    weakref.finalize(stored, shutil.rmtree, folder, ignore_errors=True)
    return stored


def _without_place(message: str, folder: Path, name: str) -> str:
    """Reword an error about the temporary `coterie.toml` as an error about the options of `fit`."""
    return message.replace(str(folder / FILE_NAME), "What was given to fit").replace(f"specialists.{name}.", "")


def open_stored(folder: Path, name: str, version: str | None = None) -> StoredSpecialist:
    """Open a version of a network's specialist, by default its champion. Raises `SetupError` or `UnknownSpecialist`."""
    config = load_config(folder)
    if name not in config.specialists:
        raise UnknownSpecialist(
            f"Asked for {name!r}; the network in {str(folder)!r} has {sorted(config.specialists)}.",
            hint="Use one of these names.",
        )
    registry = open_registry(folder, config.registry)
    stored_version = registry.champion(name) if version is None else registry.load(name, version)
    return StoredSpecialist(folder=folder, name=name, version=stored_version, config=config)


def save_stored(stored: StoredSpecialist, folder: Path, name: str, *, replace: bool = False) -> Saved:
    """Save a specialist into the folder of a network: its data, its section and its version.

    Args:
        stored: The specialist.
        folder: The network's folder; created if it does not exist.
        name: The specialist's name in that network.
        replace: Whether to overwrite a specialist of this name with other settings.

    Raises:
        InputError: the network has a specialist, model or index of this name with other settings.
        SetupError: something cannot be written.
    """
    try:
        return _save(stored, folder, name, replace=replace)
    except OSError as error:
        what = error.filename2 or error.filename or str(folder)
        raise SetupError(
            f"Cannot write {str(what)!r}: {error.strerror or type(error).__name__}.",
            hint="Check that it is a folder, that you may write there, and the disk's room.",
        ) from error


def _save(stored: StoredSpecialist, folder: Path, name: str, *, replace: bool) -> Saved:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    if not path.exists():
        _write(path, tomlkit.dumps({"network": {"name": folder.resolve().name or "network"}}))
    with sole_editor(path):
        config = load_config(folder)
        settings, tables, copies = _described(stored, folder, name)
        text = path.read_bytes().decode("utf-8")
        edited = _edited(text, config, name, settings, tables, replace=replace)
        for source, target in copies.items():
            _copy(source, target)
        if edited != text:
            write_bytes(path, edited.encode())
    _index(folder, tables, Silent())
    trained = _store(stored, folder, name)
    if stored.took is not None:
        try:
            run(_record(stored.took, folder, name, trained.version))
            stored.took = None
        except (ConfigError, ExtraMissing, StoreError) as error:  # it is saved all the same
            _log.warning("What the training took could not be written into the ledger: %s", error.message)
    return Saved(folder=folder, name=name, version=trained.version, promoted=trained.promoted, reason=trained.promotion)


def _store(stored: StoredSpecialist, folder: Path, name: str) -> TrainedSpecialist:
    registry = open_registry(folder, load_config(folder).registry, signing=True)
    files = {file: stored.version.files[file] for file in stored.version.files if file not in _OWN_FILES}
    report = {**stored.version.report, "name": name}
    return store_version(registry, name, stored.section, Trained(files=files, report=report))


async def _record(took: Usage, folder: Path, name: str, version: str) -> None:
    """Write what a training took into the network's ledger, at its prices where nobody else was asked for it."""
    config = load_config(folder)
    if not took.tokens_in:
        here = Usage(milliseconds=took.milliseconds, cpu_seconds=took.cpu_seconds)
        meter = CostMeter(config.accounting, config.models, None)
        took = meter.price(Step(producer=name, engine=HERE, usage=here)).usage
    store = await open_store(config, folder)
    try:
        await store.record_training(training_of(took, specialist=name, version=version, time=time.time()))
    finally:
        await store.close()


def _described(
    stored: StoredSpecialist, folder: Path, name: str
) -> tuple[dict[str, Any], dict[tuple[str, str], Any], dict[Path, Path]]:
    """Return the specialist's section, its tables and the files to copy, as the target network has them."""
    section, config = stored.section, stored.config
    settings, tables, copies = _as_written(section), dict[tuple[str, str], Any](), dict[Path, Path]()
    for key, template in _DATA_FILES.items():
        if written := settings.get(key):
            settings[key] = template.format(name=name, suffix=Path(written).suffix)
            copies[stored.folder / written] = folder / settings[key]
    named = {key: name if key == stored.name else key for key in section.knowledge}
    for key, renamed in named.items():
        table = _as_written(config.knowledge[key])
        paths = [stored.folder / path for path in table.get("paths", ())]
        inside = {path: _within(path, stored.folder, renamed) for path in paths}
        table["paths"] = [moved_to or str(path.resolve()) for path, moved_to in inside.items()]
        copies |= {path: folder / moved_to for path, moved_to in inside.items() if moved_to}
        tables["knowledge", renamed] = table
    if named:
        settings["knowledge"] = list(named.values())
    if section.model is not None:
        tables["models", section.model] = _as_written(config.models[section.model])
    return settings, tables, copies


def _as_written(section: BaseModel) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def _within(path: Path, folder: Path, name: str) -> str:
    """Return the documents' path in another network if they are inside this one; empty if they stay where they are."""
    if not path.resolve().is_relative_to(folder.resolve()):
        return ""
    return DOCUMENTS.format(name=name) if path.is_dir() else f"{DOCUMENTS.format(name=name)}/{path.name}"


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder; the target's old content is replaced."""
    if source.resolve() == target.resolve():
        return
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        copy_file(source, target)


def _edited(text: str, config: Config, name: str, settings: Mapping[str, Any], tables: Tables, *, replace: bool) -> str:
    """Return the text of `coterie.toml` with the section and its tables. Raises `InputError`."""
    wanted = parse_config(add_tables("", {**tables, ("specialists", name): settings}))
    for (kind, key), table in {**tables, ("specialists", name): settings}.items():
        present, new = (getattr(configuration, kind).get(key) for configuration in (config, wanted))
        if present is None:
            text = add_tables(text, {(kind, key): table})
        elif present != new:
            if not (replace and kind == "specialists"):
                raise InputError(
                    f"The network has [{kind}.{key}] with other settings.",
                    hint="Choose another name" + (", or overwrite it: replace=True." if kind == "specialists" else "."),
                )
            text = replace_table(text, kind, key, table)
    return text


def _index(folder: Path, tables: Tables, progress: Progress) -> None:
    """Index the documents of each `[knowledge]` table."""
    for kind, name in tables:
        if kind == "knowledge":
            run(index_declared(name, load_config(folder), folder, encoder=shared_encoder(), progress=progress))


def write_rows(path: Path, rows: Rows) -> None:
    """Write rows as JSONL."""
    _write(path, "".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in rows))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n", errors="surrogatepass")


# --- The common methods of every fitted specialist, and the prediction for one input.

_SHOWN = 60


@dataclass(frozen=True, repr=False)
class Prediction:
    """One prediction with its calibrated confidence, and whether the specialist accepts it.

    A prediction that is not accepted keeps its value: `reason` says why it is not sure enough.
    """

    finding: Finding

    @property
    def value(self) -> Scalar | tuple[str, ...]:
        """The label or labels, the probability, or the text; None if there is none."""
        return self.finding.value

    @property
    def label(self) -> str | None:
        """The predicted label; several labels are joined by `|`; None if there is none."""
        value = self.finding.value
        return None if value is None else "|".join(value) if isinstance(value, tuple) else str(value)

    @property
    def labels(self) -> tuple[str, ...]:
        """The predicted labels; one for a classifier without `multi_label`."""
        value = self.finding.value
        return value if isinstance(value, tuple) else () if value is None else (str(value),)

    @property
    def text(self) -> str:
        """The value as a person would read it."""
        return self.finding.text

    @property
    def confidence(self) -> float:
        """Calibrated probability that the value is right, 0 to 1."""
        return self.finding.confidence

    @property
    def accepted(self) -> bool:
        """Whether the specialist is sure enough to answer; otherwise it abstains."""
        return self.finding.accepted

    @property
    def reason(self) -> str:
        """Why the prediction is accepted or not, in words."""
        return str(self.finding.reason)

    @property
    def reason_code(self) -> str:
        """The stable code of the reason, such as `accept.above_threshold`; the words may change."""
        return self.finding.reason.code

    @property
    def scores(self) -> Mapping[str, float]:
        """Probabilities of a classifier's likeliest labels, highest first."""
        return {
            alternative.name: alternative.weight
            for alternative in self.finding.evidence
            if alternative.kind == "alternative"
        }

    @property
    def reasons(self) -> tuple[Evidence, ...]:
        """The columns that moved a score most; `weight` is a column's part in the log-odds."""
        return tuple(item for item in self.finding.evidence if item.kind == "reason")

    @property
    def quotes(self) -> tuple[Evidence, ...]:
        """The words of the text that decide a pair; `start` and `end` are characters of the text."""
        return tuple(item for item in self.finding.evidence if item.kind == "quote")

    @property
    def fields(self) -> tuple[Field, ...]:
        """Each value of each field of an extractor, with its quote, position and confidence."""
        return self.finding.fields

    @property
    def values(self) -> Mapping[str, Scalar | tuple[Scalar, ...]]:
        """The accepted value of each field of an extractor; a tuple for several values, None for no value."""
        by_field: dict[str, tuple[Scalar, ...]] = {}
        for extracted in self.finding.fields:
            stated = (extracted.value,) if extracted.accepted and extracted.stated else ()
            by_field[extracted.name] = by_field.get(extracted.name, ()) + stated
        return {name: value if len(value) > 1 else next(iter(value), None) for name, value in by_field.items()}

    @property
    def calls(self) -> tuple[FunctionCall, ...]:
        """The call of a tool caller with its arguments; empty where no function fits."""
        called = self.finding.task == "tools" and self.finding.text.startswith("{")
        return stored_calls(self.finding.text) if called else ()

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The quotes that an answer rests on, in the order of the text."""
        return self.finding.citations

    def __repr__(self) -> str:
        text = " ".join(self.text.split())
        shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
        verdict = "accepted" if self.accepted else "not accepted"
        return f"Prediction({shown!r}, confidence={self.confidence:.2f}, {verdict})"

    def _repr_html_(self) -> str:
        verdict = "accepted" if self.accepted else f"not accepted: {self.reason}"
        parts = [html_text(self.text), html_text(f"confidence {self.confidence:.2f}, {verdict}", tag="small")]
        if self.fields:
            rows = [(field.name, field.value, field.text, field.confidence) for field in self.fields]
            parts.append(html_table(["field", "value", "quote", "confidence"], rows))
        if self.citations:
            cited = [(f"[{n}]", citation.document, citation.text) for n, citation in enumerate(self.citations, start=1)]
            parts.append(html_table(["", "document", "quote"], cited))
        if evidence := [item for item in self.finding.evidence if item.kind != "quote"]:
            parts.append(html_table([evidence[0].kind, "weight"], [(item.name, item.weight) for item in evidence]))
        return "".join(parts)


# --- What every fitted specialist can do, whatever its task.


class FittedSpecialist:
    """A trained specialist in memory. Made by `fit` or `load` of a subclass, never by its constructor."""

    task: ClassVar[str]
    usual_name: ClassVar[str]
    """The specialist's name where no other name is given."""

    def __init__(self, stored: StoredSpecialist) -> None:
        self._stored = stored

    @classmethod
    def load(cls, folder: Path | str, name: str | None = None, *, version: str | None = None) -> Self:
        """Load a specialist from the folder of a network.

        Args:
            folder: The network's folder.
            name: The specialist's name; optional where the network has one specialist of this task.
            version: One of its versions; by default the champion, which is the one that answers.

        Raises:
            InputError: there is no such specialist, or it has another task.
            SetupError: it has no version, or that version is damaged.
        """
        folder = Path(folder)
        mine = [name for name, section in load_config(folder).specialists.items() if section.task == cls.task]
        if name is None:
            if len(mine) != 1:
                raise InputError(
                    f"{cls.__name__}.load needs a name: of its task, the network in {str(folder)!r} has {mine}."
                )
            name = mine[0]
        stored = open_stored(folder, name, version)
        if name not in mine:
            other = _class_of(stored.section.task)
            raise InputError(
                f"{name!r} has the task {stored.section.task!r}; {cls.__name__} does not load it.",
                hint=f"Load it with {other}.load." if other else "",
            )
        return cls(stored)

    def save(self, folder: Path | str, name: str | None = None, *, replace: bool = False) -> Saved:
        """Save the specialist into the folder of a network, so that the network routes to it and serves it.

        Its section is added to `coterie.toml`, and its rows are written to `data/`, so that `coterie train` can
        repeat the training. Its version is stored and promoted by the same rules as after `coterie train`.

        Args:
            folder: The network's folder; created if it does not exist.
            name: The specialist's name in that network; by default its own name.
            replace: Whether to overwrite a specialist of this name with other settings.

        Raises:
            InputError: the network has a specialist of this name with other settings.
            SetupError: something cannot be written.
        """
        return save_stored(self._stored, Path(folder), name or self.name, replace=replace)

    @property
    def name(self) -> str:
        """The specialist's name."""
        return self._stored.name

    @property
    def version(self) -> str:
        """The specialist's version: the hash of the trained files."""
        return self._stored.version.version

    @property
    def rung(self) -> str:
        """The chosen rung: the cheapest rung that is as good as the best, or that reaches the bar."""
        return str(self.report["rung"])

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """The training report: rungs, metrics on held-out rows, data, warnings."""
        return self._stored.version.report

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The metrics on the held-out rows, with the 95% interval of each under `intervals`."""
        measured: Mapping[str, Any] = self.report["metrics"]
        return measured

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the rows or the metrics."""
        return tuple(map(str, self.report.get("warnings", ())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, rung={self.rung!r}, version={self.version[:12]!r})"

    def _repr_html_(self) -> str:
        intervals = self.metrics.get("intervals", {})
        rows = [
            (figure, value, _bounds(intervals.get(figure)))
            for figure, value in self.metrics.items()
            if isinstance(value, float)
        ]
        remarks = "".join(html_text(warning, tag="small") for warning in self.warnings)
        return html_text(repr(self)) + html_table(["held-out rows", "value", "95% interval"], rows) + remarks

    # --- for the subclasses ----------------------------------------------------------------------

    @classmethod
    def _fit(
        cls,
        options: FitOptions,
        settings: Mapping[str, Any],
        rows: Rows,
        test: Rows | None = None,
        *,
        tables: Tables = MappingProxyType({}),
        documents: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """Fit a specialist with these keys of its section, further tables and texts of documents."""
        name, keys = options.get("name", cls.usual_name), {"task": cls.task, **settings}
        plan = FitPlan(name=name, settings=keys, rows=rows, test=test, tables=tables, documents=documents)
        return cls(fit_in_workspace(plan, options))

    @cached_property
    def _specialist(self) -> Specialist:
        stored = self._stored
        models = run(open_models(stored.config, stored.folder, {stored.name: stored.version}))
        return load_specialist(
            stored.name,
            stored.section,
            stored.version,
            encoder=stored.encoder,
            models=models,
            data_label=stored.config.network.default_label,
            windows={key: model.window for key, model in stored.config.models.items()},
        )

    @property
    def _look_up(self) -> LookUp | None:
        """The lookup that supplies text beside the input; None except for an answerer."""
        return None

    def _encoded(self, rows: Sequence[Row]) -> tuple[np.ndarray | None, np.ndarray | None]:  # noqa: ARG002 - most do not
        """Return encodings (N, D) of the rows' texts, and which of them cover a beginning only.

        None where the specialist uses no encodings. Encoding all texts at once, in the order of their length, takes
        less time than encoding them one by one.
        """
        return None, None

    def _predict(self, rows: Sequence[Row]) -> list[Prediction]:
        vectors, truncated = self._encoded(rows)
        consulting = consult_rows(self._specialist, rows, vectors=vectors, truncated=truncated, look_up=self._look_up)
        with threadpool_limits(1, user_api="blas"):  # products this small: more threads wait for each other in a loop
            findings = run(consulting)
        return [Prediction(finding) for finding in findings]

    def _evaluate(self, rows: Sequence[Mapping[str, object]]) -> Evaluation:
        """Read the rows as the training rows were read, and score the prediction for each."""
        section = self._stored.section.model_copy(update={"group_column": None})  # nothing is split here
        task = task_of(section)
        with tempfile.TemporaryDirectory(prefix="coterie-") as folder:
            file = Path(folder, "rows.jsonl")
            write_rows(file, rows)
            data = task.read_rows(section, file, for_evaluation=True)
        learned = None if section.data is None else self._stored.folder / section.data
        if learned is not None and learned.is_file():
            for remark in shared_rows(task.read_rows(section, learned, for_evaluation=True), data):
                warnings.warn(remark, stacklevel=3)
        vectors, truncated = self._encoded(data.rows)
        judged = evaluate(
            self._specialist,
            data.rows,
            vectors=vectors,
            truncated=truncated,
            judge=partial(task.judge, section=section, seed=section.seed),
            look_up=self._look_up,
        )
        with threadpool_limits(1, user_api="blas"):
            return run(judged)


class TextSpecialist(FittedSpecialist):
    """A specialist that reads one text and nothing else."""

    @overload
    def predict(self, texts: str) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, texts: Values) -> list[Prediction]: ...
    def predict(self, texts: str | Values) -> Prediction | list[Prediction]:
        """Predict for each text and return a list; a single text gives one prediction.

        A prediction that is not sure enough has `accepted == False` and keeps its value.
        """
        if isinstance(texts, str):
            return self._predict([Row(text=texts)])[0]
        return self._predict([Row(text=text) for text in read_texts(texts)])


def _class_of(task: str) -> str:
    """Return the name of the class for a task; empty if there is none."""
    classes: list[type[FittedSpecialist]] = [FittedSpecialist]
    while classes:
        candidate = classes.pop()
        if vars(candidate).get("task") == task:
            return candidate.__name__
        classes += candidate.__subclasses__()
    return ""


def _bounds(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
