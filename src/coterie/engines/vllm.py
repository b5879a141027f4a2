"""Models on a vLLM server, with Coterie's adapters loaded at run time and choices scored by the server.

An adapter's name on the server is `SPECIALIST@VERSION`. The version is a hash of its content, so no name is ever used
for another adapter: a server that loads a name again may answer from the prefix cache of the old one (vllm#42125).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any, cast

from coterie.config.file import VllmModel
from coterie.engines.choices import Node, Read, log_likelihoods, tree_of
from coterie.engines.openai import OpenAIEngine, measured
from coterie.engines.openai_wire import quotable, read_error, read_json, refusal
from coterie.errors import ArtefactRefused, EngineBroken, EngineRejected
from coterie.text.folding import valid_text
from coterie.types import SYSTEM, CallContext, Delta, Output, Prompt, Usage

PEFT_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""The files of a version that vLLM reads."""
_LISTED = 20
"""Tokens whose probabilities are returned with each generated one: vLLM's default limit."""
_MOST_TREES = 64
_TOKEN = "token_id:"  # noqa: S105 - how vLLM writes a token by its number


Post = Callable[[str, Mapping[str, object]], Coroutine[Any, Any, tuple[int, Mapping[str, Any]]]]
"""Sends a request to the server and returns the status and the JSON of the answer."""


def check_adapters(places: Mapping[str, Path]) -> None:
    """Check that the folders of versions have the files that vLLM reads. Raise `ArtefactRefused` otherwise."""
    for specialist, folder in places.items():
        missing = [file for file in PEFT_FILES if not (folder / file).is_file()]
        if missing:
            raise ArtefactRefused(
                f"Version {folder.name} of {specialist!r} has no {', '.join(missing)}, which vLLM reads.",
                hint=f"Train it again: coterie train {specialist}",
            )


class ServedAdapters:
    """Coterie's adapters on a server: loaded when needed, within a budget, the least recently used unloaded."""

    def __init__(self, places: Mapping[str, Path], model: VllmModel, post: Post) -> None:
        """Store the adapters; nothing is sent.

        Args:
            places: Folders of versions by specialist, as this machine sees them.
            model: The entry: the number of adapters, and the path of the folders on the server.
            post: Sends a request to the server and returns the status and the JSON of the answer.
        """
        self._places, self._model, self._post = dict(places), model, post
        self._held: OrderedDict[str, int] = OrderedDict()  # requests that run, by name; the least recently used first
        self._loading = asyncio.Lock()

    def __contains__(self, specialist: str) -> bool:
        return specialist in self._places

    def name(self, specialist: str) -> str:
        """Return the adapter's name on the server."""
        return f"{specialist}@{self._places[specialist].name}"

    async def take(self, specialist: str) -> str:
        """Return the name of a loaded adapter, held until `give_back`. Raises what a refused load raises."""
        name = self.name(specialist)
        if name not in self._held:
            async with self._loading:
                if name not in self._held:
                    await self._make_room()
                    await self._load(specialist)
                    self._held[name] = 0
        self._held[name] += 1
        self._held.move_to_end(name)
        return name

    def give_back(self, name: str) -> None:
        """Release an adapter of `take`."""
        if name in self._held:
            self._held[name] -= 1

    async def load(self) -> None:
        """Load as many adapters as the budget allows."""
        for specialist in list(self._places)[: self._model.adapters]:
            self.give_back(await self.take(specialist))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    async def restore(self, specialist: str) -> bool:
        """Load an adapter again that the server may have lost; return whether it was lost."""
        async with self._loading:
            return await self._load(specialist)

    async def _make_room(self) -> None:
        idle = [name for name, running in self._held.items() if not running]
        while len(self._held) >= self._model.adapters and idle:
            gone = idle.pop(0)
            del self._held[gone]
            await self._post("/unload_lora_adapter", {"lora_name": gone})  # one that is not there is as good

    async def _load(self, specialist: str) -> bool:
        """Load an adapter; return False if it was loaded already."""
        name, folder = self.name(specialist), self._places[specialist]
        seen = folder
        if self._model.registry is not None:
            seen = Path(PurePosixPath(self._model.registry) / folder.parent.name / folder.name)
        status, body = await self._post("/load_lora_adapter", {"lora_name": name, "lora_path": str(seen)})
        if status == HTTPStatus.OK:
            return True
        if "already" in str(body.get("message", "")):
            return False
        raise EngineRejected(
            f"The server of model {self._model.name!r} did not load adapter {name!r} from {str(seen)!r} "
            f"(status {status}).",
            engine=self._model.name,
            hint="Start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and let it read the "
            "registry: `registry` of the model in coterie.toml is the path there.",
        )


class VllmEngine(OpenAIEngine):
    """A vLLM server: an `OpenAIEngine` with adapters, choices and grammars."""

    def __init__(
        self,
        name: str,
        model: VllmModel,
        *,
        adapters: Mapping[str, Path] | None = None,
        **options: Any,  # noqa: ANN401 - of its base
    ) -> None:
        """Describe the connection.

        Args:
            name: Its key in the ledger.
            model: The entry.
            adapters: Folders of versions with an adapter, by specialist.
            options: Options of `OpenAIEngine`.
        """
        super().__init__(name, model, **options)
        self._served = ServedAdapters(adapters or {}, model, self._post)
        self._end = model.end_of_turn
        self._trees: dict[tuple[str, ...], Node] = {}
        self._walkers = ThreadPoolExecutor(model.parallel, thread_name_prefix="coterie-vllm")

    async def load(self) -> None:
        """Load as many adapters as the budget allows, so that no request waits for that."""
        await self._served.load()

    async def close(self) -> None:
        """Close the connections. Adapters stay: other workers may use them, and their names are unique."""
        self._walkers.shutdown(wait=False, cancel_futures=True)
        await super().close()

    async def stream(self, prompt: Prompt, *, call: CallContext = SYSTEM) -> AsyncIterator[Delta | Output]:
        """Yield pieces as they arrive, then the `Output`. Raises what `run` raises."""
        async with self._adapted(prompt) as named:
            pieces = cast("AsyncGenerator[Delta | Output, None]", super().stream(named, call=call))
            async with aclosing(pieces) as events:
                async for event in events:
                    yield event

    async def _answer(self, prompt: Prompt, call: CallContext) -> Output:
        async with self._adapted(prompt) as named:
            try:
                return await self._scored_answer(named, call)
            except EngineRejected:
                # Another worker may have made room for an adapter of its own, or the server was started again.
                if prompt.adapter is None or not await self._served.restore(prompt.adapter):
                    raise
                return await self._scored_answer(named, call)

    async def _scored_answer(self, prompt: Prompt, call: CallContext) -> Output:
        if not prompt.choices:
            return await super()._answer(prompt, call)
        with self._breaker.attempt(), self._cards.call() as energy:
            return measured(await self._weigh(prompt), energy)

    @asynccontextmanager
    async def _adapted(self, prompt: Prompt) -> AsyncIterator[Prompt]:
        """Yield the prompt with its adapter's name on the server, while the adapter is loaded."""
        if prompt.adapter is None:
            yield prompt
            return
        name = await self._served.take(prompt.adapter)
        try:
            yield replace(prompt, adapter=name)
        finally:
            self._served.give_back(name)

    def _check(self, prompt: Prompt) -> None:
        if prompt.adapter is not None and "@" not in prompt.adapter and prompt.adapter not in self._served:
            raise EngineRejected(
                f"Model {self.name!r} has no adapter {prompt.adapter!r}: {sorted(self._served)}.", engine=self.name
            )
        if prompt.choices:
            if not prompt.text:
                raise EngineRejected(
                    f"Model {self.name!r} was given a prompt without text to score choices after.", engine=self.name
                )
            return
        super()._check(replace(prompt, adapter=None, grammar=None))

    def _body(self, prompt: Prompt, *, stream: bool) -> dict[str, object]:
        body = super()._body(prompt, stream=stream)
        if prompt.adapter is not None:
            body["model"] = prompt.adapter
        if prompt.grammar is not None:
            body["structured_outputs"] = {"grammar": prompt.grammar}
        return body

    # --- choices -----------------------------------------------------------------------------------

    async def _weigh(self, prompt: Prompt) -> Output:
        """Return the log-likelihood of each choice after the text."""
        start, model = time.perf_counter(), prompt.adapter or self._model.name
        tree = await self._tree(prompt.choices, model)
        scorer = _Scorer(self._complete, model, valid_text(prompt.text), asyncio.get_running_loop())
        try:
            scores = await asyncio.get_running_loop().run_in_executor(self._walkers, log_likelihoods, tree, scorer)
        except ValueError as error:
            raise EngineRejected(f"Model {self.name!r} cannot score the choices: {error}.", engine=self.name) from error
        usage = Usage(
            tokens_in=scorer.tokens_in,
            tokens_out=scorer.tokens_out,
            milliseconds=(time.perf_counter() - start) * 1000,
        )
        return Output(scores=scores, usage=usage)

    async def _tree(self, choices: tuple[str, ...], model: str) -> Node:
        """Return the tree of the choices' tokens, as split by the server; made when they are first seen."""
        if choices not in self._trees:
            texts = [valid_text(choice) for choice in choices]
            answer = await self._complete(
                {"model": model, "prompt": [*texts, self._end], "max_tokens": 1, "return_token_ids": True}
            )
            cut = {int(choice["index"]): tuple(choice["prompt_token_ids"]) for choice in answer["choices"]}
            *tokens, end = (cut[index] for index in range(len(cut)))
            if len(end) != 1:
                raise EngineRejected(
                    f"{self._end!r}, which ends an answer, is {len(end)} tokens of model {self.name!r}.",
                    engine=self.name,
                    hint="Correct `end_of_turn` of the model in coterie.toml: the tokenizer's end-of-sequence token.",
                )
            if len(self._trees) >= _MOST_TREES:
                self._trees.clear()
            self._trees[choices] = tree_of([(*token, *end) for token in tokens])
        return self._trees[choices]

    async def _complete(self, body: Mapping[str, object]) -> Mapping[str, Any]:
        """Return the answer of `/completions`. Raises `EngineBroken` for another format, and what a refusal raises."""
        status, body_ = await self._post("/completions", {"add_special_tokens": False, "temperature": 0, **body})
        if status != HTTPStatus.OK:
            quoted = quotable(body_, Prompt(text=str(body.get("prompt", ""))))
            raise refusal(status, body_, engine=self.name, quoted=quoted, retry_after=None)
        if not isinstance(body_.get("choices"), list):
            raise EngineBroken(f"Engine {self.name!r} sent an answer without choices.", engine=self.name)
        return body_

    async def _post(self, path: str, body: Mapping[str, object]) -> tuple[int, Mapping[str, Any]]:
        deadline = self._connection.deadline()
        async with self._connection.post(body, deadline, path=path) as response:
            if response.status != HTTPStatus.OK:
                return response.status, read_error(await self._connection.read_refusal(response, deadline))
            text = await self._connection.read_answer(response, deadline)
        return HTTPStatus.OK, read_json(text, self.name) if text.lstrip().startswith("{") else {}


class _Scorer:
    """Scoring of one text's choices: a `ContinuationScorer` in a thread, whose requests run on the event loop."""

    def __init__(
        self,
        complete: Callable[[Mapping[str, object]], Coroutine[Any, Any, Mapping[str, Any]]],
        model: str,
        text: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._complete, self._model, self._text, self._loop = complete, model, text, loop
        self._ids: list[int] | None = None
        self.tokens_in = self.tokens_out = 0

    def down(self, path: tuple[int, ...], tokens: Sequence[int], most: int) -> list[Read]:
        """Generate with only these tokens allowed; the probabilities are those among all tokens."""
        answer = self._ask(path, tokens, most=most, listed=_LISTED)
        reads = []
        for token, logprob, listed in zip(*(answer[key] for key in _LOGPROBS), strict=True):
            others = {_number(name): float(value) for name, value in (listed or {}).items()}
            reads.append(Read(_number(token), float(logprob), others))
        return reads

    def among(self, path: tuple[int, ...], tokens: Sequence[int]) -> dict[int, float]:
        """Return the log-probability of each of these tokens; those not listed are requested one by one."""
        by_token: dict[int, float] = {}
        while missing := [token for token in tokens if token not in by_token]:
            (read,) = self.down(path, missing, 1)
            listed = {token: value for token, value in read.listed.items() if token in missing}
            by_token |= {read.token: read.log_probability} | listed
        return by_token

    def _ask(self, path: tuple[int, ...], tokens: Sequence[int], *, most: int, listed: int) -> Mapping[str, Any]:
        body: dict[str, object] = {
            "model": self._model,
            "prompt": [*self._ids, *path] if self._ids is not None else self._text,
            "max_tokens": most,
            "allowed_token_ids": list(tokens),
            "ignore_eos": True,
            "logprobs": listed,
            "return_tokens_as_token_ids": True,
            "return_token_ids": True,
        }
        answer = asyncio.run_coroutine_threadsafe(self._complete(body), self._loop).result()
        usage, (choice,) = answer.get("usage") or {}, answer["choices"]
        if self._ids is None:
            self._ids = list(choice["prompt_token_ids"])
            self.tokens_in = len(self._ids)
        self.tokens_out += int(usage.get("completion_tokens", 0))
        logprobs: Mapping[str, Any] = choice["logprobs"]
        return logprobs


_LOGPROBS = ("tokens", "token_logprobs", "top_logprobs")


def _number(token: str) -> int:
    if not token.startswith(_TOKEN):
        raise ValueError(f"the server names token {token!r}, not its number")
    return int(token.removeprefix(_TOKEN))
