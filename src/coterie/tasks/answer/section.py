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
    """`answer`."""
    target_risk: float = Field(default=0.1, gt=0, lt=1)
    """Share of wrong ones among accepted answers."""
    instruction: str = ""
    """Rungs `slm` and `llm`: what the model is told to do with the passages."""
    max_tokens: int = Field(default=160, ge=1, le=8192)
    """Rungs `slm` and `llm`: longest text, in tokens."""
    calibration_calls: int = Field(default=200, ge=0, le=100_000)
    """Rungs `slm` and `llm`: public questions that the model is asked at training, at most, to learn what its choice
    among the likeliest sentences is worth; 0: it is not asked to choose, and only words what was found without it."""

    def view_limit(self, window: int | None) -> int:
        """What it reads is searched for it: a limit that is too small would throw passages away."""
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
