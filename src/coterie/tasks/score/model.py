"""`score`: a probability from columns (and a text, if it was trained with one), with reasons.

The probability is a scorecard's, so each column's contribution is exact. A finding is accepted when enough is known
about the case and the decision that the probability stands for, above or below one half, is certain enough to hold
the target risk; otherwise it abstains, and the probability and its reasons go to a person.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from coterie.engines.linear import ARRAYS_FILE, MODEL_FILE, ColumnBins, LinearEngine, as_category, quoted
from coterie.protocols import Engine
from coterie.runtime.codec import from_json, to_json
from coterie.specialists.parts import Acceptance, abstention, truncated_finding
from coterie.types import (
    SYSTEM,
    CallContext,
    Columns,
    ContextView,
    Evidence,
    Fact,
    Finding,
    Prompt,
    Reason,
    Scalar,
    SpecialistCard,
    Step,
    Task,
)

# --- The text model beside a scorecard: its log-odds are one more column.

_PREFIX = "text."


class TextOdds(NamedTuple):
    """A text model's log-odds of the outcome, and their usage."""

    log_odds: float | None
    """Log-odds of the outcome; None when there is no text."""
    steps: tuple[Step, ...] = ()
    truncated: bool = False
    """Whether only the beginning of the text fitted the encoder."""


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """A head of two labels, 0 and 1, over the text; with the encoder on the `embedding` rung."""

    head: Engine
    encoder: Engine | None
    column: str
    """The scorecard's column that holds its log-odds: `text`, unless the data has a column of that name."""
    source: str
    """The column of structured input that holds the text, where the text is sent as a column."""

    def find(self, task: Task) -> str:
        """Return the text: from its column if that is sent, else the text beside the columns."""
        sent = (task.columns or {}).get(self.source)
        return sent if isinstance(sent, str) and sent.strip() else task.text

    async def log_odds(self, task: Task, caller: str, call: CallContext) -> TextOdds:
        """Return the text's log-odds and their usage, charged to the caller."""
        text = self.find(task)
        if not text.strip():
            return TextOdds(None)
        vector, steps, truncated = await self._encode(text, task, caller, call)
        (scored,) = await self.head.run([Prompt(text=text, vector=vector, label=task.label)], call=call)
        no, yes = np.asarray(scored.scores)
        steps = (*steps, Step(producer=caller, engine=self.head.name, usage=scored.usage))
        return TextOdds(float(yes - no), steps, truncated)

    async def _encode(
        self, text: str, task: Task, caller: str, call: CallContext
    ) -> tuple[np.ndarray | None, tuple[Step, ...], bool]:
        """Return the text's vector (D,), its usage, and whether only the beginning of the text was read."""
        if self.encoder is None:
            return None, (), False
        if task.vector is not None and text == task.text:  # a vector that comes along is of the task's own text
            return task.vector, (), task.truncated
        (encoded,) = await self.encoder.run([Prompt(text=text, label=task.label)], call=call)
        step = Step(producer=caller, engine=self.encoder.name, usage=encoded.usage)
        return encoded.vector, (step,), encoded.finish == "length"

    def describe(self) -> dict[str, object]:
        """Return the description that a stored version has beside its files."""
        return {"column": self.column, "source": self.source}


def text_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return a text model's files under the names that they have beside a scorecard's."""
    return {_PREFIX + name: content for name, content in files.items()}


def load_text_model(
    described: Mapping[str, Any], files: Mapping[str, bytes], encoder: Engine | None
) -> TextModel | None:
    """Load the text model of a stored version, if any. Raises `KeyError` or `ValueError` if incomplete."""
    if "text" not in described:
        return None
    head = LinearEngine.load({name: files[_PREFIX + name] for name in (MODEL_FILE, ARRAYS_FILE)})
    if head.size != 2:
        raise ValueError(f"its text model has {head.size} labels, not 2")
    about = described["text"]
    return TextModel(head=head, encoder=encoder, column=str(about["column"]), source=str(about["source"]))


MOST_UNKNOWN = 0.25
"""Share of the score's importance that may be missing or unknown before it abstains."""
_UNREAD = frozenset({"column.no_number", "column.far"})
_MOST_REASONS = 4  # as many as adverse action notices usually give
_LEAST_REASON = 0.05  # log-odds below which a column is no reason
_DECIMALS = 6  # of a probability that is passed on


@dataclass(frozen=True, kw_only=True)
class ScoreSpecialist:
    """Runs its scorecard, weighs what is unknown, and names the columns that raised the probability."""

    card: SpecialistCard
    head: Engine
    bins: tuple[ColumnBins, ...]
    importance: Mapping[str, float]
    """Mean absolute contribution of each column over the training rows, in log-odds."""
    left_out: Mapping[str, str]
    """Columns it must not or cannot use, with the reason."""
    positive: str
    """The outcome of the probability: the name of the label column."""
    acceptance: Acceptance
    text: TextModel | None = None

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:  # noqa: ARG002 - it reads no facts
        """Return the probability, as value, with reason codes as evidence."""
        columns: dict[str, Scalar] = dict(task.columns or {})
        odds = TextOdds(None)
        if self.text is not None:
            odds = await self.text.log_odds(task, self.card.name, call)
            columns[self.text.column] = odds.log_odds
        if all(as_category(columns.get(column.name)) is None for column in self.bins):
            return abstention(self.card.name, task, self._wanted())
        (scored,) = await self.head.run([Prompt(columns=columns, label=task.label)], call=call)
        steps = (*odds.steps, Step(producer=self.card.name, engine=self.head.name, usage=scored.usage))
        finding = self._finding(task, columns, float(np.asarray(scored.scores)[0]), scored.contributions, steps)
        return truncated_finding(finding) if odds.truncated else finding

    def _wanted(self) -> Reason:
        """Return the reason that the input is empty, with the columns that are needed."""
        names = [column.name for column in self.bins if self.text is None or column.name != self.text.column]
        if not names:
            return Reason("abstain.no_text")
        return Reason("abstain.no_text_and_columns" if self.text else "abstain.no_columns", columns=", ".join(names))

    def _finding(
        self, task: Task, columns: Columns, log_odds: float, parts: Mapping[str, float], steps: tuple[Step, ...]
    ) -> Finding:
        probability = round(0.5 * (1.0 + math.tanh(log_odds / 2.0)), _DECIMALS)  # the sigmoid, without overflow
        confidence = max(probability, 1.0 - probability)
        unknown = self._unknown(columns)
        if unknown > MOST_UNKNOWN:
            accepted, reason = False, Reason("abstain.too_little_known", unknown=unknown)
        else:
            accepted, reason = self.acceptance.judge(confidence, None)
        reasons = tuple(self._reasons(columns, parts))
        facts = tuple(Fact(name=n, value=probability, confidence=confidence) for n in self.card.writes[:1])
        return Finding(
            specialist=self.card.name,
            value=probability,
            text=self._in_words(probability, accepted=accepted, reasons=reasons),
            confidence=confidence,
            accepted=accepted,
            reason=reason.noting(*self._remarks(columns)),
            label=task.label,
            label_without_pii=task.label_without_pii,
            evidence=reasons,
            facts=facts if accepted else (),
            steps=steps,
        )

    def _unknown(self, columns: Columns) -> float:
        """Return the share of the score that rests on unknown columns, 0 to 1.

        Where training had missing values, a missing value counts as known. A value that is present but cannot be read
        is not missing.
        """
        problems = [(column, column.place(columns.get(column.name)).problem) for column in self.bins]
        silent = [c.name for c, problem in problems if problem and (not c.gaps or problem.code in _UNREAD)]
        return sum(self.importance[name] for name in silent) / (sum(self.importance.values()) or 1.0)

    def _remarks(self, columns: Columns) -> Iterator[Reason]:
        """Yield notes on values that are missing, that were not understood, and that must not be used."""
        missing = [column.name for column in self.bins if as_category(columns.get(column.name)) is None]
        if missing:
            yield Reason("note.missing", columns=", ".join(missing))
        odd = [column for column in self.bins if column.name not in missing]
        problems = (column.place(columns.get(column.name)).problem for column in odd)
        yield from (problem for problem in problems if problem is not None)
        if any(not column.gaps and column.place(columns.get(column.name)).problem for column in self.bins):
            yield Reason("note.unknown_is_average")
        given = ((name, why) for name, why in self.left_out.items() if name in columns)
        yield from (Reason("note.not_used", column=name, why=why) for name, why in given)

    def _reasons(self, columns: Columns, parts: Mapping[str, float]) -> list[Evidence]:
        """Return the columns that moved the probability most: those that raised it, then those that lowered it."""
        ranked = sorted(parts.items(), key=lambda part: part[1], reverse=True)
        raising = [part for part in ranked if part[1] > _LEAST_REASON][:_MOST_REASONS]
        lowering = [part for part in reversed(ranked) if part[1] < -_LEAST_REASON][:_MOST_REASONS]
        return [self._reason(name, columns.get(name), weight) for name, weight in raising + lowering]

    def _reason(self, name: str, value: Scalar, weight: float) -> Evidence:
        moves = "raises" if weight > 0 else "lowers"
        what = f"{name} is missing" if as_category(value) is None else f"{name} is {quoted(value)}"
        if self.text is not None and name == self.text.column:
            what = "there is no text" if value is None else "what the text says"
        return Evidence(
            kind="reason", name=name, text=f"{what}: {moves} the odds {math.exp(abs(weight)):.1f} times", weight=weight
        )

    def _in_words(self, probability: float, *, accepted: bool, reasons: Sequence[Evidence]) -> str:
        adverse = [reason.text for reason in reasons if reason.weight > 0]
        because = f" Raised by: {'; '.join(adverse)}." if adverse else ""
        verdict = "" if accepted else " Not certain enough to decide: refer to a person."
        return f"Probability of {self.positive}: {probability:.2f}.{verdict}{because}"

    def describe(self) -> dict[str, object]:
        """Return the description that a stored version has beside the head."""
        return {
            "task": "score",
            "rung": self.card.rung,
            "columns": list(self.card.columns),
            "importance": dict(self.importance),
            "left_out": dict(self.left_out),
            "positive": self.positive,
            "acceptance": to_json(self.acceptance),
            **({"text": self.text.describe()} if self.text else {}),
        }


def load_score(
    card: SpecialistCard, described: Mapping[str, Any], files: Mapping[str, bytes], encoder: Engine
) -> ScoreSpecialist:
    """Load the specialist of a stored version. Raises `LookupError`, `TypeError` or `ValueError` if invalid."""
    bins, importance = from_json(tuple[ColumnBins, ...], described["bins"]), described["importance"]
    if importance.keys() != {column.name for column in bins}:
        raise ValueError("its importances are not those of its columns")
    return ScoreSpecialist(
        card=card,
        head=LinearEngine.load(files),
        bins=bins,
        importance={name: float(part) for name, part in importance.items()},
        left_out={name: str(reason) for name, reason in described["left_out"].items()},
        positive=described["positive"],
        acceptance=from_json(Acceptance, described["acceptance"]),
        text=load_text_model(described, files, encoder if card.rung == "embedding" else None),
    )
