"""What every engine must do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import cast

import numpy as np

from coterie.protocols import Engine, StreamingEngine
from coterie.types import Delta, Label, Message, Output, Prompt

from ._clauses import check_output, require

_NOTICEABLE = 0.1
"""Seconds of a call during which the event loop must have had a turn."""


async def check_engine(engine: Engine, *, prompts: Sequence[Prompt] | None = None) -> None:
    """Check the clauses of `protocols.Engine`, and close the engine.

    Args:
        engine: works off at least eight prompts.
        prompts: two or more that it can serve; short texts, also as messages, by default.
    """
    prompts = prompts or [_prompt("hello there"), _prompt("where is my card?"), _prompt("goodbye")]
    _check_description(engine)
    require("an empty batch gives no outputs", list(await engine.run([])) == [])
    together = list(await _without_blocking(engine, prompts))
    require(f"{len(prompts)} prompts give as many outputs, not {len(together)}", len(together) == len(prompts))
    for output in together:
        check_output(output)
    if any(output.vector is not None or output.scores is not None for output in together):
        for prompt, output in zip(prompts, together, strict=True):
            (alone,) = await engine.run([prompt])
            require("outputs come in the order of the prompts, whoever shares the batch", _close(alone, output))
    await engine.close()
    await engine.close()  # a second call does nothing


async def check_streaming_engine(engine: StreamingEngine, *, prompt: Prompt | None = None) -> None:
    """Check the clauses of `protocols.StreamingEngine` beyond those of `Engine`; the engine stays open.

    Args:
        engine: works off at least four prompts.
        prompt: one whose answer has several pieces; a short request by default.
    """
    prompt = prompt or _prompt("Tell me a story about a lighthouse, in a few words.")
    require("it has `stream` and all that an Engine has", isinstance(engine, StreamingEngine))
    pieces, output = await _read(engine, prompt)
    require(f"the deltas together are the text: {pieces!r}, {output.text!r}", "".join(pieces) == output.text)
    require("a delta has text", all(pieces))
    check_output(output)
    async with aclosing(_stream(engine, prompt)) as events:
        async for _ in events:
            break  # closing early must neither hang nor spoil the engine
    (first, one), (second, two) = await asyncio.gather(_read(engine, prompt), _read(engine, prompt))
    for parts, each in ((first, one), (second, two)):
        require("streams that run at once do not mix", "".join(parts) == each.text)


async def check_choices(engine: Engine, *, prompt: Prompt) -> None:
    """Check that an engine scores choices as `types.Prompt` says; the engine stays open.

    Args:
        engine: works off at least three prompts.
        prompt: one with two choices or more.
    """
    (output,) = await engine.run([prompt])
    check_output(output)
    scores = output.scores
    require("a prompt with choices has scores", scores is not None)
    scores = np.asarray(scores)
    wanted = (len(prompt.choices),)
    require(f"there is a score a choice: {scores.shape}, not {wanted}", scores.shape == wanted)
    require(f"a score is the log of a probability: {scores}", np.isfinite(scores).all() and (scores <= 1e-6).all())
    require(
        "the choices, each with its end, exclude each other: together they have at most all the probability",
        np.exp(scores).sum() <= 1 + 1e-6,
    )
    require("nothing is generated", output.text == "")
    turned = replace(prompt, choices=prompt.choices[::-1])
    (again,) = await engine.run([turned])
    require("scores come in the order of the choices", np.allclose(np.asarray(again.scores)[::-1], scores, atol=0.3))
    (alone,) = await engine.run([replace(prompt, choices=prompt.choices[:1])])
    require("a single choice has a score too", np.asarray(alone.scores).shape == (1,))


def _check_description(engine: Engine) -> None:
    require("it has name, clearance, run and close", isinstance(engine, Engine))
    require("its name is a string, not empty", isinstance(engine.name, str) and engine.name)
    require("its clearance is a Label", isinstance(engine.clearance, Label))


async def _without_blocking(engine: Engine, prompts: Sequence[Prompt]) -> Sequence[Output]:
    """The outputs, with the event loop watched meanwhile."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    counter = asyncio.create_task(count())
    start = time.perf_counter()
    try:
        outputs = await engine.run(prompts)
    finally:
        took = time.perf_counter() - start
        counter.cancel()
    require(f"a call of {took:.2f} s lets the event loop go on meanwhile", took < _NOTICEABLE or turns > 0)
    return outputs


async def _read(engine: StreamingEngine, prompt: Prompt) -> tuple[list[str], Output]:
    """The pieces of a stream and the output that ends it."""
    events = [event async for event in engine.stream(prompt)]
    outputs = [event for event in events if isinstance(event, Output)]
    require(f"a stream has one Output, not {len(outputs)}", len(outputs) == 1)
    require("the Output is the last of a stream", events[-1] is outputs[0])
    require("before the Output there are only deltas", all(isinstance(event, Delta) for event in events[:-1]))
    return [event.text for event in events if isinstance(event, Delta)], outputs[0]


def _stream(engine: StreamingEngine, prompt: Prompt) -> AsyncGenerator[Delta | Output, None]:
    return cast("AsyncGenerator[Delta | Output, None]", engine.stream(prompt))


def _close(a: Output, b: Output) -> bool:
    """Equal but for rounding."""
    pairs = ((a.vector, b.vector), (a.scores, b.scores))
    return all(
        (x is None and y is None) or (x is not None and y is not None and np.allclose(x, y, atol=1e-3))
        for x, y in pairs
    )


def _prompt(text: str) -> Prompt:
    return Prompt(text=text, messages=(Message(role="user", text=text),), max_tokens=24)
