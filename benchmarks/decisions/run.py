"""Typed questions: how long they take, and how right a zero-shot answer is on BANKING77's 77 intents by their names.

    COTERIE_DATA=FOLDER python benchmarks/decisions/run.py                                  # encoder, floor, sparrow
    COTERIE_DATA=FOLDER python benchmarks/decisions/run.py --model qwen=FILE.gguf --llm-rows 300

The test rows are asked once; `--split train` is for development.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from _data import find
from _record import Bar, Record, arguments, sha256
from coterie import Classifier, open_network
from coterie.config.operation import DecisionsSection
from coterie.decisions.deciding import Decider, Likelihood, Similarity, ZeroShot
from coterie.decisions.questions import request_about
from coterie.engines.llama import LlamaEngine
from coterie.engines.onnx import OnnxEncoder, open_encoder
from coterie.learning.evaluation import bootstrap_mean
from coterie.network.network import Network
from coterie.text.segmentation import folded
from coterie.types import SYSTEM, CallContext, Output, Prompt, Question, Task

CLAIM = "Typed questions are answered together in milliseconds, and without training better than by the nearest name."
PARTS = ("zero_shot", "latency")
"""Each is written to a file of its own, `result_PART.json`."""
FIVE_BAR, MANY_BAR, ZERO_SHOT_BAR = 15.0, 60.0, 0.68
DRAWN = ", options drawn towards the rows asked before"
SPECIALISTS, LABELS, ROWS_A_LABEL = 5, 30, 40


def read_banking(path: Path) -> list[tuple[str, str]]:
    """Texts and their intents."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


# --- Latency -------------------------------------------------------------------------------------


async def measure_latency(clinc: Path, calls: int) -> dict[str, object]:
    """Milliseconds of 5 questions for 5 trained specialists, and of 64 of which 59 are zero-shot, on one core."""
    content = json.loads(clinc.read_text(encoding="utf-8"))  # noqa: ASYNC240 - before anything runs
    rows: list[tuple[str, str]] = content["train"]
    names = sorted({label for _, label in rows})
    groups = [names[start : start + LABELS] for start in range(0, SPECIALISTS * LABELS, LABELS)]
    with tempfile.TemporaryDirectory() as folder:
        for number, group in enumerate(groups):
            chosen = [(text, label) for name in group for text, label in _of(rows, name)[:ROWS_A_LABEL]]
            texts, labels = zip(*chosen, strict=True)
            Classifier.fit(texts, labels, rungs=["embedding"]).save(folder, name=f"group{number}")
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        network = await open_network(folder)
        trained = [Question.choice(group, name=f"t{number}") for number, group in enumerate(groups)]
        predicates = [Question.predicate(f"The user asks about {folded(name)}.", name=name) for name in names[:30]]
        choices = [Question.choice(names[at : at + 4], f"Which {at}?", name=f"c{at}") for at in range(29)]
        texts = [text for text, _ in content["val"]]
        random.Random(0).shuffle(texts)  # noqa: S311 - an order
        try:
            return {
                "five": await _time(network, trained, texts[:calls]),
                "sixty_four": await _time(network, [*trained, *predicates, *choices], texts[calls : 2 * calls]),
            }
        finally:
            await network.close()


def _of(rows: Sequence[tuple[str, str]], name: str) -> list[tuple[str, str]]:
    return [row for row in rows if row[1] == name]


async def _time(network: Network, questions: Sequence[Question], texts: Sequence[str]) -> dict[str, float]:
    took, zero_shot, busy = [], 0, time.process_time()
    for text in texts:
        start = time.perf_counter()
        answer = await network.decide(request_about(text), questions)
        took.append((time.perf_counter() - start) * 1000)
        zero_shot = sum(decision.zero_shot for decision in answer.decisions)
    took = took[5:]  # the first ones encode the options
    return {
        "questions": len(questions),
        "zero_shot": zero_shot,
        "p50_ms": statistics.median(took),
        "p95_ms": float(np.percentile(took, 95)),
        "calls": len(took),
        "cpu_ms": (time.process_time() - busy) * 1000 / len(texts),
    }


# --- Zero-shot -----------------------------------------------------------------------------------


def judged(right: Sequence[bool], confidences: Sequence[float], seconds: float) -> dict[str, object]:
    """Accuracy with its interval, calibration error in 15 bins, milliseconds a row."""
    hits, sure = np.array(right, dtype=float), np.array(confidences)
    bins = np.minimum((sure * 15).astype(int), 14)
    gaps = [
        abs(sure[bins == bin_number].mean() - hits[bins == bin_number].mean()) * (bins == bin_number).mean()
        for bin_number in set(bins)
    ]
    low, high = bootstrap_mean(hits, seed=0)
    return {
        "rows": len(hits),
        "accuracy": float(hits.mean()),
        "interval": [low, high],
        "ece": float(sum(gaps)),
        "ms_a_row": seconds / len(hits) * 1000,
    }


class Remembered:
    """An encoder that reads each text once: rungs that differ in their options alone cost no second reading.

    With a folder the vectors stay there, and a run that was stopped goes on where it was.
    """

    def __init__(self, encoder: OnnxEncoder, folder: Path | None = None) -> None:
        self._encoder = encoder
        self._path = folder and folder / f"{encoder.sha256[:16]}.npz"
        self._known: dict[str, Output] = {}
        self._saved = 0
        if self._path is not None and self._path.is_file():
            kept = np.load(self._path)
            self._known = {
                text: Output(vector=vector) for text, vector in zip(kept["texts"], kept["vectors"], strict=True)
            }
            self._saved = len(self._known)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the encoder has
        return getattr(self._encoder, name)

    async def run(self, batch: Sequence[Prompt], *, call: CallContext) -> Sequence[Output]:
        """Read what was not read yet."""
        left = [prompt for prompt in batch if prompt.text not in self._known]
        for prompt, output in zip(left, await self._encoder.run(left, call=call) if left else (), strict=True):
            self._known[prompt.text] = output
        if self._path is not None and len(self._known) >= self._saved + 250:
            self.save()
        return [self._known[prompt.text] for prompt in batch]

    def save(self) -> None:
        """Keep what was read."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            vectors = np.stack([output.vector for output in self._known.values() if output.vector is not None])
            np.savez(self._path, texts=np.array(list(self._known)), vectors=vectors)
            self._saved = len(self._known)


def nearest_name(encoder: OnnxEncoder, rows: Sequence[tuple[str, str]], names: Sequence[str]) -> dict[str, object]:
    """The floor: the name nearest to the text."""
    start = time.perf_counter()
    cosines = encoder.encode([text for text, _ in rows]) @ encoder.encode([folded(name) for name in names]).T
    best = cosines.argmax(axis=1)
    right = [names[at] == label for at, (_, label) in zip(best, rows, strict=True)]
    return judged(right, cosines.max(axis=1).clip(0, 1), time.perf_counter() - start)


def asked_about(names: Sequence[str]) -> Question:
    """The question, with the intents' names as its options and no descriptions."""
    return Question.choice(names, "What does the bank's customer ask about?")


async def by_product(
    encoder: OnnxEncoder | Remembered,
    rows: Sequence[tuple[str, str]],
    names: Sequence[str],
    *,
    models: Mapping[str, ZeroShot] = MappingProxyType({}),
    choosing: tuple[Remembered, ...] = (),
    adapt: bool = False,
) -> dict[str, object]:
    """What `network.decide` answers, with the encoder or with a model."""
    section = DecisionsSection(model=next(iter(models), None), adapt=adapt)
    decider = Decider(specialists={}, encoder=encoder, section=section, models=models, choosing=choosing)
    question = asked_about(names)
    right, sure, start = [], [], time.perf_counter()
    for text, label in rows:
        decided = await decider.decide(Task(text=text), [question], consult=None, call=SYSTEM)
        right.append(decided.decisions[0].choice == label)
        sure.append(decided.decisions[0].confidence)
    return judged(right, sure, time.perf_counter() - start)


def by_sparrow(rows: Sequence[tuple[str, str]], names: Sequence[str]) -> dict[str, object] | None:
    """`sparrow-decider` nano, where it is installed, on the same rows."""
    try:
        from sparrow_decider import Decider as Sparrow  # noqa: PLC0415 - a peer, if it is installed
    except ImportError:
        return None
    sparrow, right, sure, start = Sparrow.load(), [], [], time.perf_counter()
    question = {"type": "choice", "instructions": "What does the bank's customer ask about?"}
    for text, label in rows:
        answer = sparrow.ask(text, {"q": {**question, "criteria": {name: folded(name) for name in names}}})
        answer = answer.get("answers", answer)["q"]
        right.append(answer["choice"] == label)
        sure.append(max(answer["probabilities"].values()))
    return judged(right, sure, time.perf_counter() - start)


def by_others(rows: Sequence[tuple[str, str]]) -> dict[str, object]:
    """What is compared with: the nearest name, and sparrow. On the other core."""
    names = sorted({label for _, label in rows})
    return {
        "nearest name": nearest_name(OnnxEncoder.bundled(), rows, names),
        "sparrow-decider nano": by_sparrow(rows, names),
    }


async def measure_zero_shot(given: Namespace, record: Record) -> dict[str, object]:
    """Every rung that is reachable, on the same rows; the models on the first of them, shuffled."""
    path = next(file for file in find("banking77") if file.name == f"{given.split}.csv")
    record.data[f"banking77/{path.name}"] = sha256(path)
    rows = read_banking(path)
    names = sorted({label for _, label in rows})
    random.Random(0).shuffle(rows)  # noqa: S311 - an order
    rows = rows[: given.rows]
    encoder = Remembered(OnnxEncoder.bundled(), given.vectors)
    record.notes.append(f"ms a row of a rung{DRAWN}: without the reading, which the rung before it has")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as core:
        others = None if given.keep else core.submit(by_others, rows)
        by_rung: dict[str, Any] = {}
        if not given.keep:
            by_rung["encoder"] = await by_product(encoder, rows, names)
            by_rung[f"encoder{DRAWN}"] = await by_product(encoder, rows, names, adapt=True)
        for name in given.encoder:
            listed = tuple(
                Remembered(open_encoder(listed_name, Path()), given.vectors) for listed_name in name.split(",")
            )
            both = " and ".join(name.split(",")) if len(listed) > 1 else f"encoder and {name}"
            choosing = listed if len(listed) > 1 else (encoder, *listed)
            by_rung[both] = await by_product(encoder, rows, names, choosing=choosing)
            by_rung[f"{both}{DRAWN}"] = await by_product(encoder, rows, names, choosing=choosing, adapt=True)
            for encoder_name, second in zip(name.split(","), listed, strict=True):
                record.data[encoder_name] = second.sha256
                second.save()
                await second.close()
        by_rung |= {} if others is None else others.result()
    for model in given.model:
        name, _, file = model.partition("=")
        engine = LlamaEngine(name, Path(file), window=512)
        try:
            rung = {name: Likelihood(engine=engine, floor=Similarity(encoder=encoder))}
            by_rung[name] = await by_product(encoder, rows[: given.llm_rows], names, models=rung)
            by_rung[f"encoder, the rows of {name}"] = await by_product(encoder, rows[: given.llm_rows], names)
        finally:
            await engine.close()
        record.data[Path(file).name] = sha256(Path(file))
        print(name, by_rung[name], flush=True)
    encoder.save()
    await encoder.close()
    if given.vectors is not None:
        record.notes.append("ms a row is not given where vectors were kept from a run that was stopped")
        for figures in by_rung.values():
            figures.pop("ms_a_row", None)
    return _beside(given, by_rung, record) if given.keep else by_rung


def _beside(given: Namespace, measured: dict[str, Any], record: Record) -> dict[str, Any]:
    """What this run found, with the rungs that an earlier run on the same rows asked and this one did not."""
    path = given.out.with_stem(f"{given.out.stem}_zero_shot")
    earlier = json.loads(path.read_text(encoding="utf-8"))
    if any(earlier["data"].get(name, value) != value for name, value in record.data.items()):
        sys.exit(f"{path} is of other data: run without --keep.")
    kept = {name: figures for name, figures in earlier["figures"].items() if name not in measured}
    record.data = earlier["data"] | record.data
    record.notes.append(f"kept from the run of {earlier['date'][:10]}: {', '.join(kept)}")
    return kept | measured


async def measure(part: str, given: Namespace) -> Record:
    """One part, with a record of its own."""
    record = Record(claim=CLAIM, seeds=[0])
    if part == "zero_shot":
        record.figures = by_rung = await measure_zero_shot(given, record)
        for what, rungs in {
            "BANKING77 by names, each row alone": [rung for rung in by_rung if DRAWN not in rung],
            "BANKING77 by names, options drawn towards the rows before": [rung for rung in by_rung if DRAWN in rung],
        }.items():
            best = max(by_rung[rung]["accuracy"] for rung in rungs if by_rung[rung])
            record.bars.append(Bar(what=what, measured=best, limit=ZERO_SHOT_BAR))
    else:
        (clinc,) = find("clinc150")
        record.data[f"clinc150/{clinc.name}"] = sha256(clinc)
        record.figures = by_rung = await measure_latency(clinc, given.calls)
        five, many = (by_rung[name]["p50_ms"] for name in ("five", "sixty_four"))
        record.bars.append(Bar(what="5 trained questions, p50 ms", measured=five, limit=FIVE_BAR, at_most=True))
        record.bars.append(Bar(what="64 questions, p50 ms", measured=many, limit=MANY_BAR, at_most=True))
    print(json.dumps(by_rung, indent=1))
    record.note_load()
    return record


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--only", choices=("zero-shot", "latency"), help="one of the two, each has a file of its own")
    parser.add_argument("--rows", type=int, help="so many rows only, to try the script")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FILE", help="a GGUF model to weigh with")
    parser.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="NAME",
        help="a second encoder, or several with commas in place of the first",
    )
    parser.add_argument("--vectors", type=Path, help="keep vectors of the encoders here; their times then mean nothing")
    parser.add_argument("--keep", action="store_true", help="ask only what is named; keep the other recorded rungs")
    parser.add_argument("--llm-rows", type=int, default=300, help="rows that a GGUF model is asked about")
    parser.add_argument("--calls", type=int, default=205, help="calls that are timed, the first five left out")
    given = parser.parse_args()
    for part in PARTS:
        if given.only in {None, part.replace("_", "-")}:
            asyncio.run(measure(part, given)).write(given.out.with_stem(f"{given.out.stem}_{part}"))


if __name__ == "__main__":
    main()
