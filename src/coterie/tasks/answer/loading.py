"""What words the findings of a stored `answer` specialist."""

from __future__ import annotations

from coterie.specialists.artefacts import model_of
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.section import AnswerSection
from coterie.tasks.answer.writing import INSTRUCTION, AnswerWriter
from coterie.tasks.contract import Parts
from coterie.types import SpecialistCard

_WINDOW = 2048
"""Tokens that a model takes of which nobody says more."""


def writer_of(card: SpecialistCard, section: AnswerSection, parts: Parts) -> AnswerWriter | None:
    """What words an answer from what was found; None on the rungs that quote. Raises `ConfigError`."""
    if card.rung not in {"slm", "llm"}:
        return None
    defaults = load_defaults()
    return AnswerWriter(
        name=card.name,
        engine=model_of(card, section, parts.models),
        support=defaults.support,
        least=defaults.supported,
        window=parts.windows.get(section.model or "", _WINDOW),
        instruction=section.instruction or INSTRUCTION,
        max_tokens=section.max_tokens,
    )
