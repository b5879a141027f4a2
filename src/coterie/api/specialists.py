"""The common methods of every fitted specialist, and the prediction for one input."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self, overload

import numpy as np
from threadpoolctl import threadpool_limits

from coterie.api.inputs import Values, read_texts
from coterie.api.workspace import (
    FitOptions,
    FitPlan,
    Rows,
    Saved,
    StoredSpecialist,
    Tables,
    fit_in_workspace,
    open_stored,
    save_stored,
    write_rows,
)
from coterie.assembly import open_models
from coterie.config.file import load_config
from coterie.errors import InputError
from coterie.learning.dataset import Row
from coterie.learning.evaluation import Evaluation
from coterie.learning.measure import LookUp, consult_rows, evaluate
from coterie.learning.splits import shared_rows
from coterie.protocols import Specialist
from coterie.runtime.concurrency import run
from coterie.structured.functions import stored_calls
from coterie.tasks.contract import task_of
from coterie.tasks.loading import load_specialist
from coterie.types import Citation, Evidence, Field, Finding, FunctionCall, Scalar
from coterie.types.shown import html_table, html_text

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
        for field in self.finding.fields:
            stated = (field.value,) if field.accepted and field.stated else ()
            by_field[field.name] = by_field.get(field.name, ()) + stated
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
