"""Asking a large model: what the prompt says, how many rows, and that nothing is made up."""

import pytest

from coterie.errors import EngineUnavailable
from coterie.learning.progress import Silent
from coterie.rightsizing.large import ask_model, prompt_start
from coterie.testing import EchoEngine, ScriptedEngine
from coterie.types import Label


async def ask(engine, rows, *, most=100):
    """Its answers to a job's held-out rows."""
    return await ask_model(
        engine, rows.held, rows.train, most=most, label=Label.CONFIDENTIAL, seed=0, progress=Silent()
    )


def test_the_prompt_lists_labels_and_shows_examples(job, texts):
    """Every label is in the instruction, and an example of each with its label is shown."""
    rows = job(texts())
    instruction, *shown = prompt_start(rows.train, rows.held)

    assert all(label in instruction.text for label in ("card", "parcel", "refund"))
    assert [message.role for message in shown] == ["user", "assistant"] * 3
    assert [message.text for message in shown[1::2]] == ["card", "parcel", "refund"]


async def test_every_row_is_asked_with_its_label(job, texts):
    """Prompts carry the sensitivity; answers name their rows by number and count tokens."""
    rows, engine = job(texts(), texts(each=3, seed=1)), EchoEngine()
    answers = await ask(engine, rows)

    assert {prompt.label for prompt in engine.prompts} == {Label.CONFIDENTIAL}
    assert [answer.row for answer in answers] == list(range(1, 10))
    assert [answer.answer for answer in answers] == [row.text for row in rows.held.rows]
    assert all(answer.tokens_in and answer.milliseconds is not None for answer in answers)


async def test_at_most_so_many(job, texts):
    """More rows than wanted: a seeded sample of them, the same every time."""
    rows = job(texts(), texts(each=10, seed=1))
    first, second = [[answer.row for answer in await ask(EchoEngine(), rows, most=7)] for _ in range(2)]

    assert len(first) == 7
    assert first == second


async def test_an_engine_that_fails(job, texts):
    """The engine's error is raised: a model that cannot be reached has no answers."""
    engine = ScriptedEngine([EngineUnavailable("nobody there", engine="giant")])

    with pytest.raises(EngineUnavailable, match="nobody there"):
        await ask(engine, job(texts(), texts(each=1, seed=1)), most=1)
