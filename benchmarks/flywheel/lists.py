"""A job whose answers are lists of labels: what is answered locally, and how often that is wrong.

    COTERIE_DATA=... python benchmarks/flywheel/lists.py --out benchmarks/flywheel/lists.json

Each message is one to three utterances of CLINC150 of different domains, and its answer the list of those domains. The
calls go through the product: captured rows, discovery, training, the threshold at which a version breaks even; the
version is then asked about messages of utterances that no row has. The teacher leaves out, adds or replaces a label in
5% of calls (`--slips`), and writes lists in one order: as an object, as a JSON array or as text, or as an object with
another field.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _vectors import RememberingEncoder

from _data import find
from _record import Record, arguments, sha256
from coterie.config.file import parse_config
from coterie.flywheel.deployments import Deployments
from coterie.flywheel.discovery import json_object
from coterie.flywheel.runs import FlywheelRunner
from coterie.flywheel.training import load_version
from coterie.protocols import Specialist
from coterie.registry.registry import open_registry
from coterie.store.sqlite import SQLiteStore
from coterie.types import SYSTEM, CapturedExample, ContextView, Task

CLAIM = "A job of lists of labels is answered locally, whole or not at all, at the error of the model or below."
NOW = 1_700_000_000.0
FORMS = ("object", "array", "text", "fields")
ASKED = "Read the message of a customer and say which of our desks have to read it. Several may. Message:"


class Messages:
    """Draws messages with their labels, from utterances that no other draw of another split has."""

    def __init__(self, split: Sequence[tuple[str, str]], seed: int) -> None:
        self._by_domain: dict[str, list[str]] = {}
        for text, domain in split:
            self._by_domain.setdefault(domain, []).append(text)
        self._draw = random.Random(seed)  # noqa: S311 - it draws messages
        self.order = sorted(self._by_domain)
        random.Random(99).shuffle(self.order)  # noqa: S311 - the teacher's

    def message(self) -> tuple[str, list[str]]:
        """A message, and its labels in the teacher's order."""
        domains = self._draw.sample(sorted(self._by_domain), self._draw.choice((1, 1, 1, 2, 2, 3)))
        text = ". ".join(self._draw.choice(self._by_domain[each]) for each in domains)
        return text, sorted(domains, key=self.order.index)

    def taught(self, labels: Sequence[str], slips: float) -> list[str]:
        """What the teacher says."""
        said = list(labels)
        if self._draw.random() < slips:
            other = self._draw.choice([each for each in self.order if each not in labels])
            kind = self._draw.choice(("add", "drop", "replace"))
            if kind != "add" and (kind == "replace" or len(said) > 1):
                said.pop(self._draw.randrange(len(said)))
            if kind != "drop" or len(said) == len(labels):
                said.append(other)
        return sorted(said, key=self.order.index)


def written(labels: Sequence[str], form: str) -> str:
    """The answer that a teacher writes."""
    names = [each.replace("_", " ") for each in labels]
    match form:
        case "object":
            return json.dumps({"desks": names})
        case "array":
            return json.dumps(names)
        case "fields":
            return json.dumps({"desks": names, "several": len(names) > 1})
    return ", ".join(names)


def labels_in(answer: str) -> frozenset[str]:
    """The labels of an answer in any of these forms."""
    if (found := json_object(answer)) is not None:
        return frozenset(map(str, found["desks"] or ()))
    return frozenset(json.loads(answer) if answer.startswith("[") else answer.split(", "))


async def measured(
    form: str, train: Messages, test: Messages, *, calls: int, held: int, slips: float, encoder: RememberingEncoder
) -> dict[str, object]:
    """Train from calls as a run does, and ask the version."""
    taught = []
    for i in range(calls):
        text, labels = train.message()
        taught.append(
            CapturedExample(
                id=f"c{i:06d}",
                request=f"q{i}",
                time=NOW + i,
                prompt=(("user", f"{ASKED} {text}"),),
                answer=written(train.taught(labels, slips), form),
                policy="model:large",
                cost=0.001,
                caller=f"a{i % 5}",
            )
        )
    config = parse_config("[capture]\nenabled = true\n[flywheel]\ncalls = 200\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = await SQLiteStore.open(folder / "db", session_days=30.0, keep_content=False)
        books = Deployments(store=store.flywheel, clock=lambda: NOW + calls + 60)

        async def load(job: object, deployment: object) -> Specialist:
            registry = open_registry(folder, config.registry)
            return await load_version(
                registry,
                config,
                job,  # type: ignore[arg-type]
                deployment,  # type: ignore[arg-type]
                encoder=encoder,
                encoder_sha256=encoder.sha256,
            )

        await store.flywheel.add_examples(taught)
        runner = FlywheelRunner(books=books, config=config, folder=folder, load=load, encoder=encoder)
        begun = time.process_time()
        steps = (await runner.run()).steps
        took = time.process_time() - begun
        found: dict[str, object] = {"steps": [f"{each.kind}: {each.why}" for each in steps], "cpu_seconds": took}
        jobs, deployments = await books.jobs(), await books.deployments()
        found["jobs"] = [(each.shape, len(each.labels)) for each in jobs]
        if deployments:
            job = next(each for each in jobs if each.id == deployments[0].job)
            specialist = await load(job, deployments[0])
            found |= await asked(specialist, deployments[0].acceptance, test, held=held, form=form, slips=slips)
            found["accepts_from"] = deployments[0].accepts_from
        await store.close()
    return found


async def asked(
    specialist: Specialist, acceptance: object, test: Messages, *, held: int, form: str, slips: float
) -> dict[str, object]:
    """What a version answers of new messages, and how often it and the teacher are wrong on those."""
    rows = []
    for _ in range(held):
        text, labels = test.message()
        said = test.taught(labels, slips)
        task = Task(text=text, acceptance_override=acceptance)  # type: ignore[arg-type]
        finding = await specialist.consult(task, ContextView(), call=SYSTEM)
        answer = str(finding.text)
        own = labels_in(answer) == labels_in(written(labels, form))
        rows.append((finding.accepted, own, said == labels, answer == written(labels, form), finding.confidence))
    accepted, right, teacher, same, confidence = np.asarray(rows).T
    accepted, right, teacher = accepted > 0, right > 0, teacher > 0
    n = max(1, int(accepted.sum()))
    return {
        "answered": float(accepted.mean()),
        "wrong_of_answered": 1 - right[accepted].sum() / n,
        "teacher_wrong_of_them": 1 - float(teacher[accepted].mean()) if accepted.any() else None,
        "whole": float(np.where(accepted, right, teacher).mean()),
        "teacher_alone": float(teacher.mean()),
        "right_written_as_the_teacher_does": same.sum() / max(1, right.sum()),
        "right_of_all": float(right.mean()),
        "best": best_share(confidence, right, slips),
    }


def best_share(confidence: np.ndarray, right: np.ndarray, risk: float) -> float:  # (N,), (N,)
    """The share that a threshold chosen on these rows would answer at a risk: what no rule can exceed."""
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    return float((np.flatnonzero(wrong <= risk) + 1).max(initial=0) / len(order))


async def main() -> None:
    """Measure each form."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--held", type=int, default=1_000)
    parser.add_argument("--slips", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    asked_for = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[asked_for.seed])
    clinc = find("clinc150")[0]
    for path in (clinc, clinc.with_name("domains.json")):
        record.data[f"clinc150/{path.name}"] = sha256(path)
    home = {
        intent: domain
        for domain, intents in json.loads(clinc.with_name("domains.json").read_text()).items()
        for intent in intents
    }
    rows = [(text, home[intent]) for text, intent in json.loads(clinc.read_text())["train"] if intent in home]
    random.Random(asked_for.seed).shuffle(rows)  # noqa: S311 - it deals rows
    encoder = RememberingEncoder()
    for form in asked_for.forms:
        train, test = Messages(rows[3_000:], asked_for.seed), Messages(rows[:3_000], asked_for.seed + 1)
        found = await measured(
            form,
            train,
            test,
            calls=asked_for.calls,
            held=asked_for.held,
            slips=asked_for.slips,
            encoder=encoder,
        )
        record.figures[form] = found
        print(form, json.dumps(found, default=float))
    record.write(asked_for.out)


if __name__ == "__main__":
    asyncio.run(main())
