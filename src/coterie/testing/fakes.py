"""Fakes that ship with the package: engines without weights, a clock, an empty trace, and a retriever in memory."""

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
from coterie.types import SYSTEM, CallContext, Delta, Label, Output, Passage, Prompt, Route, Trace, Usage

# --- Canaries: values that must not get out, planted in texts, and looked for in every byte that a server received.

_KEY = 10
"""Letters and digits of a canary by which it is looked for first; what is shorter could be there by chance."""
_PLAIN = re.compile(rb"[^a-z0-9]+")
_LETTERS = "bcdfghjkmnpqrtvwxz"


@dataclass(frozen=True, kw_only=True)
class Canary:
    """One value."""

    text: str
    label: Label
    """Whoever has a lower clearance must not receive it."""
    kind: str = ""
    """Of personal data or a secret; empty for a word that only its text's label makes sensitive."""

    @property
    def plain(self) -> bytes:
        """Its letters and digits, in lower case: spaces, hyphens, quotes and escapes hide nothing."""
        return _plain(self.text.encode())


@dataclass(kw_only=True)
class Canaries:
    """Makes canaries, no two alike, and finds them."""

    seed: int
    made: list[Canary] = field(default_factory=list)
    """In their order; one may be put in another's place that has another label."""

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)  # noqa: S311 - no secret: reproducible
        self._places: dict[bytes, list[int]] = {}  # in `made`, by the key

    def word(self, label: Label) -> Canary:
        """A word that nobody uses, in a text of this label."""
        return self._keep(Canary(text=self._letters(12), label=label))

    def personal(self, kind: str | None = None) -> Canary:
        """Personal data of a kind: `EMAIL`, `IBAN`, `CARD`; any of them by default."""
        kind = kind or self._draw.choice(["EMAIL", "IBAN", "CARD"])
        make = {"EMAIL": self._email, "IBAN": self._iban, "CARD": self._card}[kind]
        return self._keep(Canary(text=make(), label=Label.CONFIDENTIAL, kind=kind))

    def secret(self) -> Canary:
        """An access key of a kind that everybody's detector knows."""
        digits = "".join(self._draw.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))
        return self._keep(Canary(text=f"AKIA{digits}", label=Label.RESTRICTED, kind="SECRET"))

    def found(self, received: bytes, *, clearance: Label) -> list[Canary]:
        """The canaries above a clearance that stand in what was received, in any case and with anything between."""
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
        """A German one with its check digits (ISO 13616), by chance in groups of four."""
        account = f"{self._draw.randrange(10**18):018d}"
        check = 98 - int(account + "131400") % 97
        whole = f"DE{check:02d}{account}"
        return " ".join(re.findall(".{1,4}", whole)) if self._draw.random() < 0.5 else whole

    def _card(self) -> str:
        """A number with its check digit (ISO/IEC 7812, Luhn), by chance in groups of four."""
        digits = f"4{self._draw.randrange(10**14):014d}"
        doubled = [int(d) * (2 - place % 2) for place, d in enumerate(digits)]
        total = sum(d - 9 if d > 9 else d for d in doubled)
        whole = f"{digits}{-total % 10}"
        return " ".join(re.findall(".{1,4}", whole)) if self._draw.random() < 0.5 else whole


def _plain(text: bytes) -> bytes:
    return _PLAIN.sub(b"", text.lower())


# --- Engines without weights.


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

    async def run(
        self,
        batch: Sequence[Prompt],
        *,
        call: CallContext = SYSTEM,  # noqa: ARG002 - it leaves nothing
    ) -> Sequence[Output]:
        """Each prompt's own text."""
        await asyncio.sleep(0)
        self.prompts.extend(batch)
        return [self._echo(prompt) for prompt in batch]

    async def stream(self, prompt: Prompt, *, call: CallContext = SYSTEM) -> AsyncIterator[Delta | Output]:
        """The text word by word, then the output."""
        (output,) = await self.run([prompt], call=call)
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

    async def run(
        self,
        batch: Sequence[Prompt],
        *,
        call: CallContext = SYSTEM,  # noqa: ARG002 - it leaves nothing
    ) -> Sequence[Output]:
        """The next line of the script for each prompt; one that is an exception is raised."""
        await asyncio.sleep(0)
        return [self._next(prompt) for prompt in batch]

    async def stream(
        self,
        prompt: Prompt,
        *,
        call: CallContext = SYSTEM,  # noqa: ARG002 - it leaves nothing
    ) -> AsyncIterator[Delta | Output]:
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


# --- A LoRA adapter without training: what loads, switches and takes memory as a trained one does.

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
        path: Where to.
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
    """A GGUF file, version 3, of f16 matrices (rows, columns)."""
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
    """The same callable, sync or async, whose n-th call (from 1) raises `error` instead of doing anything.

    Run a scenario with n = 1, 2, 3 ... until it goes through untouched: every place where it can fail has
    failed once.
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


# --- Clock.


class FakeClock:
    """Call it for the time. `advance` moves it; `sleep` moves it too, and returns at once."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self.now = start
        self.slept: list[float] = []
        """Every sleep that was asked for, in order."""

    def __call__(self) -> float:
        """Give the present time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        """In place of `asyncio.sleep`: the time passes, but nobody waits for it."""
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


# --- An empty trace.

_BARE = Trace(
    id="t1",
    time=1.0,
    tenant="default",
    session=None,
    label=Label.INTERNAL,
    status="accepted",
    route=Route(parts=(), reason=""),
    findings=(),
    views=(),
    verdicts=(),
    stages=(),
    steps=(),
    usage=Usage(),
    counterfactual_cost=None,
)


def make_trace(**changes: Any) -> Trace:  # noqa: ANN401 - the fields of a trace
    """A bare trace of the tenant `default` with these fields changed."""
    return replace(_BARE, **changes)


# --- Retriever.

_WORD = re.compile(r"\w+")
_SATURATION, _LENGTH = 1.2, 0.75


class FakeRetriever:
    """Finds passages by BM25 (Robertson and Zaragoza 2009), among those that the asker may see only.

    Passages that share no word with the query are not found. `tenants` names the one tenant who may see a document.
    """

    def __init__(
        self, passages: Sequence[Passage], *, shelf: str = "shelf", tenants: dict[str, str] | None = None
    ) -> None:
        self.passages = [replace(passage, shelf=shelf) for passage in passages]
        self.queries: list[str] = []
        """Every query it was given."""
        self.closed = False
        self._tenants = tenants or {}
        self._words = [Counter(_WORD.findall(f"{each.heading} {each.text}".casefold())) for each in self.passages]
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
        """At most `k` passages, best first."""
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
        """Note that it was closed."""
        self.closed = True

    def _scores(self, query: str, seen: set[int]) -> dict[int, float]:
        mean = sum(self._words[number].total() for number in seen) / max(len(seen), 1)
        scores: dict[int, float] = defaultdict(float)
        for word in set(_WORD.findall(query.casefold())):
            holding = self._postings.get(word, [])
            if len(seen) < len(holding):
                found = [number for number in seen if word in self._words[number]]
            else:
                found = [number for number in holding if number in seen]
            rarity = log(1 + (len(seen) - len(found) + 0.5) / (len(found) + 0.5))
            for number in found:
                times, length = self._words[number][word], self._words[number].total()
                norm = _SATURATION * (1 - _LENGTH + _LENGTH * length / mean)
                scores[number] += rarity * times * (1 + _SATURATION) / (times + norm)
        return scores
