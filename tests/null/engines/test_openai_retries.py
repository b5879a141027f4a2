import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from coterie.config.file import OpenAIModel
from coterie.engines.http import TransportError
from coterie.engines.openai import OpenAIEngine
from coterie.errors import BudgetExceeded, EngineBroken, EngineRejected, EngineTimeout, EngineUnavailable, Overloaded
from coterie.testing import ScriptedAnswer, ScriptedTransport, ServerReply
from coterie.types import CallContext, Message, Output, Prompt, Verdict, worded

OK = ServerReply(text="Paris")


@pytest.mark.parametrize(
    "failure",
    [
        ServerReply.refused(408),
        ServerReply.refused(409),
        ServerReply.refused(429),
        ServerReply.refused(500),
        ServerReply.refused(503),
        ServerReply(body=b"<html>proxy</html>"),
        ServerReply(cut_after=0),
        ServerReply(cut_after=40),
    ],
)
async def test_retried(connect, server, clock, ask, failure):
    """What may go right the next time is tried again, after a pause."""
    server.script = [failure, OK]
    assert (await connect().run([ask()]))[0].text == "Paris"
    assert len(server.requests) == 2
    assert len(clock.slept) == 1


@pytest.mark.parametrize(
    ("failure", "error"),
    [(ServerReply(cut_after=40), EngineBroken), (ServerReply.refused(503), None)],
    ids=["may have been billed", "turned away"],
)
async def test_a_try_that_no_budget_bears(connect, server, ask, failure, error):
    """Before a try that may be billed beside the last, the call is asked; where it says no, the failure stands."""
    reserving = []

    async def refuse(prompt):
        reserving.append(prompt)
        raise BudgetExceeded(Verdict(allowed=False, rule="budget", reason=worded("nothing is left")))

    server.script = [failure, OK]
    trying = connect().run([ask()], call=CallContext(before_retry=refuse))
    if error is None:
        assert (await trying)[0].text == "Paris"
    else:
        with pytest.raises(error):
            await trying
    assert len(reserving) == (error is not None)
    assert len(server.requests) == 2 - len(reserving)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_not_retried(connect, server, clock, ask, status):
    """What the server refuses is not asked again."""
    server.script = [ServerReply.refused(status), OK]
    with pytest.raises(EngineRejected):
        await connect().run([ask()])
    assert len(server.requests) == 1
    assert clock.slept == []


async def test_timeout_is_retried(connect, server, ask):
    """A server that does not answer in time is asked again, on another connection."""
    server.script = [ServerReply(hang=True), OK]
    assert (await connect(timeout=2.0).run([ask()]))[0].text == "Paris"
    assert server.connections == 2


async def test_connect_error_is_retried(ask, clock):
    """So is one that cannot be reached at first."""
    answers = iter([TransportError("unreachable", "refused"), TransportError("late", "late")])

    def answer(request):
        if error := next(answers, None):
            raise error
        return ScriptedAnswer(json={"choices": [{"message": {"content": "Paris"}, "finish_reason": "stop"}]})

    model = OpenAIModel(engine="openai", base_url="http://x/v1", name="big")
    engine = OpenAIEngine("cloud", model, transport=ScriptedTransport(answer), sleep=clock.sleep)
    assert (await engine.run([ask()]))[0].text == "Paris"
    assert len(clock.slept) == 2
    await engine.close()


async def test_gives_up(connect, server, ask):
    """After the configured number of further tries the last error is the caller's."""
    server.default = ServerReply.refused(503, "busy")
    with pytest.raises(EngineUnavailable, match="status 503"):
        await connect(retries=3).run([ask()])
    assert len(server.requests) == 4


@pytest.mark.parametrize(("draw", "pauses"), [(0.0, [0, 0, 0, 0]), (0.5, [0.25, 0.5, 1, 2]), (1.0, [0.5, 1, 2, 4])])
async def test_full_jitter(connect, server, clock, draw, pauses):
    """Pauses are drawn between nothing and a limit that doubles."""
    server.default = ServerReply.refused(503)
    with pytest.raises(EngineUnavailable):
        await connect(retries=4, draw=draw).run([Prompt(messages=(Message(role="user", text="hi"),))])
    assert clock.slept == pauses


async def test_retry_after(connect, server, clock, ask):
    """The server's own wish is honoured, with jitter on top."""
    server.script = [ServerReply.refused(429, retry_after="3"), OK]
    await connect().run([ask()])
    assert clock.slept == [3.25]


async def test_retry_after_date(connect, server, clock, ask):
    """So is a date, read by the server's clock."""
    headers = {"retry-after": "Wed, 21 Oct 2026 07:28:05 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    server.script = [ServerReply(status=503, body=b"", headers=headers), OK]
    await connect().run([ask()])
    assert clock.slept == [5.25]


@pytest.mark.parametrize("value", ["soon", "-5", "nan", "inf", "", "Wed, 99 Oct 2026"])
async def test_senseless_retry_after(connect, server, clock, ask, value):
    """A wish that makes no sense is none."""
    server.script = [ServerReply.refused(429, retry_after=value), OK]
    await connect().run([ask()])
    assert clock.slept == [0.25]


async def test_long_retry_after(connect, server, clock, ask):
    """A long wish is handed to the caller at once."""
    server.script = [ServerReply.refused(429, retry_after="3600"), OK]
    with pytest.raises(EngineUnavailable) as failure:
        await connect().run([ask()])
    assert failure.value.retry_after == 3600
    assert clock.slept == []


@pytest.mark.parametrize(("patience", "slept"), [(None, [3.25]), (5.0, [3.25]), (2.0, None)])
async def test_a_prompt_s_patience_ends_the_waiting(connect, server, clock, ask, *, patience, slept):
    """A wish beyond what the prompt allows is handed to the caller at once; within it, it is honoured."""
    server.script = [ServerReply.refused(429, retry_after="3"), OK]
    prompt = replace(ask(), patience=patience)
    if slept is None:
        with pytest.raises(EngineUnavailable) as failure:
            await connect().run([prompt])
        assert failure.value.retry_after == 3
    else:
        await connect().run([prompt])
    assert clock.slept == (slept or [])


async def test_waits_together_stay_within_the_patience(connect, server, clock, ask):
    """What was waited for an earlier try is no longer there for the next."""
    server.script = [ServerReply.refused(429, retry_after="3")] * 3
    with pytest.raises(EngineUnavailable):
        await connect(retries=5).run([replace(ask(), patience=5.0)])
    assert clock.slept == [3.25]


async def test_stream_is_retried_before_its_first_piece(connect, server, ask):
    """A stream that fails before it has said anything is tried again."""
    server.script = [ServerReply.refused(503), ServerReply(cut_after=0), ServerReply(error_after=0), OK]
    events = [event async for event in connect(retries=3).stream(ask())]
    assert [event.text for event in events] == ["Paris", "Paris"]


@pytest.mark.parametrize(
    "reply", [ServerReply(pieces=["a", "b"], cut_after=1), ServerReply(pieces=["a", "b"], error_after=1)]
)
async def test_stream_is_not_retried_after_its_first_piece(connect, server, ask, reply):
    """Once a piece is out, a failure is final: the text would be said twice."""
    server.script = [reply]
    stream = connect().stream(ask())
    assert (await anext(stream)).text == "a"
    with pytest.raises(EngineBroken):
        await anext(stream)
    assert len(server.requests) == 1


async def test_circuit_opens(connect, server, clock, ask):
    """After five failures in a row nothing is sent for 30 seconds; then one request decides."""
    server.default = ServerReply.refused(503)
    engine = connect(retries=9)
    with pytest.raises(EngineUnavailable, match="status 503"):
        await engine.run([ask()])
    assert len(server.requests) == 5, "an open circuit ends the tries too"
    for _ in range(10):
        with pytest.raises(EngineUnavailable, match="failed 5 times in a row"):
            await engine.run([ask()])
        with pytest.raises(EngineUnavailable, match="failed 5 times in a row"):
            await anext(engine.stream(ask()))
    assert len(server.requests) == 5
    clock.advance(31)
    with pytest.raises(EngineUnavailable, match="status 503"):
        await engine.run([ask()])
    assert len(server.requests) == 6
    clock.advance(31)
    server.default = OK
    assert (await engine.run([ask()]))[0].text == "Paris"
    assert (await engine.run([ask()]))[0].text == "Paris"


async def test_abandoned_stream_keeps_the_circuit(connect, server, clock, ask):
    """A probe that its reader leaves early does not block the next one."""
    server.default = ServerReply.refused(503)
    engine = connect(retries=9)
    with pytest.raises(EngineUnavailable):
        await engine.run([ask()])
    clock.advance(31)
    server.default = ServerReply(pieces=["a"] * 50)
    stream = engine.stream(ask())
    await anext(stream)
    await stream.aclose()
    assert (await engine.run([ask()]))[0].text


async def test_a_reader_that_has_the_answer_and_leaves(connect, server, ask):
    """An answer that was read counts as one, also where its reader takes it and goes: the failures begin anew."""
    engine = connect(retries=0)
    for _ in range(3):
        server.script = [*[ServerReply.refused(503)] * 4, OK]
        for _ in range(4):
            with pytest.raises(EngineUnavailable, match="status 503"):
                await engine.run([ask()])
        async with aclosing(engine.stream(ask())) as events:
            async for event in events:
                if isinstance(event, Output):
                    break


async def test_timeout_counts_the_whole_answer(ask):
    """A server that drips an answer byte by byte runs into the same limit."""

    class Drip:
        async def __aiter__(self):
            import asyncio

            while True:
                await asyncio.sleep(0.01)
                yield b" "

    transport = ScriptedTransport(lambda request: ScriptedAnswer(body=Drip()))
    model = OpenAIModel(engine="openai", base_url="http://x/v1", name="big", timeout=0.1, retries=0)
    engine = OpenAIEngine("cloud", model, transport=transport)
    with pytest.raises(EngineTimeout):
        await engine.run([ask()])
    with pytest.raises(EngineTimeout):
        await anext(engine.stream(ask()))
    await engine.close()


# --- What failed tries took ------------------------------------------------------------------------


async def test_failed_tries_are_counted(connect, server, ask):
    """The answer carries the tries before it: a refused one took nothing, of a cut one the prompt counts as read."""
    server.script = [ServerReply.refused(503), ServerReply(cut_after=40), OK]
    (output,) = await connect(retries=2).run([ask()])
    refused, cut = output.failures

    assert "status 503" in refused.reason
    assert (refused.usage.tokens_in, refused.usage.tokens_out) == (0, 0)
    assert cut.usage.tokens_in > 0


async def test_the_last_error_carries_every_try(connect, server, ask):
    """Where none succeeds, the error has all of them, itself included."""
    server.default = ServerReply.refused(503)
    with pytest.raises(EngineUnavailable) as failed:
        await connect(retries=2).run([ask()])

    assert len(failed.value.failures) == 3
    assert failed.value.failures[-1].reason == failed.value.message


async def test_a_cut_stream_counts_what_came(connect, server, ask):
    """The pieces that came before a stream broke off are in the try's tokens."""
    server.default = ServerReply(pieces=("word " * 40, "more"), cut_after=1)
    with pytest.raises(EngineBroken) as failed:
        [event async for event in connect().stream(ask())]

    (failure,) = failed.value.failures
    assert failure.usage.tokens_out >= 40


async def test_what_was_not_sent_took_nothing(connect, server, ask, monkeypatch):
    """A try that waits for a connection until its time is up is free; one that the server kept waiting is not."""
    monkeypatch.setattr("coterie.engines.http._CONNECTIONS", 1)
    server.default = ServerReply(hang=True)
    engine = connect(timeout=0.2, retries=0)
    with pytest.raises(EngineTimeout) as kept_waiting:
        await engine.run([ask()])
    transport, until = engine._connection._transport, asyncio.get_running_loop().time() + 3600
    server.asked.clear()
    other = asyncio.create_task(transport.post(f"{server.base_url}/chat/completions", {}, b"{}", until=until))
    await server.asked.wait()  # it has the only connection
    with pytest.raises((EngineTimeout, Overloaded)) as not_sent:
        await engine.run([ask()])
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    failures = not_sent.value.failures

    assert not kept_waiting.value.turned_away
    assert kept_waiting.value.failures[0].usage.tokens_in > 0
    assert [(failure.turned_away, failure.usage.tokens_in) for failure in failures] in ([], [(True, 0)])
    assert len(server.requests) == 2
