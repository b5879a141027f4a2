"""Specialists with a local model of 1.5 billion weights above them, against that model alone: quality and energy.

    COTERIE_DATA=FOLDER python benchmarks/live_cascade/run.py --model FILE.gguf --rows 80

Triage (BANKING77), clauses (CUAD) and headlines. What is kept in `--work` is not done again, so a run that was cut off
goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import LENDER, find
from _record import Bar, Record, arguments, sha256
from _specialists import WATTS_PER_CORE, Steps, write_network
from coterie import open_network
from coterie.config.file import LlamaModel
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.learning.evaluation import bootstrap_mean
from coterie.learning.job import AskedModel
from coterie.network.network import Network
from coterie.registry.registry import REGISTRY_FOLDER
from coterie.tasks.classify.prompted import FewShot
from coterie.training.train import train
from coterie.types import SYSTEM, ContextView, Label, Request, Task
from headlines.run import headline_rows
from intents.run import banking_rows
from prompted.run import INSTRUCTIONS, MODEL_SHA256

CLAIM = "Specialists with a large model above them answer no worse than it alone, at a hundredth of the energy or less."
BAR, REACH = 100.0, 1000.0
HELD = 400
"""Training rows that no specialist learns from: on them it is decided whether asking the large model is worth it."""
DECIDING = 20
"""Of those on which a specialist abstains, so many are asked of the large model, at most."""
WINDOW = 2048
LONGEST = 48
"""Tokens of an escalated answer: a label is wanted."""
TOLD = {
    "triage": INSTRUCTIONS["banking77"],
    "clauses": "Each message is from a contract; its label is the type of the clause. ",
    "headlines": INSTRUCTIONS["headlines"],
}


class Row(NamedTuple):
    """A text with every label that is right for it, and what it is alike with."""

    text: str
    labels: tuple[str, ...]
    group: str = ""


class Rows(NamedTuple):
    """The rows of a set: to train on, to decide on, to be tested on once."""

    train: Sequence[Row]
    held: Sequence[Row]
    test: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One way of answering one row."""

    value: str | None
    cpu_seconds: float
    escalated: bool = False


class Kept:
    """Answers in a file, a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Answered] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            key, answer = json.loads(line)
            self._known[key] = Answered(**answer)

    def get(self, key: str) -> Answered | None:
        """What was answered, if it was."""
        return self._known.get(key)

    def put(self, key: str, answer: Answered) -> Answered:
        """Remember it."""
        self._known[key] = answer
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, asdict(answer)]) + "\n")
        return answer


# --- Data ----------------------------------------------------------------------------------------


def read_sets(seed: int) -> tuple[dict[str, Rows], dict[str, str]]:
    """The three sets, and the hashes of their files."""
    banking, headlines = find("banking77"), find("frugalgpt")[:2]
    clauses = [LENDER / "data" / f"clauses.{part}.jsonl" for part in ("train", "test")]
    plain = {
        "triage": banking_rows(banking),
        "headlines": tuple(headline_rows(path) for path in headlines),
    }
    sets = {
        name: split([Row(text, (label,)) for text, label in train], [Row(text, (label,)) for text, label in test], seed)
        for name, (train, test) in plain.items()
    }
    sets["clauses"] = split(clause_rows(clauses[0]), clause_rows(clauses[1]), seed)
    files = {"banking77": banking, "frugalgpt": headlines, "lender": clauses}
    return sets, {f"{name}/{path.name}": sha256(path) for name, paths in files.items() for path in paths}


def clause_rows(path: Path) -> list[Row]:
    """The clauses of a file of the lender example."""
    read = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Row(row["text"], tuple(row["labels"]), row["contract"]) for row in read]


def split(train: Sequence[Row], test: Sequence[Row], seed: int) -> Rows:
    """Set training rows aside, whole groups of them; shuffle the test rows."""
    random = np.random.default_rng(seed)
    groups = list(dict.fromkeys(row.group or row.text for row in train))
    aside: set[str] = set()
    counts = dict.fromkeys(groups, 0)
    for row in train:
        counts[row.group or row.text] += 1
    total = 0
    for index in random.permutation(len(groups)):
        if total >= HELD:
            break
        aside.add(groups[index])
        total += counts[groups[index]]
    held = [row for row in train if (row.group or row.text) in aside]
    rest = [row for row in train if (row.group or row.text) not in aside]
    return Rows(rest, held, [test[index] for index in random.permutation(len(test))])


def make_network(folder: Path, sets: Mapping[str, Rows], model: Path, threads: int) -> None:
    """A network of three specialists with the large model above them, trained if it is not."""
    sections = {}
    for name, rows in sets.items():
        for part in ("train", "held"):
            path = folder / f"{name}.{part}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [
                json.dumps({"text": r.text, "labels": r.labels, "group": r.group or r.text})
                for r in getattr(rows, part)
            ]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        section = {"task": "classify", "data": f"{name}.train.jsonl", "test": f"{name}.held.jsonl"}
        sections[name] = section | {"label_column": "labels", "group_column": "group"}
    write_network(
        folder,
        sections,
        {
            "large": {
                "engine": "llama",
                "name": str(model.resolve()),
                "sha256": MODEL_SHA256,
                "threads": threads,
                "parallel": 1,
                "window": WINDOW,
            }
        },
    )
    with (folder / "coterie.toml").open("a", encoding="utf-8") as file:
        file.write('\n[generalist]\nmodel = "large"\ndeadline = 600\n')
    missing = [name for name in sets if not (folder / REGISTRY_FOLDER / name / "champion").exists()]
    if missing:
        train(folder, missing, progress=Steps())


# --- Ways of answering ---------------------------------------------------------------------------


async def alone(model: AskedModel, prompting: FewShot, rows: Sequence[Row]) -> list[Answered]:
    """The large model by itself, shown every label and held to them by a grammar."""
    engine, answers = model.open(), []
    try:
        for row in rows:
            (output,) = await engine.run([prompting.prompt(row.text[: 4 * WINDOW // 2], (), Label.PUBLIC)], call=SYSTEM)
            value = prompting.read(output.text, prompting.labels)
            answers.append(Answered(value=value, cpu_seconds=output.usage.cpu_seconds))
            print(".", end="", flush=True)
    finally:
        await engine.close()
    print()
    return answers


async def specialist(network: Network, name: str, rows: Sequence[Row]) -> list[tuple[Answered, bool]]:
    """The specialist's best label and whether it stands by it, asked one by one."""
    answers = []
    for row in rows:
        start = time.process_time()
        finding = await network.specialists[name].consult(Task(text=row.text), ContextView(), call=SYSTEM)
        spent = time.process_time() - start
        answers.append((Answered(value=str(finding.value), cpu_seconds=spent), finding.accepted))
    return answers


async def escalated(network: Network, name: str, row: Row, labels: Sequence[str]) -> Answered:
    """The whole network's answer to a row on which the specialist abstains: the large model with its context pack."""
    start = time.process_time()
    answer = await network.ask(Request(text=row.text, specialist=name, label=Label.PUBLIC, max_tokens=LONGEST))
    reader = FewShot(instruction="", labels=tuple(labels), form="free", list_all=len(labels))
    value = reader.read(answer.text, labels) if answer.trace.status == "escalated" else None
    print("+", end="", flush=True)
    return Answered(value=value, cpu_seconds=time.process_time() - start, escalated=True)


async def decide(network: Network, name: str, rows: Rows, labels: Sequence[str], kept: Kept) -> dict[str, Any]:
    """On training rows set aside: is the large model righter than the specialist's guess where that abstains?"""
    answers = await specialist(network, name, rows.held)
    doubtful = [(row, answer) for row, (answer, sure) in zip(rows.held, answers, strict=True) if not sure][:DECIDING]
    escalations = []
    for row, _ in doubtful:
        key = f"{name}/held/{row.text}"
        escalations.append(kept.get(key) or kept.put(key, await escalated(network, name, row, labels)))
    guess = [answer.value in row.labels for row, answer in doubtful]
    large = [answer.value in row.labels for (row, _), answer in zip(doubtful, escalations, strict=True)]
    return {
        "rows": len(doubtful),
        "guess_right": float(np.mean(guess)) if guess else None,
        "large_right": float(np.mean(large)) if large else None,
        "escalates": bool(np.sum(large) > np.sum(guess)),
        "abstains_on": sum(not sure for _, sure in answers) / len(answers),
    }


async def cascade(
    network: Network, name: str, rows: Sequence[Row], labels: Sequence[str], *, escalates: bool, kept: Kept
) -> list[Answered]:
    """The specialist, and above it what was decided: the large model, or its own best label."""
    own_answers = await specialist(network, name, rows)
    answers = []
    for row, (own, sure) in zip(rows, own_answers, strict=True):
        if sure or not escalates:
            answers.append(own)
            continue
        key = f"{name}/test/{row.text}"
        above = kept.get(key) or kept.put(key, await escalated(network, name, row, labels))
        value = above.value or own.value
        answers.append(Answered(value=value, cpu_seconds=above.cpu_seconds + own.cpu_seconds, escalated=True))
    return answers


# --- Figures -------------------------------------------------------------------------------------


def figures(rows: Sequence[Row], answers: Sequence[Answered]) -> dict[str, Any]:
    """Accuracy with its interval, and energy of a right answer."""
    right = np.array([answer.value in row.labels for row, answer in zip(rows, answers, strict=True)])
    cpu = sum(answer.cpu_seconds for answer in answers)
    return {
        "accuracy": float(right.mean()),
        "interval": list(bootstrap_mean(right, seed=0)),
        "rows": len(rows),
        "escalated": sum(answer.escalated for answer in answers),
        "cpu_seconds_per_row": cpu / len(rows),
        "joules_per_right_answer": WATTS_PER_CORE * cpu / max(int(right.sum()), 1),
    }


async def measure(folder: Path, name: str, rows: Rows, model: AskedModel, most: int) -> dict[str, Any]:
    """Both ways on one set."""
    labels = sorted({label for row in (*rows.train, *rows.held) for label in row.labels})
    test, kept = rows.test[:most], Kept(folder / "answers.jsonl")
    network = await open_network(folder)
    try:
        await specialist(network, name, rows.held[:20])  # warm
        policy = await decide(network, name, rows, labels, kept)
        ours = await cascade(network, name, test, labels, escalates=policy["escalates"], kept=kept)
        whole = await cascade(network, name, rows.test, labels, escalates=False, kept=kept)
    finally:
        await network.close()
    prompting = FewShot(
        instruction=TOLD[name] + "Label the message.",
        labels=tuple(labels),
        form="grammar",
        shots=0,
        list_all=len(labels),
        room=WINDOW // 2,
    )
    large = await alone(model, prompting, test)
    results = {"alone": figures(test, large), "cascade": figures(test, ours), "decided_on_training_rows": policy}
    results["specialist_on_the_whole_test_file"] = figures(rows.test, whole)
    gained = np.array([a.value in r.labels for r, a in zip(test, ours, strict=True)], dtype=float)
    gained -= np.array([a.value in r.labels for r, a in zip(test, large, strict=True)], dtype=float)
    results["accuracy_gain"] = {"mean": float(gained.mean()), "interval": list(bootstrap_mean(gained, seed=0))}
    results["times_less_energy"] = (
        results["alone"]["joules_per_right_answer"] / results["cascade"]["joules_per_right_answer"]
    )
    return results


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument(
        "--model", type=Path, required=True, help="the GGUF file of Qwen2.5-Coder-1.5B-Instruct, Q4_K_M"
    )
    parser.add_argument(
        "--rows", type=int, default=80, help="test rows of each set that the large model is asked about"
    )
    parser.add_argument("--sets", nargs="+", choices=TOLD, default=list(TOLD))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("live_cascade.work"), help="folder in which work is kept")
    given = parser.parse_args()
    sets, hashes = read_sets(given.seed)
    folder = given.work.resolve()
    make_network(folder, sets, given.model, given.threads)
    model = LlamaModel(
        engine="llama",
        name=str(given.model.resolve()),
        sha256=MODEL_SHA256,
        threads=given.threads,
        parallel=1,
        window=WINDOW,
    )
    large_model = AskedModel(key="large", model=model, folder=folder, label=Label.PUBLIC, gate=Gate(ClearancePolicy()))
    large_model.check()
    record = Record(claim=CLAIM, seeds=[given.seed], data=hashes)
    record.figures["model"] = {
        "name": "Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
        "sha256": MODEL_SHA256,
        "licence": "Apache-2.0",
    }
    for name in given.sets:
        print(name, flush=True)
        record.figures[name] = results = asyncio.run(measure(folder, name, sets[name], large_model, given.rows))
        print(json.dumps(results, indent=1), flush=True)
        record.bars += [
            Bar(what=f"{name}: times less energy for a right answer", measured=results["times_less_energy"], limit=BAR),
            Bar(what=f"{name}: accuracy above the model alone", measured=results["accuracy_gain"]["mean"], limit=0.0),
        ]
        record.write(given.out)  # a run that is cut off has something to show
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
