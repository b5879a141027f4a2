"""Prompts in the shape of OpenAI's chat requests, which llama.cpp and the servers share."""

from __future__ import annotations

from coterie.types import Prompt

from ._text import valid_text


def chat_body(prompt: Prompt) -> dict[str, object]:
    """A prompt as the JSON of a streamed chat request, without the model's name."""
    body: dict[str, object] = {
        "messages": [{"role": message.role, "content": valid_text(message.text)} for message in prompt.messages],
        "max_tokens": max(prompt.max_tokens, 1),  # servers read other numbers as "no limit"
        "temperature": prompt.temperature,
        "seed": prompt.seed,
    }
    if prompt.stop:
        body["stop"] = [valid_text(stop) for stop in prompt.stop]
    if prompt.json_schema is not None:
        schema = {"name": "answer", "strict": True, "schema": dict(prompt.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body
