"""`engine = "vllm"`: adapters under names that are never used twice, choices weighed exactly, within a budget.

The server here keeps vLLM's contract as release 0.32 does: adapters by name, 404 for a model that it does not have, 400
for an adapter that is loaded, raw log-probabilities of at most twenty tokens, `allowed_token_ids`, token ids on demand.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coterie.config.file import VllmModel, parse_config
from coterie.engines.vllm import PEFT_FILES, VllmEngine, check_adapters
from coterie.errors import ArtefactRefused, EngineRejected
from coterie.testing.openai_server import ReceivedRequest, ScriptedAnswer, ScriptedTransport
from coterie.types import Message, Prompt

VOCABULARY = "abcdefghijklmnopqrstuvwxyz :TL\n"
END = len(VOCABULARY)
CHOICES = (" card lost", " card late", " refund", " fee", " cash")


def cut(text: str) -> list[int]:
    """A tokenizer of letters, with one token that ends a turn."""
    if text == "<|im_end|>":
        return [END]
    return [VOCABULARY.index(letter) if letter in VOCABULARY else 0 for letter in text]


def log_probabilities(model: str, context: tuple[int, ...]) -> np.ndarray:
    """Of the next token: another language model for each name, which remembers the last four tokens."""
    seed = zlib.crc32(json.dumps([model, context[-4:]]).encode())
    logits = np.random.default_rng(seed).normal(size=END + 1) * 3
    return logits - np.log(np.exp(logits).sum())


class Server:
    """A vLLM server with a base model named `base`."""

    def __init__(self) -> None:
        self.loaded: dict[str, str] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.history: list[str] = []
        self.lost: list[str] = []
        """Adapters to lose before the next completion."""
        self.gate: asyncio.Event | None = None
        """Completions wait for it."""
        self.waiting, self.changed = asyncio.Event(), asyncio.Event()

    @property
    def transport(self) -> ScriptedTransport:
        return ScriptedTransport(self.answer)

    async def answer(self, request: ReceivedRequest) -> ScriptedAnswer:
        body = json.loads(request.body)
        door = request.path.removeprefix("/v1")
        self.calls.append((door, body))
        if self.gate is not None and door == "/completions":
            self.waiting.set()
            await self.gate.wait()
        match door:
            case "/load_lora_adapter":
                return self.load(body)
            case "/unload_lora_adapter":
                self.history.append(f"-{body['lora_name']}")
                adapter = self.loaded.pop(body["lora_name"], None)
                return refused(404, "cannot be found") if adapter is None else ScriptedAnswer(body=b"Success")
        for name in self.lost:
            self.loaded.pop(name, None)
        self.lost = []
        if body["model"] not in {"base", *self.loaded}:
            return refused(404, f"The model `{body['model']}` does not exist.")
        if door == "/chat/completions":
            choice = {"message": {"content": f"I am {body['model']}"}, "finish_reason": "stop"}
            return ok({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
        return ok(self.complete(body))

    def load(self, body: Mapping[str, Any]) -> ScriptedAnswer:
        name, path = body["lora_name"], Path(body["lora_path"])
        if name in self.loaded:
            return refused(400, f"The lora adapter '{name}' has already been loaded.")
        if not all((path / file).is_file() for file in PEFT_FILES):
            return refused(404, f"Loading lora {name} failed: No adapter found for {path}")
        assert name not in self.history, "a name is loaded a second time only after it was lost"
        self.history.append(name)
        self.loaded[name] = str(path)
        self.changed.set()
        return ScriptedAnswer(body=f"Success: LoRA adapter '{name}' added successfully.".encode())

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        prompts = (
            body["prompt"]
            if isinstance(body["prompt"], list) and isinstance(body["prompt"][0], str)
            else [body["prompt"]]
        )
        choices = []
        for index, prompt in enumerate(prompts):
            ids = cut(prompt) if isinstance(prompt, str) else list(prompt)
            choice: dict[str, Any] = {"index": index, "text": "", "finish_reason": "length"}
            if body.get("return_token_ids"):
                choice["prompt_token_ids"] = list(ids)
            choice["logprobs"] = self.generate(body, ids) if body.get("logprobs") else None
            choices.append(choice)
        return {"choices": choices, "usage": {"prompt_tokens": 1, "completion_tokens": body["max_tokens"]}}

    @staticmethod
    def generate(body: Mapping[str, Any], ids: list[int]) -> dict[str, Any]:
        assert body["logprobs"] <= 20
        logprobs: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": []}
        for _ in range(body["max_tokens"]):
            raw = log_probabilities(body["model"], tuple(ids))
            token = max(body["allowed_token_ids"], key=lambda candidate: raw[candidate])
            best = [int(candidate) for candidate in np.argsort(-raw)[: body["logprobs"]]]
            logprobs["tokens"].append(f"token_id:{token}")
            logprobs["token_logprobs"].append(float(raw[token]))
            logprobs["top_logprobs"].append(
                {f"token_id:{candidate}": float(raw[candidate]) for candidate in {*best, token}}
            )
            ids = [*ids, token]
        return logprobs


def ok(document: Mapping[str, Any]) -> ScriptedAnswer:
    return ScriptedAnswer(body=json.dumps(document).encode())


def refused(status: int, message: str) -> ScriptedAnswer:
    return ScriptedAnswer(status=status, body=json.dumps({"error": {"message": message, "code": status}}).encode())


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def opened(server, tmp_path):
    """Makes an engine with adapters of these specialists, each of one version."""

    def make(*specialists: str, version: str = "0123456789abcdef", **settings: Any) -> VllmEngine:
        places = {}
        for name in specialists:
            places[name] = tmp_path / name / version
            places[name].mkdir(parents=True, exist_ok=True)
            for file in PEFT_FILES:
                (places[name] / file).write_text("{}")
        model = VllmModel(engine="vllm", base_url="http://x/v1", name="base", retries=0, **settings)
        return VllmEngine("local", model, adapters=places, transport=server.transport)

    return make


def likelihoods(model: str, text: str) -> np.ndarray:
    """Of each choice and the end behind a text, by reading all of them."""
    scores = []
    for choice in CHOICES:
        ids, score = cut(text), 0.0
        for token in [*cut(choice), END]:
            score += log_probabilities(model, tuple(ids))[token]
            ids.append(token)
        scores.append(score)
    return np.array(scores)


def weigh(text: str, adapter: str | None = None) -> Prompt:
    return Prompt(text=text, choices=CHOICES, adapter=adapter)


async def test_choices_have_their_likelihoods(opened):
    """The likeliest choice and what matters beside it are those of a whole reading, for many texts and adapters."""
    engine = opened("triage", "mail")
    for number, adapter in itertools.product(range(20), ("triage", "mail")):
        text = f"Text: {'abcdefghij'[number % 10] * (number + 1)}\nLabel:"
        (output,) = await engine.run([weigh(text, adapter)])
        exact = likelihoods(f"{adapter}@0123456789abcdef", text)
        shares, expected = (np.exp(scores - np.logaddexp.reduce(scores)) for scores in (output.scores, exact))
        assert output.scores.argmax() == exact.argmax()
        assert shares == pytest.approx(expected, abs=2e-3)
        assert output.usage.tokens_in == len(text)


async def test_an_adapter_is_loaded_once_under_a_name_of_its_own(opened, server):
    """Side by side and later, requests share one load; the base needs none; another version has another name."""
    engine = opened("triage")
    await asyncio.gather(*(engine.run([weigh("Text: a\nLabel:", "triage")]) for _ in range(5)))
    await engine.run([weigh("Text: b\nLabel:")])
    assert server.history == ["triage@0123456789abcdef"]
    newer = opened("triage", version="fedcba9876543210")
    await newer.load()
    assert server.history == ["triage@0123456789abcdef", "triage@fedcba9876543210"]
    assert len(set(server.loaded.values())) == 2


async def test_a_budget_of_adapters(opened, server):
    """One more than the budget unloads the one not used for longest, never one that is being asked."""
    engine = opened("a", "b", "c", adapters=2)
    for name in ("a", "b", "a", "c"):
        await engine.run([weigh("Text: a\nLabel:", name)])
    at = "@0123456789abcdef"
    assert server.history == [f"a{at}", f"b{at}", f"-b{at}", f"c{at}"]
    server.gate = asyncio.Event()
    running = asyncio.ensure_future(engine.run([weigh("Text: a\nLabel:", "a")]))
    await server.waiting.wait()
    server.changed.clear()
    server.history.remove(f"b{at}")  # it may come again: it is the same adapter
    asking = asyncio.ensure_future(engine.run([weigh("Text: a\nLabel:", "b")]))
    await server.changed.wait()
    assert f"b{at}" in server.loaded
    assert f"a{at}" in server.loaded
    server.gate.set()
    await asyncio.gather(running, asking)


async def test_an_adapter_that_the_server_lost_is_loaded_again(opened, server):
    """A server that was started again, or another worker's budget, fails no request."""
    engine = opened("triage")
    await engine.run([weigh("Text: a\nLabel:", "triage")])
    server.lost = list(server.loaded)
    server.history.clear()
    (output,) = await engine.run([weigh("Text: b\nLabel:", "triage")])
    assert output.scores.argmax() == likelihoods("triage@0123456789abcdef", "Text: b\nLabel:").argmax()
    server.lost = list(server.loaded)
    server.history.clear()
    (reply,) = await engine.run([Prompt(messages=(Message(role="user", text="Hello"),), adapter="triage")])
    assert reply.text == "I am triage@0123456789abcdef"


async def test_writing_with_adapters_schemas_and_grammars(opened, server):
    """A prompt is sent to its adapter, with its schema or grammar as vLLM names them."""
    engine = opened("reply")
    ask = {"messages": (Message(role="user", text="Hello"),)}
    await engine.run([Prompt(**ask, adapter="reply", json_schema={"type": "object"})])
    await engine.run([Prompt(**ask, grammar='root ::= "yes"')])
    (_, first), (_, second) = [call for call in server.calls if call[0] == "/chat/completions"]
    assert first["model"] == "reply@0123456789abcdef"
    assert first["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert second["model"] == "base"
    assert second["structured_outputs"] == {"grammar": 'root ::= "yes"'}


async def test_what_cannot_be_asked(opened, server, tmp_path):
    """An adapter that nobody has, one that the server cannot read, and an end of turn that is no token."""
    engine = opened("triage")
    with pytest.raises(EngineRejected):
        await engine.run([weigh("Text: a\nLabel:", "other")])
    assert server.calls == []
    elsewhere = opened("triage", registry="/nowhere/registry")
    with pytest.raises(EngineRejected):
        await elsewhere.run([weigh("Text: a\nLabel:", "triage")])
    assert server.calls[-1][1]["lora_path"] == "/nowhere/registry/triage/0123456789abcdef"
    wrong = opened("triage", end_of_turn="ab")
    with pytest.raises(EngineRejected):
        await wrong.run([weigh("Text: a\nLabel:", "triage")])


async def test_the_gate_stands_before_it(server, tmp_path):
    """Through the gate a prompt above the clearance is not sent, and adapters are loaded without one."""
    from coterie.errors import EgressRefused
    from coterie.governance.egress import ClearancePolicy, Gate
    from coterie.types import SYSTEM, Label

    folder = tmp_path / "triage" / "0123456789abcdef"
    folder.mkdir(parents=True)
    for file in PEFT_FILES:
        (folder / file).write_text("{}")
    model = VllmModel(engine="vllm", base_url="http://x/v1", name="base", retries=0, clearance="internal")
    engine = Gate(ClearancePolicy()).open("local", model, adapters={"triage": folder}, transport=server.transport)
    await engine.load()
    assert list(server.loaded) == ["triage@0123456789abcdef"]
    (output,) = await engine.run([weigh("Text: a\nLabel:", "triage")], call=SYSTEM)
    assert math.isfinite(output.scores.max())
    before = len(server.calls)
    secret = Prompt(text="Text: a\nLabel:", choices=CHOICES, adapter="triage", label=Label.RESTRICTED)
    with pytest.raises(EgressRefused):
        await engine.run([secret], call=SYSTEM)
    assert len(server.calls) == before
    await engine.close()


def test_an_entry():
    """The entry of `[models]` names the engine."""
    config = parse_config(
        '[network]\nname = "x"\n[models.local]\nengine = "vllm"\nbase_url = "http://x/v1"\nname = "m"\nadapters = 4\n'
    )
    assert isinstance(config.models["local"], VllmModel)


def test_a_version_without_peft_files(tmp_path):
    """It is refused where the engine is opened."""
    with pytest.raises(ArtefactRefused):
        check_adapters({"triage": tmp_path})
