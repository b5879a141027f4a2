"""Answering all questions of one call: each question is assigned, and every specialist or model is asked once.

A question without a specialist is answered without training: by encoder similarity, likelihood under a local model, or
a remote model behind the gate. Such probabilities are not calibrated: that needs outcomes of the question itself.

Each text moves the options by its probabilities: online soft k-means, with the names as a prior (MacQueen 1967).
Part of the mean of all texts of a site is subtracted from each text, since it does not discriminate between options,
and options that were likely on average are weighed a little less. The constants were chosen on BANKING77's training
rows and CLINC150's validation rows: benchmarks/decisions.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from coterie.config.operation import DecisionsSection, SiteSection
from coterie.decisions.questions import check_questions, fingerprint, spaced
from coterie.errors import AuditError, EngineBroken, EngineError, InputError, PolicyError, SetupError
from coterie.learning.calibration import softmax
from coterie.protocols import Consult, Engine, Flywheel, Specialist
from coterie.runtime.concurrency import aside
from coterie.specialists.parts import Prompting, answers
from coterie.text.segmentation import folded
from coterie.types import (
    NO,
    YES,
    CallContext,
    Deciding,
    Decision,
    DecisionMethod,
    Finding,
    Message,
    Option,
    Output,
    Prompt,
    Question,
    Reason,
    SpecialistCard,
    Step,
    Task,
)

MOST_TEXTS = 10_000
"""Different texts that move the options of a site; later texts do not move them."""
_MOST_SITES = 256
"""Sites whose options are kept, the most recently asked: some 350 kB each for 77 options and two encoders."""
_NAMES, _COMMON, _EARLY, _EVEN, _SOFTER = 3.0, 0.6, 10.0, 0.4, 0.8
"""Constants of the adaptation.

Weight of the names in texts; share of the mean that is subtracted, and the texts after which half of it is; weight of
an option's share of all texts against it; sharpness relative to that of fixed options.
"""


class DrawnOptions:
    """The adapted options of one question for one tenant."""

    def __init__(self, options: Sequence[str], names: np.ndarray) -> None:  # names (L, D), unit length
        centred = _unit(names - _COMMON * names.mean(axis=0))
        self._places = {spaced(name): index for index, name in enumerate(options)}
        self._sums, self._vectors = _NAMES * centred, centred  # (L, D)
        self._shares = np.full(len(names), 2.0, dtype=np.float32)  # (L,)
        self._common = np.zeros(names.shape[1], dtype=np.float32)  # (D,)
        self._seen: set[int] = set()

    @property
    def texts(self) -> int:
        """The number of different texts that moved the options."""
        return len(self._seen)

    def weigh(
        self, text: str, vector: np.ndarray, options: Sequence[str], sharpness: float
    ) -> np.ndarray:  # (D,) -> (L,)
        """Return the probabilities of the options in this order, and move them; a repeated text moves nothing."""
        common = self._common / (len(self._seen) + _EARLY)
        centred = vector - _COMMON * common
        centred /= np.linalg.norm(centred)
        scores = _SOFTER * sharpness * (self._vectors @ centred) - _EVEN * np.log(self._shares / self._shares.mean())
        weights = softmax(scores)
        key = hash(text)
        if key not in self._seen and len(self._seen) < MOST_TEXTS:
            self._seen.add(key)
            self._sums = self._sums + weights[:, None] * centred
            self._vectors = _unit(self._sums)
            self._shares += weights
            self._common += vector
        return np.asarray(weights[[self._places[spaced(name)] for name in options]])


class Drawing:
    """The adapted options of all sites, separately for each tenant, in memory."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], DrawnOptions] = OrderedDict()

    def find(self, tenant: str, question: Question) -> DrawnOptions | None:
        """Return the options of a question as adapted to this tenant's texts; None if there are none."""
        return self._known.get((tenant, fingerprint(question)))

    def of(self, tenant: str, question: Question, names: Callable[[], np.ndarray]) -> DrawnOptions:
        """Return the adapted options; initially they are the names' vectors (L, D), of unit length."""
        key = (tenant, fingerprint(question))
        if key not in self._known:
            self._known[key] = DrawnOptions(question.names, names())
        self._known.move_to_end(key)
        while len(self._known) > _MOST_SITES:
            self._known.popitem(last=False)
        return self._known[key]


def _unit(vectors: np.ndarray) -> np.ndarray:  # (L, D) -> (L, D)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return np.asarray(vectors / lengths, dtype=np.float32)


# --- Answers without training: likeness by the encoder, likelihood under a local model.

PRODUCER = "decisions"
"""Producer of the module's steps in the ledger."""
_AT_ONCE = 32
"""Texts encoded in one call, so that other requests get their turn in between."""
_LONG = 100_000
"""Characters that an encoding call counts as, so that it does not run on the event loop."""
_REMEMBERED = 20_000
"""Texts of options whose vectors are kept, 30 MB at 384 numbers each."""


class Weighed(NamedTuple):
    """Probabilities of each question's options, and the steps of computing them."""

    probabilities: list[np.ndarray]  # one a question, (L,); empty for one that was refused
    steps: tuple[Step, ...]


class ZeroShot(Protocol):
    """Weighs the options of questions without a trained specialist."""

    method: DecisionMethod

    @property
    def name(self) -> str:
        """Key of the model, or `encoder`."""
        ...

    async def weigh(self, state: Task, questions: Sequence[Question], *, call: CallContext) -> Weighed:
        """Return probabilities, one array per question. Raises a `CoterieError` if it cannot."""
        ...


# --- Likeness of the state and what an option says, as the encoder sees both.

_SHARPNESS = 1 / 0.06
"""Factor on cosines that calibrates the probabilities of BANKING77's 77 intents by their names.

It was fitted on the training rows (ECE .030); benchmarks/decisions/fit_similarity.py.
"""
_SHARPNESS_OF_TWO = 1 / 0.043
"""Factor on the mean of two encoders' cosines, fitted on CLINC150's validation rows (the same script)."""
_SLOPE, _MIDDLE = 13.0, 0.386
"""Slope and midpoint of a statement's log-odds by its cosine, fitted on one right and one wrong intent a row."""


@dataclass(kw_only=True)
class Similarity:
    """The fallback that is always available: the encoder compares the state with each option's name and description.

    Where encoders are named for choices, the mean of their cosines weighs a choice and a score.

    A predicate without a description of both cases is as probable as its statement is similar to the state.
    Similarity is not truth: a negated statement is as similar as the statement itself.
    """

    encoder: Engine
    choosing: tuple[Engine, ...] = ()
    """Encoders whose cosines count equally in choices and scores; empty for `encoder` alone."""
    drawing: Drawing | None = None
    """Options of choices that are adapted to the texts that are asked about; None disables the adaptation."""
    method: DecisionMethod = "similarity"
    _known: dict[int, OrderedDict[str, np.ndarray]] = field(default_factory=lambda: defaultdict(OrderedDict))
    """Vectors of options' texts, one table per encoder."""
    _floors: dict[int, float] = field(default_factory=dict)
    """Cosine of unrelated texts for each encoder; cosines are rescaled from there to 1."""

    @property
    def name(self) -> str:
        """The name `encoder`."""
        return "encoder"

    async def weigh(self, state: Task, questions: Sequence[Question], *, call: CallContext) -> Weighed:
        """Return the softmax of cosines; the options' vectors are cached."""
        texts = [[forms_of(question, option) for option in question.options] for question in questions]
        every = list(dict.fromkeys(form for options in texts for forms in options for form in forms))
        vector, likeness, held, steps = await self._compare(self.encoder, every, state, state.vector, call)
        chosen = [bool(self.choosing) and question.kind != "predicate" for question in questions]
        seen, tables, mean = [vector], [held], likeness
        if any(chosen):
            weighed_by = [options for options, among in zip(texts, chosen, strict=True) if among]
            again = list(dict.fromkeys(form for options in weighed_by for forms in options for form in forms))
            seen, tables, near = [], [], list[Mapping[str, float]]()
            for encoder in self.choosing:
                own = encoder is self.encoder
                side, cosines, held, took = await self._compare(encoder, again, state, vector if own else None, call)
                seen, tables, near, steps = [*seen, side], [*tables, held], [*near, cosines], (*steps, *took)
            mean = {text: sum(neighbour[text] for neighbour in near) / len(near) for text in again}
        weighed = [
            _weights(
                question,
                np.array([_mean(mean if among else likeness, forms) for forms in options]),
                _SHARPNESS_OF_TWO if among else _SHARPNESS,
            )
            for question, options, among in zip(questions, texts, chosen, strict=True)
        ]
        if self.drawing is not None:
            drawn_by = np.concatenate(seen) / math.sqrt(len(seen))
            sharpness = _SHARPNESS_OF_TWO if self.choosing else _SHARPNESS
            encoders = self.choosing or (self.encoder,)
            sharpness *= sum(1 / (1 - self._floors[id(encoder)]) for encoder in encoders) / len(encoders)
            for index, question in enumerate(questions):
                if question.kind == "choice":
                    names = partial(_names, texts[index], tables)
                    options = self.drawing.of(call.principal.tenant, question, names)
                    weighed[index] = options.weigh(state.text, drawn_by, question.names, sharpness)
                    await asyncio.sleep(0)  # a question of 255 options takes a millisecond: others get their turn
        return Weighed(weighed, steps)

    async def _compare(
        self, encoder: Engine, texts: Sequence[str], state: Task, vector: np.ndarray | None, call: CallContext
    ) -> tuple[np.ndarray, Mapping[str, float], Mapping[str, np.ndarray], tuple[Step, ...]]:
        """Return the state's vector, its cosines to texts, the texts' vectors, and the steps."""
        vectors = self._known[id(encoder)]
        held = {text: vectors[text] for text in texts if text in vectors}  # other questions' texts may put these out
        fresh, steps = await self._encode(encoder, [text for text in texts if text not in held], call)
        held |= fresh
        if vector is None:
            (output,) = await encoder.run([Prompt(text=state.text, label=state.label)], call=call)
            vector, steps = np.asarray(output.vector), (*steps, _step(encoder, output))
        self._remember(encoder, held)
        near = np.stack([held[text] for text in texts]) @ vector if texts else np.empty(0)
        if id(encoder) not in self._floors:  # some encode texts to know it
            self._floors[id(encoder)] = await aside(_LONG, partial(getattr, encoder, "unrelated", 0.0))
        floor = self._floors[id(encoder)]
        near = (near - floor) / (1 - floor)
        return vector, dict(zip(texts, near.tolist(), strict=True)), held, steps

    async def _encode(
        self, encoder: Engine, texts: Sequence[str], call: CallContext
    ) -> tuple[Mapping[str, np.ndarray], tuple[Step, ...]]:
        outputs: list[Output] = []
        for start in range(0, len(texts), _AT_ONCE):
            batch = [Prompt(text=text) for text in texts[start : start + _AT_ONCE]]
            outputs += await encoder.run(batch, call=call)
        vectors = {text: np.asarray(output.vector) for text, output in zip(texts, outputs, strict=True)}
        return vectors, tuple(_step(encoder, output) for output in outputs)

    def _remember(self, encoder: Engine, vectors: Mapping[str, np.ndarray]) -> None:
        """Cache vectors as the most recently used."""
        vectors_ = self._known[id(encoder)]
        for text, vector in vectors.items():
            vectors_[text] = vector
            vectors_.move_to_end(text)
        while len(vectors_) > _REMEMBERED:
            vectors_.popitem(last=False)


def _names(forms: Sequence[Sequence[str]], tables: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:  # (L, D)
    """Return unit vectors of options by their names; those of several encoders, one table each, are concatenated."""
    sides = []
    for vectors in tables:
        means = np.stack([np.mean([vectors[form] for form in named_forms], axis=0) for named_forms in forms])
        sides.append(means / np.linalg.norm(means, axis=1, keepdims=True))
    return np.concatenate(sides, axis=1) / math.sqrt(len(sides))


def forms_of(question: Question, option: Option) -> tuple[str, ...]:
    """Return the texts that are compared with the state for an option; none for a case without a description."""
    if question.kind == "predicate":
        description = option.description or (question.instructions if option.name == YES else "")
        return (description,) if description.strip() else ()
    name = folded(option.name) or option.name
    return (name, f"{name}?", *((option.description,) if option.description.strip() else ()))


def _step(encoder: Engine, output: Output) -> Step:
    return Step(producer=PRODUCER, engine=encoder.name, usage=output.usage)


def _mean(likeness: Mapping[str, float], forms: Sequence[str]) -> float:
    return sum(likeness[form] for form in forms) / len(forms) if forms else math.nan


def _weights(question: Question, cosines: np.ndarray, sharpness: float) -> np.ndarray:  # (L,) -> (L,)
    if question.kind == "predicate" and np.isnan(cosines).any():
        described = 1 if np.isnan(cosines[0]) else 0
        holds = 1 / (1 + math.exp(-_SLOPE * (float(cosines[described]) - _MIDDLE)))
        return np.array([1 - holds, holds] if described else [holds, 1 - holds])
    return softmax(sharpness * cosines)


# --- Likelihood of the options under a model of this process.

_LISTED = 30
"""Most options that are listed before the state, since each is read again with every request."""
_LOOKED_AT = 10
"""Options that the model weighs: the most likely by the encoder."""


@dataclass(kw_only=True)
class Likelihood:
    """Weighs options by their likelihood under a GGUF model, relative to their likelihood without a state.

    This removes the model's prior for each option (contextual calibration: Zhao et al. 2021). Of many options the
    encoder chooses ten, and its log-probabilities are added.
    """

    engine: Engine
    floor: Similarity
    weight: float = 0.5
    """Weight of the model relative to the encoder."""
    method: DecisionMethod = "likelihood"

    @property
    def name(self) -> str:
        """Key of the model in `[models]`."""
        return self.engine.name

    async def weigh(self, state: Task, questions: Sequence[Question], *, call: CallContext) -> Weighed:
        """Return the encoder's probabilities, where those of the most likely options are multiplied by the model's."""
        all_weights, steps = await self.floor.weigh(state, questions, call=call)
        best = [np.sort(np.argsort(-weights, kind="stable")[:_LOOKED_AT]) for weights in all_weights]
        prompts = [_prompt(question, places, state) for question, places in zip(questions, best, strict=True)]
        bare = [_prompt(question, places, None) for question, places in zip(questions, best, strict=True)]
        outputs = await self.engine.run([*prompts, *bare], call=call)
        for number, places in enumerate(best):
            with_state, without = (np.asarray(outputs[at].scores) for at in (number, len(prompts) + number))
            gains = np.nan_to_num(with_state - without, neginf=-50.0)
            weighed = np.log(np.maximum(all_weights[number], 1e-12))
            weighed[places] += self.weight * (gains - gains.mean())
            all_weights[number] = softmax(weighed)
        took = tuple(Step(producer=PRODUCER, engine=self.engine.name, usage=output.usage) for output in outputs)
        return Weighed(all_weights, (*steps, *took))


def _prompt(question: Question, places: np.ndarray, state: Task | None) -> Prompt:
    """Return the prompt of a base model: question, options if they are few, state; without a state, "N/A"."""
    options = [question.options[position] for position in places]
    listed = [f"- {_described(option)}" for option in question.options] if len(question.options) <= _LISTED else []
    instruction = "\n".join(filter(None, [" ".join(question.instructions.split()), *listed]))
    text = "N/A" if state is None else state.text
    prompting = Prompting(instruction=instruction, answer="Answer:" if question.kind != "choice" else "Label:")
    prompt = Prompt(text=prompting.prompt(text), choices=answers([option.name for option in options]))
    return prompt if state is None else replace(prompt, label=state.label, label_without_pii=state.label_without_pii)


def _described(option: Option) -> str:
    return f"{option.name}: {option.description}" if option.description.strip() else option.name


# --- A model behind the egress gate, asked in its own way: typed questions of a decision model, a schema otherwise.


@dataclass(kw_only=True)
class RemoteAnswerer:
    """A remote model: one for typed questions gets all of them at once, any other is asked one by one."""

    engine: Engine
    typed: bool
    method: DecisionMethod = "model"

    @property
    def name(self) -> str:
        """Key of the model in `[models]`."""
        return self.engine.name

    async def weigh(self, state: Task, questions: Sequence[Question], *, call: CallContext) -> Weighed:
        """Return the model's probabilities. A model without probabilities gives all to its answer."""
        message = Message(role="user", text=state.text)
        if self.typed:
            prompt = Prompt(
                messages=(message,),
                questions=tuple(questions),
                label=state.label,
                label_without_pii=state.label_without_pii,
            )
            outputs = await self.engine.run([prompt], call=call)
            rows = np.exp(np.asarray(outputs[0].scores))  # (Q, L)
            all_weights = [row[: len(question.options)] for question, row in zip(questions, rows, strict=True)]
            all_weights = [row if row.sum() > 0 else row[:0] for row in all_weights]
        else:
            prompts = [_schema_prompt(question, message, state) for question in questions]
            outputs = await self.engine.run(prompts, call=call)
            try:
                all_weights = [
                    _read(self.name, question, output) for question, output in zip(questions, outputs, strict=True)
                ]
            except EngineBroken:
                for output in outputs:  # what cannot be read is paid all the same
                    call.charge(self.name, output.usage)
                raise
        return Weighed(
            all_weights, tuple(Step(producer=PRODUCER, engine=self.name, usage=output.usage) for output in outputs)
        )


def _schema_prompt(question: Question, message: Message, state: Task) -> Prompt:
    listed = "\n".join(f"- {_described(option)}" for option in question.options)
    instruction = f'{question.instructions}\nAnswer with a JSON object, {{"label": ...}}, one of these:\n{listed}'
    label = {"type": "string", "enum": list(question.names)}
    schema = {"type": "object", "properties": {"label": label}, "required": ["label"], "additionalProperties": False}
    return Prompt(
        messages=(Message(role="system", text=instruction.strip()), message),
        json_schema=schema,
        label=state.label,
        label_without_pii=state.label_without_pii,
        max_tokens=32 + 2 * max(len(name.encode("utf-8", "replace")) for name in question.names),
        logprobs=True,
    )


def _read(engine: str, question: Question, output: Output) -> np.ndarray:  # (L,)
    try:
        answer = json.loads(output.text)["label"]
        position = question.names.index(answer)
    except (ValueError, LookupError, TypeError, RecursionError):
        raise EngineBroken(f"Model {engine!r} named none of the options.", engine=engine) from None
    sure = 1.0 if output.logprob is None else max(math.exp(min(output.logprob, 0.0)), 1 / len(question.names))
    rest = (1.0 - sure) / (len(question.names) - 1)
    return np.array([sure if at == position else rest for at in range(len(question.names))])


# --- Answering all questions of one call: each question is assigned, and every specialist or model is asked once.

_FEWEST = 3
"""Fewest options for a match by name, since `yes` and `no` are labels of many jobs."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The assignment of a question to a specialist."""

    specialist: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """Label by option; empty where the value itself is the answer."""
    event: str = ""
    """Label whose probability answers a predicate."""


def assign(
    question: Question,
    site: str,
    cards: Mapping[str, SpecialistCard],
    section: DecisionsSection,
    *,
    pinned: bool = False,
) -> Assignment | None:
    """Return the assignment of a question to one of these specialists; None if none was trained for it.

    Whoever names the only specialist says whose the question is: two of its labels are enough then, and a predicate is
    answered by the label `true`, or by a probability.
    """
    named = next((setting for setting in section.sites.values() if setting.question == site), None)
    if named is not None:
        card = cards.get(named.specialist or "")
        return None if card is None else _named(question, named, card)
    if pinned and (own := _of_named(question, *cards.values())) is not None:
        return own
    if question.kind == "predicate" or not (section.match or pinned):
        return None
    return _matching(question, cards, fewest=2 if pinned else _FEWEST)


def _of_named(question: Question, *cards: SpecialistCard) -> Assignment | None:
    """Return the assignment of a question of two sides to the named specialist; None if it has no such answer."""
    for card in cards:
        labels = {folded(option.name): option.name for option in card.options}
        if card.form == "number" and question.kind != "choice":
            return Assignment(specialist=card.name)
        if question.kind == "predicate" and labels.keys() == {NO, YES}:
            return Assignment(specialist=card.name, event=labels[YES])
    return None


def _named(question: Question, site: SiteSection, card: SpecialistCard) -> Assignment | None:
    if question.kind == "predicate" or not card.options:
        event = site.label or ""
        is_known = not card.options or any(label.name == event for label in card.options)
        return Assignment(specialist=card.name, event=event) if is_known else None
    labels = {**_labels_of(question, card), **site.labels}
    chosen = {option: labels[option] for option in question.names if option in labels}
    return Assignment(specialist=card.name, labels=chosen) if len(chosen) == len(question.names) else None


def _matching(question: Question, cards: Mapping[str, SpecialistCard], *, fewest: int) -> Assignment | None:
    """Return the specialist with the fewest labels that include all options; None if two qualify."""
    if len(question.names) < fewest:
        return None
    matches = [
        (len(card.options), card.name, labels)
        for card in cards.values()
        if len(labels := _labels_of(question, card)) == len(question.names)
    ]
    least = [match for match in matches if match[0] == min(matches)[0]]
    return Assignment(specialist=least[0][1], labels=least[0][2]) if len(least) == 1 else None


def _labels_of(question: Question, card: SpecialistCard) -> dict[str, str]:
    """Map options to labels where they are equal, ignoring letter case, hyphens and underscores."""
    exact = {label.name for label in card.options}
    if set(question.names) <= exact:
        return {option: option for option in question.names}
    alike = Counter(folded(name) for name in exact)
    by_fold = {folded(name): name for name in exact if alike[folded(name)] == 1}
    labels = {option: by_fold[folded(option)] for option in question.names if folded(option) in by_fold}
    return labels if len(labels) == len(set(labels.values())) else {}


@dataclass(frozen=True, kw_only=True)
class AnswerWeights:
    """Probabilities of a question's options, in its order, with their calibration."""

    probabilities: tuple[float, ...]
    confidence: float
    accepted: bool
    reason: Reason


def read_finding(question: Question, assignment: Assignment, finding: Finding) -> AnswerWeights | None:
    """Return the probabilities of a question's options by a specialist's finding; None if it has no value."""
    if finding.value is None:
        return None
    if isinstance(finding.value, int | float):
        return _of_number(question, float(finding.value), finding)
    distribution = distribution_of(finding)
    if question.kind == "predicate":
        true = distribution.get(assignment.event, 0.0)
        return AnswerWeights(
            probabilities=(1.0 - true, true),
            confidence=max(true, 1.0 - true),
            accepted=finding.accepted,
            reason=finding.reason,
        )
    weights = [distribution.get(assignment.labels[option], 0.0) for option in question.names]
    total = sum(weights)
    chosen = finding.value in assignment.labels.values()
    probabilities = tuple(weight / total for weight in weights) if total > 0 else _even(len(weights))
    reason = finding.reason if chosen else Reason("decision.other_label", guess=finding.text, options=len(weights))
    accepted = finding.accepted and chosen
    return AnswerWeights(probabilities=probabilities, confidence=max(probabilities), accepted=accepted, reason=reason)


def distribution_of(finding: Finding) -> Mapping[str, float]:
    """Return the probability of each label; a specialist that names only some labels gives only those."""
    if finding.distribution:
        return finding.distribution
    named = {
        alternative.name: alternative.weight for alternative in finding.evidence if alternative.kind == "alternative"
    }
    return {**named, str(finding.value): finding.confidence}


def _of_number(question: Question, probability: float, finding: Finding) -> AnswerWeights:
    """Convert the probability of a `score` specialist: of true, or as a position between lowest and highest level."""
    levels = question.names if question.kind == "score" else ("", YES)
    position = min(max(probability, 0.0), 1.0) * (len(levels) - 1)
    weights = tuple(max(0.0, 1.0 - abs(position - level)) for level in range(len(levels)))
    return AnswerWeights(
        probabilities=weights, confidence=finding.confidence, accepted=finding.accepted, reason=finding.reason
    )


def _even(size: int) -> tuple[float, ...]:
    return tuple([1.0 / size] * size)


# --- Answering all questions of one call: each is assigned, every answerer is asked once, and who answered is said.


@dataclass(kw_only=True)
class Decider:
    """Answers typed questions with a network's specialists, and zero-shot where none is trained for a question."""

    specialists: Mapping[str, Specialist]
    encoder: Engine
    section: DecisionsSection = field(default_factory=DecisionsSection)
    models: Mapping[str, ZeroShot] = field(default_factory=dict)
    """Zero-shot answerers by `[models]` key."""
    choosing: tuple[Engine, ...] = ()
    """Encoders whose mean similarity weighs a choice; empty for the network's alone."""
    flywheel: Flywheel | None = None
    """Captures questions without a manually trained specialist, and answers for its deployments."""
    floor: Similarity = field(init=False)

    def __post_init__(self) -> None:
        drawing = Drawing() if self.section.adapt else None
        self.floor = Similarity(encoder=self.encoder, choosing=self.choosing, drawing=drawing)

    def inherit(self, before: Decider) -> None:
        """Take over the adapted options of another decider, where the same encoders weigh them."""
        if self.floor.drawing and before.floor.drawing and self._weighing == before._weighing:
            self.floor.drawing = before.floor.drawing

    @property
    def _weighing(self) -> list[str]:
        return [getattr(encoder, "sha256", encoder.name) for encoder in self.choosing or (self.encoder,)]

    def check(self, questions: Sequence[Question]) -> None:
        """Check that the questions can be answered. Raises `InputError`."""
        check_questions(questions)

    async def decide(
        self,
        state: Task,
        questions: Sequence[Question],
        *,
        only: Sequence[str] = (),
        pinned: str | None = None,
        consult: Consult,
        call: CallContext,
    ) -> Deciding:
        """Answer questions about a state, as `QuestionAnswerer` specifies."""
        sites = [fingerprint(question) for question in questions]
        cards = {
            name: specialist.card
            for name, specialist in self.specialists.items()
            if (not only or name in only) and pinned in {None, name}
        }
        different = dict(zip(sites, questions, strict=True))
        assigned = {site: self._assign(question, site, cards, pinned) for site, question in different.items()}
        state, steps = await self._encoded(state, call)
        specialists_asked = dict.fromkeys(
            assignment.specialist for assignment in assigned.values() if assignment is not None
        )
        task = replace(state, distribution=True)
        findings = {name: await consult(self.specialists[name], task) for name in specialists_asked}
        answers: dict[str, Decision] = {}
        for site, assignment in assigned.items():
            if assignment is not None:
                read = read_finding(different[site], assignment, findings[assignment.specialist])
                if read is not None:
                    answers[site] = _decision(different[site], site, read, assignment.specialist, "specialist")
        entered = {site: self._entered(state, q, site, call) for site, q in different.items() if assigned[site] is None}
        for site, open_question in entered.items():
            if (
                self.flywheel is not None
                and (found_there := await self.flywheel.answer(open_question, call=call)) is not None
            ):
                steps = (*steps, *found_there.steps)
                if (decided_there := _deployed(different[site], site, found_there)) is not None:
                    answers[site] = decided_there
                    findings[found_there.specialist] = found_there
        rest = {
            site: question for site, question in different.items() if site not in answers
        }  # also if it had no value
        for name, group in self._by_model(rest, only).items():
            decided, took = await self._zero_shot(name, state, {site: rest[site] for site in group}, call)
            answers, steps = {**answers, **decided}, (*steps, *took)
        for site, open_question in entered.items():
            if self.flywheel is not None:
                by = "" if answers[site].method == "specialist" else answers[site].answered_by
                self.flywheel.leave(open_question, answers[site].choice, model=by)
        return Deciding(
            decisions=tuple(
                _as_listed(answers[site], question) for site, question in zip(sites, questions, strict=True)
            ),
            findings=tuple(replace(finding, distribution={}) for finding in findings.values()),
            steps=steps,
        )

    def _entered(self, state: Task, question: Question, site: str, call: CallContext) -> Any:  # noqa: ANN401
        """Return the flywheel's entry for a question."""
        if self.flywheel is None:
            return None
        return self.flywheel.enter_site(
            trace_id=call.trace,
            site=site,
            name=question.instructions or question.name,
            text=state.text,
            options=question.names,
            principal=call.principal,
            label=state.label,
        )

    def _assign(
        self, question: Question, site: str, cards: Mapping[str, SpecialistCard], pinned: str | None
    ) -> Assignment | None:
        assignment = assign(question, site, cards, self.section, pinned=pinned is not None)
        if assignment is None and pinned is not None:
            raise InputError(
                f"Specialist {pinned!r} cannot answer question {question.name!r}: its labels are not its options.",
                hint="Name its labels as options, or name it under [decisions.sites] in coterie.toml.",
            )
        return assignment

    async def _encoded(self, state: Task, call: CallContext) -> tuple[Task, tuple[Step, ...]]:
        if not state.text.strip():
            return state, ()
        (output,) = await self.encoder.run([Prompt(text=state.text, label=state.label)], call=call)
        step = Step(producer=PRODUCER, engine=self.encoder.name, usage=output.usage)
        return replace(state, vector=output.vector, truncated=output.finish == "length"), (step,)

    def _by_model(self, questions: Mapping[str, Question], only: Sequence[str]) -> dict[str, list[str]]:
        """Group sites by the model that answers them; the fallback to the encoder has no name."""
        named = {site.question: site.model or "" for site in self.section.sites.values()}
        groups: dict[str, list[str]] = {}
        for site in questions:
            name = named.get(site) or self.section.model or ""
            groups.setdefault(name if name in self.models and (not only or name in only) else "", []).append(site)
        return groups

    async def _zero_shot(
        self, name: str, state: Task, questions: Mapping[str, Question], call: CallContext
    ) -> tuple[dict[str, Decision], tuple[Step, ...]]:
        """Return the answers of a model, and those of the encoder where the model has none."""
        answerer: ZeroShot = self.models[name] if name else self.floor
        open_questions, failed = dict(questions), None
        steps: tuple[Step, ...] = ()
        answers: dict[str, Decision] = {}
        if answerer is not self.floor:
            try:
                weights_of_all, steps = await answerer.weigh(state, list(open_questions.values()), call=call)
            except AuditError:  # what cannot be written down is not done: no answer of ours hides it
                raise
            except (EngineError, InputError, PolicyError, SetupError) as error:
                failed = Reason("note.floor_instead", model=name, why=error.reason)
            else:
                for (site, question), weights in zip(list(open_questions.items()), weights_of_all, strict=True):
                    if len(weights):
                        answers[site] = _guess(question, site, weights, answerer, state)
                        del open_questions[site]
        if not open_questions:
            return answers, steps
        behind = {site: self._texts_behind(question, call) for site, question in open_questions.items()}
        weights_of_all, took = await self.floor.weigh(state, list(open_questions.values()), call=call)
        for (site, question), weights in zip(open_questions.items(), weights_of_all, strict=True):
            decision = _guess(question, site, weights, self.floor, state)
            if behind[site]:
                note = Reason("note.fitted_options", texts=behind[site])
                decision = replace(decision, reason=decision.reason.noting(note))
            answers[site] = decision if failed is None else replace(decision, reason=decision.reason.noting(failed))
        return answers, (*steps, *took)

    def _texts_behind(self, question: Question, call: CallContext) -> int:
        """Return the number of texts that a question's options were adapted to."""
        drawn = self.floor.drawing and self.floor.drawing.find(call.principal.tenant, question)
        return drawn.texts if drawn else 0


def _deployed(question: Question, site: str, finding: Finding) -> Decision | None:
    """Return the answer of a deployment, whose labels are the options; None if its finding has no value."""
    own = Assignment(specialist=finding.specialist, labels={name: name for name in question.names}, event=YES)
    weights = read_finding(question, own, finding)
    return None if weights is None else _decision(question, site, weights, finding.specialist, "specialist")


_ALIKE = 1e-5
"""Difference of probabilities below which an encoder does not tell options apart: it knows no part of their names."""


def _guess(question: Question, site: str, weights: np.ndarray, answerer: ZeroShot, state: Task) -> Decision:
    confidence = float(weights.max())
    reason = Reason("decision.zero_shot", by=answerer.name, method=answerer.method, probability=confidence)
    if state.truncated and answerer.method == "similarity":
        reason = reason.noting(Reason("note.text_truncated"))
    alike = int((weights > confidence - _ALIKE).sum())
    if alike > 1 and question.kind != "predicate" and answerer.method == "similarity":
        reason = reason.noting(Reason("note.alike_options", by=answerer.name, options=alike))
    weights_ = AnswerWeights(
        probabilities=tuple(weights.tolist()), confidence=confidence, accepted=False, reason=reason
    )
    return _decision(question, site, weights_, answerer.name, answerer.method)


def _decision(question: Question, site: str, weights: AnswerWeights, by: str, method: DecisionMethod) -> Decision:
    return Decision(
        question=question.name,
        site=site,
        kind=question.kind,
        options=question.names,
        probabilities=weights.probabilities,
        confidence=weights.confidence,
        accepted=weights.accepted,
        reason=weights.reason,
        answered_by=by,
        method=method,
        instructions=question.instructions,
    )


def _as_listed(decision: Decision, question: Question) -> Decision:
    """Return the answer for this question, whose options may have another order or white space."""
    if decision.options != question.names:
        by_option = dict(zip(map(spaced, decision.options), decision.probabilities, strict=True))
        probabilities = tuple(by_option[spaced(name)] for name in question.names)
        decision = replace(decision, options=question.names, probabilities=probabilities)
    return replace(decision, question=question.name)
