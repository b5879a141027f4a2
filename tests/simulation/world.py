"""The whole network in a simulation: one seed, several processes in turn, many callers, and what must hold."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from coterie.accounting.meter import CostMeter
from coterie.config.accounting import AccountingSection
from coterie.config.file import OpenAIModel
from coterie.config.operation import BudgetSection, GeneralistSection
from coterie.errors import CoterieError, StoreError
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.audit_events import read_entry
from coterie.governance.audit_verification import verify_audit
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.governance.pseudonyms import PseudonymBook
from coterie.limits.limits import StoredLimits
from coterie.network.network import Network
from coterie.store.sqlite import SQLiteStore
from coterie.testing import Canaries, EchoEngine, FakeClock
from coterie.types import Answer, Label, Request

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
    request: Request
    answer: Answer | None = None
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
            name: Tenant(name, Canaries(seed=self.seed * 10 + place), self.drawn())
            for place, name in enumerate(TENANTS)
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
            limits["money"] = BudgetSection(
                per="ever", each="tenant", money=Decimal(self.draw.randrange(1, 200)) / 1000
            )
        if self.draw.random() < 0.3:
            joules = self.draw.randrange(60, 3_000)
            limits["energy"] = BudgetSection(per="day", joules=joules, reserve=self.draw.randrange(1, 60))
        return limits

    # --- one process -------------------------------------------------------------------------------

    async def open(self, folder: Path) -> Life:
        """A network over what is in this folder."""
        disk = Disk(folder, self.drawn())
        limits = StoredLimits(self.limits, folder / "budgets.db", clock=self.clock)
        policy = Allowing(ClearancePolicy())
        audit = LogInTurn(folder / "audit.jsonl", self.loop, clock=self.clock, write=disk.write, sync=disk.sync)
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
                name, section, transport=transport, clock=self.clock, random=draw.random, sleep=asyncio.sleep
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
            each.name: each
            for each in (
                Odd(name="triage", draw=self.drawn(), writes=("intent",)),
                Speaking(name="clauses", draw=self.drawn()),
                Odd(name="notes", draw=self.drawn(), reads=("intent",)),
                Odd(name="remote", draw=self.drawn(), asks=engines[self.chain[-1]][0]),
                Speaking(name="ask", draw=self.drawn(), knowledge=(INDEX,)),
            )
        }
        owners = {passage.document: passage.document.split("-")[0] for passage in self.passages}
        network = Network(
            specialists=specialists,
            router=ByName(cards={name: each.card for name, each in specialists.items()}, draw=self.drawn()),
            store=store,
            meter=meter,
            encoder=EchoEngine("onnx"),
            knowledge={INDEX: OddIndex(self.passages, self.drawn(), index=INDEX, tenants=owners)},
            generalist=PromptedGeneralist([engines[name] for name in self.chain], self.generalist, meter=meter),
            escalate_out_of_scope=self.generalist.escalate_out_of_scope,
            engines=[engine for engine, _ in engines.values()],
            audit=audit,
            limits=limits,
            pseudonyms=PseudonymBook(clock=self.clock),
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
        )

    async def _open_store(self, folder: Path, disk: Disk) -> InTurn:
        """The store; where statements of its opening fail, it is opened again."""
        for _ in range(FAILING + 1):
            with suppress(StoreError):
                opening = SQLiteStore.open(
                    folder / "store.db", session_days=30, keep_content=True, clock=self.clock, connect=disk.connect
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
            folder = await self._end(life)
            self.loop.advance(self.draw.choice([0.5, 100.0, 90_000.0]))
        life = await self.open(folder)
        life.disk.heal()
        await self._check_kept(life)
        await self._check_erased(life)
        await life.network.close()

    async def _end(self, life: Life) -> Path:
        """End a process; gives the folder that the next one finds."""
        self.seen[life.disk.fault] += life.disk.struck
        life.disk.heal()
        await self._check_quiet(life)
        if life.disk.copy is None:
            await self._check_kept(life)
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
        waiting, latest = set(clients), self.clock() + LONGEST
        while waiting and life.disk.copy is None:
            if self.clock() > latest:
                raise Stalled(f"after {LONGEST:g} s somebody still waits: {shown(waiting)}")
            done, waiting = await asyncio.wait(waiting, timeout=0.25)
            for each in done:
                each.result()
        for client in waiting:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _client(self, life: Life, tenant: Tenant, draw: random.Random, number: int) -> None:
        for _ in range(draw.randrange(1, 5)):
            await asyncio.sleep(draw.choice([0.0, 0.0, 0.01, 1.0, 20.0]))
            request = tenant.request()
            tenant.release(request)
            ticket = Ticket(id=f"r{len(self.tickets)}", request=request, lived=number)
            self.tickets.append(ticket)
            answer, error = None, ""
            try:
                answer = await self._ask(life, ticket, draw)
            except CoterieError as raised:
                error = type(raised).__name__
            if life.disk.copy is not None:
                return  # the process had ended by then
            ticket.answer, ticket.error = answer, error
            self._note(ticket)
            if answer is not None:
                self._check_answer(tenant, ticket, answer)

    async def _ask(self, life: Life, ticket: Ticket, draw: random.Random) -> Answer | None:
        """Ask one way or another; None where the caller leaves before the answer."""
        way, network = draw.random(), life.network
        if way < 0.5:
            return await network.ask(ticket.request, trace_id=ticket.id)
        if way < 0.75:
            return await self._read(life, ticket, most=1_000_000)
        if way < 0.85:
            return await self._read(life, ticket, most=draw.randrange(6))
        asking = asyncio.ensure_future(network.ask(ticket.request, trace_id=ticket.id))
        try:
            await asyncio.wait([asking], timeout=draw.choice([0.0, 0.001, 0.05, 1.0, 6.0]))
        finally:
            for _ in range(draw.choice([1, 1, 3])):
                asking.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([asking])
        return None if asking.cancelled() else asking.result()

    async def _read(self, life: Life, ticket: Ticket, *, most: int) -> Answer | None:
        """Read a stream, or its beginning; what was shown piece by piece is the answer."""
        said: list[str] = []
        async with aclosing(life.network.stream(ticket.request, trace_id=ticket.id)) as events:
            async for event in events:
                if isinstance(event, Answer):
                    assert "".join(said) == event.text
                    return event
                said.append(event.text)
                if len(said) > most:
                    break
        return None

    def _note(self, ticket: Ticket) -> None:
        trace = None if ticket.answer is None else ticket.answer.trace
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
        assert not left, f"still running: {left}"

    def _check_answer(self, tenant: Tenant, ticket: Ticket, answer: Answer) -> None:
        """An answer has its own id and time, and nothing that its caller may not see."""
        assert answer.trace.id == ticket.id
        assert START <= answer.trace.time <= self.clock()
        clearance = ticket.request.clearance or Label.INTERNAL
        content, may_see = answer.text.encode(), [str(ticket.request), *tenant.readable(clearance)]
        seen = [
            canary
            for canary in tenant.canaries.found(content, clearance=clearance)
            if not any(canary.text in text for text in may_see[: 1 if canary.kind == "SECRET" else None])
        ]
        assert not seen, f"{ticket.id} shows what is above {clearance}: {seen}"
        for other in self.tenants.values():
            if other is not tenant:
                assert not _any(other, content), f"{ticket.id} shows {other.name}'s words to {tenant.name}"

    def _check_servers(self, life: Life) -> None:
        """Nothing above its clearance reached a server, nothing that the gate did not let go, and one tenant's only."""
        self.allowed.update(life.policy.allowed)
        for name, server in self.servers.items():
            assert len(server.bodies) <= self.allowed[name] * (1 + self.retries)
            for body in server.bodies:
                found = [each for tenant in self.tenants.values() for each in _above(tenant, body, CLEARANCES[name])]
                assert not found, f"above the clearance of {name!r}: {found}"
                owners = [tenant.name for tenant in self.tenants.values() if _any(tenant, body)]
                assert len(owners) <= 1, f"words of {owners} in one request to {name!r}"

    async def _check_kept(self, life: Life) -> None:
        """What was answered is in ledger, trace and audit once; nothing else is there; no budget is exceeded."""
        settled, written = await self._settled(life), self._written(life)
        requests = [each for each in written if each["kind"] == "request"]
        announced = {each["about"].get("digest") for each in written}
        for server in self.servers.values():
            for text in server.prompts:
                assert life.audit.digest(text) in announced, f"{server.name} was sent what no entry announces"
        for ticket in self.tickets:
            if ticket.answer is not None:
                stored = settled.get(ticket.id)
                assert stored is not None, f"{ticket.id} was answered and is not in the store"
                assert stored.verdicts == ticket.answer.trace.verdicts
                assert (stored.status, stored.time) == (ticket.answer.trace.status, ticket.answer.trace.time)
                assert stored.steps == ticket.answer.trace.steps
                (entry,) = [each for each in requests if each["about"].get("trace") == ticket.id]
                assert entry["about"]["answered"] == life.audit.digest(ticket.answer.text)
                assert (entry["tenant"], entry["time"]) == (ticket.request.tenant, ticket.answer.trace.time)
        times = Counter(each["about"]["trace"] for each in written if each["kind"] == "request")
        assert set(times.values()) <= {1}, f"more than once in the audit log: {times.most_common(3)}"
        assert (await life.store.summary()).requests == len(settled)
        await self._check_sessions(life)
        self._check_budgets(life)

    async def _settled(self, life: Life) -> dict[str, object]:
        """Traces in the store by id; each is its tenant's alone."""
        found = {}
        for ticket in self.tickets:
            for tenant in self.tenants:
                trace = await life.store.trace(ticket.id, tenant)
                if tenant != ticket.request.tenant:
                    assert trace is None, f"{tenant} sees {ticket.id} of {ticket.request.tenant}"
                elif trace is not None:
                    found[ticket.id] = trace
        return found

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
                assert not [each for each in strangers if _any(self.tenants[each], content)]

    def _check_budgets(self, life: Life) -> None:
        """No limit is exceeded, what the servers billed is counted, and nothing is held when nobody asks."""
        for spending in life.limits.spending():
            limit = self.limits[spending.name]
            assert limit.requests is None or spending.requests <= limit.requests
            assert limit.tokens is None or spending.tokens <= limit.tokens
            assert limit.money is None or spending.money <= limit.money
            assert (spending.held, spending.held_joules) == (0, 0)
            if spending.name == "tokens":
                assert sum(server.billed for server in self.servers.values()) <= spending.tokens

    async def _check_erased(self, life: Life) -> None:
        """What was said in a session that is erased is in no file of the store."""
        tenant, session = self.draw.choice(TENANTS), self.draw.choice(SESSIONS)
        await life.store.erase(session, tenant)
        assert not (await life.store.context(session, tenant, whole=True)).entries
        content = b"".join(each.read_bytes() for each in life.folder.glob("store.db*"))
        for ticket in self.tickets:
            if (ticket.request.tenant, ticket.request.session) == (tenant, session):
                for canary in self.tenants[tenant].canaries.made:
                    if canary.text in ticket.request.text:
                        assert canary.text.encode() not in content, f"{ticket.id}: {canary} is still there"


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
