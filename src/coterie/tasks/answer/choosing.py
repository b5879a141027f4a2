"""A third look: a larger model sees the likeliest sentences and picks the one that answers, or none.

The pick is combined with the looks before it, by lines that are fitted on public questions of several domains. The same
model was asked these questions when the specialist was trained (`fit.py`). A pick can make another sentence
the answer, and raise or lower the confidence; the answer is a quotation in any case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from coterie.errors import EngineError, Overloaded, PolicyError, TooLong
from coterie.learning.calibration import logit
from coterie.protocols import Engine
from coterie.tasks.answer.reader import AnswerReading, SentenceSurvey
from coterie.tasks.answer.rereading import heading, shown
from coterie.tasks.answer.scoring import LinearScore, probability
from coterie.types import CallContext, Label, Message, Prompt, Step, Verdict

SHOWN = 6
"""Number of sentences that the model chooses from."""
_LONGEST = 400
"""Most characters of a sentence in the prompt."""
_FAR, _LEAST = 12.0, 1e-3
_NUMBER = re.compile(r"\d+")
_INSTRUCTION = (
    "Which of the numbered sentences states the answer to the question? Reply with its number only, or with 0 if none "
    "of them states it."
)
WEIGHED: tuple[str, ...] = (
    "right",  # log-odds of the looks before that their best sentence answers
    "stated",  # and that anything does
    "likes",  # log-odds that the model gives the best sentence by all looks
    "none",  # and that it gives to none
    "moved",  # whether that is another one than the looks before had
)
"""Features of an answer as a whole."""

Floats = np.ndarray


NONE, UNREAD = -1, -2
"""Codes instead of a sentence's index: no sentence answers; the model's reply names none."""
_UNTOLD = 0.75
"""Probability of a pick where the engine gives none: its meaning is fitted for each model."""


class Pick(NamedTuple):
    """The model's pick."""

    place: int
    """Index of a sentence among those shown, `NONE` or `UNREAD`."""
    probability: float = _UNTOLD

    def given_to(self, number: int) -> float:
        """Return the log-odds of a sentence, or of `NONE`; the pick's remaining probability is split among the rest."""
        sure = min(max(self.probability, _LEAST), 1 - _LEAST)
        if self.place == UNREAD:
            sure = 1 / (SHOWN + 1)
        elif self.place != number:
            sure = (1 - sure) / SHOWN
        return math.log(sure / (1 - sure))


class Offered(NamedTuple):
    """The sentences that a model is asked about."""

    question: str
    lines: tuple[str, ...]
    """The sentences, the likeliest by the earlier looks first, at most `SHOWN`."""


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """The fitted lines that weigh a model's pick."""

    bonus: float
    """Log-odds that a picked sentence gains."""
    right: LinearScore
    stated: LinearScore

    def judge(self, reading: AnswerReading, rows: Floats, pick: Pick) -> AnswerReading:
        """Return the reading after the model's pick.

        Args:
            reading: The result of the looks before.
            rows: (K,) the places of the sentences that the model was shown.
            pick: The model's pick.
        """
        own = with_bonus(reading.scores[rows], pick, self.bonus)
        scores = np.full(len(reading.scores), -_FAR)
        scores[rows] = own
        weighed = weighed_features(int(own.argmax()), reading.right, reading.stated, pick)
        return replace(
            reading,
            right=probability(float(self.right.of(weighed))),
            stated=probability(float(self.stated.of(weighed))),
            scores=scores,
        )

    def describe(self) -> dict[str, object]:
        """Return the lines as JSON."""
        return {"bonus": self.bonus, "right": self.right.describe(), "stated": self.stated.describe()}

    @classmethod
    def restore(cls, stored: Mapping[str, Any]) -> Choosing:
        """Restore the result of `describe`. Raises `LookupError`, `TypeError` or `ValueError` if it is invalid."""
        return cls(
            bonus=float(stored["bonus"]),
            right=LinearScore.restore(stored["right"], WEIGHED),
            stated=LinearScore.restore(stored["stated"], WEIGHED),
        )


def with_bonus(scores: Floats, pick: Pick, bonus: float) -> Floats:  # (K,) -> (K,)
    """Return the log-odds of the sentences shown, by all looks."""
    return np.asarray(scores + bonus * (np.arange(len(scores)) == pick.place))


def weighed_features(best: int, right: float, stated: float, pick: Pick) -> Floats:
    """Return the features of an answer (len(WEIGHED),) in the order of `WEIGHED`.

    Args:
        best: Index of the best sentence by all looks among those shown; 0 was the best before.
        right: Probability, by the looks before, that their best sentence answers.
        stated: Probability, by the looks before, that any sentence answers.
        pick: The model's pick.
    """
    before = (float(logit(np.clip(share, _LEAST, 1 - _LEAST))) for share in (right, stated))
    return np.array([*before, pick.given_to(best), pick.given_to(NONE), float(best != 0)])


def offer(seen: SentenceSurvey, scores: Floats) -> tuple[Floats, Offered]:
    """Return the places (K,) of the likeliest sentences by the scores (S,), likeliest first, and their offer."""
    rows = np.argsort(-scores, kind="stable")[:SHOWN]
    return rows, Offered(seen.question, tuple(_line(seen, int(row)) for row in rows))


def _line(seen: SentenceSurvey, row: int) -> str:
    """Return a sentence after the heading that it stands under."""
    return ": ".join([*heading(seen, row), shown(seen, row)[:_LONGEST]])


def prompt_of(offered: Offered, label: Label, label_without_pii: Label | None = None) -> Prompt:
    """Return the prompt for the model. It replies with a number, which is one token for all sentences shown."""
    listed = "\n".join(f"[{number}] {line}" for number, line in enumerate(offered.lines, start=1))
    question_text = (
        f"Numbered sentences from documents:\n{listed}\n\nQuestion: {offered.question.strip()}\n{_INSTRUCTION}"
    )
    return Prompt(
        messages=(Message(role="user", text=question_text),),
        label=label,
        label_without_pii=label_without_pii,
        max_tokens=4,
        logprobs=True,
    )


def read_pick(text: str, logprob: float | None, shown: int) -> Pick:
    """Parse a reply: the first number in it, if that many sentences were shown; `logprob` is of the text."""
    match = _NUMBER.search(text)
    number = int(match.group()) if match is not None and len(match.group()) < 3 else -1
    sure = _UNTOLD if logprob is None else math.exp(min(logprob, 0.0))
    return Pick(number - 1, sure) if 0 <= number <= shown else Pick(UNREAD)


class Consulted(NamedTuple):
    """The result of asking a model."""

    reading: AnswerReading
    asked: bool = False
    """Whether the model's pick was used."""
    steps: tuple[Step, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SentenceChooser:
    """A model that chooses, and the lines that weigh its choice."""

    name: str
    """Name of the specialist that it chooses for."""
    engine: Engine
    choosing: Choosing

    async def look(
        self,
        reading: AnswerReading,
        seen: SentenceSurvey,
        label: Label,
        label_without_pii: Label,
        *,
        call: CallContext,
    ) -> Consulted:
        """Return the reading after asking the model; the earlier reading stands where it cannot be asked.

        Args:
            reading: The result of the looks before.
            seen: The sentences.
            label: The label of the most sensitive among task and passages.
            label_without_pii: The same without personal data.
            call: The call on whose behalf the model is asked.
        """
        rows, offered = offer(seen, reading.scores)
        try:
            (output,) = await self.engine.run([prompt_of(offered, label, label_without_pii)], call=call)
        except PolicyError as refusal:
            return Consulted(reading, verdicts=(refusal.verdict,))
        except (EngineError, TooLong, Overloaded):
            return Consulted(reading)
        pick = read_pick(output.text, output.logprob, len(rows))
        judged = self.choosing.judge(reading, rows, pick)
        best = seen.sentences[int(judged.scores.argmax())]
        judged = replace(judged, cited=reading.cited if best is reading.cited[0] else (best,))
        steps = (Step(producer=self.name, engine=self.engine.name, usage=output.usage),)
        return Consulted(judged, asked=True, steps=steps, verdicts=() if output.verdict is None else (output.verdict,))
