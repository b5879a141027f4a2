"""Engines without weights."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
import itertools
import re
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from coterie.engines.gguf import read_gguf_header
from coterie.errors import EngineBroken
from coterie.types import SYSTEM, CallContext, Delta, Label, Output, Prompt, Usage


class EchoEngine:
    """An engine that returns its input: the last message (or the text), and a vector made of it.

    The vector is a unit vector drawn from the hash of the text, so equal texts have equal vectors. Choices get
    log-likelihoods drawn from the hash of adapter, text and choice; their probabilities sum to 1.
    """

    def __init__(self, name: str = "echo", *, clearance: Label = Label.RESTRICTED, dimension: int = 8) -> None:
        self.name = name
        self.clearance = clearance
        self.dimension = dimension
        self.prompts: list[Prompt] = []
        """All prompts, in order."""
        self.closed = False

    async def run(
        self,
        batch: Sequence[Prompt],
        *,
        call: CallContext = SYSTEM,  # noqa: ARG002 - it leaves nothing
    ) -> Sequence[Output]:
        """Return the text of each prompt."""
        await asyncio.sleep(0)
        self.prompts.extend(batch)
        return [self._echo(prompt) for prompt in batch]

    async def stream(self, prompt: Prompt, *, call: CallContext = SYSTEM) -> AsyncIterator[Delta | Output]:
        """Yield the text word by word, then the output."""
        (output,) = await self.run([prompt], call=call)
        for piece in _words(output.text):
            await asyncio.sleep(0)
            yield Delta(text=piece)
        yield output

    async def close(self) -> None:
        """Set `closed`."""
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
"""Result of a scripted engine for one prompt: an output, a text, or an exception to raise."""


class ScriptedEngine:
    """An engine that returns the lines of a script, one a prompt, in order; past the end it raises `EngineBroken`.

    A stream yields the text word by word.
    """

    def __init__(self, script: Iterable[Line], *, name: str = "scripted", clearance: Label = Label.RESTRICTED) -> None:
        self.name = name
        self.clearance = clearance
        self.prompts: list[Prompt] = []
        """All prompts, in order."""
        self.closed = False
        self._script = list(script)

    @property
    def left(self) -> int:
        """Number of unused lines."""
        return len(self._script)

    async def run(
        self,
        batch: Sequence[Prompt],
        *,
        call: CallContext = SYSTEM,  # noqa: ARG002 - it leaves nothing
    ) -> Sequence[Output]:
        """Return the next line of the script for each prompt; a line that is an exception is raised."""
        await asyncio.sleep(0)
        return [self._next(prompt) for prompt in batch]

    async def stream(
        self,
        prompt: Prompt,
        *,
        call: CallContext = SYSTEM,  # noqa: ARG002 - it leaves nothing
    ) -> AsyncIterator[Delta | Output]:
        """Yield the text of the next line word by word, then its output."""
        await asyncio.sleep(0)
        output = self._next(prompt)
        for piece in _words(output.text):
            await asyncio.sleep(0)
            yield Delta(text=piece)
        yield output

    async def close(self) -> None:
        """Set `closed`."""
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
    """Return a random generator seeded by a text."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "little"))


def _words(text: str) -> list[str]:
    """Split a text into words with their white space; joined they are the text."""
    return re.findall(r"\S+\s*|\s+", text)


# --- A random LoRA adapter: it loads, switches and takes memory like a trained one.

_ALIGNMENT = 32
_U32, _F32, _TEXT = 4, 6, 8
_F16 = 1
_PROJECTIONS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def write_random_adapter(
    path: Path,
    base: Path,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    size: float = 0.01,
    seed: int = 0,
    projections: Sequence[str] = _PROJECTIONS,
) -> Path:
    """Write a GGUF adapter of random f16 matrices for a base model.

    Args:
        path: File to write.
        base: The base model's GGUF file, read for the shapes of its weights.
        rank: Of the matrices.
        alpha: The change of a weight is (alpha / rank) B A.
        size: Standard deviation of the numbers of A and B; 0 makes an adapter that changes nothing.
        seed: Of the numbers.
        projections: Which weights of each block are adapted.

    Returns:
        The path.
    """
    header, draw = read_gguf_header(base), np.random.default_rng(seed)
    tensors = {}
    for name, shape in header.tensors.items():
        if any(f".{each}.weight" in name for each in projections):
            for part, (rows, columns) in (("lora_a", (rank, shape[0])), ("lora_b", (shape[1], rank))):
                tensors[f"{name}.{part}"] = (size * draw.standard_normal((rows, columns))).astype(np.float16)
    metadata: dict[str, str | float] = {
        "general.architecture": header.architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": alpha,
    }
    path.write_bytes(gguf_bytes(metadata, tensors))
    return path


def gguf_bytes(metadata: Mapping[str, str | float], tensors: Mapping[str, np.ndarray]) -> bytes:
    """Return a GGUF file, version 3, of f16 matrices (rows, columns)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_text(key) + _value(value) for key, value in metadata.items())
    body = b""
    for name, matrix in tensors.items():
        head += _text(name) + struct.pack("<IQQIQ", 2, matrix.shape[1], matrix.shape[0], _F16, len(body))
        body += _padded(matrix.astype("<f2").tobytes())
    return _padded(head) + body


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: str | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _TEXT) + _text(value)
    return struct.pack("<If", _F32, value) if isinstance(value, float) else struct.pack("<II", _U32, value)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)


# --- Failures on demand.

P = ParamSpec("P")
R = TypeVar("R")


def fail_nth(call: Callable[P, R], n: int, error: BaseException) -> Callable[P, R]:
    """Wrap a callable, sync or async, so that its n-th call (from 1) raises `error`; other calls pass through.

    Run a scenario with n = 1, 2, 3 ... until no call fails: then every call has failed once.
    """
    if n < 1:
        raise ValueError(f"calls are counted from 1, not {n}")
    count = itertools.count(1)

    @functools.wraps(call)
    def plain(*args: P.args, **kwargs: P.kwargs) -> R:
        if next(count) == n:
            raise error
        return call(*args, **kwargs)

    @functools.wraps(call)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> object:
        if next(count) == n:
            raise error
        return await call(*args, **kwargs)  # type: ignore[misc]  # R is awaitable here

    return awaited if inspect.iscoroutinefunction(call) else plain  # type: ignore[return-value]
