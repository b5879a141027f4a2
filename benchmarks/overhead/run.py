"""What gate, audit log and ledger add to a request.

    nice -n -20 python benchmarks/overhead/run.py

The same texts through two networks in one process, one after the other, each text through both: a bare one, whose
model is asked directly, which looks for nothing and writes nothing down; and one as it is served: labels by the
detector, the gate with its policy, pseudonyms, the SQLite ledger and the audit log in files, the interpreter set as the
gateway sets it. Specialists take no time, and the model answers at once within the process, so what is left is what is
added.
"""

from __future__ import annotations

import asyncio
import csv
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import LENDER
from _record import Bar, Record, arguments, sha256, sync_p50
from coterie.accounting.meter import CostMeter
from coterie.config.file import OpenAIModel
from coterie.config.operation import AccountingSection, GeneralistSection
from coterie.engines.openai import OpenAIEngine
from coterie.gateway.serve import serving
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.audit import AuditLog
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.network.network import Network
from coterie.privacy.patterns import PatternDetector
from coterie.protocols import Store, StreamingEngine
from coterie.store.sqlite import SQLiteStore
from coterie.testing import Canaries, EchoEngine, ReceivedRequest, ScriptedAnswer, ScriptedTransport
from coterie.types import (
    Context,
    ContextView,
    Finding,
    Label,
    Part,
    Request,
    Route,
    Settlement,
    SpecialistCard,
    Step,
    Task,
    Usage,
    worded,
)

CLAIM = "Gate, audit log and ledger add little to a request."
P50_BAR, P99_BAR = 1.5, 4.0
REACH = "reach 0.7 / 2 ms"
CHARACTERS = 500
WARM_UP = 200
CASES = {
    "answered here": (True, False),
    "crossing in clear": (False, False),
    "crossing with pseudonyms": (False, True),
}
"""By name: whether the specialist answers, and whether there is personal data in the text."""
TEXTS = LENDER / "data/triage.test.csv"
MODEL = OpenAIModel(
    engine="openai",
    base_url="http://model.test/v1",
    name="large",
    clearance=Label.INTERNAL,
    pseudonymise=True,
    retries=0,
)


class Instant:
    """A specialist that takes no time: it answers, or it abstains where the text says so."""

    card = SpecialistCard(
        name="triage", task="classify", description="", rung="lexical", version="0", writes=("intent",)
    )

    async def consult(self, task: Task, view: ContextView, *, call: object = None) -> Finding:
        """At once."""
        return Finding(
            specialist="triage",
            value="card_arrival",
            text="card_arrival",
            confidence=0.9,
            accepted="(sure)" in task.text,
            reason=worded("it was told to"),
            label=task.label,
            label_without_pii=task.label_without_pii,
            task="classify",
            steps=(Step(producer="triage", engine="linear", usage=Usage(tokens_in=10)),),
        )


class Everything:
    """A router that sends everything to it."""

    async def route(self, request: Request, context: Context, *, call: object = None) -> Route:
        """One part."""
        return Route(
            parts=(Part(text=request.text, stages=(("triage",),), score=1.0),), reason=worded("there is nobody else")
        )


class Nothing:
    """A detector that finds nothing, and a store that keeps nothing."""

    def find(self, text: str) -> tuple[()]:
        """Nothing."""
        return ()

    async def settle(self, settlement: Settlement) -> None:
        """Nothing."""

    async def context(self, session: str, tenant: str, *, whole: bool = False) -> Context:
        """Nothing."""
        return Context()

    async def close(self) -> None:
        """Nothing."""


def answered(request: ReceivedRequest) -> ScriptedAnswer:
    """The model: it repeats the end of what it is told, at once."""
    content = request.json["messages"][-1]["content"][-CHARACTERS:]
    return ScriptedAnswer(json={"choices": [{"index": 0, "message": {"content": content}, "finish_reason": "stop"}]})


def network(engine: StreamingEngine, store: Store, **more: Any) -> Network:  # noqa: ANN401 - as `Network` takes it
    """A network with this model above the specialist."""
    return Network(
        specialists={"triage": Instant()},
        router=Everything(),
        store=store,
        meter=CostMeter(AccountingSection(), {"large": MODEL}, "large"),
        encoder=EchoEngine("onnx"),
        generalist=PromptedGeneralist([(engine, MODEL)], GeneralistSection(model="large")),
        engines=(engine,),
        **more,
    )


def texts(count: int, *, sure: bool, personal: bool, seed: int) -> list[str]:
    """Messages of some 500 characters, perhaps with an e-mail address and an IBAN in each."""
    canaries = Canaries(seed=seed)
    with TEXTS.open(encoding="utf-8", newline="") as file:
        messages = [row["text"] for row in csv.DictReader(file)]
    made = []
    for index in range(count):
        text = f"{canaries.personal('EMAIL').text} {canaries.personal('IBAN').text} " if personal else ""
        text += "(sure) " if sure else ""
        while len(text) < CHARACTERS:
            text += messages[(index * 7 + len(text)) % len(messages)] + " "
        made.append(text)
    return made


async def timed(network: Network, text: str) -> tuple[float, float]:
    """Milliseconds, and those of CPU in all threads."""
    start, cpu = time.perf_counter(), time.process_time()
    await network.ask(Request(text=text))
    return (time.perf_counter() - start) * 1000, (time.process_time() - cpu) * 1000


async def compare(bare: Network, served: Network, questions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds and those of CPU (N, 2) of each text through the one and the other, the first one changing."""
    figures = []
    for index, text in enumerate(questions):
        if index % 2:
            second = await timed(served, text)
            first = await timed(bare, text)
        else:
            first = await timed(bare, text)
            second = await timed(served, text)
        figures.append((first, second))
    columns = np.array(figures[WARM_UP:])  # (N, bare and served, 2)
    return columns[:, 0], columns[:, 1]


def summary(bare: np.ndarray, served: np.ndarray) -> dict[str, float]:
    """What is added: of each text's two times the difference."""
    added, cpu = (served - bare).T
    return {
        "requests": len(added),
        "bare_p50_ms": float(np.quantile(bare[:, 0], 0.5)),
        "served_p50_ms": float(np.quantile(served[:, 0], 0.5)),
        "added_p50_ms": float(np.quantile(added, 0.5)),
        "added_p99_ms": float(np.quantile(added, 0.99)),
        "added_cpu_p50_ms": float(np.quantile(cpu, 0.5)),
    }


async def measure(requests: int, seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Both cases."""
    options: Any = {"transport": ScriptedTransport(answered)}
    store = await SQLiteStore.open(folder / "coterie.db", session_days=30.0, keep_content=False, sync_seconds=1.0)
    log = AuditLog(folder / "audit.jsonl", sync_seconds=1.0)
    detector = PatternDetector()
    gate = Gate(ClearancePolicy(), audit=log, detector=detector)
    bare = network(OpenAIEngine("large", MODEL, **options), cast("Store", Nothing()), detector=Nothing())
    served = network(gate.open("large", MODEL, **options), store, audit=log, detector=detector)
    try:
        summaries = {}
        for case, (sure, personal) in CASES.items():
            questions = texts(requests + WARM_UP, sure=sure, personal=personal, seed=seed)
            with serving():
                summaries[case] = summary(*await compare(bare, served, questions))
        return summaries
    finally:
        await bare.close()
        await served.close()


def main() -> None:
    """Measure and write down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where ledger and log are, such as /dev/shm")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed], data={f"lender/{TEXTS.name}": sha256(TEXTS)})
    with tempfile.TemporaryDirectory(dir=given.folder) as name:  # on the disk by default: what leaves waits for a sync
        summaries = asyncio.run(measure(given.requests, given.seed, Path(name)))
        record.figures = {**summaries, "sync_p50_ms": sync_p50(Path(name))}
    for case, figures in summaries.items():
        record.bars += [
            Bar(what=f"{case}: p50 ms", measured=figures["added_p50_ms"], limit=P50_BAR, at_most=True),
            Bar(what=f"{case}: p99 ms", measured=figures["added_p99_ms"], limit=P99_BAR, at_most=True),
        ]
    record.notes.append(REACH)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
