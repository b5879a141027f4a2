"""Engines without weights."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Sequence

import numpy as np

from coterie.errors import EngineBroken
from coterie.types import Delta, Label, Output, Prompt, Usage


class EchoEngine:
    """Gives back what it is given: the last message (or the text) as text, and a vector made of it.

    The vector is a unit vector drawn from the text's hash, so equal texts have equal vectors. Choices have
    log-likelihoods drawn from the hash of adapter, text and choice; their probabilities sum to 1.
    """

    def __init__(self, name: str = "echo", *, clearance: Label = Label.RESTRICTED, dimension: int = 8) -> None:
        self.name = name
        self.clearance = clearance
        self.dimension = dimension
        self.prompts: list[Prompt] = []
        """Every prompt it was given."""
        self.closed = False

    async def run(self, batch: Sequence[Prompt]) -> Sequence[Output]:
        """Each prompt's own text."""
        await asyncio.sleep(0)
        self.prompts.extend(batch)
        return [self._echo(prompt) for prompt in batch]

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta | Output]:
        """The text word by word, then the output."""
        (output,) = await self.run([prompt])
        for piece in _words(output.text):
            await asyncio.sleep(0)
            yield Delta(text=piece)
        yield output

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True

    def _echo(self, prompt: Prompt) -> Output:
        text = prompt.messages[-1].text if prompt.messages else prompt.text
        words = len(text.split())
        if prompt.choices:
            drawn = [_draw(f"{prompt.adapter}\n{text}\n{choice}").normal() for choice in prompt.choices]
            return Output(scores=drawn - np.logaddexp.reduce(drawn), usage=Usage(tokens_in=words))
        vector = _draw(text).normal(size=self.dimension)
        return Output(
            text=text,
            vector=(vector / np.linalg.norm(vector)).astype(np.float32),
            usage=Usage(tokens_in=words, tokens_out=words),
        )


Line = Output | str | Exception
"""What a scripted engine does for one prompt: give this output, or this text, or raise this."""


class ScriptedEngine:
    """Does what the script says, one line a prompt, in order; past its end it raises `EngineBroken`.

    A stream gives the text word by word.
    """

    def __init__(self, script: Iterable[Line], *, name: str = "scripted", clearance: Label = Label.RESTRICTED) -> None:
        self.name = name
        self.clearance = clearance
        self.prompts: list[Prompt] = []
        """Every prompt it was given."""
        self.closed = False
        self._script = list(script)

    @property
    def left(self) -> int:
        """Lines not used yet."""
        return len(self._script)

    async def run(self, batch: Sequence[Prompt]) -> Sequence[Output]:
        """The next line of the script for each prompt; one that is an exception is raised."""
        await asyncio.sleep(0)
        return [self._next(prompt) for prompt in batch]

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta | Output]:
        """The next line's text word by word, then its output."""
        await asyncio.sleep(0)
        output = self._next(prompt)
        for piece in _words(output.text):
            await asyncio.sleep(0)
            yield Delta(text=piece)
        yield output

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True

    def _next(self, prompt: Prompt) -> Output:
        self.prompts.append(prompt)
        if not self._script:
            raise EngineBroken(f"The script of {self.name!r} has ended.", engine=self.name)
        line = self._script.pop(0)
        if isinstance(line, Exception):
            raise line
        return Output(text=line, usage=Usage(tokens_out=len(line.split()))) if isinstance(line, str) else line


def _draw(text: str) -> np.random.Generator:
    """Randomness that is the same for the same text."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "little"))


def _words(text: str) -> list[str]:
    """A text in pieces that, joined, give it back."""
    return re.findall(r"\S+\s*|\s+", text)
