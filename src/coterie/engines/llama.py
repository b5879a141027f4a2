"""Generation with a GGUF model in this process, with concurrent requests in one llama.cpp context.

Each running request has a worker thread that waits for its tokens; llama.cpp batches them among its slots.
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from coterie.config.file import LlamaModel as ModelSection
from coterie.engines.batching import Batcher
from coterie.engines.llama_native import Generation, LoadedLlama
from coterie.engines.openai_wire import ChatChunks
from coterie.errors import EngineRejected, ExtraMissing, ModelMissing
from coterie.types import SYSTEM, CallContext, Delta, Label, Output, Prompt, RelayHead, Usage

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
