"""What a task is: the one contract that ours keep as anybody's.

A task says what its section, its rows and its figures are like, trains candidates, and makes a specialist of a stored
version. To be written are `read_rows`, `fit`, `load` and, unless values are labels, `judge` with `cases`; the rest has
defaults. A package registers its task under the entry point `coterie.tasks`; `examples/plugin`
is a whole one.
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
    from coterie.learning.candidates import Candidate
    from coterie.learning.dataset import Dataset, Row
    from coterie.learning.evaluation import Case, Evaluation
    from coterie.learning.job import Job
    from coterie.learning.measure import Encoded
    from coterie.protocols import Engine, FunctionServer, Retriever, Specialist

S = TypeVar("S", bound=SpecialistSection)

QUICK_RUNGS: tuple[Rung, ...] = ("lexical", "embedding")
"""Rungs that are tried unless the section says otherwise: those that take seconds."""
HELD_OUT = 0.2
"""Share of the rows that is held out where there is no test file."""


@dataclass(frozen=True, kw_only=True)
class CardText:
    """What a model card says of every specialist of a task."""

    job: str = "has one task"
    """What it does, after "it"."""
    pipeline_tag: str = ""
    """Hugging Face's name for such a model, if there is one."""
    not_for: tuple[str, ...] = ()
    """Uses that it must not be put to."""


class RoutedExample(NamedTuple):
    """A text that shows the router what is asked of a specialist."""

    position: int
    """Of its encoding, among those of `texts`."""
    label: str
    """By what the router names it in its reasons."""
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
    """What becomes a version."""

    files: Mapping[str, bytes]
    report: Mapping[str, object]
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Training time of each rung."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A verified version, as a specialist is made of it."""

    described: Mapping[str, Any]
    """Its `model.json`."""
    files: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the network lends a specialist."""

    encoder: Engine
    models: Mapping[str, Engine]
    """Generative engines by `[models]` key."""
    windows: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Tokens of prompt and answer that each model takes."""
    servers: Mapping[str, FunctionServer] = field(default_factory=lambda: MappingProxyType({}))
    """MCP servers whose tools it may call, by their `[mcp]` key."""
    data_label: Label = Label.PUBLIC
    """How sensitive training texts in a version are at least, where neither section nor version says more."""


class TaskType(ABC, Generic[S]):
    """One kind of task. An instance holds no state: the registry keeps one for the whole process."""

    kind: ClassVar[str]
    """Its name: `task` in `coterie.toml`, in a version's `model.json` and in a trace."""
    section: type[S]
    """Checks its `[specialists.NAME]` tables, and says by what it is measured."""
    form: ClassVar[AnswerForm] = "text"
    """What its values are. Text is content, which traces do not keep; a label or a number is kept."""
    about: ClassVar[CardText] = CardText()
    """What model cards say of it."""
    guards_columns: ClassVar[bool] = False
    """What it leaves out of structured input, nobody who answers in its place gets."""
    makes_calls: ClassVar[bool] = False
    """Whether its findings are calls of functions, which its options name."""
    looks_up: ClassVar[bool] = False
    """Whether its documents, not examples, say what it is asked about: it abstains by what it finds there."""
    reads_documents: ClassVar[bool] = False
    """Whether it wants the models that read documents: a bundle whose network has no such task leaves them out."""
    encodes_texts: ClassVar[bool] = True
    """Whether its rung `embedding` looks at the encoding of a whole text."""
    least_labels: ClassVar[int] = 1
    """Different labels that held-out rows need for its figures."""
    not_rightsized: ClassVar[str] = ""
    """Why `coterie rightsize` does not take it; empty if it does."""
    needs_profile: ClassVar[bool] = False
    """The router cannot find it without a profile of texts."""

    # --- Data ------------------------------------------------------------------------------------

    @abstractmethod
    def read_rows(self, section: S, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read and check a file. Raises `DataError` with lines and values; few rows are fine `for_evaluation`."""

    def divide(self, section: S, data: Dataset) -> tuple[Dataset, Dataset]:
        """Rows to learn from and rows to measure on, where there is no test file; the same twice to cross-validate."""
        # Imported here, as below: a task is loaded to check a section, which needs no numpy.
        from coterie.learning.splits import split_dataset

        train, held_out = split_dataset(data, held_out=HELD_OUT, seed=section.seed)
        return train, held_out.measured()

    def doubts(self, job: Job[S]) -> tuple[str, ...]:
        """What makes the figures doubtful, such as rows that are on both sides."""
        from coterie.learning.splits import compare_datasets

        return () if job.cross_validated else compare_datasets(job.train, job.held_out)

    def label_count(self, section: S, data: Dataset) -> int | None:
        """How many labels it tells apart; None if that is no question of it."""
        return len(data.label_names)

    def written_values(self, section: S, data: Dataset) -> Collection[str] | None:
        """Every value that it can write as a fact, as far as its rows say; None if they do not."""
        return None

    def card_text(self, section: S) -> CardText:
        """What the model card of such a specialist says."""
        return self.about

    # --- Training --------------------------------------------------------------------------------

    def measures(self, section: S) -> tuple[str, ...]:
        """What a bar of this section can be about, the usual measure first."""
        return section.measures

    def possible_rungs(self, section: S, train: Dataset) -> tuple[Rung, ...]:
        """Rungs that the section and its rows allow, cheapest first."""
        return ("lexical",)

    def wanted_rungs(self, section: S) -> Sequence[Rung]:
        """Rungs that are tried: those that the section names, or the usual ones."""
        return QUICK_RUNGS if section.rungs is None else section.rungs

    def tuned_rungs(self, section: S, rungs: Sequence[Rung]) -> Collection[Rung]:
        """Of these rungs, those whose base model has to be here before training begins."""
        return [rung for rung in rungs if rung in {"encoder", "slm", "llm"}]

    def is_measured(self, section: S) -> bool:
        """Whether rungs are trained, measured on held-out rows and chosen."""
        return True

    def check(self, job: Job[S], place: Workplace) -> None:
        """Refuse what cannot be trained here, before anything is. Raises an error of Coterie."""

    def texts(self, job: Job[S]) -> Sequence[str]:
        """What is encoded of the training rows, for `fit` and for the router."""
        return job.train.texts

    def fit(self, job: Job[S], encoded: Encoded | None) -> Sequence[Candidate]:
        """A candidate a rung of `job.measured_rungs`, cheapest first, each measured on `job.held_out`.

        Args:
            job: What to train. Each candidate's files hold a `model.json` with `task` and `rung`.
            encoded: Encodings of `texts`; None where no row has a text.
        """
        raise NotImplementedError(f"{self.kind} has neither `fit` nor `train`")

    def train(self, job: Job[S], place: Workplace) -> Trained | None:
        """The whole version, for a task that does not choose between rungs; None to `fit` and choose."""
        return None

    # --- Routing ---------------------------------------------------------------------------------

    def examples(self, job: Job[S]) -> Sequence[RoutedExample]:
        """Which of `texts` show the router what is asked of it."""
        rows = [(i, row) for i, row in enumerate(job.train.rows) if row.text.strip()]
        return [RoutedExample(i, self.example_label(job, row), row.group) for i, row in rows]

    def example_label(self, job: Job[S], row: Row) -> str:
        """By what the router names a row in its reasons."""
        return row.labels[0] if row.labels else "none of the labels"

    def subjects(self, job: Job[S]) -> Sequence[str]:
        """Names that say what it is about."""
        return job.train.label_names

    # --- Judging ---------------------------------------------------------------------------------

    def judge(
        self, rows: Sequence[Row], findings: Sequence[Finding], *, section: S | None = None, seed: int = 0
    ) -> Evaluation:
        """Figures of findings, one a row. The default is of labels; `evaluation_of` makes others."""
        from coterie.learning.evaluation import judge_labels

        del section
        return judge_labels(rows, findings, seed=seed)

    def cases(self, rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
        """What is right or wrong, one a row that has a label."""
        from coterie.learning.evaluation import label_cases

        return label_cases(rows, findings)

    # --- Serving ---------------------------------------------------------------------------------

    def one_of(self, section: S, described: Mapping[str, Any]) -> tuple[Option, ...]:
        """The labels of which one is right, with their descriptions, by a version's `model.json`; empty if none is."""
        return ()

    def accepts(self, section: S, described: Mapping[str, Any]) -> str:
        """Why a version cannot serve this section, by its `model.json`; empty if it can."""
        there = described["task"]
        return "" if there == self.kind else f"is configured for task {self.kind!r}; its version does {there!r}"

    def asks_model(self, report: Mapping[str, object]) -> bool:
        """Whether a version without an adapter asks the section's `model` nevertheless."""
        return report.get("rung") == "llm"

    def calibrated_on(self, files: Mapping[str, bytes]) -> Mapping[str, str | None] | None:
        """The model whose answers its confidence was calibrated on, as `describe_model` names it; None if on none."""
        return None

    @abstractmethod
    def load(self, card: SpecialistCard, section: S, stored: Stored, parts: Parts) -> Specialist:
        """The specialist of a stored version.

        Raises:
            LookupError, TypeError, ValueError: the files do not describe one.
            ConfigError: its model is not among the open ones.
        """


# --- The tasks that are installed, ours registered in the same way as others'.

TASK_TYPES: PluginGroup[TaskType[Any]] = PluginGroup("coterie.tasks", TaskType, "task")
"""Every task by its name."""


def task_of(section: SpecialistSection) -> TaskType[Any]:
    """The task of a section. Raises `ConfigError` where no installed package has it."""
    return TASK_TYPES.load(section.task)


def read_dataset(path: Path | str, *, task: str, for_evaluation: bool = False, **settings: Any) -> Dataset:  # noqa: ANN401 - the keys of its section
    """Read a file for a task, with those keys of its section that say how; the others are left out.

    Raises:
        DataError: the file cannot be used; the message names lines and values, the hint what to do.
    """
    found = TASK_TYPES.load(task)
    section = found.section.model_construct(task=task, **settings)
    return found.read_rows(section, path, for_evaluation=for_evaluation)
