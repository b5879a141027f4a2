"""Ten thousand requests through a whole network with servers that note every byte: what should not get out does not.

    python benchmarks/egress/run.py --requests 10000

A network opened from its folder: a classifier, a writer that drafts with a remote model, a reader of an index with
documents of every label, and three remote models above them in changing order, with fallback and hedging. What is
planted is looked for in every byte that a server received, in any case and with anything between its letters.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpus import Corpus, read_texts

from _data import LENDER
from _record import Bar, Record, arguments, sha256
from coterie import open_network
from coterie.errors import Overloaded, ReleaseRefused
from coterie.network.network import Network
from coterie.testing import FakeOpenAIServer
from coterie.types import Answer, Delta, Label, Request
from servers import misbehaving

CLAIM = "No byte above a model's clearance leaves outside the gate's record."
CLEARANCES = {"open": Label.PUBLIC, "inner": Label.INTERNAL, "trusted": Label.CONFIDENTIAL}
CHAINS = (("inner", "open", "trusted"), ("trusted", "inner", "open"), ("open", "trusted", "inner"))
INTENTS = ("card_arrival", "lost_or_stolen_card", "card_payment_fee_charged", "top_up_failed", "age_limit")
AT_ONCE = 4
BATCH = 100

CONFIG = """
[network]
name = "egress"

[specialists.triage]
task = "classify"
description = "Messages of bank customers."
data = "triage.csv"
rungs = ["lexical"]
writes = ["intent"]

[specialists.reply]
task = "generate"
description = "Drafts the reply."
data = "help.jsonl"
model = "inner"
reads = ["intent"]

[specialists.ask]
task = "answer"
description = "Answers questions about policies: fees of loans."
knowledge = ["policies"]

[knowledge.policies]
paths = ["documents"]
label = "public"
labels = {labels}

{models}
[generalist]
model = "{first}"
fallback = {rest}
hedge_after = 0.02
deadline = 10.0
history = true
synthesise = true
escalate_out_of_scope = true
"""
MODEL = """
[models.{name}]
engine = "openai"
base_url = "{url}"
name = "{name}"
clearance = "{clearance}"
pseudonymise = {pseudonymise}
retries = 0
window = 65536
timeout = 20
"""


@dataclass(kw_only=True)
class Tally:
    """What was seen."""

    requests: int = 0
    streamed: int = 0
    refused: int = 0
    overloaded: int = 0
    """Requests that were told to come again; what they had sent until then is in the record too."""
    leaks: list[str] = field(default_factory=list)
    """Canaries that a server received and might not, as `server: kind or label`."""
    shown: list[str] = field(default_factory=list)
    """Canaries in an answer that its caller neither sent nor may see."""
    restored: int = 0
    """Answers with personal data in them."""
    statuses: Counter[str] = field(default_factory=Counter)
    by_specialist: Counter[str] = field(default_factory=Counter)
    """How requests ended by whom they named, as `specialist: status`; those that named nobody are `routed`."""
    unfounded: int = 0
    """Customers' messages that were answered with a quote of the index, where nothing answers them."""
    verdicts: Counter[str] = field(default_factory=Counter)
    """Of the gate, as `model: rule, allowed or not`, from the traces."""
    searched: dict[str, int] = field(default_factory=dict)
    """Bytes by server."""


def write_folder(folder: Path, corpus: Corpus, servers: Mapping[str, FakeOpenAIServer], chain: Sequence[str]) -> None:
    """The network's folder; the documents once."""
    folder.mkdir(exist_ok=True)
    models = "".join(
        MODEL.format(
            name=name, url=server.base_url, clearance=CLEARANCES[name], pseudonymise=str(name != "open").lower()
        )
        for name, server in servers.items()
    )
    index = ", ".join(f'"documents/{label}/**" = "{label}"' for label in Label)
    text = CONFIG.format(labels=f"{{ {index} }}", models=models, first=chain[0], rest=json.dumps(list(chain[1:])))
    (folder / "coterie.toml").write_text(text, encoding="utf-8")
    if (folder / "documents").exists():
        return
    corpus.documents(folder / "documents")
    kept = [line for line in _lines("triage.train.csv") if line.rpartition(",")[2] in {*INTENTS, "label"}]
    (folder / "triage.csv").write_text("\n".join(kept) + "\n", encoding="utf-8")
    texts = [line for line in _lines("help.jsonl") if json.loads(line)["intent"] in INTENTS]
    (folder / "help.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")


def _lines(name: str) -> list[str]:
    return (LENDER / "data" / name).read_text(encoding="utf-8").splitlines()


async def coterie(folder: Path, *words: str) -> None:
    """A command, as a user would give it."""
    command = [sys.executable, "-m", "coterie", "-C", str(folder), *words]
    await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)


async def ask(network: Network, corpus: Corpus, request: Request, tally: Tally, *, stream: bool) -> None:
    """Ask, and look at the answer."""
    tally.requests += 1
    tally.streamed += stream
    try:
        answer = await _streamed(network, request) if stream else await network.ask(request)
    except ReleaseRefused:
        tally.refused += 1
        return
    except Overloaded:
        tally.overloaded += 1
        return
    tally.statuses[answer.trace.status] += 1
    named = "document" if request.document is not None else request.specialist or "routed"
    tally.by_specialist[f"{named}: {answer.trace.status}"] += 1
    quoted = any(finding.accepted and finding.specialist == "ask" and finding.citations for finding in answer.findings)
    tally.unfounded += quoted and named == "routed"
    for verdict in answer.trace.verdicts:
        if verdict.rule.startswith("egress."):
            model = destination(reason.values for reason in (verdict.reason, *verdict.reason.notes))
            tally.verdicts[f"{model}: {verdict.rule} {'allowed' if verdict.allowed else 'refused'}"] += 1
    reply, sent = answer.text.encode(), str(request)
    clearance = request.clearance or Label.INTERNAL
    seen = [canary for canary in corpus.canaries.found(reply, clearance=clearance) if canary.text not in sent]
    tally.shown += [
        canary.kind or canary.label.value
        for canary in seen
        if corpus.shelved.get(canary.text, canary.label) > clearance
    ]
    tally.restored += any(canary.kind for canary in corpus.canaries.found(reply, clearance=Label.PUBLIC))


async def _streamed(network: Network, request: Request) -> Answer:
    pieces = []
    async with aclosing(network.stream(request)) as events:
        async for event in events:
            if isinstance(event, Delta):
                pieces.append(event.text)
            else:
                if "".join(pieces) != event.text:
                    raise AssertionError("the pieces are not the answer")
                return event
    raise AssertionError("a stream ends with an answer")


async def phase(
    folder: Path, corpus: Corpus, servers: Mapping[str, FakeOpenAIServer], count: int, tally: Tally
) -> None:
    """So many requests through the network of a folder, batch by batch."""
    network = await open_network(folder)
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(request: Request, number: int) -> None:
        async with limit:
            await ask(network, corpus, request, tally, stream=number % 2 == 0)

    try:
        for start in range(0, count, BATCH):
            requests = [corpus.request() for _ in range(min(BATCH, count - start))]
            for request in requests:
                corpus.released(request)
            await asyncio.gather(*(one(request, index) for index, request in enumerate(requests)))
            search(corpus, servers, tally)
            print(f"  {tally.requests:,} requests, {sum(tally.searched.values()):,} bytes searched", flush=True)
    finally:
        await network.close()


def search(corpus: Corpus, servers: Mapping[str, FakeOpenAIServer], tally: Tally) -> None:
    """Look for every canary planted so far in what came in since the last search."""
    for name, server in servers.items():
        start = tally.searched.get(name, 0)
        new = bytes(server.received[max(start - 200, 0) :])
        leaked = corpus.canaries.found(new, clearance=CLEARANCES[name])
        tally.leaks += [f"{name}: {canary.kind or canary.label.value}" for canary in leaked]
        tally.searched[name] = len(server.received)


def destination(values: Iterable[Mapping[str, object]]) -> str:
    """The model that a verdict of the gate is about: one of its reasons names it."""
    return next(str(value["destination"]) for value in values if "destination" in value)


def audited(folder: Path) -> Counter[str]:
    """What the audit log knows of the gate: prompts let out, by model."""
    counts: Counter[str] = Counter()
    for line in (folder / "state" / "audit.jsonl").read_text(encoding="utf-8").splitlines():
        for verdict in json.loads(line).get("about", {}).get("verdicts", ()):
            if verdict["allowed"] and verdict["rule"].startswith("egress."):
                reasons = (verdict, *verdict.get("reason_notes", ()))
                counts[destination(reason["reason_values"] for reason in reasons)] += 1
    return counts


async def measure(requests: int, seed: int, folder: Path) -> tuple[Tally, Counter[str], dict[str, int], Corpus]:
    """All of it."""
    corpus, tally = Corpus(seed, read_texts(LENDER / "data" / "triage.test.csv")), Tally()
    async with FakeOpenAIServer() as one, FakeOpenAIServer() as two, FakeOpenAIServer() as three:
        servers = dict(zip(CLEARANCES, (one, two, three), strict=True))
        for index, server in enumerate(servers.values()):
            server.default = misbehaving(seed + index)
        for index, chain in enumerate(CHAINS):
            write_folder(folder, corpus, servers, chain)
            if not index:
                await coterie(folder, "index", "policies")
                await coterie(folder, "train")
                search(corpus, servers, tally)
            print(f"{' -> '.join(chain)}", flush=True)
            await phase(folder, corpus, servers, requests // len(CHAINS) + (index < requests % len(CHAINS)), tally)
        received = {name: len(server.requests) for name, server in servers.items()}
    return tally, audited(folder), received, corpus


def main() -> None:
    """Ask, search, count, write down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    files = [LENDER / "data" / name for name in ("triage.train.csv", "triage.test.csv", "help.jsonl")]
    record = Record(claim=CLAIM, seeds=[given.seed], data={f"lender/{p.name}": sha256(p) for p in files})
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        tally, logged, received, corpus = asyncio.run(measure(given.requests, given.seed, Path(name) / "network"))
    unknown = sum(max(received[model] - logged[model], 0) for model in CLEARANCES)
    kinds = Counter(canary.kind or f"word, {canary.label.value}" for canary in corpus.canaries.made)
    record.figures = {
        "requests": tally.requests,
        "streamed": tally.streamed,
        "releases_refused": tally.refused,
        "overloaded": tally.overloaded,
        "statuses": dict(tally.statuses),
        "statuses_by_specialist": dict(sorted(tally.by_specialist.items())),
        "messages_answered_by_a_quote": tally.unfounded,
        "canaries": dict(kinds),
        "bytes_received": tally.searched,
        "requests_received": received,
        "let_out_by_the_audit_log": dict(logged),
        "verdicts": dict(sorted(tally.verdicts.items())),
        "answers_with_personal_data": tally.restored,
        "leaks": dict(Counter(tally.leaks)),
        "shown_to_the_wrong": dict(Counter(tally.shown)),
        "seconds": time.perf_counter() - start,
    }
    record.bars = [
        Bar(what="canaries above clearance received", measured=len(tally.leaks), limit=0, at_most=True),
        Bar(what="requests received that the audit log does not know", measured=unknown, limit=0, at_most=True),
        Bar(what="canaries shown to who may not see them", measured=len(tally.shown), limit=0, at_most=True),
    ]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
