"""Real clients against a served network: what each makes of JSON answers, refusals, tools and streams.

    python scripts/clients_check.py URL LABEL... --text TEXT --off-topic TEXT [--model NAME]

They do not fit into one environment with ours: `scripts/clients_env` makes `.venv/clients`. `LABEL`s are those of a
`classify` specialist of the network, the first that of `TEXT`; `OFF-TOPIC` is for nobody. With `--model`, a model of
`[models]` in this process is asked directly as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

import anthropic
import instructor
from langchain_openai import ChatOpenAI
from openai import OpenAI
from pydantic import BaseModel, create_model
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

Check = tuple[str, Callable[[], object], object]


class Cat(BaseModel):
    """What a model in this process is asked to make up."""

    name: str
    age: int


def checks(given: argparse.Namespace) -> Iterator[Check]:
    """Name, what is done and what must come out."""
    label, text = given.labels[0], given.text
    form = create_model("Ticket", intent=(Literal[tuple(given.labels)], ...))
    right = form(intent=label)
    client = OpenAI(base_url=f"{given.url}/v1", api_key=given.key, max_retries=0)
    request: dict[str, Any] = {"model": "coterie", "messages": [{"role": "user", "content": text}]}
    off: dict[str, Any] = request | {"messages": [{"role": "user", "content": given.off_topic}]}
    chat, responses = client.chat.completions, client.responses
    yield "openai: text", lambda: chat.create(**request).choices[0].message.content, label
    yield "openai: parse", lambda: chat.parse(**request, response_format=form).choices[0].message.parsed, right
    yield "openai: refusal", lambda: bool(chat.create(**off).choices[0].message.refusal), True
    yield (
        "openai: responses",
        lambda: responses.parse(model="coterie", input=text, text_format=form).output_parsed,
        right,
    )
    yield "openai: responses go on", lambda: _goes_on(client, text), label
    yield from _frameworks(given, form, right, client, request)
    messages = anthropic.Anthropic(base_url=given.url, api_key=given.key, max_retries=0).messages
    limited: dict[str, Any] = request | {"max_tokens": 99}
    yield "anthropic: text", lambda: messages.create(**limited).content[0].text, label
    yield "anthropic: refusal", lambda: messages.create(**limited | off).stop_reason, "refusal"
    tool = {"name": "note", "input_schema": form.model_json_schema()}
    forced = {"tools": [tool], "tool_choice": {"type": "any"}}
    yield "anthropic: tool", lambda: messages.create(**limited, **forced).content[0].input, {"intent": label}
    if given.model:
        cat = [{"role": "user", "content": "Make up a cat."}]
        parse = lambda: chat.parse(model=given.model, messages=cat, response_format=Cat)  # noqa: E731 - a check
        yield "local: parse", lambda: type(parse().choices[0].message.parsed), Cat


def _goes_on(client: OpenAI, text: str) -> str:
    first = client.responses.create(model="coterie", input=text)
    return client.responses.create(model="coterie", input=text, previous_response_id=first.id).output_text


def _frameworks(
    given: argparse.Namespace, form: type[BaseModel], right: BaseModel, client: OpenAI, request: dict[str, Any]
) -> Iterator[Check]:
    chat = ChatOpenAI(model="coterie", base_url=f"{given.url}/v1", api_key=given.key, max_retries=0)
    for method in ("json_schema", "function_calling"):
        yield (
            f"langchain: {method}",
            lambda m=method: chat.with_structured_output(form, method=m).invoke(given.text),  # type: ignore[misc]
            right,
        )
    messages = [
        ("system", f"Answer with JSON of this schema: {form.model_json_schema()}".replace("'", '"')),
        ("user", given.text),
    ]
    yield "langchain: json_mode", lambda: chat.with_structured_output(form, method="json_mode").invoke(messages), right
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA, instructor.Mode.MD_JSON):
        yield (
            f"instructor: {mode.value}",
            lambda m=mode: instructor.from_openai(client, mode=m).create(**request, response_model=form),  # type: ignore[misc]
            right,
        )
    model = OpenAIChatModel("coterie", provider=OpenAIProvider(base_url=f"{given.url}/v1", api_key=given.key))
    for output in (ToolOutput, NativeOutput):
        yield (
            f"pydantic-ai: {output.__name__}",
            lambda o=output: Agent(model, output_type=o(form)).run_sync(given.text).output,  # type: ignore[misc]
            right,
        )


def main() -> None:
    """Run all, say which failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("labels", nargs="+")
    parser.add_argument("--text", required=True)
    parser.add_argument("--off-topic", required=True)
    parser.add_argument("--model")
    parser.add_argument("--key", default="unused")
    failed = 0
    for name, do, expected in checks(parser.parse_args()):
        wanted = expected.model_dump() if isinstance(expected, BaseModel) else expected
        try:
            result: object = do()
            result = result.model_dump() if isinstance(result, BaseModel) else result
        except Exception as error:  # noqa: BLE001 - whatever a client raises is what is looked for
            result = error
        failed += result != wanted
        print("ok    " if result == wanted else "FAILED", name, "" if result == wanted else repr(result)[:300])
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
