"""`generate`: writes a text that says only what a source text says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from coterie.config import SpecialistSection
from coterie.protocols import StreamingEngine
from coterie.types import ContextView, Delta, Evidence, Finding, SpecialistCard, Task


@dataclass(frozen=True, kw_only=True)
class GenerateSpecialist:
    """Gives the source text of the fact it reads."""

    card: SpecialistCard
    engine: StreamingEngine
    sources: Mapping[str, str]
    instruction: str = ""
    max_tokens: int = 160

    async def consult(self, task: Task, view: ContextView) -> Finding:
        """The whole of what `speak` says."""
        async for event in self.speak(task, view):
            if isinstance(event, Finding):
                return event
        raise AssertionError("speak ends with a Finding")

    async def speak(self, task: Task, view: ContextView) -> AsyncIterator[Delta | Finding]:
        """The source text."""
        fact = view.fact(self.card.reads[0])
        text = self.sources.get(str(fact.value)) if fact else None
        if fact is None or text is None:
            yield Finding(
                specialist=self.card.name, value=None, text="", confidence=0.0, accepted=False,
                reason=f"nobody wrote the fact {self.card.reads[0]!r}", label=task.label,
            )
            return
        yield Delta(text=text)
        yield Finding(
            specialist=self.card.name, value=text, text=text, confidence=fact.confidence, accepted=True, reason="source text",
            label=task.label, evidence=(Evidence(kind="quote", name=str(fact.value), text=text),),
        )


def load_generate(
    card: SpecialistCard, section: SpecialistSection, described: Mapping[str, Any], models: Mapping[str, StreamingEngine]
) -> GenerateSpecialist:
    """The specialist of a stored description."""
    assert section.model is not None, "the configuration was checked"
    return GenerateSpecialist(
        card=card, engine=models[section.model], sources=described["sources"], instruction=described["instruction"],
        max_tokens=described["max_tokens"],
    )
