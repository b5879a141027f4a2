from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from coterie.errors import EngineBroken, EngineTimeout
from coterie.privacy.patterns import PatternDetector
from coterie.testing import (
    Canaries,
    EchoEngine,
    FakeClock,
    ScriptedEngine,
    check_choices,
    check_engine,
    check_streaming_engine,
    fail_nth,
)
from coterie.types import Delta, Label, Message, Output, Prompt


def prompt(text):
    """A prompt of one message."""
    return Prompt(text=text, messages=(Message(role="user", text=text),))


async def test_echo_keeps_the_contracts():
    """The echo engine is an engine, and a streaming one."""
    engine = EchoEngine()
    await check_streaming_engine(engine)
    await check_engine(engine)
    assert engine.closed


async def test_echo():
    """It gives back text, and equal vectors of length 1 for equal texts."""
    engine = EchoEngine(dimension=16)
    one, two, three = await engine.run([prompt("a b"), Prompt(text="a b"), prompt("c")])
    assert (one.text, two.text, three.text) == ("a b", "a b", "c")
    assert np.array_equal(one.vector, two.vector)
    assert not np.allclose(one.vector, three.vector)
    assert one.vector.shape == (16,)
    assert np.linalg.norm(one.vector) == pytest.approx(1)
    assert len(engine.prompts) == 3


async def test_echo_scores_choices():
    """Choices have the scores that text and adapter draw for them, as the contract says."""
    engine, request = EchoEngine(), Prompt(text="hi", choices=(" a", " b", " c"))
    await check_choices(engine, prompt=request)
    (bare,), (adapted,) = await engine.run([request]), await engine.run([replace(request, adapter="x")])
    assert np.exp(bare.scores).sum() == pytest.approx(1)
    assert not np.allclose(bare.scores, adapted.scores)


@pytest.mark.parametrize("text", ["", " ", "one", " two  words ", "lines\n\nand\ttabs"])
async def test_echo_streams_all_of_it(text):
    """A stream loses no blank."""
    *deltas, output = [event async for event in EchoEngine().stream(prompt(text))]
    assert "".join(delta.text for delta in deltas) == output.text == text


async def test_scripted_keeps_the_contracts():
    """The scripted engine is an engine, and a streaming one."""
    await check_streaming_engine(ScriptedEngine(["a few words"] * 4))
    await check_engine(ScriptedEngine(["a", "b", "c"]))


async def test_scripted():
    """It follows its script line by line: outputs, texts, errors; past the end it is broken."""
    engine = ScriptedEngine([Output(text="given"), "said", EngineTimeout("late", engine="x")])
    assert [output.text for output in await engine.run([prompt("1"), prompt("2")])] == ["given", "said"]
    with pytest.raises(EngineTimeout, match="late"):
        await anext(engine.stream(prompt("3")))
    assert engine.left == 0
    with pytest.raises(EngineBroken, match="script of 'scripted' has ended"):
        await engine.run([prompt("4")])
    assert [sent.text for sent in engine.prompts] == ["1", "2", "3", "4"]


async def test_scripted_stream():
    """A line is streamed word by word."""
    events = [event async for event in ScriptedEngine(["one two"]).stream(prompt("x"))]
    assert events[:2] == [Delta(text="one "), Delta(text="two")]


async def test_clock():
    """The clock stands still, moves when told to, and sleeps without waiting."""
    clock = FakeClock(10.0)
    assert (clock(), clock()) == (10.0, 10.0)
    clock.advance(5)
    await asyncio.wait_for(clock.sleep(3600), timeout=120)
    assert clock() == 3615.0
    assert clock.slept == [3600]


def test_fail_nth():
    """The n-th call fails, those before and after it go through."""
    call = fail_nth(lambda n: n * 2, 2, OSError("disk"))
    assert call(1) == 2
    with pytest.raises(OSError, match="disk"):
        call(2)
    assert call(3) == 6


async def test_fail_nth_async():
    """So does the n-th call of a coroutine function, which does nothing when it fails."""
    done = []

    async def work(n):
        done.append(n)

    call = fail_nth(work, 1, OSError("disk"))
    with pytest.raises(OSError, match="disk"):
        await call(1)
    await call(2)
    assert done == [2]


def test_fail_nth_counts_from_one():
    """There is no call number 0."""
    with pytest.raises(ValueError, match="counted from 1"):
        fail_nth(print, 0, OSError())


def test_no_pytest():
    """The package is for any test runner: it does not import pytest."""
    program = "import coterie.testing, sys; print([m for m in ('pytest', '_pytest', 'hypothesis') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- Canaries are what detectors find, no two are alike, and they are found again however they are written.


def test_detectors_know_them():
    """Personal data and secrets are such that the patterns of the core find every one, as what it is."""
    canaries, detector = Canaries(seed=1), PatternDetector()
    for canary in [canaries.personal() for _ in range(300)] + [canaries.secret() for _ in range(50)]:
        text = f"It is {canary.text} as far as I know."
        assert [(span.kind, text[span.start : span.end]) for span in detector.find(text)] == [
            (canary.kind, canary.text)
        ]
    assert len({canary.plain for canary in canaries.made}) == len(canaries.made)


@pytest.mark.parametrize("form", [str.upper, lambda t: t.replace(" ", "-"), "\\u0020".join, lambda t: t])
def test_found_in_any_form(form):
    """Case and what stands between its letters hide nothing; escapes that have letters of their own may."""
    canaries = Canaries(seed=2)
    canary = canaries.personal("IBAN")
    leaked = canaries.found(f'{{"a": "x {form(canary.text)}"}}'.encode(), clearance=Label.INTERNAL)
    assert leaked == ([] if "u0020" in form("a b") else [canary])


def test_only_what_is_above_the_clearance():
    """What a server may see is not reported, and neither is the beginning of a canary."""
    canaries = Canaries(seed=3)
    words = [canaries.word(label) for label in Label]
    received = " ".join(word.text for word in words).encode()
    assert canaries.found(received, clearance=Label.INTERNAL) == words[2:]
    assert canaries.found(words[3].text[:-1].encode(), clearance=Label.PUBLIC) == []
