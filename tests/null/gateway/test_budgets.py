"""Budgets as the gateway's callers meet them: 429 with the time to wait, for embeddings too, exact when cut off."""

import asyncio

import pytest

from coterie.config.operation import BudgetSection
from coterie.limits.limits import StoredLimits
from coterie.testing import FakeClock


@pytest.fixture
def limited(network, tmp_path):
    """Puts the network under one budget."""

    def limit(**section):
        clock = FakeClock(1_764_072_015.0)  # a quarter of a minute past noon
        network.limits = StoredLimits({"one": BudgetSection(**section)}, tmp_path / "budgets.db", clock=clock)
        return network.limits

    return limit


@pytest.mark.parametrize("stream", [False, True])
async def test_a_rate_limit_says_when_to_come_again(client, limited, chat_body, stream):
    """429, the code, the budget's name and the seconds until enough is free, for streams and embeddings alike."""
    limited(requests=2, per="minute")
    http = client()
    assert (await http.post("/v1/chat/completions", json=chat_body("hello", stream=stream))).status_code == 200
    assert (await http.post("/v1/embeddings", json={"model": "coterie", "input": "hello"})).status_code == 200
    for path, body in (
        ("/v1/chat/completions", chat_body("hello", stream=stream)),
        ("/v1/embeddings", {"model": "coterie", "input": "hello"}),
    ):
        refused = await http.post(path, json=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "61")
        assert refused.json()["error"]["code"] == "budget_exceeded"
        assert "'one' is 2 requests a minute" in refused.json()["error"]["message"]


async def test_energy_of_requests_is_settled(client, limited, chat_body):
    """A cent and a joule a step here: what was reserved is given back, also where the request cannot be served."""
    budget = limited(joules=200)
    http = client()
    await http.post("/v1/chat/completions", json=chat_body("hello"))
    await http.post("/v1/chat/completions", json=chat_body(" "))
    await http.post("/v1/embeddings", json={"model": "coterie", "input": ["hello", "you"]})
    (spent,) = budget.spending()

    assert (spent.joules, spent.held_joules) == (3.0, 0)


async def test_a_caller_who_leaves(client, limited, network, chat_body, call):
    """What was done for them by then is settled, and nothing stays reserved."""
    budget = limited(joules=200)
    going = asyncio.Event()
    network.specialists["reply"].pause = lambda index: going.set() if index < 2 else asyncio.Event().wait()
    caller = call(
        client().app,
        "/v1/chat/completions",
        body=b'{"model": "coterie", "stream": true, "messages": [{"role": "user", "content": "write"}]}',
    )
    caller.reading.set()
    running = asyncio.create_task(caller.run())
    await going.wait()
    while b"card" not in caller.text.encode():
        caller.got.clear()
        await caller.got.wait()
    caller.gone.set()
    await asyncio.gather(running, return_exceptions=True)
    (spent,) = budget.spending()

    assert spent.held_joules == 0
    assert network.specialists["reply"].cut == 1


async def test_a_store_that_fails(client, limited, network, chat_body):
    """The request took what nobody wrote down: what is known of it counts."""
    budget = limited(joules=200)

    def broken():
        raise OSError("disk")

    network.store.trouble = broken
    response = await client().post("/v1/chat/completions", json=chat_body("hello"))
    (spent,) = budget.spending()

    assert response.status_code == 500
    assert (spent.joules, spent.held_joules) == (1.0, 0)
