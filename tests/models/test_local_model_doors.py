"""SmolLM2-135M as a `[models]` entry of a network without specialists, asked at the doors of chat."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import httpx
import pytest

from coterie.assembly import open_network
from coterie.config.file import GatewaySection, LlamaModel
from coterie.errors import ModelMissing
from coterie.gateway.app import create_app
from coterie.models.catalogue import locate

pytest.importorskip("xllamacpp")

FILE = '[network]\nname = "t"\n\n[models.small]\nengine = "llama"\nname = "smollm2"\nwindow = 1024\nthreads = 1\n'
COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


@asynccontextmanager
async def _closing(network):
    try:
        yield network
    finally:
        await network.close()


async def test_a_local_model_at_every_door(tmp_path):
    """Words, words piece by piece, JSON of a schema and a call of a function."""
    try:
        locate(LlamaModel(engine="llama", name="smollm2"), tmp_path)
    except ModelMissing as missing:
        pytest.skip(str(missing))
    (tmp_path / "coterie.toml").write_text(FILE, encoding="utf-8")
    async with _closing(await open_network(tmp_path, empty=True)) as network:
        app = create_app(network, GatewaySection())
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as http:

            async def ask(path, **body):
                response = await http.post(f"/v1/{path}", json={"model": "small", **body})
                assert response.status_code == 200, response.text
                return response

            turns = [{"role": "user", "content": "Name a colour."}]
            whole = (await ask("responses", input="Name a colour.", max_output_tokens=6, temperature=0)).json()
            assert whole["usage"]["output_tokens"] == 6
            assert whole["status"] == "incomplete"
            text = whole["output"][0]["content"][0]["text"]
            streamed = await ask("completions", prompt="Name a colour.", max_tokens=6, temperature=0, stream=True)
            lines = [line[6:] for line in streamed.text.splitlines() if line.startswith("data: {")]
            assert "".join(json.loads(line)["choices"][0]["text"] for line in lines) == text
            form = {"format": {"type": "json_schema", "schema": COLOUR}}
            answer = (await ask("messages", messages=turns, max_tokens=30, output_config=form)).json()
            assert json.loads(answer["content"][0]["text"])["colour"] in {"red", "blue"}
            tool = {"name": "paint", "input_schema": COLOUR}
            forced = {"type": "tool", "name": "paint"}
            answer = (await ask("messages", messages=turns, max_tokens=60, tools=[tool], tool_choice=forced)).json()
            assert answer["stop_reason"] == "tool_use"
            assert answer["content"][0]["input"]["colour"] in {"red", "blue"}
