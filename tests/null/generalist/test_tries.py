"""Asking a large model: fallbacks, hedges, deadlines and the price of each."""

import asyncio

import pytest

from coterie.errors import ConfigError, EgressRefused, EngineBroken, EngineUnavailable, Overloaded, TooLong
from coterie.generalist.generalist import ModelReply, Tries
from coterie.testing import ScriptedEngine
from coterie.types import SYSTEM, Delta, Failure, Label, Message, Output, Prompt, Usage, Verdict, worded

PROMPT = Prompt(messages=(Message(role="user", text="What is a lien? " * 10),), label=Label.PUBLIC)
FAR = 3600.0


def tries(candidates, *, hedge_after=None, seconds=FAR, prompt=lambda candidate: PROMPT):
    deadline = asyncio.get_running_loop().time() + seconds
    return Tries(candidates, prompt, call=SYSTEM, producer="generalist", deadline=deadline, hedge_after=hedge_after)


def down(name="large"):
    """An error of a server that is not there."""
    return EngineUnavailable(f"Engine {name!r} cannot be reached.", engine=name)


async def test_the_first_answers(make):
    """Where nothing goes wrong the first model alone is asked, in one step without a note."""
    first, second = ScriptedEngine(["Yes."], name="a"), ScriptedEngine(["No."], name="b")
    heard = await tries(make.candidates(first, second)).ask()

    assert (heard.text, heard.engine, heard.reason) == ("Yes.", "a", None)
    assert [(step.engine, step.note) for step in heard.steps] == [("a", "")]
    assert not second.prompts


@pytest.mark.parametrize(
    "error",
    [
        down("a"),
        EngineBroken("It sent rubbish.", engine="a"),
        Overloaded("All connections are in use."),
        ConfigError("The key is not set."),
        TooLong("The server says that it is too long."),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_fallback_is_asked_when_one_fails(make, error):
    """Whatever a model fails with, the next one is asked, and both steps say what happened."""
    heard = await tries(make.candidates(make.Breaks("a", error), ScriptedEngine(["No."], name="b"))).ask()

    assert (heard.text, heard.engine) == ("No.", "b")
    assert [step.note for step in heard.steps] == [f"failed: {error.message}", "fallback: 'a' failed"]
    assert heard.reason == error.reason


async def test_who_could_be_asked_next_decides_how_long_a_model_may_wait(make):
    """With another waiting a model may pause for a second; the last may use the time that is left, and no more."""
    first, second = make.Breaks("a", down("a")), ScriptedEngine(["No."], name="b")
    seen = []
    first.stream = lambda prompt, *, call, ask=first.stream: (seen.append(prompt.patience), ask(prompt, call=call))[1]
    await tries(make.candidates(first, second), seconds=30.0).ask()

    assert seen == [1.0]
    assert 20.0 < second.prompts[0].patience <= 30.0


async def test_a_mistake_of_ours_is_not_hidden(make):
    """An exception that no engine should raise goes through."""
    with pytest.raises(ZeroDivisionError):
        await tries(make.candidates(make.Breaks("a", ZeroDivisionError()), ScriptedEngine(["No."]))).ask()


async def test_every_failed_try_of_an_engine_is_counted(make):
    """What an engine tried by itself before it gave up, or answered, is in the ledger with its tokens."""
    error = down("a")
    error.failures = (Failure(reason="cut", usage=Usage(tokens_in=7)), Failure(reason="503"))
    output = Output(text="No.", usage=Usage(tokens_in=3), failures=(Failure(reason="429"),))
    heard = await tries(make.candidates(make.Breaks("a", error), ScriptedEngine([output], name="b"))).ask()

    assert [(s.engine, s.usage.tokens_in, s.note) for s in heard.steps] == [
        ("a", 7, "failed: cut"),
        ("a", 0, "failed: 503"),
        ("b", 0, "fallback: 'a' failed; failed: 429"),
        ("b", 3, "fallback: 'a' failed"),
    ]


async def test_all_fail(make):
    """If nobody answers, all reasons are told, and nobody is named as heard."""
    heard = await tries(make.candidates(*(make.Breaks(name, down(name)) for name in "ab"))).ask()

    assert (heard.text, heard.output, heard.engine) == ("", None, "")
    assert str(heard.reason) == "Engine 'a' cannot be reached; Engine 'b' cannot be reached"


async def test_an_empty_answer_is_a_failure(make):
    """A model that says nothing has not answered: the next is asked, and what it took is counted."""
    empty = Output(text=" \n", usage=Usage(tokens_out=2))
    heard = await tries(make.candidates(ScriptedEngine([empty], name="a"), ScriptedEngine(["No."], name="b"))).ask()

    assert heard.text == "No."
    assert (heard.steps[0].usage.tokens_out, heard.steps[0].note) == (2, "failed: 'a' returned an empty answer")


async def test_what_is_refused_takes_nothing(make):
    """Where the gate refuses one model and lets another be asked, the verdict is kept and no step is written for it."""
    verdict = Verdict(allowed=False, rule="egress.clearance", reason=worded("internal is above public"))
    heard = await tries(
        make.candidates(make.Breaks("a", EgressRefused(verdict)), ScriptedEngine(["No."], name="b"))
    ).ask()

    assert heard.verdicts == (verdict,)
    assert [step.engine for step in heard.steps] == ["b"]


async def test_a_model_whose_window_is_too_small_is_passed_over(make):
    """A prompt that does not fit is not sent; the next model gets it."""

    def prompt(candidate):
        if candidate.engine.name == "a":
            raise TooLong("It has 9 tokens, the window 8.")
        return PROMPT

    first = ScriptedEngine([], name="a")
    heard = await tries(make.candidates(first, ScriptedEngine(["No."], name="b")), prompt=prompt).ask()

    assert not first.prompts
    assert (heard.text, heard.reason.code) == ("No.", "error.too_long")


# --- Hedges and time -------------------------------------------------------------------------------


async def test_a_silent_model_has_another_asked_beside_it(make):
    """After `hedge_after` seconds of silence the next model is asked too; who speaks first is heard."""
    slow = make.Stalls("a")
    async with asyncio.timeout(120):
        heard = await tries(make.candidates(slow, ScriptedEngine(["No."], name="b")), hedge_after=0.01).ask()

    assert (heard.text, heard.engine, slow.given_up) == ("No.", "b", 1)
    given_up, answered = heard.steps
    assert (given_up.engine, given_up.note) == ("a", "given up: 'b' answered first")
    assert given_up.usage.tokens_in > 0, "who was asked may bill"
    assert answered.note == "hedge: 'a' had said nothing after 0.01 s"


async def test_a_single_model_is_asked_twice(make):
    """Without a fallback the hedge is a second request to the same model."""

    class Second(make.Stalls):
        """Hangs the first time."""

        async def stream(self, prompt, *, call=None):
            if not self.asked.is_set():
                self.asked.set()
                await asyncio.Event().wait()
            yield Delta(text="Yes.")
            yield Output(text="Yes.")

    async with asyncio.timeout(120):
        heard = await tries(make.candidates(Second("a")), hedge_after=0.01).ask()

    assert heard.text == "Yes."
    assert [step.engine for step in heard.steps] == ["a", "a"]


async def test_who_speaks_is_not_hedged(make):
    """Once a model has begun to speak nobody else is asked, however slow it is."""
    slow, other = make.Stalls("a", pieces=("Well, ",)), ScriptedEngine(["No."], name="b")
    async with asyncio.timeout(120):
        heard = await tries(make.candidates(slow, other), hedge_after=0.001, seconds=0.1).ask()

    assert (heard.text, heard.output) == ("Well, ", None)
    assert not other.prompts


async def test_time_runs_out(make):
    """At the deadline everybody is given up, and the reason says so."""
    slow = make.Stalls("a")
    async with asyncio.timeout(120):
        heard = await tries(make.candidates(slow), seconds=0.01).ask()

    assert (heard.text, heard.output, slow.given_up) == ("", None, 1)
    assert heard.reason.code == "attempt.out_of_time"
    assert heard.steps[0].note.startswith("given up: 'a' had not finished")


async def test_a_stream_that_breaks_off(make):
    """After the first piece no other model is asked: what was said stands, with the reason why it ended."""
    other = ScriptedEngine(["No."], name="b")
    error = EngineBroken("It broke off.", engine="a")
    events = [e async for e in tries(make.candidates(make.Breaks("a", error, pieces=("It ", "is")), other)).stream()]

    assert [e.text for e in events[:-1]] == ["It ", "is"]
    heard = events[-1]
    assert isinstance(heard, ModelReply)
    assert (heard.text, heard.output, heard.engine, str(heard.reason)) == ("It is", None, "a", "It broke off")
    assert not other.prompts


async def test_who_listens_no_more_ends_the_asking(make):
    """Closing the stream ends every model that is being asked, and leaves no task behind."""
    slow = make.Stalls("a", pieces=("Well",))
    stream = tries(make.candidates(slow)).stream()
    assert (await anext(stream)).text == "Well"
    await stream.aclose()

    assert slow.given_up == 1
    assert len(asyncio.all_tasks()) == 1


async def test_one_model_alone_is_asked_for_its_whole_answer(make):
    """Nobody sees pieces, and nobody else is asked: what is not yet whole at the deadline is no answer."""
    alone, stalls = ScriptedEngine(["Yes."]), make.Stalls("a", pieces=["Ye"])
    assert (await tries(make.candidates(alone)).ask()).text == "Yes."
    async with asyncio.timeout(120):
        heard = await tries(make.candidates(stalls), seconds=0.01).ask()
    assert (heard.text, heard.output, stalls.given_up) == ("", None, 1)
