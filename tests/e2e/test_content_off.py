"""With content off and no session, a served network keeps nothing that came in, by whatever door."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from coterie.testing import FakeOpenAIServer, ServerReply

pytestmark = pytest.mark.slow

CONFIG = """
[network]
name = "shop"

[specialists.intents]
task = "classify"
description = "What customers ask the shop."
data = "messages.csv"
rungs = ["lexical"]
target_risk = 0.3
writes = ["intent"]

[specialists.reply]
task = "generate"
description = "Drafts the reply."
data = "help.jsonl"
model = "large"
reads = ["intent"]

[specialists.ask]
task = "answer"
description = "Answers questions about the handbook: returns, warranty."
rungs = ["lexical"]
knowledge = ["handbook"]

[knowledge.handbook]
paths = ["documents"]

[models.large]
engine = "openai"
base_url = "{url}"
name = "m"
clearance = "confidential"
pseudonymise = true
retries = 0

[generalist]
model = "large"
history = true
escalate_out_of_scope = true

[decisions]
"""
TOPICS = {"delivery": "my parcel order has not arrived", "refund": "give my money back for it"}
LONG = 120
"""Seconds that nothing here takes."""


def write_folder(folder: Path, url: str) -> None:
    """A small network of every task."""
    (folder / "documents").mkdir(parents=True)
    (folder / "coterie.toml").write_text(CONFIG.format(url=url))
    rows = [f"{text} number {n},{label}" for label, text in TOPICS.items() for n in range(20)]
    (folder / "messages.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    helps = [json.dumps({"intent": label, "text": f"We look at your {label} at once."}) for label in TOPICS]
    (folder / "help.jsonl").write_text("\n".join(helps) + "\n")
    (folder / "documents" / "returns.txt").write_text("Goods may be returned within thirty days.\n")


class Canaries:
    """Phrases of four words that nobody uses, each for one place."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    def __call__(self, location: str) -> str:
        """A phrase to put there."""
        n = len(self.made)
        phrase = " ".join(
            f"{start}{chr(97 + n // 26)}{chr(97 + n % 26)}xq" for start in ("wug", "blick", "dax", "zorp")
        )
        self.made[phrase] = location
        return phrase

    def found(self, content: bytes) -> set[str]:
        """The places whose phrase stands there, as words in a row however they are joined."""
        text = content.decode("utf-8", "replace").casefold()
        words = " ".join(re.findall(r"[a-z]+xq", text))
        return {location for phrase, location in self.made.items() if phrase in words}


def echo():
    """What a provider answers: what it was sent, in every form, by turns."""
    turn = itertools.count()
    forms = [
        lambda text: ServerReply(text=text),
        lambda text: ServerReply.refused(400, message=f"cannot read {text}"),
        lambda text: ServerReply(status=502, body=f"<html>{text}</html>".encode()),
        lambda text: ServerReply(body=json.dumps({"choices": text}).encode()),
        lambda text: ServerReply.refused(429, message=text, retry_after=re.sub(r"\W+", "_", text)[-200:]),
        lambda text: ServerReply(pieces=text.split(" "), cut_after=3),
        lambda text: ServerReply(pieces=text.split(" "), error_after=3),
        lambda text: ServerReply(text=""),
        lambda text: ServerReply(body=json.dumps({"error": {"message": text, "code": text}}).encode()),
        lambda text: ServerReply.refused(401, message=text, code=text[:200]),
        lambda text: ServerReply.refused(503, message=text[-30:]),
        lambda text: ServerReply.refused(400, message=json.dumps({"prompt": text})),
        lambda text: ServerReply(text=text, finish=re.sub(r"\W+", "_", text)[-200:]),
        lambda text: ServerReply(status=302, headers={"location": f"/{re.sub(r'[^a-z]+', '-', text)[-300:]}"}),
    ]

    def reply(body):
        text = " ".join(str(message.get("content")) for message in body.get("messages", [])) or json.dumps(body)
        number = next(turn)
        return forms[0 if number % 2 else number // 2 % len(forms)](text)  # so many failures in a row end the asking

    return reply


async def command(folder: Path, env: dict[str, str], *words: str, given: bytes = b"") -> bytes:
    """What a command wrote to both streams."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "coterie", "-C", str(folder), *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=env,
        cwd=folder,
    )
    return (await asyncio.wait_for(process.communicate(given), LONG))[0]


@asynccontextmanager
async def served(folder: Path, env: dict[str, str], log: Path, *, kill: bool = False):
    """The network behind `coterie serve`, killed at its end or asked to end; what it says is in the log."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "coterie", "-C", str(folder), "serve", "--port", "0", "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
            env=env,
        )
        try:
            line = await asyncio.wait_for(process.stdout.readline(), LONG)
            where = re.search(r"http://127\.0\.0\.1:\d+", line.decode())[0]
            async with httpx.AsyncClient(base_url=where, timeout=LONG) as http:
                yield http
        finally:
            process.kill() if kill else process.terminate()
            file.write((await asyncio.wait_for(process.communicate(), LONG))[0])


def chats(say):
    """Bodies of the chat completions."""
    for model in ("coterie", "coterie/intents", "coterie/reply", "coterie/ask", "large"):
        for stream in (False, True):
            about = f"chat {model} {stream}"
            yield {
                "model": model,
                "stream": stream,
                "messages": [
                    {"role": "system", "content": say(f"{about} system")},
                    {"role": "user", "content": say(f"{about} earlier")},
                    {"role": "assistant", "content": say(f"{about} assistant")},
                    {"role": "user", "content": f"my parcel order {say(about)} {say(about + ' more')}?"},
                ],
            }
    about = "chat with columns"
    yield {
        "model": "coterie",
        "messages": [{"role": "user", "content": say(about)}],
        "coterie": {"columns": {"income": 3, "children": say(about + " value"), say(about + " key"): 1}},
    }
    yield {
        "model": "coterie",
        "messages": [{"role": "user", "content": say("document question")}],
        "coterie": {"document": {"text": say("document text") + " returns.", "name": say("document name") + ".md"}},
    }
    schema = {
        "type": "object",
        "title": say("schema title"),
        "properties": {say("schema key"): {"type": "string", "description": say("schema description")}},
        "additionalProperties": False,
        "required": [],
    }
    yield {
        "model": "coterie",
        "messages": [{"role": "user", "content": say("schema question")}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    }
    broken = {"type": "object", "properties": {say("bad schema key"): {"type": say("bad schema type")}}}
    yield {
        "model": "coterie",
        "messages": [{"role": "user", "content": "x"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": broken}},
    }
    function = {
        "name": say("function name").replace(" ", "_"),
        "description": say("function description"),
        "parameters": {"type": "object", "properties": {"a": {"enum": [say("function option"), "b"]}}},
    }
    for model in ("coterie", "coterie/reply", "large"):
        yield {
            "model": model,
            "tools": [{"type": "function", "function": function}],
            "messages": [
                {"role": "user", "content": say(f"tools question {model}")},
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": function["name"], "arguments": json.dumps({"a": say("arguments")})},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "1", "content": say("result of a tool")},
                {"role": "user", "content": say("after a tool")},
            ],
        }
    # What is refused, and quotes what it was given.
    yield {"model": say("no such model"), "messages": [{"role": "user", "content": "x"}]}
    yield {"model": "coterie", "messages": [{"role": say("no such role"), "content": "x"}]}
    yield {"model": "coterie", "messages": [{"role": "user", "content": "x"}], say("no such field"): 1}
    yield {"model": "coterie", "messages": [{"role": "user", "content": "x"}], "coterie": {say("no such part"): 1}}
    yield {"model": "coterie", "messages": [{"role": "user", "content": [{"type": say("no such type")}]}]}
    yield {"model": "coterie", "messages": [{"role": "user", "content": "x"}], "temperature": say("no number")}
    yield {"model": "coterie", "messages": [{"role": "user", "content": "x"}], "user": say("name of a user")}
    yield {"model": "coterie", "messages": [{"role": "user", "content": "x"}], "coterie": {"language": say("language")}}
    yield {"model": "coterie", "messages": [{"role": "user", "content": "x"}], "metadata": {"a": say("metadata")}}


def rare(say):
    """What few callers send: every other field of each API that takes words, to one model after the other."""
    turn, models = (
        {"role": "user", "content": "my parcel order"},
        itertools.cycle(("coterie", "coterie/reply", "large")),
    )
    fields = {
        "stop": [say("stop")],
        "user": say("user"),
        "safety_identifier": say("identifier"),
        "prompt_cache_key": say("cache key"),
        "service_tier": say("tier"),
        "prediction": {"type": "content", "content": say("prediction")},
        "logit_bias": {say("bias"): 1},
        "metadata": {say("metadata key"): say("metadata value")},
        "tool_choice": {"type": "function", "function": {"name": say("choice").replace(" ", "_")}},
        "modalities": [say("modality")],
        "reasoning_effort": say("effort"),
        "verbosity": say("verbosity"),
        "web_search_options": {"user_location": {"city": say("city")}},
        "seed": say("seed"),
        "stream_options": {say("stream option"): True},
        "coterie": {"label": say("label"), "budget": say("budget"), "specialists": [say("specialist")]},
    }
    for name, value in fields.items():
        yield "/v1/chat/completions", {"model": next(models), "messages": [turn], name: value}
    named = turn | {"name": say("name of a turn").replace(" ", "_")}
    yield "/v1/chat/completions", {"model": "large", "messages": [named, {"role": "assistant", "content": "y"}, turn]}
    picture = {"type": "image_url", "image_url": {"url": f"https://x.example/{say('picture')}"}}
    sound = {"type": "input_audio", "input_audio": {"data": say("sound"), "format": "wav"}}
    file = {"type": "file", "file": {"filename": say("file"), "file_data": say("file data")}}
    for extra in ([], [picture], [sound], [file]):
        content = [{"type": "text", "text": say(f"part beside {len(extra)} {str(extra)[:20]}")}, *extra]
        yield "/v1/chat/completions", {"model": next(models), "messages": [{"role": "user", "content": content}]}
    fields = {
        "previous_response_id": say("previous"),
        "conversation": say("conversation"),
        "prompt": {"id": say("prompt id"), "variables": {"a": say("variable")}},
        "include": [say("include")],
        "text": {"format": {"type": "json_schema", "name": say("format"), "schema": {}}},
        "tools": [{"type": "mcp", "server_label": say("server"), "server_url": say("url")}],
        "input": [
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": say("call")},
            {"type": "function_call_output", "call_id": "c", "output": say("output")},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": say("item")}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": say("reasoning")}]},
        ],
    }
    for name, value in fields.items():
        yield "/v1/responses", {"model": next(models), "input": "my parcel order", "store": False, name: value}
    thought = {"type": "thinking", "thinking": say("thought"), "signature": "s"}
    used = {"type": "tool_use", "id": "t", "name": "f", "input": {say("used"): 1}}
    tool_result = {"type": "tool_result", "tool_use_id": "t", "content": say("told")}
    fields = {
        "stop_sequences": [say("sequence")],
        "metadata": {"user_id": say("user id")},
        "tools": [{"name": "f", "description": say("tool"), "input_schema": {"title": say("input of a tool")}}],
        "thinking": {"type": say("thinking")},
        "mcp_servers": [{"name": say("mcp server"), "url": say("mcp url")}],
        "messages": [
            turn,
            {"role": "assistant", "content": [thought, used]},
            {"role": "user", "content": [tool_result]},
        ],
    }
    for name, value in fields.items():
        yield "/v1/messages", {"model": next(models), "max_tokens": 20, "messages": [turn], name: value}
    yield "/v1/messages/count_tokens", {"model": "coterie", "messages": [{"role": "user", "content": say("counted")}]}
    yield "/v1/completions", {"model": "large", "prompt": [say("prompts")], "suffix": say("suffix")}
    yield "/v1/embeddings", {"model": "coterie", "input": {"a": say("odd embedding")}}
    for path in ("moderations", "audio/speech", "images/generations", "files", "batches", "assistants"):
        yield f"/v1/{path}", {"model": "coterie", "input": say(path)}
    call = {"jsonrpc": "2.0", "method": "tools/call"}
    parameters = {"name": "ask", "arguments": {"text": "my parcel order"}}
    yield "/mcp", call | {"id": say("mcp id"), "params": parameters}
    yield "/mcp", call | {"id": 2, "params": parameters | {"_meta": {"progressToken": say("mcp token")}}}
    about = {"name": say("mcp client"), "version": say("mcp version")}
    opened = {"protocolVersion": say("mcp protocol"), "capabilities": {say("mcp capability"): {}}, "clientInfo": about}
    yield "/mcp", {"jsonrpc": "2.0", "id": 3, "method": "initialize", "params": opened}
    completed = {"ref": {"type": "ref/prompt", "name": say("mcp prompt")}, "argument": {"name": "a", "value": say("m")}}
    yield "/mcp", {"jsonrpc": "2.0", "id": 4, "method": "completion/complete", "params": completed}
    yield "/mcp", {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"reason": say("mcp reason")}}
    for path in ("/api/jobs/", "/api/keys/", "/api/sessions/", "/auth/oidc/callback?error="):
        yield path + say(f"page {path}").replace(" ", "-"), None
        yield path + say(f"page with a body {path}").replace(" ", "-"), {"note": say(f"note {path}")}


def headers(say):
    """Headers that programs send, each with a phrase."""
    for name in (
        *("authorization", "x-api-key", "user-agent", "referer", "cookie", "x-request-id", "traceparent", "baggage"),
        *("x-session-id", "x-coterie-session", "idempotency-key", "openai-organization", "x-stainless-lang"),
        *("anthropic-beta", "accept-language", "mcp-session-id", "x-forwarded-for", "forwarded", "origin", "host"),
    ):
        yield name, say(f"header {name}").replace(" ", "-")


def doors(say):
    """Method, path and body or keyword arguments of everything that is sent."""
    for body in chats(say):
        yield "/v1/chat/completions", body
    for model in ("coterie", "large"):
        for stream in (False, True):
            about = f"{model} {stream}"
            shared = {"model": model, "stream": stream}
            request = {"input": say(f"responses {about}"), "instructions": say(f"instructions {about}"), "store": False}
            yield "/v1/responses", shared | request
            yield "/v1/completions", shared | {"prompt": say(f"completions {about}")}
            turn = {"role": "user", "content": say(f"messages {about}")}
            request = {"max_tokens": 50, "system": say(f"messages system {about}"), "messages": [turn]}
            yield "/v1/messages", shared | request
        yield "/v1/embeddings", {"model": model, "input": [say(f"embeddings {model}")]}
        yield "/v1/rerank", {"model": model, "query": say(f"rerank {model}"), "documents": [say(f"reranked {model}")]}
        yield "/v1/score", {"model": model, "text_1": say(f"score 1 {model}"), "text_2": say(f"score 2 {model}")}
    for model in ("coterie", "coterie/intents", "gpt-5"):
        yield (
            "/v1/decisions",
            {
                "model": model,
                "input": say(f"decisions {model}"),
                "questions": [
                    {
                        "type": "predicate",
                        "name": say(f"decision name {model}"),
                        "instructions": say(f"predicate {model}"),
                    },
                    {
                        "type": "choice",
                        "instructions": say(f"choice {model}"),
                        "choices": [
                            {"value": say(f"option {model}"), "description": say(f"option described {model}")},
                            {"value": "other"},
                        ],
                    },
                ],
            },
        )
        yield (
            "/v1/systemone",
            {
                "model": model,
                "state": {say(f"state key {model}"): say(f"state {model}")},
                "questions": {
                    say(f"question id {model}"): {"type": "noul", "instructions": say(f"noul {model}")},
                    "b": {
                        "type": "choice",
                        "criteria": {say(f"criterion {model}"): say(f"described {model}"), "c": None},
                    },
                },
            },
        )
    for model in ("large", "coterie/reply", "coterie"):  # in each form of an answer
        for n in range(28):
            text = f"my parcel order {say(f'form {n} {model}')}"
            yield "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": text}]}
    yield from rare(say)
    for method, params in (
        ("tools/call", {"name": "ask", "arguments": {"text": say("mcp ask")}}),
        ("tools/call", {"name": "ask", "arguments": {"text": say("mcp ask text"), say("mcp argument"): 1}}),
        ("tools/call", {"name": "intents", "arguments": {"text": say("mcp intents")}}),
        ("tools/call", {"name": say("mcp no such tool"), "arguments": {}}),
        ("tools/call", {"name": "search", "arguments": {"query": say("mcp search")}}),
        ("resources/read", {"uri": "coterie://" + say("mcp resource").replace(" ", "-")}),
        (say("mcp method"), {}),
    ):
        yield "/mcp", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    yield "/api/feedback", {"trace_id": say("feedback trace"), "comment": say("feedback comment")}
    yield "/v1/" + say("path").replace(" ", "-"), {}
    yield "/v1/models?" + say("query").replace(" ", "+"), None
    yield "/v1/models/" + say("model path").replace(" ", "-"), None
    yield "/traffic/" + say("trace of a page").replace(" ", "-"), None
    yield "/sessions/" + say("session of a page").replace(" ", "-"), None
    yield "/v1/chat/completions", b'{"model": "coterie", "messages": [' + say("broken json").encode()
    yield "/v1/chat/completions", say("no json").encode() * 2 + b"\xff\xfe"


def hanging(say):
    """Requests that wait for a provider."""
    for model in ("large", "coterie/reply", "coterie"):
        words = f"killed {say(f'killed {model}')}"
        yield "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": words}]}


async def send_all(http: httpx.AsyncClient, say) -> set[tuple[str, int]]:
    """Everything by every door, and feedback on what was traced; gives each path's statuses."""
    traces, statuses = [], set()
    for path, body in doors(say):
        try:
            if body is None:
                reply = await http.get(path)
            elif isinstance(body, bytes):
                reply = await http.post(path, content=body, headers={"x-request-id": say(f"header {len(statuses)}")})
            else:
                reply = await http.post(path, json=body)
        except httpx.HTTPError:
            continue  # a stream that a provider broke off
        statuses.add((path, reply.status_code))
        traces += re.findall(r'"trace_id": ?"(\w+)"', reply.text)[:1]
    plain = {"model": "coterie", "messages": [{"role": "user", "content": "my parcel order"}]}
    for name, value in headers(say):
        with contextlib.suppress(httpx.HTTPError):
            await http.post("/v1/chat/completions", json=plain, headers={name: value})
    for trace in traces[:40]:
        body = {"trace_id": trace, "thumb": "down", "value": say(f"value {trace}"), "comment": say(f"comment {trace}")}
        await http.post("/api/feedback", json=body)
        await http.get(f"/traffic/{trace}")
        await http.get(f"/api/traces/{trace}")
    return statuses


def kept(folder: Path, say: Canaries) -> set[tuple[str, str]]:
    """File and place of each phrase that stands in a file."""
    return {
        (str(path.relative_to(folder)), location)
        for path in folder.rglob("*")
        if path.is_file()
        for location in say.found(path.read_bytes())
    }


def test_the_search_finds_phrases():
    """Written as words, as a name, as JSON or in capitals; three words of four are none."""
    say = Canaries()
    phrase = say("a")
    for written in (phrase, phrase.replace(" ", "-"), json.dumps({"x": phrase.upper()}), phrase.replace(" ", "\n")):
        assert say.found(f"before {written} after".encode()) == {"a"}
    assert say.found(phrase.rsplit(" ", 1)[0].encode()) == set()


async def test_nothing_is_kept(tmp_path):
    """No file of the network, the temporary folder or the logs has four words in a row of anything that came in."""
    folder, home, temporary, output = (tmp_path / name for name in ("network", "home", "tmp", "said"))
    for directory in (home, temporary, output):
        directory.mkdir()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(home), "TMPDIR": str(temporary)}
    say = Canaries()
    async with FakeOpenAIServer() as provider:
        provider.default = echo()
        write_folder(folder, provider.base_url)
        (output / "made").write_bytes(
            await command(folder, env, "index", "handbook") + await command(folder, env, "train")
        )
        async with served(folder, env, output / "serve") as http:
            statuses = await send_all(http, say)
        await command(folder, env, "ask", f"{say('command ask')} my parcel", "--json")
        await command(folder, env, "route", say("command route"))
        await command(folder, env, "ask", "--document", "/nowhere/" + say("file of a command").replace(" ", "-"), "x")
        await command(folder, env, "decide", say("command decide"), "--predicate", "a=" + say("command predicate"))
        provider.default = lambda request: ServerReply(hang=True)
        async with served(folder, env, output / "killed", kill=True) as http:
            waiting = [asyncio.create_task(http.post(path, json=body)) for path, body in hanging(say)]
            async with asyncio.timeout(LONG):
                while b"killed" not in provider.requests[-1].body:  # noqa: ASYNC110 - the server sets no event here
                    await asyncio.sleep(0.05)
        await asyncio.gather(*waiting, return_exceptions=True)
        received = b"".join(request.body for request in provider.requests)
    assert sorted(kept(tmp_path, say)) == []
    answered = {path for path, status in statuses if status == 200}
    assert {
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/decisions",
        "/v1/systemone",
        "/mcp",
    } <= answered
    assert {400, 401, 404, 422, 429, 502} - {status for _, status in statuses} <= {401}
    assert len(say.found(received)) > 100  # and all this went to a provider
