"""The whole network in a simulation: one seed, several processes in turn, many callers, and what must hold."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from coterie.accounting.meter import CostMeter
from coterie.config.file import OpenAIModel
from coterie.config.operation import (
    AccountingSection,
    BudgetSection,
    CaptureSection,
    DecisionsSection,
    FlywheelSection,
    GeneralistSection,
)
from coterie.decisions.deciding import RemoteAnswerer
from coterie.errors import CoterieError, StoreError
from coterie.flywheel.deployments import Deployments
from coterie.flywheel.live import LiveFlywheel
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.audit import read_entry
from coterie.governance.audit_verification import verify_audit
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.governance.pseudonyms import PseudonymBook
from coterie.limits.limits import StoredLimits
from coterie.network.network import Network, RelayModel
from coterie.privacy.patterns import PatternDetector
from coterie.store.erasure import ErasureScope
from coterie.store.sqlite import SQLiteStore
from coterie.testing import Canaries, EchoEngine, FakeClock
from coterie.types import Answer, Label, RelayHead, Request, Trace

from .disk import FAILING, Disk
from .loop import SimulatedLoop, Stalled, shown
from .parts import Allowing, ByName, InTurn, LogInTurn, Odd, OddIndex, Speaking
from .people import INDEX, SESSIONS, TENANTS, Tenant
from .servers import SimulatedServer

CLEARANCES = {"open": Label.PUBLIC, "inner": Label.INTERNAL, "trusted": Label.CONFIDENTIAL}
START = 1_800_000_000.0
LONGEST = 3600.0
"""Seconds in which everybody has an answer or an error."""


@dataclass(kw_only=True)
class Ticket:
    """One request and what came of it."""

    id: str
    tenant: str
    session: str | None
    content: str
    """All that was sent."""
    clearance: Label
    began: float
    trace: Trace | None = None
    """Of an answer, or of decisions."""
    text: str | None = None
    """The answer, or the whole body of a relayed one; None where the caller had none, or not the end of it."""
    error: str = ""
    lived: int = 0
    """In which process it was asked."""


@dataclass(kw_only=True)
class Life:
    """One process: from the opening of its files to its end."""

    folder: Path
    disk: Disk
    policy: Allowing
    network: Network
    store: InTurn
    audit: LogInTurn
    limits: StoredLimits
    flywheel: LiveFlywheel | None


@dataclass(kw_only=True)
class Erasure:
    """What was erased while others asked: a session of a tenant, or all of the tenant's."""

    tenant: str
    session: str | None
    asked: tuple[str, ...]
    """What had come in and was answered before."""

    def takes(self, ticket: Ticket) -> bool:
        """Whether it is about a request."""
        return ticket.tenant == self.tenant and self.session in {None, ticket.session}


@dataclass
class World:
    """All of one seed."""

    seed: int
    folder: Path
    tickets: list[Ticket] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    """What happened, in order: the same for the same seed."""
    seen: Counter[str] = field(default_factory=Counter)
    """Outcomes, errors, faults, and rules and stages of answers."""

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.clock = FakeClock(START)
        self.loop = SimulatedLoop(self.drawn(), self.clock)
        self.servers = {name: SimulatedServer(name, self.drawn()) for name in CLEARANCES}
        self.tenants = {
            name: Tenant(name, Canaries(seed=self.seed * 10 + index), self.drawn())
            for index, name in enumerate(TENANTS)
        }
        self.passages = [passage for tenant in self.tenants.values() for passage in tenant.passages]
        self.chain = self.draw.choice([("inner", "open"), ("trusted", "inner"), ("open", "trusted"), ("inner",)])
        self.retries = self.draw.choice([0, 0, 2])
        self.generalist = GeneralistSection(
            model=self.chain[0],
            fallback=self.chain[1:],
            history=self.draw.random() < 0.7,
            synthesise=self.draw.random() < 0.7,
            hedge_after=self.draw.choice([None, 0.5, 3.0]),
            deadline=self.draw.choice([5.0, 60.0]),
            escalate_out_of_scope=self.draw.random() < 0.5,
        )
        self.limits = self._limits()
        self.allowed: Counter[str] = Counter()
        self.content_days = self.draw.choice([None, None, 0.5])
        self.captures = self.draw.random() < 0.25
        self.jumps = self.draw.random() < 0.3
        self.erasures: list[Erasure] = []

    def drawn(self) -> random.Random:
        """Randomness of one part, apart from all others'."""
        return random.Random(self.draw.getrandbits(64))

    def _limits(self) -> dict[str, BudgetSection]:
        limits = {}
        if self.draw.random() < 0.5:
            limits["rate"] = BudgetSection(per="minute", each="tenant", requests=self.draw.randrange(1, 8))
        if self.draw.random() < 0.5:
            limits["tokens"] = BudgetSection(per="ever", tokens=self.draw.randrange(300, 6_000))
        if self.draw.random() < 0.5:
            scope = self.draw.choice(["tenant", "key"])
            limits["money"] = BudgetSection(per="ever", each=scope, money=Decimal(self.draw.randrange(1, 200)) / 1000)
        if self.draw.random() < 0.3:
            requests = self.draw.randrange(1, 8)
            limits["keys"] = BudgetSection(per="hour", each="key", requests=requests, tokens=requests * 2_000)
        if self.draw.random() < 0.3:
            joules = self.draw.randrange(60, 3_000)
            limits["energy"] = BudgetSection(
                per="day", each=self.draw.choice([None, "key"]), joules=joules, reserve=self.draw.randrange(1, 60)
            )
        return limits

    # --- one process -------------------------------------------------------------------------------

    async def open(self, folder: Path) -> Life:
        """A network over what is in this folder."""
        disk = Disk(folder, self.drawn())
        limits = StoredLimits(self.limits, folder / "budgets.db", clock=self.clock)
        pace = self.draw.choice([1.0, 100.0])  # of how many seconds the limits take one for a second
        limits._allotments._monotonic = lambda: self.loop.time() / pace
        limits._allotments._watch = lambda: None  # `_keep_budgets` does
        policy = Allowing(ClearancePolicy())
        audit = LogInTurn(
            folder / "audit.jsonl",
            self.loop,
            sync_seconds=self.draw.choice([0.0, 1.0]),
            clock=self.clock,
            write=disk.write,
            sync=disk.sync,
        )
        gate, engines = Gate(policy, limits, audit=audit, clock=self.clock), {}
        for name, server in self.servers.items():
            section = OpenAIModel(
                engine="openai",
                base_url=f"http://{name}.test/v1",
                name=name,
                clearance=CLEARANCES[name],
                pseudonymise=name != "open",
                retries=self.retries,
                timeout=20.0,
                window=65_536,
                price_in=Decimal(1),
                price_out=Decimal(2),
            )
            transport = server.transport(lambda: disk.copy is not None)
            draw = self.drawn()
            engine = gate.open(
                name, section, transport=transport, clock=self.loop.time, random=draw.random, sleep=asyncio.sleep
            )
            engines[name] = engine, section
        store = await self._open_store(folder, disk)
        meter = CostMeter(
            AccountingSection(watts_per_core=1e-9),
            {name: section for name, (_, section) in engines.items()},
            self.chain[0],
            clock=self.clock,
        )
        specialists = {
            specialist.name: specialist
            for specialist in (
                Odd(name="triage", draw=self.drawn(), writes=("intent",)),
                Speaking(name="clauses", draw=self.drawn()),
                Odd(name="notes", draw=self.drawn(), reads=("intent",)),
                Odd(name="remote", draw=self.drawn(), asks=engines[self.chain[-1]][0]),
                Speaking(name="distant", draw=self.drawn(), asks=engines[self.draw.choice(list(engines))][0]),
                Speaking(name="ask", draw=self.drawn(), knowledge=(INDEX,)),
            )
        }
        decides = self.draw.choice([None, *engines])
        flywheel = await self._open_flywheel(store, audit) if self.captures else None
        owners = {passage.document: passage.document.split("-")[0] for passage in self.passages}
        network = Network(
            specialists=specialists,
            router=ByName(cards={name: specialist.card for name, specialist in specialists.items()}, draw=self.drawn()),
            store=store,
            meter=meter,
            encoder=EchoEngine("onnx"),
            knowledge={INDEX: OddIndex(self.passages, self.drawn(), index=INDEX, tenants=owners)},
            generalist=PromptedGeneralist([engines[name] for name in self.chain], self.generalist, meter=meter),
            escalate_out_of_scope=self.generalist.escalate_out_of_scope,
            engines=[engine for engine, _ in engines.values()],
            models={name: RelayModel(engine=engines[name][0], name=name, window=4_096) for name in engines},
            deciding=DecisionsSection(model=decides, adapt=self.draw.random() < 0.5),
            zero_shot={} if decides is None else {decides: RemoteAnswerer(engine=engines[decides][0], typed=False)},
            flywheel=flywheel,
            audit=audit,
            limits=limits,
            pseudonyms=PseudonymBook(clock=self.loop.time),
            clock=self.clock,
        )
        return Life(
            folder=folder,
            disk=disk,
            policy=policy,
            network=network,
            store=store,
            audit=audit,
            limits=limits,
            flywheel=flywheel,
        )

    async def _open_flywheel(self, store: InTurn, audit: LogInTurn) -> LiveFlywheel:
        """What captures relayed calls and typed questions."""
        live = LiveFlywheel(
            books=Deployments(store=store.tables, audit=audit, clock=self.clock),
            section=FlywheelSection(),
            capture=CaptureSection(enabled=True, queue=self.draw.choice([2, 2_000])),
            detector=PatternDetector(),
            load=_load_nothing,
            secret=b"secret",
        )
        for _ in range(FAILING):
            with suppress(StoreError):
                return await live.open()
        return await live.open()

    async def _open_store(self, folder: Path, disk: Disk) -> InTurn:
        """The store; where statements of its opening fail, it is opened again."""
        for _ in range(FAILING + 1):
            with suppress(StoreError):
                opening = SQLiteStore.open(
                    folder / "store.db",
                    session_days=30,
                    keep_content=True,
                    content_days=self.content_days,
                    clock=self.clock,
                    connect=disk.connect,
                )
                return InTurn(await self.loop.outside(opening), self.loop, self.drawn())
        raise AssertionError(f"no more than {FAILING} statements fail")

    # --- one seed ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Live, and check what must hold. Raises what does not, with its seed."""
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._live())
        except BaseException as error:
            error.add_note(f"To see it again: COTERIE_SEED={self.seed} python -m pytest tests/simulation")
            raise
        finally:
            with suppress(Stalled):
                self.loop.run_until_complete(_leave_nothing())
            asyncio.set_event_loop(None)
            self.loop.close()

    async def _live(self) -> None:
        folder = self.folder / "life"
        folder.mkdir()
        for number in range(self.draw.choice([1, 2, 3])):
            life = await self.open(folder)
            await self._ask_around(life, number)
            folder = await self._end(life, number)
            self.loop.advance(self.draw.choice([0.5, 100.0, 90_000.0]))
        life = await self.open(folder)
        life.disk.heal()
        await self._check_kept(life)
        await self._check_erased(life)
        await life.network.close()

    async def _end(self, life: Life, number: int) -> Path:
        """End a process; gives the folder that the next one finds."""
        struck = life.disk.struck
        self.seen[life.disk.fault] += struck
        life.disk.heal()
        await self._check_quiet(life)
        if life.disk.copy is None:
            await self._check_kept(life)
            if not struck:
                await self._check_crossings(life, number)
            if self.draw.random() < 0.3:
                life.disk.crash()
        await life.network.close()
        self._check_alone()
        self._check_servers(life)
        return life.disk.copy or life.folder

    # --- who asks ----------------------------------------------------------------------------------

    async def _ask_around(self, life: Life, number: int) -> None:
        """Several callers of every tenant side by side, until they have asked enough or the process ends."""
        draws = [(tenant, self.drawn()) for tenant in self.tenants.values() for _ in range(2)]
        clients = [asyncio.create_task(self._client(life, tenant, draw, number)) for tenant, draw in draws]
        clients += [asyncio.create_task(self._disturb(life, self.drawn()))]
        keeping = asyncio.create_task(self._keep_budgets(life))
        waiting, latest = set(clients), self.loop.time() + LONGEST
        while waiting and life.disk.copy is None:
            if self.loop.time() > latest:
                raise Stalled(f"after {LONGEST:g} s somebody still waits: {shown(waiting)}")
            done, waiting = await asyncio.wait(waiting, timeout=0.25)
            for task in done:
                task.result()
        for client in (*waiting, keeping):
            client.cancel()
        await asyncio.gather(*clients, keeping, return_exceptions=True)

    async def _keep_budgets(self, life: Life) -> None:
        """Write down what was taken, and lease anew what is asked often, as the thread of the limits does."""
        while True:
            await asyncio.sleep(self.draw.choice([0.01, 0.5]))
            await asyncio.to_thread(life.limits._allotments.write, lease=True)

    async def _disturb(self, life: Life, draw: random.Random) -> None:
        """Erase what was said, and set the clock, while others ask."""
        for _ in range(draw.choice([0, 1, 3])):
            await asyncio.sleep(draw.choice([0.01, 0.5, 10.0]))
            if self.jumps and draw.random() < 0.5:
                self.loop.jump(draw.choice([-90_000.0, -3.0, 2.0, 130.0, 90_000.0]))
                self.seen["jump"] += 1
            else:
                with suppress(StoreError):
                    await self._erase(life, draw.choice(TENANTS), draw.choice([*SESSIONS, None]))

    async def _erase(self, life: Life, tenant: str, session: str | None) -> None:
        """Erase a session, or all that is a tenant's; what was settled before is in no file of the store then."""
        settled = [ticket for ticket in self.tickets if ticket.trace is not None and ticket.tenant == tenant]
        settled = [ticket for ticket in settled if session in {None, ticket.session}]
        erasure = Erasure(tenant=tenant, session=session, asked=tuple(ticket.content for ticket in settled))
        self.erasures.append(erasure)
        if session is None:
            await life.store.erase_all(ErasureScope(tenant=tenant))
        else:
            await life.store.erase(session, tenant)
        self.seen["erased"] += 1
        content = b"".join(file.read_bytes() for file in life.folder.glob("store.db*"))
        made = [canary.text for canary in self.tenants[tenant].canaries.made if canary.text.encode() in content]
        still = [word for word in made if any(word in text for text in erasure.asked)]
        assert not still, f"{still} of {tenant}, {session} is still there"

    async def _client(self, life: Life, tenant: Tenant, draw: random.Random, number: int) -> None:
        for _ in range(draw.randrange(1, 5)):
            await asyncio.sleep(draw.choice([0.0, 0.0, 0.01, 1.0, 20.0]))
            way = draw.choice([self._relay, self._decide, *[self._ask] * 6])
            ticket = Ticket(
                id=f"r{len(self.tickets)}",
                tenant=tenant.name,
                session=None,
                content="",
                clearance=Label.INTERNAL,
                began=self.clock(),
                lived=number,
            )
            self.tickets.append(ticket)
            trace, text, error = None, None, ""
            try:
                trace, text = await way(life, tenant, ticket, draw)
            except CoterieError as raised:
                error = type(raised).__name__
            if life.disk.copy is not None:
                return  # the process had ended by then
            ticket.trace, ticket.text, ticket.error = trace, text, error
            self._note(ticket)
            self._check_answer(tenant, ticket)

    async def _relay(
        self, life: Life, tenant: Tenant, ticket: Ticket, draw: random.Random
    ) -> tuple[Trace | None, str | None]:
        """Ask one model byte by byte: to the end, to some byte, or until the caller has enough of waiting."""
        relayed = tenant.relayed(list(self.servers))
        ticket.content, ticket.clearance = relayed.body.decode(), relayed.principal.clearance
        most = draw.choice([1_000_000, 1_000_000, draw.randrange(8)])
        patience = draw.choice([None, None, 0.05, 1.0])

        async def read() -> str | None:
            received = list[bytes]()
            async with aclosing(life.network.relay(relayed, trace_id=ticket.id)) as events:
                async for event in events:
                    received.append(event.body if isinstance(event, RelayHead) else event)
                    if len(received) > most:
                        return None
            return b"".join(received).decode("utf-8", "replace")

        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                text = await read()
            if text is not None:
                self.seen["relayed"] += 1
                return await life.store.trace(ticket.id, tenant.name), text
        return None, None

    async def _decide(
        self, life: Life, tenant: Tenant, ticket: Ticket, draw: random.Random
    ) -> tuple[Trace | None, str | None]:
        """Ask typed questions, or leave before they are answered."""
        request = replace(tenant.request(), session=None, history=(), document=None, tools=None, specialist=None)
        tenant.release(request)
        ticket.content = str(request)
        with suppress(TimeoutError):
            async with asyncio.timeout(draw.choice([None, None, 0.05, 1.0])):
                answer = await life.network.decide(request, tenant.questions(), trace_id=ticket.id)
            self.seen["decided"] += 1
            return answer.trace, None
        return None, None

    async def _ask(
        self, life: Life, tenant: Tenant, ticket: Ticket, draw: random.Random
    ) -> tuple[Trace | None, str | None]:
        """Ask one way or another; None where the caller leaves before the answer."""
        request = tenant.request()
        tenant.release(request)
        ticket.session, ticket.content = request.session, str(request)
        ticket.clearance = request.clearance or Label.INTERNAL
        answer = await self._answer(life, request, ticket, draw)
        return (None, None) if answer is None else (answer.trace, answer.text)

    async def _answer(self, life: Life, request: Request, ticket: Ticket, draw: random.Random) -> Answer | None:
        way, network = draw.random(), life.network
        if way < 0.5:
            return await network.ask(request, trace_id=ticket.id)
        if way < 0.75:
            return await self._read(life, request, ticket, most=1_000_000)
        if way < 0.85:
            return await self._read(life, request, ticket, most=draw.randrange(6))
        asking = asyncio.ensure_future(network.ask(request, trace_id=ticket.id))
        try:
            await asyncio.wait([asking], timeout=draw.choice([0.0, 0.001, 0.05, 1.0, 6.0]))
        finally:
            for _ in range(draw.choice([1, 1, 3])):
                asking.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([asking])
        return None if asking.cancelled() else asking.result()

    async def _read(self, life: Life, request: Request, ticket: Ticket, *, most: int) -> Answer | None:
        """Read a stream, or its beginning; what was shown piece by piece is the answer."""
        pieces: list[str] = []
        async with aclosing(life.network.stream(request, trace_id=ticket.id)) as events:
            async for event in events:
                if isinstance(event, Answer):
                    assert "".join(pieces) == event.text
                    return event
                pieces.append(event.text)
                if len(pieces) > most:
                    break
        return None

    def _note(self, ticket: Ticket) -> None:
        trace = ticket.trace
        outcome = ticket.error or ("left" if trace is None else trace.status)
        self.history.append(f"{self.clock():.6f} {ticket.id} {outcome}")
        self.seen[outcome] += 1
        if trace is not None:
            self.seen.update(verdict.rule for verdict in trace.verdicts)
            self.seen.update(stage.name for stage in trace.stages)
            self.seen["composed by the generalist"] += any(stage.note.startswith("by ") for stage in trace.stages)
            self.seen["degraded"] += bool(trace.degraded)

    # --- what must hold ----------------------------------------------------------------------------

    async def _check_quiet(self, life: Life) -> None:
        """No task is left behind, but of the audit log: it writes what it was given, whoever waits for that."""
        await life.audit.written()
        await asyncio.sleep(1e-6)
        self._check_alone()

    def _check_alone(self) -> None:
        left = asyncio.all_tasks(self.loop) - {asyncio.current_task(self.loop)}
        left = {task for task in left if not task.get_coro().__qualname__.startswith("LiveFlywheel.")}
        assert not left, f"still running: {left}"

    def _check_answer(self, tenant: Tenant, ticket: Ticket) -> None:
        """An answer has its own id and time, and nothing that its caller may not see."""
        if ticket.trace is not None:
            assert ticket.trace.id == ticket.id
            assert ticket.trace.time >= ticket.began or self.jumps
        if ticket.text is None:
            return
        content, may_see = ticket.text.encode(), [ticket.content, *tenant.readable(ticket.clearance)]
        seen = [
            canary
            for canary in tenant.canaries.found(content, clearance=ticket.clearance)
            if not any(canary.text in text for text in may_see[: 1 if canary.kind == "SECRET" else None])
        ]
        assert not seen, f"{ticket.id} shows what is above {ticket.clearance}: {seen}"
        for other in self.tenants.values():
            if other is not tenant:
                assert not _any(other, content), f"{ticket.id} shows {other.name}'s words to {tenant.name}"

    def _check_servers(self, life: Life) -> None:
        """Nothing above its clearance reached a server, nothing that the gate did not let go, and one tenant's only."""
        self.allowed.update(life.policy.allowed)
        for name, server in self.servers.items():
            assert len(server.bodies) <= self.allowed[name] * (1 + self.retries)
            for body in server.bodies:
                leaked = [
                    canary for tenant in self.tenants.values() for canary in _above(tenant, body, CLEARANCES[name])
                ]
                assert not leaked, f"above the clearance of {name!r}: {leaked}"
                owners = [tenant.name for tenant in self.tenants.values() if _any(tenant, body)]
                assert len(owners) <= 1, f"words of {owners} in one request to {name!r}"

    async def _check_kept(self, life: Life) -> None:
        """What was answered is in ledger, trace and audit once; nothing else is there; no budget is exceeded."""
        settled, written = await self._settled(life), self._written(life)
        requests = [entry for entry in written if entry["kind"] == "request"]
        announced = {entry["about"].get("digest") for entry in written}
        for server in self.servers.values():
            for ways in server.prompts:
                assert announced & set(map(life.audit.digest, ways)), f"{server.name} was sent what no entry announces"
        for ticket in self.tickets:
            if ticket.trace is not None:
                self._check_ticket(life, ticket, settled, requests)
        times = Counter(entry["about"]["trace"] for entry in written if entry["kind"] == "request")
        assert set(times.values()) <= {1}, f"more than once in the audit log: {times.most_common(3)}"
        summed = (await life.store.summary()).requests
        assert summed == len(settled) or (summed > len(settled) and (self.erasures or self.content_days))
        await self._check_sessions(life)
        await self._check_captured(life)
        self._check_budgets(life)

    def _check_ticket(
        self,
        life: Life,
        ticket: Ticket,
        settled: dict[str, Trace],
        requests: list[dict[str, Any]],
    ) -> None:
        """One answer, in the store and in the audit log."""
        assert ticket.trace is not None
        (entry,) = [request for request in requests if request["about"].get("trace") == ticket.id]
        assert (entry["tenant"], entry["time"]) == (ticket.tenant, ticket.trace.time)
        if ticket.text is not None:
            assert entry["about"]["answered"] == life.audit.digest(ticket.text)
        stored = settled.get(ticket.id)
        if self.content_days is None and not any(erasure.takes(ticket) for erasure in self.erasures):
            assert stored is not None, f"{ticket.id} was answered and is not in the store"
            assert stored.verdicts == ticket.trace.verdicts
            assert stored.steps == ticket.trace.steps
        if stored is not None:
            assert (stored.status, stored.time) == (ticket.trace.status, ticket.trace.time)

    async def _settled(self, life: Life) -> dict[str, Trace]:
        """Traces in the store by id; each is its tenant's alone."""
        traces = {}
        for ticket in self.tickets:
            for tenant in self.tenants:
                trace = await life.store.trace(ticket.id, tenant)
                if tenant != ticket.tenant:
                    assert trace is None, f"{tenant} sees {ticket.id} of {ticket.tenant}"
                elif trace is not None:
                    traces[ticket.id] = trace
        return traces

    async def _check_crossings(self, life: Life, number: int) -> None:
        """Where nothing failed, all that left in this process has an outcome in the audit log, and a trace."""
        own = {ticket.id for ticket in self.tickets if ticket.lived == number}
        opened = [prompt for prompt in verify_audit(life.folder / "audit.jsonl").open if prompt.trace in own]
        assert not opened, f"nothing says what came of {opened}"
        left = {entry["about"]["trace"] for entry in self._written(life) if entry["kind"] == "egress"} & own
        kept = await self._settled(life)
        taken = {ticket.id for ticket in self.tickets if any(erasure.takes(ticket) for erasure in self.erasures)}
        assert self.content_days or left <= kept.keys() | taken, f"no trace of {left - kept.keys() - taken}"
        if not self.erasures and not self.content_days and number == 0:
            counted = sum(
                step.usage.tokens_in + step.usage.tokens_out
                for trace in kept.values()
                for step in trace.steps
                if step.engine in self.servers
            )
            billed = sum(server.billed for server in self.servers.values())
            unknown = any(step.note == "cut off" for trace in kept.values() for step in trace.steps)
            assert unknown or billed <= counted, f"{billed} tokens were billed, and the ledger has {counted}"

    async def _check_captured(self, life: Life) -> None:
        """A captured call is one that was relayed or decided, its tenant's, and nobody's personal data are in it."""
        if life.flywheel is None:
            return
        by_id = {ticket.id: ticket for ticket in self.tickets}
        for example in await life.store.tables.newest():
            ticket = by_id[example.request]
            assert example.tenant == ticket.tenant
            content = json.dumps([example.prompt, example.input, example.answer], ensure_ascii=False).encode()
            for tenant in self.tenants.values():
                captured = [
                    canary for canary in tenant.canaries.made if canary.kind and canary.text.encode() in content
                ]
                assert not captured, f"{ticket.id} is captured with {captured}"
                assert tenant.name == ticket.tenant or not _any(tenant, content)
            self.seen["captured"] += 1

    def _written(self, life: Life) -> list[dict[str, object]]:
        """The entries of the audit log, which is as it was written."""
        path = life.folder / "audit.jsonl"
        if not path.exists():
            return []
        verified = verify_audit(path)
        assert verified.whole, verified.fault
        lines = path.read_bytes().splitlines(keepends=True)
        return [read_entry(line.rstrip(b"\n")) for line in lines if line.endswith(b"\n")]

    async def _check_sessions(self, life: Life) -> None:
        """A session holds its own tenant's words."""
        for name, tenant in self.tenants.items():
            for session in SESSIONS:
                content = str(await life.store.context(session, name, whole=True)).encode()
                strangers = [other.name for other in self.tenants.values() if other is not tenant]
                assert not [stranger for stranger in strangers if _any(self.tenants[stranger], content)]

    def _check_budgets(self, life: Life) -> None:
        """No limit is exceeded, what the servers billed is counted, and nothing is held when nobody asks."""
        for spending in life.limits.spending():
            limit = self.limits[spending.name]
            assert limit.requests is None or spending.requests <= limit.requests
            assert limit.tokens is None or spending.tokens <= limit.tokens
            assert limit.money is None or spending.money <= limit.money
            assert (spending.held, spending.held_joules) == (0, 0)
            if spending.name == "tokens" and not self.jumps:
                assert sum(server.billed for server in self.servers.values()) <= spending.tokens

    async def _check_erased(self, life: Life) -> None:
        """What was said in a session that is erased is in no file of the store."""
        tenant, session = self.draw.choice(TENANTS), self.draw.choice(SESSIONS)
        await life.store.erase(session, tenant)
        assert not (await life.store.context(session, tenant, whole=True)).entries
        content = b"".join(file.read_bytes() for file in life.folder.glob("store.db*"))
        erased = [ticket.content for ticket in self.tickets if (ticket.tenant, ticket.session) == (tenant, session)]
        for text in erased:
            for canary in self.tenants[tenant].canaries.made:
                if canary.text in text:
                    assert canary.text.encode() not in content, f"{canary} of {tenant}, {session} is still there"


async def _load_nothing(*_: object) -> object:
    raise AssertionError("there is no deployment")


async def _leave_nothing() -> None:
    """End what a failed check left running, so that its own story is the only one."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


def _above(tenant: Tenant, content: bytes, clearance: Label) -> Iterator[object]:
    return iter(tenant.canaries.found(content, clearance=clearance))


def _any(tenant: Tenant, content: bytes) -> bool:
    """Whether something of a tenant stands there, but for what is public."""
    return bool(tenant.canaries.found(content, clearance=Label.PUBLIC))
