"""A decision site after 3,000 calls, beside `stuntd`: the share that each answers at 99% agreement.

    pip install --no-deps stuntd==0.2.1
    COTERIE_DATA=... python benchmarks/flywheel/sites.py

Both get the same rows of public training splits with gold answers, and the same vectors: those of the bundled
encoder. Of `stuntd` its own code trains the head (`PooledTrainer._fit`), fits the temperature and chooses the threshold
that reaches 99% on the last fifth. Ours is what `coterie flywheel run` trains, with `target_risk = 0.01`.
Both are measured on rows of the same split that neither saw.
"""

from __future__ import annotations

import asyncio
import csv
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find, headline_rows
from _record import Bar, Record, arguments, sha256
from coterie.config.file import parse_config
from coterie.config.specialists import TASKS
from coterie.engines.onnx import OnnxEncoder
from coterie.registry.registry import open_registry
from coterie.tasks.loading import load_specialist
from coterie.training.train import train_candidate
from coterie.types import SYSTEM, ContextView, Label, Task

CLAIM = "After 3,000 calls a decision site is answered locally at 99% agreement, and above what stuntd answers."
TARGET, CALLS, HELD = 0.99, 3_000, 1_500
Rows = list[tuple[str, str]]


def read_sites(record: Record) -> dict[str, Rows]:
    """Rows by site."""
    bank, clinc, gold = find("banking77")[0], find("clinc150")[0], find("frugalgpt")[0]
    for path in (bank, clinc, gold):
        record.data[f"{path.parent.name}/{path.name}"] = sha256(path)
    with bank.open(encoding="utf-8", newline="") as file:
        triage = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    domains = json.loads(clinc.with_name("domains.json").read_text())
    home = {intent: domain for domain, intents in domains.items() for intent in intents}
    topics = [(text, home[intent]) for text, intent in json.loads(clinc.read_text())["train"] if intent in home]
    return {"77 intents": triage, "10 domains": topics, "gold headlines": list(headline_rows(gold))}


async def ours(rows: Rows, held: Rows, encoder: OnnxEncoder, risk: float) -> dict[str, float]:
    """The specialist that the flywheel trains."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = (json.dumps({"text": text, "label": label}) for text, label in rows)
        (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
        section = TASKS.check({"task": "classify", "data": "rows.jsonl", "target_risk": risk})
        config = parse_config("")
        begun = time.process_time()
        made = train_candidate(folder, config, "site", section, encoder=encoder)  # type: ignore[arg-type]
        took = time.process_time() - begun
        version = open_registry(folder, config.registry).load("site", made.version)
        specialist = load_specialist(
            "site",
            section,
            version,
            encoder=encoder,
            models={},
            data_label=Label.INTERNAL,  # type: ignore[arg-type]
        )
        found = [await specialist.consult(Task(text=text), ContextView(), call=SYSTEM) for text, _ in held]
    accepted = [each.value == label for each, (_, label) in zip(found, held, strict=True) if each.accepted]
    right = [each.value == label for each, (_, label) in zip(found, held, strict=True)]
    return {
        "answered": len(accepted) / len(held),
        "agreement": float(np.mean(accepted)) if accepted else 1.0,
        "accuracy": float(np.mean(right)),
        "cpu_seconds": took,
    }


def stuntds(rows: Rows, held: Rows, encoder: OnnxEncoder) -> dict[str, float]:
    """Its head, temperature and threshold, by its own code on our vectors."""
    import torch  # noqa: PLC0415 - with the control only
    from stuntd.train.metrics import fit_temperature, operating_point, predict  # noqa: PLC0415
    from stuntd.train.pooled import PooledTrainer  # noqa: PLC0415

    torch.set_num_threads(1)

    def embed(some: Sequence[tuple[str, str]]) -> torch.Tensor:
        vectors = encoder.encode([text for text, _ in some])
        return torch.tensor(np.asarray(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=torch.float32)

    names = sorted({label for _, label in rows})
    cut = len(rows) - len(rows) // 5
    targets = [names.index(label) for _, label in rows]
    trainer = PooledTrainer.__new__(PooledTrainer)
    vars(trainer).update(_seed=0, _epochs=80, _learning_rate=3e-2, _weight_decay=1e-2)  # its defaults
    begun = time.process_time()
    head = trainer._fit(  # noqa: SLF001 - its own training, on our vectors
        embed(rows[:cut]), torch.tensor(targets[:cut]), len(names)
    )
    with torch.no_grad():
        logits = head(embed(rows[cut:])).tolist()
        there = [(text, label) for text, label in held if label in names]
        test = head(embed(there)).tolist()
    took = time.process_time() - begun
    temperature = fit_temperature(logits, targets[cut:])
    point = operating_point(predict(logits, targets[cut:], temperature), TARGET)
    said = predict(test, [names.index(label) for _, label in there], temperature)
    kept = [each for each in said if point is not None and each.confidence >= point.threshold]
    right = [each.label == each.predicted for each in kept]
    return {
        "answered": len(kept) / len(held),
        "agreement": float(np.mean(right)) if right else 1.0,
        "accuracy": float(np.mean([each.label == each.predicted for each in said])),
        "cpu_seconds": took,
    }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed])
    encoder = OnnxEncoder.bundled(threads=1)
    for site, found in read_sites(record).items():
        rows = list(dict(found).items())
        random.Random(given.seed).shuffle(rows)  # noqa: S311 - draws no secret
        size = min(CALLS, len(rows) - HELD)
        some, held = rows[:size], rows[size : size + HELD]
        figures = {
            "calls": size,
            "coterie": asyncio.run(ours(some, held, encoder, 1 - TARGET)),
            "stuntd": stuntds(some, held, encoder),
        }
        record.figures[site] = figures
        print(site, json.dumps(figures), flush=True)
        mine, theirs = figures["coterie"], figures["stuntd"]
        record.bars.append(Bar(what=f"{site}: answered", measured=mine["answered"], limit=0.9))  # type: ignore[index]
        record.bars.append(Bar(what=f"{site}: agreement", measured=mine["agreement"], limit=TARGET))  # type: ignore[index]
        more = mine["answered"] - theirs["answered"]  # type: ignore[index]
        record.bars.append(Bar(what=f"{site}: answered more than stuntd", measured=more, limit=0.0))
    record.write(given.out)


if __name__ == "__main__":
    main()
