"""The larger model of a stored `answer` specialist: what it words, and what it chooses among."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coterie.runtime.codec import from_json
from coterie.specialists.acceptance import Acceptance
from coterie.specialists.artefacts import model_of
from coterie.tasks.answer.choosing import Choosing, SentenceChooser
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


def chooser_of(
    card: SpecialistCard, section: AnswerSection, parts: Parts, described: Mapping[str, Any]
) -> tuple[SentenceChooser, Acceptance, Acceptance] | None:
    """What chooses among the likeliest sentences, and when its answers and its silence stand; None if nothing does.

    Of a version whose choosing was fitted with another model than the section names now nothing is left.

    Raises:
        ConfigError: the model is not there.
        LookupError, TypeError, ValueError: the version is none.
    """
    stored = described.get("choosing")
    if stored is None or stored["model"] != section.model:
        return None
    answering, silence = (from_json(Acceptance, stored[name]) for name in ("answering", "silence"))
    engine = model_of(card, section, parts.models)
    chooser = SentenceChooser(name=card.name, engine=engine, choosing=Choosing.restore(stored["lines"]))
    return chooser, answering, silence
