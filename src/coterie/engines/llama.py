"""Generation with a GGUF model in this process, with concurrent requests in one llama.cpp context.

Each running request has a worker thread that waits for its tokens; llama.cpp batches them among its slots.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import json
import math
import os
import secrets
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, Self

from coterie.config.file import LlamaModel as ModelSection
from coterie.engines.batching import Batcher
from coterie.engines.choices import Node, Scoring, cut_words, log_likelihoods, tree_of
from coterie.engines.gguf import GGUFHeader, read_gguf_header
from coterie.engines.openai_wire import COMPACT, ChatChunks, chat_body, read_logprob
from coterie.errors import (
    ArtefactRefused,
    ConfigError,
    CoterieError,
    EngineBroken,
    EngineRejected,
    EngineUnavailable,
    ExtraMissing,
    ModelMissing,
    TooLong,
)
from coterie.runtime.cpu import CPU, CpuShare, CpuSpan, NativeThreads, SharedTime
from coterie.text.folding import valid_text
from coterie.types import SYSTEM, CallContext, Delta, Label, Output, Prompt, RelayHead, Usage

# --- OpenMP threads that spin a moment for each other and then sleep.

_SPIN_COUNT, _WAIT_POLICY = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"
SPINS = "2000"


def import_with_short_spin(name: str) -> ModuleType:
    """Import a package so that its OpenMP threads spin only for a moment while waiting for each other.

    The threads meet after every operation of a model, hundreds of times per token or training step. With OpenMP's
    default, spinning on, a waiting thread occupies the core that the awaited thread needs: beside one busy process
    llama.cpp made 6 tokens a second instead of 40, and a training step of torch took 5 s instead of 0.7. Sleeping at
    once costs a wake-up each time: 27 tokens instead of 90 on two idle cores. This setting, some 50 microseconds,
    gives 80 and 30 (`docs/history/log.md`). It is read once, on import. If one of the two variables is already set,
    it is left unchanged.
    """
    if not {_SPIN_COUNT, _WAIT_POLICY}.isdisjoint(os.environ):
        return import_module(name)
    os.environ[_SPIN_COUNT] = SPINS
    try:
        return import_module(name)
    finally:
        del os.environ[_SPIN_COUNT]


# --- Slot selection: a request takes the slot that caches most of its prefix.
#
# A request waits for a held slot that caches a much longer prefix, at most two requests a slot and two turns each.
# llama.cpp decodes for the adapter of the first busy slot; without a limit, one with another adapter would starve,
# so later requests with the first adapter wait once enough of them have overtaken it.

_MOST_OVERTAKES = 16
"""Requests with other adapters that may begin while one is in its slot."""
_WORTH_WAITING = 2_000
"""Characters of shared text from which waiting for a slot pays: some 500 tokens, as long to read as an answer takes."""
_MOST_WAITING = 2
"""Most requests that wait for one held slot."""


@dataclass(kw_only=True, eq=False)
class _Slot:
    index: int
    adapter: str | None = None
    text: str = ""
    """The text that the slot read last."""
    turn: int = 0
    """The turn of its last use; the highest is the latest."""
    overtaken: int = 0
    """Requests with other adapters that began since."""
    waiting: int = 0
    """Requests that wait for the slot because of its text."""


class Slots:
    """Assigns slots, each to one request at a time. Text read with one adapter is of no use to another."""

    def __init__(self, count: int) -> None:
        self._free = [_Slot(index=index) for index in range(count)]
        self._held: list[_Slot] = []
        self._turn = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, adapter: str | None, text: str) -> Iterator[int]:
        """Wait for a slot and yield its number, held until the context ends; starved requests go first."""
        with self._changed:
            self._wait_for_like(adapter, text)
            self._changed.wait_for(
                lambda: (
                    self._free
                    and not any(slot.adapter != adapter and slot.overtaken >= _MOST_OVERTAKES for slot in self._held)
                )
            )
            slot = max(self._free, key=lambda slot: (_shared(slot, adapter, text), -slot.turn))
            self._take(slot, adapter, text)
        try:
            yield slot.index
        finally:
            with self._changed:
                self._held.remove(slot)
                self._free.append(slot)
                self._changed.notify_all()

    def _wait_for_like(self, adapter: str | None, text: str) -> None:
        """Wait while a held slot shares so much more of the text than any free one that waiting pays."""
        for _ in range(_MOST_WAITING):
            like = max(self._held, key=lambda slot: _shared(slot, adapter, text), default=None)
            free = max((_shared(slot, adapter, text) for slot in self._free), default=0)
            if like is None or like.waiting >= _MOST_WAITING or _shared(like, adapter, text) - free < _WORTH_WAITING:
                return
            self._wait_for_turn(like)

    def _wait_for_turn(self, slot: _Slot) -> None:
        """Wait until a held slot is released."""
        turn = slot.turn
        slot.waiting += 1
        self._changed.wait_for(lambda: slot not in self._held or slot.turn != turn)
        slot.waiting -= 1

    def _take(self, slot: _Slot, adapter: str | None, text: str) -> None:
        for other in self._held:
            other.overtaken += other.adapter != adapter
        self._free.remove(slot)
        self._held.append(slot)
        self._turn += 1
        slot.adapter, slot.text, slot.turn, slot.overtaken = adapter, text, self._turn, 0


def _shared(slot: _Slot, adapter: str | None, text: str) -> int:
    """Return the number of characters that need not be read again."""
    if slot.adapter != adapter:
        return 0
    pairs = enumerate(zip(slot.text, text, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(slot.text), len(text)))


# --- The C library's heap, where many large blocks live beside small ones that come and go.

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
_LARGE = 1 << 20


def keep_large_blocks_apart() -> None:
    """Give blocks of a megabyte and more their own pages, for the lifetime of this process.

    glibc does so until it has seen a few such blocks freed. Then it keeps blocks of up to 32 MB among the small ones,
    and the gaps between them are lost: 50 adapters of 4.9 MB took 458 MB instead of 290 (docs/history/log.md). Other
    C libraries have no such setting and are left unchanged.
    """
    with suppress(AttributeError, OSError, TypeError):  # TypeError: Windows has no library of that name
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


# --- Validation of a LoRA adapter against its base model, before native code reads it.
#
# For a weight W an adapter holds two thin matrices: W x + (alpha / rank) B A x (Hu et al. 2021, "LoRA"). In a GGUF they
# are named after the weight, `.lora_a` and `.lora_b`, as `convert_lora_to_gguf.py` writes them.

_HINT = "An adapter belongs to the base model that it was trained on: train it again for this one."


def check_adapter(name: str, path: Path, base: GGUFHeader) -> None:
    """Check that a file is a complete LoRA adapter for this base model.

    Args:
        name: The adapter's name, for messages.
        path: Its GGUF file.
        base: The header of the base model's file.

    Raises:
        ArtefactRefused: the file is cut or no adapter, or was made for a model of another architecture or shape.
    """
    adapter = read_gguf_header(path)
    kind, way = adapter.metadata.get("general.type"), adapter.metadata.get("adapter.type")
    if (kind, way) != ("adapter", "lora"):
        raise ArtefactRefused(
            f"Adapter {name!r} in {str(path)!r} is a GGUF of type {kind!r} ({way!r}), not a LoRA adapter.", hint=_HINT
        )
    if fault := _misfit(adapter, base):
        raise ArtefactRefused(f"Adapter {name!r} in {str(path)!r} does not fit the base model: {fault}.", hint=_HINT)


def _misfit(adapter: GGUFHeader, base: GGUFHeader) -> str:
    """Describe what does not fit between adapter and base model; empty when everything fits."""
    if adapter.architecture != base.architecture:
        return f"it is for the architecture {adapter.architecture!r}, the base model is {base.architecture!r}"
    alpha = adapter.metadata.get("adapter.lora.alpha")
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        return f"its alpha is {alpha!r}, not a number"
    for name in adapter.tensors:
        weight, dot, part = name.rpartition(".")
        if not dot or part not in {"lora_a", "lora_b"} or weight not in base.tensors:
            return f"it has a tensor {name!r}, which belongs to no weight of the base model"
        if fault := _misshape(weight, adapter, base):
            return fault
    return ""


def _misshape(weight: str, adapter: GGUFHeader, base: GGUFHeader) -> str:
    """Describe what is wrong with the two matrices of a weight; empty when nothing is."""
    a, b = (adapter.tensors.get(f"{weight}.{part}") for part in ("lora_a", "lora_b"))
    if a is None or b is None:
        return f"{weight!r} has one matrix of two"
    wanted = base.tensors[weight]
    if not len(a) == len(b) == len(wanted) == 2 or (a[0], b[1]) != wanted or a[1] != b[0]:
        return f"its matrices {a} and {b} make no {wanted}, the shape of {weight!r}"
    return ""


# --- Loading a GGUF model and its adapters.
#
# The native library starts an HTTP listener that is not used here: it gets a Unix socket in a private folder and a
# random key, and the socket is unlinked as soon as the model is loaded.

_PROMPT_BATCH = 128
"""Prompt tokens between two points at which a request can be stopped and other slots can continue."""
_MATCHED, _GUESSED = 3, 8
"""Tokens that must have occurred before so that the next ones are guessed, and how many are guessed."""


@dataclass(frozen=True, kw_only=True)
class LlamaSpec:
    """The model to load: its file, its adapters and its settings."""

    name: str
    path: Path
    threads: int
    parallel: int
    window: int
    """Window of one slot in tokens."""
    adapters: Mapping[str, Path] = field(default_factory=dict)
    """Adapters in the order of llama.cpp's numbers."""


class NativeServer(Protocol):
    """The part of `xllamacpp.Server` that is used."""

    def handle_chat_completions(self, body: Mapping[str, Any], on_chunk: Callable[[Mapping[str, Any]], bool]) -> None:
        """Generate, calling back in this thread with each chunk until it returns True."""

    def handle_completions(
        self, body: Mapping[str, Any], on_chunk: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> Mapping[str, Any]:
        """Generate from a text without a chat template: in chunks, or the whole answer or `error` at once."""


def load_server(spec: LlamaSpec, header: GGUFHeader) -> NativeServer:
    """Load a model and its adapters.

    Raises:
        ConfigError: the window is larger than the model was made for.
        ArtefactRefused: an adapter is not one for this model, or llama.cpp cannot generate with the file.
    """
    if header.context_length is not None and spec.window > header.context_length:
        raise ConfigError(
            f"Model {spec.name!r} was made for {header.context_length} tokens; its window is to be {spec.window}.",
            hint=f"Set `window` of the model to at most {header.context_length}.",
        )
    for name, path in spec.adapters.items():
        check_adapter(name, path, header)
    if spec.adapters:
        keep_large_blocks_apart()
    native = import_with_short_spin("xllamacpp")
    with tempfile.TemporaryDirectory(prefix="coterie-") as folder:  # mode 0700, removed with the socket
        try:
            server: NativeServer = native.Server(_params(spec, native, folder))
            # Its thread must be at work before anything can end it: ended too early, it would wait forever.
            works = "error" not in server.handle_completions({"prompt": "a", "max_tokens": 1})
        except RuntimeError:
            works = False
    if not works:
        raise ArtefactRefused(
            f"llama.cpp cannot generate with {str(spec.path)!r}, a GGUF of architecture {header.architecture!r}.",
            hint="The file is damaged, its architecture is unknown to this version, or memory is short.",
        )
    return server


def _params(spec: LlamaSpec, native: ModuleType, folder: str) -> object:
    params = native.CommonParams()
    params.model.path = str(spec.path)
    for cores in (params.cpuparams, params.cpuparams_batch):  # those of a single token, those of many
        cores.n_threads, cores.poll = spec.threads, 0
    # Prompt lookup decoding: where the text repeats what was said before, as grounded replies do, several tokens
    # are checked at once. Those sampled are the same; copying takes two thirds of the time (`docs/history/log.md`).
    guess = params.speculative.ngram_simple
    guess.size_n, guess.size_m = _MATCHED, _GUESSED
    params.speculative.types = [native.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    params.lora_adapters = [_adapter(native, path) for path in spec.adapters.values()]
    for name, value in _settings(spec, folder).items():
        setattr(params, name, value)
    return params


def _adapter(native: ModuleType, path: Path) -> object:
    adapter = native.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = str(path), 0.0  # loaded, and used by those requests only that name it
    return adapter


def _settings(spec: LlamaSpec, folder: str) -> dict[str, object]:
    listener = {} if sys.platform == "win32" else {"hostnames": [f"{folder}/unused.sock"]}
    return listener | {
        "n_parallel": spec.parallel,
        "n_ctx": spec.window * spec.parallel,
        "n_batch": _PROMPT_BATCH,
        "n_ubatch": _PROMPT_BATCH,
        "n_gpu_layers": 0,
        "cache_ram_mib": 0,  # no copies of old prompts beside the slots: by default up to 8 GiB
        "cache_idle_slots": False,
        "fit_params": False,
        "warmup": False,
        "verbosity": -1,
        "sse_ping_interval": -1,
        "n_threads_http": 1,
        "ui": False,
        "endpoint_slots": False,
        "endpoint_props": False,
        "api_keys": [secrets.token_urlsafe(32)],
    }


_STREAMED = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
"""Options of every request. Progress of the prompt comes as chunks too: each is a chance to stop."""
_MOST_TREES = 64
"""Sets of choices whose tokens are cached."""
_numbers = itertools.count()
"""Numbers that distinguish the threads of models with the same name."""


@dataclass(kw_only=True, eq=False)
class Generation:
    """One request in a worker: its prompt, and the answer so far."""

    prompt: Prompt
    say: Callable[[str], None]
    """Called in the worker's thread with each piece of text."""
    hear: Callable[[Mapping[str, Any]], None] = lambda _: None
    """Called in that thread with each chunk as llama.cpp makes it."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set when the caller no longer waits."""
    start: float = field(default_factory=time.perf_counter)
    pieces: list[str] = field(default_factory=list)
    logprobs: list[tuple[str, float]] = field(default_factory=list)
    finish: str = ""
    usage: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    share: CpuShare | None = None
    """Share of the model's CPU time, once a worker has begun."""
    told: float | None = None
    """CPU-seconds that were reported to the caller: those up to the stop, or all."""

    def take(self, chunk: Mapping[str, Any]) -> None:
        """Store the content of a chunk and pass its text on."""
        self.error = chunk.get("error", self.error)
        self.usage = chunk.get("usage", self.usage)
        self.hear(chunk)
        for choice in chunk.get("choices", ()):
            self.finish = choice.get("finish_reason") or self.finish
            if text := choice.get("delta", {}).get("content"):
                self.pieces.append(text)
                self.say(text)
            if self.prompt.logprobs and (logprob := read_logprob(choice)) is not None:
                self.logprobs.append((text or "", logprob))


class LoadedLlama:
    """A GGUF model in a llama.cpp context of `parallel` slots of `window` tokens each."""

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        threads: int,
        parallel: int,
        window: int,
        adapters: Mapping[str, Path] | None = None,
    ) -> None:
        self.name = name
        self.adapters = dict(adapters or {})
        self.closing = threading.Event()
        """Once set, nothing is loaded or generated any more."""
        self._spec = LlamaSpec(
            name=name, path=path, threads=threads, parallel=parallel, window=window, adapters=self.adapters
        )
        self._lock = threading.Lock()
        self._server: NativeServer | None = None
        self._control_tokens: tuple[str, ...] = ()
        self._end_of_turn: int | None = None
        self._trees: dict[tuple[str, ...], Node] = {}
        self._slots = Slots(parallel)
        self._running: Counter[str | None] = Counter()
        self._threads = NativeThreads(f"cot-{next(_numbers)}-{name}")
        self._busy = SharedTime(threads, cpu=self._native_seconds)
        self._owed, self._owing = 0.0, threading.Lock()
        self._forget = CPU.add(self._busy.total)

    def load(self) -> NativeServer:
        """Return the native server, loaded at the first call."""
        with self._lock:
            if self.closing.is_set():
                raise self._closed()
            if self._server is None:
                header = read_gguf_header(self._spec.path)
                self._control_tokens, self._end_of_turn = header.control_tokens, header.end_of_turn
                with self._threads.born():
                    self._server = load_server(self._spec, header)
            return self._server

    def unload(self) -> None:
        """Free the native server when nothing uses it any more. The model cannot be loaded again."""
        self.closing.set()
        self._forget()
        with self._lock:
            self._server = None

    def generate(self, batch: Sequence[Generation]) -> list[Output]:
        """Generate each item to its end and return one output per item: the work of a `Batcher`."""
        return [self._generate(generation) for generation in batch]

    def choose(self, waiting: Sequence[Generation]) -> int:
        """Choose the first with the adapter of a running one: llama.cpp takes steps for one adapter at a time."""
        alike = (index for index, waiter in enumerate(waiting) if self._running[waiter.prompt.adapter])
        return next(alike, 0)

    def _generate(self, generation: Generation) -> Output:
        prompt = generation.prompt
        text = prompt.text if prompt.choices else "\n".join(message.text for message in prompt.messages)
        self._running[prompt.adapter] += 1
        own = CpuSpan()
        try:
            server = self.load()
            with self._slots.hold(prompt.adapter, text) as slot, self._busy.share() as share, own:
                generation.share = share
                common = {"id_slot": slot, **self._adapted(prompt.adapter), **_STREAMED}
                if prompt.choices:
                    output = self._score(server, generation, common)
                else:
                    self._ask(server.handle_chat_completions, self._body(prompt) | common, generation)
                    output = self._output(generation)
        finally:
            self._running[prompt.adapter] -= 1
            spent = self._settle(generation, own.cpu_seconds)
        return replace(output, usage=replace(output.usage, cpu_seconds=spent))

    def _settle(self, generation: Generation, own: float) -> float:
        """Return the CPU-seconds to report; those of a stopped generation after its end are added to the next."""
        spent = own + (0.0 if generation.share is None else generation.share.seconds)
        with self._owing:
            if generation.told is not None:
                self._owed += spent - generation.told
                return 0.0
            return self._tell(generation, spent)

    def leave(self, generation: Generation) -> float:
        """Return the CPU-seconds so far, for a caller that stops the generation and does not get its output."""
        with self._owing:
            if generation.told is not None:
                return generation.told
            return self._tell(generation, 0.0 if generation.share is None else generation.share.so_far())

    def _tell(self, generation: Generation, spent: float) -> float:
        """Record the reported seconds, and add the seconds that are owed for others."""
        generation.told, owed, self._owed = spent, self._owed, 0.0
        return spent + owed

    def _native_seconds(self) -> float:
        """Return CPU-seconds of llama.cpp's threads for this model, or the process' where they cannot be told apart."""
        seconds = self._threads.seconds()
        return time.process_time() if seconds is None else seconds

    def _ask(
        self,
        door: Callable[[Mapping[str, Any], Callable[[Mapping[str, Any]], bool]], object],
        body: Mapping[str, Any],
        generation: Generation,
        has_enough: Callable[[Mapping[str, Any]], bool] = lambda _: False,
    ) -> None:
        """Send a request; its chunks go to the generation, until it is over or `has_enough` returns True."""
        failures: list[BaseException] = []

        def on_chunk(chunk: Mapping[str, Any]) -> bool:
            """Read a chunk; True stops the generation. An exception would be lost in native code, so it is kept."""
            try:
                generation.take(chunk)
                enough = has_enough(chunk)
            except BaseException as error:  # noqa: BLE001 - raised again below, outside native code
                failures.append(error)
            return bool(failures) or enough or self._is_over(generation)

        try:
            door(body, on_chunk)
        except (ValueError, TypeError) as error:
            raise EngineRejected(f"Model {self.name!r} refused the prompt: {error}", engine=self.name) from error
        if failures:
            raise failures[0]
        if generation.error is not None:
            raise self._refusal(generation.error)
        if self._is_over(generation):
            raise self._closed()

    def _score(self, server: NativeServer, generation: Generation, common: Mapping[str, Any]) -> Output:
        """Return the log-likelihood of each choice."""

        def ask(body: Mapping[str, Any], has_enough: Callable[[Mapping[str, Any]], bool]) -> None:
            self._ask(server.handle_completions, {**body, **common}, generation, has_enough)

        prompt = generation.prompt
        scoring = Scoring(ask, defuse(valid_text(prompt.text), self._control_tokens))
        try:
            scores = log_likelihoods(self._tree(prompt.choices, scoring), scoring)
        except ValueError as error:
            raise EngineRejected(f"Model {self.name!r} cannot score the choices: {error}.", engine=self.name) from error
        milliseconds = (time.perf_counter() - generation.start) * 1000
        usage = Usage(
            tokens_in=scoring.tokens_in,
            tokens_cached=scoring.tokens_cached,
            tokens_out=scoring.tokens_out,
            milliseconds=milliseconds,
        )
        return Output(scores=scores, usage=usage)

    def _tree(self, choices: tuple[str, ...], scoring: Scoring) -> Node:
        """Return the tree of the choices' tokens, made when they are first seen."""
        if choices not in self._trees:
            if self._end_of_turn is None:
                raise ValueError("its file does not say which token ends an answer")
            end = self._end_of_turn
            texts = [valid_text(choice) for choice in choices]
            plain = cut_words(texts, read_gguf_header(self._spec.path))
            tree = tree_of([(*(plain.get(text) or scoring.tokens_of(text)), end) for text in texts])
            if len(self._trees) >= _MOST_TREES:
                self._trees.clear()
            self._trees[choices] = tree
        return self._trees[choices]

    def _adapted(self, adapter: str | None) -> dict[str, object]:
        """Return the request's adapter setting. Without it, llama.cpp would reuse the cache of another adapter."""
        if not self.adapters:
            return {}
        index = 0 if adapter is None else list(self.adapters).index(adapter)
        return {"lora": [{"id": index, "scale": 0.0 if adapter is None else 1.0}]}

    def _is_over(self, generation: Generation) -> bool:
        # An exiting interpreter must not leave a thread inside native code: it would crash there.
        return generation.stopped.is_set() or self.closing.is_set() or not threading.main_thread().is_alive()

    def _output(self, generation: Generation) -> Output:
        if generation.usage is None or not generation.finish:
            raise EngineBroken(f"Model {self.name!r} ended without a finish reason.", engine=self.name)
        tokens_in, tokens_out = generation.usage["prompt_tokens"], generation.usage["completion_tokens"]
        cached = (generation.usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        cut = generation.finish == "length" or tokens_in + tokens_out >= self._spec.window
        milliseconds = (time.perf_counter() - generation.start) * 1000
        return Output(
            text="".join(generation.pieces),
            finish="length" if cut else "stop",
            logprob=sum(logprob for _, logprob in generation.logprobs) if generation.logprobs else None,
            logprobs=tuple(generation.logprobs),
            usage=Usage(tokens_in=tokens_in, tokens_cached=cached, tokens_out=tokens_out, milliseconds=milliseconds),
        )

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, Any] = chat_body(prompt) if prompt.verbatim is None else json.loads(prompt.verbatim)
        if prompt.json_schema is not None and COMPACT in prompt.json_schema:
            body["grammar"] = f"%llguidance {{}}\nstart: %json {json.dumps(prompt.json_schema)}"
            body.pop("response_format", None)
        if prompt.grammar is not None:
            body["grammar"] = prompt.grammar
        body["messages"] = self._defused(body["messages"])
        return body

    def _defused(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        """Return a JSON value whose texts have no control tokens, at any depth."""
        if isinstance(value, str):
            return defuse(value, self._control_tokens)
        if isinstance(value, list):
            return [self._defused(item) for item in value]
        return {name: self._defused(item) for name, item in value.items()} if isinstance(value, dict) else value

    def _refusal(self, error: Mapping[str, Any]) -> CoterieError:
        if error.get("type") == "exceed_context_size_error":
            return TooLong(
                f"The prompt has {error.get('n_prompt_tokens')} tokens; the window of model {self.name!r} "
                f"is {self._spec.window}.",
                hint="Send less text, or raise `window` of the model in coterie.toml.",
            )
        kind = EngineRejected if error.get("code") == 400 else EngineBroken
        return kind(f"Model {self.name!r} failed: {error.get('message')}", engine=self.name)

    def _closed(self) -> EngineUnavailable:
        return EngineUnavailable(f"Model {self.name!r} is closed.", engine=self.name)


def defuse(text: str, control_tokens: Sequence[str]) -> str:
    """Break control tokens in a text by a space, so that a message cannot end itself or pose as another."""
    for token in control_tokens:
        if len(token) > 1 and token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


# --- Generation with a GGUF model in this process, with concurrent requests in one llama.cpp context.

_WINDOW_STEP = 256
"""Multiple in tokens to which llama.cpp rounds up a slot's window."""


class LlamaEngine:
    """Runs a GGUF model in this process, with or without one of its LoRA adapters, as each request specifies.

    The model is loaded by `load` or by the first request.

    Text is never cut to fit: a prompt that does not fit the window is `TooLong`, an answer that reaches its
    end has `finish == "length"`. Control tokens inside a message are broken by a space.

    CPU-seconds are those of llama.cpp's own threads, divided evenly among the requests that ran at the same time,
    plus those of the thread that waits for a request's pieces. Outside Linux llama.cpp's threads cannot be told
    apart: there the figure is an upper bound, the CPU time of the whole process meanwhile, at most `threads` cores of
    it.
    """

    clearance = Label.RESTRICTED

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        adapters: Mapping[str, Path] | None = None,
        threads: int = 2,
        parallel: int = 2,
        window: int = 2048,
        max_waiting: int = 64,
    ) -> None:
        """Check the arguments as far as possible without loading.

        Args:
            name: its key in the ledger.
            path: the GGUF file.
            adapters: GGUF files of LoRA adapters for it, by the name in a prompt's `adapter`.
            threads: CPU threads for generation.
            parallel: requests generated concurrently.
            window: tokens of prompt and answer of one request, rounded up to a multiple of 256.
            max_waiting: requests that may wait for a slot; a further one is `Overloaded`.
        """
        if find_spec("xllamacpp") is None:
            raise ExtraMissing(
                f"Model {name!r} needs the package 'xllamacpp', which is not installed.",
                hint="Install it: pip install 'coterie[llama]'",
            )
        if not path.is_file():
            raise ModelMissing(
                f"Model {name!r} is to be at {str(path)!r}, where there is no file.",
                hint="`coterie models list` shows the models that `coterie models pull NAME` can fetch.",
            )
        for adapter, file in (adapters or {}).items():
            if not file.is_file():
                raise ModelMissing(
                    f"Adapter {adapter!r} of model {name!r} is to be at {str(file)!r}, where there is no file.",
                    hint=f"Run: coterie train {adapter}",
                )
        self.name = name
        self.window = -(-window // _WINDOW_STEP) * _WINDOW_STEP
        self._parallel = parallel
        self._model = LoadedLlama(name, path, threads=threads, parallel=parallel, window=self.window, adapters=adapters)
        weakref.finalize(self, self._model.unload)  # made before the batcher's: at exit the last made runs first
        self._batcher: Batcher[Generation, Output] = Batcher(
            self._model.generate,
            engine=name,
            max_batch=1,
            max_waiting=max_waiting,
            workers=parallel,
            choose=self._model.choose if adapters else None,
        )

    @classmethod
    def configured(
        cls, name: str, model: ModelSection, path: Path, *, adapters: Mapping[str, Path] | None = None
    ) -> Self:
        """Make the engine of a `[models]` entry whose file was found. Raises what the constructor raises."""
        return cls(name, path, adapters=adapters, threads=model.threads, parallel=model.parallel, window=model.window)

    async def load(self) -> None:
        """Load the model now, not at the first request.

        Raises:
            ArtefactRefused: the file is no complete model, llama.cpp cannot read it, or an adapter is not one for it.
            ConfigError: the window is larger than the model was made for.
        """
        await asyncio.to_thread(self._model.load)

    async def warm(self, prompt: Prompt) -> None:
        """Load the model, and read a prompt into every slot: later prompts with the same beginning start sooner."""
        await self.run([replace(prompt, max_tokens=1)] * self._parallel)

    async def run(
        self,
        batch: Sequence[Prompt],
        *,
        call: CallContext = SYSTEM,  # noqa: ARG002 - it runs here
    ) -> Sequence[Output]:
        """Return one text per prompt, or the scores of its choices.

        Raises `TooLong`, `Overloaded` or an `EngineError`.
        """
        generations = [self._generation(prompt) for prompt in batch]
        try:
            return await self._batcher.run(generations)
        finally:
            for generation in generations:
                generation.stopped.set()

    async def relay(
        self,
        prompt: Prompt,
        *,
        path: str,
        call: CallContext = SYSTEM,  # noqa: ARG002 - it runs here
    ) -> AsyncGenerator[RelayHead | bytes | Output, None]:
        """Run a chat request in OpenAI's format (`prompt.verbatim`) like a server. Raises what `run` raises."""
        if prompt.verbatim is None or path != "/chat/completions":
            raise EngineRejected(f"Model {self.name!r} answers chat requests only, not {path!r}.", engine=self.name)
        loop, events = asyncio.get_running_loop(), asyncio.Queue[bytes | None]()
        generation = self._generation(prompt)
        wire = ChatChunks(self.name, json.loads(prompt.verbatim))
        generation.hear = lambda chunk: _tell(loop, events, wire.take(chunk))  # in the worker's thread
        task = asyncio.create_task(self._finish(generation, events))
        try:
            begun = False
            while (data := await events.get()) is not None:
                if not begun:
                    yield RelayHead(status=200, headers={"content-type": "text/event-stream; charset=utf-8"})
                begun = True
                yield data
            output = await task
            if not begun:
                yield RelayHead(status=200, headers={"content-type": "application/json"})
            yield wire.end()
            yield output
        finally:
            generation.stopped.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def stream(self, prompt: Prompt, *, call: CallContext = SYSTEM) -> AsyncIterator[Delta | Output]:
        """Yield pieces as they are generated, then the `Output`. Raises what `run` raises."""
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        generation = self._generation(prompt, say=lambda text: _tell(loop, pieces, text))
        task = asyncio.create_task(self._finish(generation, pieces))
        try:
            while (piece := await pieces.get()) is not None:
                yield Delta(text=piece)
            yield await task
        finally:
            if not task.done():
                call.charge(self.name, Usage(cpu_seconds=self._model.leave(generation)))
            generation.stopped.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Stop running requests, refuse waiting ones, and free the model."""
        self._model.closing.set()
        await self._batcher.close()
        await asyncio.to_thread(self._model.unload)

    def _generation(self, prompt: Prompt, *, say: Callable[[str], None] = lambda _: None) -> Generation:
        if not (prompt.text if prompt.choices else prompt.messages):
            wanted = "text to score choices after" if prompt.choices else "messages"
            raise EngineRejected(f"Model {self.name!r} was given a prompt without {wanted}.", engine=self.name)
        if prompt.adapter is not None and prompt.adapter not in self._model.adapters:
            adapters = sorted(self._model.adapters)
            raise EngineRejected(
                f"Model {self.name!r} has no adapter {prompt.adapter!r}: {adapters}.", engine=self.name
            )
        return Generation(prompt=prompt, say=say)

    async def _finish(self, generation: Generation, pieces: asyncio.Queue[Any]) -> Output:
        """Return the generation's output; in every case, None ends its pieces."""
        try:
            (output,) = await self._batcher.run([generation])
            return output
        finally:
            pieces.put_nowait(None)


def _tell(loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[Any], piece: object) -> None:
    """Pass a non-empty piece to the waiting event loop, from another thread."""
    if piece:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)
