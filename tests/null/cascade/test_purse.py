"""A budget is never overdrawn, whoever asks and however often it is tried."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.cascade.purse import BudgetedEngine, Price, Purse, allowance
from coterie.errors import BudgetExceeded, EngineTimeout
from coterie.testing import EchoEngine
from coterie.types import Delta, Message, Output, Prompt

PRICE = Price(price_in=Decimal(10), price_out=Decimal(30), retries=2)


def asking(text="how much is it?", *, longest=100):
    """A prompt of a chat."""
    return Prompt(messages=(Message(role="user", text=text),), max_tokens=longest)


class Fails(EchoEngine):
    """An engine that never answers."""

    async def run(self, batch):
        """Time out."""
        self.prompts.extend(batch)
        raise EngineTimeout("No answer in time.", engine=self.name)


async def test_the_most_it_can_cost_is_set_aside_and_the_rest_given_back():
    """Before the call the worst case with all retries is taken; afterwards the purse lacks what the call cost."""
    purse = Purse(Decimal(1000))
    purse.earn()
    await BudgetedEngine(EchoEngine(), PRICE, purse).run([asking("one two three")])

    assert Decimal(1) - purse.left == PRICE.of(3, 3)


async def test_what_the_money_does_not_reach_is_not_asked():
    """The refusal names the amounts and comes before anything is sent, in a stream too."""
    engine, purse = EchoEngine(), Purse(Decimal("0.001"))
    budgeted = BudgetedEngine(engine, PRICE, purse)
    purse.earn()
    with pytest.raises(BudgetExceeded, match=r"may cost 0\.\d+; the budget of the network has 0\.000001 left"):
        await budgeted.run([asking()])
    with pytest.raises(BudgetExceeded):
        async for _ in budgeted.stream(asking()):
            pass

    assert engine.prompts == []
    assert purse.left == Decimal("0.000001")


async def test_an_unknown_price_is_not_zero():
    """With a budget to hold, a model without a price is not asked; without one it is."""
    engine = EchoEngine()
    unknown = Price(price_in=None, price_out=Decimal(1))
    purse = Purse(Decimal(1000))
    purse.earn()
    with pytest.raises(BudgetExceeded, match="price of 'echo' is unknown"):
        await BudgetedEngine(engine, unknown, purse).run([asking()])
    await BudgetedEngine(engine, unknown, None).run([asking()])

    assert len(engine.prompts) == 1


async def test_a_failed_call_may_have_been_billed():
    """What was set aside for a call that failed stays spent, so a fallback has that much less."""
    purse = Purse(Decimal(100))
    purse.earn()
    most = PRICE.most(asking())
    with pytest.raises(EngineTimeout):
        await BudgetedEngine(Fails(), PRICE, purse).run([asking()])

    assert purse.left == Decimal("0.1") - most


async def test_a_fallback_is_paid_from_the_same_money():
    """A second model is refused when the first one's failure has used the money up."""
    purse = Purse(PRICE.most(asking()) * Decimal(1500))  # one and a half calls
    purse.earn()
    other = EchoEngine("other")
    with pytest.raises(EngineTimeout):
        await BudgetedEngine(Fails(), PRICE, purse).run([asking()])
    with pytest.raises(BudgetExceeded):
        await BudgetedEngine(other, PRICE, purse).run([asking()])

    assert other.prompts == []


async def test_one_request_has_its_own_limit():
    """Inside an allowance a call must fit a thousandth of the request's budget; outside it is free again."""
    engine = EchoEngine()
    budgeted = BudgetedEngine(engine, PRICE, None)
    with allowance(Decimal("0.01")), pytest.raises(BudgetExceeded, match="budget of this request"):
        await budgeted.run([asking()])
    with allowance(Decimal(1000)):
        await budgeted.run([asking()])
    await budgeted.run([asking()])

    assert len(engine.prompts) == 2


async def test_a_refusal_of_one_purse_takes_nothing_from_the_other():
    """The network's purse is as full as before when the request's own is too small."""
    purse = Purse(Decimal(1000))
    purse.earn()
    with allowance(Decimal("0.01")), pytest.raises(BudgetExceeded):
        await BudgetedEngine(EchoEngine(), PRICE, purse).run([asking()])

    assert purse.left == 1


async def test_a_stream_is_paid_for_like_an_answer():
    """A whole stream costs what it used; one that is left before its end keeps what was set aside."""
    purse = Purse(Decimal(1000))
    purse.earn()
    budgeted = BudgetedEngine(EchoEngine(), PRICE, purse)
    events = [event async for event in budgeted.stream(asking("one two"))]
    after = purse.left
    stream = budgeted.stream(asking("one two"))
    await anext(stream)
    await stream.aclose()

    assert isinstance(events[-1], Output)
    assert isinstance(events[0], Delta)
    assert Decimal(1) - after == PRICE.of(2, 2)
    assert after - purse.left == PRICE.most(asking("one two"))


@given(
    st.lists(
        st.tuples(st.booleans(), st.decimals(min_value=0, max_value=5, places=3, allow_nan=False)),
        max_size=60,
    )
)
def test_spending_never_passes_what_came_in(moves):
    """Whatever is earned and taken in whatever order, what was taken is at most the budget of the requests so far."""
    purse, requests, taken = Purse(Decimal(1000)), 0, Decimal(0)
    for comes_in, amount in moves:
        if comes_in:
            purse.earn()
            requests += 1
        elif purse.take(amount):
            taken += amount
        assert taken <= requests * Decimal(1)
        assert purse.left >= 0
