"""A loaded GGUF model at work: blocking, called from worker threads."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coterie._cpu import CPU, NativeThreads, Stretch
from coterie._shared_time import Share, SharedTime
from coterie.errors import (
    CoterieError,
    EngineBroken,
    EngineRejected,
    EngineUnavailable,
    TooLong,
)
from coterie.types import Output, Prompt, Usage

from ._chat import chat_body, read_logprob
from ._choices import Node, log_likelihoods, tree_of
from ._gguf import read_gguf_header
from ._llama_load import LlamaSpec, NativeServer, load_server
from ._llama_scoring import Scoring
from ._slots import Slots
from ._text import valid_text
from ._words import cut_words

_STREAMED = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
"""In every request. Progress of the prompt comes as chunks too: each is a chance to stop."""
_MOST_TREES = 64
"""Sets of choices whose tokens are remembered."""
_numbers = itertools.count()
"""Tells the threads of one model from those of another of the same name."""


@dataclass(kw_only=True, eq=False)
class Generation:
    """One request on its way through a worker: what is asked, and what has come so far."""

    prompt: Prompt
    say: Callable[[str], None]
    """Called in the worker's thread with each piece of text."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set by whoever no longer wants it."""
    start: float = field(default_factory=time.perf_counter)
    pieces: list[str] = field(default_factory=list)
    logprobs: list[tuple[str, float]] = field(default_factory=list)
    finish: str = ""
    usage: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    share: Share | None = None
    """Of the model's CPU time, once a worker has begun."""
    told: float | None = None
    """CPU-seconds that somebody was told: those up to when it was stopped, or all."""

    def take(self, chunk: Mapping[str, Any]) -> None:
        """Keep what a chunk of the stream brings and pass its text on."""
        self.error = chunk.get("error", self.error)
        self.usage = chunk.get("usage", self.usage)
        for choice in chunk.get("choices", ()):
            self.finish = choice.get("finish_reason") or self.finish
            if text := choice.get("delta", {}).get("content"):
                self.pieces.append(text)
                self.say(text)
            if self.prompt.logprobs and (logprob := read_logprob(choice)) is not None:
                self.logprobs.append((text or "", logprob))


class LlamaModel:
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
        """The native server, loaded at the first call."""
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
        """Free the native server once nothing uses it. The model cannot be loaded again."""
        self.closing.set()
        self._forget()
        with self._lock:
            self._server = None

    def generate(self, batch: Sequence[Generation]) -> list[Output]:
        """The work of a `Batcher`: one output a generation, each generated to its end."""
        return [self._generate(generation) for generation in batch]

    def choose(self, waiting: Sequence[Generation]) -> int:
        """The first that has the adapter of one that runs: llama.cpp takes steps for one adapter at a time."""
        alike = (index for index, each in enumerate(waiting) if self._running[each.prompt.adapter])
        return next(alike, 0)

    def _generate(self, generation: Generation) -> Output:
        prompt = generation.prompt
        text = prompt.text if prompt.choices else "\n".join(message.text for message in prompt.messages)
        self._running[prompt.adapter] += 1
        own = Stretch()
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
        """CPU-seconds to tell. What a stopped one took after it was left is told of the next: it is small."""
        spent = own + (0.0 if generation.share is None else generation.share.seconds)
        with self._owing:
            if generation.told is not None:
                self._owed += spent - generation.told
                return 0.0
            return self._tell(generation, spent)

    def leave(self, generation: Generation) -> float:
        """CPU-seconds that it took up to now, for whoever stops it: nobody will hear of its output."""
        with self._owing:
            if generation.told is not None:
                return generation.told
            return self._tell(generation, 0.0 if generation.share is None else generation.share.so_far())

    def _tell(self, generation: Generation, spent: float) -> float:
        """Note what is told of it, and tell what is owed of others with it."""
        generation.told, owed, self._owed = spent, self._owed, 0.0
        return spent + owed

    def _native_seconds(self) -> float:
        """CPU-seconds of llama.cpp's threads for this model; where they cannot be told apart, the process'."""
        seconds = self._threads.seconds()
        return time.process_time() if seconds is None else seconds

    def _ask(
        self,
        door: Callable[[Mapping[str, Any], Callable[[Mapping[str, Any]], bool]], object],
        body: Mapping[str, Any],
        generation: Generation,
        has_enough: Callable[[Mapping[str, Any]], bool] = lambda _: False,
    ) -> None:
        """Send a request; its chunks go to the generation, until it is over or somebody has enough."""
        failures: list[BaseException] = []

        def on_chunk(chunk: Mapping[str, Any]) -> bool:
            """Take a chunk; True stops the generation. What it raises would be lost in native code."""
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
        """The log-likelihood of each choice."""

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
        """The tree of some choices' tokens, made when they are first seen."""
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
        """Which adapter a request wants. Without a word of it, llama.cpp would reuse what another adapter remembers."""
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
        body: dict[str, Any] = chat_body(prompt)
        if prompt.grammar is not None:
            body["grammar"] = prompt.grammar
        for message in body["messages"]:
            message["content"] = defuse(message["content"], self._control_tokens)
        return body

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
    """The text with control tokens broken by a space, so that a message cannot end itself or pose as another."""
    for token in control_tokens:
        if len(token) > 1 and token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
