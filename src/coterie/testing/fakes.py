"""Fakes that ship with the package: canaries, engines without weights, a clock, a trace, a retriever in memory."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
import itertools
import random
import re
import struct
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from coterie.engines.gguf import read_gguf_header
from coterie.errors import EngineBroken
from coterie.types import (
    SYSTEM,
    CallContext,
    Delta,
    Finding,
    Label,
    Output,
    Passage,
    Prompt,
    Reason,
    Route,
    Trace,
    Usage,
    worded,
)

# --- Canaries: values that must not leave, planted in texts and searched for in every byte that a server received.

_KEY = 10
"""Letters and digits of a canary that are searched for first; fewer could occur by chance."""
_PLAIN = re.compile(rb"[^a-z0-9]+")
_LETTERS = "bcdfghjkmnpqrtvwxz"


@dataclass(frozen=True, kw_only=True)
class Canary:
    """One planted value."""

    text: str
    label: Label
    """Least clearance of a receiver that may get the value."""
    kind: str = ""
    """Kind of personal data, or `SECRET`; empty for a word that is sensitive only by the label of its text."""

    @property
    def plain(self) -> bytes:
        """Letters and digits of the value in lower case, so that spaces, hyphens, quotes and escapes hide nothing."""
        return _plain(self.text.encode())


@dataclass(kw_only=True)
class Canaries:
    """Makes distinct canaries and finds them."""

    seed: int
    made: list[Canary] = field(default_factory=list)
    """All canaries, in order. A test may replace one by a canary with another label."""

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)  # noqa: S311 - no secret: reproducible
        self._places: dict[bytes, list[int]] = {}  # in `made`, by the key

    def word(self, label: Label) -> Canary:
        """Make a random word for a text of this label."""
        return self._keep(Canary(text=self._letters(12), label=label))

    def personal(self, kind: str | None = None) -> Canary:
        """Make personal data of a kind: `EMAIL`, `IBAN` or `CARD`; a random one by default."""
        kind = kind or self._draw.choice(["EMAIL", "IBAN", "CARD"])
        make = {"EMAIL": self._email, "IBAN": self._iban, "CARD": self._card}[kind]
        return self._keep(Canary(text=make(), label=Label.CONFIDENTIAL, kind=kind))

    def secret(self) -> Canary:
        """Make an access key of a form that every detector knows."""
        digits = "".join(self._draw.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))
        return self._keep(Canary(text=f"AKIA{digits}", label=Label.RESTRICTED, kind="SECRET"))

    def found(self, received: bytes, *, clearance: Label) -> list[Canary]:
        """Return the canaries above a clearance in received bytes, in any case and with any signs in between."""
        plain = _plain(received)
        places = (at for at in range(len(plain) - _KEY + 1) if plain[at : at + _KEY] in self._places)
        near = ((at, self.made[number]) for at in places for number in self._places[plain[at : at + _KEY]])
        return [canary for at, canary in near if canary.label > clearance and plain.startswith(canary.plain, at)]

    def _keep(self, canary: Canary) -> Canary:
        self._places.setdefault(canary.plain[:_KEY], []).append(len(self.made))
        self.made.append(canary)
        return canary

    def _letters(self, count: int) -> str:
        return "".join(self._draw.choice(_LETTERS) for _ in range(count))

    def _email(self) -> str:
        return f"{self._letters(6)}.{self._letters(8)}@{self._letters(5)}.{self._draw.choice(['com', 'org', 'de'])}"

    def _iban(self) -> str:
        """Return a German IBAN with its check digits (ISO 13616); half of them in groups of four."""
        account = f"{self._draw.randrange(10**18):018d}"
        check = 98 - int(account + "131400") % 97
        whole = f"DE{check:02d}{account}"
        return " ".join(re.findall(".{1,4}", whole)) if self._draw.random() < 0.5 else whole

    def _card(self) -> str:
        """Return a card number with its check digit (ISO/IEC 7812, Luhn); half of them in groups of four."""
        digits = f"4{self._draw.randrange(10**14):014d}"
        doubled = [int(d) * (2 - index % 2) for index, d in enumerate(digits)]
        total = sum(d - 9 if d > 9 else d for d in doubled)
        whole = f"{digits}{-total % 10}"
        return " ".join(re.findall(".{1,4}", whole)) if self._draw.random() < 0.5 else whole


def _plain(text: bytes) -> bytes:
    return _PLAIN.sub(b"", text.lower())


# --- Engines without weights.


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
        rank: Rank of the matrices.
        alpha: The change of a weight is (alpha / rank) B A.
        size: Standard deviation of the numbers of A and B; 0 makes an adapter that changes nothing.
        seed: Seed of the numbers.
        projections: Which weights of each block are adapted.

    Returns:
        The path.
    """
    header, draw = read_gguf_header(base), np.random.default_rng(seed)
    tensors = {}
    for name, shape in header.tensors.items():
        if any(f".{projection}.weight" in name for projection in projections):
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


# --- A clock that a test moves, and a trace with default values.


class FakeClock:
    """A clock for tests: call it for the time, in seconds. `advance` and `sleep` move it; `sleep` does not wait."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self.now = start
        self.slept: list[float] = []
        """Seconds of all calls of `sleep`, in order."""

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        """Move the clock forward without waiting; a replacement of `asyncio.sleep`."""
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


# --- A trace in which nothing happened, to be changed where a test says something.

_BARE = Trace(
    id="t1",
    time=1.0,
    tenant="default",
    session=None,
    label=Label.INTERNAL,
    status="accepted",
    route=Route(parts=(), reason=Reason("route.not_yet")),
    findings=(),
    views=(),
    verdicts=(),
    stages=(),
    steps=(),
    usage=Usage(),
    counterfactual_cost=None,
)


def make_trace(**changes: Any) -> Trace:  # noqa: ANN401 - the fields of a trace
    """Return an empty trace of the tenant `default` with these fields changed."""
    return replace(_BARE, **changes)


def make_finding(value: Any, **changes: Any) -> Finding:  # noqa: ANN401 - the fields of a finding
    """Return an accepted finding of the specialist `triage` with this value and these fields changed."""
    text = "" if value is None else str(value)
    usual = {"specialist": "triage", "text": text, "confidence": 0.9, "accepted": True, "reason": worded("")}
    return Finding(value=value, **{**usual, **changes})


# --- Retriever in memory.

_WORD = re.compile(r"\w+")
_SATURATION, _LENGTH = 1.2, 0.75


class FakeRetriever:
    """Ranks the passages that the caller may see by BM25 (Robertson and Zaragoza 2009).

    Passages that share no word with the query are not found. `tenants` maps a document to the only tenant that may see
    it.
    """

    def __init__(
        self, passages: Sequence[Passage], *, index: str = "index", tenants: dict[str, str] | None = None
    ) -> None:
        self.passages = [replace(passage, index=index) for passage in passages]
        self.queries: list[str] = []
        """All queries, in order."""
        self.closed = False
        self._tenants = tenants or {}
        self._words = [
            Counter(_WORD.findall(f"{passage.heading} {passage.text}".casefold())) for passage in self.passages
        ]
        self._postings: dict[str, list[int]] = defaultdict(list)
        self._places: dict[str | None, list[int]] = defaultdict(list, {None: list(range(len(self.passages)))})
        for number, words in enumerate(self._words):
            self._places[self.passages[number].document].append(number)
            for word in words:
                self._postings[word].append(number)

    async def search(
        self,
        query: str,
        *,
        k: int,
        clearance: Label,
        tenant: str = "default",
        vector: np.ndarray | None = None,  # noqa: ARG002 - it knows words only
        document: str | None = None,
        call: CallContext = SYSTEM,  # noqa: ARG002 - it takes nothing
    ) -> Sequence[Passage]:
        """Return at most `k` passages, best first."""
        await asyncio.sleep(0)
        self.queries.append(query)
        seen = {
            number
            for number in self._places.get(document, ())
            if self.passages[number].label <= clearance
            and self._tenants.get(self.passages[number].document, tenant) == tenant
        }
        scores = self._scores(query, seen)
        best = sorted(scores, key=lambda number: (-scores[number], number))[:k]
        return [replace(self.passages[number], score=scores[number]) for number in best]

    async def close(self) -> None:
        """Set `closed`."""
        self.closed = True

    def _scores(self, query: str, seen: set[int]) -> dict[int, float]:
        mean = sum(self._words[number].total() for number in seen) / max(len(seen), 1)
        scores: dict[int, float] = defaultdict(float)
        for word in set(_WORD.findall(query.casefold())):
            holding = self._postings.get(word, [])
            if len(seen) < len(holding):
                holders = [number for number in seen if word in self._words[number]]
            else:
                holders = [number for number in holding if number in seen]
            rarity = log(1 + (len(seen) - len(holders) + 0.5) / (len(holders) + 0.5))
            for number in holders:
                times, length = self._words[number][word], self._words[number].total()
                norm = _SATURATION * (1 - _LENGTH + _LENGTH * length / mean)
                scores[number] += rarity * times * (1 + _SATURATION) / (times + norm)
        return scores
