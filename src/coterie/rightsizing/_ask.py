"""Asking a large model about held-out rows: a few-shot prompt with every label in it.

It knows an engine by its protocol. Whoever opened it did so through the egress gate, which sees each prompt's label.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

import numpy as np

from coterie.data import Dataset, Row
from coterie.engines import estimate_tokens
from coterie.protocols import Engine
from coterie.training import Progress
from coterie.types import Label, Message, Output, Prompt

from ._answers import Answer
from ._large import Held

_SHOTS = 20  # examples shown, of different labels as far as there are
_SHOTS_TOKENS = 2000  # about what they may take together
_AT_ONCE = 8
_LONGEST = 64  # tokens of an answer


async def ask_model(
    engine: Engine, held: Held, train: Dataset, *, most: int, label: Label, seed: int, progress: Progress
) -> list[Answer]:
    """Its answers on at most so many held-out rows that have a label.

    Args:
        engine: The model.
        held: The held-out rows.
        train: Where the examples of the prompt come from.
        most: How many rows; a seeded sample when there are more.
        label: Sensitivity of the rows.
        seed: Of the sample.
        progress: Told how far it is.

    Raises:
        EngineError, EgressRefused, Overloaded: what the engine raises; no answer is made up.
    """
    positions = _sample([i for i, row in enumerate(held.rows) if row.labels], most, seed)
    start = prompt_start(train, held)
    answers: dict[int, Answer] = {}
    waiting = iter(positions)

    async def work() -> None:
        for i in waiting:  # shared by the workers: each row is taken by one of them
            answers[i] = await _ask(engine, start, held, i, label)
            progress.advance(1)

    progress.start(f"{engine.name}: ask", len(positions))
    workers = [asyncio.ensure_future(work()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    progress.finish("")
    return [answers[i] for i in positions]


def _sample(positions: Sequence[int], most: int, seed: int) -> list[int]:
    if len(positions) <= most:
        return list(positions)
    return sorted(np.random.default_rng(seed).choice(positions, size=most, replace=False).tolist())


async def _ask(engine: Engine, start: tuple[Message, ...], held: Held, i: int, label: Label) -> Answer:
    asked = Message(role="user", text=_in_words(held.rows[i]))
    begun = time.perf_counter()
    (output,) = await engine.run([Prompt(messages=(*start, asked), label=label, max_tokens=_LONGEST)])
    return _answer(output, held.numbers[i], (time.perf_counter() - begun) * 1000)


def _answer(output: Output, number: int, milliseconds: float) -> Answer:
    usage = output.usage
    return Answer(
        text=None,
        row=number,
        answer=output.text.strip(),
        tokens_in=usage.tokens_in or None,
        tokens_out=usage.tokens_out or None,
        milliseconds=milliseconds,
    )


def prompt_start(train: Dataset, held: Held) -> tuple[Message, ...]:
    """Instruction and examples: what every prompt begins with."""
    if held.task == "score":
        told = "Estimate the outcome of each case. Answer with the probability that it is 1, from 0 to 1, alone."
    else:
        how = "the labels that fit, separated by |" if held.multi_label else "the one label that fits"
        told = f"Label each message. Answer with {how}, as written here, alone. The labels:\n" + "\n".join(held.labels)
    messages = [Message(role="system", text=told)]
    for row in _examples(train):
        messages.append(Message(role="user", text=_in_words(row)))
        messages.append(Message(role="assistant", text="|".join(row.labels)))
    return tuple(messages)


def _examples(train: Dataset) -> list[Row]:
    """The first row of each label, as many as the prompt has room for."""
    first = {row.labels[0]: row for row in reversed(train.rows) if row.labels}
    shown: list[Row] = []
    room = _SHOTS_TOKENS
    for label in train.label_names:
        if label in first and len(shown) < _SHOTS:
            room -= estimate_tokens(_in_words(first[label]))
            if room >= 0:
                shown.append(first[label])
    return shown


def _in_words(row: Row) -> str:
    """The text, with the columns as a JSON object."""
    columns = json.dumps(dict(row.columns), ensure_ascii=False) if row.columns else ""
    return "\n".join(part for part in (row.text.strip(), columns) if part)
