"""`extract`: finds typed fields in a text, each with the words it stands in, or says that it is not stated.

The text may be long: its sentences are ranked for each field, the likeliest are read, and every value found is weighed.
A field is accepted by itself, when its confidence reaches the threshold that holds the target risk for that field.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.engines import ARRAYS_FILE, MODEL_FILE
from coterie.extraction import TAGS, Extractor, FieldModel, Found, ReadTags, Survey
from coterie.protocols import Engine
from coterie.types import ContextView, Evidence, Fact, Field, Finding, Output, Prompt, SpecialistCard, Step, Task, Usage

from ._abstention import abstention
from ._acceptance import Acceptance
from ._own_encoder import load_own_tagger

T = TypeVar("T")

NOT_STATED = "not stated"
_ENGINE = "linear"
_QUOTED = 80  # characters of a quote in the finding's text
_AT_ONCE = 16
"""Sentences that wait at the encoder together: one text has dozens, and others share its queue."""
_INLINE = 5_000
"""Characters of a text that is read at once; a longer one is read in a thread, so that others are not kept waiting."""


@dataclass(frozen=True, kw_only=True)
class ExtractSpecialist:
    """Asks its extractor (and the encoder, if its rung has one) and decides for each field whether to stand by it."""

    card: SpecialistCard
    extractor: Extractor
    acceptances: tuple[Acceptance, ...]
    """One a field."""
    encoder: Engine | None = None
    """On the rung `embedding` the network's, which sees sentences; on `encoder` its own, which tags passages."""
    turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = field(
        default_factory=WeakKeyDictionary, compare=False, repr=False
    )
    """By event loop: one text at a time has its sentences encoded."""

    async def consult(self, task: Task, view: ContextView) -> Finding:  # noqa: ARG002 - it reads the text alone
        """Every field of the task's text."""
        if not task.text.strip():
            return abstention(self.card.name, task, "there is no text to read")
        clock = _Clock()
        survey: Survey = await clock.run(self.extractor.survey, task.text, long=len(task.text) > _INLINE)
        outputs, steps = await self._encode(survey, task)
        found = await clock.run(self._read, survey, outputs, long=len(task.text) > _INLINE)
        fields = as_fields(self.extractor.fields, found, self.acceptances, task.text)
        steps = (*steps, Step(producer=self.card.name, engine=_ENGINE, usage=clock.usage))
        return self._finding(task, fields, steps)

    async def _encode(self, survey: Survey, task: Task) -> tuple[list[Output], tuple[Step, ...]]:
        """What the encoder says of the places that deserve a second look, and what it took."""
        if self.encoder is None or not survey.places:
            return [], ()
        prompts = [Prompt(text=text, label=task.label) for text in survey.texts]
        outputs: list[Output] = []
        async with self.turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            for start in range(0, len(prompts), _AT_ONCE):
                outputs += await self.encoder.run(prompts[start : start + _AT_ONCE])
        usage = Usage(
            tokens_in=sum(each.usage.tokens_in for each in outputs),
            milliseconds=sum(each.usage.milliseconds for each in outputs[::_AT_ONCE]),
            cpu_seconds=sum(each.usage.cpu_seconds for each in outputs),
        )
        return outputs, (Step(producer=self.card.name, engine=self.encoder.name, usage=usage),)

    def _read(self, survey: Survey, outputs: Sequence[Output]) -> list[list[Found]]:
        """What the fields come to, with what the encoder said."""
        if not outputs:
            return self.extractor.read(survey)
        if not self.extractor.tagged:
            return self.extractor.read(survey, np.stack([np.asarray(each.vector) for each in outputs]))
        offsets, logits = ([np.asarray(getattr(each, name)) for each in outputs] for name in ("offsets", "scores"))
        return self.extractor.read(survey, tags=ReadTags.of(survey.places, offsets, logits, len(self.acceptances)))

    def to_files(self) -> dict[str, bytes]:
        """What a stored version holds of it."""
        described, arrays = self.extractor.store()
        about = {
            "task": "extract",
            "rung": self.card.rung,
            "acceptances": [asdict(each) for each in self.acceptances],
            "columns": [],
        }
        text = json.dumps({**about, **described}, ensure_ascii=False, sort_keys=True, indent=None)
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return {MODEL_FILE: text.encode(), ARRAYS_FILE: save_arrays(contiguous)}

    def _finding(self, task: Task, fields: tuple[Field, ...], steps: tuple[Step, ...]) -> Finding:
        sure = [each for each in fields if each.accepted]
        text = "\n".join(f"{name}: {said}" for name, said in summarise_fields(fields).items())
        return Finding(
            specialist=self.card.name,
            value=text,
            text=text,
            confidence=min(each.confidence for each in sure) if sure else max(each.confidence for each in fields),
            accepted=bool(sure),
            reason=_reason(fields),
            label=task.label,
            task="extract",
            evidence=tuple(
                Evidence(kind="quote", name=each.name, text=each.text, start=each.start, end=each.end)
                for each in sure
                if each.stated
            ),
            fields=fields,
            facts=self._facts(fields),
            steps=steps,
        )

    def _facts(self, fields: Sequence[Field]) -> tuple[Fact, ...]:
        """The value of each field that it writes and is sure of; of several values all, None where it is not stated."""
        facts = []
        for name in self.card.writes:
            own = [each for each in fields if each.name == name and each.accepted]
            if own:
                values = [each.text if each.value is None else each.value for each in own if each.stated]
                value = values[0] if len(values) == 1 else "; ".join(map(str, values)) or None
                facts.append(Fact(name=name, value=value, confidence=min(each.confidence for each in own)))
        return tuple(facts)


def as_fields(
    models: Sequence[FieldModel], found: Sequence[Sequence[Found]], acceptances: Sequence[Acceptance], text: str
) -> tuple[Field, ...]:
    """What was found as fields: quotes cut from the text, values in their types' forms, each accepted or not."""
    return tuple(
        _field(model, each, acceptance, text)
        for model, several, acceptance in zip(models, found, acceptances, strict=True)
        for each in several
    )


def _field(model: FieldModel, found: Found, acceptance: Acceptance, text: str) -> Field:
    accepted, reason = acceptance.judge(found.confidence, None)
    quote = "" if found.start is None else text[found.start : found.end]
    return Field(
        name=model.name,
        value=model.value(quote) if quote else None,
        text=quote,
        start=found.start,
        end=found.end,
        confidence=found.confidence,
        accepted=accepted,
        reason=reason,
    )


def summarise_fields(fields: Sequence[Field]) -> dict[str, str]:
    """What was said of each field, in words a person would read."""
    words: dict[str, list[str]] = {}
    for each in fields:
        words.setdefault(each.name, []).append(_said(each))
    return {name: "; ".join(said) for name, said in words.items()}


def _said(each: Field) -> str:
    if not each.accepted:
        return "not sure"
    if not each.stated:
        return NOT_STATED
    quote = " ".join(each.text.split())
    quote = quote if len(quote) <= _QUOTED else quote[: _QUOTED - 1] + "…"
    if each.value is None or str(each.value) == quote:
        return quote
    return f"{each.value} ({quote})" if str(each.value) != " ".join(each.text.split()) else quote


def _reason(fields: Sequence[Field]) -> str:
    names = list(dict.fromkeys(each.name for each in fields))
    unsure = [name for name in names if not any(each.accepted for each in fields if each.name == name)]
    sure = len(names) - len(unsure)
    doubt = f"; not sure of {', '.join(unsure)}" if unsure else ""
    return f"sure of {sure} of {len(names)} fields{doubt}"


class _Clock:
    """Runs blocking work and adds up what it takes."""

    def __init__(self) -> None:
        self.usage = Usage()

    async def run(self, work: Callable[..., T], *arguments: object, long: bool) -> T:
        """The result of the work: in a thread if it takes long."""

        def timed() -> T:
            wall, cpu = time.perf_counter(), time.thread_time()
            result = work(*arguments)
            self.usage += Usage(milliseconds=(time.perf_counter() - wall) * 1000, cpu_seconds=time.thread_time() - cpu)
            return result

        return await asyncio.to_thread(timed) if long else timed()


def load_extract(
    card: SpecialistCard, described: Mapping[str, Any], files: Mapping[str, bytes], encoder: Engine
) -> ExtractSpecialist:
    """The specialist of a stored version, with the network's encoder if it looks at that.

    Raises:
        KeyError, TypeError, ValueError: it is none.
        ArtefactRefused: its own encoder is damaged.
    """
    extractor = Extractor.restore(described, load_arrays(files[ARRAYS_FILE]))
    acceptances = tuple(Acceptance(**each) for each in described["acceptances"])
    if len(acceptances) != len(extractor.fields):
        raise ValueError(f"it has {len(acceptances)} thresholds for {len(extractor.fields)} fields")
    if extractor.tagged is not (card.rung == "encoder") or extractor.second_look is not (card.rung == "embedding"):
        raise ValueError(f"what it reads with does not fit the rung {card.rung!r}")
    own = _tagger(card, files, len(extractor.fields)) if extractor.tagged else None
    shared = encoder if extractor.second_look else None
    return ExtractSpecialist(card=card, extractor=extractor, acceptances=acceptances, encoder=own or shared)


def _tagger(card: SpecialistCard, files: Mapping[str, bytes], fields: int) -> Engine:
    tagger = load_own_tagger(card.name, files)
    if tagger.size != fields * TAGS:
        raise ValueError(f"its encoder gives {tagger.size} logits a token for {fields} fields")
    return tagger
