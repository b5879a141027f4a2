"""The contract of a task, the same for built-in tasks and plug-ins.

A task defines its section, its rows and its figures, trains candidates, and makes a specialist from a stored version.
A task must implement `read_rows`, `fit`, `load` and, unless its values are labels, `judge` with `cases`; the rest has
defaults. A package registers its task under the entry point `coterie.tasks`; `examples/plugin` is a complete one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from coterie.config.specialists import SpecialistSection
from coterie.runtime.plugins import PluginGroup
from coterie.types import AnswerForm, Finding, Label, Option, Rung, SpecialistCard

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.learning.dataset import Dataset, Row
    from coterie.learning.evaluation import Case, Evaluation
    from coterie.learning.job import Job
    from coterie.learning.measure import Candidate, Encoded
    from coterie.protocols import Engine, FunctionServer, Retriever, Specialist

S = TypeVar("S", bound=SpecialistSection)

QUICK_RUNGS: tuple[Rung, ...] = ("lexical", "embedding")
"""Rungs that are tried unless the section names others: those that take seconds."""
HELD_OUT = 0.2
"""Share of the rows that is held out where there is no test file."""


@dataclass(frozen=True, kw_only=True)
class CardText:
    """The statements of a model card on every specialist of a task."""

    job: str = "has one task"
    """What the specialist does, as it follows "it"."""
    pipeline_tag: str = ""
    """Hugging Face's name for such a model, if there is one."""
    not_for: tuple[str, ...] = ()
    """Uses that it is not meant for."""


class RoutedExample(NamedTuple):
    """A text that shows the router what a specialist is asked."""

    position: int
    """Position of its encoding among those of `texts`."""
    label: str
    """Name of the text in the router's reasons."""
    group: str | None


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """The network that a specialist is trained for."""

    config: Config
    folder: Path
    indexes: Mapping[str, Retriever] | None = None
    """Open indexes by `[knowledge]` key; None to open those of the folder."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The parts of a new version."""

    files: Mapping[str, bytes]
    report: Mapping[str, object]
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Training time of each rung."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A verified version, from which a specialist is made."""

    described: Mapping[str, Any]
    """The version's `model.json`."""
    files: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The network's parts that a specialist may use."""

    encoder: Engine
    models: Mapping[str, Engine]
    """Generative engines by `[models]` key."""
    windows: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Context window of each model: tokens of prompt and answer."""
    servers: Mapping[str, FunctionServer] = field(default_factory=lambda: MappingProxyType({}))
    """MCP servers whose tools it may call, by their `[mcp]` key."""
    data_label: Label = Label.PUBLIC
    """Least sensitivity of training texts in a version, where neither section nor version sets a higher one."""


class TaskType(ABC, Generic[S]):
    """One kind of task. An instance holds no state: the registry keeps one for the whole process."""

    kind: ClassVar[str]
    """The task's name: `task` in `coterie.toml`, in a version's `model.json` and in a trace."""
    section: type[S]
    """The class that checks its `[specialists.NAME]` tables, and names its measures."""
    form: ClassVar[AnswerForm] = "text"
    """The form of its values. Text is content, which traces do not keep; a label or a number is kept."""
    about: ClassVar[CardText] = CardText()
    """The text of its model cards."""
    guards_columns: ClassVar[bool] = False
    """Whether columns of structured input that it leaves out are also withheld from any fallback that answers."""
    makes_calls: ClassVar[bool] = False
    """Whether its findings are function calls, which its options name."""
    looks_up: ClassVar[bool] = False
    """Whether its documents, not examples, define its subject: it abstains by what it finds there."""
    reads_documents: ClassVar[bool] = False
    """Whether it needs the models that read documents: a bundle without such a task leaves them out."""
    encodes_texts: ClassVar[bool] = True
    """Whether its rung `embedding` uses the encoding of a whole text."""
    least_labels: ClassVar[int] = 1
    """Fewest different labels in held-out rows for its figures."""
    not_rightsized: ClassVar[str] = ""
    """Why `coterie rightsize` does not support it; empty if it does."""
    needs_profile: ClassVar[bool] = False
    """Whether the router needs a profile of texts to find it."""

    # --- Data ------------------------------------------------------------------------------------

    @abstractmethod
    def read_rows(self, section: S, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read and check a file. Raises `DataError` with lines and values; few rows are accepted `for_evaluation`."""

    def divide(self, section: S, data: Dataset) -> tuple[Dataset, Dataset]:
        """Return training rows and held-out rows if there is no test file; the same rows twice to cross-validate."""
        # Imported here, as below: a task is loaded to check a section, which needs no numpy.
        from coterie.learning.splits import split_dataset

        train, held_out = split_dataset(data, held_out=HELD_OUT, seed=section.seed)
        return train, held_out.measured()

    def doubts(self, job: Job[S]) -> tuple[str, ...]:
        """Return what makes the figures doubtful, such as rows that are on both sides."""
        from coterie.learning.splits import compare_datasets

        return () if job.cross_validated else compare_datasets(job.train, job.held_out)

    def label_count(self, section: S, data: Dataset) -> int | None:
        """Return the number of labels; None if the task has none."""
        return len(data.label_names)

    def written_values(self, section: S, data: Dataset) -> Collection[str] | None:
        """Return every value that it can write as a fact, as far as its rows show; None if they do not."""
        return None

    def card_text(self, section: S) -> CardText:
        """Return the text of a specialist's model card."""
        return self.about

    # --- Training --------------------------------------------------------------------------------

    def measures(self, section: S) -> tuple[str, ...]:
        """Return the measures that a bar of this section can use, the usual one first."""
        return section.measures

    def possible_rungs(self, section: S, train: Dataset) -> tuple[Rung, ...]:
        """Return the rungs that the section and its rows allow, cheapest first."""
        return ("lexical",)

    def wanted_rungs(self, section: S) -> Sequence[Rung]:
        """Return the rungs to try: those that the section names, or the usual ones."""
        return QUICK_RUNGS if section.rungs is None else section.rungs

    def tuned_rungs(self, section: S, rungs: Sequence[Rung]) -> Collection[Rung]:
        """Return those of these rungs whose base model must be present before training begins."""
        return [rung for rung in rungs if rung in {"encoder", "slm", "llm"}]

    def is_measured(self, section: S) -> bool:
        """Return whether rungs are trained, measured on held-out rows and chosen."""
        return True

    def check(self, job: Job[S], workplace: Workplace) -> None:
        """Refuse a job that cannot be trained here, before training starts. Raises an error of Coterie."""

    def texts(self, job: Job[S]) -> Sequence[str]:
        """Return the texts of the training rows to encode, for `fit` and for the router."""
        return job.train.texts

    def fit(self, job: Job[S], encoded: Encoded | None) -> Sequence[Candidate]:
        """Return a candidate per rung of `job.measured_rungs`, cheapest first, each measured on `job.held_out`.

        Args:
            job: What to train. Each candidate's files hold a `model.json` with `task` and `rung`.
            encoded: Encodings of `texts`; None where no row has a text.
        """
        raise NotImplementedError(f"{self.kind} has neither `fit` nor `train`")

    def train(self, job: Job[S], workplace: Workplace) -> Trained | None:
        """Return the whole version, for a task that does not choose between rungs; None to `fit` and choose."""
        return None

    # --- Routing ---------------------------------------------------------------------------------

    def examples(self, job: Job[S]) -> Sequence[RoutedExample]:
        """Return those of `texts` that show the router what the specialist is asked."""
        rows = [(i, row) for i, row in enumerate(job.train.rows) if row.text.strip()]
        return [RoutedExample(i, self.example_label(job, row), row.group) for i, row in rows]

    def example_label(self, job: Job[S], row: Row) -> str:
        """Return the name of a row in the router's reasons."""
        return row.labels[0] if row.labels else "none of the labels"

    def subjects(self, job: Job[S]) -> Sequence[str]:
        """Return names that describe its subject."""
        return job.train.label_names

    # --- Judging ---------------------------------------------------------------------------------

    def judge(
        self, rows: Sequence[Row], findings: Sequence[Finding], *, section: S | None = None, seed: int = 0
    ) -> Evaluation:
        """Return figures of findings, one per row. The default is for labels; `evaluation_of` makes others."""
        from coterie.learning.evaluation import judge_labels

        del section
        return judge_labels(rows, findings, seed=seed)

    def cases(self, rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
        """Return right and wrong cases, one for each row that has a label."""
        from coterie.learning.evaluation import label_cases

        return label_cases(rows, findings)

    # --- Serving ---------------------------------------------------------------------------------

    def one_of(self, section: S, described: Mapping[str, Any]) -> tuple[Option, ...]:
        """Return the labels of which exactly one is right, with descriptions, from a version's `model.json`.

        The result is empty if there are none.
        """
        return ()

    def accepts(self, section: S, described: Mapping[str, Any]) -> str:
        """Return why a version cannot serve this section, by its `model.json`; empty if it can."""
        there = described["task"]
        return "" if there == self.kind else f"is configured for task {self.kind!r}; its version does {there!r}"

    def asks_model(self, report: Mapping[str, object]) -> bool:
        """Return whether a version without an adapter uses the section's `model` nevertheless."""
        return report.get("rung") == "llm"

    def calibrated_on(self, files: Mapping[str, bytes]) -> Mapping[str, str | None] | None:
        """Return the model of its calibration, as `describe_model` names it; None if there is none."""
        return None

    @abstractmethod
    def load(self, card: SpecialistCard, section: S, stored: Stored, parts: Parts) -> Specialist:
        """Return the specialist of a stored version.

        Raises:
            LookupError, TypeError, ValueError: the files do not describe one.
            ConfigError: its model is not among the open ones.
        """


# --- The tasks that are installed, ours registered in the same way as others'.

TASK_TYPES: PluginGroup[TaskType[Any]] = PluginGroup("coterie.tasks", TaskType, "task")
"""Every task by its name."""


def task_of(section: SpecialistSection) -> TaskType[Any]:
    """Return the task of a section. Raises `ConfigError` where no installed package has it."""
    return TASK_TYPES.load(section.task)


def read_dataset(path: Path | str, *, task: str, for_evaluation: bool = False, **settings: Any) -> Dataset:  # noqa: ANN401 - the keys of its section
    """Read a file for a task, with those keys of its section that affect reading; the others are ignored.

    Raises:
        DataError: the file cannot be used; the message names lines and values, the hint how to fix it.
    """
    task_type = TASK_TYPES.load(task)
    section = task_type.section.model_construct(task=task, **settings)
    return task_type.read_rows(section, path, for_evaluation=for_evaluation)
