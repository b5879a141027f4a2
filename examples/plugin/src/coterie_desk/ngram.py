"""The engine `ngram`: a word trigram language model, learnt from a text file of the network's folder when it is opened.

It is small enough to read, and writes like its file. What it needs is in this process, so it declares itself `local`;
an engine that sends prompts elsewhere declares `local = False`, and Coterie opens it behind its egress gate.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from coterie.config.file import ModelEntry
from coterie.engines.kinds import EnginePlace, EngineType
from coterie.errors import ModelMissing
from coterie.runtime.cpu import CpuSpan
from coterie.types import CallContext, Delta, Label, Output, Prompt, Usage

_START, _END = "<s>", "</s>"


class NgramModel(ModelEntry):
    """`[models.NAME]` with `engine = "ngram"`."""

    engine: Literal["ngram"]
    """`ngram`."""
    name: str
    """A text file, a sentence a line, relative to the network's folder."""


class NgramEngine:
    """Writes one sentence, beginning with the word of the prompt that it knows best."""

    clearance = Label.RESTRICTED

    def __init__(self, name: str, lines: Sequence[str]) -> None:
        self.name = name
        self._next: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._begin: Counter[str] = Counter()
        for line in lines:
            words = [_START, _START, *line.split(), _END]
            self._begin.update(words[2:3])
            for first, second, third in zip(words, words[1:], words[2:], strict=False):
                self._next[first, second][third] += 1

    async def run(self, batch: Sequence[Prompt], *, call: CallContext) -> Sequence[Output]:
        """One sentence a prompt; the same prompt and seed give the same one."""
        return [self._write(prompt) for prompt in batch]

    async def stream(self, prompt: Prompt, *, call: CallContext) -> AsyncIterator[Delta | Output]:
        """The sentence a word at a time, then the whole."""
        output = self._write(prompt)
        for index, word in enumerate(output.text.split()):
            yield Delta(text=f" {word}" if index else word)
        yield output

    async def close(self) -> None:
        """Nothing is open."""

    def _write(self, prompt: Prompt) -> Output:
        with CpuSpan() as took:
            question = prompt.messages[-1].text if prompt.messages else prompt.text
            chance = random.Random(f"{prompt.seed} {question}")
            first = max(
                dict.fromkeys(question.split()), key=lambda word: self._begin[word.capitalize()], default=""
            ).capitalize()
            words = [_START, first] if self._begin[first] else [_START, _START]
            while len(words) - 2 < prompt.max_tokens:
                follows = self._next[words[-2], words[-1]]
                word = chance.choices(list(follows), weights=list(follows.values()))[0] if follows else _END
                if word == _END:
                    break
                words.append(word)
        written = [word for word in words if word != _START]
        text, ended = " ".join(written), len(words) - 2 < prompt.max_tokens
        usage = Usage(
            tokens_in=len(question.split()),
            tokens_out=len(written),
            milliseconds=took.usage.milliseconds,
            cpu_seconds=took.usage.cpu_seconds,
        )
        return Output(text=text, finish="stop" if ended else "length", usage=usage)


class NgramType(EngineType[NgramModel]):
    """The engine, as it registers."""

    section = NgramModel
    local = True

    def open(self, name: str, model: NgramModel, place: EnginePlace) -> NgramEngine:
        """The model of a file."""
        try:
            lines = (place.folder / model.name).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ModelMissing(f"Model {name!r} is {model.name!r}, which cannot be read: {error.strerror}.") from error
        return NgramEngine(name, [line for line in lines if line.strip()])


ENGINE = NgramType()
