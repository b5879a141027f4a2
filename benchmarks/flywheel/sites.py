"""A decision site after 3,000 calls, beside `stuntd`: the share that each answers at 99% agreement.

    pip install --no-deps stuntd==0.2.1
    COTERIE_DATA=... python benchmarks/flywheel/sites.py

Both get the same rows of public training splits with gold answers, and the same vectors: those of the bundled
encoder. Of `stuntd` its own code trains the head (`PooledTrainer._fit`), fits the temperature and chooses the threshold
that reaches 99% on the last fifth. Ours is what `coterie flywheel run` trains, from
the confidence that its rule (`flywheel.acceptance`) gives on out-of-fold rows where 1% of the answers may differ. Both
are measured on rows of the same split that neither saw. `best` is what a threshold chosen on those rows would answer.

`--noise` says how far the labels agree with themselves instead: of rows whose nearest other row is nearly the same text
(a cosine above .98), the share with another label. One of such two labels is wrong, or chance decides between them:
half of that share no specialist can agree with.

`--full` trains our specialist on every row of the split but the measured ones instead of 3,000: what more calls bring.
"""

from __future__ import annotations

import asyncio
import csv
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _site import train_site
from _vectors import RememberingEncoder

from _data import find, headline_rows
from _record import Bar, Record, arguments, sha256
from coterie.engines.onnx import OnnxEncoder
from coterie.flywheel.gates import ModelSlips, break_even

CLAIM = "After 3,000 calls a decision site is answered locally at 99% agreement, and above what stuntd answers."
TARGET, CALLS, HELD, TWINS = 0.99, 3_000, 1_500, 0.98
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


async def ours(rows: Rows, held: Rows, encoder: OnnxEncoder) -> dict[str, float]:
    """The specialist that the flywheel trains, from the confidence that its rule gives where 1% may differ."""
    site = train_site(rows, encoder)
    outcomes = site.outcomes
    strict = ModelSlips(slips=1 - TARGET)
    even = break_even(outcomes.confidence, ~outcomes.right, np.ones(len(outcomes.right)), strict, margin=0.0)
    findings = await site.ask([text for text, _ in held], even.confidence)
    right = np.asarray([finding.value == label for finding, (_, label) in zip(findings, held, strict=True)])
    kept = np.asarray([finding.accepted for finding in findings])
    return {
        "answered": float(kept.mean()),
        "agreement": float(right[kept].mean()) if kept.any() else 1.0,
        "accuracy": float(right.mean()),
        "best": best_share(np.asarray([finding.confidence for finding in findings]), right),
        "cpu_seconds": site.cpu_seconds,
    }


def best_share(confidence: np.ndarray, right: np.ndarray) -> float:
    """The share that a threshold chosen on these rows would answer at the target: what no rule can exceed."""
    order = np.argsort(-confidence, kind="stable")
    good = np.flatnonzero(np.cumsum(right[order]) >= TARGET * np.arange(1, len(order) + 1))
    return float((good[-1] + 1) / len(order)) if len(good) else 0.0


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
    predictions = predict(test, [names.index(label) for _, label in there], temperature)
    kept = [prediction for prediction in predictions if point is not None and prediction.confidence >= point.threshold]
    right = [prediction.label == prediction.predicted for prediction in kept]
    return {
        "answered": len(kept) / len(held),
        "agreement": float(np.mean(right)) if right else 1.0,
        "accuracy": float(np.mean([prediction.label == prediction.predicted for prediction in predictions])),
        "best": best_share(
            np.asarray([prediction.confidence for prediction in predictions]),
            np.asarray([prediction.label == prediction.predicted for prediction in predictions]),
        ),
        "cpu_seconds": took,
    }


def labels_of_twins(rows: Rows, encoder: OnnxEncoder) -> dict[str, float]:
    """Of rows with a nearly equal one, how many there are and how often that one has another label."""
    vectors = np.asarray(encoder.encode([text for text, _ in rows]))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = np.asarray([label for _, label in rows])
    likeness = vectors @ vectors.T  # (N, N)
    np.fill_diagonal(likeness, -1.0)
    nearest = likeness.argmax(axis=1)
    twins = likeness.max(axis=1) > TWINS
    return {"twins": float(twins.sum()), "another_label": float((labels != labels[nearest])[twins].mean())}


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vectors", type=Path, help="file that keeps the vectors of texts")
    parser.add_argument("--full", action="store_true", help="train on all rows that are not measured on; no control")
    parser.add_argument("--sites", nargs="+", help="of these sites alone")
    parser.add_argument("--noise", action="store_true", help="look at the labels of nearly equal rows instead")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed])
    encoder = RememberingEncoder(given.vectors)
    for site, pairs in read_sites(record).items():
        if given.sites and site not in given.sites:
            continue
        rows = list(dict(pairs).items())
        random.Random(given.seed).shuffle(rows)  # noqa: S311 - draws no secret
        size = min(CALLS, len(rows) - HELD)
        some, held = rows[:size], rows[size : size + HELD]
        if given.noise:
            record.figures[site] = labels_of_twins(rows[: CALLS + HELD], encoder)
            print(site, record.figures[site], flush=True)
            continue
        if given.full:
            rest = rows[: len(rows) - HELD]
            record.figures[site] = {"calls": len(rest), "coterie": asyncio.run(ours(rest, rows[-HELD:], encoder))}
            encoder.save()
            print(site, record.figures[site], flush=True)
            continue
        figures = {
            "calls": size,
            "coterie": asyncio.run(ours(some, held, encoder)),
            "stuntd": stuntds(some, held, encoder),
        }
        record.figures[site] = figures
        encoder.save()
        print(site, json.dumps(figures), flush=True)
        mine, theirs = figures["coterie"], figures["stuntd"]
        record.bars.append(Bar(what=f"{site}: answered", measured=mine["answered"], limit=0.9))  # type: ignore[index]
        record.bars.append(Bar(what=f"{site}: agreement", measured=mine["agreement"], limit=TARGET))  # type: ignore[index]
        more = mine["answered"] - theirs["answered"]  # type: ignore[index]
        record.bars.append(Bar(what=f"{site}: answered more than stuntd", measured=more, limit=0.0))
    record.write(given.out)


if __name__ == "__main__":
    main()
