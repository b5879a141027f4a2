"""A budget is never exceeded: what a call can take is reserved before it, and what it took is settled after."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import sqlite3
import sys
from contextlib import closing
from decimal import Decimal

import pytest

from coterie.config.file import OpenAIModel, parse_config
from coterie.config.operation import BudgetSection
from coterie.errors import (
    BudgetExceeded,
    ConfigError,
    EngineBroken,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    Overloaded,
    TooLong,
)
from coterie.limits.limits import StoredLimits
from coterie.limits.memory import request_allowance
from coterie.testing import FakeClock
from coterie.types import SYSTEM, CallContext, Failure, Message, Output, Principal, Prompt, Usage

MODEL = OpenAIModel(
    engine="openai", base_url="http://x/v1", name="m", price_in=Decimal(10), price_out=Decimal(30), retries=0
)
PROMPT = Prompt(messages=(Message(role="user", text="x" * 84),), max_tokens=100)  # at most 100 + 100 tokens, 0.004


@pytest.fixture
def clock():
    """Noon of a day."""
    return FakeClock(1_764_072_000.0)


@pytest.fixture
def budgets(tmp_path, clock):
    """Makes budgets over one file."""

    def make(*, is_alive=None, **sections: dict[str, object]) -> StoredLimits:
        made = {name: BudgetSection(**section) for name, section in sections.items()}
        return StoredLimits(made, tmp_path / "budgets.db", clock=clock, is_alive=is_alive)

    return make


async def call(
    budgets: StoredLimits,
    *,
    tokens: tuple[int, int] = (20, 10),
    error: BaseException | None = None,
    by: CallContext = SYSTEM,
) -> None:
    """A remote call that takes so many tokens, or fails."""
    async with budgets.held([PROMPT], MODEL, "large", by) as held:
        await asyncio.sleep(0)
        if error:
            raise error
        held.outputs = [Output(usage=Usage(tokens_in=tokens[0], tokens_out=tokens[1]))]


async def test_what_a_call_took_is_settled(budgets):
    """The reservation is given back and the true amount stays."""
    made = budgets(daily={"money": "1", "tokens": 1000})
    await call(made)

    (spent,) = made.spending()
    assert (spent.tokens, spent.money, spent.held) == (30, Decimal("0.0005"), 0)


async def test_too_little_left(budgets):
    """A call that could take more than is left is not made, and the refusal says how much of what."""
    made = budgets(daily={"money": "0.0039"})
    with pytest.raises(
        BudgetExceeded, match=r"'daily' is 0.0039 of money a day: 0.003900 are left.*0.004000"
    ) as caught:
        await call(made)

    assert caught.value.verdict.rule == "budget.daily"
    assert made.spending()[0].money == 0
    await call(budgets(daily={"money": "0.0040"}))


LONG = Prompt(messages=PROMPT.messages, max_tokens=4_000)  # at most 0.121


async def sent(budgets: StoredLimits, prompt: Prompt = LONG, *, wrote: int = 20) -> int:
    """A call's `max_tokens` as it is sent; it then writes so many tokens."""
    async with budgets.held([prompt], MODEL, "large", SYSTEM) as held:
        assert wrote <= held.prompts[0].max_tokens
        held.outputs = [Output(usage=Usage(tokens_in=20, tokens_out=wrote))]
        return held.prompts[0].max_tokens


async def test_a_small_budget_pays_a_small_call(budgets):
    """A call that may take 40 times what is left is sent with as many tokens as are paid for, and no more."""
    made = budgets(daily={"money": "0.0031"})
    assert await sent(made) == 70  # of 0.0031, 0.001 for reading
    assert made.spending()[0].money == Decimal("0.0008")
    for prompt in (LONG, Prompt(messages=PROMPT.messages, max_tokens=4_000, json_schema={"type": "object"})):
        with pytest.raises(BudgetExceeded):  # 43 tokens are less than a sentence, and half a schema is nothing
            await sent(made, prompt)
    assert await sent(budgets(daily={"money": "9"})) == 4_000


async def test_what_is_sent_as_it_is_is_not_capped(budgets):
    """A body that is relayed says itself how much is written: it fits whole, or is refused."""
    made = budgets(daily={"money": "0.0031"})
    verbatim = Prompt(messages=PROMPT.messages, max_tokens=100, verbatim=b'{"max_tokens": 100}')
    assert await sent(made) == 70
    with pytest.raises(BudgetExceeded):
        await sent(budgets(other={"money": "0.0031"}), verbatim)
    assert await sent(budgets(daily={"money": "9"}), verbatim) == 100


async def test_what_says_no_length_takes_what_such_calls_took(budgets):
    """Of a relayed body without a length its window is reserved where that is there, else the longest answer before."""
    made = budgets(daily={"money": "0.128"})  # a window takes 0.120, an answer of 20 tokens 0.0008
    body = Prompt(messages=PROMPT.messages, max_tokens=4_000, verbatim=b"{}", unbounded=1)
    for _ in range(12):
        await sent(made, body, wrote=20)
    for prompt in (body, dataclasses.replace(body, unbounded=2)):
        async with made.held([prompt], MODEL, "large", SYSTEM) as held:
            assert (held.most[0].tokens, held.prompts[0].verbatim) == (18 + 20 * prompt.unbounded, b"{}")
            held.outputs = [Output(usage=Usage(tokens_in=20, tokens_out=20))]
    with pytest.raises(BudgetExceeded):  # it says how long, and that is what it may take
        await sent(made, dataclasses.replace(body, unbounded=0))
    with pytest.raises(BudgetExceeded):  # nothing is known of such calls
        await sent(budgets(other={"money": "0.0031"}), body)


async def test_what_answers_took_says_what_one_needs(budgets):
    """After ten answers of 5 tokens, one is asked where 10 can be paid; after ten of 90, none is."""
    for wrote, bounded in ((5, True), (90, False)):
        made = budgets(large={"money": "9"}, **{f"b{wrote}": {"money": "0.0140", "tenant": "t"}})
        for _ in range(10):
            await sent(made, wrote=wrote)
        tight = StoredLimits({"b": BudgetSection(money="0.0013")}, made._file._path.with_name(f"{wrote}.db"))
        tight._usual = made._usual
        if bounded:
            assert await sent(tight, wrote=5) == 10
        else:
            with pytest.raises(BudgetExceeded):
                await sent(tight)


async def test_capped_calls_at_once_never_overspend(budgets):
    """Whatever is capped, and whoever writes all that it may, the budget is not exceeded."""
    made = budgets(daily={"money": "0.05"})

    async def greedy() -> None:
        try:
            async with made.held([LONG], MODEL, "large", SYSTEM) as held:
                await asyncio.sleep(0.001)
                held.outputs = [Output(usage=Usage(tokens_in=100, tokens_out=held.prompts[0].max_tokens))]
        except BudgetExceeded:
            await asyncio.sleep(0.001)

    for _ in range(5):
        await asyncio.gather(*(greedy() for _ in range(10)))
    (spent,) = made.spending()
    assert Decimal("0.01") < spent.money <= Decimal("0.05")
    assert spent.held == 0


async def test_reservations_of_others_count(budgets):
    """Two calls at once cannot both count on the same rest."""
    made = budgets(daily={"tokens": 399})
    async with made.held([PROMPT], MODEL, "large", SYSTEM):
        with pytest.raises(BudgetExceeded):
            await call(made)


@pytest.mark.parametrize(
    ("error", "tokens"),
    [
        (EngineRejected("no", engine="large"), 0),
        (EngineUnavailable("no", engine="large"), 0),
        (EngineTimeout("slow", engine="large"), 200),
        (EngineBroken("cut", engine="large"), 200),
        (asyncio.CancelledError(), 200),
        (RuntimeError("ours"), 200),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
async def test_failed_calls(budgets, error, tokens):
    """A call that was turned away took nothing; of one that broke off, all that was reserved counts."""
    made = budgets(daily={"tokens": 1000})
    with pytest.raises(type(error)):
        await call(made, error=error)

    (spent,) = made.spending()
    assert (spent.tokens, spent.held) == (tokens, 0)


@pytest.mark.parametrize("times", [1, 2])
async def test_gone_before_it_began(budgets, times):
    """What is reserved for somebody who goes away meanwhile, however often they are cancelled, is free again."""
    made = budgets(daily={"money": "1"}, energy={"joules": 100.0, "reserve": 5.0})
    async with asyncio.timeout(120):
        with made._file.writing():  # whoever reserves waits for us
            waiting = [asyncio.create_task(call(made)), asyncio.create_task(made.admit(Principal()))]
            for _ in range(times):
                await asyncio.sleep(0)
                for task in waiting:
                    task.cancel()
        gone = await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()  # no thread is at work any more

    assert [type(outcome) for outcome in gone] == [asyncio.CancelledError] * 2
    daily, energy = made.spending()
    assert (daily.money, daily.held, energy.joules, energy.held_joules) == (0, 0, 0, 0)


async def test_gone_while_the_request_is_counted(budgets, monkeypatch):
    """Who leaves when the energy is reserved and the request is being written leaves no energy reserved."""
    made = budgets(rate={"per": "minute", "requests": 5}, energy={"joules": 100.0, "reserve": 5.0})
    asking = asyncio.create_task(made.admit(Principal()))
    write = made._allotments.write

    def leave(rows):
        asking.get_loop().call_soon_threadsafe(asking.cancel)
        write(rows)

    monkeypatch.setattr(made._allotments, "write", leave)
    with pytest.raises(asyncio.CancelledError):
        await asking
    monkeypatch.undo()

    rate, energy = made.spending()
    assert (rate.requests, energy.joules, energy.held_joules) == (1, 0, 0)


@pytest.mark.parametrize(
    ("failures", "tokens"),
    [
        ([True, True], 30),
        ([False, True], 230),
        ([False, False], 430),
    ],
    ids=["turned away", "one cut off", "two cut off"],
)
async def test_tries_before_an_answer(budgets, failures, tokens):
    """Of each try that was not turned away the most that it can take counts beside what the answer took."""
    made = budgets(daily={"tokens": 1000})
    tries = tuple(Failure(reason="x", turned_away=turned_away) for turned_away in failures)
    async with made.held([PROMPT], MODEL.model_copy(update={"retries": 2}), "large", SYSTEM) as held:
        held.outputs = [Output(usage=Usage(tokens_in=20, tokens_out=10), failures=tries)]

    assert made.spending()[0].tokens == tokens


@pytest.mark.parametrize(
    ("error", "tries", "tokens"),
    [
        (EngineUnavailable("503", engine="large"), [False, True], 200),
        (EngineUnavailable("503", engine="large"), [True, True], 0),
        (EngineTimeout("slow", engine="large"), [True, False], 200),
        (Overloaded("full"), [], 0),
        (Overloaded("full"), [False], 200),
        (TooLong("long"), [], 0),
    ],
)
async def test_tries_of_a_call_that_failed(budgets, error, tries, tokens):
    """A try that was cut off counts although the last one was turned away, or never made."""
    made = budgets(daily={"tokens": 1000})
    error.failures = tuple(Failure(reason="x", turned_away=turned_away) for turned_away in tries)
    with pytest.raises(type(error)):
        async with made.held([PROMPT], MODEL.model_copy(update={"retries": 2}), "large", SYSTEM):
            raise error

    assert made.spending()[0].tokens == tokens


async def test_several_prompts_of_which_one_fails(budgets):
    """The others were cut off with it: all that was reserved counts."""
    made = budgets(daily={"tokens": 1000})
    with pytest.raises(EngineUnavailable):
        async with made.held([PROMPT, PROMPT], MODEL, "large", SYSTEM):
            raise EngineUnavailable("503", engine="large")

    assert made.spending()[0].tokens == 400


async def test_a_stream_that_is_left_after_its_end(budgets):
    """What was answered whole is settled as it was, although nobody waited for the generator to end."""
    made = budgets(daily={"tokens": 1000})

    async def pieces():
        async with made.held([PROMPT], MODEL, "large", SYSTEM) as held:
            held.outputs = [Output(usage=Usage(tokens_in=20, tokens_out=10))]
            yield "whole"

    stream = pieces()
    await anext(stream)
    await stream.aclose()

    assert made.spending()[0].tokens == 30


async def test_every_try_is_reserved(budgets):
    """A further try of a prompt is reserved before it is made, and not made where not enough is left for it."""
    made = budgets(daily={"tokens": 599})
    async with made.held([PROMPT], MODEL, "large", SYSTEM) as held:
        await held.before_retry(PROMPT)
        with pytest.raises(BudgetExceeded, match="199 are left, and this call may take 200"):
            await held.before_retry(PROMPT)
        with pytest.raises(BudgetExceeded):
            await call(made)
        held.outputs = [Output(usage=Usage(tokens_in=20, tokens_out=10), failures=(Failure(reason="cut off"),))]

    assert made.spending()[0].tokens == 230


async def test_a_request_s_own_allowance(budgets):
    """What a request may spend is reserved beside the budgets; a refusal of one takes nothing of the other."""
    made, own = budgets(daily={"money": "1"}), request_allowance(Decimal(6))
    mine = CallContext(limits=(own,))
    await call(made, by=mine)
    assert own.left == Decimal("0.0055")
    poor = budgets(daily={"money": "0.001"})
    with pytest.raises(BudgetExceeded, match="'daily'"):
        await call(poor, by=mine)
    assert own.left == Decimal("0.0055")
    await call(made, by=mine)
    with pytest.raises(EngineTimeout):
        await call(made, by=mine, error=EngineTimeout("slow", engine="large"))
    with pytest.raises(BudgetExceeded, match=r"may cost 0.004; the budget of this request has 0.001 left"):
        await call(made, by=mine)

    assert made.spending()[0].money == Decimal("0.005")


async def test_an_unknown_price(budgets):
    """Under a limit of money, a model of unknown price is not asked; unknown is not nothing."""
    model = MODEL.model_copy(update={"price_out": None})
    with pytest.raises(BudgetExceeded, match="price of model 'large' is unknown"):
        async with budgets(daily={"money": "9"}).held([PROMPT], model, "large", SYSTEM):
            raise AssertionError("not reached")
    async with budgets(daily={"tokens": 900}).held([PROMPT], model, "large", SYSTEM):
        pass


async def test_requests(budgets, clock):
    """So many are taken in a minute, wherever it begins: none more around the turn of one of the clock."""
    made = budgets(rate={"requests": 3, "per": "minute"})
    clock.now += 59
    for _ in range(3):
        await made.admit(Principal())
    for later in (0, 1, 59):
        clock.now += later
        with pytest.raises(BudgetExceeded, match="3 requests a minute"):
            await made.admit(Principal())
    clock.now += 1
    await made.admit(Principal())


@pytest.mark.parametrize(("per", "span", "piece"), [("minute", 60, 1), ("hour", 3600, 60)])
async def test_never_more_within_a_span(budgets, clock, per, span, piece):
    """Of requests at any moments no span has more than the limit, and none waits a piece longer than it must."""
    made, chance, taken = budgets(rate={"requests": 4, "per": per}), random.Random(7), []
    for _ in range(300):
        clock.now += chance.choice([0.0, 0.3, piece, span / 7, span / 2]) * chance.random()
        try:
            await made.admit(Principal())
        except BudgetExceeded:
            assert sum(when > clock.now - span - piece for when in taken) >= 4
            continue
        taken.append(clock.now)
        assert sum(when > clock.now - span for when in taken) <= 4
    assert 50 < len(taken) < 300
    assert made.spending()[0].period == f"the last {per}"


async def test_comes_again_when_it_is_told(budgets, clock):
    """Who waits as long as a refusal says is taken, and a moment earlier is not."""
    made = budgets(rate={"requests": 3, "per": "minute"}, tokens={"tokens": 500, "per": "minute"})
    for later in (0.25, 20, 30):
        clock.now += later
        await made.admit(Principal())
    with pytest.raises(BudgetExceeded) as caught:
        await made.admit(Principal())
    assert caught.value.retry_after == 10.75

    clock.now += caught.value.retry_after - 0.001
    with pytest.raises(BudgetExceeded):
        await made.admit(Principal())
    clock.now += 0.001
    await made.admit(Principal())

    for _ in range(2):  # 200 each are reserved for a call, and 200 taken
        await call(made, tokens=(100, 100))
        clock.now += 10
    with pytest.raises(BudgetExceeded) as caught:
        await call(made)
    clock.now += caught.value.retry_after
    await call(made)


async def test_what_slid_away_is_dropped(budgets, clock, tmp_path):
    """The file does not grow with the pieces that count no more, and the dearest request is known beyond them."""
    made = budgets(rate={"requests": 9, "joules": 900.0, "per": "minute"})
    await ask(made, 300.0)
    for _ in range(200):
        clock.now += 30
        await ask(made, 1.0)
    with closing(sqlite3.connect(tmp_path / "budgets.db")) as file:
        (rows,) = file.execute("SELECT count(*) FROM spent").fetchone()
    assert rows <= 4
    clock.now += 3600
    await made.admit(Principal())
    assert made.spending()[0].held_joules == 300.0


async def test_a_rate_at_once(budgets):
    """Two processes' worth of requests at once are taken up to the limit and not one more."""
    several = [budgets(rate={"requests": 25, "per": "minute"}) for _ in range(3)]
    done = await asyncio.gather(*(limits.admit(Principal()) for limits in several * 20), return_exceptions=True)

    assert sum(outcome == () for outcome in done) == 25
    assert all(outcome == () or isinstance(outcome, BudgetExceeded) for outcome in done)


async def test_whose(budgets):
    """A tenant's or key's budget is for its requests alone, and each of several has to have something left."""
    made = budgets(acme={"tenant": "acme", "requests": 1}, bot={"key": "k3v9x0ab", "requests": 2}, all={"requests": 3})
    await made.admit(Principal(tenant="acme", key="k3v9x0ab"))
    with pytest.raises(BudgetExceeded, match="'acme'"):
        await made.admit(Principal(tenant="acme", key="k3v9x0ab"))
    assert [spent.requests for spent in made.spending()] == [1, 1, 1]
    await made.admit(Principal(tenant="other", key="k3v9x0ab"))
    with pytest.raises(BudgetExceeded, match="'bot'"):
        await made.admit(Principal(tenant="other", key="k3v9x0ab"))
    await made.admit(Principal(tenant="other"))
    with pytest.raises(BudgetExceeded, match="'all'"):
        await made.admit(Principal(tenant="third"))


@pytest.mark.parametrize("key", ["bot", "K3V9X0AB", "ctr_k3v9x0ab", ""])
def test_a_key_is_named_by_its_id(key):
    """A budget of a key that there cannot be would limit nothing, so its name in place of its id is refused."""
    with pytest.raises(ConfigError, match=r"budgets.one.key: the id of a key is wanted, eight characters"):
        parse_config(f'[budgets.one]\nkey = "{key}"\nrequests = 1')


def test_a_budget_without_a_limit():
    """It would be a promise that nothing keeps."""
    with pytest.raises(ConfigError, match=r"budgets.one: it limits nothing"):
        parse_config('[budgets.one]\nper = "month"\ntenant = "acme"')


async def test_who_pays_is_who_asked(budgets):
    """The principal of the call decides."""
    made = budgets(acme={"tenant": "acme", "tokens": 1000})
    await call(made)
    await call(made, by=CallContext(principal=Principal(tenant="acme")))

    assert made.spending()[0].tokens == 30


async def test_a_new_day(budgets, clock):
    """What was spent yesterday is yesterday's, also of a call that began then."""
    made = budgets(daily={"tokens": 250})
    await call(made, tokens=(100, 100))
    with pytest.raises(BudgetExceeded):
        await call(made)
    clock.now += 86_400
    await call(made)
    assert made.spending()[0].tokens == 30


@pytest.mark.parametrize("before", ["minute", "hour", "day", "month", "ever"])
@pytest.mark.parametrize("after", ["minute", "hour", "day", "month", "ever"])
async def test_another_span_in_the_file(budgets, clock, before, after):
    """A budget that is given another span is not used up for good by what it took in the one it had."""
    await budgets(one={"requests": 1, "per": before}).admit(Principal())
    clock.now += 40 * 86_400
    made = budgets(one={"requests": 1, "per": after})

    if after == "ever":
        with pytest.raises(BudgetExceeded):
            await made.admit(Principal())
    else:
        await made.admit(Principal())


async def test_the_price_of_its_beginning(budgets, clock):
    """A call that ends on a day with other prices is settled at those reserved: the limit holds at midnight."""
    dearer = [{"from": "2025-11-26", "in": "1000", "out": "3000"}]
    model = OpenAIModel.model_validate(MODEL.model_dump() | {"prices": dearer})
    made = budgets(daily={"money": "0.004"})
    async with made.held([PROMPT], model, "large", SYSTEM) as held:
        clock.now += 86_400
        held.outputs = [Output(usage=Usage(tokens_in=100, tokens_out=100))]
    clock.now -= 86_400

    assert made.spending()[0].money == Decimal("0.004")


async def test_two_processes(budgets):
    """Two openings of one file see each other's reservations at once."""
    first, second = budgets(daily={"tokens": 399}), budgets(daily={"tokens": 399})
    async with first.held([PROMPT], MODEL, "large", SYSTEM):
        with pytest.raises(BudgetExceeded):
            await call(second)
    await first.close()
    await first.close()


async def test_a_killed_process(budgets):
    """What it had reserved counts as spent: nobody knows how far it came."""
    first = budgets(daily={"tokens": 1000})
    killed = first.held([PROMPT], MODEL, "large", SYSTEM)
    await killed.__aenter__()

    alive = budgets(daily={"tokens": 1000}, is_alive=lambda process: True)
    assert alive.spending()[0].tokens == 0
    after = budgets(daily={"tokens": 1000}, is_alive=lambda process: False)
    (spent,) = after.spending()
    assert (spent.tokens, spent.held) == (200, 0)
    await killed.__aexit__(None, None, None)
    assert after.spending()[0].tokens == 200


async def test_a_killed_process_of_the_same_number(budgets, tmp_path, clock):
    """In a container every process is number 1: what the one before held counts as spent, not as held by the next."""
    database = tmp_path / "left.db"
    async with budgets(daily={"tokens": 1000}).held([PROMPT], MODEL, "large", SYSTEM):
        with closing(sqlite3.connect(tmp_path / "budgets.db")) as running, closing(sqlite3.connect(database)) as left:
            running.backup(left)
    (spent,) = StoredLimits({"daily": BudgetSection(tokens=1000)}, database, clock=clock).spending()
    with closing(sqlite3.connect(database)) as connection:
        (held,) = connection.execute("SELECT count(*) FROM held").fetchone()

    assert (spent.tokens, spent.held, held) == (200, 0, 0)


async def test_the_file_is_its_owners(budgets, tmp_path):
    """It names tenants and keys, so nobody else of the machine reads it, nor what SQLite writes beside it."""
    made = budgets(daily={"requests": 3})
    await made.admit(Principal(tenant="acme"))

    assert [path.stat().st_mode & 0o077 for path in tmp_path.iterdir()] == [0] * len(list(tmp_path.iterdir()))


async def test_no_budget_makes_no_file(budgets, tmp_path):
    """Who limits nothing writes nothing."""
    made = budgets()
    await made.admit(Principal())
    await call(made)
    assert not (tmp_path / "budgets.db").exists()


# --- Energy: reserved by what the dearest request took -------------------------------------------


async def ask(budgets: StoredLimits, joules: float | None, *, account: Principal | None = None) -> None:
    """A request that takes so much, or of which that is not known."""
    reserved = await budgets.admit(account or Principal())
    await budgets.settle(reserved, None if joules is None else Usage(joules=joules))


async def test_energy_is_reserved_and_settled(budgets):
    """First what the section says, then what the dearest request took; the rest is free again."""
    made = budgets(daily={"joules": 100, "reserve": 40})
    first, second = await made.admit(Principal()), await made.admit(Principal())
    with pytest.raises(BudgetExceeded, match=r"100.0 joules a day: 20.0 are left, and this request may take 40.0"):
        await made.admit(Principal())
    await made.settle(first, Usage(joules=45.0))
    await made.settle(first, Usage(joules=45.0))  # once only
    await made.settle(second, Usage(joules=0.25))
    (spent,) = made.spending()
    assert (spent.joules, spent.held_joules) == (45.25, 0)
    third = await made.admit(Principal())
    assert made.spending()[0].held_joules == 45
    await made.settle(third, None)
    assert made.spending()[0].joules == 90.25
    with pytest.raises(BudgetExceeded, match=r"9.8 are left, and this request may take 45.0"):
        await made.admit(Principal())


async def test_the_dearest_is_remembered_over_days(budgets, clock):
    """A new day begins empty, and reserves what was learned before."""
    made = budgets(daily={"joules": 100, "reserve": 1})
    await ask(made, 60.0)
    clock.now += 86_400
    reserved = await made.admit(Principal())
    with pytest.raises(BudgetExceeded):
        await made.admit(Principal())
    assert made.spending()[0].joules == 0
    await made.settle(reserved, Usage(joules=1))


async def test_a_request_that_is_refused_reserves_nothing(budgets):
    """Neither with the budget that has nothing left nor with one that has."""
    made = budgets(energy={"joules": 100}, rate={"requests": 1})
    await ask(made, 1.0)
    with pytest.raises(BudgetExceeded, match="'rate'"):
        await made.admit(Principal())
    assert [(s.requests, s.held_joules) for s in made.spending()] == [(0, 0), (1, 0)]


@pytest.mark.parametrize("seed", range(3))
async def test_energy_at_once(budgets, seed):
    """However many run, fail or are unknown: never above the limit while none is dearer than what is reserved."""
    rng = random.Random(seed)
    made, took = budgets(daily={"joules": 1000, "reserve": 10}), [0.0]

    async def one() -> None:
        reserved = await made.admit(Principal())
        joules = rng.uniform(0, 10)
        took[0] += joules
        await asyncio.sleep(0)
        await made.settle(reserved, None if rng.random() < 0.2 else Usage(joules=joules))

    results = await asyncio.gather(*(one() for _ in range(300)), return_exceptions=True)
    (spent,) = made.spending()
    assert all(result is None or isinstance(result, BudgetExceeded) for result in results)
    assert took[0] <= spent.joules + 1e-3
    assert spent.joules <= 1000
    assert spent.held_joules == 0


def test_a_limit_below_one_request():
    """It would take none: the section says so."""
    with pytest.raises(ValueError, match="Lower `reserve`"):
        BudgetSection(joules=10)


# --- Each has their own, waits as long as needed, and is told nothing of others --------------------


async def test_each_has_its_own(budgets):
    """Every tenant, or every key, is limited by itself."""
    made = budgets(fair={"each": "tenant", "requests": 1}, keys={"each": "key", "requests": 2})
    await made.admit(Principal(tenant="a", key="k"))
    await made.admit(Principal(tenant="b", key="k"))
    with pytest.raises(BudgetExceeded, match="'fair' is 1 requests a day: 1 were made"):
        await made.admit(Principal(tenant="a", key="l"))
    with pytest.raises(BudgetExceeded, match="'keys'"):
        await made.admit(Principal(tenant="c", key="k"))
    assert {(s.name, s.whose, s.requests) for s in made.spending()} == {
        ("fair", "a", 1),
        ("fair", "b", 1),
        ("keys", "k", 2),
    }


@pytest.mark.parametrize(
    ("per", "seconds"),
    [("minute", None), ("hour", None), ("day", 45_029.5), ("month", 477_029.5), ("ever", None)],
)
async def test_how_long_to_wait(budgets, clock, per, seconds):
    """Until the next day or month begins in UTC; for ever where a span that slides never has as much."""
    clock.now = 1_764_070_170.5  # 2025-11-25 11:29:30.5
    made = budgets(rate={"requests": 0, "per": per})
    with pytest.raises(BudgetExceeded) as caught:
        await made.admit(Principal())
    assert caught.value.retry_after == seconds


async def test_others_are_not_told_of(budgets):
    """Who holds a key is not told what others took of a budget that all share; of one of their own they are."""
    made = budgets(all={"requests": 1}, mine={"requests": 1, "tenant": "acme"})
    await made.admit(Principal(tenant="acme", key="k"))
    with pytest.raises(BudgetExceeded) as shared:
        await made.admit(Principal(tenant="other", key="l"))
    with pytest.raises(BudgetExceeded, match="'all' is 1 requests a day: 1 were made"):
        await made.admit(Principal())
    own = budgets(mine={"requests": 1, "tenant": "acme"})
    with pytest.raises(BudgetExceeded, match="1 were made"):
        await own.admit(Principal(tenant="acme", key="k"))
    assert shared.value.message == "budget 'all' is used up"


async def test_a_file_of_an_earlier_version(budgets, tmp_path):
    """What was spent before there was a limit on energy still counts."""
    with closing(sqlite3.connect(tmp_path / "budgets.db")) as old:
        old.executescript(
            "CREATE TABLE spent (budget TEXT, period TEXT, requests INTEGER DEFAULT 0, tokens INTEGER DEFAULT 0,"
            " nano INTEGER DEFAULT 0, held_tokens INTEGER DEFAULT 0, held_nano INTEGER DEFAULT 0,"
            " PRIMARY KEY (budget, period)) WITHOUT ROWID;"
            "CREATE TABLE held (id INTEGER PRIMARY KEY, owner INTEGER, budget TEXT, period TEXT, tokens INTEGER,"
            " nano INTEGER);"
            "INSERT INTO spent VALUES ('daily', '2025-11-25', 1, 30, 0, 100, 0);"
            "INSERT INTO held VALUES (1, 4194305, 'daily', '2025-11-25', 100, 0);"
        )
    made = budgets(daily={"requests": 9, "tokens": 900, "joules": 90})
    await ask(made, 2.5)
    (spent,) = made.spending()
    assert (spent.requests, spent.tokens, spent.joules) == (2, 130, 2.5)


@pytest.mark.slow
async def test_killed_with_reservations(budgets, tmp_path, clock):
    """A process that is killed while it holds tokens and energy has spent them; none of it is lost or held for ever."""
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from coterie.config.operation import BudgetSection; from coterie.config.file import OpenAIModel\n"
        "from coterie.limits.limits import StoredLimits\n"
        "from coterie.types import SYSTEM, Message, Principal, Prompt\n"
        "async def main():\n"
        "    sections = {'daily': BudgetSection(tokens=1000, joules=90)}\n"
        "    made = StoredLimits(sections, Path(sys.argv[1]), clock=lambda: 1764072000.0)\n"
        "    model = OpenAIModel(engine='openai', base_url='http://x/v1', name='m', retries=0)\n"
        "    prompt = Prompt(messages=(Message(role='user', text='x' * 84),), max_tokens=100)\n"
        "    await made.admit(Principal())\n"
        "    async with made.held([prompt], model, 'large', SYSTEM):\n"
        "        print('held', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "budgets.db"), stdout=asyncio.subprocess.PIPE
    )
    assert await child.stdout.readline() == b"held\n"
    alive = budgets(daily={"tokens": 1000, "joules": 90}).spending()[0]
    child.kill()
    await child.wait()
    after = budgets(daily={"tokens": 1000, "joules": 90}).spending()[0]

    assert (alive.tokens, alive.joules, alive.held_joules) == (0, 0, 50)
    assert (after.tokens, after.joules, after.held_joules) == (200, 50, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_ten_thousand_at_once(budgets, seed):
    """However they fail, are cut off or are cancelled: never a token more than the limit, and nothing stays held."""
    rng = random.Random(seed)
    limit = 40_000
    made, took = budgets(daily={"tokens": limit}), [0]

    async def one() -> None:
        kind = rng.random()
        tokens = rng.randint(0, 100), rng.randint(0, 100)
        async with made.held([PROMPT], MODEL, "large", SYSTEM) as held:
            for _ in range(rng.randint(0, 3)):
                await asyncio.sleep(0)
            if kind < 0.2:
                raise EngineUnavailable("429", engine="large")
            took[0] += sum(tokens)
            assert took[0] <= limit, "more was spent than there is"
            if kind < 0.3:
                raise EngineTimeout("slow", engine="large")
            if kind < 0.4:
                raise asyncio.CancelledError
            held.outputs = [Output(usage=Usage(tokens_in=tokens[0], tokens_out=tokens[1]))]

    results = await asyncio.gather(*(one() for _ in range(2_500)), return_exceptions=True)
    expected = (BudgetExceeded, EngineUnavailable, EngineTimeout, asyncio.CancelledError)
    assert all(result is None or isinstance(result, expected) for result in results), results
    (spent,) = made.spending()
    assert took[0] <= spent.tokens <= limit
    assert spent.held == 0
    assert any(isinstance(result, BudgetExceeded) for result in results)
