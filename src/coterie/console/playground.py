"""Ask and watch, through the functions of the API, so with its permissions, labels, budgets and limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from shlex import quote
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.assembly import load_beside
from coterie.config.file import RemoteModel
from coterie.console.network import is_empty
from coterie.console.traffic import about_trace, run_app, shown_trace
from coterie.console.visits import LABELS, Visit, chosen
from coterie.errors import InputError
from coterie.gateway.access import Caller
from coterie.gateway.connection import encode
from coterie.gateway.decisions import decide_openai
from coterie.gateway.openai.completions import chat_directly, complete_chat
from coterie.gateway.openai.relay import may_relay, relaying
from coterie.gateway.openai.translation import ROUTED
from coterie.gateway.work import Gateway, Work
from coterie.observe.plain import TRACE_HEADER
from coterie.store.content import is_dropped
from coterie.text.segmentation import asks
from coterie.types import Trace

_CHAT = relaying("/chat/completions", complete_chat, chat_directly)
_STREAM = "x-console-stream"
"""Header sent by the page's script, which shows the answer while it arrives."""


async def show_playground(visit: Visit) -> Response:
    """Show the form, and the last request of it."""
    about: dict[str, Any] = {"trace": None}
    if visit.query("trace"):
        about = await about_trace(visit, await shown_trace(visit, visit.query("trace")))
    choices = _choices(visit)
    if about["trace"] is not None and not choices["given"]["text"]:
        choices["given"]["text"] = _text_of(about["trace"])
    return await visit.page("playground.html.j2", title="Playground", **{**choices, **about})


def _text_of(trace: Trace) -> str:
    """Return the text of a request, so that it can be asked again; empty where texts are not stored."""
    return " ".join(part.text for part in trace.route.parts if not is_dropped(part.text))


def _choices(visit: Visit) -> dict[str, Any]:
    """Return the specialists and models that may be asked, and the labels to choose from."""
    network = visit.gateway.network
    names = sorted(name for name in network.specialists if visit.caller.sees(name))
    models = [key for key in network.models if may_relay(visit.gateway, visit.caller, key)]
    remote = [key for key in models if isinstance(visit.config.models.get(key), RemoteModel)]
    return {
        "empty": is_empty(visit),
        "untrained": network.untrained,
        "targets": [ROUTED, *(f"{ROUTED}/{name}" for name in names), *models],
        "remote": remote,
        "labels": LABELS,
        "given": {name: visit.query(name) for name in ("text", "target", "session")},
    }


async def ask(visit: Visit) -> Response:
    """Ask once: respond with a stream for the page's script, else with the page of the trace."""
    handler, body = _request_of_form(visit)
    if _STREAM in visit.http.headers:
        return _Passed(Work(handler), encode({**body, "stream": True}))
    trace_id = await _run(visit, handler, body)
    return visit.go(f"playground?trace={trace_id}" if trace_id else "playground")


def _request_of_form(visit: Visit) -> tuple[Any, dict[str, Any]]:
    """Return the form's request as a body of the API, and the function that answers it. Raises `InputError`."""
    questions = _questions(visit.value("questions"))
    extension = _extension(visit)
    if questions:
        return decide_openai, {
            "model": visit.value("target") or ROUTED,
            "input": visit.value("text"),
            "questions": questions,
            **({"coterie": extension} if extension else {}),
        }
    return _CHAT, _chat(visit, visit.value("target") or ROUTED, extension)


def _chat(visit: Visit, target: str, extension: dict[str, Any]) -> dict[str, Any]:
    own = target == ROUTED or target.startswith(f"{ROUTED}/")
    return {
        "model": target,
        "messages": [{"role": "user", "content": visit.value("text")}],
        **({"coterie": extension} if extension and own else {}),
    }


def _extension(visit: Visit) -> dict[str, Any]:
    """Return the `coterie` object: label, session, columns and document."""
    extension: dict[str, Any] = {}
    if visit.value("label"):
        extension["label"] = chosen(visit.value("label"), LABELS, "The label")
    if visit.value("session"):
        extension["session"] = visit.value("session")
    if visit.value("columns"):
        extension["columns"] = _columns(visit.value("columns"))
    document = visit.files.get("file")
    text = document.content.decode("utf-8", "replace") if document else visit.value("document")
    if text:
        extension["document"] = {"text": text, "name": document.name if document else "document"}
    return extension


def _columns(text: str) -> dict[str, Any]:
    """Read a row of columns: a JSON object, or `name = value` a line. Raises `InputError`."""
    if text.startswith("{"):
        try:
            columns: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise InputError(f"The columns are no JSON: {error}.", hint="Write one `name = value` a line.") from error
        return columns
    rows: dict[str, Any] = {}
    for line in filter(str.strip, text.splitlines()):
        name, equals, value = line.partition("=")
        if not equals:
            raise InputError(f"A line of the columns is {line[:80]!r}.", hint="Write one `name = value` a line.")
        try:
            rows[name.strip()] = json.loads(value)
        except ValueError:
            rows[name.strip()] = value.strip()
    return rows


def _questions(text: str) -> list[dict[str, Any]]:
    """Read typed questions, one a line: `name: a | b | c` is a choice, `name?` a yes or no. Raises `InputError`."""
    parsed: list[dict[str, Any]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, options = line.partition(":")
        if colon and "|" in options:
            names = [{"value": option.strip()} for option in options.split("|") if option.strip()]
            parsed.append({"type": "choice", "name": _name(name), "instructions": name.strip(), "choices": names})
        elif asks(line):
            parsed.append({"type": "predicate", "name": _name(line), "instructions": line})
        else:
            raise InputError(
                f"A question is {line[:80]!r}.",
                hint="Write `topic: billing | delivery` for a choice, `Is it urgent?` for yes or no.",
            )
    return parsed


def _name(text: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in text.lower()).split())[:60] or "question"


async def _run(visit: Visit, handler: Any, body: dict[str, Any]) -> str:  # noqa: ANN401 - a handler of the API
    """Ask to the end and return the id of the trace. Raises what the API would answer."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Work(handler).serve(encode(body), scope, receive, send)

    _, headers, _ = await run_app(app, visit)
    return headers.get(TRACE_HEADER, "")


class _Passed(Response):
    """A response that stands for one that an API endpoint sends by itself."""

    def __init__(self, work: Work, body: bytes) -> None:
        super().__init__()
        self._work, self._asked = work, body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the endpoint send its response."""
        await self._work.serve(self._asked, scope, receive, send)


# --- Two side by side.


async def show_comparison(visit: Visit) -> Response:
    """Show the form, and two traces side by side."""
    ids = [visit.query(name) for name in ("a", "b")]
    sides = [await about_trace(visit, await shown_trace(visit, id_)) for id_ in ids if id_]
    choices = _choices(visit)
    if sides and not choices["given"]["text"]:
        choices["given"]["text"] = _text_of(sides[0]["trace"])
    return await visit.page(
        "compare.html.j2",
        title="Compare",
        sides=sides,
        asked=[visit.query(name) for name in ("asked_a", "asked_b")],
        versions=await visit.aside(_versions, visit),
        **choices,
    )


def _versions(visit: Visit) -> Sequence[str]:
    """Return the versions that can be asked: `name@version`."""
    if not visit.may("manage"):
        return ()
    names = [name for name in visit.gateway.network.specialists if visit.caller.sees(name)]
    return [f"{name}@{version}" for name in names for version in reversed(visit.registry.versions(name))][:200]


async def compare(visit: Visit) -> Response:
    """Ask two targets, one after the other, and show both traces."""
    questions = [visit.value(side) for side in ("a", "b")]
    trace_ids = [await _ask_side(visit, text) for text in questions]
    return visit.go(
        f"compare?{urlencode({'a': trace_ids[0], 'b': trace_ids[1], 'asked_a': questions[0], 'asked_b': questions[1]})}"
    )


async def _ask_side(visit: Visit, target: str) -> str:
    """Ask a target of the API, or a version that does not serve, in an otherwise identical network."""
    name, at, version = target.partition("@")
    if not at:
        return await _run(visit, _CHAT, _chat(visit, target or ROUTED, _extension(visit)))
    visit.caller.require("manage")
    network = visit.gateway.network
    chosen(target, await visit.aside(_versions, visit), "The version")
    loaded = await visit.aside(load_beside, visit.config, visit.folder, name, version, network=network)
    other = replace(network, specialists={**network.specialists, name: loaded})
    gateway = replace(visit.gateway, network=other)

    def asked(_: Gateway, caller: Caller, body: bytes) -> ASGIApp:
        return complete_chat(gateway, caller, body)

    return await _run(visit, asked, _chat(visit, f"{ROUTED}/{name}", _extension(visit)))


_TEXT = "Where is my parcel?"


async def show_snippets(visit: Visit) -> Response:
    """Show code snippets: curl, `openai`, decisions and MCP."""
    host = visit.http.headers.get("host", "127.0.0.1:8321")
    scheme = "https" if visit.http.headers.get("referer", "").startswith("https:") else visit.http.url.scheme
    names = sorted(name for name in visit.gateway.network.specialists if visit.caller.sees(name))
    target = visit.query("target")
    target = target if target in names else ""
    address = f"{scheme}://{host}"
    snippets = list(
        _snippets(visit, address, target or (names[0] if names else ""), keyed=visit.caller.key is not None)
    )
    return await visit.page(
        "connect.html.j2",
        title="Connect",
        snippets=snippets,
        names=names,
        target=target,
        address=address,
        empty=is_empty(visit),
        untrained=visit.gateway.network.untrained,
    )


def _snippets(visit: Visit, address: str, name: str, *, keyed: bool) -> Iterator[tuple[str, str, str, str]]:
    """Yield id, title, purpose and text of each snippet."""
    model = f"{ROUTED}/{name}" if visit.query("target") and name else ROUTED
    key = "$COTERIE_KEY" if keyed else "unused"
    auth = f' -H "Authorization: Bearer {key}"' if keyed else ""
    text = _example(visit, name)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}, ensure_ascii=False)
    yield (
        "curl",
        "curl",
        "The Chat Completions API. The key `coterie` of the answer has route, confidence, energy and money.",
        f"curl {address}/v1/chat/completions{auth} \\\n  -H 'Content-Type: application/json' \\\n  -d {quote(body)}",
    )
    shown = 'os.environ["COTERIE_KEY"]' if keyed else '"unused"'
    yield (
        "openai",
        "Python, with the openai package",
        "Any OpenAI client: the address and the name of the model are all that changes.",
        ("import os\n" if keyed else "")
        + f"from openai import OpenAI\n\nclient = OpenAI(base_url={address + '/v1'!r}, api_key={shown})\n"
        f"reply = client.chat.completions.create(\n    model={model!r},\n"
        f"    messages=[{{'role': 'user', 'content': {text!r}}}],\n)\n"
        'print(reply.choices[0].message.content)\nprint(reply.coterie["route"], reply.coterie["usage"])',
    )
    labels = _labels(visit, name)
    questions = [{"type": "choice", "name": "topic", "instructions": "What is it about?", "choices": labels}]
    decision = json.dumps({"model": ROUTED, "input": text, "questions": questions}, ensure_ascii=False)
    yield (
        "decisions",
        "Typed decisions",
        "A question with its options; the answer is a distribution over them.",
        f"curl {address}/v1/decisions{auth} \\\n  -H 'Content-Type: application/json' \\\n  -d {quote(decision)}",
    )
    server: dict[str, object] = {"type": "http", "url": f"{address}/mcp"}
    if keyed:
        server["headers"] = {"Authorization": "Bearer ${COTERIE_KEY}"}
    yield (
        "mcp",
        "Model Context Protocol",
        "Specialists as tools, indexes as resources. It needs `pip install 'coterie[mcp]'` where the network runs.",
        json.dumps({"mcpServers": {visit.gateway.network.name: server}}, indent=2, ensure_ascii=False),
    )
    yield (
        "cli",
        "Command line",
        "In the folder of the network.",
        f"coterie ask {quote(text)} --trace" + (f" --specialist {name}" if visit.query("target") else ""),
    )


def _labels(visit: Visit, name: str) -> list[dict[str, str]]:
    specialist = visit.gateway.network.specialists.get(name)
    labels = () if specialist is None else specialist.card.labels
    return [{"value": label} for label in (labels[:6] if len(labels) > 1 else ("billing", "delivery"))]


def _example(visit: Visit, name: str) -> str:
    """Return an example text for a specialist."""
    return visit.query("text") or _TEXT if name else _TEXT
