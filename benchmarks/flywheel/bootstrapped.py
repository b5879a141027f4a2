"""What a teacher's labels are worth beside 20 examples alone: BANKING77, the teacher being recorded.

    COTERIE_DATA=... python benchmarks/flywheel/bootstrapped.py

Ten intents are drawn, or one and the nine whose names are most like its own (`alike`), and two examples of each. The
teacher is GPT-5.2 as it was recorded (`reading/llm_answers`): to each of the unlabelled texts it says what it said of
one of its recorded rows of the same intent, drawn; so it makes the mistakes that it made, as often. It labels through
the product's `bootstrap`, once with its labels as said, once weighed against the examples. It was asked for one of 77
labels, so some of its answers are none of the draw's: as said they give no row, weighed they are evidence like
others. A teacher that is asked for one of ten would seldom give any. Both specialists are measured on other rows of
the training split; the test split is not read. The third set, `clinc150`, is ten alike intents of CLINC150's training
split. Nobody recorded a large model on it: the teacher is local and weak, the label whose name is nearest to the text
by the bundled encoder. The fourth and fifth, `headlines` and `headlines one way`, are FrugalGPT's gold headlines with
five examples of each of four labels. What large models answered to each row is not public; how often they were right is
(`frugalgpt/summary`). The teacher is right as often as GPT-4o was, on drawn rows. Where it is wrong it says any
other label, or always the same one for a true label. Texts that a teacher writes are not measured: nobody recorded any.
Draws from 100 on were looked at while this was written, of BANKING77 alone; those from 0 on are reported.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _site import train_site
from _vectors import RememberingEncoder

from _data import find, headline_rows
from _record import Bar, Record, arguments, sha256
from coterie.config.file import OpenAIModel
from coterie.flywheel.training import Bootstrapped, bootstrap
from coterie.learning.job import AskedModel
from coterie.types import Label, Output, Prompt, Usage

CLAIM = "Twenty examples and a teacher's labels are five points better than the twenty examples alone."
MOST, LABELS, TEXTS, MEASURED = 20, 10, 1_000, 600
SETS = ("drawn", "alike", "clinc150", "headlines", "headlines one way")
TEACHER = "gpt-4o-2024-05-13"
"""Whose recorded share of right answers on HEADLINES the teacher of that set has."""
RECORDINGS = ("Miprov2_Optimize_-_GPT-5.2.csv.gz", "Banking77_Eval_3_Models_-_gpt_5_2.csv.gz")
DESCRIBE = "Routes messages of bank customers."
Rows = list[tuple[str, str]]


class Recorded:
    """An engine that says what the teacher said of a text."""

    name, clearance = "recorded", Label.RESTRICTED

    def __init__(self, answers: dict[str, str]) -> None:
        """Take its answers by text."""
        self._said = answers

    async def run(self, batch: Sequence[Prompt], **_: object) -> list[Output]:
        """Answer each prompt, which ends with the text."""
        texts = [prompt.messages[0].text.removesuffix("\n=>").rsplit("\n", 1)[-1] for prompt in batch]
        return [Output(text=self._said.get(text, ""), usage=Usage()) for text in texts]

    async def close(self) -> None:
        """Nothing to close."""

    def check(self, *_: object) -> None:
        """As a gate: let everything through."""

    def open(self, *_: object) -> Recorded:
        """As a gate: itself."""
        return self


def teach(
    answers: dict[str, str], describe: str, examples: Rows, texts: Sequence[str], encoder: RememberingEncoder | None
) -> Bootstrapped:
    """Rows by the product's own bootstrap; without an encoder the teacher's labels are taken as they are."""
    model = OpenAIModel(engine="openai", name="recorded", base_url="http://127.0.0.1:9/v1", price_in=Decimal(0))
    with tempfile.TemporaryDirectory() as folder:
        teacher = AskedModel(
            key="recorded",
            model=model,
            folder=Path(folder),
            label=Label.INTERNAL,
            gate=Recorded(answers),  # type: ignore[arg-type]
        )
        encode = None if encoder is None else encoder.encode
        return asyncio.run(bootstrap(teacher, describe, examples, texts=texts, encode=encode))


def accuracy(rows: Rows, held: Rows, encoder: RememberingEncoder, rungs: Sequence[str] | None = None) -> float:
    """Of the specialist that rows give."""
    findings = asyncio.run(train_site(rows, encoder, rungs=rungs).ask([text for text, _ in held]))
    return float(np.mean([finding.value == label for finding, (_, label) in zip(findings, held, strict=True)]))


def alike(names: list[str], count: int, draw: random.Random, encoder: RememberingEncoder) -> set[str]:
    """A drawn label and those whose names are most like its own."""
    vectors = encoder.encode([name.replace("_", " ") for name in names])
    nearest = np.argsort(-vectors @ vectors[draw.randrange(len(names))])
    return {names[index] for index in nearest[:count]}


def read_banking(record: Record) -> tuple[Rows, dict[str, list[str]]]:
    """Its training rows, and what the recorded teacher said, by the true label."""
    path = find("banking77")[0]
    record.data[f"{path.parent.name}/{path.name}"] = sha256(path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    answers: dict[str, list[str]] = {}
    for name in RECORDINGS:
        recording = Path(os.environ["COTERIE_DATA"], "reading", "llm_answers", "banking77_llm", name)
        record.data[name] = sha256(recording)
        with gzip.open(recording, "rt", encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                predicted = row.get("predicted_label") or row.get("prediction") or ""
                answers.setdefault(row["gold_label"], []).append(predicted)
    return rows, answers


def draw_rows(rows: Rows, names: Sequence[str], draw: random.Random, per_label: int) -> tuple[Rows, Rows, Rows]:
    """Examples, rows to label and rows to measure on, of some labels."""
    mine = [row for row in dict(rows).items() if row[1] in names]
    draw.shuffle(mine)
    examples = [row for name in sorted(names) for row in [one for one in mine if one[1] == name][:per_label]]
    others = [row for row in mine if row not in examples]
    return examples, others[MEASURED : MEASURED + TEXTS], others[:MEASURED]


def compare(
    answers: dict[str, str], drawn: tuple[Rows, Rows, Rows], encoder: RememberingEncoder, describe: str = DESCRIBE
) -> dict[str, float]:
    """The specialist of the examples beside that of the examples and the teacher's rows."""
    examples, texts, held = drawn
    truth = dict(texts)
    few = accuracy(examples, held, encoder)
    figures = {"few_shot": few, "texts": float(len(texts))}
    for name, by in (("as said", None), ("weighed", encoder)):
        made = teach(answers, describe, examples, list(truth), by)
        taught = [row for row in made.rows if row.origin == "teacher"]
        rows = [(row.text, row.label) for row in made.rows]
        figures[f"points, {name}"] = 100 * (accuracy(rows, held, encoder) - few)
        figures[f"rows, {name}"] = float(len(taught))
        figures[f"right, {name}"] = float(np.mean([truth[row.text] == row.label for row in taught]))
        figures[f"labels without rows, {name}"] = float(len(made.without_rows()))
    figures["points with gold labels"] = 100 * (accuracy([*examples, *texts], held, encoder) - few)
    return figures


def banking(seed: int, record: Record, encoder: RememberingEncoder, *, hard: bool) -> dict[str, float]:
    """One draw of BANKING77: of intents, or of one with those that are most like it."""
    rows, predictions = read_banking(record)
    draw = random.Random(seed)  # noqa: S311 - draws no secret
    names = alike(sorted(predictions), LABELS, draw, encoder) if hard else set(draw.sample(sorted(predictions), LABELS))
    examples, texts, held = draw_rows(rows, sorted(names), draw, MOST // LABELS)
    answers = {text: draw.choice(predictions[label]) for text, label in texts}
    return compare(answers, (examples, texts, held), encoder)


def clinc(seed: int, record: Record, encoder: RememberingEncoder) -> dict[str, float]:
    """One draw of CLINC150: an intent with those that are most like it, and a teacher that knows the names alone."""
    path = find("clinc150")[0]
    record.data[f"{path.parent.name}/{path.name}"] = sha256(path)
    rows = [(text, label) for text, label in json.loads(path.read_text())["train"] if label != "oos"]
    draw = random.Random(seed)  # noqa: S311 - draws no secret
    names = sorted(alike(sorted({label for _, label in rows}), LABELS, draw, encoder))
    drawn = draw_rows(rows, names, draw, MOST // LABELS)
    texts = [text for text, _ in drawn[1]]
    nearest = encoder.encode(texts) @ encoder.encode([name.replace("_", " ") for name in names]).T
    return compare(dict(zip(texts, (names[index] for index in nearest.argmax(axis=1)), strict=True)), drawn, encoder)


def headlines(seed: int, record: Record, encoder: RememberingEncoder, *, one_way: bool) -> dict[str, float]:
    """One draw of HEADLINES, with a teacher that is right as often as a recorded model was."""
    path = find("frugalgpt")[0]
    summary = Path(os.environ["COTERIE_DATA"], "frugalgpt", "summary", "summary_HEADLINES_e8_full_2024.csv")
    for data_file in (path, summary):
        record.data[f"{data_file.parent.name}/{data_file.name}"] = sha256(data_file)
    with summary.open(encoding="utf-8", newline="") as file:
        right = next(float(row["Train_acc"]) for row in csv.DictReader(file) if row["Method"] == TEACHER)
    rows, draw = headline_rows(path), random.Random(seed)  # noqa: S311 - draws no secret
    names = sorted({label for _, label in rows})
    drawn = draw_rows(rows, names, draw, MOST // len(names))
    answers = {}
    for text, label in drawn[1]:
        others = [name for name in names if name != label]
        slip = names[(names.index(label) + 1) % len(names)] if one_way else draw.choice(others)
        answers[text] = label if draw.random() < right else slip
    return compare(answers, drawn, encoder, "Says where a headline sees the price of gold going.")


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--vectors", type=Path, help="file that keeps the vectors of texts")
    given = parser.parse_args()
    seeds = list(range(given.first, given.first + given.draws))
    record = Record(claim=CLAIM, seeds=seeds)
    encoder = RememberingEncoder(given.vectors)
    for name in given.sets:
        draws = []
        for seed in seeds:
            if name == "clinc150":
                draws.append(clinc(seed, record, encoder))
            elif name.startswith("headlines"):
                draws.append(headlines(seed, record, encoder, one_way=name.endswith("one way")))
            else:
                draws.append(banking(seed, record, encoder, hard=name == "alike"))
            print(name, seed, draws[-1], flush=True)
            encoder.save()
        means = {key: float(np.mean([draw[key] for draw in draws])) for key in draws[0]}
        record.figures[name] = {"draws": draws, "mean": means}
        record.bars.append(
            Bar(what=f"points over 20 examples alone, intents {name}", measured=means["points, weighed"], limit=5.0)
        )
    record.write(given.out)


if __name__ == "__main__":
    main()
