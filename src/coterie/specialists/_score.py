"""`score`: a probability from columns (and a text, if it was trained with one), with the reasons for it.

The probability is a scorecard's, so each column's part in it is exact. A finding is accepted when enough is known
about the case and the decision the probability stands for, above or below one half, is certain enough to hold the target
risk; otherwise it abstains, and the probability and its reasons go to a person.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from coterie.engines import ARRAYS_FILE, MODEL_FILE, ColumnBins, LinearEngine
from coterie.protocols import Engine
from coterie.types import ContextView, Evidence, Fact, Finding, Prompt, SpecialistCard, Step, Task

from ._acceptance import Acceptance

TEXT_COLUMN = "text"
"""The scorecard's column that holds the text model's log-odds."""
_TEXT_PREFIX = "text."
MOST_UNKNOWN = 0.25
"""Share of what the score rests on that may be missing or unknown before it abstains."""
_MOST_REASONS = 4  # as many as adverse action notices usually give
_LEAST_REASON = 0.05  # log-odds below which a column is no reason


@dataclass(frozen=True, kw_only=True)
class ScoreSpecialist:
    """Asks its scorecard, weighs what is unknown, and names the columns that raised the probability."""

    card: SpecialistCard
    head: Engine
    bins: tuple[ColumnBins, ...]
    importance: Mapping[str, float]
    """Mean absolute part of each column over the training rows, in log-odds."""
    left_out: Mapping[str, str]
    """Columns it must not or cannot use, with the reason."""
    positive: str
    """What the probability is of: the name of the label column."""
    acceptance: Acceptance
    text_head: Engine | None = None
    encoder: Engine | None = None

    async def consult(self, task: Task, view: ContextView) -> Finding:  # noqa: ARG002 - a score reads its columns alone
        """The probability, as value, with reason codes as evidence."""
        columns = dict(task.columns or {})
        steps: tuple[Step, ...] = ()
        if self.text_head is not None:
            columns[TEXT_COLUMN], steps = await self._score_text(task)
        if not columns:
            wanted = ", ".join(column.name for column in self.bins)
            return self._abstention(task, f"it needs columns as a JSON object: {wanted}")
        scored = (await self.head.run([Prompt(columns=columns, label=task.label)]))[0]
        assert scored.scores is not None, "a head gives scores"
        steps = (*steps, Step(producer=self.card.name, engine=self.head.name, usage=scored.usage))
        return self._finding(task, columns, float(scored.scores[0]), scored.contributions, steps)

    async def _score_text(self, task: Task) -> tuple[float | None, tuple[Step, ...]]:
        """The text model's log-odds, None when there is no text, and what it took."""
        assert self.text_head is not None, "only asked with a text head"
        if not task.text.strip():
            return None, ()
        vector, steps = task.vector, ()
        if self.encoder is not None and vector is None:
            encoded = (await self.encoder.run([Prompt(text=task.text, label=task.label)]))[0]
            vector, steps = encoded.vector, (Step(producer=self.card.name, engine=self.encoder.name, usage=encoded.usage),)
        scored = (await self.text_head.run([Prompt(text=task.text, vector=vector, label=task.label)]))[0]
        assert scored.scores is not None, "a head gives scores"
        step = Step(producer=self.card.name, engine=self.text_head.name, usage=scored.usage)
        return float(scored.scores[1] - scored.scores[0]), (*steps, step)

    def _finding(
        self, task: Task, columns: dict[str, object], log_odds: float, parts: Mapping[str, float], steps: tuple[Step, ...]
    ) -> Finding:
        probability = 1.0 / (1.0 + math.exp(-log_odds))
        confidence = max(probability, 1.0 - probability)
        problems, unknown = self._unknown(columns)
        if unknown > MOST_UNKNOWN:
            accepted, reason = False, f"too little is known: {unknown:.0%} of what the score rests on"
        else:
            accepted, reason = self.acceptance.judge(confidence, None)
        reasons = tuple(self._reasons(columns, parts))
        return Finding(
            specialist=self.card.name,
            value=round(probability, 6),
            text=self._in_words(probability, accepted=accepted, reasons=reasons),
            confidence=confidence,
            accepted=accepted,
            reason="; ".join([reason, *problems, *self._unused(columns)]),
            label=task.label,
            evidence=reasons,
            facts=tuple(Fact(name=n, value=probability, confidence=confidence) for n in self.card.writes[:1]) if accepted else (),
            steps=steps,
        )

    def _unknown(self, columns: Mapping[str, object]) -> tuple[list[str], float]:
        """What is missing or unknown, in words, and how much of the score rests on it."""
        problems, weight = [], 0.0
        for column in self.bins:
            if problem := column.place(columns.get(column.name)).problem:  # type: ignore[arg-type]
                problems.append(problem)
                weight += self.importance.get(column.name, 0.0)
        if problems:
            problems[-1] += ", so it counts as average" if len(problems) == 1 else ", so each counts as average"
        return problems, weight / (sum(self.importance.values()) or 1.0)

    def _unused(self, columns: Mapping[str, object]) -> list[str]:
        """Columns that were sent but must not be used, with the reason."""
        return [f"not used: {name} ({reason})" for name, reason in self.left_out.items() if name in columns]

    def _reasons(self, columns: Mapping[str, object], parts: Mapping[str, float]) -> list[Evidence]:
        """The columns that moved the probability most: first those that raised it, then those that lowered it."""
        ranked = sorted(parts.items(), key=lambda part: part[1], reverse=True)
        raising = [part for part in ranked if part[1] > _LEAST_REASON][:_MOST_REASONS]
        lowering = [part for part in reversed(ranked) if part[1] < -_LEAST_REASON][:_MOST_REASONS]
        return [self._reason(name, columns.get(name), weight) for name, weight in raising + lowering]

    def _reason(self, name: str, value: object, weight: float) -> Evidence:
        moves = "raises" if weight > 0 else "lowers"
        times = math.exp(abs(weight))
        what = "the text" if name == TEXT_COLUMN and self.text_head else f"{name} is {value!r}"
        return Evidence(kind="reason", name=name, text=f"{what}: {moves} the odds {times:.1f} times", weight=weight)

    def _in_words(self, probability: float, *, accepted: bool, reasons: tuple[Evidence, ...]) -> str:
        adverse = [reason.text for reason in reasons if reason.weight > 0]
        because = f" Raised by: {'; '.join(adverse)}." if adverse else ""
        verdict = "" if accepted else " Not certain enough to decide: refer to a person."
        return f"Probability of {self.positive}: {probability:.2f}.{verdict}{because}"

    def _abstention(self, task: Task, reason: str) -> Finding:
        return Finding(
            specialist=self.card.name, value=None, text="", confidence=0.0, accepted=False, reason=reason, label=task.label
        )

    def describe(self) -> dict[str, object]:
        """What a stored version says of it beside the head."""
        return {
            "task": "score",
            "rung": self.card.rung,
            "columns": [column.name for column in self.bins if column.name != TEXT_COLUMN or self.text_head is None],
            "importance": dict(self.importance),
            "left_out": dict(self.left_out),
            "positive": self.positive,
            "acceptance": asdict(self.acceptance),
        }


def load_text_head(files: Mapping[str, bytes]) -> LinearEngine | None:
    """The text model beside a scorecard, if the version has one."""
    if _TEXT_PREFIX + MODEL_FILE not in files:
        return None
    return LinearEngine.load({name: files[_TEXT_PREFIX + name] for name in (MODEL_FILE, ARRAYS_FILE)})


def text_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A text model's files under the names they have beside a scorecard's."""
    return {_TEXT_PREFIX + name: content for name, content in files.items()}
