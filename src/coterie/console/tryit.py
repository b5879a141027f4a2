"""How programs ask this network: snippets with its address, its names and labels filled in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from shlex import quote

from starlette.responses import Response

from coterie.console.network import is_empty
from coterie.console.visits import Visit
from coterie.gateway.openai.translation import ROUTED

_TEXT = "Where is my parcel?"


async def show_snippets(visit: Visit) -> Response:
    """curl, `openai`, decisions and MCP."""
    host = visit.http.headers.get("host", "127.0.0.1:8321")
    scheme = "https" if visit.http.headers.get("referer", "").startswith("https:") else visit.http.url.scheme
    names = sorted(name for name in visit.gateway.network.specialists if visit.caller.sees(name))
    target = visit.query("target")
    target = target if target in names else ""
    address = f"{scheme}://{host}"
    found = list(_snippets(visit, address, target or (names[0] if names else ""), keyed=visit.caller.key is not None))
    return await visit.page(
        "connect.html.j2",
        title="Connect",
        snippets=found,
        names=names,
        target=target,
        address=address,
        empty=is_empty(visit),
        untrained=visit.gateway.network.untrained,
    )


def _snippets(visit: Visit, address: str, name: str, *, keyed: bool) -> Iterator[tuple[str, str, str, str]]:
    """Id, title, what it is for, and the text of each."""
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
    """A text to ask with."""
    return visit.query("text") or _TEXT if name else _TEXT
