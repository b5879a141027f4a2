"""`extract`: finds typed fields in a text, each with its quote, or says that the field is not stated.

The text may be long: its sentences are ranked for each field, the likeliest are read, and every value found is weighed.
A field is accepted by itself, when its confidence reaches the threshold that holds the target risk for that field.

The scope has two signs, as in `tasks.classify.scope`: how much a text's likeliest sentences look like those that state
the fields, and how near its encoding is to the training texts'. Both are calibrated on texts that training had not
seen. The line rejects few of the training texts, so it detects what is far from all of them: another language, another
subject, no sentence at all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.engines.linear import ARRAYS_FILE, MODEL_FILE
from coterie.learning.scope import ScopeScore
from coterie.protocols import Engine
from coterie.runtime.codec import from_json, to_json
from coterie.runtime.concurrency import aside
from coterie.runtime.cpu import timed
from coterie.specialists.parts import ADAPTER_FILE, Acceptance, abstention, load_own_tagger
from coterie.tasks.extract.extractor import (
    DocumentSurvey,
    FieldExtractor,
    FieldModel,
    FieldStatement,
    QuotingModel,
    Said,
)
from coterie.tasks.extract.tagging import TAGS, ReadTags, TokenizedText
from coterie.types import (
    SYSTEM,
    CallContext,
    ContextView,
    Evidence,
    Fact,
    Field,
    Finding,
    Label,
    Output,
    Prompt,
    Reason,
    SpecialistCard,
    Step,
    Task,
    Usage,
)


@dataclass(frozen=True, kw_only=True)
class ExtractScope:
    """Scores texts by the extractor's first look and the network's encoder."""

    score: ScopeScore
    encoder: Engine
    """The network's encoder."""

    async def of(
        self, scores: np.ndarray, task: Task, producer: str, *, call: CallContext
    ) -> tuple[float | None, tuple[Step, ...]]:
        """Return how similar a text is to the training texts, and its usage; None for a text without a sentence.

        Args:
            scores: (S, F) of its sentences, by the first look.
            task: The task, with the text's encoding where the router made it.
            producer: The specialist on whose behalf it is computed.
            call: The call that is charged.
        """
        if not len(scores):
            return None, ()
        largest = np.array([likeliest(scores)])
        if task.vector is not None:
            return self.score.score(largest, task.vector), ()
        (output,) = await self.encoder.run([Prompt(text=task.text, label=task.label)], call=call)
        step = Step(producer=producer, engine=self.encoder.name, usage=output.usage)
        return self.score.score(largest, np.asarray(output.vector)), (step,)


def likeliest(scores: np.ndarray) -> float:  # (S, F)
    """Return the log-odds of a text's likeliest sentence for a field, averaged over the fields."""
    return float(scores.max(axis=0).mean())


# --- `extract`: finds typed fields in a text, each with the words it stands in, or says that it is not stated.

T = TypeVar("T")

NOT_STATED = "not stated"
_ENGINE = "linear"
_WARM = "Nothing."
_QUOTED = 80  # characters of a quote in the finding's text
_AT_ONCE = 16
"""Most sentences that wait at the encoder together: one text has dozens, and other callers share its queue."""


@dataclass(frozen=True, kw_only=True)
class ExtractSpecialist:
    """Runs its extractor (and the encoder, if its rung has one) and decides for each field whether to accept it."""

    card: SpecialistCard
    extractor: FieldExtractor
    acceptances: tuple[Acceptance, ...]
    """One acceptance per field."""
    encoder: Engine | None = None
    """The encoder.

    On the rung `embedding` it is the network's, which encodes sentences; on `encoder` its own, which tags passages.
    """
    model: QuotingModel | None = None
    """On the rung `slm`, the model that quotes."""
    scope: ExtractScope | None = None
    """Decides whether a text is of the kind that it was trained on; None where that is not checked."""
    turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = field(
        default_factory=WeakKeyDictionary, compare=False, repr=False
    )
    """Locks by event loop, so that sentences are encoded for one text at a time."""

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:  # noqa: ARG002 - it reads the text alone
        """Return every field of the task's text."""
        if not task.text.strip():
            return abstention(self.card.name, task, Reason("abstain.no_text"))
        clock = _Clock()
        size = len(task.text)
        survey: DocumentSurvey = await clock.run(self.extractor.survey, task.text, task.language, size=size)
        truncated = False
        if self.model is not None and survey.places:
            quoted_answer = await self.model.ask(survey.document, survey.scores, task.label, call)
            statements = await clock.run(
                self._read_quotes, survey._replace(places=quoted_answer.places), quoted_answer.said, size=size
            )
            steps: tuple[Step, ...] = (
                Step(producer=self.card.name, engine=self.model.name, usage=quoted_answer.usage),
            )
            truncated = quoted_answer.truncated
        else:
            outputs, steps = await self._encode(survey, task, call)
            statements = await clock.run(self._read, survey, outputs, size=size)
        looked: tuple[Step, ...] = ()
        in_scope = None
        if self.scope is not None:
            in_scope, looked = await self.scope.of(survey.scores, task, self.card.name, call=call)
        spoken = survey.document.spoken
        fields = as_fields(self.extractor.fields, statements, self.acceptances, task.text, spoken, in_scope=in_scope)
        steps = (*steps, *looked, Step(producer=self.card.name, engine=_ENGINE, usage=clock.usage))
        return self._finding(task, fields, steps, truncated=truncated, in_scope=in_scope)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Its own encoder, if it has one."""
        return () if self.encoder is None or self.card.rung != "encoder" else (self.encoder,)

    async def warm(self, *, slots: int = 1) -> None:  # noqa: ARG002 - its prompts share no beginning
        """Load its generative model, if it has one, so that the first caller does not wait for it."""
        if self.model is not None:
            await self.model.ask(TokenizedText(_WARM), np.zeros((1, len(self.extractor.fields))), Label.PUBLIC, SYSTEM)

    async def _encode(
        self, survey: DocumentSurvey, task: Task, call: CallContext
    ) -> tuple[list[Output], tuple[Step, ...]]:
        """Return the encoder's results for the places that get a second look, and their usage."""
        if self.encoder is None or not survey.places:
            return [], ()
        prompts = [Prompt(text=text, label=task.label) for text in survey.texts]
        outputs: list[Output] = []
        async with self.turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            for start in range(0, len(prompts), _AT_ONCE):
                outputs += await self.encoder.run(prompts[start : start + _AT_ONCE], call=call)
        usage = Usage(
            tokens_in=sum(output.usage.tokens_in for output in outputs),
            milliseconds=sum(output.usage.milliseconds for output in outputs[::_AT_ONCE]),
            cpu_seconds=sum(output.usage.cpu_seconds for output in outputs),
        )
        return outputs, (Step(producer=self.card.name, engine=self.encoder.name, usage=usage),)

    def _read(self, survey: DocumentSurvey, outputs: Sequence[Output]) -> list[list[FieldStatement]]:
        if not outputs:
            return self.extractor.read(survey)
        if not self.extractor.tagged:
            return self.extractor.read(survey, np.stack([np.asarray(output.vector) for output in outputs]))
        offsets, logits = ([np.asarray(getattr(output, name)) for output in outputs] for name in ("offsets", "scores"))
        return self.extractor.read(survey, tags=ReadTags.of(survey.places, offsets, logits, len(self.acceptances)))

    def _read_quotes(self, survey: DocumentSurvey, quotes: Sequence[Said | None]) -> list[list[FieldStatement]]:
        return self.extractor.read(survey, quotes=quotes)

    def to_files(self, **about: object) -> dict[str, bytes]:
        """Return the files of a stored version, with further entries for its description."""
        described, arrays = self.extractor.store()
        about |= {
            "task": "extract",
            "rung": self.card.rung,
            "acceptances": to_json(self.acceptances),
            "columns": [],
        }
        text = json.dumps({**about, **described}, ensure_ascii=False, sort_keys=True, indent=None)
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        files = {MODEL_FILE: text.encode(), ARRAYS_FILE: save_arrays(contiguous)}
        return files | (self.scope.score.to_files() if self.scope else {})

    def _finding(
        self,
        task: Task,
        fields: tuple[Field, ...],
        steps: tuple[Step, ...],
        *,
        truncated: bool,
        in_scope: float | None,
    ) -> Finding:
        sure = [field_ for field_ in fields if field_.accepted]
        text = "\n".join(f"{name}: {words}" for name, words in summarise_fields(fields).items())
        return Finding(
            specialist=self.card.name,
            value=text,
            text=text,
            confidence=min(field_.confidence for field_ in sure)
            if sure
            else max(field_.confidence for field_ in fields),
            accepted=bool(sure),
            reason=_reason(fields),
            label=task.label,
            label_without_pii=task.label_without_pii,
            task="extract",
            evidence=tuple(
                Evidence(kind="quote", name=field_.name, text=field_.text, start=field_.start, end=field_.end)
                for field_ in sure
                if field_.stated
            ),
            fields=fields,
            facts=self._facts(fields),
            steps=steps,
            truncated=truncated,
            in_scope=in_scope,
        )

    def _facts(self, fields: Sequence[Field]) -> tuple[Fact, ...]:
        """Return the value of each accepted field that it writes; of several values all, None if it is not stated."""
        facts = []
        for name in self.card.writes:
            own = [field_ for field_ in fields if field_.name == name and field_.accepted]
            if own:
                values = [field_.text if field_.value is None else field_.value for field_ in own if field_.stated]
                value = values[0] if len(values) == 1 else "; ".join(map(str, values)) or None
                facts.append(Fact(name=name, value=value, confidence=min(field_.confidence for field_ in own)))
        return tuple(facts)


def as_fields(
    models: Sequence[FieldModel],
    statements: Sequence[Sequence[FieldStatement]],
    acceptances: Sequence[Acceptance],
    text: str,
    language: str,
    *,
    in_scope: float | None = None,
) -> tuple[Field, ...]:
    """Return the results as fields: quotes cut from the text, values in their types' forms, each accepted or not.

    In a text of another kind than the training texts (`in_scope` below the line) no field is accepted.
    """
    return tuple(
        _field(model, statement, acceptance, text, language, in_scope=in_scope)
        for model, several, acceptance in zip(models, statements, acceptances, strict=True)
        for statement in several
    )


def _field(
    model: FieldModel,
    statement: FieldStatement,
    acceptance: Acceptance,
    text: str,
    language: str,
    *,
    in_scope: float | None,
) -> Field:
    accepted, reason = acceptance.judge(statement.confidence, in_scope)
    quote = "" if statement.start is None else text[statement.start : statement.end]
    return Field(
        name=model.name,
        value=model.value(quote, language) if quote else None,
        text=quote,
        start=statement.start,
        end=statement.end,
        confidence=statement.confidence,
        accepted=accepted,
        reason=reason,
    )


def summarise_fields(fields: Sequence[Field]) -> dict[str, str]:
    """Return each field's value as readable text."""
    words: dict[str, list[str]] = {}
    for field_ in fields:
        words.setdefault(field_.name, []).append(_field_text(field_))
    return {name: "; ".join(stated) for name, stated in words.items()}


def _field_text(field_: Field) -> str:
    if not field_.accepted:
        return "not sure"
    if not field_.stated:
        return NOT_STATED
    quote = " ".join(field_.text.split())
    quote = quote if len(quote) <= _QUOTED else quote[: _QUOTED - 1] + "…"
    if field_.value is None or str(field_.value) == quote:
        return quote
    return f"{field_.value} ({quote})" if str(field_.value) != " ".join(field_.text.split()) else quote


def _reason(fields: Sequence[Field]) -> Reason:
    if all(field_.reason.code == "abstain.out_of_scope" for field_ in fields):
        return fields[0].reason
    names = list(dict.fromkeys(field_.name for field_ in fields))
    unsure = [name for name in names if not any(field_.accepted for field_ in fields if field_.name == name)]
    sure = len(names) - len(unsure)
    code = "accept.fields" if sure else "abstain.fields"
    return Reason(code, sure=sure, fields=len(names), unsure=", ".join(unsure))


class _Clock:
    """Runs blocking work and adds up its usage."""

    def __init__(self) -> None:
        self.usage = Usage()

    async def run(self, work: Callable[..., T], *arguments: object, size: int) -> T:
        """Return the result of the work on `size` characters: in a thread if they are many."""
        result, usage = await aside(size, partial(timed, work, *arguments))
        self.usage += usage
        return result


def load_extract(
    card: SpecialistCard,
    described: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    encoder: Engine,
    model: Callable[[], Engine],
    scope: ScopeScore | None = None,
) -> ExtractSpecialist:
    """Load the specialist of a stored version.

    Args:
        card: Its card.
        described: Its `model.json`.
        files: All of its files.
        encoder: The network's encoder, for the rung that uses it, and for the scope.
        model: Returns the generative engine that holds its adapter, for the rung that uses one.
        scope: The scope of the same version, where it has one.

    Raises:
        KeyError, TypeError, ValueError: the version is invalid.
        ArtefactRefused: its own encoder is damaged.
    """
    extractor = FieldExtractor.restore(described, load_arrays(files[ARRAYS_FILE]))
    acceptances = from_json(tuple[Acceptance, ...], described["acceptances"])
    if len(acceptances) != len(extractor.fields):
        raise ValueError(f"it has {len(acceptances)} thresholds for {len(extractor.fields)} fields")
    asks, tags, looks = extractor.quoting is not None, extractor.tagged, extractor.second_look
    if (asks, tags, looks) != tuple(card.rung == rung for rung in ("slm", "encoder", "embedding")):
        raise ValueError(f"what it reads with does not fit the rung {card.rung!r}")
    own = _tagger(card, files, len(extractor.fields)) if tags else None
    return ExtractSpecialist(
        card=card,
        extractor=extractor,
        acceptances=acceptances,
        encoder=own or (encoder if looks else None),
        model=_quoting_model(card, files, extractor, model) if asks else None,
        scope=None if scope is None else ExtractScope(score=scope, encoder=encoder),
    )


def _quoting_model(
    card: SpecialistCard, files: Mapping[str, bytes], extractor: FieldExtractor, model: Callable[[], Engine]
) -> QuotingModel:
    if ADAPTER_FILE not in files:
        raise LookupError(f"it has no {ADAPTER_FILE}")
    assert extractor.quoting is not None, "its rung asks a model"  # noqa: S101
    if extractor.quoting.fields != tuple(field_.name for field_ in extractor.fields):
        raise ValueError("its model is asked for other fields")
    return QuotingModel(engine=model(), adapter=card.name, quoting=extractor.quoting)


def _tagger(card: SpecialistCard, files: Mapping[str, bytes], fields: int) -> Engine:
    tagger = load_own_tagger(card.name, files)
    if tagger.size != fields * TAGS:
        raise ValueError(f"its encoder gives {tagger.size} logits a token for {fields} fields")
    return tagger
