"""An allowance in memory is never overdrawn, whoever asks and however often it is tried."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.config.file import OpenAIModel
from coterie.errors import BudgetExceeded, EngineTimeout
from coterie.limits.limits import open_limits
from coterie.limits.memory import MemoryAllowance, network_allowance, request_allowance
from coterie.types import SYSTEM, Amount, CallContext, Message, Output, Principal, Prompt, Reason, Usage

MODEL = OpenAIModel(
    engine="openai", base_url="http://x/v1", name="m", price_in=Decimal(10), price_out=Decimal(30), retries=0
)
PROMPT = Prompt(messages=(Message(role="user", text="x" * 84),), max_tokens=100)  # costs 0.004 at most


async def ask(limits, call=SYSTEM, *, model=MODEL, error=None):
    """A call that takes 0.0005, or fails."""
    async with limits.held([PROMPT], model, "large", call) as held:
        if error:
            raise error
        held.outputs = [Output(usage=Usage(tokens_in=20, tokens_out=10))]


@pytest.fixture
def limits(tmp_path):
    """Makes limits whose only limit is the cascade's budget."""
    return lambda per_1000: open_limits({}, tmp_path, per_1000=Decimal(per_1000))


async def test_each_request_brings_its_share(limits):
    """Money comes in with each request, and a call that it does not reach is not made."""
    made = limits(4)
    with pytest.raises(BudgetExceeded, match=r"'large' may cost 0.004; the budget of the network has 0 left"):
        await ask(made)
    await made.admit(Principal(), earns=False)  # embeddings
    with pytest.raises(BudgetExceeded, match="has 0 left"):
        await ask(made)
    await made.admit(Principal())
    await ask(made)
    with pytest.raises(BudgetExceeded, match=r"has 0.0035 left"):
        await ask(made)
    await made.admit(Principal())
    await ask(made)


async def test_no_file_for_it(limits, tmp_path):
    """What a cascade may spend is in memory: it writes no file."""
    made = limits(4)
    await made.admit(Principal())
    await ask(made)

    assert list(tmp_path.iterdir()) == []


async def test_an_unknown_price_is_not_zero(limits):
    """With a budget to hold, a model without a price is not asked."""
    made = limits(4000)
    await made.admit(Principal())
    with pytest.raises(BudgetExceeded, match="price of 'large' is unknown"):
        await ask(made, model=MODEL.model_copy(update={"price_out": None}))


async def test_a_failed_call_may_have_been_billed(limits):
    """What was set aside for a call that failed stays spent, so a fallback is refused where it has used the money."""
    made = limits(6)
    await made.admit(Principal())
    with pytest.raises(EngineTimeout):
        await ask(made, error=EngineTimeout("slow", engine="large"))
    with pytest.raises(BudgetExceeded, match=r"has 0.002 left"):
        await ask(made)


async def test_a_refusal_of_one_takes_nothing_of_the_other(limits):
    """The network's money is as much as before when the request's own is too little."""
    made = limits(4)
    await made.admit(Principal())
    with pytest.raises(BudgetExceeded, match="budget of this request"):
        await ask(made, CallContext(limits=(request_allowance(Decimal(1)),)))
    await ask(made)


def test_what_is_used_up():
    """An allowance of tokens and money says which of them is reached; a part of unknown price lifts the money."""
    allowance = MemoryAllowance("this question", tokens=100, money=Decimal(1))
    assert allowance.used_up is None
    allowance.settle(Amount(), Amount(tokens=50, nano=10**9))
    assert allowance.used_up == Reason("limit.money_used_up", limit="1", used="1")
    allowance.lift_money()
    assert allowance.used_up is None
    allowance.settle(Amount(), Amount(tokens=50))
    assert allowance.used_up == Reason("limit.tokens_used_up", limit=100, used=100)


@given(
    st.lists(
        st.tuples(st.booleans(), st.decimals(min_value=0, max_value=5, places=3, allow_nan=False)),
        max_size=60,
    )
)
def test_spending_never_passes_what_came_in(moves):
    """Whatever is earned and taken in whatever order, what was taken is at most the budget of the requests so far."""
    allowance, requests, taken = network_allowance(Decimal(1000)), 0, Decimal(0)
    for comes_in, amount in moves:
        if comes_in:
            allowance.earn()
            requests += 1
        else:
            try:
                allowance.reserve(Amount(nano=int(amount * 10**9)), "large")
                taken += amount
            except BudgetExceeded:
                pass
        assert taken <= requests * Decimal(1)
        assert allowance.left >= 0
