"""A small network with a specialist of each task and a large model (a local fake), trained on the spot in seconds."""

from __future__ import annotations

import asyncio
import csv
import json
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _data import LENDER
from coterie.learning.job import Silent
from coterie.testing import FakeOpenAIServer, ServerReply
from coterie.training.train import train

LABELS, ROWS = 8, 400
NETWORK = """
[network]
default_label = "public"
[specialists.triage]
task = "classify"
data = "triage.csv"
description = "What customers ask a bank."
licence = "CC-BY-4.0"
rungs = ["embedding"]
writes = ["intent"]
[specialists.travel]
task = "classify"
data = "travel.csv"
description = "What customers ask about cash and cards abroad."
licence = "CC-BY-4.0"
rungs = ["embedding"]
[specialists.clauses]
task = "pairs"
data = "pairs.jsonl"
pair_column = "hypothesis"
description = "Whether an agreement says something."
licence = "Apache-2.0"
[specialists.risk]
task = "score"
data = "underwriting.csv"
label_column = "default"
description = "Probability that an applicant defaults."
licence = "CC-BY-4.0"
protected = ["personal_status_sex", "age_years", "foreign_worker"]
target_risk = 0.15
[specialists.terms]
task = "extract"
data = "terms.jsonl"
fields = {{ start = "date", law = "text" }}
description = "The terms of a contract."
licence = "Apache-2.0"
rungs = ["lexical"]
[specialists.ask]
task = "answer"
description = "Questions about the terms and policies of a lender."
knowledge = ["policies"]
[specialists.reply]
task = "generate"
data = "help.jsonl"
description = "Drafts the reply."
licence = "Apache-2.0"
model = "large"
reads = ["intent"]
[knowledge.policies]
paths = ["documents"]
label = "public"
[models.large]
engine = "openai"
base_url = "{url}"
name = "large"
price_in = "10.00"
price_out = "30.00"
clearance = "public"
pseudonymise = true
[generalist]
model = "large"
escalate_out_of_scope = true
deadline = 120.0
[accounting]
price_per_cpu_hour = "0.05"
"""
LAWS = ("Spain", "Ohio", "France", "Norway", "Ireland", "Delaware", "Austria", "Japan")


def _customers(folder: Path) -> None:
    with (LENDER / "data/triage.train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = sorted({row["label"] for row in rows})
    for name, chosen in (("triage", labels[:LABELS]), ("travel", labels[LABELS : 2 * LABELS])):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            mine = [row for row in rows if row["label"] in chosen][:ROWS]
            writer.writerows({key: row[key] for key in ("text", "label")} for row in mine)


def _contracts(folder: Path) -> None:
    chance = random.Random(1)  # noqa: S311 - rows, no secrets
    terms, pairs = [], []
    for number in range(160):
        day, law, months = (
            f"20{chance.randint(10, 29)}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}",
            chance.choice(LAWS),
            chance.randint(2, 36),
        )
        kept = chance.random() < 0.5
        text = (
            f"Contract {number} between two firms. It begins on {day}. The law of {law} governs it. It ends after "
            f"{months} months. {'All information is kept confidential.' if kept else 'Copies may be handed on.'}"
        )
        terms.append({"text": text, "fields": {"start": day, "law": law if number % 3 else None}})
        if not number % 3:
            terms[-1]["text"] = text.replace(f"The law of {law} governs it. ", "")
        evidence = "All information is kept confidential." if kept else "Copies may be handed on."
        pairs += [
            {"text": text, "hypothesis": "The information is confidential.", "label": "yes" if kept else "no",
             "evidence": [evidence]},
            {"text": text, "hypothesis": "Copies may go to others.", "label": "no" if kept else "yes",
             "evidence": [evidence]},
        ]  # fmt: skip
    for name, rows in (("terms", terms), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def make_network(folder: Path, url: str) -> Path:
    """Write the data, train the specialists and build the index, unless the folder has them; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "coterie.toml").write_text(NETWORK.format(url=url), encoding="utf-8")
    if (folder / "registry/reply/champion").exists():
        return folder
    _customers(folder)
    _contracts(folder)
    shutil.copy(LENDER / "data/underwriting.csv", folder)
    shutil.copy(LENDER / "data/help.jsonl", folder)
    shutil.copytree(LENDER / "documents/policies", folder / "documents", dirs_exist_ok=True)
    command = [sys.executable, "-m", "coterie", "-C", str(folder), "index", "policies"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
    train(folder, progress=Silent())
    return folder


@contextmanager
def large_model(delay: float = 0.0) -> Iterator[str]:
    """A fake large model in a thread of its own; its address."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    url: list[str] = []
    stop = asyncio.Event()

    async def serve() -> None:
        async with FakeOpenAIServer(default=ServerReply(delay=delay)) as server:
            url.append(server.base_url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    ready.wait()
    yield url[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
