"""The one module that speaks to llama.cpp: blocking, called from worker threads.

The native library starts an HTTP listener that nothing here uses. It is put on a Unix socket in a private
folder, asks for a random key, and the socket is unlinked as soon as the model is loaded: nobody reaches it.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, Self

from coterie.errors import (
    ArtefactRefused,
    ConfigError,
    CoterieError,
    EngineBroken,
    EngineRejected,
    EngineUnavailable,
    TooLong,
)
from coterie.types import Output, Prompt, Usage

from ._chat import chat_body, read_logprob
from ._gguf import read_gguf_header
from ._openmp import import_with_short_spin

_PROMPT_BATCH = 128
"""Prompt tokens between two chances to stop a request and to let the other slots go on."""
_MATCHED, _GUESSED = 3, 8
"""Tokens that must have occurred before for the next ones there to be guessed, and how many are."""


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
    logprobs: list[float] = field(default_factory=list)
    finish: str = ""
    usage: Mapping[str, int] | None = None
    error: Mapping[str, Any] | None = None

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
                self.logprobs.append(logprob)


class NativeServer(Protocol):
    """The part of `xllamacpp.Server` that is used."""

    def handle_chat_completions(self, body: Mapping[str, Any], on_chunk: Callable[[Mapping[str, Any]], bool]) -> None:
        """Generate, calling back in this thread with each chunk until it returns True."""

    def handle_completions(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Generate from a text without a chat template; the whole answer, or an `error`."""


class LlamaModel:
    """A GGUF model in a llama.cpp context of `parallel` slots of `window` tokens each."""

    def __init__(self, name: str, path: Path, *, threads: int, parallel: int, window: int) -> None:
        self.name = name
        self.path = path
        self.closing = threading.Event()
        """Once set, nothing is loaded or generated any more."""
        self._threads = threads
        self._parallel = parallel
        self._window = window
        self._lock = threading.Lock()
        self._server: NativeServer | None = None
        self._control_tokens: tuple[str, ...] = ()
        self._busy = SharedTime(threads)

    def load(self) -> NativeServer:
        """The native server, loaded at the first call."""
        with self._lock:
            if self.closing.is_set():
                raise self._closed()
            if self._server is None:
                self._server = self._load()
            return self._server

    def unload(self) -> None:
        """Free the native server once nothing uses it. The model cannot be loaded again."""
        self.closing.set()
        with self._lock:
            self._server = None

    def generate(self, batch: Sequence[Generation]) -> list[Output]:
        """The work of a `Batcher`: one output a generation, each generated to its end."""
        return [self._generate(generation) for generation in batch]

    def _generate(self, generation: Generation) -> Output:
        server = self.load()
        body = self._body(generation.prompt)
        failures: list[BaseException] = []

        def on_chunk(chunk: Mapping[str, Any]) -> bool:
            """Take a chunk; True stops the generation. What it raises would be lost in native code."""
            try:
                generation.take(chunk)
            except BaseException as error:  # noqa: BLE001 - raised again below, outside native code
                failures.append(error)
            return bool(failures) or self._is_over(generation)

        with self._busy.share() as share:
            try:
                server.handle_chat_completions(body, on_chunk)
            except (ValueError, TypeError) as error:
                raise EngineRejected(f"Model {self.name!r} refused the prompt: {error}", engine=self.name) from error
        if failures:
            raise failures[0]
        return self._output(generation, share.seconds)

    def _is_over(self, generation: Generation) -> bool:
        # An exiting interpreter must not leave a thread inside native code: it would crash there.
        return generation.stopped.is_set() or self.closing.is_set() or not threading.main_thread().is_alive()

    def _output(self, generation: Generation, cpu_seconds: float) -> Output:
        if generation.error is not None:
            raise self._refusal(generation.error)
        if self._is_over(generation):
            raise self._closed()
        if generation.usage is None or not generation.finish:
            raise EngineBroken(f"Model {self.name!r} ended without a finish reason.", engine=self.name)
        tokens_in, tokens_out = generation.usage["prompt_tokens"], generation.usage["completion_tokens"]
        cut = generation.finish == "length" or tokens_in + tokens_out >= self._window
        milliseconds = (time.perf_counter() - generation.start) * 1000
        return Output(
            text="".join(generation.pieces),
            finish="length" if cut else "stop",
            logprob=sum(generation.logprobs) if generation.logprobs else None,
            usage=Usage(tokens_in=tokens_in, tokens_out=tokens_out, milliseconds=milliseconds, cpu_seconds=cpu_seconds),
        )

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, Any] = chat_body(prompt)
        if prompt.grammar is not None:
            body["grammar"] = prompt.grammar
        for message in body["messages"]:
            message["content"] = defuse(message["content"], self._control_tokens)
        # Progress of the prompt comes as chunks too: each is a chance to stop.
        return body | {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}

    def _refusal(self, error: Mapping[str, Any]) -> CoterieError:
        if error.get("type") == "exceed_context_size_error":
            return TooLong(
                f"The prompt has {error.get('n_prompt_tokens')} tokens; the window of model {self.name!r} "
                f"is {self._window}.",
                hint="Send less text, or raise `window` of the model in coterie.toml.",
            )
        kind = EngineRejected if error.get("code") == 400 else EngineBroken
        return kind(f"Model {self.name!r} failed: {error.get('message')}", engine=self.name)

    def _closed(self) -> EngineUnavailable:
        return EngineUnavailable(f"Model {self.name!r} is closed.", engine=self.name)

    def _load(self) -> NativeServer:
        header = read_gguf_header(self.path)
        if header.context_length is not None and self._window > header.context_length:
            raise ConfigError(
                f"Model {self.name!r} is to have a window of {self._window} tokens; "
                f"it was made for {header.context_length}.",
                hint=f"Set `window` of the model to at most {header.context_length}.",
            )
        self._control_tokens = header.control_tokens
        native = import_with_short_spin("xllamacpp")
        with tempfile.TemporaryDirectory(prefix="coterie-") as folder:  # mode 0700, removed with the socket
            try:
                server: NativeServer = native.Server(self._params(native, folder))
                # Its thread must be at work before anything can end it: ended too early, it would wait forever.
                works = "error" not in server.handle_completions({"prompt": "a", "max_tokens": 1})
            except RuntimeError:
                works = False
        if not works:
            raise ArtefactRefused(
                f"llama.cpp cannot generate with {str(self.path)!r}, a GGUF of architecture {header.architecture!r}.",
                hint="The file is damaged, its architecture is unknown to this version, or memory is short.",
            )
        return server

    def _params(self, native: ModuleType, folder: str) -> object:
        params = native.CommonParams()
        params.model.path = str(self.path)
        for cores in (params.cpuparams, params.cpuparams_batch):  # those of a single token, those of many
            cores.n_threads, cores.poll = self._threads, 0
        # Prompt lookup decoding: where the text repeats what was said before, as grounded replies do, several tokens
        # are checked at once. Those sampled are the same; copying takes two thirds of the time (`docs/log.md`).
        guess = params.speculative.ngram_simple
        guess.size_n, guess.size_m = _MATCHED, _GUESSED
        params.speculative.types = [native.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        for name, value in self._settings(folder).items():
            setattr(params, name, value)
        return params

    def _settings(self, folder: str) -> dict[str, object]:
        listener = {} if sys.platform == "win32" else {"hostnames": [f"{folder}/unused.sock"]}
        return listener | {
            "n_parallel": self._parallel,
            "n_ctx": self._window * self._parallel,
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


class SharedTime:
    """Splits the CPU time of this process, while anything runs, among those that run at once.

    Time beyond what `threads` can use is somebody else's and not counted.
    """

    def __init__(
        self,
        threads: int,
        *,
        wall: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._threads = threads
        self._wall = wall
        self._cpu = cpu
        self._lock = threading.Lock()
        self._running = 0
        self._share = 0.0  # CPU-seconds of somebody who runs all the time
        self._last = (0.0, 0.0)

    def share(self) -> Share:
        """A context that measures one participant's CPU-seconds."""
        return Share(self)

    def change(self, by: int) -> float:
        """Let one come or go; the running total of a participant's share."""
        with self._lock:
            wall, cpu = self._wall(), self._cpu()
            if self._running:
                spent = min(cpu - self._last[1], (wall - self._last[0]) * self._threads)
                self._share += spent / self._running
            self._last = (wall, cpu)
            self._running += by
            return self._share


class Share:
    """One participant's CPU-seconds, known after leaving."""

    def __init__(self, shared: SharedTime) -> None:
        self._shared = shared
        self._start = 0.0
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._start = self._shared.change(+1)
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = self._shared.change(-1) - self._start


def defuse(text: str, control_tokens: Sequence[str]) -> str:
    """The text with control tokens broken by a space, so that a message cannot end itself or pose as another."""
    for token in control_tokens:
        if len(token) > 1 and token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
