"""The figures of one evaluation as a value, and as the JSON that scripts rely on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from coterie.learning.metrics import Interval, Slice
from coterie.runtime.codec import to_json
from coterie.types.html import html_table


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A wrong label given instead of the right one, and on how many rows."""

    label: str
    predicted: str | None
    """None when no value was given."""
    count: int
    rows: tuple[int, ...] = field(default=(), compare=False)
    """Numbers of the first of these rows, from 0."""


@dataclass(frozen=True, kw_only=True)
class FieldFigures:
    """How well one field is found. None is a figure that the rows cannot give."""

    stated: int
    """Texts that state it."""
    exact_f1: float | None
    """F1 of values whose quote is word for word the right one, case and white space aside."""
    token_f1: float | None
    """Mean F1 of the words quoted, over texts that state the field or are said to."""
    value_accuracy: float | None
    """Share of right values among stated ones whose value is known."""
    not_stated_precision: float | None
    """Share of texts that do not state it among those said not to."""
    not_stated_recall: float | None
    """Share of texts said not to state it among those that do not."""
    located: float | None
    """Share of quotes that overlap a place where the field is stated."""
    accuracy: float | None
    """Share of right ones among everything that was said of it, accepted or not."""
    coverage: float | None
    """Share accepted."""
    accepted_accuracy: float | None
    """Share of right ones among the accepted."""
    ece: float | None
    """Calibration error of the confidence, 15 bins."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """95% intervals of both F1, over texts."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """How good a specialist is on one set of rows. None is a figure that the rows cannot give.

    Where nothing else is said, a figure is over the rows with a label; of an `extract` over everything that was said of
    a field.
    """

    n: int
    """All rows."""
    labelled: int
    """Rows with a label."""
    accuracy: float | None
    """Share of right values, accepted or not; of several labels, all must be right."""
    macro_f1: float | None
    """Mean over labels of F1."""
    coverage: float | None
    """Share accepted."""
    accepted_accuracy: float | None
    """Share of right values among accepted ones."""
    ece: float | None
    """Expected calibration error of the confidence, 15 bins of equal width."""
    joint_accuracy: float | None
    """Over all rows: an accepted right value, or an abstention where there is no label."""
    oos_auroc: float | None = None
    """How well the in-scope score (or else the confidence) tells rows with a label from those without."""
    oos_recall: float | None = None
    """Share of rows without a label on which it abstained."""
    micro_f1: float | None = None
    """F1 over all pairs of row and label, for several labels a row."""
    auc: float | None = None
    """For a score: area under the ROC curve."""
    brier: float | None = None
    """For a score: mean squared error of the probability."""
    truncated: int = 0
    """Rows of which only the beginning was read, because they are longer than the model's window."""
    token_f1: float | None = None
    """For an `extract`: mean over fields of the F1 of the words quoted; for an `answer`, over answerable questions.

    Of written texts, of the words of each.
    """
    exact_f1: float | None = None
    """For an `extract`: mean over fields of the F1 of values quoted word for word."""
    exact_match: float | None = None
    """For a `generate`: share of texts that are a reply that should be, case and spaces aside."""
    citation_precision: float | None = None
    """For an `answer`: share of right ones among the citations of accepted answers."""
    unanswerable_recall: float | None = None
    """For an `answer`: share of questions that the documents do not answer to which no answer was given."""
    said_not_stated: float | None = None
    """For an `answer`: share of these that were told that the documents do not say."""
    not_stated_precision: float | None = None
    """For an `answer`: share of questions that are unanswerable among those that were told so."""
    others: Mapping[str, float] = field(default_factory=dict)
    """Figures that only one task has, by name."""
    fields: Mapping[str, FieldFigures] = field(default_factory=dict)
    """For an `extract`: the figures of each field."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """95% interval of each figure that has one, by its name."""
    confusions: tuple[Confusion, ...] = ()
    """The most frequent wrong labels, at most 20."""
    right: tuple[bool, ...] = ()
    """Whether the value was right, for each row with a label, in order."""
    slices: Mapping[str, Slice] = field(default_factory=dict)
    """The rows of each label, for a classifier."""

    def figure(self, name: str) -> float | None:
        """A figure by its name; None if the rows cannot give it."""
        value = self.others.get(name, getattr(self, name, None))
        return float(value) if isinstance(value, int | float) else None

    def to_json(self) -> dict[str, object]:
        """The figures as JSON values; the interval of a figure is a pair under `intervals`. No single row or slice."""
        left_out = {"right", "slices", "others", *(() if self.fields else {"fields"})}
        figures = to_json(replace(self, right=(), slices={}))
        return {key: value for key, value in figures.items() if key not in left_out} | dict(self.others)

    @property
    def figures(self) -> dict[str, float]:
        """The figures that the rows can give, by name."""
        return {name: value for name, value in {**vars(self), **self.others}.items() if isinstance(value, float)}

    def __repr__(self) -> str:
        figures = (
            f"{name}={value:.3f}{self._interval(name, ' [{:.3f}, {:.3f}]')}" for name, value in self.figures.items()
        )
        return f"Evaluation({', '.join([f'n={self.n}', *figures])})"

    def _repr_html_(self) -> str:
        rows = [(name, value, self._interval(name, "{:.3f} to {:.3f}")) for name, value in self.figures.items()]
        return html_table([f"{self.n:,} rows", "value", "95% interval"], rows)

    def _interval(self, name: str, form: str) -> str:
        interval = self.intervals.get(name)
        return "" if interval is None else form.format(interval.low, interval.high)
