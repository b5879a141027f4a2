"""Follow-ups by the follow-up model, small talk by the bundled encoder and the head on it."""

from __future__ import annotations

import asyncio

import pytest

from coterie.context.sharing import rewrite_query
from coterie.engines.onnx import OnnxEncoder
from coterie.turns.reader import TurnReader
from coterie.types import Context, Entry, Label, Message, Prompt


@pytest.fixture(scope="module")
def rewritten():
    """Rewrites a turn after earlier questions; None where it stands alone."""
    encoder = OnnxEncoder.bundled()
    turns = TurnReader.of(encoder.about)

    async def encode(texts):
        return await encoder.run([Prompt(text=text, states=True) for text in texts])

    async def rewrite(text, *earlier):
        entries = tuple(
            Entry(content=Message(role="user", text=earlier_text), producer="user", label=Label.INTERNAL, time=0.0)
            for earlier_text in earlier
        )
        query = await rewrite_query(text, Context(entries=entries), turns=turns, encode=encode)
        return None if query is None else query.text

    yield rewrite
    asyncio.run(encoder.close())


@pytest.mark.parametrize(
    ("earlier", "text", "words"),
    [
        ("What is Swyer syndrome?", "is it inherited?", {"swyer", "syndrome"}),
        ("book me a table for two at Luigi's", "at eight instead", {"table", "luigi's"}),
    ],
)
async def test_what_a_turn_lacks_is_put_behind_it(rewritten, earlier, text, words):
    """It leans on the question before, and gets the words of it that say what is meant."""
    query = await rewritten(text, earlier)

    assert query.startswith(f"{text} (")
    assert words <= set(query.removeprefix(text).strip(" ()").split())


@pytest.mark.parametrize(
    ("earlier", "text", "question"),
    [
        (["Which gloves for caustic soda?"], "And for acetone?", "Which gloves for acetone?"),
        (["Which gloves for caustic soda?", "And for acetone?"], "And for bleach?", "Which gloves for bleach?"),
        (["When is the branch in Leeds open?"], "And in York?", "When is the branch in York open?"),
        (["When does the pool open on Sunday?"], "and on Monday?", "When does the pool open on Monday?"),
        (["What does a day ticket cost for adults?"], "And for children?", "What does a day ticket cost for children?"),
    ],
)
async def test_a_phrase_takes_the_place_of_a_parallel_one(rewritten, earlier, text, question):
    """The question before is asked of what the turn names instead."""
    assert await rewritten(text, *earlier) == question


@pytest.mark.parametrize(
    ("earlier", "text"),
    [
        ("How do I top up by card?", "What is the exchange rate for euros?"),
        ("What is Swyer syndrome?", "What are the symptoms of Marfan syndrome?"),
        ("I lost my card", "thanks!"),
        ("where is my parcel", "great, that's all for now"),
    ],
)
async def test_what_stands_alone_stays(rewritten, earlier, text):
    """Another subject, and small talk."""
    assert await rewritten(text, earlier) is None


async def test_small_talk_between_is_passed_over(rewritten):
    """What a turn is about was asked before it."""
    assert "swyer" in await rewritten("is it inherited?", "What is Swyer syndrome?", "thanks a lot")
