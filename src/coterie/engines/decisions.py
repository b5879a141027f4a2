"""Clients of decision models: typed questions out, probabilities in. TypeSafe's System One, OpenAI's Decisions API.

As with other servers, only `coterie.governance` may open one.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from coterie.config.file import DecisionModel
from coterie.engines.openai import OpenAIEngine
from coterie.engines.openai_wire import Transcript, read_json
from coterie.errors import EngineBroken, EngineRejected
from coterie.text.folding import valid_text
from coterie.types import SYSTEM, YES, CallContext, Delta, Message, Option, Output, Prompt, Question

MOST_QUESTIONS = 64
_ASKED = "Select the option that fits the input."
"""Instructions of a question that has none, where they are required."""


class DecisionEngine(OpenAIEngine):
    """Asks a decision model. An output has `scores` (Q, L): log-probabilities of each question's options, then -inf.

    The text is the likeliest option of a single question. A prompt without `questions` is asked as one choice among the
    labels of its `json_schema`, like a classifier's prompt, and is answered in that form. Questions that the model
    refused have -inf only.
    """

    def __init__(self, name: str, model: DecisionModel, **options: Any) -> None:  # noqa: ANN401 - those of `OpenAIEngine`
        """Describe the connection; see `OpenAIEngine`."""
        self.path = model.engine
        super().__init__(name, model, **options)

    async def stream(self, prompt: Prompt, *, call: CallContext = SYSTEM) -> AsyncIterator[Delta | Output]:
        """Yield the whole answer at once, without pieces."""
        (output,) = await self.run([prompt], call=call)
        if output.text:
            yield Delta(text=output.text)
        yield output

    def _check(self, prompt: Prompt) -> None:
        super()._check(prompt)
        if not 1 <= len(questions_of(prompt)) <= MOST_QUESTIONS:
            raise EngineRejected(
                f"Engine {self.name!r} answers 1 to {MOST_QUESTIONS} typed questions; it was given none or more.",
                engine=self.name,
                hint="It writes no text: use another model as [generalist], or for `generate`.",
            )

    def _transcript(self, prompt: Prompt) -> Transcript:
        return TypedAnswers(engine=self.name, prompt=prompt, api=self.path)

    def _body(self, prompt: Prompt, *, stream: bool) -> dict[str, object]:  # noqa: ARG002 - nothing is streamed
        questions = questions_of(prompt)
        turns_ = [message for message in prompt.messages if message.role != "system" or prompt.questions]
        if self.path == "decisions":
            turns = [{"role": message.role, "content": valid_text(message.text)} for message in turns_]
            return {"model": self._model.name, "input": turns, "questions": list(map(_openai_question, questions))}
        state: object = valid_text(turns_[0].text) if len(turns_) == 1 else [_turn(message) for message in turns_]
        questions_ = {f"q{index}": _typesafe_question(question) for index, question in enumerate(questions)}
        return {"model": self._model.name, "state": state, "questions": questions_}


def questions_of(prompt: Prompt) -> tuple[Question, ...]:
    """Return a prompt's typed questions, or its labels as one choice; empty if it has neither."""
    if prompt.questions:
        return prompt.questions
    properties = (prompt.json_schema or {}).get("properties")
    label = properties.get("label") if isinstance(properties, Mapping) else None
    labels = label.get("enum") if isinstance(label, Mapping) else None
    if not isinstance(labels, Sequence) or len(labels) < 2:
        return ()
    instructions = "\n".join(message.text for message in prompt.messages if message.role == "system")
    return (
        Question(kind="choice", options=tuple(Option(name=str(label)) for label in labels), instructions=instructions),
    )


def _turn(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": valid_text(message.text)}


def _typesafe_question(question: Question) -> dict[str, object]:
    described = {valid_text(option.name): valid_text(option.description) or None for option in question.options}
    stated = {"instructions": valid_text(question.instructions)} if question.instructions else {}
    if question.kind == "score":
        return {"type": "score", **stated, "criteria": [_level(option) for option in question.options]}
    return {"type": "noul" if question.kind == "predicate" else "choice", **stated, "criteria": described}


def _level(option: Option) -> str:
    return valid_text(f"{option.name}: {option.description}" if option.description else option.name)


def _openai_question(question: Question) -> dict[str, object]:
    stated: dict[str, object] = {"type": question.kind, "instructions": valid_text(question.instructions) or _ASKED}
    if question.kind == "predicate":
        described = [f"{option.name}: {option.description}" for option in question.options if option.description]
        return stated | {"instructions": valid_text("\n".join([question.instructions, *described]).strip())}
    named, each_is = ("levels", "label") if question.kind == "score" else ("choices", "value")
    options = []
    for option in question.options:
        described_as = {"description": valid_text(option.description)} if option.description else {}
        options.append({each_is: valid_text(option.name), **described_as})
    return {**stated, named: options}


@dataclass(kw_only=True)
class TypedAnswers(Transcript):
    """The answers to a prompt's questions."""

    api: str
    """The API: `systemone` or `decisions`."""
    scores: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))  # (Q, L)

    def take(self, data: str, *, part: Literal["message", "delta"]) -> str:  # noqa: ARG002 - never in pieces
        """Read a whole answer. Raises `EngineBroken` for one that does not match the questions."""
        content = read_json(data, self.engine)
        questions = questions_of(self.prompt)
        try:
            rows = [self._row(content["answers"], index, question) for index, question in enumerate(questions)]
        except (LookupError, TypeError, ValueError) as error:
            raise EngineBroken(
                f"Engine {self.engine!r} sent answers that do not fit the questions ({type(error).__name__}).",
                engine=self.engine,
            ) from None
        self.scores = np.full((len(rows), max(map(len, rows))), -math.inf)
        with np.errstate(divide="ignore"):
            for index, row in enumerate(rows):
                self.scores[index, : len(row)] = np.log(row)
        usage = content.get("usage")
        if isinstance(usage, Mapping):
            counts = [usage.get(name) for name in ("input_tokens", "output_tokens")]
            if all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
                self.tokens = (counts[0], counts[1])  # type: ignore[assignment]
        self.finish = "stop"
        if len(questions) == 1 and np.isfinite(self.scores).any():
            best = int(self.scores[0].argmax())
            name = questions[0].names[best]
            self.texts.append(name if self.prompt.questions else json.dumps({"label": name}, ensure_ascii=False))
            self.logprobs.append(float(self.scores[0, best]))
        return "".join(self.texts)

    def output(self) -> Output:
        """Return the answers. Raises `EngineBroken` if there are none."""
        return replace(super().output(), scores=self.scores)

    def _row(self, answers: Any, number: int, question: Question) -> np.ndarray:  # noqa: ANN401 - what a server sent
        """Return the probabilities (L,) of one question's options; zeros for a refusal."""
        answer = answers[number] if self.api == "decisions" else answers[f"q{number}"]
        if answer["type"] == "refusal":
            return np.zeros(len(question.options))
        if question.kind == "predicate":
            true = float(answer["probability" if self.api == "decisions" else "noul"])
            return _checked([true if option.name == YES else 1 - true for option in question.options])
        listed = answer["probabilities"]
        if self.api == "decisions":
            listed = {str(option["value"]): option["probability"] for option in listed}
        names = map(str, range(len(question.options))) if question.kind == "score" else map(valid_text, question.names)
        return _checked([listed[name] for name in names])


def _checked(values: Sequence[object]) -> np.ndarray:  # (L,)
    row = np.array([float(value) for value in values])  # type: ignore[arg-type]
    if not np.isfinite(row).all() or row.min() < 0 or row.max() > 1 or row.sum() <= 0:
        raise ValueError("they are no probabilities")
    return np.asarray(row / row.sum())
