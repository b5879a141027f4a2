"""Ten thousand requests at once against budgets, with large models that fail, hang, break off and are cut off.

    python benchmarks/budget/run.py [--requests 10000] [--seed 1]

Every request is one that no specialist answers, so it goes up to a large model behind the gate, with two tries, another
model in its place, and a second call beside a slow one. A third of what the two servers do is wrong: they refuse (503,
429), hang until the time is up, send rubbish, or close the connection before or in the middle of an answer; and a tenth
of the callers leave. Half of the requests come at once to one process and half to another, on one file of budgets; a
third process is killed with its calls under way. The servers write down what they would bill; nothing of it is taken
from what Coterie says.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, arguments
from coterie.accounting.meter import CostMeter
from coterie.config.file import OpenAIModel
from coterie.config.operation import AccountingSection, BudgetSection, GeneralistSection
from coterie.errors import BudgetExceeded, Overloaded
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.limits.limits import Spending, open_limits
from coterie.network.network import Network
from coterie.store.sqlite import SQLiteStore
from coterie.testing import EchoEngine, FakeOpenAIServer, ServerReply
from coterie.types import (
    Answer,
    Context,
    ContextView,
    Delta,
    Finding,
    Part,
    Request,
    Route,
    SpecialistCard,
    Task,
    worded,
)

CLAIM = "However many ask at once and whatever fails, no budget is exceeded by more than is stated."
PRICE_IN, PRICE_OUT = Decimal(3), Decimal(12)
TENANTS = 8
JOULES = 28.0
"""Of the limit, for each request."""
LONG = "a " * 200
"""Words that every question has, one token each for the servers; a budget reserves two for each, one a byte."""
PLACES = 40
"""Requests that a process works on at once; the others wait, as they do before a gateway."""
LEAVE = 0.1
"""Share of the callers that leave in the middle of an answer."""
NEVER = 1_000_000_000
"""Failures in a row after which a model is not asked for a while."""
KILLED = 20
"""Requests of the process that is killed."""


def sections(requests: int) -> dict[str, BudgetSection]:
    """Budgets of which each is used up before the requests are, for one tenant or for all."""
    return {
        "money": BudgetSection(money=Decimal("0.0002") * requests, per="ever"),
        "tokens": BudgetSection(tokens=60 * requests, per="ever"),
        "tenant": BudgetSection(each="tenant", tokens=25 * requests, per="ever"),
        "requests": BudgetSection(each="tenant", requests=int(0.05 * requests), per="ever"),
        "joules": BudgetSection(joules=JOULES * requests, reserve=50.0, per="ever"),
    }


def tenant_of(number: int) -> str:
    """One tenant has half of the requests."""
    return f"t{max(0, number % (2 * TENANTS) - TENANTS)}"


# --- The servers ---------------------------------------------------------------------------------


@dataclass
class Billing:
    """What a server does with each request, by chance, and what it would bill for it."""

    dice: random.Random
    did: Counter[str] = field(default_factory=Counter)
    by_tenant: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    money: Decimal = Decimal(0)

    def __call__(self, body: Mapping[str, Any]) -> ServerReply:
        """One request: billed unless it is refused, for all that would have been written."""
        kind = self.dice.choices(list(KINDS), [weight for weight, _ in KINDS.values()])[0]
        self.did[kind] += 1
        words = " ".join(["word"] * self.dice.randint(1, 12))
        if kind not in {"503", "429"}:
            prompt = " ".join(str(message["content"]) for message in body["messages"])
            took, written = len(prompt.split()), len(words.split())
            self.tokens += took + written
            self.money += (took * PRICE_IN + written * PRICE_OUT) / 1_000_000
            self.by_tenant[prompt.rpartition("tenant")[2].split()[0]] += took + written
        return replace(KINDS[kind][1], text=words)


KINDS: Mapping[str, tuple[float, ServerReply]] = {
    "answers": (0.66, ServerReply()),
    "503": (0.06, ServerReply.refused(503)),
    "429": (0.04, ServerReply.refused(429, retry_after="0")),
    "hangs": (0.03, ServerReply(hang=True)),
    "rubbish": (0.05, ServerReply(body=b"rubbish")),
    "cut at once": (0.05, ServerReply(cut_after=0)),
    "cut later": (0.06, ServerReply(cut_after=2)),
    "error later": (0.05, ServerReply(error_after=1)),
}
"""How often each comes, and the reply without its words."""


# --- The network ---------------------------------------------------------------------------------


class Doubts:
    """A specialist that never answers."""

    card = SpecialistCard(name="doubt", task="classify", description="", rung="lexical", version="0")

    async def consult(self, task: Task, view: ContextView, *, call: object = None) -> Finding:
        """An abstention."""
        return Finding(
            specialist="doubt",
            value=None,
            text="",
            confidence=0.0,
            accepted=False,
            reason=worded("doubt"),
            label=task.label,
        )


class One:
    """A router that knows one."""

    async def route(self, request: Request, context: Context, *, call: object = None) -> Route:
        """To the one."""
        return Route(parts=(Part(text=request.text, stages=(("doubt",),), score=1.0),), reason=worded("the only one"))


async def open_it(folder: Path, urls: list[str], requests: int) -> Network:
    """The network, on the budgets of the folder."""
    models = {
        name: OpenAIModel(
            engine="openai",
            base_url=url,
            name=name,
            clearance="restricted",
            retries=1,
            timeout=5.0,
            price_in=PRICE_IN,
            price_out=PRICE_OUT,
        )
        for name, url in zip(("large", "other"), urls, strict=True)
    }
    budgets = open_limits(sections(requests), folder)
    gate = Gate(ClearancePolicy(), budgets)
    # A circuit breaker would turn most of the requests away while a probe hangs, and the budgets would not be reached.
    engines = {name: gate.open(name, model, threshold=NEVER) for name, model in models.items()}
    meter = CostMeter(AccountingSection(), models, "large")
    section = GeneralistSection(model="large", fallback=("other",), hedge_after=3.0, deadline=60)
    return Network(
        specialists={"doubt": Doubts()},
        router=One(),
        store=await SQLiteStore.open(
            folder / f"store-{multiprocessing.current_process().name}.db",
            session_days=1,
            keep_content=False,
            queue=requests,
        ),
        meter=meter,
        encoder=EchoEngine(),
        generalist=PromptedGeneralist([(engines[name], models[name]) for name in models], section, meter=meter),
        engines=tuple(engines.values()),
        limits=budgets,
    )


async def ask_all(folder: Path, urls: list[str], requests: int, share: int, seed: int) -> dict[str, int]:
    """So many of the requests at once; what became of them."""
    network, outcomes = await open_it(folder, urls, requests), Counter[str]()
    places = asyncio.Semaphore(PLACES)
    dice = random.Random(seed)  # noqa: S311 - chance is what is wanted

    async def one(number: int, *, leaves: bool) -> None:
        tenant = tenant_of(number)
        text = f"{LONG} question {number} of tenant {tenant}"
        request = Request(text=text, tenant=tenant, max_tokens=16)
        try:
            async with places, aclosing(network.stream(request)) as events:
                async for event in events:
                    if isinstance(event, Delta) and leaves:
                        outcomes["left"] += 1
                        return
                    if not isinstance(event, Delta):
                        outcomes[_why(event)] += 1
        except (BudgetExceeded, Overloaded) as error:
            outcomes[error.code] += 1

    try:
        await asyncio.gather(*(one(n, leaves=dice.random() < LEAVE) for n in range(share)))
    finally:
        await network.close()
    return dict(outcomes)


def _why(answer: Answer) -> str:
    """How a request ended; of one that nobody answered, what kept the large model from it."""
    if answer.trace.status != "abstained":
        return answer.trace.status
    reasons = " ".join(str(finding.reason) for finding in answer.trace.findings)
    kinds = ("budget", "not asked for now", "gave no answer within", "connections", "status", "broke off", "dropped")
    return "abstained: " + next((kind for kind in kinds if kind in reasons), "otherwise")


def _asking(folder: Path, urls: list[str], counts: tuple[int, int], seed: int, outcomes_path: Path) -> None:
    outcomes = asyncio.run(ask_all(folder, urls, *counts, seed))
    outcomes_path.write_text(json.dumps(outcomes), encoding="utf-8")


async def contend(folder: Path, requests: int, seed: int) -> tuple[list[Billing], list[dict[str, int]], float]:
    """Let three processes ask; what the servers billed, what became of the requests of two, and seconds."""
    bills = [Billing(dice=random.Random(seed + number)) for number in range(2)]  # noqa: S311 - chance is what is wanted
    context, begun = multiprocessing.get_context("spawn"), time.perf_counter()
    async with FakeOpenAIServer(default=bills[0]) as first, FakeOpenAIServer(default=bills[1]) as second:
        urls = [first.base_url, second.base_url]
        outcome_paths = [folder / f"outcomes-{number}.json" for number in range(3)]
        shares = [requests // 2, requests - requests // 2, KILLED]
        processes = [
            context.Process(
                target=_asking, args=(folder, urls, (requests, share), seed + 10 + index, outcome_paths[index])
            )
            for index, share in enumerate(shares)
        ]
        processes[2].start()
        await first.asked.wait()  # its calls are under way
        processes[2].kill()
        for process in processes[:2]:
            process.start()
        for process in processes:
            await asyncio.to_thread(process.join)
    outcomes = [json.loads(path.read_text(encoding="utf-8")) for path in outcome_paths[:2]]
    return bills, outcomes, time.perf_counter() - begun


def measure(requests: int, seed: int, record: Record) -> None:
    """One run, and what it says."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        bills, outcomes, seconds = asyncio.run(contend(folder, requests, seed))
        budgets = open_limits(sections(requests), folder)
        stand = budgets.spending()
        asyncio.run(budgets.close())
    limits = sections(requests)
    billed_tokens = sum(bill.tokens for bill in bills)
    billed_money = sum((bill.money for bill in bills), Decimal(0))
    per_tenant = sum((bill.by_tenant for bill in bills), Counter[str]())
    by_name = {(spent.name, spent.whose): spent for spent in stand}
    total = {spent.name: spent for spent in stand if not spent.whose}
    overs = {
        "tokens billed above the limit": max(0, billed_tokens - (limits["tokens"].tokens or 0)),
        "money billed above the limit": float(max(Decimal(0), billed_money - (limits["money"].money or Decimal(0)))),
        "tokens billed above a tenant's limit": max(
            max(0, per_tenant[spent.whose] - (limits["tenant"].tokens or 0))
            for spent in stand
            if spent.name == "tenant"
        ),
        "tokens billed that no budget counted": max(0, billed_tokens - total["tokens"].tokens),
        "requests above a tenant's limit": max(
            max(0, spent.requests - (limits["requests"].requests or 0)) for spent in stand if spent.name == "requests"
        ),
        "joules counted above the limit": max(0.0, total["joules"].joules - (limits["joules"].joules or 0.0)),
        "held for ever": sum(spent.held_joules + float(spent.held) for spent in stand),
    }
    record.bars = [Bar(what=what, measured=float(value), limit=0.0, at_most=True) for what, value in overs.items()]
    record.figures = {
        "requests": requests,
        "seconds": seconds,
        "outcomes": dict(sum((Counter(outcome) for outcome in outcomes), Counter[str]())),
        "servers": dict(sum((bill.did for bill in bills), Counter[str]())),
        "billed": {"tokens": billed_tokens, "money": float(billed_money)},
        "counted": {spent.name + (f" {spent.whose}" if spent.whose else ""): _plain(spent) for spent in stand},
        "share of the limit taken": {
            "money": float(total["money"].money / (limits["money"].money or 1)),
            "tokens": total["tokens"].tokens / (limits["tokens"].tokens or 1),
            "joules": total["joules"].joules / (limits["joules"].joules or 1),
            "tenant t0": by_name["tenant", "t0"].tokens / (limits["tenant"].tokens or 1),
            "requests t0": by_name["requests", "t0"].requests / (limits["requests"].requests or 1),
        },
        "limits": {name: limit.model_dump(exclude_none=True, mode="json") for name, limit in limits.items()},
    }


def _plain(spent: Spending) -> dict[str, float]:
    return {
        "requests": spent.requests,
        "tokens": spent.tokens,
        "money": float(spent.money),
        "joules": spent.joules,
        "held": float(spent.held),
        "held_joules": spent.held_joules,
    }


def main() -> None:
    """Run it and write the result down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--requests", type=int, default=10_000, help="how many ask at once")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[options.seed])
    measure(options.requests, options.seed, record)
    record.note_load()
    record.write(options.out)


if __name__ == "__main__":
    main()
