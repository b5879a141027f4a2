"""`[specialists.NAME]` with `task = "answer"`: cited answers from documents."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from coterie.config.specialists import SpecialistSection

_LEAST_TOKENS = 8192
_PASSAGE_TOKENS = 256  # more than a passage takes: chunks have 128 of the encoder's


class AnswerSection(SpecialistSection):
    """A specialist that answers questions from indexed documents, with citations."""

    measures: ClassVar[tuple[str, ...]] = ("accuracy", "token_f1", "citation_precision", "unanswerable_recall")

    task: Literal["answer"]
    """The task: `answer`."""
    target_risk: float = Field(default=0.1, gt=0, lt=1)
    """Share of wrong answers among accepted answers."""
    instruction: str = ""
    """Rungs `slm` and `llm`: the instruction to the model on how to use the passages."""
    max_tokens: int = Field(default=160, ge=1, le=8192)
    """Rungs `slm` and `llm`: longest text, in tokens."""
    calibration_calls: int = Field(default=200, ge=0, le=100_000)
    """Rungs `slm` and `llm`: most public questions that the model is asked at training.

    They measure how good its choice among the likeliest sentences is. With 0 the model is not asked to choose, and only
    words the answer that was found without it.
    """

    def view_limit(self, window: int | None) -> int:
        """Return the token limit of its view: enough for its passages, as a smaller limit would discard some."""
        if self.view_tokens is not None:
            return super().view_limit(window)
        return max(_LEAST_TOKENS, _PASSAGE_TOKENS * self.passages * len(self.knowledge))

    @model_validator(mode="after")
    def _fits(self) -> AnswerSection:
        if not self.knowledge:
            raise ValueError("task 'answer' needs `knowledge`, the keys of [knowledge] sections")
        if "encoder" in (self.rungs or ()):
            raise ValueError("task 'answer' has the rungs 'lexical', 'embedding', 'slm' and 'llm'")
        return self
