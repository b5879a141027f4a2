"""Prompts in the shape of OpenAI's chat requests, which llama.cpp and the servers share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from coterie.types import Prompt

from ._text import valid_text


def read_logprob(choice: Mapping[str, Any]) -> float | None:
    """The summed logarithms of the probabilities of a choice's tokens; None where they are not given, or are none."""
    described = choice.get("logprobs")
    tokens = described.get("content") if isinstance(described, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    values = [token.get("logprob") for token in tokens if isinstance(token, dict)]
    numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return sum(numbers) if len(numbers) == len(tokens) else None


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
    if prompt.logprobs:
        body["logprobs"] = True
    if prompt.json_schema is not None:
        schema = {"name": "answer", "strict": True, "schema": dict(prompt.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body
