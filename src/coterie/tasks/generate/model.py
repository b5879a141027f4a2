"""`generate`: writes a text that says only what a source text says.

The fact it reads selects the source text; a generative model drafts from it. Each sentence of the draft is checked
before anybody sees it, and at the first that the source does not bear out the draft is stopped and the source text
takes over. So whatever the model or the caller writes, the reply holds the network's own words or equivalents of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, cast

from coterie.errors import EngineError, Overloaded, PolicyError, TooLong
from coterie.protocols import StreamingEngine
from coterie.runtime.codec import from_json
from coterie.specialists.acceptance import abstention
from coterie.tasks.generate.calling import Calling
from coterie.tasks.generate.draft import Drafting, SupportedDraft, one_line
from coterie.text.unicode import estimate_tokens
from coterie.types import (
    SYSTEM,
    CallContext,
    ContextView,
    Delta,
    Entry,
    Evidence,
    Fact,
    Finding,
    Label,
    Output,
    Prompt,
    Reason,
    Scalar,
    SpecialistCard,
    Step,
    Task,
    Usage,
    Verdict,
    label_without_pii,
)

PATIENCE = 15.0
"""Seconds that the next sentence of a draft may take before the source text takes over."""


@dataclass(frozen=True, kw_only=True)
class GenerateSpecialist:
    """Drafts with its engine from the source text of the fact it reads first."""

    card: SpecialistCard
    engine: StreamingEngine
    sources: Mapping[str, str]
    """Source text by the fact's value."""
    drafting: Drafting
    max_tokens: int = 160
    """Longest draft. The source text in its place may be longer: half an answer is none."""
    patience: float = PATIENCE
    adapter: str | None = None
    """The adapter that its engine drafts with; None where the model is only prompted."""
    label: Label = Label.PUBLIC
    """Sensitivity of the source texts."""
    calling: Calling | None = None
    """Calls functions; None where it only drafts."""

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:
        """All of what `speak` says."""
        async with aclosing(self.speak(task, view, call=call)) as events:
            async for event in events:
                if isinstance(event, Finding):
                    return event
        raise AssertionError("speak ends with a Finding")

    async def speak(
        self, task: Task, view: ContextView, *, call: CallContext = SYSTEM
    ) -> AsyncGenerator[Delta | Finding]:
        """The draft's sentences once they are checked, the source's in place of the others, then the finding."""
        called, asked = (None, ()) if self.calling is None else await self.calling.consult(task, call=call)
        if called is not None:
            yield called
            return
        entry = _newest(view, self.card.reads[0])
        if entry is None:
            unknown = Reason("abstain.no_fact", fact=self.card.reads[0])
            yield replace(abstention(self.card.name, task, unknown), steps=asked, offered=bool(asked))
            return
        fact = cast("Fact", entry.content)
        key = written(fact.value)
        if (source := self.sources.get(key)) is None:
            unknown = Reason("abstain.no_source", fact=fact.name, value=key)
            yield replace(abstention(self.card.name, task, unknown), steps=asked, offered=bool(asked))
            return
        draft = SupportedDraft(source=source, asked=one_line(task.text))
        prompt = replace(
            self._prompt(task, key),
            label=max(task.label, entry.label, self.label),
            label_without_pii=max(label_without_pii(task, entry), self.label),
        )
        run = _Run(call=call, producer=self.card.name, engine=self.engine.name, prompt=prompt)
        spoken = ""
        async with aclosing(self._write(draft, run)) as sentences:
            async for sentence in sentences:
                piece = f" {sentence}" if spoken else sentence
                spoken += piece
                yield Delta(text=piece, offered=bool(asked))
        if rest := draft.replacement():
            spoken += rest
            yield Delta(text=rest, offered=bool(asked))
        yield Finding(
            specialist=self.card.name,
            value=spoken,
            text=spoken,
            confidence=fact.confidence,  # the text is the source's, so it is right if the fact is
            accepted=True,
            reason=draft.reason(key),
            label=prompt.label,
            label_without_pii=prompt.label_without_pii,
            task="generate",
            evidence=(Evidence(kind="quote", name=key, text=source),),
            steps=(*asked, *run.steps()),
            offered=bool(asked),
            verdicts=tuple(run.verdicts),
        )

    async def warm(self, *, slots: int = 1) -> None:
        """Load the model and let it read what all prompts begin with, so that the first caller does not wait for that.

        Args:
            slots: Requests that the engine works on side by side; each has a memory of its own to fill.
        """
        messages = self.drafting.messages(asked="", key="", source="")
        prompt = Prompt(messages=messages, label=Label.PUBLIC, max_tokens=1, adapter=self.adapter)
        await self.engine.run([prompt] * slots, call=SYSTEM)

    def _prompt(self, task: Task, key: str) -> Prompt:
        longest = self.max_tokens if task.max_tokens is None else min(self.max_tokens, task.max_tokens)
        messages = self.drafting.messages(asked=task.text, key=key, source=self.sources[key])
        prompt = Prompt(messages=messages, max_tokens=longest, adapter=self.adapter)
        return prompt.sampled(task.sampling)

    async def _write(self, draft: SupportedDraft, run: _Run) -> AsyncGenerator[str]:
        """The sentences that may be said. Closes the engine's stream, and so ends the generation, when they end."""
        try:
            async with aclosing(
                cast("AsyncGenerator[Delta | Output]", self.engine.stream(run.prompt, call=run.call))
            ) as events:
                while not (draft.fault or run.output):
                    async with asyncio.timeout(self.patience - run.silence()):
                        event = await anext(events, None)
                    for sentence in run.take(event, draft):
                        yield sentence
                        run.heard()
        except TimeoutError:
            run.timed_out = True
            draft.give_up(Reason("draft.too_slow", seconds=self.patience))
        except PolicyError as error:
            run.verdicts.append(error.verdict)
            draft.give_up(Reason("draft.refused", why=error.reason))
        except (EngineError, TooLong, Overloaded) as error:
            draft.give_up(Reason("draft.failed", why=error.reason))


@dataclass(kw_only=True)
class _Run:
    call: CallContext
    producer: str
    engine: str
    prompt: Prompt
    output: Output | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    pieces: int = 0
    timed_out: bool = False
    start: float = field(default_factory=time.perf_counter)
    last: float = field(default_factory=time.perf_counter)

    def take(self, event: Delta | Output | None, draft: SupportedDraft) -> list[str]:
        """Hand what came to the draft: the sentences that may be said."""
        if isinstance(event, Delta):
            self.pieces += 1
            return list(draft.read(event.text))
        if event is None:
            draft.give_up(Reason("draft.no_result"))
            return []
        self.output = event
        if event.verdict is not None:
            self.verdicts.append(event.verdict)
        return list(draft.end(cut=event.finish != "stop"))

    def heard(self) -> None:
        """A sentence was taken by whoever listens."""
        self.last = time.perf_counter()

    def silence(self) -> float:
        """Seconds since the last sentence."""
        return time.perf_counter() - self.last

    def steps(self) -> tuple[Step, ...]:
        """The ledger's row. A generation that was stopped never said what it took, so that is estimated here."""
        if self.output is not None:
            return (Step(producer=self.producer, engine=self.engine, usage=self.output.usage),)
        if not (self.pieces or self.timed_out):
            return ()
        usage = Usage(
            tokens_in=sum(estimate_tokens(message.text) for message in self.prompt.messages),
            tokens_out=self.pieces,  # engines give a piece a token, or nearly
            milliseconds=(time.perf_counter() - self.start) * 1000,
        )  # its engine puts the CPU time on the bill of whoever listens
        return (Step(producer=self.producer, engine=self.engine, usage=usage),)


def written(value: Scalar) -> str:
    """A fact's value as the key of a source text: as it would be written in a CSV file."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(int(value) if isinstance(value, float) and value.is_integer() else value)


def load_generate(
    card: SpecialistCard,
    described: Mapping[str, Any],
    engine: StreamingEngine,
    *,
    adapter: str | None = None,
    label: Label = Label.PUBLIC,
    calling: Calling | None = None,
) -> GenerateSpecialist:
    """The specialist of a stored description. Raises `KeyError` or `TypeError` if it is none."""
    return GenerateSpecialist(
        card=card,
        engine=engine,
        sources={str(key): str(text) for key, text in described["sources"].items()},
        drafting=from_json(Drafting, described, unknown="ignore"),
        max_tokens=int(described["max_tokens"]),
        adapter=adapter,
        label=label,
        calling=calling,
    )


def _newest(view: ContextView, name: str) -> Entry | None:
    """The newest entry with this fact, unless it says that there is none."""
    for entry in reversed(view.entries):
        if isinstance(entry.content, Fact) and entry.content.name == name:
            return None if entry.content.value is None else entry
    return None
